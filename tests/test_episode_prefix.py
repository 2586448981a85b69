"""Episodes that go on from turns of an earlier one."""

from dataclasses import replace

from sparring.agents.scripted import ExpertPolicy, RandomPolicy
from sparring.envs.pool import EnvPool
from sparring.rollout import Setting, Start, rollout
from sparring.settings import EnvConfig
from sparring.types import Stop

ENV = EnvConfig("NumberSearch-v1", wrappers=("expert",))
SETTING = Setting(ENV.full_id, ENV.wrappers)


def play(policy, *starts):
    with EnvPool(ENV.maker(), 2) as pool:
        return rollout(policy, pool, starts, SETTING)


def test_a_prefix_is_taken_again_and_the_policy_goes_on():
    [before] = play(RandomPolicy(), Start(3, sampling_seed=1))
    prefix = before.turns[:2]
    [after] = play(ExpertPolicy(), Start(3, prefix=prefix))
    assert after.turns[:2] == prefix
    assert after.success and after.task_id == before.task_id


def test_the_whole_of_an_episode_as_prefix_gives_that_episode():
    [before] = play(ExpertPolicy(), Start(3))
    [after] = play(RandomPolicy(), Start(3, prefix=before.turns))
    assert after == before


def test_a_prefix_of_another_episode_costs_this_one_alone():
    [before] = play(ExpertPolicy(), Start(3))
    first = before.turns[0]
    other = replace(first, observation=replace(first.observation, text="elsewhere"))
    broken, whole = play(ExpertPolicy(), Start(3, prefix=(other,)), Start(3))
    assert broken.stop is Stop.ENV_ERROR and "diverged at turn 0" in broken.error and "'elsewhere'" in broken.error
    assert whole == before
