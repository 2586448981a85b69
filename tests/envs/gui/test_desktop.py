"""The desktop under Xvfb; skipped where that or Tk is not installed, whose message is tested everywhere."""

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

import pytest

from sparring.agents.load import load_agent
from sparring.agents.scripted import ExpertPolicy
from sparring.envs.base import restore, snapshot
from sparring.envs.gui import display as display_module
from sparring.envs.gui import session as session_module
from sparring.envs.gui.desktop import Desktop
from sparring.envs.gui.desktop_tasks import KINDS
from sparring.envs.gui.display import Display
from sparring.envs.pool import EnvPool
from sparring.errors import EnvFailed, InvalidConfig, MissingExtra, UnknownName
from sparring.rollout import Setting, Start, rollout
from sparring.settings import EnvConfig
from sparring.testing import check_env
from sparring.types import Action, Prompt, Stop

for module in ("Xlib", "mss", "PIL", "tkinter"):
    pytest.importorskip(module)
needs_xvfb = pytest.mark.skipif(shutil.which("Xvfb") is None, reason="no Xvfb: apt-get install xvfb")


@pytest.fixture
def env() -> Iterator[Desktop]:
    made = Desktop()
    yield made
    made.close()


def test_a_missing_xvfb_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display_module.shutil, "which", lambda name: None)
    with pytest.raises(MissingExtra, match="apt-get install xvfb"):
        Display((400, 300))


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(UnknownName, match="form"):
        Desktop(kinds="from")
    with pytest.raises(InvalidConfig, match="380"):
        Desktop(width=100)


@needs_xvfb
def test_it_keeps_the_contract() -> None:
    check_env(Desktop, max_turns=4)


@needs_xvfb
def test_the_expert_does_every_kind_of_task(env: Desktop) -> None:
    for number in range(2 * len(KINDS)):
        env.reset(seed=0, options={"task": f"test/{number}"})
        for _ in range(30):
            _, reward, terminated, _, info = env.step(env.expert_action())
            if terminated:
                break
        assert (reward, info.get("success")) == (1.0, True), env.task


@needs_xvfb
def test_golden_form(env: Desktop) -> None:
    text, info = env.reset(seed=0, options={"task": "train/0"})
    assert info["instruction"].splitlines()[0] == "fill in the form and send it: Code 587, City Quito"
    assert [line.split(" at ")[0] for line in text.splitlines()] == [
        'label "Code"', 'field "Code" = ""', 'label "City"', 'field "City" = ""', 'button "Send"',
    ]  # fmt: skip
    assert info["image"].size == (400, 300)
    text, reward, terminated, _, _ = env.step('{"action": "type", "text": "A b?é漢", "point": [400, 50]}')
    assert ('field "Code" = "A b?é漢"' in text, reward, terminated) == (True, 0.0, False)
    text, *_ = env.step('{"action": "press", "keys": ["backspace"]}')
    assert 'field "Code" = "A b?é"' in text
    for nothing in (
        '{"action": "home"}',
        '{"action": "press", "keys": ["no such key"]}',
        '{"action": "type", "text": "\\u0007"}',
    ):
        text_after, *_, info = env.step(nothing)
        assert (text_after, bool(info["no_op"])) == (text, True)
    _, reward, terminated, _, info = env.step('{"action": "click", "point": [600, 280]}')  # sent, with the wrong code
    assert (reward, terminated, info["success"]) == (0.0, True, False)


@needs_xvfb
def test_saying_that_it_is_done_ends_it(env: Desktop) -> None:
    for said in ('{"action": "complete"}', '{"action": "impossible"}', '{"action": "answer", "text": "42"}'):
        env.reset(seed=0, options={"task": "train/0"})
        assert env.step(said)[1:3] == (0.0, True)


@needs_xvfb
def test_equal_actions_give_equal_screens_and_snapshots_come_back(env: Desktop) -> None:
    def play() -> list[tuple[str, Any]]:
        text, info = env.reset(seed=0, options={"task": "train/5"})
        seen = [(text, info["image"])]
        for action in actions:
            text, _, _, _, info = env.step(action)
            seen.append((text, info["image"]))
        return seen

    actions = [
        '{"action": "scroll", "direction": "down", "point": [500, 200]}',
        '{"action": "click", "point": [500, 120]}',
        '{"action": "click", "point": [500, 120]}',
        '{"action": "click", "point": [880, 530]}',
    ]
    first = play()
    assert play() == first
    saved = snapshot(env)
    env.reset(seed=1)
    assert restore(env, saved) == (first[-1][0], {"image": first[-1][1]})


@needs_xvfb
def test_no_episode_finds_what_another_left_on_keyboard_and_clipboard(env: Desktop) -> None:
    def type(text: str) -> str:
        seen = env.step(json.dumps({"action": "type", "text": text, "point": [400, 50]}))[0]
        return seen.splitlines()[1].rpartition(" at ")[0]

    def press(*keys: str) -> Any:
        return env.step(json.dumps({"action": "press", "keys": keys}))[4].get("no_op")

    env.reset(seed=0, options={"task": "train/0"})
    assert "no key 'Caps_Lock'" in press("Caps_Lock")
    assert [type("é"), type("é漢"), type("ü漢")] == [f'field "Code" = "{text}"' for text in ("é", "éé漢", "éé漢ü漢")]
    assert press("A") is None and press("b") is None and type("c") == 'field "Code" = "éé漢ü漢Abc"'
    press("shift", "home")
    press("ctrl", "c")
    env.reset(seed=0, options={"task": "train/0"})
    type("x")
    press("ctrl", "v")
    assert type("y") == 'field "Code" = "xy"'


@needs_xvfb
def test_the_file_that_was_asked_about_is_deleted(env: Desktop) -> None:
    text, _ = env.reset(seed=0, options={"task": "train/5"})

    def click(start: str) -> str:
        left, top, right, bottom = map(
            int, next(one for one in text.splitlines() if one.startswith(start)).split()[-4:]
        )
        return env.step(json.dumps({"action": "click", "point": [(left + right) // 2, (top + bottom) // 2]}))[0]

    first, second = [line.split('"')[1] for line in text.splitlines() if line.startswith("entry")][:2]
    text = click(f'entry "{first}"')
    text = click("button")
    assert f"Delete {first}?" in text
    text = click(f'entry "{second}"')
    text = click('button "Yes"')
    assert env._look.state["gone"] == [first]


class Killer:
    """Does what the expert does, and stops or kills a process of one environment on the way."""

    version = 0

    def __init__(self, pool: EnvPool, number: int, of: str) -> None:
        self.pool, self.number, self.of, self.done = pool, number, of, False

    def act(self, prompts: list[Prompt]) -> list[Action]:
        if not self.done:
            self.done = True
            core: Any = self.pool.envs[0].unwrapped
            session = core._session
            session.patience_s = 1.0  # of this one alone: a busy machine may start the next one slowly
            os.kill((session if self.of == "application" else session.display).process.pid, self.number)
        return ExpertPolicy().act(prompts)


@needs_xvfb
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize("of", ["application", "display"])
def test_what_crashes_or_hangs_costs_the_episode(number: int, of: str) -> None:
    config = EnvConfig("sparring/Desktop-v1", {"patience_s": "60"}, wrappers=("expert",))
    with EnvPool(config.maker(), 1) as pool:
        starts = [Start(0, task="train/1"), Start(0, task="train/9")]
        played = rollout(Killer(pool, number, of), pool, starts, Setting(config.full_id))
    assert [one.stop for one in played] == [Stop.ENV_ERROR, Stop.TERMINATED], played[1].error
    assert "EnvFailed in step" in str(played[0].error)
    assert "the next episode starts another" in str(played[0].error)
    assert played[1].success


@needs_xvfb
def test_processes_end_when_they_are_closed() -> None:
    session = session_module.Session((400, 300), 10.0)
    ids = [session.process.pid, session.display.process.pid]
    session.close()
    assert not any(Path(f"/proc/{id}").exists() for id in ids)
    env = Desktop()
    with pytest.raises(EnvFailed, match="reset first"):
        env.step('{"action": "wait"}')


@needs_xvfb
def test_processes_end_when_their_maker_is_killed() -> None:
    script = (
        "import time\nfrom sparring.envs.gui.session import Session\ns = Session((400, 300), 10.0)\n"
        "print(s.process.pid, s.display.process.pid, flush=True)\ntime.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as maker:
        assert maker.stdout is not None
        ids = maker.stdout.readline().split()
        maker.kill()
    deadline = time.monotonic() + 15
    while any(_runs(id) for id in ids) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(_runs(id) for id in ids)


def _runs(id: str) -> bool:
    try:
        return Path(f"/proc/{id}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@needs_xvfb
def test_a_text_agent_plays_by_the_list_of_widgets() -> None:
    config = EnvConfig("sparring/Desktop-v1", {"kinds": "checklist"}, wrappers=("expert",))
    with EnvPool(config.maker(), 2) as pool:
        played = rollout(load_agent("expert").policy, pool, [Start(seed) for seed in range(4)], Setting(config.full_id))
    assert all(one.success for one in played)
    assert all("checkbox" in turn.observation.text for one in played for turn in one.turns)
