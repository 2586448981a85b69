"""The rules by which experts' episodes become lessons, and each method's whole way."""

import pytest

from sparring.runs import RunFolder
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers import iterated, sft
from sparring.trainers.demos import DemosConfig
from sparring.trainers.expert_failures import important_states, probe_turns, recovery_states
from sparring.trainers.expert_pairs import is_pair
from sparring.trainers.session import LoopConfig

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
        groups=4,
        loop=LoopConfig(steps=1, eval_every=0),
    )
    iterated.train(config)
    [row] = RunFolder(config.run).metrics()
    assert row["env_turns"] > 0 and row["loss"] is not None
