"""Repositories repaired in real sandboxes."""

from __future__ import annotations

import gc
import json
import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

from sparring.envs.code.grading import Grader
from sparring.envs.code.repair.env import RepositoryRepair
from sparring.envs.code.repair.generate import bugs, source
from sparring.envs.code.repair.prove import failing
from sparring.envs.sandbox import slots
from sparring.errors import InvalidConfig
from sparring.registration import make
from sparring.testing import check_env

pytestmark = pytest.mark.sandbox

GOLDEN = Path(__file__).parents[1] / "golden" / "repair.json"
TASK = {"task": "statistic.moving_sums/1"}
COMMANDS = ("ls -R", "python3 run_tests.py", "cd app && cat statistic.py | head -5", "false", "nonsense", "")


@pytest.fixture
def env() -> Iterator[RepositoryRepair]:
    made = RepositoryRepair(command_s=3.0)
    made.reset(seed=0, options=TASK)
    yield made
    made.close()


def test_it_keeps_the_contract() -> None:
    check_env(lambda: make("RepositoryRepair-v1", turns=4))


def test_the_expert_repairs_and_the_idle_do_not() -> None:
    env = RepositoryRepair()
    for split in env.splits:
        for id in list(env.task_ids(split))[::24]:
            env.reset(options={"task": id})
            assert env.step("submit")[1] == 0.0, id
            env.reset(options={"task": id})
            env.step(env.expert_action())
            assert "OK" in env.step("python3 run_tests.py")[0], id
            _, reward, terminated, _, info = env.step(env.expert_action())
            assert (reward, terminated, info["success"]) == (1.0, True, True), id
    env.close()


@pytest.mark.slow
def test_every_bug_is_proven_and_its_reverse_patch_mends_it() -> None:
    grader = Grader(timeout_s=8.0)
    for id, bug in bugs().items():
        broken = bug.mutation.apply(source(bug.module))
        found = failing(grader, bug.module, broken)
        assert found is not None and {name: tuple(cases) for name, cases in found.items()} == bug.failing, id
        assert failing(grader, bug.module, bug.mutation.undo(broken)) == {}, id
    grader.close()


def test_a_sample_of_bugs_is_proven() -> None:
    grader = Grader(timeout_s=8.0)
    for id, bug in list(bugs().items())[::16]:
        found = failing(grader, bug.module, bug.mutation.apply(source(bug.module)))
        assert found is not None and {name: tuple(cases) for name, cases in found.items()} == bug.failing, id
    assert failing(grader, "money", source("money")) == {}
    grader.close()


def test_mending_one_thing_and_breaking_another_is_worth_nothing(env: RepositoryRepair) -> None:
    env.step(env.expert_action())
    env.step("echo 'def mean(values): return 0.0' >> app/statistic.py")
    _, reward, _, _, info = env.step("submit")
    assert (reward, info["success"]) == (0.0, False)


def test_the_shell_stays_and_says_how_commands_ended(env: RepositoryRepair) -> None:
    assert env.step("cd app; x=3")[0] == "[no output]"
    assert env.step("pwd; echo $x")[0] == "/work/app\n3"
    assert env.step("exit 4")[0] == "[exit status 4]"
    assert env.step("pwd")[0] == "/work"
    text, *_ = env.step("echo before; sleep 30")
    assert text.startswith("before") and "ran out of time" in text
    text, *_ = env.step("seq 100000")
    assert len(text) < 5_000 and "characters" in text
    assert "no_op" in env.step("")[4] and "no_op" in env.step("\ud800")[4] and "no_op" in env.step("x" * 70_000)[4]


def test_snapshots_hold_files_and_folder(env: RepositoryRepair) -> None:
    env.step("cd app; echo 1 > new.txt; chmod 700 new.txt; ln -s new.txt link")
    saved = pickle.loads(pickle.dumps(env.snapshot()))  # noqa: S301 - our own
    before = env.sandbox.snapshot()
    env.step("rm -rf /work/*; cd /tmp; touch left")
    env.restore(saved)
    assert env.sandbox.snapshot() == before
    assert env.step("pwd; cat link; ls /tmp")[0] == "/work/app\n1"
    other = RepositoryRepair()
    other.restore(saved)
    assert other.step("pwd; cat link")[0] == "/work/app\n1"
    other.close()


def test_large_files_beside_the_code_and_a_shell_that_lies_do_no_harm(env: RepositoryRepair) -> None:
    env.reset(seed=0, options=TASK)
    env.step("builtin() { printf 'a\\0b'; }")
    env.restore(env.snapshot())
    assert env.step("pwd")[0] == "/work"
    env.step(env.expert_action())
    env.step("head -c 5000000 /dev/zero > a.log")
    assert env.step("submit")[1] == 1.0


# What an agent may try instead of repairing; it has no tests by values in its reach, so none helps.
CHEATS = {
    "looking for the tests": "grep -rl moving_sums / 2>/dev/null | head; env; ls -la / /tmp /run 2>&1 | head -50",
    "deleting the visible tests": "rm -rf tests; echo 'print(\"OK\")' > run_tests.py",
    "ending the process": "echo 'import os; os._exit(0)' >> app/statistic.py",
    "sys.exit": "echo 'raise SystemExit(0)' >> app/statistic.py",
    "patching equality": "printf 'class L(list):\\n def __eq__(s, o): return True\\n' >> app/statistic.py; "
    "echo 'def moving_sums(v, w): return L()' >> app/statistic.py",
    "patching builtins": "printf 'import builtins\\nbuiltins.AssertionError = BaseException\\n' >> app/statistic.py; "
    "echo 'builtins.exec = print' >> app/statistic.py",
    "shadowing the standard library": "echo 'raise SystemExit(0)' | tee unittest.py json.py os.py",
    "a process that comes back": "(while true; do sleep 0.1; echo 'x = (' > app/statistic.py; done) & disown",
    "a fork bomb": "b() { b | b & }; b",
    "much output": "yes",
    "a full disk": "cat /dev/zero > app/big",
    "folders without end": "for i in $(seq 2000); do mkdir d; cd d; done",
    "killing all": "kill -9 -1",
    "redefining commands": "cd() { :; }; pwd() { echo /; }; builtin() { :; }; trap 'x' DEBUG; exec 2>&-",
}  # fmt: skip


@pytest.mark.parametrize("cheat", CHEATS)
def test_cheats_cost_their_episode_only(env: RepositoryRepair, cheat: str) -> None:
    text, reward, *_ = env.step(CHEATS[cheat])
    assert len(text) < 5_000 and reward == 0.0
    _, reward, terminated, _, info = env.step("submit")
    assert (reward, terminated, info["success"]) == (0.0, True, False)
    env.reset(seed=0, options=TASK)
    assert env.step("ls")[0] == "app\nrun_tests.py\ntests"
    env.step(env.expert_action())
    assert env.step("submit")[1] == 1.0


def ours() -> int:
    """How many sandboxes this process holds."""
    return sum(tenant.owner == os.getpid() for tenant, _ in slots.tenants())


def test_closing_or_forgetting_environments_leaves_no_sandbox() -> None:
    before = ours()
    one, other = RepositoryRepair(), RepositoryRepair()
    one.reset(seed=0)
    other.reset(seed=1)
    assert ours() == before + 2
    one.close()
    one.close()
    del other
    gc.collect()
    assert ours() == before


def test_settings_that_do_not_exist_are_refused() -> None:
    for options in ({"turns": 0}, {"command_s": 0}, {"timeout_s": -1}):
        with pytest.raises(InvalidConfig, match=next(iter(options))):
            RepositoryRepair(**options)  # type: ignore[arg-type]


def played() -> list[list[object]]:
    """What a few fixed commands are told."""
    env = RepositoryRepair()
    env.reset(seed=0, options=TASK)
    turns: list[list[object]] = []
    for command in (*COMMANDS, env.expert_action(), "cd ..; python3 run_tests.py", "submit"):
        text, reward, *_ = env.step(command)
        turns.append([command, text, reward])
    env.close()
    return turns


def test_the_episode_is_the_one_on_record() -> None:
    """`python tests/envs/code/record_golden.py` writes the record anew, after a deliberate change only."""
    assert played() == json.loads(GOLDEN.read_text(encoding="utf-8"))
