"""Ranking by repeated choice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparring.agents.scripted import RandomPolicy
from sparring.envs.pool import EnvPool
from sparring.episode import Start
from sparring.search.asking import Judge
from sparring.search.critique import ranking, worths
from sparring.search.engine import Budget, plant, search, search_many
from sparring.search.evaluators import zero
from sparring.search.play import commitment
from sparring.search.rules import final_score, rules_of
from tests.search.judges import RuleJudge, listed, moment_at, promise, taken
from tests.search.worlds import SETTING, START, LeftPolicy, TreeWorld, uniform

MOMENT = moment_at(TreeWorld())


def prefers(values: dict[str, float]) -> RuleJudge:
    """Answers with the number of the best of what is listed; of equals the first."""

    def rule(prompt):
        actions = listed(prompt)
        return str(1 + max(range(len(actions)), key=lambda index: (values[actions[index]], -index)))

    return RuleJudge(rule)


def test_ranks_are_mapped_evenly_onto_0_to_1():
    assert worths([2, 0, 1]) == [0.5, 0.0, 1.0]
    assert worths([0]) == [1.0] and worths([]) == []
    assert worths([1, 0]) == [0.0, 1.0]
    assert worths([4, 3, 2, 1, 0]) == pytest.approx([(5 - rank) / 4 for rank in (5, 4, 3, 2, 1)])


@given(places=st.lists(st.lists(st.integers(0, 5), max_size=7), max_size=5))
def test_repeated_choice_sorts(places):
    """Against sorting by what the judge likes, which keeps the order of equals."""
    values = {f"{place}-{index}": float(value) for place, some in enumerate(places) for index, value in enumerate(some)}
    asked = [(MOMENT, tuple(f"{place}-{index}" for index in range(len(some)))) for place, some in enumerate(places)]
    found = ranking(Judge(prefers(values)))(asked)
    for (_, actions), opinions in zip(asked, found, strict=True):
        order = sorted(actions, key=lambda action: -values[action])
        expected = {action: 1 - rank / (len(order) - 1) if len(order) > 1 else 1.0 for rank, action in enumerate(order)}
        assert list(opinions) == pytest.approx([expected[action] for action in actions])


def test_an_answer_that_names_no_action_stands_for_the_first_that_is_left():
    policy = RuleJudge(lambda prompt: "none of these")
    judge = Judge(policy)
    assert ranking(judge)([(MOMENT, ("a", "b", "c"))]) == [[1.0, 0.5, 0.0]]
    assert judge.invalid == 2
    last_first = RuleJudge(lambda prompt: f"The best one is: {len(listed(prompt))}.")
    assert ranking(Judge(last_first))([(MOMENT, ("a", "b", "c"))]) == [[0.0, 0.5, 1.0]]


def test_more_places_are_no_more_calls():
    values = {"a": 1.0, "b": 3.0, "c": 2.0, "d": 0.0}
    for count in (1, 30):
        policy = prefers(values)
        places = [(MOMENT, ("a", "b", "c", "d")), *[(MOMENT, ("a", "b"))] * (count - 1), (MOMENT, ("a",))]
        found = ranking(Judge(policy))(places)
        assert len(policy.batches) == 3
        assert [len(batch) for batch in policy.batches] == [count, 1, 1]
        assert found[0] == pytest.approx([1 / 3, 1.0, 2 / 3, 0.0]) and found[-1] == [1.0]
        assert all(list(one) == [0.0, 1.0] for one in found[1:-1])


def test_actions_of_many_lines_are_told_from_the_list():
    policy = RuleJudge(lambda prompt: "2")
    ranking(Judge(policy))([(MOMENT, ("think\n2:\nact", "wait"))])
    assert listed(policy.prompts[0]) == ["think", "wait"]


def critic_of(env: TreeWorld) -> RuleJudge:
    """Knows what can be had behind each action, and nothing of how it ends."""

    def rule(prompt):
        behind = [promise(env, (*taken(prompt), action)) for action in listed(prompt)]
        return str(1 + int(np.argmax(behind)))

    return RuleJudge(rule)


def found_by(critic, starts) -> list[float]:
    """What the paths chosen by a search score that sees no outcome, and is led by a critic alone."""
    env = TreeWorld(4)
    rules = rules_of("agent-q", samples=30, children=3, exploration=0.1, sees_outcome=False)
    with EnvPool(lambda: TreeWorld(4), 4) as pool:
        trees = [plant(env, start, SETTING) for start in starts]
        search_many(pool, uniform(), trees, rules=rules, evaluator=zero, critic=critic, budget=Budget(8))
        paths = [commitment(rules, tree) for tree in trees]
    return [final_score(path[-1].node.moment) for path in paths if path[-1].node is not None]


def test_a_good_critic_leads_where_greed_does_not_and_a_random_one_does_not():
    env = TreeWorld(4)
    starts = [Start(0, sampling_seed=number) for number in range(8)]
    greedy = search(env, LeftPolicy(), START, SETTING, rules=rules_of("best-of-n"), budget=Budget(1))
    assert final_score(greedy.best_ending(final_score).moment) < 1.0
    policy = critic_of(env)
    assert found_by(ranking(Judge(policy)), starts) == [1.0] * 8
    assert len(policy.batches) <= 8 * 2 * 2  # of 8 simulations in two waves, with two rounds at each place at most
    lost = found_by(ranking(Judge(RandomPolicy())), starts)
    assert np.mean(lost) < 0.7 and lost.count(1.0) <= 1
    assert lost == found_by(ranking(Judge(RandomPolicy())), starts)
