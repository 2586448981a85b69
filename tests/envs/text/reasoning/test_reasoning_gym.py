"""reasoning-gym through its adapter: any task, its own scorer, and nothing evaluated."""

from __future__ import annotations

import random
import sys

import numpy as np
import pytest

from sparring.envs.text.reasoning.reasoning_gym import ReasoningGym, is_harmless
from sparring.errors import EnvFailed, InvalidConfig, MissingExtra, UnknownName

reasoning_gym = pytest.importorskip("reasoning_gym")

ATTACK = "__import__('pathlib').Path('{}').touch()"
QUICK = ("chain_sum", "countdown", "leg_counting", "n_queens", "spiral_matrix", "word_sorting", "pool_matrix", "codeio")


@pytest.mark.parametrize("dataset", QUICK)
def test_its_own_answers_are_right_and_tasks_repeat(dataset: str) -> None:
    env, fresh = ReasoningGym(dataset=dataset), ReasoningGym(dataset=dataset)
    state = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002 - they must stay as they are
    for task in ("train/0", "test/1"):
        text, info = env.reset(seed=0, options={"task": task})
        assert text == info["instruction"] == fresh.reset(seed=5, options={"task": task})[0]
        _, reward, _, _, info = env.step(env.expert_action())
        assert (reward, info["correct"]) == (1.0, True)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == state  # noqa: NPY002


def test_splits_hold_other_problems() -> None:
    env = ReasoningGym()
    shown = [{env.problem(env.load(f"{split}/{at}")) for at in range(40)} for split in env.splits]
    assert not shown[0] & shown[1] and not shown[0] & shown[2] and not shown[1] & shown[2]


def test_a_partial_score_is_a_wrong_attempt() -> None:
    env = ReasoningGym(dataset="countdown", feedback="detail")
    env.reset(seed=0, options={"task": "train/0"})
    text, reward, _, _, info = env.step("1 + 1")
    assert text == "That is wrong: it scores 0.05 of 1. Answer again."
    assert (reward, info["correct"]) == (pytest.approx(0.05), False)


@pytest.mark.parametrize("dataset", ["binary_matrix", "countdown", "n_queens", "puzzle24", "spiral_matrix"])
def test_an_answer_is_never_run(dataset: str, tmp_path: object) -> None:
    env = ReasoningGym(dataset=dataset, feedback="detail", attempts=20)
    env.reset(seed=0, options={"task": "train/0"})
    target = f"{tmp_path}/touched"
    for attack in (
        ATTACK.format(target),
        f"[{ATTACK.format(target)}]",
        f"{env.expert_action()}\n{ATTACK.format(target)}",
    ):
        text, reward, *_ = env.step(attack)
        assert reward == 0 and "it can't be read" in text
    assert not list(tmp_path.iterdir())  # type: ignore[attr-defined]


def test_what_scorers_may_be_asked_about() -> None:
    asked = {
        "countdown": ["(1 + 2) * 3 - 4 / 2"],
        "spiral_matrix": ["[1, 2, 3]"],
        "n_queens": ["_ Q\nQ _", "[['_', 'Q']]"],
        "chain_sum": ["anything at all"],
    }
    refused = {
        "countdown": ["9**9**9", "9* *9", "exit()", "1" * 501, "x", ""],
        "spiral_matrix": ["exit()", "1 2 3", "[" * 400, "(lambda: 1)()", "x"],
        "n_queens": ["Q()", "Q.__class__"],
        "simple_integration": ["x", "1"],
    }
    assert all(is_harmless(name, one) for name, answers in asked.items() for one in answers)
    assert not any(is_harmless(name, one) for name, answers in refused.items() for one in answers)


def test_another_board_than_its_own_counts_too() -> None:
    env = ReasoningGym(dataset="n_queens", config={"min_remove": 7, "max_remove": 7})
    for number in range(20):
        env.reset(seed=0, options={"task": f"train/{number}"})
        assert env._problem is not None
        others = set(env._problem["metadata"]["valid_answers"]) - {env._problem["answer"]}
        if others:
            assert env.step(min(others))[1] == 1.0
            return
    pytest.fail("no board with two solutions was drawn")


def test_scorers_that_raise_give_nothing() -> None:
    env = ReasoningGym(dataset="prime_factorization", feedback="detail")
    env.reset(seed=0, options={"task": "train/0"})
    text, reward, *_ = env.step("nonsense")
    assert reward == 0 and "it can't be read" in text


def test_tasks_that_evaluate_formulas_are_refused() -> None:
    for dataset in ("simple_integration", "intermediate_integration", "polynomial_multiplication"):
        with pytest.raises(InvalidConfig, match="evaluates the answer"):
            ReasoningGym(dataset=dataset)


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(UnknownName, match='Did you mean "chain_sum"'):
        ReasoningGym(dataset="chain_sums")
    with pytest.raises(EnvFailed, match='can\'t make "chain_sum"'):
        ReasoningGym(config={"max_terms": -1})
    env = ReasoningGym(dataset="rubiks_cube")
    env.reset(seed=0, options={"task": "train/0"})
    with pytest.raises(UnknownName, match="without an answer"):
        env.expert_action()


def test_no_other_scorer_evaluates_answers() -> None:
    """A newer version might: whatever calls eval or parse_expr in its scorer has to be among those treated here."""
    import inspect

    from reasoning_gym.factory import DATASETS

    found = set()
    for name, (kind, _) in DATASETS.items():
        source = inspect.getsource(kind.score_answer)
        if "eval(" in source.replace("literal_eval(", "") or "parse_expr(" in source or "sympify(" in source:
            found.add(name)
    # These two read their own entry, or a language of their own.
    assert found - {"number_sorting", "propositional_logic"} == {
        "binary_matrix", "n_queens", "spiral_matrix", "string_insertion", "countdown", "puzzle24",
        "simple_integration", "intermediate_integration", "polynomial_multiplication",
    }  # fmt: skip


def test_without_the_package_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "reasoning_gym.factory", None)
    with pytest.raises(MissingExtra, match=r"sparring\[reasoning\]"):
        ReasoningGym()
