"""Debian's programs under Xvfb; skipped where one is not installed, whose message is tested everywhere."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparring.envs.base import restore, snapshot
from sparring.envs.gui.actions import GuiAction, Kind
from sparring.envs.gui.application_tasks import KINDS
from sparring.envs.gui.applications import DesktopApplications
from sparring.envs.gui.desktop_tasks import DesktopTask, TaskKind
from sparring.envs.gui.programs import landlock
from sparring.envs.gui.programs import session as session_module
from sparring.envs.gui.programs.session import ProgramSession
from sparring.errors import EnvFailed, InvalidConfig, MissingExtra, UnknownName
from sparring.testing import check_env
from sparring.testing.contract import check_nonsense
from sparring.testing.environment import run_check
from sparring.testing.subject import Subject

for module in ("Xlib", "mss", "PIL", "jeepney"):
    pytest.importorskip(module)
PROGRAMS = ("Xvfb", "openbox", "dbus-daemon", "/usr/libexec/at-spi2-registryd", "l3afpad", "galculator")
needs_programs = pytest.mark.skipif(
    not all(map(shutil.which, PROGRAMS)) or not landlock.version(), reason=f"needs Landlock and {', '.join(PROGRAMS)}"
)


@pytest.fixture(scope="module")
def env() -> Iterator[DesktopApplications]:
    made = DesktopApplications()
    yield made
    made.close()


def silent(command: list[str]) -> TaskKind:
    """A kind of task in a program that says nothing of what it shows."""
    spec = {"programs": [command], "environment": {"NO_AT_BRIDGE": "1"}}
    return TaskKind(
        lambda rng: DesktopTask("own", f"look {rng.integers(1_000_000)}", spec, "done.txt"),
        lambda goal, state: goal in state["files"],
        lambda goal, look: GuiAction(Kind.COMPLETE),
    )


def do(env: DesktopApplications, **action: Any) -> tuple[str, float, bool]:
    text, reward, terminated, _, info = env.step(json.dumps(action))
    assert "no_op" not in info
    return text, reward, terminated


@pytest.mark.parametrize("name", ["openbox", "dbus-daemon"])
def test_a_missing_program_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    which = shutil.which
    monkeypatch.setattr(session_module.shutil, "which", lambda one, path: None if one == name else which(one))
    with pytest.raises(MissingExtra, match=f'"{name}".*apt-get install {name}'):
        ProgramSession((800, 480), 10.0)


def test_settings_out_of_range_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownName, match="edit"):
        DesktopApplications(kinds="edits")
    with pytest.raises(InvalidConfig, match="800"):
        DesktopApplications(width=400)


@needs_programs
def test_a_kernel_that_confines_nobody_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landlock, "version", lambda: 0)
    with pytest.raises(InvalidConfig, match="confined False"):
        ProgramSession((800, 480), 10.0)


def test_tasks_are_the_same_for_the_same_seed_and_shared_by_no_two_splits() -> None:
    def tasks(split: str) -> list[tuple[str, str]]:
        env = DesktopApplications()
        found = []
        for number in range(40):
            env._task = f"{split}/{number}"
            found.append((env.task.instruction, json.dumps(env.task.spec)))
        return found

    assert tasks("test") == tasks("test")
    assert not set(tasks("test")) & set(tasks("train"))


@needs_programs
@pytest.mark.slow
def test_it_keeps_the_whole_contract() -> None:
    check_env(lambda: DesktopApplications(kinds="edit"), max_turns=2)


@needs_programs
def test_nonsense_and_chance_earn_nothing(env: DesktopApplications) -> None:
    subject = Subject(lambda: DesktopApplications(kinds="edit"), seed=0, max_turns=1)
    assert run_check("nonsense", check_nonsense, subject).outcome == "passed"
    env.reset(seed=0, options={"task": "test/3"})
    rng = np.random.default_rng(0)
    for _ in range(4):
        assert do(env, action="click", point=rng.integers(200, 1000, size=2).tolist())[1:] == (0.0, False)


@needs_programs
@pytest.mark.parametrize("number", range(len(KINDS)))
def test_the_expert_does_every_kind_of_task(env: DesktopApplications, number: int) -> None:
    text, info = env.reset(seed=0, options={"task": f"test/{number}"})
    assert 'menu "File" at ' in text and info["image"].size == (800, 480)
    if number == 3:  # many elements are asked about at once, and none is lost
        assert all(f'toggle button "{digit}" at ' in text for digit in range(10))
    for _ in range(20):
        _, reward, terminated, _, info = env.step(env.expert_action())
        if terminated:
            break
    assert (reward, info["success"]) == (1.0, True), env.task


@needs_programs
def test_a_file_of_another_name_earns_nothing_and_snapshots_come_back(env: DesktopApplications) -> None:
    first, _ = env.reset(seed=0, options={"task": "test/1"})
    menus = [f'menu "{name}"' for name in ("File", "Edit", "Search", "Options", "Help")]
    shown = [line.split(" at ")[0] for line in first.splitlines()]
    assert shown == ['window "(Untitled)"', *menus, 'text "" = ""']
    text, *_ = do(env, action="click", point=[25, 65])
    assert 'menu item "Save" at' in text and 'menu item "Quit" at' in text
    do(env, action="press", keys=["esc"])
    do(env, action="type", text=env.task.goal["text"], point=[500, 500])
    text, *_, info = env.step('{"action": "press", "keys": ["ctrl", "s"]}')
    assert 'window "Save As"' in text and 'button "Save As"' in text and 'menu "File"' not in text
    saved = snapshot(env)
    do(env, action="type", text="wrong-é漢.txt")
    later, reward, terminated = do(env, action="click", point=[935, 940])
    assert ('window "wrong-é漢.txt"' in later, reward, terminated) == (True, 0.0, False)
    assert env._look.state["files"]["wrong-é漢.txt"] == env.task.goal["text"]
    assert do(env, action="complete")[1:] == (0.0, True)
    assert restore(env, saved) == (text, {"image": info["image"]})


@needs_programs
def test_a_program_without_a_tree_is_seen_as_a_picture() -> None:
    env = DesktopApplications(kinds=[silent(["galculator"])])
    assert env.reset(seed=0)[0] == (
        'window without a list of elements (look at the picture) "galculator" at 0 0 1000 1000'
    )
    session: Any = env._session
    assert do(env, action="press", keys=["ctrl", "q"]) == ("", 0.0, True)
    env.close()
    assert not session.folder.exists()


@needs_programs
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_program_that_crashes_or_hangs_costs_the_episode(number: int) -> None:
    env = DesktopApplications(kinds="edit")
    env.reset(seed=0)
    session: Any = env._session
    ids = session.children.ids
    session.patience_s = session._bus.patience_s = 0.5
    os.kill(ids["0 l3afpad"], number)
    with pytest.raises(EnvFailed, match="the next episode starts others"):
        env.step('{"action": "wait"}')
    assert not any(Path(f"/proc/{id}").exists() for id in ids.values())
    with pytest.raises(EnvFailed, match="the next episode starts others"):
        env.step('{"action": "wait"}')
    if number == signal.SIGKILL:
        assert 'menu "File"' in env.reset(seed=0)[0]
    env.close()


@needs_programs
def test_a_program_that_shows_no_window_is_named() -> None:
    env = DesktopApplications(kinds=[silent(["true"])])
    with pytest.raises(EnvFailed, match="true' was to show a window and ended"):
        env.reset(seed=0)
    env.close()


@needs_programs
def test_processes_end_when_their_maker_is_killed() -> None:
    script = (
        "import time\nfrom sparring.envs.gui.applications import DesktopApplications\n"
        "env = DesktopApplications(kinds='edit')\nenv.reset(seed=0)\nmade = env._session\n"
        "print(made.display.process.pid, made.children.keeper.pid, *made.children.ids.values())\n"
        "print(made.folder, flush=True)\ntime.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as maker:
        assert maker.stdout is not None
        ids, folder = maker.stdout.readline().split(), Path(maker.stdout.readline().strip())
        assert len(ids) == 6 and folder.exists()
        maker.kill()
    deadline = time.monotonic() + 15
    while (any(map(_runs, ids)) or folder.exists()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(_runs, ids)) and not folder.exists()


def _runs(id: str) -> bool:
    try:
        return Path(f"/proc/{id}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
