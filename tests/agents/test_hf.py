"""The Hugging Face policy: equal to plain generation, honest about log-probabilities, indifferent to its batch."""

from __future__ import annotations

import itertools
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from sparring.agents.hf import HFPolicy
from sparring.agents.kv import KeyValuePool
from sparring.agents.models import Lora, load_model
from sparring.agents.plain import PlainRunner
from sparring.agents.pooled import PooledRunner
from sparring.agents.rendering import encode_episode
from sparring.envs.pool import EnvPool
from sparring.errors import InvalidConfig
from sparring.rollout import Setting, Start, rollout, rollout_async
from sparring.types import Action, ActionSet, Form, Message, Observation, Prompt
from tests.worlds import Copy

ACTIONS = ActionSet(("click[red]", "click[red shoe]", "back"), (Form("search[", "]", ("red", "blue", "shoe")),))
WORDS = ["red", "blue", "shoe", "color", "need", "instruction", "page", "total", "results", "with"]


class Talk:
    """A made-up conversation whose observations have uneven lengths."""

    def __init__(self, key: int, actions: ActionSet | None = None) -> None:
        self.rng = np.random.default_rng(key)
        self.key, self.actions, self.turn = key, actions, 0
        self.messages = [self.observe()]

    def observe(self) -> Message:
        length = int(self.rng.integers(1, 25))
        return Message("user", " ".join(WORDS[index] for index in self.rng.integers(len(WORDS), size=length)))

    def prompt(self) -> Prompt:
        observation = Observation(self.messages[-1].content, self.actions)
        return Prompt(tuple(self.messages), observation, "", f"talk-{self.key}", self.turn, (self.key, self.turn))

    def answer(self, action: Action) -> None:
        self.messages += [Message("assistant", action.text, action), self.observe()]
        self.turn += 1


def talk(policy: HFPolicy, talks: list[Talk], turns: int) -> list[tuple[Prompt, Action]]:
    """Play turns, the talks in another order each time; everything that was asked and answered."""
    said = []
    for turn in range(turns):
        order = talks[turn % len(talks) :] + talks[: turn % len(talks)]
        prompts = [one.prompt() for one in order]
        actions = policy.act(prompts)
        for one, action in zip(order, actions, strict=True):
            one.answer(action)
        said += zip(prompts, actions, strict=True)
    return said


def generated(policy: HFPolicy, prompt: Prompt) -> tuple[int, ...]:
    """What `generate` says to a prompt on its own, without any cache of ours."""
    ids = torch.tensor([policy.chat.render(prompt.messages)])
    with torch.inference_mode():
        output = policy.model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=policy.max_new_tokens,
            do_sample=False,
            eos_token_id=sorted(policy.stop_ids),
            pad_token_id=policy.tokenizer.pad_token_id,
        )
    return tuple(output[0, ids.shape[1] :].tolist())


def other_model(kind: str, vocabulary_size: int) -> Any:
    """Small random models of other families."""
    common = {
        "vocab_size": vocabulary_size,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 512,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        match kind:
            case "grouped":
                config = transformers.LlamaConfig(**common, num_key_value_heads=2)
            case "qwen2":
                config = transformers.Qwen2Config(**common, num_key_value_heads=2)
            case "window":
                config = transformers.MistralConfig(**common, num_key_value_heads=2, sliding_window=8)
            case "gpt2":
                config = transformers.GPT2Config(
                    vocab_size=vocabulary_size, n_embd=32, n_layer=2, n_head=4, n_positions=512
                )
        return transformers.AutoModelForCausalLM.from_config(config).eval()


def test_greedy_turns_equal_generate_while_rows_end_early(tiny: tuple[Any, Any]) -> None:
    model, tokenizer = tiny
    model.generation_config.eos_token_id = list(range(0, len(tokenizer), 5))  # so that rows end at different times
    policy = HFPolicy(model, tokenizer, greedy=True, constrained=False, max_new_tokens=9)
    said = talk(policy, [Talk(key) for key in range(9)], turns=4)
    assert isinstance(policy._runner, PooledRunner)
    lengths = {len(action.token_ids) for _, action in said}
    assert len(lengths) > 2
    for prompt, action in said:
        assert action.token_ids == generated(policy, prompt)


@pytest.mark.parametrize("slots", [1, 3])
def test_evicted_episodes_come_back_right(tiny: tuple[Any, Any], slots: int) -> None:
    policy = HFPolicy(*tiny, greedy=True, constrained=False, max_new_tokens=5, max_slots=slots)
    talks = [Talk(key) for key in range(7)]
    for turn in range(3):
        for group in (talks[:3], talks[3:5], talks[turn : turn + 1], talks[5:]):
            for prompt, action in talk(policy, group, turns=1):
                assert action.token_ids == generated(policy, prompt)
    assert isinstance(policy._runner, PooledRunner)
    assert len(policy._runner._owner) <= max(slots, 3)


def test_memory_bounds_what_is_kept(tiny: tuple[Any, Any]) -> None:
    # A position takes 2 layers x 2 (keys, values) x 32 numbers x 4 bytes = 512 bytes; 100 kB hold one slot of 128.
    policy = HFPolicy(*tiny, greedy=True, constrained=False, max_new_tokens=5, max_cache_bytes=100_000)
    talks = [Talk(key) for key in range(6)]
    for _ in range(8):
        for group in (talks[:3], talks[3:]):
            for prompt, action in talk(policy, group, turns=1):
                assert action.token_ids == generated(policy, prompt)
            assert isinstance(policy._runner, PooledRunner)
            assert len(policy._runner._owner) == policy._runner._pool.slots == 3


def test_forgetting_frees_the_slot(tiny: tuple[Any, Any]) -> None:
    policy = HFPolicy(*tiny, greedy=True, constrained=False, max_new_tokens=4)
    for round_ in range(4):
        for prompt, action in talk(policy, [Talk(10 * round_ + key) for key in range(3)], turns=2):
            assert action.token_ids == generated(policy, prompt)
            policy.forget(prompt.episode)
    assert isinstance(policy._runner, PooledRunner)
    assert len(policy._runner._owner) == 3


def test_changed_weights_drop_what_was_kept(tiny: tuple[Any, Any]) -> None:
    policy = HFPolicy(*tiny, greedy=True, constrained=False, max_new_tokens=6)
    talks = [Talk(key) for key in range(4)]
    talk(policy, talks, turns=2)
    generator = torch.Generator().manual_seed(1)
    state = {
        name: value + 0.05 * torch.randn(value.shape, generator=generator).to(value.device)
        for name, value in policy.model.state_dict().items()
    }
    state["lm_head.weight"] = state["model.embed_tokens.weight"]
    policy.load_weights(state)
    assert policy.version == 1
    for prompt, action in talk(policy, talks, turns=2):
        assert action.token_ids == generated(policy, prompt)
    with torch.no_grad():
        policy.model.model.norm.weight.mul_(-1)
    policy.weights_changed()
    assert policy.version == 2
    for prompt, action in talk(policy, talks, turns=1):
        assert action.token_ids == generated(policy, prompt)
    with pytest.raises(InvalidConfig, match=r"no parameter 'nothing\.weight'"):
        policy.load_weights({"nothing.weight": torch.zeros(1)})


@pytest.mark.parametrize("constrained", [False, True])
@pytest.mark.parametrize("temperature", [0.7, 1.0])
def test_logprobs_as_sampled_equal_a_fresh_forward(
    tiny: tuple[Any, Any], constrained: bool, temperature: float
) -> None:
    policy = HFPolicy(*tiny, constrained=constrained, temperature=temperature, top_p=0.9, max_new_tokens=8)
    said = talk(policy, [Talk(key, ACTIONS) for key in range(6)], turns=3)
    fresh = policy.logprobs([prompt for prompt, _ in said], [action for _, action in said])
    for (_, action), scores in zip(said, fresh, strict=True):
        assert action.logprobs == pytest.approx(scores.tolist(), abs=1e-4)
        assert action.constrained is constrained
        assert not constrained or ACTIONS.admits(action.text)


def test_constrained_probabilities_equal_enumeration(tiny: tuple[Any, Any]) -> None:
    policy = HFPolicy(*tiny, max_new_tokens=7)
    actions = ActionSet(("back", "click[red]", "click[red shoe]"), (Form("go[", "]", ("red", "blue")),))
    prompt = replace(Talk(1, actions).prompt(), observation=Observation("", actions))
    grammar = policy.grammar
    words = [" ".join(slot) for count in (1, 2) for slot in itertools.product(("red", "blue"), repeat=count)]
    texts = [*actions.choices, *(f"go[{slot}]" for slot in words)]
    # Brute force, apart from the policy: all next-token logits along a path, normalised over the admissible ids.
    total = 0.0
    for text in texts:
        ids = grammar.encode(text, actions)
        whole = torch.tensor([[*policy.chat.render(prompt.messages), *ids]], device=policy.model.device)
        with torch.inference_mode():
            logits = policy.model(whole).logits[0, -len(ids) - 1 : -1].double().cpu()
        expected = sum(
            float(logits[at, token] - torch.logsumexp(logits[at, torch.tensor(allowed)], 0))
            for at, (token, allowed) in enumerate(zip(ids, grammar.allowed_sets(actions, ids), strict=True))
        )
        (scores,) = policy.logprobs([prompt], [Action(text, ids, constrained=True)])
        assert float(scores.sum()) == pytest.approx(expected, abs=1e-4)
        total += np.exp(expected)
    # The budget of 7 tokens leaves no other action, so that these are all there are.
    assert total == pytest.approx(1.0, abs=1e-6)


def test_constrained_samples_follow_their_probabilities(tiny: tuple[Any, Any]) -> None:
    policy = HFPolicy(*tiny, temperature=2.0)
    actions = ActionSet(("back", "click[red]", "click[blue]"))
    prompts = [replace(Talk(1, actions).prompt(), episode="", seed=(seed,)) for seed in range(1500)]
    drawn = [action.text for action in policy.act(prompts)]
    for text in actions.choices:
        ids = policy.grammar.encode(text, actions)
        (scores,) = policy.logprobs(prompts[:1], [Action(text, ids, constrained=True)])
        # Four standard deviations of a share among 1,500 draws are at most 4 * .5 / sqrt(1500) = .052.
        assert drawn.count(text) / len(drawn) == pytest.approx(np.exp(scores.sum()), abs=0.052)


def test_an_only_choice_costs_no_forward(tiny: tuple[Any, Any]) -> None:
    policy = HFPolicy(*tiny)
    policy.act([Talk(0, ACTIONS).prompt()])
    calls: list[int] = []
    policy.model.register_forward_hook(lambda *_: calls.append(1))
    (action,) = policy.act([Talk(1, ActionSet(("click[red shoe]",))).prompt()])
    assert action.text == "click[red shoe]"
    assert set(action.logprobs) == {0.0}
    assert not calls


def test_samples_do_not_depend_on_the_batch(tiny: tuple[Any, Any]) -> None:
    alone = HFPolicy(*tiny, top_p=0.95, max_new_tokens=8)
    together = HFPolicy(*tiny, top_p=0.95, max_new_tokens=8)
    single = [talk(alone, [Talk(key, ACTIONS if key % 2 else None)], turns=3) for key in range(6)]
    batched = talk(together, [Talk(key, ACTIONS if key % 2 else None) for key in range(6)], turns=3)
    by_prompt = {(prompt.episode, prompt.turn): action for prompt, action in batched}
    for prompt, action in itertools.chain.from_iterable(single):
        other = by_prompt[prompt.episode, prompt.turn]
        assert action.token_ids == other.token_ids
        assert action.logprobs == pytest.approx(other.logprobs, abs=1e-5)


def test_equal_prompts_share_their_prefill_and_then_part(tiny: tuple[Any, Any]) -> None:
    policy = HFPolicy(*tiny, constrained=False, max_new_tokens=6)
    talks = [Talk(5) for _ in range(4)]
    prompts = [replace(one.prompt(), episode=f"member-{member}", seed=(member,)) for member, one in enumerate(talks)]
    actions = policy.act(prompts)
    assert len({action.token_ids for action in actions}) > 1
    for one, action in zip(talks, actions, strict=True):
        one.answer(action)
    again = [replace(one.prompt(), episode=f"member-{member}") for member, one in enumerate(talks)]
    for scores, action in zip(policy.logprobs(again, policy.act(again)), policy.act(again), strict=True):
        assert action.logprobs == pytest.approx(scores.tolist(), abs=1e-4)


def test_one_episode_may_be_asked_several_times_in_a_batch(tiny: tuple[Any, Any]) -> None:
    policy = HFPolicy(*tiny, constrained=False, max_new_tokens=6)
    one = Talk(3)
    for _ in range(3):
        prompts = [replace(one.prompt(), seed=(sample,)) for sample in range(4)]
        actions = policy.act(prompts)
        for scores, action in zip(policy.logprobs(prompts, actions), actions, strict=True):
            assert action.logprobs == pytest.approx(scores.tolist(), abs=1e-4)
        one.answer(actions[2])


@pytest.mark.parametrize("kind", ["grouped", "qwen2"])
def test_other_families_keep_their_caches(tokenizer: Any, kind: str) -> None:
    policy = HFPolicy(other_model(kind, len(tokenizer)), tokenizer, greedy=True, constrained=False, max_new_tokens=6)
    for prompt, action in talk(policy, [Talk(key) for key in range(5)], turns=3):
        assert action.token_ids == generated(policy, prompt)
    assert isinstance(policy._runner, PooledRunner)


@pytest.mark.parametrize("kind", ["window", "gpt2"])
def test_models_that_the_pool_does_not_fit_run_plainly(tokenizer: Any, kind: str) -> None:
    policy = HFPolicy(other_model(kind, len(tokenizer)), tokenizer, greedy=True, constrained=False, max_new_tokens=6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        said = talk(policy, [Talk(key) for key in range(5)], turns=2)
    for prompt, action in said:
        assert action.token_ids == generated(policy, prompt)


def test_plain_and_pooled_agree_on_constrained_samples(tiny: tuple[Any, Any]) -> None:
    pooled, plain = (HFPolicy(*tiny, cache=cache, max_new_tokens=8) for cache in ("pooled", "plain"))
    for (prompt, action), (_, other) in zip(
        talk(pooled, [Talk(key, ACTIONS) for key in range(5)], turns=3),
        talk(plain, [Talk(key, ACTIONS) for key in range(5)], turns=3),
        strict=True,
    ):
        assert action.token_ids == other.token_ids, prompt
        assert action.logprobs == pytest.approx(other.logprobs, abs=1e-5)
    assert isinstance(plain._runner, PlainRunner)


def test_a_full_context_is_reported_not_cut(tiny: tuple[Any, Any]) -> None:
    policy = HFPolicy(*tiny, max_new_tokens=8, max_context=100)
    short, long = Talk(0, ACTIONS).prompt(), Prompt((Message("user", "red " * 200),), Observation("", ACTIONS))
    first, second = policy.act([long, short])
    assert (first.text, first.stop, first.token_ids) == ("", "context", ())
    assert first.prompt_tokens > 100
    assert ACTIONS.admits(second.text)
    assert policy.act([]) == []


def test_the_models_mode_and_attention_come_back(tiny: tuple[Any, Any]) -> None:
    model, tokenizer = tiny
    own = model.config._attn_implementation
    model.train()
    HFPolicy(model, tokenizer).act([Talk(0, ACTIONS).prompt()])
    assert model.training
    assert model.config._attn_implementation == own
    model(torch.tensor([[1, 2, 3]], device=model.device)).logits.sum().backward()


def test_acting_leaves_the_global_generator_alone(tiny: tuple[Any, Any]) -> None:
    before = torch.random.get_rng_state()
    policy = HFPolicy(*tiny)
    policy.act([Talk(0, ACTIONS).prompt()])
    assert torch.equal(before, torch.random.get_rng_state())


def test_adapters_act_learn_and_reload(tiny_folder: Path, tmp_path: Path) -> None:
    model, tokenizer = load_model(tiny_folder, lora=Lora(rank=4, seed=1))
    policy = HFPolicy(model, tokenizer, max_new_tokens=6, constrained=False)
    before = talk(policy, [Talk(key) for key in range(3)], turns=2)
    assert isinstance(policy._runner, PooledRunner)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    policy.weights_changed()
    after = talk(policy, [Talk(key) for key in range(3)], turns=2)
    assert [action.token_ids for _, action in before] != [action.token_ids for _, action in after]
    fresh = policy.logprobs([prompt for prompt, _ in after], [action for _, action in after])
    for (_, action), scores in zip(after, fresh, strict=True):
        assert action.logprobs == pytest.approx(scores.tolist(), abs=1e-4)
    model.save_pretrained(tmp_path / "adapter")
    reloaded = HFPolicy.from_folder(tmp_path / "adapter", max_new_tokens=6, constrained=False)
    again = talk(reloaded, [Talk(key) for key in range(3)], turns=2)
    assert [action.token_ids for _, action in again] == [action.token_ids for _, action in after]


@pytest.mark.parametrize("memory", ["full_history", "window(1)"])
def test_episodes_come_back_as_the_tokens_that_were_seen(tiny: tuple[Any, Any], memory: str) -> None:
    policy = HFPolicy(*tiny, max_new_tokens=12)
    starts = [Start(seed, sampling_seed=seed) for seed in range(6)]
    setting = Setting("Copy", memory=memory)
    episodes = rollout(policy, EnvPool(lambda: Copy(words=3), 3), starts, setting)
    streamed = rollout_async(HFPolicy(*tiny, max_new_tokens=12), EnvPool(lambda: Copy(words=3), 3), starts, setting)
    for episode, other in zip(episodes, streamed, strict=True):
        assert [turn.action.token_ids for turn in episode.turns] == [turn.action.token_ids for turn in other.turns]
        sequences = encode_episode(episode, policy.chat, grammar=policy.grammar)
        spans = [(sequence, span) for sequence in sequences for span in sequence.spans]
        for turn, (sequence, span) in zip(episode.turns, spans, strict=True):
            assert tuple(sequence.ids[span.start : span.stop]) == turn.action.token_ids
            assert span.constrained and span.sampled


@pytest.mark.parametrize("settings", [{"temperature": 0.0}, {"top_p": 0.0}, {"max_new_tokens": 0}])
def test_settings_outside_their_range_are_refused(tiny: tuple[Any, Any], settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidConfig):
        HFPolicy(*tiny, **settings)


@pytest.mark.parametrize("max_slots", [24, 256])
def test_episodes_that_come_one_by_one_move_the_kept_keys_seldom(
    tiny: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch, max_slots: int
) -> None:
    """Growing slot by slot, or to and fro between a large batch and small ones, would copy the pool each time."""
    moved = []
    grow, keep_first = KeyValuePool.grow, KeyValuePool.keep_first

    def counted_grow(self: KeyValuePool, *arguments: int) -> None:
        before = self.slots, self.positions
        grow(self, *arguments)
        moved.extend([before] * ((self.slots, self.positions) != before))

    def counted_keep(self: KeyValuePool, slots: int) -> None:
        moved.extend([(self.slots, 0)] * (slots < self.slots))
        keep_first(self, slots)

    monkeypatch.setattr(KeyValuePool, "grow", counted_grow)
    monkeypatch.setattr(KeyValuePool, "keep_first", counted_keep)
    policy = HFPolicy(*tiny, max_new_tokens=4, max_slots=max_slots)
    for count in [*([1] * 60), 40, 3, 40, 3, 40]:
        policy.act([Talk(len(moved) * 1000 + key, ACTIONS).prompt() for key in range(count)])
    for key in range(60):
        policy.act([Talk(key, ACTIONS).prompt()])
    assert len(moved) <= 14
