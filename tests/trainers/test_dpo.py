"""Pairs: what makes one, how it is kept and spelled, and what gradient comes of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sparring import trajectories
from sparring.agents.hf import HFPolicy
from sparring.envs.pool import EnvPool
from sparring.errors import InvalidConfig, InvalidData
from sparring.runs import RunFolder
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers import dpo, preferences
from sparring.trainers.batch import collate, samples_of, score_tokens, vocabulary_size
from sparring.trainers.checkpoint import Learner, load_learner
from sparring.trainers.collect import collect_groups, demonstrate, group_starts
from sparring.trainers.losses import dpo_loss
from sparring.trainers.optim import OptimConfig
from sparring.trainers.pair_update import (
    PreferenceConfig,
    add_gradients,
    distinct,
    pair_losses,
    update_on_pairs,
    with_reference,
)
from sparring.trainers.preferences import Pair, PairSamples, outcome_pairs, pair_samples, up_to
from sparring.trainers.session import LoopConfig
from sparring.trainers.tally import Tally
from sparring.types import Stop, Trajectory
from tests.trainers.hand_made import episode

SMALL = OptimConfig(lr=1e-3, warmup_steps=0, micro_batch_tokens=40)


@pytest.fixture
def learner(tmp_path: Path, copy_model: Path) -> Learner:
    return load_learner(str(copy_model), SMALL, RunFolder(tmp_path / "none"))


@pytest.fixture
def policy(learner: Learner, copy_agent: AgentConfig) -> HFPolicy:
    found = learner.policy(copy_agent)
    assert isinstance(found, HFPolicy)
    return found


def play(env: EnvConfig, agent: AgentConfig, policy: HFPolicy, groups: int = 4) -> list[list[Trajectory]]:
    setting = dpo.Config(env=env, agent=agent).setting
    with EnvPool(env.maker(), 16) as pool:
        starts = group_starts(0, 1, groups=groups, size=6, split="train")
        return [list(group) for group in collect_groups(policy, pool, starts, setting, 6).groups]


@pytest.fixture
def pairs(copy_env: EnvConfig, copy_agent: AgentConfig, policy: HFPolicy) -> list[Pair]:
    """Pairs of episodes of the start model's own."""
    found = outcome_pairs(play(copy_env, copy_agent, policy), which="all")
    assert len(found) > 4
    return found


def perturb(learner: Learner) -> None:
    """Move the weights, so that the policy is no longer the one that played."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for one in learner.model.parameters():
            one += 0.05 * torch.randn(one.shape, generator=generator).to(one.device)


# What makes a pair

RIGHT = episode([0, 1], ["red", "blue"], said=["red", "blue"])
WRONG = episode([0, 0], ["red", "blue"], said=["red", "gold"])


def test_a_pair_of_single_steps() -> None:
    pair = Pair(up_to(RIGHT, 1), up_to(WRONG, 1), first=1, margin=1)
    assert pair.first == 1
    cut = up_to(RIGHT, 0)
    assert [turn.action.text for turn in cut.turns] == ["red"]
    assert cut.stop is Stop.MAX_TURNS and cut.final == RIGHT.turns[1].observation
    assert up_to(RIGHT, 1) is RIGHT


@pytest.mark.parametrize(
    ("chosen", "first", "message"),
    [
        (replace(RIGHT, task_id="other"), 0, "share their task_id"),
        (replace(RIGHT, memory="last_observation"), 0, "share their memory"),
        (RIGHT, 2, "have 2 and 2 turns"),
        (RIGHT, -1, "at least 0"),
        (episode([0, 1], ["green", "blue"]), 0, "turn 0 shows 'green' and 'red'"),
        (episode([0, 1], ["red", "gold"], said=["red", "blue"]), 1, "turn 1 shows 'gold' and 'blue'"),
        (episode([0, 1], ["red", "blue"], said=["teal", "blue"]), 1, "in turn 0 they said 'teal' and 'red'"),
    ],
)
def test_what_is_no_pair_is_told_why(chosen: Trajectory, first: int, message: str) -> None:
    with pytest.raises(InvalidData, match=message):
        Pair(chosen, WRONG, first)


def test_files_of_pairs(tmp_path: Path) -> None:
    path = tmp_path / "pairs" / "step-000001.jsonl.zst"
    written = [Pair(RIGHT, WRONG, 1, 0.5), Pair(RIGHT, WRONG)]
    assert preferences.write(path, written) == 2
    assert list(preferences.read(path)) == list(preferences.read(path.parent)) == written


def test_broken_files_say_where(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl.zst"
    with pytest.raises(InvalidData, match=r"no pairs at .*pairs\.jsonl\.zst"):
        list(preferences.read(path))
    good = trajectories.to_json(Pair(RIGHT, WRONG))
    trajectories.write_lines(path, [good, good[:-1] + ', "first": 7}'])
    with pytest.raises(InvalidData, match=r"line 2: .*from turn 7 on"):
        list(preferences.read(path))
    trajectories.write(path, [RIGHT])
    with pytest.raises(InvalidData, match=r"line 1: .*chosen"):
        list(preferences.read(path))


def ends(*returns: float, stop: Stop = Stop.TERMINATED) -> list[Trajectory]:
    return [episode([value], ["red"], said=["red"], stop=stop) for value in returns]


def test_pairs_by_outcome() -> None:
    group = ends(0.5, 1, 0, 1, 0)
    (pair,) = outcome_pairs([group])
    assert pair.chosen is group[1] and pair.rejected is group[2] and pair.margin == 1
    # Of 1, 1, .5, 0, 0: four of ones against zeros, two of ones against the half, two of the half against zeros.
    assert len(outcome_pairs([group], which="all")) == 8
    assert len(outcome_pairs([group], 0.5, which="all")) == 4
    assert outcome_pairs([group], 1) == outcome_pairs([ends(1, 1), ends(0), []]) == []


def test_what_can_not_be_learned_from_makes_no_pair() -> None:
    assert outcome_pairs([[*ends(1), *ends(0, stop=Stop.CONTEXT_FULL), *ends(0, stop=Stop.ENV_ERROR)]]) == []


def test_groups_are_of_one_task_and_seed() -> None:
    one, other = ends(0, 1)
    elsewhere = replace(one, seed=1)
    assert preferences.grouped([one, elsewhere, other]) == [[one, other], [elsewhere]]


# How a pair is spelled


@pytest.mark.parametrize("memory", ["full_history", "last_observation"])
def test_turns_before_the_first_do_not_count(policy: HFPolicy, copy_agent: AgentConfig, memory: str) -> None:
    pair = Pair(replace(RIGHT, memory=memory), replace(WRONG, memory=memory), first=1)
    (found,) = pair_samples([pair], policy, copy_agent)
    for side, samples in ((pair.chosen, found.chosen), (pair.rejected, found.rejected)):
        (sample,) = samples
        (*_, whole) = samples_of(side, policy.chat, policy.grammar)
        assert np.array_equal(sample.ids_T, whole.ids_T)
        assert sample.turn_n is not None and set(sample.turn_n.tolist()) == {1}
        assert len(sample.allowed_n) == len(sample.logprobs_n) == len(sample.sampled_n)
    word = found.chosen[0].ids_T[found.chosen[0].sampled_n]
    assert policy.chat.vocabulary.decode(word.tolist()).startswith("blue")


def test_what_overruns_the_context_is_left_out(policy: HFPolicy, copy_agent: AgentConfig) -> None:
    policy.max_context = 12
    assert pair_samples([Pair(RIGHT, WRONG)], policy, copy_agent) == []


def test_the_reference_is_what_was_recorded(pairs: list[Pair], policy: HFPolicy, copy_agent: AgentConfig) -> None:
    for pair, found in zip(pairs, pair_samples(pairs, policy, copy_agent), strict=True):
        recorded = [
            value for side in (pair.chosen, pair.rejected) for turn in side.turns for value in turn.action.logprobs
        ]
        np.testing.assert_allclose(found.reference, recorded, rtol=1e-6)


def test_the_model_that_played_says_the_same(
    pairs: list[Pair], learner: Learner, policy: HFPolicy, copy_agent: AgentConfig
) -> None:
    recorded = pair_samples(pairs, policy, copy_agent)
    for one, other in zip(recorded, with_reference(recorded, learner.model, 40, 1.0), strict=True):
        np.testing.assert_allclose(one.reference, other.reference, atol=1e-5)


# What comes of it


def gradient_of(learner: Learner) -> torch.Tensor:
    found = torch.cat([one.grad.flatten() for one in learner.model.parameters() if one.grad is not None]).clone()
    learner.optimizer.zero_grad()
    return found


def written_out(learner: Learner, pairs: Sequence[PairSamples], beta: float) -> torch.Tensor:
    """The mean DPO loss, pair by pair and in one pass."""
    losses = []
    for pair in pairs:
        batch = collate(pair.samples, vocabulary_size(learner.model)).to(learner.model.device)
        logprobs_N = score_tokens(learner.model, batch).logprobs_N
        ratio_N = logprobs_N - torch.from_numpy(pair.reference).to(logprobs_N.device)
        chosen = sum(len(one.sampled_n) for one in pair.chosen)
        losses.append(dpo_loss(ratio_N[:chosen].sum()[None], ratio_N[chosen:].sum()[None], beta).loss_P)
    return torch.cat(losses).mean()


def test_two_passes_over_micro_batches_give_the_gradient_of_the_whole(
    pairs: list[Pair], learner: Learner, policy: HFPolicy, copy_agent: AgentConfig
) -> None:
    samples = pair_samples(pairs, policy, copy_agent)
    perturb(learner)
    loss = written_out(learner, samples, 0.3)
    loss.backward()  # type: ignore[no-untyped-call]
    expected = gradient_of(learner)
    found = add_gradients(PreferenceConfig(beta=0.3), SMALL, learner.model, samples, 1.0, Tally())
    assert found == pytest.approx(loss.item(), abs=1e-6)
    torch.testing.assert_close(gradient_of(learner), expected, atol=1e-6, rtol=1e-4)


def test_what_stands_in_many_pairs_goes_through_the_model_once(
    pairs: list[Pair], policy: HFPolicy, copy_agent: AgentConfig
) -> None:
    episodes = {id(side) for pair in pairs for side in (pair.chosen, pair.rejected)}
    assert len(distinct(pair_samples(pairs, policy, copy_agent))) == len(episodes) < 2 * len(pairs)


def test_an_episode_in_one_sequence_or_in_many(policy: HFPolicy, learner: Learner, copy_agent: AgentConfig) -> None:
    """A side's log-probability is a product over its turns, in however many sequences they stand."""
    pair = Pair(replace(RIGHT, memory="last_observation"), replace(WRONG, memory="last_observation"))
    (found,) = pair_samples([pair], policy, copy_agent)
    assert len(found.chosen) == len(found.rejected) == 2
    perturb(learner)
    (found,) = with_reference([found], learner.model, 40, 1.0)
    logprobs_N = torch.from_numpy(found.reference) + 0.5
    tally = Tally()
    pair_losses(PreferenceConfig(), logprobs_N, [found], tally)
    tokens = sum(len(one.sampled_n) for one in found.chosen)
    assert tally.means()["chosen_change"] == pytest.approx(0.5 * tokens, rel=1e-5)


# Reference log-probabilities -1, -2 | -3: the chosen side has two tokens, the rejected one.
@pytest.mark.parametrize(
    ("config", "loss"),
    [
        # Changes of .3 and .2 against -.5: a difference of 1.
        (PreferenceConfig("dpo", beta=0.5), math.log1p(math.exp(-0.5))),
        (PreferenceConfig("dpo", beta=0.5, margin_weight=0.25), math.log1p(math.exp(-0.5 + 0.25 * 2))),
        (
            PreferenceConfig("cdpo", beta=0.5, label_smoothing=0.2),
            0.8 * math.log1p(math.exp(-0.5)) + 0.2 * math.log1p(math.exp(0.5)),
        ),
        (PreferenceConfig("ipo", beta=0.5), 0),
        # The chosen tokens have log-probabilities -.7 and -1.8.
        (PreferenceConfig("rpo", beta=0.5, nll_coef=2), math.log1p(math.exp(-0.5)) + 2 * 1.25),
        # Means of -1.25 and -3.5: 4.5 apart at beta 2.
        (PreferenceConfig("simpo", beta=2, simpo_margin=0.5), math.log1p(math.exp(-4))),
    ],
    ids=["dpo", "offset", "cdpo", "ipo", "rpo", "simpo"],
)
def test_the_objectives_in_numbers(
    config: PreferenceConfig, loss: float, policy: HFPolicy, copy_agent: AgentConfig
) -> None:
    (spelled,) = pair_samples([Pair(RIGHT, WRONG, first=1, margin=2)], policy, copy_agent)
    (chosen,), (rejected,) = spelled.chosen, spelled.rejected
    two = replace(chosen, **{name: getattr(chosen, name)[:2] for name in ("sampled_n", "logprobs_n", "allowed_n")})
    one = replace(rejected, **{name: getattr(rejected, name)[:1] for name in ("sampled_n", "logprobs_n", "allowed_n")})
    pair = replace(spelled, chosen=(two,), rejected=(one,), reference=np.array([-1, -2, -3], dtype=np.float32))
    tally = Tally()
    found = pair_losses(config, torch.tensor([-0.7, -1.8, -3.5]), [pair], tally)
    assert found.loss_P.item() == pytest.approx(loss, abs=1e-6)
    means = tally.means()
    assert means["accuracy"] == 1
    assert means["chosen_change"] == pytest.approx(0.5) and means["rejected_change"] == pytest.approx(-0.5)


def step(
    learner: Learner, pairs: Sequence[Pair], policy: HFPolicy, agent: AgentConfig, **more: Any
) -> dict[str, float]:
    config = PreferenceConfig(**more)
    row = update_on_pairs(config, SMALL, learner, pairs, policy, agent, seed=0, step=1, progress=0.0)
    policy.weights_changed()
    return row


def test_a_step_ends_where_it_has_gone_too_far(
    pairs: list[Pair], learner: Learner, policy: HFPolicy, copy_agent: AgentConfig
) -> None:
    """At this rate the second minibatch finds a policy that has left its samples; nothing is learned from it."""
    start = {name: one.clone() for name, one in learner.model.state_dict().items()}
    optim = replace(SMALL, lr=0.05)
    found: dict[float | None, tuple[float, torch.Tensor]] = {}
    for target in (None, 1e-3, 1e6):
        learner.model.load_state_dict(start)
        learner.optimizer.state.clear()
        config = PreferenceConfig(minibatches=4, target_kl=target)
        row = update_on_pairs(config, optim, learner, pairs, policy, copy_agent, seed=0, step=1, progress=0.0)
        assert all(one.grad is None or not one.grad.any() for one in learner.model.parameters())
        found[target] = row["updates"], torch.cat([one.flatten() for one in learner.model.parameters()]).clone()
    assert found[1e-3][0] == 1 and found[None][0] == found[1e6][0] == 4
    assert torch.equal(found[None][1], found[1e6][1]) and not torch.equal(found[None][1], found[1e-3][1])
    with pytest.raises(InvalidConfig, match="target_kl must be above 0"):
        PreferenceConfig(target_kl=0)


def test_how_far_is_counted_from_where_the_step_began(
    pairs: list[Pair], learner: Learner, policy: HFPolicy, copy_agent: AgentConfig
) -> None:
    """A policy far from who recorded the tokens, as one that learns from a file may be, still takes its steps."""
    perturb(learner)
    policy.weights_changed()
    row = step(learner, pairs, policy, copy_agent, minibatches=2, target_kl=0.02)
    assert row["kl"] > 0.02 and row["updates"] == 2


def test_a_first_step_starts_from_the_reference(
    pairs: list[Pair], learner: Learner, policy: HFPolicy, copy_agent: AgentConfig
) -> None:
    for reference in ("behaviour", "model"):
        before = {name: one.clone() for name, one in learner.model.state_dict().items()}
        row = step(learner, pairs, policy, copy_agent, reference=reference)
        assert row["loss"] == pytest.approx(math.log(2), abs=1e-4)
        assert row["kl"] == pytest.approx(0, abs=1e-5) and row["grad_norm"] > 0
        assert row["pairs"] == len(pairs) and row["pairs_dropped"] == 0
        learner.model.load_state_dict(before)


def test_later_steps_have_moved_away_from_it(
    pairs: list[Pair], learner: Learner, policy: HFPolicy, copy_agent: AgentConfig
) -> None:
    row = step(learner, pairs, policy, copy_agent, reference="model", epochs=20)
    assert row["margin"] > 0 and row["accuracy"] > 0.6 and row["chosen_change"] > row["rejected_change"]


def test_nothing_is_learned_of_no_pairs(learner: Learner, policy: HFPolicy, copy_agent: AgentConfig) -> None:
    before = [one.clone() for one in learner.model.parameters()]
    for reference in ("behaviour", "model"):
        row = step(learner, [], policy, copy_agent, reference=reference)
        assert math.isnan(row["loss"]) and row["pairs"] == 0
    assert all(torch.equal(one, other) for one, other in zip(before, learner.model.parameters(), strict=True))


def test_scripts_have_recorded_nothing_to_compare_with(
    learner: Learner, policy: HFPolicy, copy_agent: AgentConfig
) -> None:
    with pytest.raises(InvalidData, match="1 of 1 pairs have a side without recorded log-probabilities"):
        step(learner, [Pair(RIGHT, WRONG)], policy, copy_agent)
    assert step(learner, [Pair(RIGHT, WRONG)], policy, copy_agent, objective="simpo", beta=2.0)["grad_norm"] > 0
    assert step(learner, [Pair(RIGHT, WRONG)], policy, copy_agent, reference="model")["grad_norm"] > 0


def config_of(folder: Path, model: Path, env: EnvConfig, agent: AgentConfig, **changes: Any) -> dpo.Config:
    loop = LoopConfig(steps=2, eval_every=0)
    return dpo.Config(run=folder / "run", model=str(model), env=env, agent=agent, optim=SMALL, loop=loop, **changes)


def test_episodes_of_others_are_paired_by_return(
    tmp_path: Path, copy_model: Path, copy_env: EnvConfig, copy_agent: AgentConfig
) -> None:
    """The expert against chance, who never says both words right in eight tries at this seed."""
    config = config_of(tmp_path, copy_model, copy_env, copy_agent, data=tmp_path / "played.jsonl.zst", batch_pairs=3)
    played = [
        one
        for agent in ("random", "expert")
        for one in demonstrate(copy_env, agent, config.setting, episodes=8, split=None, seed=0)
    ]
    trajectories.write(tmp_path / "played.jsonl.zst", played)
    found = dpo.read_pairs(config)
    assert len(found) == 8 and all(pair.chosen.success for pair in found)
    with pytest.raises(InvalidData, match="reference model"):
        dpo.train(config)
    rows = RunFolder(dpo.train(replace(config, preference=PreferenceConfig(reference="model")))).metrics()
    assert [row["pairs"] for row in rows] == [3, 3]
    # The first step is taken from the start itself, where nothing has changed yet.
    assert rows[0]["kl"] == pytest.approx(0, abs=1e-6) and rows[1]["kl"] > 0


def test_rounds_write_pairs_that_can_be_learned_from(
    tmp_path: Path, copy_model: Path, copy_env: EnvConfig, copy_agent: AgentConfig
) -> None:
    config = config_of(
        tmp_path, copy_model, copy_env, copy_agent, groups=4, group_size=6, which="all", save_pairs_every=1
    )
    rows = RunFolder(dpo.train(config)).metrics()
    assert rows[-1]["episodes"] == 48
    written = list(preferences.read(config.run / "pairs"))
    assert len(written) == sum(row["pairs"] for row in rows)
    again = replace(config, run=tmp_path / "again", pairs=config.run / "pairs")
    assert RunFolder(dpo.train(again)).metrics()[-1]["pairs"] == again.batch_pairs


def test_no_pairs_are_no_data(tmp_path: Path, copy_model: Path, copy_env: EnvConfig, copy_agent: AgentConfig) -> None:
    trajectories.write(tmp_path / "ties.jsonl.zst", ends(1, 1))
    with pytest.raises(InvalidData, match=r"no pairs in .*ties"):
        dpo.train(config_of(tmp_path, copy_model, copy_env, copy_agent, data=tmp_path / "ties.jsonl.zst"))


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (dpo.Config, {"group_size": 1}, "group_size must be at least 2"),
        (PreferenceConfig, {"beta": 0.0}, "beta must be above 0"),
        (PreferenceConfig, {"label_smoothing": 0.5}, "below 0.5"),
        (PreferenceConfig, {"objective": "ipo", "margin_weight": 1.0}, "margin_weight must be 0"),
        (PreferenceConfig, {"epochs": 0}, "epochs must be at least 1"),
    ],
)
def test_settings_outside_what_is_allowed(kind: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidConfig, match=message):
        kind(**settings)
