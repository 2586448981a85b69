"""The vLLM policy against the Hugging Face one, and its engine against one that is freshly loaded."""

from __future__ import annotations

import asyncio
import importlib.util
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from sparring.agents.hf import HFPolicy
from sparring.agents.load import load_agent
from sparring.agents.models import Lora, load_model
from sparring.agents.models.tiny import build_tiny
from sparring.agents.prompts import build
from sparring.agents.vllm import VLLMPolicy
from sparring.errors import InvalidConfig, MissingExtra
from sparring.testing import check_policy
from sparring.types import Action, ActionSet, Form, Message, Observation, Prompt

HAS_VLLM = importlib.util.find_spec("vllm") is not None
needs_vllm = [
    pytest.mark.vllm,
    pytest.mark.skipif(not HAS_VLLM, reason="vllm is not installed: make test-vllm"),
]

TEXTS = ["Buy a red shoe, color: blue. click[red shoe] click[blue] search[blue jeans] think[it] back"] * 10
ACTIONS = (
    ActionSet(("click[red shoe]", "click[red]", "click[blue]", "back")),
    ActionSet(("back",), (Form("search[", "]", ("red", "blue", "jeans")), Form("think[", "]"))),
    ActionSet((), (Form("think[", "]"),)),
    ActionSet(("click[blue]",)),  # no choice: nothing is left to decode
)
NEW_TOKENS = 12
# float32 kernels of two libraries; seen: 1e-6 on a CPU, and 4e-4 on a GPU, where attention multiplies in TF32.
HAS_GPU = torch.cuda.is_available()
CLOSE = 3e-3 if HAS_GPU else 1e-4
SAME = 1e-4 if HAS_GPU else 0.0  # two engines at the same weights: a GPU's batches round differently


def make_prompts(count: int = 16, actions: Sequence[ActionSet | None] = ACTIONS) -> list[Prompt]:
    made = []
    for number in range(count):
        observation = Observation("red shoe " * (1 + 5 * (number % 6)) + f"{number}", actions[number % len(actions)])
        messages = build([], observation, instruction="Buy a red shoe.")
        made.append(Prompt(messages, observation, "Buy a red shoe.", f"episode-{number}", 0, (number, 1, 0)))
    return made


def shake(model: Any, seed: int, only: str = "", scale: float = 0.5) -> None:
    """Move weights as far as they are wide (fresh ones only repeat the last token, and would prove little)."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if only in name:
                width = float(weight.std()) if weight.dim() > 1 and bool(weight.any()) else 0.3
                weight.add_(torch.randn(weight.shape, generator=generator).to(weight.device) * width * scale)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models")
    fresh = build_tiny(TEXTS, path / "fresh", vocabulary=400, hidden=64, layers=2, heads=2, max_context=256)
    model, tokenizer = load_model(fresh)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "layers" in name and weight.dim() > 1:
                weight.mul_(8.0)
    model.save_pretrained(path / "lively")
    tokenizer.save_pretrained(path / "lively")
    return path / "lively"


@pytest.fixture(scope="module")
def shared(folder: Path) -> Iterator[VLLMPolicy]:
    """A policy whose engine the tests that leave its weights alone may share."""
    policy = VLLMPolicy(folder, max_new_tokens=NEW_TOKENS, cache_bytes=2**26, dtype="float32")
    yield policy
    policy.engine.close()


@pytest.fixture(scope="module")
def hf(folder: Path) -> tuple[Any, Any]:
    return load_model(folder)


def vllm_policy(shared: VLLMPolicy, **settings: Any) -> VLLMPolicy:
    return VLLMPolicy(shared.engine, shared.tokenizer, **{"max_new_tokens": NEW_TOKENS, **settings})


def hf_policy(hf: tuple[Any, Any], **settings: Any) -> HFPolicy:
    return HFPolicy(*hf, **{"max_new_tokens": NEW_TOKENS, **settings})


def assert_same(actions: Sequence[Action], others: Sequence[Action], tolerance: float = CLOSE) -> None:
    """Equal in everything, and in log-probabilities up to rounding."""
    for one, other in zip(actions, others, strict=True):
        assert one.token_ids == other.token_ids
        np.testing.assert_allclose(one.logprobs, other.logprobs, atol=tolerance, rtol=0)
        assert (one.text, one.constrained, one.stop) == (other.text, other.constrained, other.stop)
        assert (one.prompt_tokens, one.prompt_checksum) == (other.prompt_tokens, other.prompt_checksum)


@pytest.mark.skipif(HAS_VLLM, reason="vllm is installed")
def test_a_missing_package_names_its_extra(folder: Path) -> None:
    with pytest.raises(MissingExtra, match=r"sparring\[vllm\]"):
        VLLMPolicy(folder)


class TestAgainstHuggingFace:
    pytestmark = needs_vllm

    @pytest.mark.parametrize("constrained", [True, False])
    @pytest.mark.parametrize("temperature", [1.0, 0.6])
    def test_greedy_actions_are_the_same(
        self, shared: VLLMPolicy, hf: tuple[Any, Any], constrained: bool, temperature: float
    ) -> None:
        settings: ClassVar[dict[str, Any]] = {"greedy": True, "constrained": constrained, "temperature": temperature}
        mine = vllm_policy(shared, **settings).act(make_prompts())
        assert_same(mine, hf_policy(hf, **settings).act(make_prompts()))
        assert len({action.token_ids for action in mine}) > 4

    @pytest.mark.parametrize("constrained", [True, False])
    @pytest.mark.parametrize("temperature", [1.0, 0.6])
    def test_log_probabilities_are_those_of_the_trainers_model(
        self, shared: VLLMPolicy, hf: tuple[Any, Any], constrained: bool, temperature: float
    ) -> None:
        settings = {"constrained": constrained, "temperature": temperature}
        prompts = make_prompts(32)
        actions = vllm_policy(shared, **settings).act(prompts)
        for action, expected in zip(actions, hf_policy(hf, **settings).logprobs(prompts, actions), strict=True):
            np.testing.assert_allclose(action.logprobs, expected, atol=CLOSE, rtol=0)

    def test_samples_are_distributed_as_the_model_says(self, shared: VLLMPolicy, hf: tuple[Any, Any]) -> None:
        """400 draws over four choices, whose probabilities Hugging Face gives: Pearson's chi-squared.

        With 3 degrees of freedom a value above 16.3 has probability 0.001; the seeds are fixed.
        """
        actions = ACTIONS[0]
        observation = Observation("red shoe", actions)
        messages = build([], observation, instruction="Buy a red shoe.")
        prompts = [Prompt(messages, observation, episode=str(seed), seed=(seed, 7)) for seed in range(400)]
        found = [action.text for action in vllm_policy(shared).act(prompts)]
        policy = hf_policy(hf)
        scripted = [Action(text, policy.grammar.encode(text, actions), constrained=True) for text in actions.choices]
        scores = policy.logprobs([prompts[0]] * len(scripted), scripted)
        expected = [400 * float(np.exp(score.sum())) for score in scores]
        assert sum(expected) == pytest.approx(400, rel=1e-3)
        statistic = sum(
            (found.count(text) - count) ** 2 / count for text, count in zip(actions.choices, expected, strict=True)
        )
        assert statistic < 16.3


class TestEngines:
    pytestmark = needs_vllm

    def test_the_end_of_one_leaves_the_others_running(self, folder: Path) -> None:
        one, other = (VLLMPolicy(folder, cache_bytes=2**26, dtype="float32") for _ in range(2))
        expected = one.act(make_prompts(4))
        assert_same(other.act(make_prompts(4)), expected)
        other.engine.close()
        one.engine.sync()
        assert_same(one.act(make_prompts(4)), expected)
        assert_same(other.act(make_prompts(4)), expected)  # started anew
        for policy in (one, other):
            policy.engine.close()

    def test_prompts_beyond_what_one_step_takes(self, folder: Path, hf: tuple[Any, Any]) -> None:
        """Twelve prompts of some 200 tokens, of which a step prefills 256: seeded samples, scored by Hugging Face."""
        policy = VLLMPolicy(
            folder, cache_bytes=2**26, dtype="float32", max_new_tokens=4, options={"max_num_batched_tokens": 256}
        )
        observation = Observation("red " * 180, ACTIONS[0])
        messages = build([], observation, instruction="Buy a red shoe.")
        prompts = [Prompt(messages, observation, episode=str(seed), seed=(seed,)) for seed in range(12)]
        actions = policy.act(prompts)
        assert len({action.text for action in actions}) > 1
        for action, expected in zip(actions, hf_policy(hf).logprobs(prompts, actions), strict=True):
            np.testing.assert_allclose(action.logprobs, expected, atol=CLOSE, rtol=0)
        policy.engine.close()


class TestContract:
    pytestmark = needs_vllm

    @pytest.mark.parametrize("constrained", [True, False])
    @pytest.mark.parametrize("greedy", [True, False])
    def test_policy_contract(self, shared: VLLMPolicy, constrained: bool, greedy: bool) -> None:
        check_policy(vllm_policy(shared, constrained=constrained, greedy=greedy), make_prompts())

    def test_constrained_actions_are_admissible_and_forced_tokens_certain(self, shared: VLLMPolicy) -> None:
        policy = vllm_policy(shared)
        prompts = make_prompts(48)
        for prompt, action in zip(prompts, policy.act(prompts), strict=True):
            actions = prompt.observation.actions
            assert actions is not None
            assert actions.admits(action.text)
            sets = policy.grammar.allowed_sets(actions, action.token_ids)
            assert all(logprob == 0.0 for logprob, ids in zip(action.logprobs, sets, strict=True) if len(ids) == 1)
            assert action.token_ids[-1] == policy.chat.end_id
            assert len(action.token_ids) <= NEW_TOKENS

    def test_samples_depend_on_their_own_seeds(self, shared: VLLMPolicy) -> None:
        policy = vllm_policy(shared, constrained=False)
        prompts = make_prompts(8)
        whole = policy.act(prompts)
        alone = policy.act(prompts[5:6])
        assert alone[0].token_ids == whole[5].token_ids
        other = Prompt(prompts[5].messages, prompts[5].observation, seed=(99,))
        assert policy.act([other])[0].token_ids != whole[5].token_ids

    def test_the_async_twin(self, shared: VLLMPolicy) -> None:
        policy = vllm_policy(shared)
        assert_same(asyncio.run(policy.aact(make_prompts(4))), policy.act(make_prompts(4)))

    def test_later_turns_find_earlier_ones_in_the_cache(self, shared: VLLMPolicy, hf: tuple[Any, Any]) -> None:
        """Three turns of four episodes whose prompts carry sampled actions, the same as without a cache."""
        mine, other = vllm_policy(shared, greedy=True), hf_policy(hf, greedy=True, cache="plain")
        prompts = make_prompts(4)
        for turn in range(1, 4):
            actions = mine.act(prompts)
            assert_same(actions, other.act(prompts))
            prompts = [
                Prompt(
                    (*prompt.messages, *_answered(action, f"turn {turn}")), prompt.observation, episode=prompt.episode
                )
                for prompt, action in zip(prompts, actions, strict=True)
            ]

    def test_a_full_context_is_said_and_not_sampled(self, shared: VLLMPolicy) -> None:
        long = Observation("red " * 400, ACTIONS[0])
        short = Observation("red", ACTIONS[0])
        prompts = [Prompt(build([], one, instruction="Buy."), one) for one in (long, short)]
        full, fine = vllm_policy(shared).act(prompts)
        assert (full.stop, full.token_ids, full.text) == ("context", (), "")
        assert full.prompt_tokens > 256
        assert fine.stop == "end"

    def test_a_choice_that_outgrows_the_context_is_not_cut(self, shared: VLLMPolicy) -> None:
        """A long choice is granted beyond max_new_tokens, but not beyond the context."""
        wordy = ActionSet(("red " * 400 + "x", "red " * 400 + "y"))
        fitting = ActionSet(("blue " * 40 + "x", "blue " * 40 + "y"))
        prompts = []
        for actions in (wordy, fitting):
            observation = Observation("go", actions)
            prompts.append(Prompt(build([], observation, instruction="Buy."), observation))
        outgrown, whole = vllm_policy(shared, max_new_tokens=4).act(prompts)
        assert (outgrown.stop, outgrown.token_ids) == ("context", ())
        assert whole.text in fitting.choices

    def test_free_actions_stop_at_their_limit(self, shared: VLLMPolicy) -> None:
        actions = vllm_policy(shared, constrained=False, max_new_tokens=3).act(make_prompts(8))
        assert {len(action.token_ids) for action in actions if action.stop == "length"} == {3}

    def test_global_generators_and_threads_are_left_alone(self, folder: Path) -> None:
        threads = torch.get_num_threads()
        states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002
        policy = VLLMPolicy(folder, cache_bytes=2**26, dtype="float32")
        policy.act(make_prompts(2))
        policy.engine.close()
        after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002
        assert after == states
        torch.set_num_threads(threads + 1)
        assert torch.get_num_threads() == threads + 1
        torch.set_num_threads(threads)

    def test_agents_by_name(self, folder: Path) -> None:
        agent = load_agent(f"vllm:{folder}")
        assert agent.greedy is not None
        assert isinstance(agent.policy, VLLMPolicy)
        assert isinstance(agent.greedy, VLLMPolicy)
        assert agent.greedy.engine is agent.policy.engine


class TestWeights:
    """After a sync the engine is, bit for bit, one that was loaded from the new weights."""

    pytestmark = needs_vllm

    settings: ClassVar[dict[str, Any]] = {"greedy": True, "constrained": False, "max_new_tokens": NEW_TOKENS}

    @pytest.mark.parametrize("tied", [True, False])
    def test_full_weights(self, folder: Path, tmp_path: Path, tied: bool) -> None:
        model, tokenizer = _model(folder, tied)
        policy = VLLMPolicy(model, tokenizer, cache_bytes=2**26, dtype="float32", **self.settings)
        before = policy.act(make_prompts())
        for update in range(2):
            shake(model, update)
            policy.weights_changed()
            after = policy.act(make_prompts())
            assert [one.token_ids for one in after] != [one.token_ids for one in before]
            assert_same(after, HFPolicy(model, tokenizer, **self.settings).act(make_prompts()))
        assert policy.version == 2
        model.save_pretrained(tmp_path)
        tokenizer.save_pretrained(tmp_path)
        fresh = VLLMPolicy(tmp_path, cache_bytes=2**26, dtype="float32", **self.settings)
        assert_same(after, fresh.act(make_prompts()), tolerance=SAME)
        policy.engine.close()
        fresh.engine.close()

    @pytest.mark.skipif(HAS_GPU, reason="adapters run in half precision there, which agrees with nothing closely")
    def test_an_adapter(self, folder: Path, tmp_path: Path) -> None:
        model, tokenizer = load_model(folder, lora=Lora(rank=4, alpha=8))
        policy = VLLMPolicy(model, tokenizer, cache_bytes=2**26, dtype="float32", **self.settings)
        before = policy.act(make_prompts())
        for update in range(2):
            shake(model, update, only="lora_", scale=1.0)
            policy.weights_changed()
            after = policy.act(make_prompts())
            assert [one.token_ids for one in after] != [one.token_ids for one in before]
            assert_same(after, HFPolicy(model, tokenizer, **self.settings).act(make_prompts()))
        model.save_pretrained(tmp_path)
        fresh = VLLMPolicy(tmp_path, cache_bytes=2**26, dtype="float32", **self.settings)
        assert_same(after, fresh.act(make_prompts()), tolerance=SAME)
        policy.engine.close()
        fresh.load_weights(load_model(folder)[0].state_dict())  # the base again, under the adapter that stays
        assert_same(after, fresh.act(make_prompts()), tolerance=SAME)
        fresh.engine.close()

    def test_weights_by_name(self, folder: Path) -> None:
        model, tokenizer = load_model(folder)
        policy = VLLMPolicy(folder, cache_bytes=2**26, dtype="float32", **self.settings)
        shake(model, 5)
        policy.load_weights(model.state_dict())
        assert policy.version == 1
        assert_same(policy.act(make_prompts()), HFPolicy(model, tokenizer, **self.settings).act(make_prompts()))
        with pytest.raises(InvalidConfig, match="no parameter 'nonsense'"):
            policy.load_weights({"nonsense": torch.zeros(1)})
        state = model.state_dict()
        del state["model.norm.weight"]
        with pytest.raises(InvalidConfig, match=r"lack 'model\.norm\.weight'"):
            policy.load_weights(state)
        policy.engine.close()


def _answered(action: Action, text: str) -> tuple[Message, Message]:
    return Message("assistant", action.text, action), Message("user", text)


def _model(folder: Path, tied: bool) -> tuple[Any, Any]:
    """The model, its output layer tied to the embeddings or one of its own."""
    model, tokenizer = load_model(folder)
    if tied:
        return model, tokenizer
    config = type(model.config).from_pretrained(folder, tie_word_embeddings=False)
    other = type(model)(config).eval()
    other.load_state_dict({**model.state_dict(), "lm_head.weight": model.state_dict()["lm_head.weight"] * 1.5})
    return other, tokenizer
