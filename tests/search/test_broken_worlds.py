"""What breaks in an environment costs the search of its own tree at most, and can't hold up the others for ever."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import pytest

from sparring.envs.pool import EnvPool
from sparring.episode import Start
from sparring.errors import EnvFailed, InvalidData, PolicyFailed, ReplayDiverged
from sparring.search.budget import IDLE
from sparring.search.engine import Budget, plant, search, search_many
from sparring.search.evaluators import estimate, zero
from sparring.search.play import Searcher, play
from sparring.search.rules import final_score, rules_of
from sparring.search.tree import Tree
from tests.search.worlds import SETTING, START, ReplayedTreeWorld, TreeWorld, uniform

THIRTY = Budget(30)
BROKEN = 1
"""The seed of the episode that breaks."""


class Breaking(TreeWorld):
    """Whole but in one episode."""

    state = ("taken", "seed")
    seed = 0

    def reset(self, *, seed=None, options=None):
        self.seed = seed
        return super().reset(seed=seed, options=options)

    @property
    def is_broken(self) -> bool:
        return self.seed == BROKEN


class NoSnapshots(Breaking):
    def snapshot(self):
        if self.is_broken and self.taken:
            raise OSError("the disk is full")
        return super().snapshot()


class NoRestoring(Breaking):
    def restore(self, snapshot):
        if snapshot.state[0]["seed"] == BROKEN:
            raise OSError("the disk is gone")
        return super().restore(snapshot)


class Ending(Breaking):
    """Ends with a score that is none."""

    score: object = math.nan

    def step(self, action):
        text, reward, over, cut, info = super().step(action)
        return text, reward, over, cut, info | ({"score": self.score} if self.is_broken and over else {})


class EndingInWords(Ending):
    score = "high"


class EndingBeyondAll(Ending):
    score = math.inf


class Changing(Breaking):
    """Shows something else whenever a step is taken again."""

    steps: dict[tuple[str, ...], int] = {}  # noqa: RUF012 - of all worlds of the kind

    def step(self, action):
        text, reward, over, cut, info = super().step(action)
        again = self.steps[self.taken] = self.steps.get(self.taken, 0) + 1
        return (f"{text}, time {again}" if self.is_broken else text), reward, over, cut, info


class EndingAtOnce(ReplayedTreeWorld, Breaking):
    """Says to be over when it is led again to where it was not."""

    was: set[tuple[str, ...]] = set()  # noqa: RUF012 - of all worlds of the kind

    def step(self, action):
        text, reward, over, cut, info = super().step(action)
        again = self.taken in self.was
        self.was.add(self.taken)
        return text, reward, over or (self.is_broken and again), cut, info


def grown(make, *, method="mcts", budget=THIRTY, evaluator=None, seeds=(0, BROKEN, 2), **changes) -> list[Tree]:
    with EnvPool(make, 2) as pool:
        trees = [plant(pool.envs[0], Start(seed, sampling_seed=7), SETTING) for seed in seeds]
        rules = rules_of(method, stop_at=None, **changes)
        search_many(
            pool, uniform(), trees, rules=rules, budget=budget, **({"evaluator": evaluator} if evaluator else {})
        )
    return trees


@pytest.mark.parametrize("world", [NoSnapshots, NoRestoring, Ending, EndingInWords, EndingBeyondAll])
def test_what_breaks_closes_its_edge_and_leaves_the_other_trees_as_they_are(world):
    whole, broken, other = grown(world)
    assert [len(tree.endings()) for tree in (whole, other)] == [len(tree.endings()) for tree in grown(TreeWorld)[::2]]
    assert any(edge.error for edge in broken.edges) and not any(edge.error for edge in [*whole.edges, *other.edges])
    assert all(0 <= final_score(node.moment) <= 1 for node in broken.endings())


def test_a_world_that_can_not_be_brought_back_does_not_keep_a_search_going():
    _, broken, _ = grown(NoRestoring, method="best-of-n", budget=Budget(None, env_steps=20))
    assert broken.stopped == f"{IDLE} simulations in a row used none of the budget"


@pytest.mark.parametrize("world", [Changing, EndingAtOnce])
@pytest.mark.parametrize("method", ["mcts", "best-of-n", "agent-q"])
def test_a_step_that_leads_elsewhere_when_it_is_taken_again_never_passes_for_the_place_it_led_to(world, method):
    Changing.steps, EndingAtOnce.was = {}, set()
    whole, broken, other = grown(world, method=method)
    assert broken.error is not None and "diverged at turn" in broken.error
    assert whole.error is None and other.error is None
    simulations = broken.spent.simulations
    with EnvPool(world, 1) as pool:
        search_many(pool, uniform(), [broken], budget=Budget(60))
    assert broken.spent.simulations == simulations and broken.stopped == broken.error


def test_a_search_that_failed_is_told_of_in_what_was_played():
    Changing.steps = {}
    with EnvPool(Changing, 2) as pool:
        starts = [Start(0, sampling_seed=7), Start(BROKEN, sampling_seed=7)]
        whole, broken = play(Searcher(rules_of("mcts"), Budget(9)), uniform(), pool, starts, SETTING)
    assert "search_error" not in whole.info and "diverged" in broken.info["search_error"]


class Hanging(Breaking):
    """Its steps (or what else is named) take a second."""

    slow = "step"

    def reset(self, *, seed=None, options=None):
        if self.slow == "reset" and seed == BROKEN:
            time.sleep(1)
        return super().reset(seed=seed, options=options)

    def step(self, action):
        if self.slow == "step" and self.is_broken:
            time.sleep(1)
        return super().step(action)

    def restore(self, snapshot):
        if self.slow == "restore" and snapshot.state[0]["seed"] == BROKEN:
            time.sleep(1)
        return super().restore(snapshot)

    def close(self):
        assert not self.is_broken, "closing what hangs would hang as well"


@pytest.mark.parametrize("slow", ["reset", "step", "restore"])
def test_an_environment_that_hangs_is_left_behind(slow):
    def make():
        env = Hanging()
        env.slow = slow
        return env

    setting = replace(SETTING, step_timeout_s=0.05)
    began = time.perf_counter()
    with EnvPool(make, 2) as pool:
        starts = [Start(seed, sampling_seed=7) for seed in (0, BROKEN, 2)]
        played = play(Searcher(rules_of("mcts"), Budget(10)), uniform(), pool, starts, setting)
    assert played[0].error is None and played[2].error is None and played[0].score > 0
    assert played[0].info["search_simulations"] == 10 or played[0].score == 1
    assert played[1].error is not None or slow == "restore"
    assert time.perf_counter() - began < 5


def test_an_environment_of_the_callers_that_hangs_is_said_to():
    env = Hanging()
    with pytest.raises(EnvFailed, match="hangs, and can't be replaced"):
        search(env, uniform(), Start(BROKEN), replace(SETTING, step_timeout_s=0.05))


@pytest.mark.parametrize("answers", [lambda moments: [0.5] * (len(moments) + 1), lambda moments: [0.5][1:]])
def test_an_evaluator_must_answer_once_for_each_place(answers):
    with pytest.raises(InvalidData, match="one answer for each"):
        grown(TreeWorld, evaluator=estimate(answers))


def test_values_and_opinions_must_be_numbers():
    with pytest.raises(InvalidData, match="the evaluator must give finite numbers, got nan"):
        grown(TreeWorld, evaluator=estimate(lambda moments: [math.nan] * len(moments)))
    for opinion, message in (([math.inf] * 3, "the critic must give finite numbers"), ([0.5], "3 actions .* rated 1")):
        with pytest.raises(InvalidData, match=message):
            search(
                TreeWorld(),
                uniform(),
                START,
                SETTING,
                rules=rules_of("agent-q", samples=30, children=3),
                evaluator=zero,
                critic=lambda places, opinion=opinion: [opinion for _ in places],
            )


def test_a_policy_that_answers_nothing_is_named():
    class Silent:
        version = 0

        def act(self, prompts):
            return None

    with pytest.raises(PolicyFailed, match="Silent was given"):
        search(TreeWorld(), Silent(), START, SETTING)


def test_a_tree_can_t_begin_at_an_ending_that_is_worth_no_number():
    taken = search(EndingInWords(1), uniform(), Start(0), SETTING).endings()[0].moment.turns
    with pytest.raises(EnvFailed, match="a score must be a finite number, got 'high'"):
        plant(EndingInWords(1), Start(BROKEN, prefix=taken), SETTING)


def test_a_diverging_world_of_the_callers_is_said_to():
    Changing.steps = {}
    with pytest.raises(ReplayDiverged, match="time 2"):
        search(Changing(), uniform(), Start(BROKEN), SETTING, rules=rules_of("best-of-n"))
