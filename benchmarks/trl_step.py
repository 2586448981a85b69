"""A policy-gradient step of ours beside TRL's: the same weights, sequences, advantages and loss, time and peak memory.

    python -m venv trl && trl/bin/pip install -c constraints.txt trl numpy       # anywhere outside the checkout
    python benchmarks/trl_step.py --trl-python trl/bin/python                    # records results/trl_step.json
    python benchmarks/trl_step.py --trl-python trl/bin/python --quick            # the smallest model, records nothing

Both sides take optimiser steps on one batch of sampled episodes: DAPO's token-mean loss without a KL term, AdamW,
gradients clipped at norm 1, float32, one thread. `single turn` has a prompt and a completion, `many turns` eight
actions between observations, which TRL masks (`tool_mask`). TRL's trainer is given the batch ready, as it leaves its
own generation: prompts padded on the left and completions on the right to the longest of the batch. Both sides are
tried with micro-batches of several sizes (ours in tokens, TRL's in sequences), the fastest and the leanest of each are
compared. Every measurement has a process of its own, the two sides in turn. Peak memory is what the process held at
most, less what it held before the first step (weights and libraries). The first step's loss and gradient norm must
agree, so that both sides do the same work.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

SEED = 0
SHAPES: dict[str, dict[str, int]] = {
    "0.3 M weights": {"hidden": 64, "layers": 3, "heads": 4, "vocabulary": 2048, "sequences": 64},
    "3.7 M weights": {"hidden": 256, "layers": 4, "heads": 4, "vocabulary": 2048, "sequences": 64},
    "135 M weights": {"hidden": 576, "layers": 30, "heads": 9, "vocabulary": 49_152, "sequences": 8},
}
KINDS = ("single turn", "many turns")
OURS, TRLS = (512, 1024, 4096), (2, 4, 8, 16, 64)
LEARNING_RATE = 1e-5


def build(folder: Path, shape: dict[str, int]) -> None:
    """A Llama with random weights and a tokenizer of as many words (TRL's trainer wants one)."""
    from tokenizers import Tokenizer, models
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(SEED)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=shape["vocabulary"],
            hidden_size=shape["hidden"],
            intermediate_size=shape["hidden"] * 8 // 3,
            num_hidden_layers=shape["layers"],
            num_attention_heads=shape["heads"],
            tie_word_embeddings=True,
        )
    )
    model.save_pretrained(folder)
    words = Tokenizer(models.WordLevel({f"w{index}": index for index in range(shape["vocabulary"])}, unk_token="w0"))
    PreTrainedTokenizerFast(tokenizer_object=words, pad_token="w0", eos_token="w1").save_pretrained(folder)


def make_batch(path: Path, shape: dict[str, int], kind: str) -> None:
    """Sequences of random ids with the sampled ones marked, and an advantage each.

    `ids`, `sampled` (bool) [B, T] and `lengths` [B], `prompts` [B]: how many ids come before the first sampled one.
    """
    rng = np.random.default_rng(SEED)
    rows = []
    for _ in range(shape["sequences"]):
        prompt = int(rng.integers(60, 140))
        sampled = [False] * prompt
        if kind == "single turn":
            sampled += [True] * int(rng.integers(40, 100))
        else:
            for turn in range(int(rng.integers(5, 9))):
                sampled += [False] * (int(rng.integers(15, 45)) if turn else 0) + [True] * int(rng.integers(5, 12))
        rows.append(np.array(sampled))
    lengths = np.array([len(row) for row in rows])
    ids = np.zeros((len(rows), lengths.max()), dtype=np.int64)
    marked = np.zeros(ids.shape, dtype=bool)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = rng.integers(2, shape["vocabulary"], size=len(row))
        marked[index, : len(row)] = row
    np.savez(
        path,
        ids=ids,
        sampled=marked,
        lengths=lengths,
        prompts=marked.argmax(axis=1),
        advantages=rng.standard_normal(len(rows)).astype(np.float32),
    )


def held_mib() -> float:
    """Memory that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def measure(step: Callable[[], tuple[float, float]], steps: int) -> dict[str, float]:
    """Take a first step for its loss, gradient norm and memory, then `steps` more for their time."""
    before = held_mib()
    loss, norm = step()
    began, cpu = time.perf_counter(), time.process_time()
    for _ in range(steps):
        step()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "wall_s": (time.perf_counter() - began) / steps,
        "cpu_s": (time.process_time() - cpu) / steps,
        "peak_mib": peak - before,
        "loss": loss,
        "grad_norm": norm,
    }


def ours(folder: Path, data: Any, steps: int, micro_batch: int) -> dict[str, float]:
    """`update_policy`, as every policy-gradient trainer of this project calls it."""
    from transformers import AutoModelForCausalLM

    from sparring.trainers.batch import Sample, collate, micro_batches, score_tokens
    from sparring.trainers.checkpoint import Learner
    from sparring.trainers.optim import OptimConfig, build_optimizer
    from sparring.trainers.policy_update import Lesson, ObjectiveConfig, update_policy

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    optim = OptimConfig(lr=LEARNING_RATE, warmup_steps=0, betas=(0.9, 0.999), micro_batch_tokens=micro_batch)
    learner = Learner(model, None, build_optimizer(model, optim))
    samples = []
    for row, length in enumerate(data["lengths"]):
        sampled_n = np.flatnonzero(data["sampled"][row, :length])
        unknown = np.zeros(len(sampled_n), dtype=np.float32)
        samples.append(Sample(data["ids"][row, :length], sampled_n, unknown, (None,) * len(sampled_n)))
    old: dict[int, Any] = {}
    with torch.no_grad():
        for rows in micro_batches(samples, min(512, micro_batch)):
            batch = collate([samples[row] for row in rows], model.config.vocab_size)
            logprobs_N = score_tokens(model, batch).logprobs_N
            old |= {row: logprobs_N[batch.row_N == place].numpy() for place, row in enumerate(rows)}
    lessons = [
        Lesson(
            Sample(sample.ids_T, sample.sampled_n, old[row], sample.allowed_n),
            row,
            np.full(len(sample.sampled_n), data["advantages"][row], dtype=np.float32),
        )
        for row, sample in enumerate(samples)
    ]
    taken = iter(range(1, steps + 2))

    def step() -> tuple[float, float]:
        found = update_policy(
            ObjectiveConfig(), optim, learner, lessons, temperature=1.0, seed=0, step=next(taken), progress=0.0
        )
        return found["loss"], found["grad_norm"]

    return measure(step, steps)


def trl(folder: Path, data: Any, steps: int, micro_batch: int) -> dict[str, float]:
    """`GRPOTrainer.training_step` on each micro-batch, then clipping and the optimiser, as its loop does."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import GRPOConfig, GRPOTrainer

    count = len(data["lengths"])
    config = GRPOConfig(
        output_dir=str(folder / "trl"),
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        per_device_train_batch_size=micro_batch,
        gradient_accumulation_steps=count // micro_batch,
        num_generations=2,
        beta=0.0,
        loss_type="dapo",
        epsilon_high=0.28,
        learning_rate=LEARNING_RATE,
        lr_scheduler_type="constant",
        max_grad_norm=1.0,
        report_to="none",
    )
    trainer = GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
        processing_class=AutoTokenizer.from_pretrained(folder),
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        args=config,
        train_dataset=Dataset.from_dict({"prompt": ["w2"] * count}),
    )
    trainer.create_optimizer()
    trainer.current_gradient_accumulation_steps = count // micro_batch
    trainer._prepare_inputs = lambda ready: ready
    trainer.model.train()
    widest, longest = int(data["prompts"].max()), int((data["lengths"] - data["prompts"]).max())
    full: dict[str, torch.Tensor] = {
        name: torch.zeros((count, width), dtype=torch.long)
        for name, width in (
            ("prompt_ids", widest),
            ("prompt_mask", widest),
            ("completion_ids", longest),
            ("completion_mask", longest),
            ("tool_mask", longest),
        )
    }
    for row, (length, prompt) in enumerate(zip(data["lengths"], data["prompts"], strict=True)):
        ids = torch.from_numpy(data["ids"][row, :length])
        full["prompt_ids"][row, widest - prompt :] = ids[:prompt]
        full["prompt_mask"][row, widest - prompt :] = 1
        full["completion_ids"][row, : length - prompt] = ids[prompt:]
        full["completion_mask"][row, : length - prompt] = 1
        full["tool_mask"][row, : length - prompt] = torch.from_numpy(data["sampled"][row, prompt:length]).long()
    full["advantages"] = torch.from_numpy(data["advantages"])
    items = full["tool_mask"].sum()

    def step() -> tuple[float, float]:
        total = 0.0
        for start in range(0, count, micro_batch):
            part = {name: tensor[start : start + micro_batch] for name, tensor in full.items()}
            total += float(trainer.training_step(trainer.model, part | {"num_items_in_batch": items}, None))
        norm = float(trainer.accelerator.clip_grad_norm_(trainer.model.parameters(), config.max_grad_norm))
        trainer.optimizer.step()
        trainer.model.zero_grad()
        return total, norm

    return measure(step, steps)


def compare(name: str, kind: str, trl_python: str, folder: Path, *, quick: bool) -> dict[str, Any]:
    """All measurements of a model on a batch: ours, and TRL's in each size of micro-batch."""
    shape = SHAPES[name]
    model, batch = folder / name.replace(" ", "-"), folder / f"{kind.replace(' ', '-')}.npz"
    if not model.exists():
        build(model, shape)
    make_batch(batch, shape, kind)
    sides = [f"ours {tokens}" for tokens in OURS]
    sides += [f"trl {size}" for size in TRLS if size <= shape["sequences"]]
    steps, repeats = (2, 1) if shape["hidden"] > 256 or quick else (5, 3)
    found: dict[str, list[dict[str, float]]] = {}
    for _ in range(repeats):
        for side in sides:
            command = [sys.executable if side.startswith("ours") else trl_python, __file__, "--side", side]
            command += ["--model", str(model), "--batch", str(batch), "--steps", str(steps)]
            output = subprocess.run(
                command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, text=True, check=True
            )
            found.setdefault(side, []).append(json.loads(output.stdout.splitlines()[-1]))
    best = {side: {key: round(min(one[key] for one in many), 5) for key in many[0]} for side, many in found.items()}
    for side, one in best.items():
        for key in ("loss", "grad_norm"):
            if not np.isclose(one[key], best[sides[0]][key], rtol=1e-3, atol=1e-5):
                raise SystemExit(f"{side} does other work: its {key} is {one[key]}, not {best[sides[0]][key]}")
    groups = [[one for side, one in best.items() if side.startswith(who)] for who in ("ours", "trl")]
    own, peer = (min(group, key=lambda one: one["cpu_s"]) for group in groups)
    lean, lean_peer = (min(one["peak_mib"] for one in group) for group in groups)
    return {
        "measured": best,
        "fastest": {f"{key}_ratio": round(own[key] / peer[key], 3) for key in ("cpu_s", "wall_s", "peak_mib")},
        "leanest": {"peak_mib_ratio": round(lean / lean_peer, 3)},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trl-python", default=sys.executable, help="an interpreter that can import trl")
    parser.add_argument("--quick", action="store_true", help="the smallest model once, nothing recorded")
    for name in ("--side", "--model", "--batch", "--steps"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        torch.set_num_threads(1)
        torch.manual_seed(SEED)
        side, _, size = options.side.partition(" ")
        data = dict(np.load(options.batch))
        arguments = (Path(options.model), data, int(options.steps))
        print(json.dumps((ours if side == "ours" else trl)(*arguments, int(size))))
        return
    from record import record

    versions = subprocess.run(
        [options.trl_python, "-c", "import trl, transformers; print(trl.__version__, transformers.__version__)"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    figures: dict[str, Any] = {"trl": dict(zip(("trl", "transformers"), versions.stdout.split(), strict=True))}
    with tempfile.TemporaryDirectory() as folder:
        for name in list(SHAPES)[: 1 if options.quick else None]:
            for kind in KINDS:
                found = compare(name, kind, options.trl_python, Path(folder), quick=options.quick)
                figures[f"{name}, {kind}"] = found
                print(name, kind, found["fastest"], found["leanest"], flush=True)
    if not options.quick:
        record("trl_step", figures, seeds=[SEED], notes="one thread; least of three runs, of one for 135 M weights")


if __name__ == "__main__":
    main()
