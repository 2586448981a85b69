"""Generated tasks, without running any of their programs."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparring.envs.code.generate import GeneratedTasks, _behaviour
from sparring.envs.code.steps import HEAD, STEPS, TOKENS, code, run, siblings
from sparring.errors import InvalidConfig

TASKS = GeneratedTasks(max_depth=4)
IDS = st.tuples(st.sampled_from(TASKS.splits), st.integers(0, 999)).map(lambda one: f"{one[0]}/{one[1]}")


@settings(max_examples=60, deadline=None)
@given(IDS)
def test_a_task_is_what_it_promises(id: str) -> None:
    program, task = TASKS.program(id), TASKS.task(id)
    assert task == GeneratedTasks(max_depth=4).task(id)
    assert (task.depth, len(task.visible), len(task.hidden)) == (len(program), 3, 8)
    assert len({*task.visible, *task.hidden}) == 11
    words = task.solution.strip().removeprefix(HEAD).split(" ")
    assert set(words) <= set(TOKENS)
    ast.parse(task.solution)
    assert not any(line.step.ends for line in program[:-1])
    for at in range(len(program)):
        assert _behaviour(program[:at] + program[at + 1 :]) != _behaviour(program)


def test_visible_tests_single_the_function_out_among_all_that_loose_words_allow() -> None:
    """Of functions that leave next to nothing of a list some can't be told apart by three tests: 5 of 2,100 tasks."""
    ids = [f"{split}/{number}" for split in TASKS.splits for number in range(100)]
    assert sum(map(_is_singled_out, ids)) >= len(ids) - 3


def _is_singled_out(id: str) -> bool:
    program = TASKS.program(id)
    shown = [list(ast.literal_eval(test[test.index("[") : test.index("]") + 1])) for test in TASKS.task(id).visible]
    rivals = [one for one in siblings(program) if _behaviour(one) != _behaviour(program)]
    return not any(all(run(one, x) == run(program, x) for x in shown) for one in rivals)


def test_no_function_is_in_two_splits() -> None:
    tasks = GeneratedTasks()
    seen = {split: {_behaviour(tasks.program(f"{split}/{number}")) for number in range(400)} for split in tasks.splits}
    assert not seen["train"] & seen["test"] and not seen["train"] & seen["dev"] and not seen["dev"] & seen["test"]
    assert all(len(found) > 100 for found in seen.values())


def test_words_say_as_much_as_was_asked_for() -> None:
    says = {}
    for words in ("exact", "loose", "none"):
        says[words] = GeneratedTasks(words, show_tests=False).task("train/8506").instruction
    assert says == {
        "exact": "Write f(x) for a list x of numbers: add 4 to each, then drop the first 3.",
        "loose": "Write f(x) for a list x of numbers: add to each, then drop the first few.",
        "none": "Write f(x) for a list x of numbers: find out from the tests.",
    }
    shown = GeneratedTasks().task("train/8506").instruction.split("\n")
    assert len(shown) == 4 and shown[1].startswith("f([") and " == [" in shown[1]


def test_steps_of_a_family_sound_alike_when_loose_and_differ_when_exact() -> None:
    for family in {step.family for step in STEPS}:
        kinds = [step for step in STEPS if step.family == family]
        assert len({step.loose for step in kinds}) == 1
        assert len({step.exact for step in kinds}) == len(kinds)


def test_settings_that_do_not_exist_are_refused() -> None:
    with pytest.raises(InvalidConfig, match="words"):
        GeneratedTasks("vague")  # type: ignore[arg-type]
    with pytest.raises(InvalidConfig, match="programs"):
        GeneratedTasks(programs="all")  # type: ignore[arg-type]
    with pytest.raises(InvalidConfig, match="depths"):
        GeneratedTasks(min_depth=3, max_depth=2)


def test_code_is_python_that_does_what_the_step_does() -> None:
    """In this very process: these programs are the library's own, and no model's."""
    for split in TASKS.splits:
        for number in range(40):
            program = TASKS.program(f"{split}/{number}")
            names: dict[str, object] = {}
            exec(code(program), names)  # noqa: S102
            for numbers in ([], [3], [5, 0, 9, 4], [2, 2, 7, 1, 8, 6, 3]):
                assert names["f"](list(numbers)) == run(program, numbers)  # type: ignore[operator]
