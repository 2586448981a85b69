"""Surrogates and the correction for other samplers, as the weights on log-probabilities that they come down to."""

from __future__ import annotations

import copy
import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

from sparring.agents.hf import HFPolicy
from sparring.agents.rendering import ChatFormat
from sparring.runs import RunFolder
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers.batch import Sample, collate, samples_of, score_tokens, vocabulary_size
from sparring.trainers.checkpoint import Learner, load_learner
from sparring.trainers.optim import OptimConfig
from sparring.trainers.policy_update import (
    Lesson,
    ObjectiveConfig,
    add_gradients,
    corrected,
    minibatches,
    update_policy,
)
from sparring.trainers.tally import Tally
from sparring.types import Action, ActionSet, Observation, Stop, Trajectory, Turn
from tests.trainers.hand_made import episode
from tests.worlds import WORDS

OPTIM = OptimConfig(lr=1e-3, warmup_steps=0, micro_batch_tokens=60)
SAID = ["red blue", "green", "pink teal gold", "plum"]
ADVANTAGES = [1.0, -0.5, 2.0, -1.0]


@pytest.fixture
def learner(tmp_path: Path, copy_model: Path, copy_env: EnvConfig) -> Learner:
    return load_learner(str(copy_model), OPTIM, RunFolder(tmp_path / "none"))


@pytest.fixture
def policy(learner: Learner) -> HFPolicy:
    return learner.policy(AgentConfig(constrained=False))


def scored(learner: Learner, samples: list[Sample]) -> list[torch.Tensor]:
    """Log-probabilities of the sampled tokens of each sample, with gradient."""
    logprobs_N = score_tokens(
        learner.model, collate(samples, vocabulary_size(learner.model)).to(learner.model.device)
    ).logprobs_N.cpu()
    return list(torch.split(logprobs_N, [len(one.sampled_n) for one in samples]))


def recorded(learner: Learner, samples: list[Sample], shifts: list[list[float]] | None = None) -> list[Sample]:
    """The samples as a sampler would have recorded them under whom each token was less likely by its shift."""
    with torch.no_grad():
        found = scored(learner, samples)
    return [
        replace(one, logprobs_n=(logprobs_n - torch.tensor(shift or [0.0])).numpy())
        for one, logprobs_n, shift in zip(samples, found, shifts or [[]] * len(samples), strict=True)
    ]


def lessons(learner: Learner, policy: HFPolicy, shifts: list[list[float]] | None = None) -> list[Lesson]:
    samples = [samples_of(episode([0.0], ["red"], said=[one]), policy.chat, None)[0] for one in SAID]
    return [
        Lesson(sample, group, np.full(len(sample.sampled_n), advantage, dtype=np.float32))
        for group, (sample, advantage) in enumerate(zip(recorded(learner, samples, shifts), ADVANTAGES, strict=True))
    ]


def gradient_of(learner: Learner) -> torch.Tensor:
    found = torch.cat([one.grad.flatten() for one in learner.model.parameters() if one.grad is not None]).clone()
    learner.optimizer.zero_grad()
    return found


def gradient(config: ObjectiveConfig, learner: Learner, found: list[Lesson]) -> torch.Tensor:
    for part, weights_B in minibatches(config, found, 0, 1):
        add_gradients(config, OPTIM, learner.model, None, part, weights_B, Tally(), 1.0, is_fresh=True)
    return gradient_of(learner)


def weighted(learner: Learner, found: list[Lesson], weights: list[list[float]]) -> torch.Tensor:
    """The gradient of -sum_n w_n A_n logprob_n over all tokens, divided by their number."""
    parts = scored(learner, [one.sample for one in found])
    total = sum(
        -(torch.tensor(weight) * torch.from_numpy(one.advantages_n) * part).sum()
        for one, part, weight in zip(found, parts, weights, strict=True)
    )
    assert isinstance(total, torch.Tensor)
    (total / sum(len(one.advantages_n) for one in found)).backward()  # type: ignore[no-untyped-call]
    return gradient_of(learner)


def one_token(found: list[Lesson], shift: float) -> list[list[float]]:
    """The shift on the first token of each sequence, 0 on the others."""
    return [[shift] + [0.0] * (len(one.advantages_n) - 1) for one in found]


SURROGATES = [
    ObjectiveConfig(surrogate="ppo"),
    ObjectiveConfig(surrogate="gspo", eps_low=3e-4, eps_high=4e-4),
    ObjectiveConfig(surrogate="cispo"),
]


@pytest.mark.parametrize("config", SURROGATES, ids=lambda one: one.surrogate)
def test_on_fresh_samples_every_surrogate_is_reinforce(
    config: ObjectiveConfig, learner: Learner, policy: HFPolicy
) -> None:
    found = lessons(learner, policy)
    plain = weighted(learner, found, [[1.0] * len(one.advantages_n) for one in found])
    assert float(plain.norm()) > 1e-3
    torch.testing.assert_close(gradient(config, learner, found), plain, atol=1e-6, rtol=1e-3)


def test_what_a_ratio_beyond_its_bound_costs(learner: Learner, policy: HFPolicy) -> None:
    """The first token of each sequence has become e times likelier; eps_high is 0.28, for gspo 0.0004.

    ppo: with advantage above 0 that token has no gradient, below 0 it counts e times; the others count once.
    gspo: the mean log-ratio 1/n is beyond the bound: above 0 the sequence has no gradient, below 0 all its tokens
    count exp(1/n). cispo: that token counts 1.28, whatever the advantage.
    """
    found = lessons(learner, policy)
    stale = lessons(learner, policy, one_token(found, 1.0))
    lengths = [len(one.advantages_n) for one in found]
    expected = {
        "ppo": [[0.0 if a > 0 else math.e] + [1.0] * (n - 1) for n, a in zip(lengths, ADVANTAGES, strict=True)],
        "gspo": [[0.0 if a > 0 else math.exp(1 / n)] * n for n, a in zip(lengths, ADVANTAGES, strict=True)],
        "cispo": [[1.28] + [1.0] * (n - 1) for n in lengths],
    }
    for config in SURROGATES:
        wanted = weighted(learner, stale, expected[config.surrogate])
        torch.testing.assert_close(gradient(config, learner, stale), wanted, atol=1e-6, rtol=1e-3)


@pytest.mark.parametrize("config", SURROGATES, ids=lambda one: one.surrogate)
def test_every_surrogate_runs(config: ObjectiveConfig, learner: Learner, policy: HFPolicy) -> None:
    before = scored(learner, [lessons(learner, policy)[2].sample])[0].sum().item()
    row = update(replace(config, epochs=3, minibatches=2), learner, lessons(learner, policy))
    assert math.isfinite(row["loss"]) and row["clip_fraction"] >= 0 and row["mismatch"] < 1e-5
    assert scored(learner, [lessons(learner, policy)[2].sample])[0].sum().item() > before  # the best one got likelier


def update(config: ObjectiveConfig, learner: Learner, found: list[Lesson]) -> dict[str, float]:
    return update_policy(config, OPTIM, learner, found, temperature=1.0, seed=0, step=1, progress=0.0)


@pytest.mark.parametrize("level", ["token", "sequence"])
def test_correction_leaves_the_model_s_own_samples_alone(
    tmp_path: Path, copy_model: Path, learner: Learner, policy: HFPolicy, level: Any
) -> None:
    ends = []
    for correction in ("none", level):
        fresh = load_learner(str(copy_model), OPTIM, RunFolder(tmp_path / "none"))
        row = update(ObjectiveConfig(correction=correction), fresh, lessons(learner, policy))
        ends.append(torch.cat([one.detach().flatten() for one in fresh.model.parameters()]))
    torch.testing.assert_close(ends[0], ends[1], atol=1e-6, rtol=1e-5)
    assert row["mismatch_mean"] < 1e-6 and row["mismatch_kl"] < 1e-9 and row["mismatch_truncated"] == 0


def test_correction_by_hand(learner: Learner, policy: HFPolicy) -> None:
    """The sampler held first tokens less likely by 0.5 nats, in the third sequence by 1 (e is beyond the cap of 2)."""
    shifts = one_token(lessons(learner, policy), 0.5)
    shifts[2][0] = 1.0
    found = lessons(learner, policy, shifts)
    lengths = [len(one.advantages_n) for one in found]
    first = [math.exp(0.5), math.exp(0.5), 2.0, math.exp(0.5)]
    levels: list[Literal["token", "sequence"]] = ["token", "sequence"]
    for level, drops in itertools.product(levels, (False, True)):
        config = ObjectiveConfig(correction=level, correction_drops=drops)
        done, metrics = corrected(config, OPTIM, learner.model, found, 1.0)
        for row, one in enumerate(done):
            held = 0.0 if drops and row == 2 else first[row]
            weights = [held] + [held if level == "sequence" else 1.0] * (lengths[row] - 1)
            wanted = [weight * ADVANTAGES[row] for weight in weights]
            assert one.advantages_n.tolist() == pytest.approx(wanted, rel=1e-4)
            # What the surrogate is clipped against are the trainer's own probabilities.
            truth = found[row].sample.logprobs_n + np.array(shifts[row], dtype=np.float32)
            assert one.sample.logprobs_n.tolist() == pytest.approx(truth.tolist(), abs=1e-5)
        tokens = sum(lengths)
        assert metrics["mismatch_mean"] == pytest.approx((3 * 0.5 + 1) / tokens, rel=1e-3)
        assert metrics["mismatch_max"] == pytest.approx(1, rel=1e-3)
        # Of the difference x of a token: exp(x) - 1 - x.
        expected = (3 * (math.exp(0.5) - 1.5) + math.e - 2) / tokens
        assert metrics["mismatch_kl"] == pytest.approx(expected, rel=1e-3)
        cut = 1 if level == "token" else lengths[2]
        assert metrics["mismatch_truncated"] == pytest.approx(cut / tokens)


def choices(chat: ChatFormat, policy: HFPolicy) -> list[Sample]:
    """Each of the eight admissible words as a one-turn episode: all that constrained decoding can say."""
    found = []
    for word in WORDS:
        seen = Observation("red", ActionSet(WORDS))
        one = Trajectory("tests/Copy-v1", "train-0", 0, "Say.", (Turn(seen, Action(word), 0.0),), Stop.TERMINATED)
        (sample,) = samples_of(one, chat, policy.grammar)
        found.append(sample)
    return found


@pytest.mark.parametrize("level", ["token", "sequence"])
def test_correction_removes_the_bias_of_another_sampler(learner: Learner, policy: HFPolicy, level: Any) -> None:
    """Every word counted as often as a sampler mu says it: the mean gradient must be that of sum_w pi(w) R(w).

    In expectation mu's samples give sum_w mu(w) weight(w) R(w) grad log pi(w), which is that gradient just for
    weight = pi / mu. The end of an action is forced, so that a word's first tokens carry all its probability.
    """
    samples = choices(policy.chat, policy)
    returns = [0.0, 1.0, 0.25, -0.5, 2.0, 0.0, 0.5, -1.0]
    mu = np.array([0.3, 0.05, 0.2, 0.05, 0.1, 0.1, 0.05, 0.15])

    parts = scored(learner, samples)
    value = sum(part.sum().exp() * worth for part, worth in zip(parts, returns, strict=True))
    assert isinstance(value, torch.Tensor)
    assert sum(part.sum().exp().item() for part in parts) == pytest.approx(1, abs=1e-5)
    (-value).backward()  # type: ignore[no-untyped-call]
    exact = gradient_of(learner)

    said = []
    for number, (sample, share, worth) in enumerate(zip(samples, mu.tolist(), returns, strict=True)):
        logprobs_n = np.zeros(len(sample.sampled_n), dtype=np.float32)
        logprobs_n[0] = math.log(share)
        # The mean over eight equal sequences, so eight times the share.
        advantages_n = np.full(len(sample.sampled_n), 8 * share * worth, dtype=np.float32)
        said.append(Lesson(replace(sample, logprobs_n=logprobs_n), number, advantages_n))
    config = ObjectiveConfig(correction=level, correction_cap=1e6, aggregation="seq-mean-token-sum")
    done, _ = corrected(config, OPTIM, learner.model, said, 1.0)
    torch.testing.assert_close(gradient(config, learner, done), exact, atol=1e-6, rtol=1e-3)
    # Left alone, and taken for the trainer's own samples, they push somewhere else.
    own = [replace(one, sample=after.sample) for one, after in zip(said, done, strict=True)]
    biased = gradient(config, learner, own)
    assert float((biased - exact).norm()) > 0.3 * float(exact.norm())


# The KL to a reference


@pytest.mark.parametrize("estimator", ["k3", "exact"])
def test_the_kl_of_each_token_has_a_weight_of_its_own(learner: Learner, policy: HFPolicy, estimator: Any) -> None:
    """Weights of 1/2 throughout are half the coefficient, and a token of weight 0 is held by nothing."""
    reference = copy.deepcopy(learner.model).requires_grad_(False)
    with torch.no_grad():
        for parameter in learner.model.parameters():
            parameter.mul_(1.1)
    found = [replace(one, advantages_n=np.zeros_like(one.advantages_n)) for one in lessons(learner, policy)]
    halves = [replace(one, kl_n=np.full_like(one.advantages_n, 0.5)) for one in found]
    firsts = [replace(one, kl_n=(np.arange(len(one.advantages_n)) < 1).astype(np.float32)) for one in found]
    marked = [
        replace(one, sample=one.sample.keeping(one.kl_n > 0), kl_n=None) for one in firsts if one.kl_n is not None
    ]
    marked = [replace(one, advantages_n=np.zeros(1, dtype=np.float32)) for one in marked]

    def pulled(some: list[Lesson], kl_coef: float) -> torch.Tensor:
        config = ObjectiveConfig(kl_coef=kl_coef, kl_estimator=estimator)
        add_gradients(config, OPTIM, learner.model, reference, some, torch.ones(len(some)), Tally(), 1.0, is_fresh=True)
        return gradient_of(learner)

    whole = pulled(found, 1.0)
    assert whole.abs().max() > 1e-4
    torch.testing.assert_close(pulled(halves, 1.0), whole / 2)
    torch.testing.assert_close(pulled(found, 0.5), whole / 2)
    torch.testing.assert_close(pulled(firsts, 1.0), pulled(marked, 1.0), rtol=1e-4, atol=1e-6)
