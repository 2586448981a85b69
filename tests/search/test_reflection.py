"""Which steps are reflected on, and how."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparring.episode import Start
from sparring.search.asking import Judge
from sparring.search.engine import Budget, search
from sparring.search.evaluators import estimate
from sparring.search.reflection import Executed, executed, reflect, surprises
from sparring.search.rules import rules_of
from tests.search.judges import RuleJudge, moment_at, said
from tests.search.worlds import SETTING, TreeWorld, uniform

ENV = TreeWorld()
BEFORE, AFTER = moment_at(ENV, "left"), moment_at(ENV, "left", "right")


def steps_of(*errors: float) -> list[Executed]:
    return [Executed(BEFORE, AFTER, 0.0, error) for error in errors]


def test_the_largest_errors_above_a_half_are_chosen():
    steps = [Executed(BEFORE, AFTER, q, v) for q, v in ((0.9, 0.1), (0.2, 0.9), (0.5, 0.4), (0.1, 1.0), (0.0, -0.65))]
    assert [round(step.error, 3) for step in steps] == [0.8, 0.7, 0.1, 0.9, 0.65]
    assert surprises(steps) == [steps[3], steps[0], steps[1]]
    assert surprises(steps, most=1) == [steps[3]]
    assert surprises(steps_of(0.5)) == [] and surprises([]) == []


def test_of_equal_errors_the_earlier_comes_first():
    steps = [Executed(BEFORE, AFTER, 0.0, 1.0), Executed(BEFORE, AFTER, 1.0, 0.0)]
    assert surprises(steps, most=1) == [steps[0]]


@given(errors=st.lists(st.floats(0, 2), max_size=10), above=st.floats(0, 1), most=st.integers(0, 4))
def test_against_brute_force(errors, above, most):
    found = [step.error for step in surprises(steps_of(*errors), above=above, most=most)]
    assert found == sorted((error for error in errors if error > above), reverse=True)[:most]


def test_a_step_is_compared_with_the_place_it_led_to_and_the_last_with_the_score():
    values = {"at left": 0.3, "at middle": 0.2, "at right": 0.1}
    rules = rules_of("r-mcts", samples=30, children=3, commit="path")
    evaluator = estimate(lambda moments: [values.get(moment.observation.text, 0.4) for moment in moments])
    tree = search(ENV, uniform(), Start(0), SETTING, rules=rules, evaluator=evaluator, budget=Budget(40))
    path = max((node.path for node in tree.nodes), key=len)
    assert len(path) == 3
    steps = executed(path, score=0.9)
    assert [step.expected for step in steps] == [edge.mean for edge in path]
    assert [step.found for step in steps] == [values[f"at {path[0].action.text}"], 0.4, 0.9]
    assert [step.before for step in steps] == [edge.parent.moment for edge in path]
    assert [step.after.turns[-1].action.text for step in steps] == [edge.action.text for edge in path]


def test_a_place_that_nobody_valued_teaches_nothing():
    """A playout gives a value to the place where it began alone."""
    tree = search(ENV, uniform(), Start(0), SETTING, rules=rules_of("best-of-n"), budget=Budget(1))
    path = tree.endings()[0].path
    assert [edge.node.value is None for edge in path] == [False, True, True]
    assert [len(step.before.turns) for step in executed(path, score=1.0)] == [0, 2]


def test_expectation_and_reality_are_contrasted_in_two_calls():
    policy = RuleJudge(lambda prompt: "a wall" if "expect to see" in said(prompt) else f"{len(policy.batches)} " * 150)
    for count in (1, 4):
        policy.batches.clear()
        start = Start(0, split="dev")
        step = Executed(moment_at(ENV, "left", start=start), AFTER, 0.9, 0.125)
        found = reflect(Judge(policy), [step] * count)
        assert [len(batch) for batch in policy.batches] == [count, 2 * count]
        assert len(found) == 2 * count
    for prompt in policy.batches[1]:
        text = said(prompt)
        assert "at most 100 words" in text and "0.90" in text and "0.12" in text
        assert text.index("  right") < text.index("  a wall") < text.index("  at left/right")
    assert [(one.about, one.key) for one in found[:2]] == [("policy", "\nat left"), ("value", "\nat left/right")]
    assert all((one.task, one.split, one.error) == ("only", "dev", 0.775) for one in found)
    assert all(one.text == " ".join(["2"] * 100) for one in found)


def test_a_lesson_that_says_nothing_is_left_out():
    policy = RuleJudge(lambda prompt: "" if "met again" in said(prompt) else "a wall")
    assert reflect(Judge(policy), steps_of(1.0)) == []
    assert reflect(Judge(policy), []) == []


def test_errors_are_those_of_plain_arithmetic():
    rng = np.random.default_rng(0)
    for q, v in rng.uniform(-1, 1, (20, 2)).tolist():
        assert Executed(BEFORE, AFTER, q, v).error == pytest.approx(abs(v - q))
