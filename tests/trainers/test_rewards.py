"""Rewards beside the environment's: progress telescopes, the memory tells what worked, and both are learned from."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import sparring
from sparring.agents.hf import HFPolicy
from sparring.agents.models import load_model
from sparring.envs.base import Info
from sparring.envs.pool import EnvPool
from sparring.errors import InvalidConfig, InvalidData
from sparring.rollout import Setting, Start, rollout
from sparring.runs import RunFolder
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers import grpo, rewards
from sparring.trainers.exploration import Player
from sparring.trainers.optim import OptimConfig
from sparring.trainers.rewards import MEMORY_FILE, RewardsConfig, paid
from sparring.trainers.rewards.episodic_memory import (
    EpisodicMemory,
    RunningRange,
    exploit_reward,
    explore_reward,
    neighbours,
)
from sparring.trainers.rewards.progress import cumulative_regret, drawn_turns, progress, progress_bonus
from sparring.trainers.session import LoopConfig
from tests.trainers.hand_made import episode
from tests.worlds import Copy


class Unpaid(Copy):
    """Two words to say, for which nothing is paid; the score at the end says how many were right."""

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        text, _, terminated, truncated, info = super().step(action)
        return text, 0.0, terminated, truncated, info


def vector(*values: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.array(values, dtype=np.float32)


# Progress


def test_progress_telescopes_and_regret_adds_up() -> None:
    values = [0.1, 0.4, 0.3, 0.9]
    bonuses = [progress_bonus(one, other, 2.0) for one, other in itertools.pairwise(values)]
    assert sum(bonuses) == pytest.approx(2 * (0.9 - 0.1))
    assert cumulative_regret(np.array(values), 1.0) == pytest.approx(0.9 + 0.6 + 0.7 + 0.1)


def test_a_turn_is_paid_for_what_it_made_likelier(copy_model: Path, copy_env: EnvConfig) -> None:
    """A model that guesses among eight words expects 1/8 of each; a right first word is worth (1 - 1/8) / 2 more."""
    policy = HFPolicy(*load_model(copy_model), max_new_tokens=8)
    setting = Setting(copy_env.full_id)
    with EnvPool(copy_env.maker(), 32) as pool:
        [one] = rollout(policy, pool, [Start(3, split="train")], setting)
        player = Player(policy, pool, setting, AgentConfig(max_action_tokens=8), "train")
        seed = next(at for at in range(50) if drawn_turns([one], at, 1) == [0])
        [bonus] = progress(player, [one], probes=200, weight=1.0, seed=seed, step=1)
        last = next(at for at in range(50) if drawn_turns([one], at, 1) == [1])
        [ending] = progress(player, [one], probes=200, weight=1.0, seed=last, step=1)
    first = one.turns[0].reward
    assert bonus == {0: pytest.approx(first - 1 / 16, abs=0.05)}
    assert ending == {1: pytest.approx(one.turns[1].reward - 1 / 16, abs=0.05)}


# Memory


def test_what_worked_and_what_did_not() -> None:
    assert exploit_reward(vector(0, 0), np.stack([vector(2, 4), vector(4, 4)])) == pytest.approx(-5)
    assert explore_reward(vector(1, 0), np.stack([vector(0, 2), vector(3, 3)])) == pytest.approx(1 - 2**-0.5)
    assert explore_reward(vector(1, 0), np.stack([vector(2, 0)])) == pytest.approx(0)


def test_neighbours_are_near_enough() -> None:
    tasks = np.stack([vector(0, 1), vector(1, 1), vector(1, 0), vector(0, 0)])
    assert neighbours(vector(1, 0), tasks, 2, 0.5).tolist() == [2, 1]
    assert neighbours(vector(1, 0), tasks, 4, 0.9).tolist() == [2]


def test_rewards_are_brought_to_one_range() -> None:
    scale = RunningRange()
    assert [scale(one) for one in (5.0, 5.0, 7.0, 6.0, 3.0)] == [0, 0, 1, 0.5, 0]
    for _ in range(100):
        scale(10.0)
    assert scale(11.0) == 1 and min(scale.seen) == 10  # the hundred before have been forgotten


def memory(**others: float) -> EpisodicMemory:
    return EpisodicMemory(**{"capacity": 3, "count": 1, "threshold": 0.5, "exploit": 0.5, **others})  # type: ignore[arg-type]


def test_an_answer_like_one_that_worked_is_worth_more() -> None:
    found = memory()
    assert found.reward(vector(1, 0), vector(1, 0)) == 0
    found.remember(vector(1, 0), vector(1, 0), is_success=True)
    found.remember(vector(1, 0), vector(0, 1), is_success=False)
    like_bad, like_good = (found.reward(vector(1, 0.1), one) for one in (vector(0, 1), vector(1, 0)))
    assert like_bad == 0 and like_good == pytest.approx(1)
    assert found.reward(vector(-1, 0), vector(1, 0)) == 0  # another kind of task


def test_a_memory_is_kept_and_bounded(tmp_path: Path) -> None:
    found = memory()
    for number in range(5):
        found.remember(vector(1, number), vector(number, 1), is_success=number % 2 == 0)
        found.reward(vector(1, 1), vector(number, 0))
    assert len(found.successes.tasks) == 3 and found.failures.tasks[0].tolist() == [1, 1]
    np.savez(tmp_path / "kept.npz", **found.arrays())
    again = memory()
    with np.load(tmp_path / "kept.npz") as arrays:
        again.load(dict(arrays))
    assert again.reward(vector(1, 2), vector(2, 1)) == found.reward(vector(1, 2), vector(2, 1))


# In a trainer


def test_what_is_paid_leaves_the_episode_as_it_was() -> None:
    one = episode([0, 1], ["red", "green"])
    assert [turn.reward for turn in paid(one, {0: 0.5}).turns] == [0.5, 1]
    assert paid(one, {}) == one


def config_of(run: Path, model: Path, env: EnvConfig, agent: AgentConfig, **extra: float) -> grpo.Config:
    return grpo.Config(
        run=run,
        model=str(model),
        env=replace(env, id="tests/Unpaid-v1"),
        agent=agent,
        optim=OptimConfig(lr=3e-3, warmup_steps=3),
        loop=LoopConfig(steps=60, eval_every=0, checkpoint_every=60),
        rewards=RewardsConfig(**extra),  # type: ignore[arg-type]
        advantage="rloo",
        groups=6,
        group_size=6,
    )


@pytest.fixture
def unpaid(copy_env: EnvConfig) -> EnvConfig:
    sparring.register("tests/Unpaid-v1", "tests.trainers.test_rewards:Unpaid", max_turns=5)
    return copy_env


@pytest.mark.parametrize(("weight", "learns"), [(1.0, True), (0.0, False)])
def test_progress_alone_is_learned_from(
    weight: float, learns: bool, tmp_path: Path, taught_model: Path, unpaid: EnvConfig, copy_agent: AgentConfig
) -> None:
    config = config_of(tmp_path / "run", taught_model, unpaid, copy_agent, progress_weight=weight, progress_probes=2)
    rows = RunFolder(grpo.train(config)).metrics()
    end = float(np.mean([row["score"] for row in rows[-10:]]))
    # The start is right at a rate of 0.475; ten steps are 720 words, a standard error of 0.02.
    assert (end > 0.65) if learns else end == pytest.approx(0.475, abs=0.1)


def test_a_memory_goes_on_where_it_stopped(
    tmp_path: Path, copy_model: Path, unpaid: EnvConfig, copy_agent: AgentConfig
) -> None:
    config = config_of(tmp_path / "whole", copy_model, unpaid, copy_agent, memory_weight=0.3)
    config = replace(config, loop=LoopConfig(steps=6, eval_every=0, checkpoint_every=3, keep_checkpoints=0))
    whole = RunFolder(grpo.train(config))
    parted = replace(config, run=tmp_path / "parted", loop=replace(config.loop, steps=3))
    grpo.train(parted)
    grpo.train(replace(parted, resume=True, loop=config.loop))
    ends = [[row["shaped_score"] for row in RunFolder(one).metrics()] for one in (whole.path, parted.run)]
    assert ends[0] == ends[1] and any(ends[0])
    latest = RunFolder(parted.run).latest_checkpoint()
    assert latest is not None
    (latest[1] / MEMORY_FILE).unlink()
    with pytest.raises(InvalidData, match="episodic memory of this run"):
        grpo.train(replace(parted, resume=True, loop=replace(config.loop, steps=9)))


def test_settings_that_do_not_fit() -> None:
    with pytest.raises(InvalidConfig, match="memory_exploit is a share"):
        RewardsConfig(memory_exploit=1.5)
    with pytest.raises(InvalidConfig, match="progress_probes must be at least 1"):
        rewards.RewardsConfig(progress_probes=0)
