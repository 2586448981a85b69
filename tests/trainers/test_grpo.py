"""The pieces of the group policy gradient on hand-made episodes, and what a step does with groups that went wrong."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sparring.agents.hf import HFPolicy
from sparring.envs.pool import EnvPool
from sparring.errors import InvalidConfig
from sparring.runs import RunFolder
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers import grpo
from sparring.trainers.batch import collate, samples_of, score_tokens, vocabulary_size
from sparring.trainers.checkpoint import Learner, load_learner, load_reference
from sparring.trainers.collect import Collection, collect_groups, group_starts
from sparring.trainers.optim import Diverged, OptimConfig
from sparring.trainers.policy_update import Lesson, ObjectiveConfig, add_gradients, minibatches, update_policy
from sparring.trainers.session import LoopConfig
from sparring.trainers.tally import Tally
from sparring.types import Stop, Trajectory
from tests.worlds import Copy


@pytest.fixture
def config(tmp_path: Path, copy_model: Path, copy_env: EnvConfig, copy_agent: AgentConfig) -> grpo.Config:
    return grpo.Config(
        run=tmp_path / "run",
        model=str(copy_model),
        env=copy_env,
        agent=copy_agent,
        optim=OptimConfig(lr=1e-3, warmup_steps=0),
        loop=LoopConfig(steps=2, eval_every=0),
        groups=4,
        group_size=4,
    )


@pytest.fixture
def learner(config: grpo.Config) -> Learner:
    return load_learner(config.model, config.optim, RunFolder(config.run))


@pytest.fixture
def policy(learner: Learner, config: grpo.Config) -> HFPolicy:
    return learner.policy(config.agent)


def play(config: grpo.Config, policy: HFPolicy) -> tuple[Collection, float]:
    with EnvPool(config.env.maker(), 8) as pool:
        return grpo.play(config, policy, pool, 1, "train")


def with_return(trajectory: Trajectory, value: float) -> Trajectory:
    return replace(trajectory, turns=(*trajectory.turns[:-1], replace(trajectory.turns[-1], reward=value)))


def with_returns(collection: Collection, returns: list[list[float]]) -> Collection:
    """The same episodes with other returns; groups are shortened to the lists."""
    return Collection(
        tuple(
            tuple(
                with_return(replace(one, turns=tuple(replace(turn, reward=0.0) for turn in one.turns)), value)
                for one, value in zip(group, values, strict=False)
            )
            for group, values in zip(collection.groups, returns, strict=False)
        ),
        failed=0,
    )


def whole(lesson: Lesson) -> float:
    """The advantage of an episode, which all its tokens share."""
    (value,) = set(lesson.advantages_n.tolist())
    return float(value)


def parameters(learner: Learner) -> torch.Tensor:
    return torch.cat([one.detach().flatten() for one in learner.model.parameters()]).clone()


def gradients(
    config: grpo.Config,
    learner: Learner,
    reference: Any | None,
    part: list[Lesson],
    weights_B: torch.Tensor,
    tally: Tally,
) -> float:
    return add_gradients(
        config.objective,
        config.optim,
        learner.model,
        reference,
        part,
        weights_B,
        tally,
        config.agent.temperature,
        is_fresh=True,
    )


def update(
    config: grpo.Config, learner: Learner, policy: HFPolicy, reference: Any | None, collection: Collection
) -> dict[str, float]:
    found = update_policy(
        config.objective,
        config.optim,
        learner,
        grpo.lessons_of(config, policy, collection),
        reference=reference,
        temperature=config.agent.temperature,
        seed=config.seed,
        step=1,
        progress=0.0,
    )
    policy.weights_changed()
    return found


def with_objective(config: grpo.Config, **changes: Any) -> grpo.Config:
    return replace(config, objective=replace(config.objective, **changes))


def gradient(config: grpo.Config, learner: Learner, lessons: list[Lesson]) -> torch.Tensor:
    learner.optimizer.zero_grad()
    for part, weights_B in minibatches(config.objective, lessons, 0, 1):
        gradients(config, learner, None, part, weights_B, Tally())
    return torch.cat([one.grad.flatten() for one in learner.model.parameters() if one.grad is not None]).clone()


def test_members_of_a_group_share_task_and_seed_and_nothing_else(config: grpo.Config, policy: HFPolicy) -> None:
    collection, _ = play(config, policy)
    for group in collection.groups:
        assert len({(one.task_id, one.seed) for one in group}) == 1
        assert len({one.sampling_seed for one in group}) == len(group) == 4
    assert len({one.seed for one in collection.trajectories}) == 4
    starts = group_starts(0, 1, groups=4, size=4, split="train")
    assert starts == group_starts(0, 1, groups=4, size=4, split="train")
    for other in (
        group_starts(1, 1, groups=4, size=4, split="train"),
        group_starts(0, 2, groups=4, size=4, split="train"),
        group_starts(0, 1, groups=4, size=4, split="train", attempt=1),
    ):
        assert not {one.seed for one in starts} & {one.seed for one in other}


def test_environments_that_run_free_play_the_same_episodes(config: grpo.Config, policy: HFPolicy) -> None:
    plays = [play(replace(config, run_free=run_free), policy)[0] for run_free in (False, True)]
    texts = [[[turn.action.text for turn in one.turns] for one in found.trajectories] for found in plays]
    assert texts[0] == texts[1]


def test_the_trainer_scores_what_the_policy_sampled(config: grpo.Config, learner: Learner, policy: HFPolicy) -> None:
    """Constrained or free, at any temperature, under any memory style: recorded and recomputed logprobs agree."""
    for constrained in (True, False):
        for memory in ("full_history", "last_observation"):
            agent = AgentConfig(memory=memory, constrained=constrained, temperature=0.7, max_action_tokens=4)
            varied = replace(config, agent=agent)
            one = learner.policy(agent)
            collection, _ = play(varied, one)
            lessons = [
                replace(lesson, advantages_n=np.ones_like(lesson.advantages_n))
                for lesson in grpo.lessons_of(varied, one, collection)
            ]
            # One sequence an episode where prompts extend each other, else one a turn (two words, two turns).
            assert len(lessons) == 16 * (1 if memory == "full_history" else 2)
            tally = Tally()
            for part, weights_B in minibatches(varied.objective, lessons, 0, 1):
                gradients(varied, learner, None, part, weights_B, tally)
            assert tally.means()["mismatch"] < 1e-5
            assert tally.means()["kl"] < 1e-8


def test_advantages_follow_the_returns(config: grpo.Config, policy: HFPolicy) -> None:
    collection = with_returns(play(config, policy)[0], [[1, 0, 0, 0], [2, 2, 2, 2], [0.5, 0], []])
    lessons = grpo.lessons_of(config, policy, collection)
    # grpo: (1 - 1/4) / (1/2) = 1.5; equal returns: 0; of two, with std = 1/(2 sqrt 2): +-(1/4) 2 sqrt 2 = +-0.7071.
    expected = [1.5, -0.5, -0.5, -0.5, 0, 0, 0, 0, 0.5**0.5, -(0.5**0.5)]
    assert [whole(lesson) for lesson in lessons] == pytest.approx(expected, abs=1e-4)


def test_an_overrun_context_counts_in_the_mean_and_not_in_the_loss(config: grpo.Config, policy: HFPolicy) -> None:
    collection = with_returns(play(config, policy)[0], [[1, 0, 0, 0]])
    (group,) = collection.groups
    overrun = Collection(((*group[:3], replace(group[3], stop=Stop.CONTEXT_FULL)),), failed=0)
    lessons = grpo.lessons_of(config, policy, overrun)
    assert [whole(lesson) for lesson in lessons] == pytest.approx([1.5, -0.5, -0.5], abs=1e-4)


def test_tokens_cost(config: grpo.Config, policy: HFPolicy) -> None:
    one = with_returns(play(config, policy)[0], [[1.0]]).trajectories[0]
    tokens = sum(len(turn.action.token_ids) for turn in one.turns)
    assert replace(config, token_cost=0.01).learning_return(one) == pytest.approx(1 - 0.01 * tokens)


def test_leaving_lessons_of_advantage_0_out_changes_no_gradient(
    config: grpo.Config, learner: Learner, policy: HFPolicy
) -> None:
    collection = with_returns(play(config, policy)[0], [[1, 0, 0, 0], [2, 2, 2, 2]])
    lessons = grpo.lessons_of(config, policy, collection)
    (left_out,) = [part for part, _ in minibatches(config.objective, lessons, 0, 1)]
    # An entropy term too small to matter keeps them in.
    regularised = with_objective(config, entropy_coef=1e-12)
    (kept,) = [part for part, _ in minibatches(regularised.objective, lessons, 0, 1)]
    assert (len(left_out), len(kept)) == (4, 8)
    torch.testing.assert_close(gradient(config, learner, lessons), gradient(regularised, learner, lessons))


def test_nothing_to_learn_changes_no_weight(config: grpo.Config, learner: Learner, policy: HFPolicy) -> None:
    collection = with_returns(play(config, policy)[0], [[1, 1, 1, 1], [0, 0, 0, 0]])
    before = parameters(learner)
    row = update(config, learner, policy, None, collection)
    assert torch.equal(parameters(learner), before)
    assert row["loss"] != row["loss"]  # nan, which the metrics write as null
    update(config, learner, policy, None, Collection((), 0))
    assert torch.equal(parameters(learner), before)


def test_a_step_raises_what_did_better(config: grpo.Config, learner: Learner, policy: HFPolicy) -> None:
    collection = with_returns(play(config, policy)[0], [[1, 0, 0, 0], [0, 0, 0, 1]])

    def total(trajectory: Trajectory) -> float:
        (sample,) = samples_of(trajectory, policy.chat, policy.grammar)
        batch = collate([sample], vocabulary_size(learner.model)).to(learner.model.device)
        return score_tokens(learner.model, batch).logprobs_N.sum().item()

    better = [collection.groups[0][0], collection.groups[1][3]]
    before = [total(one) for one in better]
    update(config, learner, policy, None, collection)
    assert all(total(one) > value for one, value in zip(better, before, strict=True))


def test_kl_to_the_start_begins_at_0_and_holds_back(config: grpo.Config, policy: HFPolicy) -> None:
    collection = with_returns(play(config, policy)[0], [[1, 0, 0, 0], [0, 0, 0, 1]])
    divergences = []
    for kl_coef in (1e-6, 10.0):
        held = replace(with_objective(config, kl_coef=kl_coef, epochs=8), optim=replace(config.optim, lr=1e-2))
        run = RunFolder(config.run / str(kl_coef))
        learner = load_learner(config.model, config.optim, run)
        reference = load_reference(learner, run)
        assert not any(one.requires_grad for one in reference.parameters())
        start = parameters(learner)
        tally = Tally()
        (part, weights_B), *_ = minibatches(held.objective, grpo.lessons_of(held, policy, collection), 0, 1)
        gradients(held, learner, reference, part, weights_B, tally)
        assert tally.means()["reference_kl"] == pytest.approx(0, abs=1e-8)
        learner.optimizer.zero_grad()
        own = learner.policy(config.agent)
        divergences.append(update(held, learner, own, reference, collection)["reference_kl"])
        with run.checkpoint(1) as folder:
            learner.write(folder)
        again = load_reference(learner, run)  # what a resumed run holds on to is still the start
        assert torch.equal(torch.cat([one.flatten() for one in again.parameters()]), start)
    assert divergences[1] < divergences[0] / 3


def test_groups_are_never_split_and_all_are_seen_in_each_epoch(config: grpo.Config, policy: HFPolicy) -> None:
    varied = with_objective(config, epochs=2, minibatches=2)
    collection = with_returns(play(config, policy)[0], [[1, 0, 0, 0]] * 4)
    parts = [part for part, _ in minibatches(varied.objective, grpo.lessons_of(varied, policy, collection), 0, 1)]
    numbers = [sorted({lesson.group for lesson in part}) for part in parts]
    assert [len(part) for part in parts] == [8, 8, 8, 8]
    assert sorted(numbers[0] + numbers[1]) == sorted(numbers[2] + numbers[3]) == [0, 1, 2, 3]


def test_groups_of_equal_returns_are_dropped_and_replaced(
    config: grpo.Config, policy: HFPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def first_is_flat(policy: Any, pool: Any, starts: list[Any], setting: Any, size: int, **options: Any) -> Collection:
        found = collect_groups(policy, pool, starts, setting, size, **options)
        asked.append(len(found.groups))
        return with_returns(found, [[0.5] * 4, *([[1, 0, 0, 0]] * 3)])

    monkeypatch.setattr(grpo, "collect_groups", first_is_flat)
    for attempts, expected, share in ((0, [4], 1 / 4), (1, [4, 1], 2 / 5), (2, [4, 1, 1], 3 / 6)):
        asked.clear()
        collection, alike = play(replace(config, drop_zero_variance=True, resample_attempts=attempts), policy)
        assert asked == expected
        assert len(collection.groups) == 3 and alike == pytest.approx(share)
    collection, alike = play(config, policy)
    assert len(collection.groups) == 4 and alike == 1 / 4


def test_failed_episodes_are_counted_and_leave_their_group_smaller(
    config: grpo.Config, policy: HFPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, calls = Copy.step, [0]

    def flaky(self: Copy, action: str) -> Any:
        calls[0] += 1
        if calls[0] in (3, 8):
            raise OSError("the disk is gone")
        return step(self, action)

    monkeypatch.setattr(Copy, "step", flaky)
    collection, _ = play(config, policy)
    assert collection.failed == 2
    assert sum(len(group) for group in collection.groups) == 14
    assert collection.summary()["failed"] == 2
    assert all(one.stop is not Stop.ENV_ERROR for one in collection.trajectories)


def test_an_environment_that_always_fails_teaches_nothing_and_stops_nothing(
    config: grpo.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Copy, action: str) -> Any:
        raise OSError("the disk is gone")

    monkeypatch.setattr(Copy, "step", broken)
    rows = RunFolder(grpo.train(config)).metrics()
    assert [(row["failed"], row["score"], row["loss"]) for row in rows] == [(16, None, None)] * 2


def test_an_environment_that_hangs_or_talks_nonsense_costs_its_own_episode(
    config: grpo.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, calls = Copy.step, itertools.count()

    def ill(self: Copy, action: str) -> Any:
        call = next(calls)
        if call == 3:
            time.sleep(1.5)
        if call == 8:
            return None, float("nan"), "maybe", False, {}
        return step(self, action)

    monkeypatch.setattr(Copy, "step", ill)
    rows = RunFolder(grpo.train(replace(config, env=replace(config.env, step_timeout_s=0.3)))).metrics()
    assert [row["failed"] for row in rows] == [2, 0]
    assert rows[-1]["episodes"] == 14 + 16 and rows[-1]["loss"] is not None


def test_a_gradient_that_is_not_finite_is_not_taken(config: grpo.Config, learner: Learner, policy: HFPolicy) -> None:
    collection = with_returns(play(config, policy)[0], [[float("1e300"), -1e300, 0, 0]])
    before = parameters(learner)
    with pytest.raises(Diverged, match=r"optim\.lr"):
        update(replace(config, advantage="dr_grpo"), learner, policy, None, collection)
    assert torch.equal(parameters(learner), before)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"group_size": 1}, "group_size must be at least 2, got 1"),
        ({"objective": ObjectiveConfig(minibatches=9), "groups": 8}, "can't exceed groups"),
        ({"overlong_tokens": 600}, "can't exceed max_episode_tokens"),
        ({"anchor_ignores": "("}, "regular expression"),
        ({"resample_attempts": 2}, "drop_zero_variance"),
        ({"gamma": 1.5}, "gamma"),
    ],
)
def test_settings_that_make_no_sense(change: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidConfig, match=says):
        grpo.Config(**change)
