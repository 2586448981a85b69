"""The Docker engine: reaching it, and finding what sparring left in it.

Any engine with Docker's interface does, Podman's service included. It is the one that the environment variable
DOCKER_HOST names, or the usual socket of this machine.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any

from sparring.envs.sandbox.processes import start_time
from sparring.envs.sandbox.protocol import SandboxRefused
from sparring.errors import need

IMAGE = "sparring-sandbox"
LABEL = "sparring.sandbox"
OWNER = "sparring.owner"
_REMOVAL_S = 10.0  # for a container that is about to go


def connect(url: str | None = None) -> Any:
    """A connection to the engine, `docker.APIClient` of the `docker` package.

    Args:
        url: as in DOCKER_HOST; by default what that says.
    Raises:
        MissingExtra: the `docker` package is not installed.
        SandboxRefused: no engine answers.
    """
    docker = need("docker", "docker")
    try:
        given = {} if url is None else {"base_url": url}
        client = docker.APIClient(**{**docker.utils.kwargs_from_env(), **given}, version="auto")
    except docker.errors.DockerException as error:
        place = url or os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
        raise SandboxRefused(
            f"no Docker engine answers at {place} ({error}). Install and start one (Debian and Ubuntu: apt-get install "
            "docker.io), let this user reach its socket (group docker), or set DOCKER_HOST to that of Podman or of "
            "another machine"
        ) from error
    return client


def need_image(client: Any, name: str) -> None:
    """Make sure that an image is there; none is ever pulled.

    Raises:
        SandboxRefused: it is not.
    """
    docker = need("docker", "docker")
    try:
        client.inspect_image(name)
    except docker.errors.ImageNotFound as error:
        raise SandboxRefused(
            f'the engine has no image "{name}", and none is pulled unasked: `sparring sandbox image` builds '
            f"{IMAGE} from this machine's own files; another one with bash and Python 3.11 is got by docker pull"
        ) from error


def labels(label: str) -> dict[str, str]:
    """What a container's labels say of its purpose and its owner."""
    return {LABEL: label, OWNER: f"{_machine()} {os.getpid()} {start_time(os.getpid())}"}


def _machine() -> str:
    """A name for everything that shares this process's process ids until the next start of the machine."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"


def remove(client: Any, container: str) -> None:
    """End a container and remove it; one that is gone already is no error."""
    docker = need("docker", "docker")
    deadline = time.monotonic() + _REMOVAL_S
    while True:
        try:
            client.remove_container(container, force=True, v=True)
        except docker.errors.APIError as error:
            if error.status_code in (404, 409):  # it is gone, or being removed already
                return
            # Podman fails on a container that ends of itself at this moment.
            if "state" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def remove_by_name(url: str, container: str) -> None:
    """The same for whoever has no connection; where the engine is gone its containers are too."""
    with contextlib.suppress(Exception):
        remove(connect(url), container)


def reap() -> list[str]:
    """Remove the containers whose owner was a process of this machine that is gone, and say what they were for.

    Raises:
        MissingExtra, SandboxRefused: no engine can be reached.
    """
    client, ended = connect(), []
    for one in client.containers(all=True, filters={"label": OWNER}):
        machine, process, started = one["Labels"][OWNER].rsplit(" ", 2)
        if machine == _machine() and start_time(int(process)) != int(started):
            remove(client, one["Id"])
            ended.append(str(one["Labels"].get(LABEL, "")))
    return ended
