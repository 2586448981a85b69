"""The check before the first sandbox: it refuses where an attack gets through, and says which."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import sparring
from sparring.envs.sandbox import cgroup, launch, open_fork_server, open_sandbox, probe
from sparring.envs.sandbox.attacks import ATTACKS, LIMITS, Attack
from sparring.envs.sandbox.bubblewrap import BubblewrapSandbox
from sparring.envs.sandbox.check import run as sandbox_command
from sparring.envs.sandbox.launch import Keeper
from sparring.envs.sandbox.protocol import Sandbox, SandboxRefused
from sparring.errors import CheckFailed

pytestmark = pytest.mark.usefixtures("bubblewrap")


@pytest.fixture
def unverified(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_verified", set())


def only(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Make only these attacks, to save time."""
    monkeypatch.setattr(probe, "ATTACKS", {name: ATTACKS[name] for name in names})


def without(flags: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Take arguments out of bubblewrap's command line."""
    whole = launch.command_line

    def weakened(*arguments: Any) -> Any:
        line = whole(*arguments)
        line.arguments = [one for one in line.arguments if one not in flags]
        return line

    monkeypatch.setattr(launch, "command_line", weakened)


def test_sandboxes_open_once_the_check_has_passed(unverified: None) -> None:
    with open_sandbox(label="checked", backend="bubblewrap") as opened:
        assert opened.run("echo hello").stdout == b"hello\n" and opened.label == "checked"
    assert probe._verified == {"bubblewrap"}
    with open_fork_server() as server:
        assert server.grade("def f(): return 1", ["assert f() == 1"], ["f"]).passed


def test_an_attack_that_gets_through_is_named_and_nothing_runs(
    unverified: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leaks(sandbox: Sandbox) -> str:
        return "it read the moon"

    monkeypatch.setattr(probe, "ATTACKS", {"moon": Attack("moon", "Read the moon", leaks, True)})
    for _ in range(2):  # a failed check is made again, never remembered as passed
        with pytest.raises(SandboxRefused, match=r"(?s)moon .Read the moon.*it read the moon.*Nothing is run"):
            open_sandbox(backend="bubblewrap")
    with pytest.raises(CheckFailed, match=r"attacks got through .moon on bubblewrap"):
        sandbox_command("check", Console(quiet=True))


def test_the_command_shows_what_held_and_what_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "open files")
    console = Console(record=True, width=200, quiet=False, file=io.StringIO())
    sandbox_command("check", console)
    with BubblewrapSandbox(label="check"):
        sandbox_command("list", console)
    sandbox_command("reap", console)
    said = console.export_text()
    assert "open files" in said and "held" in said and "Every attack was held off." in said
    assert "check" in said and "open" in said and "orphans ended" in said


def test_a_missing_filter_is_noticed(unverified: None, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "process 1", "forbidden calls")
    monkeypatch.setattr("sparring.envs.sandbox.command.sandbox_filter", lambda: bytes.fromhex("060000000000ff7f"))
    with pytest.raises(SandboxRefused, match=r"(?s)process 1.*forbidden calls"):
        open_sandbox(backend="bubblewrap")


def test_a_network_that_is_shared_is_noticed(unverified: None, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "network")
    whole = launch.command_line

    def shared(*arguments: Any) -> Any:
        line = whole(*arguments)
        line.arguments.insert(1, "--share-net")
        return line

    monkeypatch.setattr(launch, "command_line", shared)
    with pytest.raises(SandboxRefused, match=r"a connection from the sandbox arrived"):
        open_sandbox(backend="bubblewrap")


def test_a_writable_folder_too_many_is_noticed(unverified: None, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "filling the disk", "writing outside")
    whole = launch.command_line

    def writable(*arguments: Any) -> Any:
        line = whole(*arguments)
        while "--remount-ro" in line.arguments:
            at = line.arguments.index("--remount-ro")
            del line.arguments[at : at + 2]
        return line

    monkeypatch.setattr(launch, "command_line", writable)
    with pytest.raises(SandboxRefused, match=r"(?s)filling the disk.*a file /.*writing outside"):
        open_sandbox(backend="bubblewrap")


def test_limits_that_do_not_hold_are_noticed(unverified: None, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "memory of one process", "memory of many processes", "fork bomb", "open files")
    whole = Keeper.send

    def generous(self: Keeper, request: Any, descriptors: Any = ()) -> None:
        if request["do"] == "begin":
            most = {"memory_bytes": 2**34, "processes": 400, "open_files": 4096, "watch": 0}
            request = {**request, "limits": {**request["limits"], **most}}
        whole(self, request, descriptors)

    monkeypatch.setattr(Keeper, "send", generous)
    monkeypatch.setattr(cgroup, "create", lambda *_: None)
    with pytest.raises(SandboxRefused, match=r"(?s)memory of one.*memory of many.*fork bomb.*open files"):
        open_sandbox(backend="bubblewrap")


def test_bubblewraps_own_complaint_comes_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    without({"--unshare-user"}, monkeypatch)
    with pytest.raises(SandboxRefused, match=r"bubblewrap could not start a sandbox: bwrap: .*What helps"):
        BubblewrapSandbox()


def test_without_control_groups_the_keeper_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroup, "create", lambda *_: None)
    for name in ("memory of one process", "memory of many processes", "fork bomb", "memory in files"):
        with BubblewrapSandbox(LIMITS) as opened:
            assert opened.memory_limit == "watched"
            assert ATTACKS[name].attempt(opened) is None


# What an ordinary user needs: to import sparring, and a Python that is not in somebody's home.
AS_USER = """
from sparring.envs.sandbox import probe
for found in probe.check(probe.opener("bubblewrap")):
    print(found.attack.name, "|", found.breach)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="runs as an ordinary user already: test_attacks.py covers it")
def test_every_attack_is_held_off_for_an_ordinary_user_too(tmp_path_factory: pytest.TempPathFactory) -> None:
    python = Path(sys.base_prefix, "bin", "python3").resolve()
    if not all(folder.stat().st_mode & 0o001 for folder in python.parents):
        python = Path("/usr/bin/python3")
    version = subprocess.run([python, "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True, text=True)
    if version.stdout.split() != list(map(str, sys.version_info[:2])):
        pytest.skip(f"no Python {sys.version_info[0]}.{sys.version_info[1]} that an ordinary user can reach")
    package = Path(sparring.__file__).parents[1]
    libraries = [path for path in sys.path if path.endswith("site-packages")]
    with tempfile.TemporaryDirectory() as home:
        os.chown(home, 3333, 3333)
        as_user = ["setpriv", "--reuid=3333", "--regid=3333", "--clear-groups", "env", f"HOME={home}", f"TMPDIR={home}"]
        path = ":".join([str(package), *libraries])
        command = [*as_user, f"PYTHONPATH={path}", "PYTHONDONTWRITEBYTECODE=1", str(python), "-c", AS_USER]
        done = subprocess.run(command, capture_output=True, text=True, timeout=250)
    outcomes = dict(line.split(" | ") for line in done.stdout.splitlines())
    assert outcomes == dict.fromkeys(ATTACKS, "None"), done.stderr
