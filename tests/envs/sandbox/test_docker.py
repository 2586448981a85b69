"""What is Docker's own: containers and their owners, servers that fail, engines and images that are not there."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest

from sparring.envs.sandbox import docker, engine, probe, served, slots
from sparring.envs.sandbox.attacks import ATTACKS
from sparring.envs.sandbox.docker import DockerSandbox
from sparring.envs.sandbox.protocol import MIB, FileTree, Limits, SandboxFailed, SandboxRefused
from sparring.envs.sandbox.session import BashShell

pytestmark = pytest.mark.usefixtures("docker")


@pytest.fixture
def sandbox() -> Iterator[DockerSandbox]:
    with DockerSandbox(Limits(memory_bytes=128 * MIB, disk_bytes=8 * MIB), label="test") as made:
        yield made


@pytest.fixture
def client() -> Iterator[Any]:
    made = engine.connect()
    yield made
    made.close()


def exists(client: Any, container: str) -> bool:
    return bool(client.containers(all=True, filters={"id": container}))


def gone(client: Any, container: str, patience_s: float = 15.0) -> bool:
    deadline = time.monotonic() + patience_s
    while exists(client, container):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def check_only(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    monkeypatch.setattr(probe, "_verified", set())
    monkeypatch.setattr(probe, "ATTACKS", {name: ATTACKS[name] for name in names})


def test_limits_that_do_not_hold_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    check_only(monkeypatch, "fork bomb", "memory of one process", "memory of many processes", "filling the disk")
    whole = docker.host_options

    def generous(*arguments: Any, **more: Any) -> dict[str, Any]:
        found = whole(*arguments, **more)
        tmpfs = {folder: options.replace("size=", "size=1") for folder, options in found["tmpfs"].items()}
        return found | {"pids_limit": 400, "mem_limit": 2**30, "memswap_limit": 2**30, "tmpfs": tmpfs}

    monkeypatch.setattr(docker, "host_options", generous)
    with pytest.raises(SandboxRefused, match=r"(?s)docker.*fork bomb.*memory of one.*memory of many.*filling the disk"):
        probe.verify("docker")


def test_a_network_and_processes_that_are_shared_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    check_only(monkeypatch, "network", "open files")
    whole = docker.host_options
    changed = {"network_mode": "host"}
    monkeypatch.setattr(docker, "host_options", lambda *given, **more: whole(*given, **more) | changed)
    with pytest.raises(SandboxRefused, match="a connection from the sandbox arrived"):
        probe.verify("docker")
    changed = {"pid_mode": "host"}  # then process 1 is another, and the server refuses to kill all that it sees
    with pytest.raises(SandboxRefused, match="process 1 of a container only"):
        probe.verify("docker")


def test_a_missing_filter_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    check_only(monkeypatch, "forbidden calls")
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(served.programs())) as whole, zipfile.ZipFile(changed, "w") as archive:
        for name in whole.namelist():
            text = whole.read(name).decode()
            if name.endswith("seccomp.py"):
                text += "\ndef sandbox_filter(): return bytes.fromhex('060000000000ff7f')\n"
            archive.writestr(name, text)
    monkeypatch.setattr(served, "programs", changed.getvalue)
    with pytest.raises(SandboxRefused, match="forbidden calls"):
        probe.verify("docker")


def test_close_leaves_nothing(sandbox: DockerSandbox, client: Any) -> None:
    sandbox.run("sleep 600 & sleep 600 &")
    container = sandbox.container
    assert exists(client, container)
    sandbox.close()
    sandbox.close()
    assert gone(client, container)
    with pytest.raises(SandboxFailed, match="closed"):
        sandbox.run("true")


# Opens a sandbox with a process in it, says its container, and waits to be killed.
OWNER = """
import time
from sparring.envs.sandbox.docker import DockerSandbox
sandbox = DockerSandbox(label="orphan")
sandbox.run("sleep 600 & setsid sleep 600 &")
print(sandbox.container, flush=True)
sandbox.run("sleep 600", 500)
"""


def test_nothing_survives_a_killed_owner(client: Any) -> None:
    """Not even while a command runs."""
    with subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        container = owner.stdout.readline().strip()
        assert container and exists(client, container)
        time.sleep(0.2)
        owner.send_signal(signal.SIGKILL)
    assert gone(client, container)
    slots.reap()  # which a test beside this one may have done before
    assert "orphan" not in [tenant.label for tenant, _ in slots.tenants()]


def start_sleeping(client: Any, owner: str) -> str:
    """A container that did not notice that its owner is gone."""
    labels = {engine.LABEL: "lost", engine.OWNER: owner}
    made = client.create_container(engine.IMAGE, ["sleep", "600"], labels=labels)["Id"]
    client.start(made)
    return str(made)


def test_the_reaper_ends_containers_of_killed_owners_only(client: Any) -> None:
    machine, process, started = engine.labels("x")[engine.OWNER].rsplit(" ", 2)
    owners = {
        "killed": f"{machine} {process} {int(started) - 1}",
        "alive": f"{machine} {process} {started}",
        "elsewhere": f"another/pid:[1] {process} {int(started) - 1}",
    }
    made = {name: start_sleeping(client, owner) for name, owner in owners.items()}
    try:
        assert "lost" not in engine.reap()[1:]  # once at most: a test beside this one may reap at the same time
        assert gone(client, made["killed"])
        assert exists(client, made["alive"]) and exists(client, made["elsewhere"])
    finally:
        for container in made.values():
            engine.remove(client, container)


def test_whoever_claims_an_orphans_slot_ends_its_container(
    client: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    container = start_sleeping(client, "another 1 1")
    slot = slots.claim()
    slot.record(slots.Tenant("x", 1, 0, 0, container=container, engine=os.environ.get("DOCKER_HOST", "")))
    os.close(slot.descriptor)  # as the kernel does when an owner dies
    slots.claim().release()
    assert gone(client, container)


def test_a_sandbox_whose_container_went_says_so_and_is_replaced(sandbox: DockerSandbox, client: Any) -> None:
    shell = sandbox.shell()
    shell.run("true")
    sandbox.write("file", b"x")
    before = sandbox.container
    client.kill(before)
    with pytest.raises(SandboxFailed, match="server is gone"):
        sandbox.run("true")
    assert sandbox.container != before and sandbox.list() == []
    assert shell.run("echo again").stdout == b"again\n" and sandbox.run("echo new").stdout == b"new\n"


def test_a_server_that_does_not_answer_is_replaced(
    sandbox: DockerSandbox, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox.run("true")
    client.pause(sandbox.container)
    with monkeypatch.context() as patch, pytest.raises(SandboxFailed, match="does not answer"):
        patch.setattr(served, "GRACE_S", 0.3)
        # A new one starts in the place of the old within the usual patience.
        whole = sandbox.restart
        patch.setattr(sandbox, "restart", lambda: (patch.setattr(served, "GRACE_S", 30.0), whole()))
        sandbox.run("true", timeout=0.2)
    assert sandbox.run("echo new").stdout == b"new\n"


def test_an_engine_that_does_not_see_our_files_passes_messages_on(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Elsewhere(docker.Rendezvous):
        def __init__(self) -> None:
            super().__init__()
            shutil.rmtree(self.folder)

    with DockerSandbox() as near:
        assert not isinstance(near._stream, docker.AttachedStream)
        left = near.run("ls -A /run/sandbox; touch /run/sandbox/x")
        assert left.stdout == b"" and not left.ok
        assert isinstance(near.shell(), BashShell)
    monkeypatch.setattr(docker, "Rendezvous", Elsewhere)
    with DockerSandbox() as far:
        assert isinstance(far._stream, docker.AttachedStream)
        assert far.run(["cat"], stdin=b"x" * 300_000).stdout == b"x" * 300_000
        assert isinstance(far.shell(), served.ServedShell)
        late = far.shell().run("echo part; sleep 60", timeout=0.3)
        assert late.timed_out and late.stdout == b"part\n"
        far.write("d/f", bytes(700_000))
        saved = far.snapshot()
        far.restore(FileTree())
        far.restore(saved)
        assert far.snapshot() == saved
        container = far.container
    assert gone(client, container)


def test_nothing_is_pulled(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SandboxRefused, match=r'no image "nowhere/nothing".*sparring sandbox image'):
        DockerSandbox(image="nowhere/nothing")


def test_an_image_without_python_is_refused_and_leaves_nothing(client: Any) -> None:
    with tempfile.NamedTemporaryFile(suffix=".tar") as file:
        with tarfile.open(file.name, "w") as archive:
            archive.addfile(tarfile.TarInfo("empty"))
        client.import_image_from_file(file.name, repository="sparring-empty", tag="latest")
    try:
        before = len(client.containers(all=True))
        with pytest.raises(SandboxRefused, match="could not start a sandbox"):
            DockerSandbox(image="sparring-empty")
        assert len(client.containers(all=True)) == before
    finally:
        client.remove_image("sparring-empty", force=True)


def test_the_image_holds_what_agents_use(sandbox: DockerSandbox) -> None:
    said = sandbox.run("git init -q . && git --version && python3 -m pytest --version && sed --version | head -1")
    assert said.ok, said.text
    assert sandbox.run("grep -c . /etc/passwd; ls /home /root/.ssh").stdout.startswith(b"2\n")
