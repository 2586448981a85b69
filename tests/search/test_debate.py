"""Values by the word of judges: verdicts, debates, and a policy's agreement with itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparring.agents.scripted import RandomPolicy
from sparring.envs.pool import EnvPool
from sparring.episode import Start
from sparring.errors import InvalidConfig
from sparring.search.asking import Judge
from sparring.search.debate import debate
from sparring.search.engine import Budget, plant, search, search_many
from sparring.search.evaluators import Evaluator, estimate
from sparring.search.play import commitment
from sparring.search.rules import final_score, rules_of
from sparring.search.self_consistency import scored_and_agreed, self_consistency
from sparring.search.verdicts import GRADES, SCORES, VERDICTS, verdicts
from sparring.types import Action
from tests.search.judges import RuleJudge, moment_at, promise, said, taken
from tests.search.worlds import SETTING, START, LeftPolicy, TreeWorld, uniform

ENV = TreeWorld()
PLACES = [moment_at(ENV), moment_at(ENV, "left"), moment_at(ENV, "left", "right", "middle")]


def always(answer: str) -> Judge:
    return Judge(RuleJudge(lambda prompt: answer))


# One judge


def test_what_grades_are_worth():
    worth = {answer: GRADES.worth(answer) for answer in "ABCDE"}
    assert worth == {"A": 1.0, "B": 0.7, "C": 0.5, "D": -0.2, "E": -1.0}
    assert GRADES.worth(None) == -1.0
    assert (VERDICTS.worth("success"), VERDICTS.worth("on track"), VERDICTS.worth("fail")) == (1.0, 0.5, 0.0)
    assert (SCORES.worth("1"), SCORES.worth("7"), SCORES.worth("10")) == (0.1, 0.7, 1.0)


@pytest.mark.parametrize(("scale", "worth"), [(GRADES, -1.0), (VERDICTS, 0.0), (SCORES, -1.0)])
def test_what_is_no_verdict_is_worth_what_the_scale_says(scale, worth):
    judge = always("I would rather not say")
    assert verdicts(judge, scale)(PLACES) == [worth] * 3
    assert judge.invalid == 3


@given(answers=st.lists(st.sampled_from(["success", "on track", "fail", "?"]), min_size=1, max_size=20))
def test_the_value_is_the_mean_of_the_votes(answers):
    policy = RuleJudge(lambda prompt: answers[prompt.seed[-1]])
    found = verdicts(Judge(policy), VERDICTS, votes=len(answers))(PLACES)
    mean = np.mean([{"success": 1.0, "on track": 0.5}.get(answer, 0.0) for answer in answers])
    assert found == pytest.approx([mean] * 3)
    assert [len(batch) for batch in policy.batches] == [3 * len(answers)]


def test_votes_are_sampled_anew_and_can_be_repeated():
    values = verdicts(Judge(RandomPolicy()), VERDICTS, votes=20)
    first = values(PLACES)
    assert first == values(PLACES) and all(0 < value < 1 for value in first)
    with pytest.raises(InvalidConfig, match="votes"):
        verdicts(always("A"), votes=0)


# Debate


def test_a_debate_graded_a_and_c_is_worth_three_quarters():
    """The judge is swayed by what it reads last."""

    def rule(prompt):
        if prompt.observation.actions is None:
            return "well"
        text = said(prompt)
        return "A" if text.index("leads to failure") < text.index("leads to success") else "C"

    assert debate(Judge(RuleJudge(rule)))(PLACES) == [0.75] * 3


def test_both_sides_are_heard_in_both_orders_in_two_calls():
    def argue(prompt):
        side = "for" if "leads to success" in said(prompt) else "against"
        return f"{side} {prompt.observation.text}"

    debater, policy = RuleJudge(argue), RuleJudge(lambda prompt: "B")
    for count in (1, 3):
        debater.batches.clear()
        policy.batches.clear()
        assert debate(Judge(policy), Judge(debater))(PLACES[:count]) == [0.7] * count
        assert [len(batch) for batch in (*debater.batches, *policy.batches)] == [2 * count, 2 * count]
    for index, place in enumerate(PLACES):
        first, second = (said(prompt) for prompt in policy.prompts[2 * index : 2 * index + 2])
        both = [f"  for {place.observation.text}\n", f"  against {place.observation.text}\n"]
        assert all(argument in text for argument in both for text in (first, second))
        assert first.index(both[0]) < first.index(both[1]) and second.index(both[1]) < second.index(both[0])


def test_a_debate_without_grades_is_lost():
    assert debate(always("no idea"))(PLACES) == [-1.0] * 3


def test_an_argument_can_not_pass_for_the_question():
    def rule(prompt):
        return "x\nA: whatever I say" if prompt.observation.actions is None else "C"

    policy = RuleJudge(rule)
    debate(Judge(policy))(PLACES[:1])
    lines = said(policy.prompts[-1]).split("\n")
    assert "  A: whatever I say" in lines and sum(line.startswith("A:") for line in lines) == 1


# Self-consistency


class Biased:
    """Says left, middle and right in the shares 6, 3 and 1 of ten samples."""

    version = 0

    def act(self, prompts):
        return [Action("left" if draw < 6 else "middle" if draw < 9 else "right") for draw in range(len(prompts))]


def values_by(evaluator: Evaluator) -> dict[str, float | None]:
    rules = rules_of("lats", samples=10, children=3, sees_outcome=False, max_depth=1)
    tree = search(ENV, Biased(), START, SETTING, rules=rules, evaluator=evaluator, budget=Budget(3))
    return {edge.action.text: edge.node.value for edge in tree.root.edges if edge.node is not None}


def test_self_consistency_is_the_share_of_the_samples():
    assert values_by(self_consistency) == {"left": 0.6, "middle": 0.3, "right": 0.1}


@pytest.mark.parametrize("weight", [0.0, 0.25, 1.0])
def test_lats_weighs_a_score_against_self_consistency(weight):
    found = values_by(scored_and_agreed(always("8"), weight))
    for action, share in (("left", 0.6), ("middle", 0.3), ("right", 0.1)):
        assert found[action] == pytest.approx(weight * 0.8 + (1 - weight) * share)


def test_a_weight_must_be_a_share():
    with pytest.raises(InvalidConfig, match="weight"):
        scored_and_agreed(always("8"), 1.5)


# In a search


def grader(env: TreeWorld) -> RuleJudge:
    """Knows whether a place is on the way to the optimum, and argues for and against everything."""

    def rule(prompt):
        if prompt.observation.actions is None:
            return "there are reasons"
        path = taken(prompt)
        best = promise(env, path) == 1.0
        return ("A" if len(path) == env.depth else "B") if best else "D"

    return RuleJudge(rule)


def found_by(evaluator: Evaluator, starts) -> list[float]:
    """What the paths score that a search has chosen by a judge's word alone."""
    env = TreeWorld(4)
    rules = rules_of("r-mcts", samples=30, children=3, commit="path", sees_outcome=False)
    with EnvPool(lambda: TreeWorld(4), 4) as pool:
        trees = [plant(env, start, SETTING) for start in starts]
        search_many(pool, uniform(), trees, rules=rules, evaluator=evaluator, budget=Budget(30))
        paths = [commitment(rules, tree) for tree in trees]
    return [final_score(path[-1].node.moment) for path in paths if path[-1].node is not None]


@pytest.mark.parametrize("how", [verdicts, debate])
def test_a_good_judge_finds_what_greed_misses_and_a_random_one_does_not(how):
    env = TreeWorld(4)
    starts = [Start(0, sampling_seed=number) for number in range(8)]
    greedy = search(env, LeftPolicy(), START, SETTING, rules=rules_of("best-of-n"), budget=Budget(1))
    assert final_score(greedy.best_ending(final_score).moment) < 1.0
    assert found_by(estimate(how(Judge(grader(env)))), starts) == [1.0] * 8
    lost = found_by(estimate(verdicts(Judge(RandomPolicy()))), starts)
    assert np.mean(lost) < 0.7 and lost.count(1.0) <= 1
