"""How fast the Hugging Face policy acts over many turns, against plain `generate` and against its own forwards.

The work is multi-turn: episodes of a tiny model (hidden 256, 4 layers, 2,048 tokens, float32) in which each turn
adds 20 tokens to about 200 and samples 10. `generate` gets the same prompts as ready-made ids, so rendering
counts against the policy alone; both are greedy, and their tokens are compared. Each turn counts at the fastest of
some repeats. The same is measured once more on one thread in CPU time, which neighbours on the machine disturb less.

    python benchmarks/inference_speed.py            # records results/inference_speed.json
    python benchmarks/inference_speed.py --quick    # one small batch, records nothing
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
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
    filler = [f"[{index}]" for index in range(1099)]
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


@dataclass
class Stopwatch:
    """Measures wall or CPU seconds, and apart from them those that the model spends in forward passes."""

    now: Callable[[], float]
    forward_s: float = 0.0
    _begun: float = field(default=0.0)

    def watch(self, model: Any) -> list[Any]:
        """Count the model's forwards from now on; returns the hooks to remove."""
        return [model.register_forward_pre_hook(self._begin), model.register_forward_hook(self._end)]

    def _begin(self, *_: Any) -> None:
        self._begun = self.now()

    def _end(self, *_: Any) -> None:
        self.forward_s += self.now() - self._begun


@dataclass
class Played:
    """What one round of turns took and gave, by turn."""

    policy_s: list[float] = field(default_factory=list)
    forward_s: list[float] = field(default_factory=list)
    actions: list[list[Action]] = field(default_factory=list)
    prompt_ids: list[list[list[int]]] = field(default_factory=list)


def play(policy: HFPolicy, conversations: list[Conversation], stopwatch: Stopwatch) -> Played:
    """Play the opening untimed and then the turns."""
    played = Played()
    # A repeat brings the same texts again; they must be encoded again, as those of other episodes would be.
    policy.vocabulary.encode.cache_clear()
    for conversation, action in zip(conversations, policy.act([one.prompt() for one in conversations]), strict=True):
        conversation.answer(action)
    for _ in range(TURNS):
        prompts = [conversation.prompt() for conversation in conversations]
        stopwatch.forward_s, start = 0.0, stopwatch.now()
        actions = policy.act(prompts)
        played.policy_s.append(stopwatch.now() - start)
        played.forward_s.append(stopwatch.forward_s)
        played.actions.append(actions)
        played.prompt_ids.append([policy.chat.render(prompt.messages) for prompt in prompts])
        for conversation, action in zip(conversations, actions, strict=True):
            conversation.answer(action)
    return played


def generate(model: Any, tokenizer: Any, prompts: list[list[int]], now: Callable[[], float]) -> tuple[float, Any]:
    """One turn by `generate`, from ids; seconds and the new ids."""
    start = now()
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
    return now() - start, output[:, longest:].tolist()


def rounds(
    model: Any,
    policy: HFPolicy,
    make: Callable[[int], Conversation],
    batch: int,
    repeats: int,
    now: Callable[[], float],
) -> list[Played]:
    """Play the same conversations some times over, after a round that lets the policy's pool grow."""
    stopwatch = Stopwatch(now)
    hooks = stopwatch.watch(model)
    found = []
    for repeat in range(repeats + 1):
        conversations = [make(key) for key in range(batch)]
        played = play(policy, conversations, stopwatch)
        for conversation in conversations:
            policy.forget(conversation.prompt().episode)
        if repeat:
            found.append(played)
    for hook in hooks:
        hook.remove()
    return found


def rate(batch: int, seconds_by_repeat: list[list[float]]) -> float:
    """Turns a second, each turn at its fastest."""
    return round(batch * TURNS / sum(map(min, zip(*seconds_by_repeat, strict=True))), 1)


def measure(model: Any, tokenizer: Any, batch: int, repeats: int, now: Callable[[], float]) -> dict[str, Any]:
    """Policy, its forwards alone, and `generate`, on the same turns."""
    policy = HFPolicy(model, tokenizer, greedy=True, constrained=False, max_new_tokens=SAMPLED_TOKENS)
    played = rounds(model, policy, lambda key: Conversation(key, lambda _: NEW_TOKENS, None), batch, repeats, now)
    generated = [[generate(model, tokenizer, prompts, now) for prompts in played[0].prompt_ids] for _ in range(repeats)]
    pairs = [
        (action.token_ids, tuple(row))
        for actions, (_, rows) in zip(played[0].actions, generated[0], strict=True)
        for action, row in zip(actions, rows, strict=True)
    ]
    figures = {
        "batch": batch,
        "policy_turns_per_s": rate(batch, [one.policy_s for one in played]),
        "forward_alone_turns_per_s": rate(batch, [one.forward_s for one in played]),
        "generate_turns_per_s": rate(batch, [[seconds for seconds, _ in one] for one in generated]),
        # A policy ends at an end-of-turn token, which `generate` is told to ignore here.
        "equal_greedy_actions": f"{sum(ours == row[: len(ours)] for ours, row in pairs)}/{len(pairs)}",
        "distinct_tokens": len({token for _, row in pairs for token in row}),
    }
    figures["policy_over_generate"] = round(figures["policy_turns_per_s"] / figures["generate_turns_per_s"], 2)
    return figures


def measure_constrained(
    model: Any, tokenizer: Any, batch: int, repeats: int, now: Callable[[], float]
) -> dict[str, Any]:
    """Sampled, constrained actions (30 choices and a search form) on observations of 10 to 60 tokens."""
    rng = np.random.default_rng(SEED)
    actions = ActionSet(
        tuple(f"click[{sentence(rng, 2)}]" for _ in range(30)), (Form("search[", "]", tuple(WORDS[:20])),)
    )
    policy = HFPolicy(model, tokenizer, max_new_tokens=16)
    played = rounds(
        model, policy, lambda key: Conversation(key, lambda g: int(g.integers(10, 61)), actions), batch, repeats, now
    )
    taken = [action for turn in played[0].actions for action in turn]
    assert all(actions.admits(action.text) for action in taken)
    return {
        "batch": batch,
        "policy_turns_per_s": rate(batch, [one.policy_s for one in played]),
        "forward_alone_turns_per_s": rate(batch, [one.forward_s for one in played]),
        "tokens_per_action": round(sum(len(action.token_ids) for action in taken) / len(taken), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one small batch, nothing recorded")
    parser.add_argument("--repeats", type=int, default=5, help="each turn counts at the fastest of so many")
    options = parser.parse_args()
    batches = (32,) if options.quick else (32, 128)
    threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        model, tokenizer = build_model(f"{folder}/tiny")
        figures: dict[str, Any] = {
            "model": f"Llama, hidden 256, 4 layers, {len(tokenizer)} tokens, "
            f"{sum(one.numel() for one in model.parameters()) / 1e6:.1f} M parameters, float32",
            "work": f"{TURNS} turns, about 200 tokens held + {NEW_TOKENS} new + {SAMPLED_TOKENS} sampled",
            "threads": threads,
        }
        for suffix, count, now in (("", threads, time.perf_counter), ("_per_cpu_s", 1, time.process_time)):
            torch.set_num_threads(count)
            for name, function in (("multi_turn", measure), ("constrained_ragged", measure_constrained)):
                rows = [function(model, tokenizer, batch, options.repeats, now) for batch in batches]
                figures[name + suffix] = rows
                for row in rows:
                    print(name + suffix, row, flush=True)
    if not options.quick:
        print(
            record(
                "inference_speed",
                figures,
                seeds=[SEED],
                notes="Sections that end in _per_cpu_s: one thread, CPU time. The others: all threads, wall time.",
            )
        )


if __name__ == "__main__":
    main()
