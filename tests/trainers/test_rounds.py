"""Rounds of iterated imitation: what is learned from and remembered, and that selection is what teaches."""

from __future__ import annotations

import itertools
import math
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparring.agents.hf import HFPolicy
from sparring.agents.models import load_model
from sparring.agents.scripted import ExpertPolicy
from sparring.envs.pool import EnvPool
from sparring.errors import InvalidConfig, InvalidData
from sparring.rollout import Setting, Start, rollout
from sparring.runs import RunFolder
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers import iterated, preferences
from sparring.trainers.demos import DemosConfig
from sparring.trainers.exploration import Player, drawn
from sparring.trainers.mask_rules import sound_turns
from sparring.trainers.optim import OptimConfig
from sparring.trainers.rounds import (
    Flagged,
    LearningConfig,
    batches,
    lessons_of,
    once_each,
    read_flagged,
    settled,
    write_flagged,
)
from sparring.trainers.session import LoopConfig
from sparring.types import Trajectory
from tests.trainers.hand_made import episode

THREE = episode([0, 0, 1], ["red", "green", "blue"], said=["red", "green blue", "blue"])


@pytest.fixture
def policy(copy_model: Path) -> HFPolicy:
    model, tokenizer = load_model(copy_model)
    return HFPolicy(model, tokenizer, max_new_tokens=8)


# Flags


def test_only_the_tokens_of_trained_turns_are_learned_from(policy: HFPolicy, copy_agent: AgentConfig) -> None:
    [whole] = lessons_of([Flagged(THREE)], policy, copy_agent)
    [part] = lessons_of([Flagged(THREE, frozenset({0, 2}), weight=0.5)], policy, copy_agent)
    assert whole.sample.turn_n is not None and part.sample.turn_n is not None
    assert set(part.sample.turn_n.tolist()) == {0, 2} and set(whole.sample.turn_n.tolist()) == {0, 1, 2}
    assert part.sample.ids_T.tolist() == whole.sample.ids_T.tolist()
    wanted = whole.sample.sampled_n[whole.sample.turn_n != 1]
    assert part.sample.sampled_n.tolist() == wanted.tolist()
    assert part.advantages_n.tolist() == [0.5] * len(wanted)


def test_under_a_memory_of_one_turn_only_trained_turns_are_sequences(policy: HFPolicy, copy_agent: AgentConfig) -> None:
    flagged = Flagged(replace(THREE, memory="last_observation"), frozenset({1}))
    [lesson] = lessons_of([flagged], policy, copy_agent)
    assert lesson.sample.turn_n is not None and set(lesson.sample.turn_n.tolist()) == {1}


def test_nothing_trained_is_no_lesson(policy: HFPolicy, copy_agent: AgentConfig) -> None:
    assert lessons_of([Flagged(THREE, frozenset())], policy, copy_agent) == []


@pytest.mark.parametrize(
    ("trained", "weight", "says"), [({3}, 1.0, r"among the 3 .* got \[3\]"), ({0}, -1.0, "at least 0, got -1")]
)
def test_flags_that_do_not_fit(trained: set[int], weight: float, says: str) -> None:
    with pytest.raises(InvalidData, match=says):
        Flagged(THREE, frozenset(trained), weight)


def test_flagged_episodes_are_kept_in_files(tmp_path: Path) -> None:
    found = [Flagged(THREE), Flagged(THREE, frozenset({2, 0}), 0.25), Flagged(THREE, frozenset())]
    path = tmp_path / "rounds" / "step-000001.jsonl.zst"
    assert write_flagged(path, found) == 3
    assert list(read_flagged(path)) == found


def test_the_same_lesson_is_learned_once() -> None:
    other_task = replace(THREE, task_id="train-1")
    part = Flagged(THREE, frozenset({1}))
    assert once_each([Flagged(THREE), part, Flagged(other_task), part]) == [Flagged(THREE), part]


def test_a_choice_of_ones_own_comes_before_the_methods() -> None:
    assert settled(LearningConfig(), restart=True, remember=False) == LearningConfig(restart=True, remember=False)
    own = settled(LearningConfig(restart=False), restart=True, remember=True)
    assert (own.restart, own.remember) == (False, True)


# What a step and a round draw


@given(count=st.integers(1, 12), size=st.integers(1, 15), seed=st.integers(0, 5))
def test_each_pass_goes_through_all(count: int, size: int, seed: int) -> None:
    in_pass = -(-count // size)
    drawn_batches = list(itertools.islice(batches(count, size, np.random.default_rng(seed)), 2 * in_pass))
    for one in (drawn_batches[:in_pass], drawn_batches[in_pass:]):
        assert sorted(index for batch in one for index in batch) == list(range(count))
    assert all(len(batch) <= size for batch in drawn_batches)


@given(total=st.integers(1, 12), count=st.integers(1, 12))
def test_none_is_explored_again_before_all_others_were(total: int, count: int) -> None:
    everything = [replace(THREE, seed=seed) for seed in range(total)]
    rounds = [[one.seed for one in drawn(everything, count, seed=0, round=round)] for round in range(1, total + 1)]
    assert all(seeds == sorted(set(seeds)) for seeds in rounds)
    whole = rounds[: total // count]
    assert len({seed for seeds in whole for seed in seeds}) == sum(map(len, whole))
    if count >= total:
        assert rounds[0] == list(range(total))


# From the middle of an expert's episode


def test_turns_of_a_script_are_taken_again_in_the_tokens_of_training(
    policy: HFPolicy, copy_env: EnvConfig, copy_agent: AgentConfig
) -> None:
    """Laying out what was played checks every prompt against the one that the policy saw."""
    setting = Setting(copy_env.full_id)
    with EnvPool(copy_env.maker(("expert",)), 1) as pool:
        [shown] = rollout(ExpertPolicy(), pool, [Start(5, split="train")], setting)
    with EnvPool(copy_env.maker(), 1) as pool:
        player = Player(policy, pool, setting, copy_agent, "train")
        [after, elsewhere] = player.play(
            [player.again(shown, turns=1), player.again(replace(shown, seed=6), turns=1)], expected=[shown, shown]
        )
    assert after is not None and after.turns[0].action == shown.turns[0].action
    assert after.turns[1].action.prompt_tokens > 0
    [lesson] = lessons_of([Flagged(after, frozenset({1}))], policy, copy_agent)
    assert lesson.sample.ids_T[lesson.sample.sampled_n].tolist() == list(after.turns[1].action.token_ids)
    assert player.counts["action_tokens"] == len(after.turns[1].action.token_ids)
    assert elsewhere is None and player.lost == 1


# Learning


def config_of(run: Path, start: Path, env: EnvConfig, agent: AgentConfig) -> iterated.Config:
    return iterated.Config(
        run=run,
        model=str(start),
        env=env,
        agent=agent,
        demos=DemosConfig("expert:0.6", episodes=20),
        optim=OptimConfig(lr=2e-3),
        loop=LoopConfig(steps=2, eval_every=2, eval_episodes=128, checkpoint_every=2),
        groups=256,
    )


def sampled_score(run: Path) -> float:
    return float(RunFolder(run).metrics()[-1]["eval_sampled_score"])


def test_rft_learns_from_its_successes(
    tmp_path: Path, taught_model: Path, copy_env: EnvConfig, copy_agent: AgentConfig
) -> None:
    run = iterated.train(config_of(tmp_path / "run", taught_model, copy_env, copy_agent))
    # The start imitates an expert who is right at a rate of 0.475: of 512 words, with a standard error of 0.022.
    assert RunFolder(run).metrics()[0]["score"] == pytest.approx(0.475, abs=0.1)
    assert sampled_score(run) > 0.8


def test_rft_gains_nothing_by_what_is_kept_at_random(
    tmp_path: Path,
    taught_model: Path,
    copy_env: EnvConfig,
    copy_agent: AgentConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def at_random(_: iterated.Config, one: Trajectory) -> bool:
        return zlib.crc32(repr((one.seed, one.sampling_seed)).encode()) % 4 == 0

    monkeypatch.setattr(iterated.Config, "succeeded", at_random)
    run = iterated.train(config_of(tmp_path / "run", taught_model, copy_env, copy_agent))
    assert sampled_score(run) < 0.55


def test_eef_needs_failures(tmp_path: Path, taught_model: Path, copy_env: EnvConfig, copy_agent: AgentConfig) -> None:
    config = config_of(tmp_path / "run", taught_model, copy_env, copy_agent)
    with pytest.raises(InvalidConfig, match="none of the 5 failed"):
        iterated.train(replace(config, method="eef", demos=DemosConfig("expert", episodes=5)))


def test_eef_learns_from_the_middle_of_failures(
    tmp_path: Path, taught_model: Path, copy_env: EnvConfig, copy_agent: AgentConfig
) -> None:
    """From failed demonstrations and a single task of its own."""
    config = config_of(tmp_path / "run", taught_model, copy_env, copy_agent)
    config = replace(config, method="eef", groups=1, probes=2, demos=DemosConfig("expert:0.6", episodes=64))
    run = iterated.train(config)
    kept = list(read_flagged(run / "rounds" / "step-000001.jsonl.zst"))
    assert len(kept) == RunFolder(run).metrics()[0]["found"] > 10
    assert all(one.trajectory.success for one in kept)
    assert sampled_score(run) > 0.8


@pytest.mark.parametrize("method", ["eto", "ipr"])
def test_preferring_an_expert_is_learning_from_it(
    method: Literal["eto", "ipr"], tmp_path: Path, copy_model: Path, copy_env: EnvConfig, copy_agent: AgentConfig
) -> None:
    """From random weights, which are right once in eight times and never get a whole episode right by greed."""
    config = replace(
        config_of(tmp_path / "run", copy_model, copy_env, copy_agent),
        method=method,
        demos=DemosConfig("expert", episodes=200),
        demos_per_round=0,
        optim=OptimConfig(lr=3e-3),
    )
    run = iterated.train(config)
    row, last = RunFolder(run).metrics()
    most = max(last["lessons"], last["outcome_pairs"], last.get("step_pairs", 0))
    # However few pairs a round finds, they are not learned by heart, which would undo the rounds before.
    assert last["updates"] == min(100, 10 * math.ceil(most / 16))
    for kind in ("outcome", "step") if method == "ipr" else ("outcome",):
        pairs = list(preferences.read(run / "pairs" / f"{kind}-000001.jsonl.zst"))
        assert len(pairs) == row[f"{kind}_pairs"] > 20
        assert all(one.chosen.score > one.rejected.score for one in pairs)
        assert row[f"{kind}_chosen_change"] > row[f"{kind}_rejected_change"]
    assert sampled_score(run) > 0.5


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: iterated.Config(groups=0), "groups must be at least 1"),
        (lambda: iterated.Config(tau=-1), "tau must be at least 0"),
        (lambda: LearningConfig(updates=0), "learning.updates must be at least 1"),
        (lambda: LearningConfig(beta=0), "learning.beta must be above 0"),
    ],
)
def test_settings_out_of_range(build: object, says: str) -> None:
    with pytest.raises(InvalidConfig, match=says):
        build()  # type: ignore[operator]


# Errors that are shown and not learned from


def test_what_the_environment_found_fault_with_is_context() -> None:
    infos: list[dict[str, Any]] = [{"no_op": "what?"}, {"correct": False}, {"correct": True}]
    turns = tuple(replace(turn, info=info) for turn, info in zip(THREE.turns, infos, strict=True))
    assert sound_turns(replace(THREE, turns=turns)) == frozenset({2})
    assert sound_turns(THREE) == frozenset({0, 1, 2})
    config = iterated.Config(mask_errors=True)
    found = Flagged(replace(THREE, turns=turns))
    assert config.masked(found).trained == frozenset({2})
    assert config.masked(replace(found, trained=frozenset({0, 1}))).trained == frozenset()
    assert iterated.Config().masked(found) == found
