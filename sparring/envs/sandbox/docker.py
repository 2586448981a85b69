"""Sandboxes by Docker: for machines where bubblewrap can't contain, and for those that already rely on an engine.

Each sandbox is a container of its own without network, capabilities or writable root. Its process 1 is
`sparring.envs.sandbox.inside.server`: a command is one message to it and one back, far quicker than an exec of the
engine's. The messages go over a socket where the engine runs on this machine, and else over the container's attached
standard input and output, through the engine.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import struct
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sparring.envs.sandbox import cgroup, engine, slots
from sparring.envs.sandbox.inside.server import USER
from sparring.envs.sandbox.protocol import Limits, SandboxFailed, SandboxRefused
from sparring.envs.sandbox.served import BOOT, GRACE_S, ServedSandbox, SocketStream
from sparring.envs.sandbox.surroundings import FOLDERS
from sparring.errors import need

_CREDENTIALS = struct.Struct("3i")  # the kernel's struct ucred
_OUTPUT = 1  # the engine's number of that stream of a container's; the other one is standard error
_MEETING_PLACE = "/run/sandbox"  # where a container sees the owner's socket
_HIDDEN = {"/var/tmp": "ro,noexec,nosuid,nodev,size=4096,mode=0555"}  # where Podman lets everyone write
_RIGHTS = ("SETUID", "SETGID", "SETPCAP", "KILL")  # of process 1: to start commands with none at all, and to end them


class DockerSandbox(ServedSandbox):
    """A workspace and contained processes (`sparring.envs.sandbox.protocol.Sandbox`).

    Without `probe.verify` having passed with this engine nothing is known of how well it holds; `open_sandbox` sees to
    that.

    Args:
        limits: what its processes may use.
        label: what it is for, as lists of sandboxes and of containers show it.
        read_only: further folders of the engine's machine that processes may read, at the paths that they have outside.
        wait_s: how long to wait for a slot where the most sandboxes are open already.
        image: an image that the engine has, with bash and Python 3.11 or newer.
    Raises:
        MissingExtra: the `docker` package is not installed.
        SandboxRefused: no engine answers, it lacks the image, or it could not start a container.
        SandboxFailed: no slot became free in time.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        label: str = "",
        read_only: Sequence[Path] = (),
        wait_s: float = 60.0,
        image: str = engine.IMAGE,
    ) -> None:
        super().__init__(limits, label)
        self.image = image
        self._read_only = [str(path.resolve()) for path in read_only]
        self._owner = os.getpid()
        self._container = ""
        self._group: cgroup.ControlGroup | None = None
        self._client = engine.connect()
        engine.need_image(self._client, image)
        self._slot: slots.Slot | None = slots.claim(wait_s)
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    @property
    def container(self) -> str:
        """The container's id."""
        return self._container

    @property
    def near(self) -> bool:
        return self._group is not None

    def memory_kills(self) -> int:
        return self._group.memory_kills() if self._group is not None else 0

    def _start(self) -> None:
        if self._slot is None:
            raise SandboxFailed("this sandbox is closed")
        errors = need("docker", "docker").errors
        name = f"sparring-{self._slot.index}-{uuid.uuid4().hex[:12]}"
        self._slot.record(slots.Tenant(self.label, os.getpid(), 0, 0, container=name, engine=self._client.base_url))
        with Rendezvous() as meeting:
            try:
                self._container = self._create(name, meeting)
                stream = AttachedStream(self._client, self._container)
                self._client.start(self._container)
            except errors.APIError as error:
                raise SandboxRefused(
                    f"the Docker engine could not start a sandbox: {error}. {_advice(error)}"
                ) from error
            try:
                direct = self._greet(stream, meeting.address)
            except SandboxFailed as error:
                raise SandboxRefused(
                    f'a container of the image "{self.image}" did not start its server, for which it needs bash and '
                    f"Python 3.11 or newer: {stream.complaint or error}"
                ) from error
            if direct:
                self._stream, process = meeting.accept()
                self._group = cgroup.of(process)
                stream.close()

    def _create(self, name: str, meeting: Rendezvous) -> str:
        """Make a container, with the owner's socket in it where the engine sees our files; returns its id."""
        docker = need("docker", "docker")
        place = docker.types.Mount(_MEETING_PLACE, str(meeting.folder), type="bind", read_only=True)
        mounts, owned = [place], True
        while True:
            options = host_options(self.limits, self._read_only, owned=owned)
            try:
                made = self._client.create_container(
                    self.image,
                    ["python3", "-I", "-c", BOOT],
                    name=name,
                    hostname="sandbox",
                    user="0:0",
                    working_dir="/",
                    stdin_open=True,
                    entrypoint=[],
                    labels=engine.labels(self.label),
                    host_config=self._client.create_host_config(**options, mounts=mounts),
                )
            except docker.errors.APIError as error:
                if owned and "mount option" in str(error):  # Podman's folders in memory can't be given to a user
                    owned = False
                elif mounts and "bind" in str(error):
                    mounts = []
                else:
                    raise
                continue
            return str(made["Id"])

    def restart(self) -> None:
        self._stop()
        self._start()

    def _stop(self) -> None:
        self._end_shells()
        self._group = None
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
        container, self._container = self._container, ""
        if container:
            engine.remove(self._client, container)

    def close(self) -> None:
        if os.getpid() != self._owner:  # a fork of the owner has a copy of this object, but not of the sandbox
            return
        slot, self._slot = self._slot, None
        if slot is None:
            return
        try:
            self._stop()
        finally:
            slot.release()
            self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.close()


def host_options(limits: Limits, read_only: Sequence[str] = (), *, owned: bool = True) -> dict[str, Any]:
    """What a container may use and do, as the engine is told.

    Args:
        owned: whether the engine gives the folders that can be written to to the user whom commands run as; otherwise
            process 1 does, which takes a right more.
    """
    size = f"rw,exec,nosuid,nodev,size={limits.disk_bytes}" + (f",uid={USER},gid={USER}" if owned else "")
    return {
        "auto_remove": True,
        "network_mode": "none",
        "ipc_mode": "none",
        "read_only": True,
        "tmpfs": {folder: f"{size},mode={mode:04o}" for folder, mode in FOLDERS.items()} | ({} if owned else _HIDDEN),
        "binds": [f"{path}:{path}:ro" for path in read_only],
        "mem_limit": limits.memory_bytes,
        "memswap_limit": limits.memory_bytes,
        "pids_limit": limits.processes + 1,  # the server is one more
        "cap_drop": ["ALL"],
        "cap_add": [*_RIGHTS, *(() if owned else ("CHOWN",))],
        "security_opt": ["no-new-privileges:true"],
        "log_config": {"Type": "none"},
    }


def _advice(error: Exception) -> str:
    said = str(error)
    if "cgroup" in said or "memory" in said:
        return "The engine needs control groups for memory and pids"
    return "docs/sandbox.md says what it needs"


class Rendezvous:
    """A socket of the owner's, in a folder of its own that is shown to one container while this is open.

    Messages over it are not passed on by the engine, which takes longer. Only a server that started on this very
    machine can reach it, and connects before any command runs; then name and folder are gone.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="sparring-docker-"))
        self.folder.chmod(0o711)  # the container's user 0 may be another one outside; nobody can list it
        name = uuid.uuid4().hex
        self.address = f"{_MEETING_PLACE}/{name}"
        self._path = self.folder / name
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(self._path))
        self._path.chmod(0o666)
        self._listening.listen(1)

    def accept(self) -> tuple[SocketStream, int]:
        """The connection of a server that says that it has connected, and its process id, 0 where it can't be seen."""
        self._listening.settimeout(GRACE_S)
        connection, _ = self._listening.accept()
        process, _, _ = _CREDENTIALS.unpack(
            connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        )
        return SocketStream(connection), process

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listening.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class AttachedStream(SocketStream):
    """A container's standard input and output, which the engine sends in one stream with its standard error."""

    def __init__(self, client: Any, container: str) -> None:
        attached = client.attach_socket(container, {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
        self._attached = attached  # closes the connection when it goes
        super().__init__(getattr(attached, "_sock", attached))
        self.complaint = ""

    def chunk(self) -> bytes:
        while True:
            stream, size = struct.unpack(">BxxxI", self._exactly(8))
            data = self._exactly(size)
            if stream == _OUTPUT:
                return data
            self.complaint = (self.complaint + data.decode("utf-8", "replace"))[-2000:]

    def _exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            part = self._connection.recv(size - len(data))
            if not part:
                raise ConnectionResetError(f"the container has ended {self.complaint}".rstrip())
            data += part
        return bytes(data)

    def close(self) -> None:
        self._attached.close()
        super().close()
