"""Batches: the mask is 1 exactly on sampled tokens, and nothing else can reach a loss, a gradient or an advantage."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM

from sparring.errors import InvalidData
from sparring.trainers.batch import Sample, collate, micro_batches, score_tokens, vocabulary_size
from sparring.trainers.losses import aggregate, clipped_surrogate, group_advantages, kl_estimate, token_weights

V = 12


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=V,
                hidden_size=16,
                intermediate_size=24,
                num_hidden_layers=2,
                num_attention_heads=2,
                initializer_range=0.3,
            )
        ).eval()


def sample(ids: list[int], sampled: list[int], allowed: dict[int, list[int]] | None = None) -> Sample:
    sets = {position: np.array(sorted(ids), dtype=np.int64) for position, ids in (allowed or {}).items()}
    return Sample(
        np.array(ids, dtype=np.int64),
        np.array(sampled, dtype=np.int64),
        np.full(len(sampled), -1.5, dtype=np.float32),
        tuple(sets.get(position) for position in sampled),
    )


def test_layout() -> None:
    batch = collate(
        [sample([1, 2, 3, 4], [2, 3], {3: [0, 4]}), sample([5, 6], [1])], V, weights_B=[0.5, 2], advantages=[1, -1]
    )
    assert batch.tokens_BT.tolist() == [[1, 2, 3, 4], [5, 6, 0, 0]]
    assert batch.mask_BT.tolist() == [[False, False, True, True], [False, True, False, False]]
    assert batch.weights_N.tolist() == [0.5, 0.5, 2]
    assert batch.advantages_N.tolist() == [1, 1, -1]
    assert batch.allowed is not None
    assert batch.allowed.index_N.tolist() == [-1, 0, -1]
    assert batch.allowed.allowed_UV.nonzero().tolist() == [[0, 0], [0, 4]]


def test_scores_are_those_of_the_whole_forward_pass(model: LlamaForCausalLM) -> None:
    samples = [sample([1, 2, 3, 4, 5], [2, 4], {4: [5, 7, 9]}), sample([6, 7, 8], [1, 2])]
    scores = score_tokens(model, collate(samples, V), temperature=0.8)
    expected = []
    for one in samples:
        logits_TV = model(torch.from_numpy(one.ids_T)[None]).logits[0] / 0.8
        for position, allowed in zip(one.sampled_n, one.allowed_n, strict=True):
            choice = torch.arange(V) if allowed is None else torch.from_numpy(allowed)
            logprobs = logits_TV[position - 1, choice].log_softmax(-1)
            expected.append(logprobs[(choice == one.ids_T[position]).nonzero().item()])
    torch.testing.assert_close(scores.logprobs_N, torch.stack(expected))


def test_a_model_that_scales_its_logits_is_asked_for_them(model: LlamaForCausalLM) -> None:
    batch = collate([sample([1, 2, 3], [1, 2])], V)
    plain = score_tokens(model, batch).logprobs_N
    model.config.logit_scale = 0.5  # Llama ignores it, so the longer way must come to the same result
    try:
        torch.testing.assert_close(score_tokens(model, batch).logprobs_N, plain)
    finally:
        del model.config.logit_scale


def test_lora_trains_its_adapters_alone(model: LlamaForCausalLM) -> None:
    from copy import deepcopy

    from peft import LoraConfig, get_peft_model

    adapted = get_peft_model(deepcopy(model), LoraConfig(r=2, target_modules=["q_proj"]))
    batch = collate([sample([1, 2, 3], [1, 2])], V)
    torch.testing.assert_close(score_tokens(adapted, batch).logprobs_N, score_tokens(model, batch).logprobs_N)
    score_tokens(adapted, batch).logprobs_N.sum().backward()
    assert {"lora" in name for name, one in adapted.named_parameters() if one.grad is not None} == {True}
    assert vocabulary_size(adapted) == V


def loss_and_gradient(
    model: LlamaForCausalLM, samples: list[Sample], *, budget: int = 1000, mode: str = "token-mean", pad: int = 0
) -> tuple[float, torch.Tensor]:
    """A GRPO step on `samples` (one group, returns 0, 1, 2, …) with KL and entropy terms; `pad` widens batches."""
    advantages = group_advantages(torch.arange(len(samples)).float(), torch.zeros(len(samples)).long(), "grpo")
    weights = token_weights(torch.tensor([len(one.sampled_n) for one in samples]), mode, max_tokens=9)  # type: ignore[arg-type]
    model.zero_grad()
    total = 0.0
    for rows in micro_batches(samples, budget):
        batch = collate([samples[row] for row in rows], V, weights_B=weights[rows], advantages=advantages[rows])
        if pad:
            wide = torch.nn.functional.pad
            batch = replace(
                batch, tokens_BT=wide(batch.tokens_BT, (0, pad), value=7), mask_BT=wide(batch.mask_BT, (0, pad))
            )
        scores = score_tokens(model, batch)
        loss_N = clipped_surrogate(scores.logprobs_N, batch.old_logprobs_N, batch.advantages_N).loss_N
        loss_N = loss_N + 0.1 * kl_estimate(scores.logprobs_N, batch.old_logprobs_N, "k3") - 0.01 * scores.entropy_N
        loss = aggregate(loss_N, batch.weights_N)
        loss.backward()
        total += loss.item()
    return total, torch.cat([one.grad.flatten() for one in model.parameters() if one.grad is not None]).clone()


@st.composite
def group_of_samples(draw: st.DrawFn) -> list[Sample]:
    samples = []
    for _ in range(draw(st.integers(2, 4))):
        length = draw(st.integers(2, 9))
        ids = draw(st.lists(st.integers(0, V - 1), min_size=length, max_size=length))
        sampled = sorted(draw(st.sets(st.integers(1, length - 1), min_size=1)))
        allowed = {at: sorted({ids[at], draw(st.integers(0, V - 1))}) for at in sampled if draw(st.booleans())}
        samples.append(sample(ids, sampled, allowed))
    return samples


MODES = ["token-mean", "seq-mean-token-mean", "seq-mean-token-sum", "seq-mean-token-sum-norm"]


@settings(max_examples=15, deadline=None)
@given(group_of_samples(), st.sampled_from(MODES), st.integers(1, 30), st.integers(1, 5))
def test_padding_order_and_cut_into_micro_batches_change_nothing(
    samples: list[Sample], mode: str, budget: int, pad: int
) -> None:
    with torch.random.fork_rng():
        model = small_model()
    loss, gradient = loss_and_gradient(model, samples, mode=mode)
    for other in (
        loss_and_gradient(model, samples, mode=mode, budget=budget),
        loss_and_gradient(model, samples, mode=mode, pad=pad),
    ):
        assert other[0] == pytest.approx(loss, abs=1e-5)
        torch.testing.assert_close(other[1], gradient, atol=1e-5, rtol=1e-4)


@settings(max_examples=15, deadline=None)
@given(group_of_samples(), st.sampled_from(MODES), st.lists(st.integers(0, V - 1), min_size=1, max_size=4))
def test_masked_tokens_after_the_last_action_change_nothing(samples: list[Sample], mode: str, tail: list[int]) -> None:
    """Later observations can't reach back: appending them to a sample leaves loss and gradient as they were."""
    with torch.random.fork_rng():
        model = small_model()
    longer = [replace(one, ids_T=np.concatenate([one.ids_T, np.array(tail)])) for one in samples]
    before, after = loss_and_gradient(model, samples, mode=mode), loss_and_gradient(model, longer, mode=mode)
    assert after[0] == pytest.approx(before[0], abs=1e-5)
    torch.testing.assert_close(after[1], before[1], atol=1e-5, rtol=1e-4)


@settings(max_examples=15, deadline=None)
@given(group_of_samples(), st.sampled_from(MODES), st.floats(-1e4, 1e4))
def test_garbage_in_the_predictions_of_masked_tokens_changes_nothing(
    samples: list[Sample], mode: str, garbage: float
) -> None:
    """What the model predicts for observations and padding must not matter.

    The decoder is replaced by a table of hidden states, one row a position, so that rows which predict masked
    tokens can be filled with garbage without any attention carrying it elsewhere.
    """
    with torch.random.fork_rng():
        model = small_model()
    width = max(len(one.ids_T) for one in samples)
    table_BTD = torch.randn(len(samples), width - 1, 16, generator=torch.Generator().manual_seed(0))
    batch = collate(
        samples,
        V,
        weights_B=token_weights(torch.tensor([len(one.sampled_n) for one in samples]), mode, max_tokens=9),  # type: ignore[arg-type]
        advantages=torch.linspace(-1, 1, len(samples)),
    )

    def step(table_BTD: torch.Tensor) -> tuple[float, torch.Tensor, torch.Tensor]:
        leaf_BTD = table_BTD.clone().requires_grad_()
        model.zero_grad()
        model.get_decoder = lambda: lambda **_: SimpleNamespace(last_hidden_state=leaf_BTD)
        scores = score_tokens(model, batch)
        loss_N = clipped_surrogate(scores.logprobs_N, batch.old_logprobs_N, batch.advantages_N).loss_N
        loss = aggregate(loss_N + 0.1 * scores.entropy_N, batch.weights_N)
        loss.backward()
        assert leaf_BTD.grad is not None and model.lm_head.weight.grad is not None
        return loss.item(), leaf_BTD.grad, model.lm_head.weight.grad.clone()

    masked_BT = ~batch.mask_BT[:, 1:]
    clean = step(table_BTD)
    dirty = step(table_BTD.masked_fill(masked_BT[..., None], garbage))
    assert clean[0] == dirty[0]
    assert torch.equal(clean[1], dirty[1]) and torch.equal(clean[2], dirty[2])
    assert not dirty[1][masked_BT].any()


def inserted(one: Sample, places: list[int], token: int) -> Sample:
    """The sample with a masked token put in front of each of some places."""
    at = np.array([min(place, len(one.ids_T)) for place in places])
    shifted_n = one.sampled_n + (at[None, :] <= one.sampled_n[:, None]).sum(axis=1)
    return replace(one, ids_T=np.insert(one.ids_T, at, token), sampled_n=shifted_n)


@settings(max_examples=25, deadline=None)
@given(
    group_of_samples(),
    st.sampled_from(MODES),
    st.lists(st.integers(0, 9), min_size=1, max_size=5),
    st.integers(0, V - 1),
)
def test_masked_tokens_inserted_anywhere_change_nothing(
    samples: list[Sample], mode: str, places: list[int], token: int
) -> None:
    """Given the same hidden states in front of the sampled tokens, neither loss nor gradients know what lies between.

    What a decoder makes of an inserted token is its own affair, so it is replaced by one that returns given states
    in front of sampled tokens and garbage elsewhere.
    """
    with torch.random.fork_rng():
        model = small_model()
    weights_B = token_weights(torch.tensor([len(one.sampled_n) for one in samples]), mode, max_tokens=9)  # type: ignore[arg-type]
    advantages_B = group_advantages(torch.arange(len(samples)).float(), torch.zeros(len(samples)).long(), "rloo")
    count = sum(len(one.sampled_n) for one in samples)
    states_ND = torch.randn(count, 16, generator=torch.Generator().manual_seed(0))

    def step(samples: list[Sample], garbage: float) -> tuple[float, torch.Tensor, torch.Tensor]:
        batch = collate(samples, V, weights_B=weights_B, advantages=advantages_B)
        leaf_ND = states_ND.clone().requires_grad_()
        hidden_BTD = torch.full((*batch.mask_BT[:, 1:].shape, 16), garbage)
        hidden_BTD[batch.mask_BT[:, 1:]] = leaf_ND
        model.zero_grad()
        model.get_decoder = lambda: lambda **_: SimpleNamespace(last_hidden_state=hidden_BTD)
        scores = score_tokens(model, batch)
        loss_N = clipped_surrogate(scores.logprobs_N, batch.old_logprobs_N, batch.advantages_N).loss_N
        loss = aggregate(loss_N - 0.1 * scores.entropy_N, batch.weights_N)
        loss.backward()
        assert leaf_ND.grad is not None and model.lm_head.weight.grad is not None
        return loss.item(), leaf_ND.grad, model.lm_head.weight.grad.clone()

    before = step(samples, 0.0)
    after = step([inserted(one, places, token) for one in samples], 7.0)
    assert before[0] == after[0]
    assert torch.equal(before[1], after[1]) and torch.equal(before[2], after[2])


def small_model() -> LlamaForCausalLM:
    torch.manual_seed(1)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=V,
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=1,
            num_attention_heads=2,
            initializer_range=0.3,
        )
    )


@given(st.lists(st.integers(2, 40), min_size=1, max_size=20), st.integers(1, 100))
def test_micro_batches_hold_everything_once_within_the_budget(lengths: list[int], budget: int) -> None:
    samples = [sample([0] * length, [1]) for length in lengths]
    cut = list(micro_batches(samples, budget))
    assert sorted(index for batch in cut for index in batch) == list(range(len(lengths)))
    for batch in cut:
        assert len(batch) == 1 or len(batch) * max(lengths[index] for index in batch) <= budget


def test_a_sampled_first_token_is_refused() -> None:
    with pytest.raises(InvalidData, match="nothing to be predicted from"):
        sample([1, 2], [0])
    with pytest.raises(InvalidData, match="log-probabilities"):
        Sample(np.array([1, 2]), np.array([1]), np.zeros(0, dtype=np.float32), (None,))
