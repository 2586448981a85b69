"""DPO learns from pairs, played in rounds or given in a file, and not from pairs that say nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparring.envs.pool import EnvPool
from sparring.runs import RunFolder
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers import dpo, preferences
from sparring.trainers.checkpoint import load_learner
from sparring.trainers.collect import collect_groups, group_starts
from sparring.trainers.optim import OptimConfig
from sparring.trainers.pair_update import PreferenceConfig
from sparring.trainers.preferences import Pair, outcome_pairs
from sparring.trainers.session import LoopConfig

CHANCE = 1 / 8


@pytest.fixture
def pairs(tmp_path: Path, copy_model: Path, copy_env: EnvConfig, copy_agent: AgentConfig) -> list[Pair]:
    """What 1,024 episodes of the untrained model, right at a rate of one in eight, tell about better and worse."""
    learner = load_learner(str(copy_model), OptimConfig(), RunFolder(tmp_path / "none"))
    with EnvPool(copy_env.maker(), 64) as pool:
        starts = group_starts(0, 1, groups=128, size=8, split="train")
        found = collect_groups(learner.policy(copy_agent), pool, starts, dpo.Config(env=copy_env).setting, 8)
    return outcome_pairs(found.groups)


def learned(
    folder: Path, model: Path, env: EnvConfig, agent: AgentConfig, steps: int, **changes: Any
) -> list[dict[str, float]]:
    """The rows of a run of some steps; the last one has an evaluation."""
    config = dpo.Config(
        run=folder / "dpo",
        model=str(model),
        env=env,
        agent=agent,
        optim=OptimConfig(lr=3e-3, warmup_steps=3),
        loop=LoopConfig(steps=steps, eval_every=steps, eval_episodes=64, checkpoint_every=steps),
    )
    return RunFolder(dpo.train(replace(config, **changes))).metrics()


def from_file(
    folder: Path,
    model: Path,
    env: EnvConfig,
    agent: AgentConfig,
    pairs: list[Pair],
    objective: str = "dpo",
    **more: Any,
) -> dict[str, float]:
    path = folder / "pairs.jsonl.zst"
    preferences.write(path, pairs)
    preference = PreferenceConfig(objective=objective, **more)  # type: ignore[arg-type]
    return learned(folder, model, env, agent, 80, pairs=path, preference=preference)[-1]


@pytest.mark.parametrize(
    ("objective", "more"),
    [("dpo", {}), ("dpo", {"reference": "model"}), ("cdpo", {}), ("ipo", {}), ("rpo", {}), ("simpo", {"beta": 2.0})],
    ids=["dpo", "dpo-model", "cdpo", "ipo", "rpo", "simpo"],
)
def test_pairs_of_the_start_s_own_teach(
    tmp_path: Path,
    copy_model: Path,
    copy_env: EnvConfig,
    copy_agent: AgentConfig,
    pairs: list[Pair],
    objective: str,
    more: dict[str, Any],
) -> None:
    last = from_file(tmp_path, copy_model, copy_env, copy_agent, pairs, objective, **more)
    assert last["eval_greedy_score"] > 0.5 and last["eval_sampled_score"] > 0.4
    assert last["accuracy"] > 0.8 and last["chosen_change"] > last["rejected_change"]
    assert "env_turns" not in last


def test_swapped_pairs_teach_what_is_wrong(
    tmp_path: Path, copy_model: Path, copy_env: EnvConfig, copy_agent: AgentConfig, pairs: list[Pair]
) -> None:
    swapped = [replace(pair, chosen=pair.rejected, rejected=pair.chosen) for pair in pairs]
    last = from_file(tmp_path, copy_model, copy_env, copy_agent, swapped)
    assert last["eval_sampled_score"] < CHANCE


def test_shuffled_pairs_teach_nothing(
    tmp_path: Path, copy_model: Path, copy_env: EnvConfig, copy_agent: AgentConfig, pairs: list[Pair]
) -> None:
    flips = np.random.default_rng(0).random(len(pairs)) < 0.5
    shuffled = [
        replace(pair, chosen=pair.rejected, rejected=pair.chosen) if flip else pair
        for pair, flip in zip(pairs, flips.tolist(), strict=True)
    ]
    last = from_file(tmp_path, copy_model, copy_env, copy_agent, shuffled)
    assert last["eval_sampled_score"] == pytest.approx(CHANCE, abs=0.12)  # 128 words: standard error 0.03


def test_rounds_of_its_own_episodes(
    tmp_path: Path, copy_model: Path, copy_env: EnvConfig, copy_agent: AgentConfig
) -> None:
    preference = PreferenceConfig(minibatches=4)
    rows = learned(
        tmp_path, copy_model, copy_env, copy_agent, 40, groups=16, group_size=8, which="all", preference=preference
    )
    assert np.mean([row["score"] for row in rows[:3]]) == pytest.approx(CHANCE, abs=0.05)
    assert np.mean([row["score"] for row in rows[-5:]]) > 0.7
    # The reference is the policy at the start of a round: before the first update the two agree.
    assert abs(rows[0]["chosen_change"]) < 0.1 and rows[0]["kl"] < 0.01
