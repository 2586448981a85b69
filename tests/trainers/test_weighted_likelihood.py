"""The objective of imitation: only weights and sampled tokens matter, for samples of any origin."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from sparring.trainers.batch import Sample
from sparring.trainers.losses import token_weights
from sparring.trainers.optim import OptimConfig
from sparring.trainers.policy_update import Lesson, ObjectiveConfig, add_gradients
from sparring.trainers.tally import Tally

CONFIG = ObjectiveConfig(surrogate="likelihood", aggregation="seq-mean-token-sum")


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        shape = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
        return LlamaForCausalLM(LlamaConfig(vocab_size=12, initializer_range=0.3, **shape)).eval()


def lesson(ids: list[int], sampled: list[int], weight: float, logprob: float = np.nan) -> Lesson:
    count = len(sampled)
    sample = Sample(np.array(ids), np.array(sampled), np.full(count, logprob, dtype=np.float32), (None,) * count)
    return Lesson(sample, 0, np.full(count, weight, dtype=np.float32))


LESSONS = [lesson([1, 2, 3, 4, 5], [2, 4], 1), lesson([6, 7, 8], [1, 2], 0.25), lesson([9, 1, 2, 3], [3], 0)]


def gradient(model: LlamaForCausalLM, lessons: list[Lesson], budget: int = 1000) -> tuple[float, torch.Tensor]:
    model.zero_grad()
    weights_B = token_weights(torch.tensor([len(one.sample.sampled_n) for one in lessons]), "seq-mean-token-sum")
    optim = OptimConfig(micro_batch_tokens=budget)
    loss = add_gradients(CONFIG, optim, model, None, lessons, weights_B, Tally(), 1.0, is_fresh=True)
    return loss, torch.cat([one.grad.flatten() for one in model.parameters() if one.grad is not None]).clone()


def test_the_loss_is_the_weighted_sum_of_log_probabilities(model: LlamaForCausalLM) -> None:
    expected = 0.0
    for one in LESSONS:
        ids_T = torch.from_numpy(one.sample.ids_T)
        logprobs_TV = model(ids_T[None]).logits[0].detach().log_softmax(-1)
        for at, weight in zip(one.sample.sampled_n, one.advantages_n, strict=True):
            expected -= float(weight * logprobs_TV[at - 1, ids_T[at]]) / len(LESSONS)
    assert gradient(model, LESSONS)[0] == pytest.approx(expected, rel=1e-5)


def test_nothing_else_matters(model: LlamaForCausalLM) -> None:
    """Not what was recorded while sampling, the cut into micro-batches, or what stands behind the last action."""
    loss, expected = gradient(model, LESSONS)
    recorded = [replace(one, sample=replace(one.sample, logprobs_n=one.advantages_n - 3)) for one in LESSONS]
    tail = np.array([5, 6, 7])
    longer = [replace(one, sample=replace(one.sample, ids_T=np.append(one.sample.ids_T, tail))) for one in LESSONS]
    for other in (gradient(model, recorded), gradient(model, LESSONS, budget=1), gradient(model, longer)):
        assert other[0] == pytest.approx(loss, abs=1e-5)
        torch.testing.assert_close(other[1], expected, atol=1e-5, rtol=1e-4)


def test_what_weighs_nothing_teaches_nothing(model: LlamaForCausalLM) -> None:
    assert not gradient(model, LESSONS[2:])[1].any()
