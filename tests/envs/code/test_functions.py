"""Functions written over turns, in real sandboxes."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from sparring.envs.code import grading
from sparring.envs.code.env import CodeFunctions, FunctionWriting
from sparring.envs.code.steps import STEPS, Line, code, run
from sparring.envs.code.tasks import OPEN, FunctionTask
from sparring.errors import InvalidConfig
from sparring.registration import make
from sparring.testing import check_env

pytestmark = pytest.mark.sandbox

GOLDEN = Path(__file__).parent / "golden" / "functions.json"
SECRET = 7316717653133062


class OneTask:
    """A task whose hidden answers stand in its hidden tests alone."""

    splits = ("train",)
    forms = OPEN

    def task_ids(self, split: str) -> tuple[str, ...]:
        return ("only",)

    def task(self, id: str) -> FunctionTask:
        hidden = tuple(f"assert f({number}) == {SECRET + number}" for number in range(4))
        return FunctionTask("only", "Write f.", ("f",), ("assert f('visible')",), hidden)

    def write(self, task: FunctionTask) -> str:
        raise NotImplementedError


@pytest.fixture
def env() -> Iterator[FunctionWriting]:
    made = FunctionWriting(OneTask(), timeout_s=2.0)
    made.reset(seed=0)
    yield made
    made.close()


@pytest.mark.parametrize("options", [{"programs": "tokens"}, {"test_on_write": False, "words": "loose"}])
def test_it_keeps_the_contract(options: dict[str, object]) -> None:
    check_env(lambda: make("CodeFunctions-v1", **options))


def test_the_expert_solves_tasks_of_every_split_and_depth() -> None:
    env = CodeFunctions(max_depth=4, programs="tokens")
    depths = set()
    for split in env.splits:
        for number in range(8):
            _, info = env.reset(options={"task": f"{split}/{number}"})
            depths.add(info["depth"])
            text, reward, *_ = env.step(env.expert_action())
            assert (text, reward) == ("3 of 3 tests pass.", 0.0)
            _, reward, terminated, truncated, info = env.step(env.expert_action())
            assert (reward, terminated, truncated, info["score"], info["success"]) == (1.0, True, False, 1.0, True)
    env.close()
    assert depths == {1, 2, 3, 4}


def test_every_step_is_in_the_sandbox_what_it_is_here() -> None:
    inputs = [[], [4], [5, 0, 9, 4, 4], [2, 7, 1, 8, 6, 3]]
    grader = grading.Grader()
    for step in STEPS:
        for number in step.numbers:
            program = (Line(step, number),)
            tests = [f"assert f({one}) == {run(program, one)}" for one in inputs]
            assert grader.grade(code(program), tests, ["f"]).passed, (step.exact, number)
    grader.close()


def test_an_episode_by_hand() -> None:
    env = CodeFunctions(words="loose", turns=5)
    env.reset(options={"task": "train/8506"})  # add 4 to each, then drop the first 3
    text, _, _, _, info = env.step("write def f(x): return [y + 3 for y in x][3:]")
    assert text == (
        "1 of 3 tests pass.\nf([6, 3, 5, 6]) should be [10], got [9]\nf([7, 2, 1, 1]) should be [5], got [4]"
    )
    text, *_ = env.step("write\nprint('hi')\ndef f(x): return missing")
    assert 'File "solution.py", line 2, in f' in text and "NameError" in text and "It printed: hi" in text
    text, *_ = env.step("write def f(x) return x")
    assert "SyntaxError" in text
    same, _, _, _, info = env.step("gibberish")
    assert same == text and "gibberish" in info["no_op"]
    text, reward, terminated, truncated, info = env.step("write def f(x): return [y + 4 for y in x][3:]")
    assert (text, reward, terminated, truncated) == ("Submitted: 8 of 8 hidden tests pass.", 1.0, False, True)
    assert info["success"] and "no_op" in env.step("submit")[4]
    env.close()


@pytest.mark.parametrize(("feedback", "said"), [("count", "0 of 3 tests pass."), ("none", "The program is written.")])
def test_feedback_can_be_hidden(feedback: str, said: str) -> None:
    env = CodeFunctions(feedback=feedback)  # type: ignore[arg-type]
    env.reset(seed=0)
    assert env.step("write def f(x): return None")[0] == said
    env.close()


def test_testing_can_be_a_turn_of_its_own() -> None:
    env = CodeFunctions(test_on_write=False)
    _, info = env.reset(seed=0)
    assert info["actions"].choices == ("submit",) and "no_op" in env.step("test")[4]
    text, _, _, _, info = env.step(env.expert_action())
    assert text == "The program is written." and info["actions"].choices == ("test", "submit")
    assert env.step("test")[0] == "3 of 3 tests pass."
    env.close()


# Each tries to pass without knowing the answers; what it tries is in its name.
CHEATS = {
    "reading what it can": """
import gc, glob
def f(x):
    for path in glob.glob("/proc/*/mem") + glob.glob("/proc/*/environ") + glob.glob("/work/**") + glob.glob("/tmp/**"):
        try:
            if "7316717" in open(path, errors="replace").read():
                return int(open(path).read().split("==")[1])
        except Exception:
            pass
    return next((o for o in gc.get_objects() if isinstance(o, int) and o > 10**15), None)
""",
    "forging output": """
import os
for number in range(64):
    try: os.write(number, b'[true, ""]\\n' * 9)
    except OSError: pass
""",
    "sys.exit": "import sys\nsys.exit(0)",
    "os._exit": "import os\ndef f(x): os._exit(0)",
    "equal to everything": """
class Anything(int):
    def __eq__(self, other): return True
def f(x): return Anything(1)
""",
    "patching builtins": """
import builtins
builtins.AssertionError = type("AssertionError", (BaseException,), {})
builtins.exec = lambda *a: None
builtins.compile = lambda *a: None
def f(x): return 0
""",
    "patching the frames above": """
import sys
def f(x):
    frame = sys._getframe()
    while frame:
        frame.f_locals.update(passed=True); frame.f_globals["passed"] = True
        frame = frame.f_back
    return 0
""",
    "an endless loop": "def f(x):\n    while True: pass",
    "huge output": "def f(x):\n    while True: print('x' * 100000)",
    "a fork bomb": "import os\ndef f(x):\n    while True:\n        try: os.fork()\n        except OSError: pass",
    "much memory": "def f(x): return [bytearray(1 << 20) for _ in range(1 << 20)]",
    "killing all": "import os, signal\ndef f(x):\n    os.kill(-1, signal.SIGKILL)",
    "a deep recursion": "def f(x): return f(x)",
    "a deep expression": "def f(x): return " + "(" * 5000 + ")" * 5000,
}  # fmt: skip


@pytest.mark.parametrize("cheat", CHEATS)
def test_cheats_cost_their_episode_only(env: FunctionWriting, cheat: str) -> None:
    text, *_ = env.step(f"write {CHEATS[cheat]}")
    assert str(SECRET)[:6] not in text and len(text) < 3_000
    _, reward, terminated, _, info = env.step("submit")
    assert (reward, terminated, info["success"]) == (0.0, True, False)
    env.reset(seed=0)
    text, *_ = env.step("write def f(x): return 'visible' if x == 'visible' else 7316717653133062 + x")
    assert text == "1 of 1 tests pass."
    assert env.step("submit")[1] == 1.0


def test_closing_or_forgetting_environments_leaves_no_sandbox() -> None:
    one, other = CodeFunctions(), CodeFunctions()
    for env in (one, other):
        env.reset(seed=0)
        env.step(env.expert_action())
    assert grading._servers.graders == 2 and grading._servers.count == 1
    one.close()
    one.close()
    assert grading._servers.graders == 1 and grading._servers.count == 1
    del other, env
    gc.collect()
    assert grading._servers.graders == 0 and grading._servers.count == 0


def test_settings_that_do_not_exist_are_refused() -> None:
    for options in ({"feedback": "all"}, {"turns": 0}, {"timeout_s": 0}):
        with pytest.raises(InvalidConfig, match=next(iter(options))):
            CodeFunctions(**options)  # type: ignore[arg-type]


def played() -> list[dict[str, object]]:
    """What a few fixed programs are told, task by task."""
    env = CodeFunctions(words="loose", show_tests=False, programs="tokens", turns=4)
    episodes = []
    for number in range(6):
        _, info = env.reset(seed=0, options={"task": f"test/{number}"})
        turns = []
        for action in ("def f ( x ) : x = x ; return x", "def f ( x ) : x = y", env.expert_action(), "submit"):
            text, reward, *_ = env.step(action)
            turns.append([action, text, reward])
        episodes.append({"instruction": info["instruction"], "turns": turns})
    env.close()
    return episodes


def test_episodes_are_those_on_record() -> None:
    """`python tests/envs/code/record_golden.py` writes the record anew, after a deliberate change only."""
    assert played() == json.loads(GOLDEN.read_text(encoding="utf-8"))
