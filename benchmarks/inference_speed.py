"""How fast the Hugging Face policy acts over many turns, against plain `generate` and against its own forwards.

The work is multi-turn: episodes of a tiny model (hidden 256, 4 layers, 2,048 tokens, float32) in which each turn
adds 20 tokens to about 200 and samples 10. `generate` gets the same prompts as ready-made ids, so rendering
counts against the policy alone; both are greedy, and their tokens are compared.

    python benchmarks/inference_speed.py            # records results/inference_speed.json
    python benchmarks/inference_speed.py --quick    # one small batch, records nothing
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from record import record

from sparring.agents.hf import HFPolicy
from sparring.agents.models import load_model
from sparring.agents.models.tiny import build_tiny
from sparring.types import Action, ActionSet, Form, Message, Observation, Prompt

OPENING_TOKENS, NEW_TOKENS, SAMPLED_TOKENS, TURNS = 130, 20, 10, 5
SEED = 0


def made_up_words(count: int) -> list[str]:
    """Words of three letters, each of which becomes one token with the space before it."""
    rng = np.random.default_rng(SEED)
    letters = "bdfgklmnprstvz", "aeiou", "bdfgklmnprstvz"
    made: dict[str, None] = {}
    while len(made) < count:
        made["".join(str(rng.choice(list(group))) for group in letters)] = None
    return list(made)


WORDS = made_up_words(600)


def sentence(rng: np.random.Generator, length: int) -> str:
    return "".join(" " + WORDS[index] for index in rng.integers(len(WORDS), size=length))


def build_model(folder: str) -> tuple[Any, Any]:
    """The tiny model of the measurements; its vocabulary is filled up to 2,048 with tokens that never occur."""
    rng = np.random.default_rng(SEED)
    texts = [sentence(rng, 600) for _ in range(20)]
    filler = [f"[{index}]" for index in range(1000)]
    build_tiny(texts, folder, vocabulary=2048, hidden=256, layers=4, heads=4, special_tokens=filler, seed=SEED)
    model, tokenizer = load_model(folder)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "layers" in name and parameter.dim() > 1:
                # As initialised, a tied model only repeats its last token: equal tokens would prove little.
                parameter.mul_(4.0)
    return model, tokenizer


class Conversation:
    """One episode's messages, growing turn by turn."""

    def __init__(self, key: int, lengths: Callable[[np.random.Generator], int], actions: ActionSet | None) -> None:
        self.rng = np.random.default_rng((SEED, key))
        self.key, self.lengths, self.actions = key, lengths, actions
        self.turn = 0
        self.messages: list[Message] = [Message("user", sentence(self.rng, OPENING_TOKENS - 3))]

    def prompt(self) -> Prompt:
        observation = Observation(self.messages[-1].content, self.actions)
        return Prompt(
            tuple(self.messages), observation, episode=str(self.key), turn=self.turn, seed=(self.key, self.turn)
        )

    def answer(self, action: Action) -> None:
        self.turn += 1
        self.messages.append(Message("assistant", action.text, action))
        # The template adds the end-of-turn token (where none was sampled), two role tokens and an end.
        self.messages.append(Message("user", sentence(self.rng, self.lengths(self.rng) - 4)))


def run_generate(model: Any, tokenizer: Any, prompted: list[list[list[int]]]) -> tuple[float, list[list[list[int]]]]:
    """The same turns by `generate`, from ids; seconds and new ids by turn."""
    seconds, produced = 0.0, []
    for prompts in prompted:
        start = time.perf_counter()
        longest = max(map(len, prompts))
        ids = torch.tensor([[tokenizer.pad_token_id] * (longest - len(one)) + one for one in prompts])
        mask = torch.tensor([[0] * (longest - len(one)) + [1] * len(one) for one in prompts])
        with torch.inference_mode():
            output = model.generate(
                ids,
                attention_mask=mask,
                max_new_tokens=SAMPLED_TOKENS,
                do_sample=False,
                eos_token_id=None,
                pad_token_id=tokenizer.pad_token_id,
            )
        seconds += time.perf_counter() - start
        produced.append(output[:, longest:].tolist())
    return seconds, produced


class ForwardClock:
    """Adds up the time that a model spends in forward passes."""

    def __init__(self, model: Any) -> None:
        self.seconds, self._start = 0.0, 0.0
        model.register_forward_pre_hook(self._begin)
        model.register_forward_hook(self._end)

    def _begin(self, *_: Any) -> None:
        self._start = time.perf_counter()

    def _end(self, *_: Any) -> None:
        self.seconds += time.perf_counter() - self._start


def measure(model: Any, tokenizer: Any, batch: int, repeats: int) -> dict[str, Any]:
    """Policy, its forwards alone, and `generate`, on the same turns; the best of some repeats."""
    clock = ForwardClock(model)
    best: dict[str, float] = {}
    equal = total = 0
    distinct: set[int] = set()
    for _ in range(repeats):
        policy = HFPolicy(model, tokenizer, greedy=True, constrained=False, max_new_tokens=SAMPLED_TOKENS)
        conversations = [Conversation(key, lambda _: NEW_TOKENS, None) for key in range(batch)]
        _warm(policy, [Conversation(batch + key, lambda _: NEW_TOKENS, None) for key in range(batch)], clock)
        seconds, taken, prompted, forward = *_timed(policy, conversations, clock), clock.seconds
        generated_s, produced = run_generate(model, tokenizer, prompted)
        for name, value in (("policy", seconds), ("forward", forward), ("generate", generated_s)):
            best[name] = min(best.get(name, value), value)
        for actions, rows in zip(taken, produced, strict=True):
            for action, row in zip(actions, rows, strict=True):
                total += 1
                distinct.update(row)
                equal += list(action.token_ids) == row[: len(action.token_ids)]
    turns = batch * TURNS
    return {
        "batch": batch,
        "policy_turns_per_s": round(turns / best["policy"], 1),
        "forward_alone_turns_per_s": round(turns / best["forward"], 1),
        "generate_turns_per_s": round(turns / best["generate"], 1),
        "policy_over_generate": round(best["generate"] / best["policy"], 2),
        "equal_greedy_actions": f"{equal}/{total}",
        "distinct_tokens": len(distinct),
    }


def _warm(policy: HFPolicy, conversations: list[Conversation], clock: ForwardClock) -> None:
    """Play conversations untimed: a policy serves many, and its pool grows with the first."""
    _timed(policy, conversations, clock)
    for conversation in conversations:
        policy.forget(conversation.prompt().episode)


def _timed(policy: HFPolicy, conversations: list[Conversation], clock: ForwardClock) -> tuple[Any, ...]:
    opening = [conversation.prompt() for conversation in conversations]
    for conversation, action in zip(conversations, policy.act(opening), strict=True):
        conversation.answer(action)
    clock.seconds = 0.0
    seconds, taken, prompted = 0.0, [], []
    for _ in range(TURNS):
        prompts = [conversation.prompt() for conversation in conversations]
        start = time.perf_counter()
        actions = policy.act(prompts)
        seconds += time.perf_counter() - start
        taken.append(actions)
        prompted.append([policy.chat.render(prompt.messages) for prompt in prompts])
        for conversation, action in zip(conversations, actions, strict=True):
            conversation.answer(action)
    return seconds, taken, prompted


def measure_constrained(model: Any, tokenizer: Any, batch: int, repeats: int) -> dict[str, Any]:
    """Sampled, constrained actions (30 choices and a search form) on observations of 10 to 60 tokens."""
    rng = np.random.default_rng(SEED)
    actions = ActionSet(
        tuple(f"click[{sentence(rng, 2)}]" for _ in range(30)), (Form("search[", "]", tuple(WORDS[:20])),)
    )
    clock, best, forward = ForwardClock(model), float("inf"), float("inf")
    for _ in range(repeats):
        policy = HFPolicy(model, tokenizer, max_new_tokens=16)
        _warm(
            policy,
            [Conversation(batch + key, lambda g: int(g.integers(10, 61)), actions) for key in range(batch)],
            clock,
        )
        conversations = [Conversation(key, lambda g: int(g.integers(10, 61)), actions) for key in range(batch)]
        seconds, taken, _ = _timed(policy, conversations, clock)
        assert all(actions.admits(action.text) for turn in taken for action in turn)
        best, forward = min(best, seconds), min(forward, clock.seconds)
    turns = batch * TURNS
    return {
        "batch": batch,
        "policy_turns_per_s": round(turns / best, 1),
        "forward_alone_turns_per_s": round(turns / forward, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one small batch, nothing recorded")
    parser.add_argument("--repeats", type=int, default=3, help="the best of so many runs counts")
    options = parser.parse_args()
    batches = (32,) if options.quick else (32, 128)
    with tempfile.TemporaryDirectory() as folder:
        model, tokenizer = build_model(f"{folder}/tiny")
        figures = {
            "model": f"Llama, hidden 256, 4 layers, {len(tokenizer)} tokens, "
            f"{sum(one.numel() for one in model.parameters()) / 1e6:.1f} M parameters, float32",
            "threads": torch.get_num_threads(),
            "work": f"{TURNS} turns, about 200 tokens held + {NEW_TOKENS} new + {SAMPLED_TOKENS} sampled, greedy",
            "multi_turn": [measure(model, tokenizer, batch, options.repeats) for batch in batches],
            "constrained_ragged": [measure_constrained(model, tokenizer, batch, options.repeats) for batch in batches],
        }
    for name in ("multi_turn", "constrained_ragged"):
        for row in figures[name]:
            print(name, row)
    if not options.quick:
        print(record("inference_speed", figures, seeds=[SEED]))


if __name__ == "__main__":
    main()
