"""The rules by which experts' episodes become lessons, and each method's whole way."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparring.runs import RunFolder
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers import iterated, sft
from sparring.trainers.demos import DemosConfig
from sparring.trainers.expert_failures import (
    Important,
    important_states,
    positives,
    probe_turns,
    recovery_states,
    trained_turns,
)
from sparring.trainers.expert_pairs import Fork, expert_pairs, is_pair, step_pairs
from sparring.trainers.session import LoopConfig
from tests.trainers.hand_made import episode

ENV = EnvConfig("NumberSearch-v1")
AGENT = AgentConfig(memory="last_observation", max_action_tokens=8)


def test_a_state_is_one_of_recovery_where_the_expert_made_it_bad():
    assert recovery_states([True, True, False, False]) == [2]
    assert recovery_states([False, True]) == []
    assert important_states([True, True, False, False])[0].kind == "start"


def test_probes_are_spaced_uniformly_from_the_start():
    assert probe_turns(8, 4) == [0, 2, 4, 6]


def test_ipr_prefers_by_step_reward_and_outcome():
    assert is_pair(0.8, 0.25, 1.0, 0.0, 0.5)
    assert not is_pair(0.8, 0.35, 1.0, 0.0, 0.5)
    assert not is_pair(0.8, 0.25, 0.0, 1.0, 0.5)


def outcome(score, words):
    return replace(episode([0] * (len(words) - 1) + [score], ["a", *words[:-1]], said=words), info={"score": score})


@given(is_good=st.lists(st.booleans(), max_size=8))
def test_important_are_the_start_and_what_the_expert_changed(is_good):
    found = {one.probe: one.kind for one in important_states(is_good)}
    changed = {at for at in range(1, len(is_good)) if is_good[at] != is_good[at - 1]}
    assert set(found) == changed | ({0} if is_good else set())
    assert [at for at, kind in found.items() if kind == "recovery"] == recovery_states(is_good)


@given(turns=st.integers(1, 30), states=st.integers(1, 12))
def test_probes_begin_at_the_start_and_lie_evenly_within_the_episode(turns, states):
    probes = probe_turns(turns, states)
    assert probes[0] == 0 and probes[-1] < turns and len(probes) == min(turns, states)
    gaps = [after - before for before, after in pairwise(probes)]
    assert not gaps or max(gaps) - min(gaps) <= 1


def test_of_the_experts_turns_only_beneficial_ones_are_trained():
    probes = [0, 2, 4, 6]
    assert trained_turns(Important(0, "start"), probes, 5) == {0, 1, 2, 3, 4}
    assert trained_turns(Important(2, "recovery"), probes, 8) == {4, 5, 6, 7}
    assert trained_turns(Important(2, "beneficial"), probes, 6) == {2, 3, 4, 5}


def test_only_different_successes_from_important_states_are_kept():
    """Good, good, bad: from the start and from the state of recovery; nothing is learned from the one between."""
    red, blue, lost = outcome(1.0, ["red", "red", "red"]), outcome(1.0, ["red", "red", "blue"]), outcome(0.0, ["x"] * 3)
    tries = [[(red, True), (red, True), (blue, True)], [(red, True)] * 3, [(blue, True), (lost, False), (lost, False)]]
    found = [(one.trajectory, one.trained) for one in positives([0, 1, 2], tries, keep_per_state=2)]
    assert found == [(red, {0, 1, 2}), (blue, {0, 1, 2}), (blue, {2})]
    assert len(positives([0, 1, 2], tries, keep_per_state=1)) == 2
    assert positives([0, 1, 2], [[(lost, False)], [], []], keep_per_state=2) == []


def test_the_better_of_expert_and_agent_is_preferred_and_a_long_failure_is_cut():
    good, bad, long = outcome(1.0, ["red"] * 2), outcome(0.0, ["blue"] * 2), outcome(0.0, ["blue"] * 9)
    pairs = expert_pairs([(good, bad), (bad, good), (good, good), (bad, long), (good, long)], extra_turns=5)
    assert [(one.chosen, len(one.rejected.turns), one.margin) for one in pairs] == [
        (good, 2, 1),
        (good, 2, 1),
        (good, 7, 1),
    ]


def test_suffixes_are_paired_from_the_turn_in_which_agent_and_expert_part():
    expert, agent = outcome(1.0, ["red", "red"]), outcome(0.0, ["red", "blue"])
    fork = Fork(expert, agent, 1, expert_step=1.0, explored_step=0.25)
    [pair] = step_pairs([fork, replace(fork, expert_step=0.7)], 0.5)
    assert (pair.chosen, pair.rejected, pair.first, pair.margin) == (expert, agent, 1, 0.75)


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "start"
    loop = LoopConfig(steps=20, eval_every=0)
    demos = DemosConfig(agent="expert:0.4", episodes=100)
    tiny = sft.TinyConfig(hidden=16, layers=1, heads=2, vocabulary=400, max_context=256)
    return sft.train(sft.Config(run=run, env=ENV, agent=AGENT, demos=demos, tiny=tiny, loop=loop))


@pytest.mark.parametrize("method", ["rft", "eef", "eto", "ipr"])
def test_every_method_plays_and_learns(method, start, tmp_path):
    config = iterated.Config(
        run=tmp_path / method,
        model=str(start),
        method=method,
        env=ENV,
        agent=AGENT,
        demos=DemosConfig(agent="expert:0.3", episodes=12),
        min_score=0.8,  # of which the expert falls short in some
        groups=4,
        loop=LoopConfig(steps=1, eval_every=0),
    )
    iterated.train(config)
    [row] = RunFolder(config.run).metrics()
    assert row["env_turns"] > 0 and row["loss"] is not None
