"""Which backend contains a sandbox, what happens where none can, and what comes over the stream from one."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from sparring.envs.sandbox import UnsafeLocalWarning, engine, frames, open_sandbox, probe
from sparring.envs.sandbox.processes import start_time
from sparring.envs.sandbox.protocol import File, FileTree, Limits, SandboxFailed, SandboxRefused
from sparring.errors import InvalidConfig


def refuse(monkeypatch: pytest.MonkeyPatch, *refused: str) -> list[str]:
    """Let these backends be refused; returns the names of those that were asked for, in order."""
    asked = []

    def verify(backend: str, image: str) -> None:
        asked.append(backend)
        if backend in refused:
            raise SandboxRefused(f"{backend} lacks something")

    monkeypatch.setattr(probe, "verify", verify)
    monkeypatch.setattr(probe, "_verified", set())
    return asked


def test_docker_takes_over_where_bubblewrap_does_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = refuse(monkeypatch, "bubblewrap")
    assert probe.choose() == "docker" and asked == ["bubblewrap", "docker"]


def test_a_backend_that_holds_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = refuse(monkeypatch, "bubblewrap")
    monkeypatch.setattr(probe, "_verified", {probe._key("docker", engine.IMAGE)})
    assert probe.choose() == "docker" and asked == []


def test_where_none_holds_both_reasons_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, "bubblewrap", "docker")
    with pytest.raises(SandboxRefused, match=r"(?s)no backend.*bubblewrap lacks something.*docker lacks something"):
        open_sandbox()


def test_an_engine_that_is_not_there_is_told_with_what_to_install() -> None:
    with pytest.raises(SandboxRefused, match=r"no Docker engine answers at unix:///nowhere.*apt-get install docker.io"):
        engine.connect("unix:///nowhere")


def test_nothing_is_unsafe_unless_it_is_said() -> None:
    with pytest.raises(InvalidConfig, match="unsafe_local=True"):
        open_sandbox(backend="docker", unsafe_local=True)
    with pytest.warns(UnsafeLocalWarning, match="UNSAFE"), open_sandbox(unsafe_local=True) as opened:
        assert opened.run("echo hello; pwd").stdout == f"hello\n{opened.workspace}\n".encode()


@pytest.mark.filterwarnings("ignore::sparring.envs.sandbox.UnsafeLocalWarning")
def test_the_unsafe_one_keeps_the_calls_and_the_limits_of_time_and_output() -> None:
    with open_sandbox(Limits(output_bytes=1000), unsafe_local=True) as opened:
        shell = opened.shell()
        shell.run("x=3; mkdir d; cd d")
        assert shell.run("echo $x; pwd").stdout == f"3\n{opened.workspace}/d\n".encode()
        late = opened.run("echo part; setsid sleep 600 & sleep 600", timeout=0.3)
        assert late.timed_out and late.stdout == b"part\n"
        assert opened.run("seq 1 5000").truncated and not opened.run("yes").timed_out
        opened.write("d/f", b"x", mode=0o755)
        saved = opened.snapshot()
        opened.restore(FileTree())
        assert opened.list() == []
        opened.restore(saved)
        assert opened.read("d/f") == b"x" and opened.snapshot() == saved
        with pytest.raises(InvalidConfig, match="leads out"):
            opened.read("../x")
        with pytest.raises(FileNotFoundError):
            opened.read("nothing")
        workspace = Path(opened.workspace)
    assert not workspace.exists()


OWNER = """
import time
from sparring.envs.sandbox import open_sandbox
opened = open_sandbox(unsafe_local=True)
opened.run("sleep 599 & setsid sleep 599 &")
print(opened.run("pgrep -f 'sleep 59[9]'").text, flush=True)
opened.run("sleep 598", 500)
"""


def test_what_ran_unsafely_ends_with_its_owner() -> None:
    with subprocess.Popen([sys.executable, "-W", "ignore", "-c", OWNER], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        processes = [int(line) for line in (owner.stdout.readline(), owner.stdout.readline())]
        time.sleep(0.2)
        owner.kill()
    deadline = time.monotonic() + 10
    while any(start_time(process) for process in processes) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(start_time(process) for process in processes)


def reader(data: bytes):  # type: ignore[no-untyped-def]
    rest = [data]

    def read(size: int) -> bytes:
        taken, rest[0] = rest[0][:size], rest[0][size:]
        return taken

    return read


def test_messages_cross_and_oversized_or_broken_ones_are_refused() -> None:
    file = File("a\udcff", "file", 0o640, b"data", 123456789012345678)
    assert frames.file(*frames.take(reader(frames.pack(frames.described(file), file.data)), 4)) == file
    with pytest.raises(SandboxFailed, match="at most"):
        frames.take(reader(frames.pack({}, b"12345")), 4)
    with pytest.raises(SandboxFailed, match="at most"):
        frames.take(reader(b"\xff\xff\xff\xff\0\0\0\0"), 4)
    for text in (b"[1]", b"{", b"\xff\xff"):
        with pytest.raises(SandboxFailed, match="no message"):
            frames.take(reader(len(text).to_bytes(4, "big") + bytes(4) + text), 4)
    for header in ({"path": 3}, {"path": "x", "kind": "device"}, {"path": "x", "kind": "file", "mode": "rwx"}):
        with pytest.raises(SandboxFailed, match="no file"):
            frames.file(header, b"")
