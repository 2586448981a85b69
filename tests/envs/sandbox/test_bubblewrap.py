"""What is bubblewrap's own: its process 1, its control group, and what happens when either fails."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sparring.envs.sandbox import cgroup
from sparring.envs.sandbox.attacks import LIMITS
from sparring.envs.sandbox.bubblewrap import BubblewrapSandbox
from sparring.envs.sandbox.protocol import MIB, Limits, SandboxFailed

pytestmark = pytest.mark.usefixtures("bubblewrap")


@pytest.fixture
def sandbox() -> Iterator[BubblewrapSandbox]:
    with BubblewrapSandbox(Limits(memory_bytes=128 * MIB, disk_bytes=8 * MIB), label="test") as made:
        yield made


def test_close_leaves_nothing(sandbox: BubblewrapSandbox) -> None:
    sandbox.run("sleep 600 & sleep 600 &")
    process, group = sandbox.keeper.process_id, sandbox.keeper.group
    before = len(list(Path("/proc/self/fd").iterdir()))
    sandbox.close()
    sandbox.close()
    assert not Path(f"/proc/{process}").exists()
    assert group is None or not any(folder.exists() for folder in group.folders)
    assert len(list(Path("/proc/self/fd").iterdir())) < before
    with pytest.raises(SandboxFailed, match="closed"):
        sandbox.run("true")


def test_sandboxes_outlive_the_thread_that_opened_them() -> None:
    opened: list[BubblewrapSandbox] = []
    thread = threading.Thread(target=lambda: opened.append(BubblewrapSandbox()))
    thread.start()
    thread.join()
    time.sleep(0.2)
    with opened[0] as sandbox:
        assert sandbox.run("echo alive").stdout == b"alive\n"


# It waits before it reads, so that a keeper that looks every 20 ms has looked on any machine.
FILL_SOCKETS = """
import socket, time
held, kept = 0, [socket.socket(socket.AF_INET, socket.SOCK_DGRAM)]
for _ in range(110):
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.bind(("127.0.0.1", 0))
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 30)
    kept.append(one)
    for _ in range(20):
        kept[0].sendto(b"x" * 60_000, one.getsockname())
time.sleep(2)
for one in kept[1:]:
    one.setblocking(False)
    try:
        while True:
            held += len(one.recv(1 << 16))
    except BlockingIOError:
        pass
print(held)
"""


@pytest.mark.parametrize("watched", [False, True])
def test_what_waits_in_sockets_counts_as_memory(watched: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if watched:
        monkeypatch.setattr(cgroup, "create", lambda *_: None)
    with BubblewrapSandbox(LIMITS) as opened:
        result = opened.run(["python3", "-I", "-c", FILL_SOCKETS])
    assert result.out_of_memory or int(result.stdout) < LIMITS.memory_bytes


def test_a_sandbox_whose_process_1_went_says_so_and_is_replaced(sandbox: BubblewrapSandbox) -> None:
    shell = sandbox.shell()
    shell.run("true")
    sandbox.write("file", b"x")
    os.kill(sandbox.keeper.process_id, signal.SIGKILL)
    with pytest.raises(SandboxFailed, match="process 1 is gone"):
        sandbox.run("true")
    assert sandbox.list() == [] and sandbox.run("echo new").stdout == b"new\n"
    assert shell.run("echo too").stdout == b"too\n"
    os.kill(sandbox.keeper.process_id, signal.SIGKILL)
    with pytest.raises(SandboxFailed, match="process 1 is gone"):
        sandbox.shell().run("true")
    assert shell.run("echo again").stdout == b"again\n"


def test_a_keeper_that_does_not_answer_at_a_timeout_is_replaced(
    sandbox: BubblewrapSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sandbox.keeper

    def deaf(*_: object, **__: object) -> None:
        raise SandboxFailed("no answer")

    for run in (sandbox.run, sandbox.shell().run):
        with monkeypatch.context() as patch:
            patch.setattr(type(before), "ask", deaf)
            with pytest.raises(SandboxFailed, match="gone"):
                run("sleep 60", timeout=0.3)
        assert sandbox.keeper is not before and sandbox.run("echo new").stdout == b"new\n"
        before = sandbox.keeper
