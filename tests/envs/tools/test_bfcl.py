from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from sparring.envs.tools.bfcl.checkers import gold_calls, multi_turn_valid, single_turn_valid
from sparring.envs.tools.bfcl.entries import MORE_TOOLS, MULTI_TURN, SINGLE_TURN, entries, json_schema
from sparring.envs.tools.bfcl.env import BFCL, MOST_STEPS
from sparring.envs.tools.bfcl.simulators import load, run
from sparring.envs.tools.calls import Call, write_calls
from sparring.errors import EnvFailed, UnknownName
from sparring.testing import check_env

pytest.importorskip("bfcl_eval")

# Answers that contradict the entry's own tools, so that nothing can be right.
CONTRADICTIONS = {
    "parallel_multiple_26",
    "live_simple_106-63-0",
    "live_simple_112-68-0",
    "live_multiple_862-181-3",
    "live_multiple_964-207-0",
}


def say(*calls: Call) -> str:
    return write_calls(calls, "hermes")


def play(env: BFCL, task: str, *, gold: bool) -> float:
    env.reset(options={"task": task})
    for _ in range(100):
        _, reward, over, _, _ = env.step(env.expert_action() if gold else "I can't help with that.")
        if over:
            return reward
    raise AssertionError("the entry does not end")


@pytest.mark.parametrize("options", [{}, {"category": "multi_turn_miss_func", "style": "react"},
                                     {"category": "single_turn", "style": "python"}])  # fmt: skip
def test_it_keeps_the_contract(options: dict[str, Any]) -> None:
    check_env(lambda: BFCL(**options))


@pytest.mark.parametrize("category", MULTI_TURN)
def test_gold_answers_score_and_empty_ones_do_not(category: str) -> None:
    env = BFCL(category, whole=True)
    for task in env.task_ids("test")[::40]:
        assert play(env, task, gold=True) == 1.0
        assert play(env, task, gold=False) == 0.0


@pytest.mark.slow
def test_gold_answers_score_and_empty_ones_do_not_on_all_800_multi_turn_entries() -> None:
    env = BFCL("multi_turn", whole=True)
    assert len(env.task_ids("test")) == 800
    assert [task for task in env.task_ids("test") if play(env, task, gold=True) != 1.0] == []
    assert [task for task in env.task_ids("test") if play(env, task, gold=False) != 0.0] == []


@pytest.mark.parametrize("category", SINGLE_TURN)
def test_single_turns_are_checked_by_their_answers(category: str) -> None:
    found = entries(category)
    for id in list(found)[:: max(1, len(found) // 10)]:
        env = BFCL(category, whole=True)
        irrelevant = "irrelevance" in category
        assert play(env, id, gold=True) == float(id not in CONTRADICTIONS)
        assert play(env, id, gold=False) == float(irrelevant)
        wrong = [Call("no.such_tool", {"x": 1})]
        assert single_turn_valid(found[id], wrong) == (category == "live_relevance")


@pytest.mark.slow
def test_gold_answers_score_on_all_single_turn_entries_that_do_not_contradict_themselves() -> None:
    env = BFCL("single_turn", whole=True)
    assert len(env.task_ids("test")) == 3491
    assert {task for task in env.task_ids("test") if play(env, task, gold=True) != 1.0} == CONTRADICTIONS


def test_an_episode_by_hand() -> None:
    env = BFCL(whole=True)
    text, info = env.reset(options={"task": "multi_turn_base_1"})
    assert text.startswith("I am alex. Check if the current directory is under my name")
    assert '"name": "grep"' in info["instruction"]
    assert info["cluster"] == "multi_turn 1"
    text, reward, over, _, info = env.step(say(Call("ls", {"a": True})))
    assert text == '<tool_response>{"current_directory_content": ["workspace"]}</tool_response>'
    text, *_ = env.step("It is: there is a workspace.")
    assert text.startswith("Go to workspace directory")
    text, _, _, _, info = env.step(say(Call("cd", {"folder": "nowhere"})))
    assert "error" in text
    assert info["tool_errors"] == 1
    assert "no_op" not in info
    for action in (
        say(Call("cd", {"folder": "workspace"}), Call("mv", {"source": "log.txt", "destination": "archive"})),
        "Done.",
        say(Call("cd", {"folder": "archive"}), Call("grep", {"file_name": "log.txt", "pattern": "Error"})),
        "Done.",
        say(Call("tail", {"file_name": "log.txt", "lines": 20})),
        "Done.",
    ):
        assert not over
        text, reward, over, _, info = env.step(action)
    assert (over, reward, info["success"]) == (True, 1.0, True)


def test_the_checker_is_strict_about_state_and_about_what_was_seen() -> None:
    entry = entries("multi_turn_base")["multi_turn_base_1"]
    turns = [[gold_calls(entry, turn)] for turn in range(4)]
    assert multi_turn_valid(entry, turns)
    assert multi_turn_valid(entry, [[gold_calls(entry, 0), *turns[0]], *turns[1:]])  # looking once more does no harm
    assert not multi_turn_valid(entry, [*turns[:3], []])
    assert not multi_turn_valid(entry, [*turns[:3], [(Call("ls", {}),)]])  # the last lines were never shown
    assert not multi_turn_valid(entry, [[*turns[0], (Call("touch", {"file_name": "extra"}),)], *turns[1:]])


def test_instances_belong_to_their_episode() -> None:
    one, other = BFCL(whole=True), BFCL(whole=True)
    for env in (one, other):
        env.reset(options={"task": "multi_turn_base_1"})
    one.step(say(Call("touch", {"file_name": "mine"})))
    assert "mine" in one.step(say(Call("ls", {})))[0]
    assert "mine" not in other.step(say(Call("ls", {})))[0]
    one.reset(options={"task": "multi_turn_base_1"})
    assert "mine" not in one.step(say(Call("ls", {})))[0]
    assert "mine" not in json.dumps(entries("multi_turn_base")["multi_turn_base_1"].start)


def test_missing_tools_come_with_their_turn() -> None:
    env = BFCL("multi_turn_miss_func", whole=True)
    _, info = env.reset(options={"task": "multi_turn_miss_func_0"})
    assert '"name": "sort"' not in info["instruction"]
    for _ in range(3):
        text, *_ = env.step("I have no tool for that.")
    assert '"name": "sort"' in text
    assert text.endswith(MORE_TOOLS)


def test_only_the_simulators_own_public_methods_can_be_called() -> None:
    entry = entries("multi_turn_base")["multi_turn_base_1"]
    instances = load(entry)
    for name in ("_load_scenario", "__init__", "__class__", "root", "eval", "__import__", "ls.__func__"):
        assert str(run(instances, Call(name, {}))).startswith("Error during execution: name")
    env = BFCL(whole=True, style="python")
    env.reset(options={"task": "multi_turn_base_1"})
    for text in ("ls(a=__import__('os').getcwd())", "[ls(a=open('/etc/passwd'))]", "ls(a=(lambda: 1)())"):
        assert "literals" in env.step(text)[4]["no_op"]


def test_calls_that_would_take_for_ever_are_refused() -> None:
    entry = next(one for one in entries("multi_turn_base").values() if "MathAPI" in one.classes)
    instances = load(entry)
    assert run(instances, Call("power", {"base": 2, "exponent": 10})) == {"result": 1024}
    for call in (
        Call("power", {"base": 10, "exponent": 10**9}),
        Call("logarithm", {"value": 2.0, "base": 3.0, "precision": 10**9}),
        Call("square_root", {"number": 2.0, "precision": 10**9}),
        Call("round_number", {"number": 5, "decimal_places": -(10**9)}),
    ):
        assert "too large" in str(run(instances, call))


def test_a_file_system_that_outgrows_its_episode_ends_it() -> None:
    env = BFCL(whole=True)
    env.reset(options={"task": "multi_turn_base_1"})
    env.step(say(Call("mkdir", {"dir_name": "d0"}), Call("mkdir", {"dir_name": "leaf"})))
    with pytest.raises(EnvFailed, match="grown beyond"):
        for number in range(10_000):
            env.step(say(Call("mkdir", {"dir_name": f"d{number + 1}"})))
            for copy in range(2):
                env.step(say(Call("cp", {"source": f"d{number}", "destination": f"c{number}x{copy}"}),
                             Call("mv", {"source": f"c{number}x{copy}", "destination": f"d{number + 1}"})))  # fmt: skip
            if env.steps > 10:
                env.steps = 0  # as if the user had gone on


def test_a_file_system_that_is_too_deep_to_copy_ends_its_episode() -> None:
    env = BFCL(whole=True)
    env.reset(options={"task": "multi_turn_base_1"})
    deeper = [Call("mkdir", {"dir_name": "d"}), Call("cd", {"folder": "d"})] * 20
    env.step(say(*deeper))
    env.restore(env.snapshot())
    with pytest.raises(EnvFailed, match="directories deep"):
        for _ in range(4):
            env.step(say(*deeper))


def test_the_largest_numbers_that_can_be_given_are_answered() -> None:
    task = next(one for one in entries("multi_turn_base").values() if "MathAPI" in one.classes)
    env = BFCL(whole=True)
    env.reset(options={"task": task.id})
    assert "result" in env.step(say(Call("multiply", {"a": 2**4095, "b": -(2**4095)})))[0]
    assert "too large" in env.step(say(Call("add", {"a": 2**4096, "b": 1})))[4]["no_op"]


def test_a_turn_without_end_fails_the_entry() -> None:
    env = BFCL(whole=True)
    env.reset(options={"task": "multi_turn_base_1"})
    for number in range(MOST_STEPS):
        _, reward, over, _, info = env.step(say(Call("pwd", {})))
        assert over == (number == MOST_STEPS - 1)
    assert (reward, info["success"]) == (0.0, False)


def test_variants_of_a_scenario_share_their_split() -> None:
    env = BFCL("multi_turn")
    assert [len(env.task_ids(split)) for split in env.splits] == [472, 180, 148]
    for split in env.splits:
        numbers = {task.rpartition("_")[2] for task in env.task_ids(split)}
        assert len(numbers) * 4 == len(env.task_ids(split))


def test_schemas_of_the_data_become_json_schema() -> None:
    assert json_schema({"type": "dict", "properties": {"a": {"type": "float"}, "type": {"type": "any"}}}) == {
        "type": "object",
        "properties": {"a": {"type": "number"}, "type": {}},
    }


def test_a_category_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UnknownName, match="multi_turn"):
        BFCL("multiturn")


def test_without_the_package_its_extra_is_named() -> None:
    program = (
        "import sys; sys.modules['bfcl_eval'] = None\n"
        "import sparring\n"
        "try:\n    sparring.make('BFCL-v1')\n"
        "except sparring.errors.MissingExtra as missing:\n    print(missing)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=100)
    assert 'pip install "sparring[bfcl]"' in done.stdout
