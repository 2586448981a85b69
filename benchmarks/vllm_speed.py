"""How much of vLLM's throughput our rollout keeps, and how it compares with the Hugging Face policy.

Episodes of WebShop are played in lock-step by `VLLMPolicy`. The raw engine, a second one without our logits processor,
is then given the very prompts of each turn as token ids, in one batch, and decodes for each as many tokens as our
engine did: temperature 1, no seeds, no log-probabilities, so what training needs counts against us. Both keep a prefix
cache, emptied before each repeat. The share is the raw engine's time over that of the whole rollout: environment,
prompts, rendering, grammar and records included.

    make test-vllm                                            # makes the environment
    .venv-vllm/bin/python benchmarks/vllm_speed.py            # records results/vllm_speed.json
    .venv-vllm/bin/python benchmarks/vllm_speed.py --quick    # one small case, records nothing
    python benchmarks/vllm_speed.py --models tiny 800m smollm2 --episodes 32 256 --name vllm_speed_gpu    # on a GPU

On a GPU both engines and the Hugging Face policy compute in bfloat16.

In `free` the actions are greedy and unconstrained (the world takes them as no-ops), so that both engines decode the
same tokens; in `constrained` they are sampled among the admissible ones, and the raw engine decodes others, as many.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from record import record

from sparring.agents.grammar import Grammar
from sparring.agents.hf import HFPolicy
from sparring.agents.models import load_model, model_folder
from sparring.agents.models.device import model_device
from sparring.agents.models.tiny import build_tiny
from sparring.agents.scripted import RandomPolicy
from sparring.agents.vllm import VLLMPolicy
from sparring.agents.vllm_engine import Decoded, Engine, Request
from sparring.envs.pool import EnvPool
from sparring.rollout import Setting, Start, rollout
from sparring.settings import EnvConfig
from sparring.trainers.sft import texts_of
from sparring.types import Action, Policy, Prompt

SEED = 0
SHAPES = {
    "tiny": {"hidden": 256, "layers": 4, "heads": 4},
    "800m": {"hidden": 2048, "layers": 16, "heads": 16},
}
WRAPPERS = ("webshop-brief", "webshop-top5", "webshop-price")


@dataclass(frozen=True, slots=True)
class Case:
    """What is played, how."""

    model: str
    episodes: int
    turns: int
    constrained: bool
    repeats: int
    max_new_tokens: int = 16

    @property
    def name(self) -> str:
        return f"{self.model}, {'constrained' if self.constrained else 'free'}, {self.episodes} episodes"


@dataclass(frozen=True, slots=True)
class Seconds:
    """How long something took."""

    wall: float
    cpu: float


class Stopwatch:
    """Measures wall and CPU seconds from its making."""

    def __init__(self) -> None:
        self._began = time.perf_counter(), time.process_time()

    def read(self) -> Seconds:
        return Seconds(time.perf_counter() - self._began[0], time.process_time() - self._began[1])


def fastest(found: Sequence[Seconds]) -> Seconds:
    return Seconds(min(one.wall for one in found), min(one.cpu for one in found))


class Recorded(Engine):
    """An engine that keeps what it was asked and how much it decoded."""

    calls: list[tuple[list[list[int]], list[int]]]

    def generate(self, requests: Sequence[Request], grammar: Grammar, *, temperature: float = 1.0) -> list[Decoded]:
        decoded = super().generate(requests, grammar, temperature=temperature)
        self.calls.append(([list(one.prompt_ids) for one in requests], [len(one.token_ids) for one in decoded]))
        return decoded


@dataclass
class Played:
    """One rollout: its time, the time within the policy, and what was said."""

    whole: Seconds
    policy: Seconds
    turns: int
    tokens: int


@dataclass
class Timed:
    """A policy whose time is counted."""

    policy: Policy
    spent: list[Seconds] = field(default_factory=list)
    version: int = 0

    def act(self, prompts: Sequence[Prompt]) -> list[Action]:
        stopwatch = Stopwatch()
        actions = self.policy.act(prompts)
        self.spent.append(stopwatch.read())
        return actions

    def forget(self, episode: str) -> None:
        forget = getattr(self.policy, "forget", None)
        if forget is not None:
            forget(episode)


def play(policy: Policy, pool: EnvPool, setting: Setting, episodes: int) -> Played:
    starts = [Start(index, split="train", sampling_seed=index) for index in range(episodes)]
    timed = Timed(policy)
    stopwatch = Stopwatch()
    played = rollout(timed, pool, starts, setting)
    whole = stopwatch.read()
    actions = [turn.action for one in played for turn in one.turns]
    within = Seconds(sum(one.wall for one in timed.spent), sum(one.cpu for one in timed.spent))
    return Played(whole, within, len(actions), sum(len(action.token_ids) for action in actions))


def play_raw(llm: Any, calls: Sequence[tuple[list[list[int]], list[int]]], *, is_greedy: bool, extras: bool) -> Seconds:
    """The same prompts and as many tokens, turn by turn; `extras` asks for seeds and log-probabilities as we do."""
    from vllm import SamplingParams, TokensPrompt

    llm.reset_prefix_cache()
    stopwatch = Stopwatch()
    for prompts, lengths in calls:
        llm.generate(
            [TokensPrompt(prompt_token_ids=prompt) for prompt in prompts],
            [
                SamplingParams(
                    temperature=0.0 if is_greedy else 1.0,
                    max_tokens=length,
                    ignore_eos=True,
                    detokenize=False,
                    seed=index if extras and not is_greedy else None,
                    logprobs=0 if extras else None,
                )
                for index, length in enumerate(lengths)
            ],
            use_tqdm=False,
        )
    return stopwatch.read()


def measure(cases: Sequence[Case], folder: Path) -> Iterator[dict[str, Any]]:
    """All three on each case, in turns, so that a busy neighbour disturbs them alike. The cases share their engines."""
    model, tokenizer = load_model(folder)
    on_gpu = model.device.type == "cuda"
    if on_gpu:
        model = model.to(torch.bfloat16)
    limits: dict[str, Any] = {"cache_bytes": 2**33 if on_gpu else 2**28, "max_context": 2048}
    limits["dtype"] = "bfloat16" if on_gpu else "auto"
    engine = Recorded(folder, **limits)
    engine.calls = []
    raw = Engine(folder, **limits, options={"logits_processors": None})
    for case in cases:
        settings: dict[str, Any] = {"constrained": case.constrained, "greedy": not case.constrained}
        settings["max_new_tokens"] = case.max_new_tokens
        ours = VLLMPolicy(engine, tokenizer, **settings)
        hugging_face = HFPolicy(model, tokenizer, max_context=2048, **settings)
        env = EnvConfig("sparring/WebShop-v1", wrappers=WRAPPERS, max_turns=case.turns)
        setting = Setting(env.full_id, env.wrappers)
        found: dict[str, list[Any]] = {"ours": [], "raw": [], "raw_extras": [], "hf": []}
        with EnvPool(env.maker(), case.episodes) as pool:
            for repeat in range(case.repeats + 1):
                engine.calls.clear()
                engine.sync()
                hugging_face.weights_changed()
                one = {
                    "ours": play(ours, pool, setting, case.episodes),
                    "raw": play_raw(raw.start(), engine.calls, is_greedy=ours.greedy, extras=False),
                    "raw_extras": play_raw(raw.start(), engine.calls, is_greedy=ours.greedy, extras=True),
                    "hf": play(hugging_face, pool, setting, case.episodes),
                }
                if repeat:  # the first one warms up
                    for name, value in one.items():
                        found[name].append(value)
        decoded = sum(sum(lengths) for _, lengths in engine.calls)
        prompt_tokens = [len(prompt) for prompts, _ in engine.calls for prompt in prompts]
        yield figures(case, found, decoded, prompt_tokens)
    engine.close()
    raw.close()


def figures(case: Case, found: dict[str, list[Any]], decoded: int, prompt_tokens: Sequence[int]) -> dict[str, Any]:
    """Rates at the fastest repeat, and shares."""
    ours, hf = found["ours"][0], found["hf"][0]
    whole, within = fastest([one.whole for one in found["ours"]]), fastest([one.policy for one in found["ours"]])
    raw, extras = fastest(found["raw"]), fastest(found["raw_extras"])
    hf_whole = fastest([one.whole for one in found["hf"]])
    return {
        "case": case.name,
        "turns": ours.turns,
        "prompt_tokens_mean": round(sum(prompt_tokens) / len(prompt_tokens)),
        "action_tokens": ours.tokens,
        "decoded_tokens": decoded,
        "rollout_turns_per_s": round(ours.turns / whole.wall, 1),
        "rollout_turns_per_cpu_s": round(ours.turns / whole.cpu, 1),
        "rollout_tokens_per_s": round(ours.tokens / whole.wall),
        "raw_turns_per_s": round(ours.turns / raw.wall, 1),
        "raw_turns_per_cpu_s": round(ours.turns / raw.cpu, 1),
        "raw_tokens_per_s": round(decoded / raw.wall),
        "share_kept": round(raw.wall / whole.wall, 3),
        "share_kept_cpu": round(raw.cpu / whole.cpu, 3),
        "share_kept_of_raw_with_logprobs_and_seeds_cpu": round(extras.cpu / whole.cpu, 3),
        "share_of_rollout_outside_policy_cpu": round(1 - within.cpu / whole.cpu, 3),
        "hf_turns_per_s": round(hf.turns / hf_whole.wall, 1),
        "hf_turns_per_cpu_s": round(hf.turns / hf_whole.cpu, 1),
        "hf_tokens_per_s": round(hf.tokens / hf_whole.wall),
        "vllm_over_hf": round(hf_whole.wall / whole.wall, 2),
        "vllm_over_hf_cpu": round((ours.turns / whole.cpu) / (hf.turns / hf_whole.cpu), 2),
    }


def built(folder: Path, **shape: int) -> Path:
    """A Llama with random weights whose tokenizer knows the shop."""
    env = EnvConfig("sparring/WebShop-v1", wrappers=WRAPPERS, max_turns=8)
    with EnvPool(env.maker(), 8) as pool:
        starts = [Start(index, split="train", sampling_seed=index) for index in range(64)]
        played = rollout(RandomPolicy(), pool, starts, Setting(env.full_id, env.wrappers))
    return build_tiny(texts_of(played), folder, seed=SEED, max_context=2048, **shape)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one small case, nothing recorded")
    parser.add_argument("--repeats", type=int, default=2, help="each counts at the fastest of so many")
    parser.add_argument(
        "--models", nargs="+", default=["tiny"], help=f"{', '.join(SHAPES)}, or a model's name or folder"
    )
    parser.add_argument("--episodes", nargs="+", type=int, default=[32], help="how many are played at once")
    parser.add_argument("--name", default="vllm_speed", help="of the result")
    options = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    models = ["tiny"] if options.quick else options.models
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for model in models:
            cases = [
                Case(model, episodes, 6, constrained, options.repeats)
                for episodes in options.episodes
                for constrained in (False, True)
            ]
            if options.quick:
                cases = [Case(model, 8, 3, True, 1)]
            path = Path(folder) / model if model in SHAPES else model_folder(model)
            if not path.exists():
                built(path, **SHAPES[model])
            for row in measure(cases, path):
                rows.append(row)
                print(row, flush=True)
            if not options.quick:
                print(write(options.name, rows))


def write(name: str, rows: Sequence[dict[str, Any]]) -> Path:
    """Record what was measured so far."""
    return record(
        name,
        {
            "shapes": SHAPES,
            "threads": torch.get_num_threads(),
            "device": torch.cuda.get_device_name() if model_device().type == "cuda" else "cpu",
            "cases": rows,
        },
        seeds=[SEED],
        notes="Built models have random weights. On a CPU: float32, blocks of 32 tokens; other work shared the cores, "
        "so trust shares and CPU seconds (keys ending in _cpu). On a GPU: bfloat16, wall time.",
    )


if __name__ == "__main__":
    main()
