"""How fast the trainers take gradients, against the usual way to do it, and where the time of a GRPO step goes.

Gradients: sequences of a tiny model (hidden 64, 3 layers, 2,048 tokens), 15 % of whose tokens were sampled, half of
those under constraints. `trainer` is what the trainers do (micro-batches of like length, output head on sampled tokens
alone, log-softmax over the admissible ones). `full_logits` is the usual way on the same padded micro-batches: logits
and log-softmax at every position, unconstrained. `decoder` is forward and backward of the decoder alone, which nothing
of ours could beat.

Steps: GRPO on WebShop's built-in catalogue with the renderers, 16 tasks x 8 episodes of at most 8 turns.

All figures are CPU seconds of one thread, so that a busy machine disturbs them less.

    python benchmarks/training_speed.py            # records results/training_speed.json
    python benchmarks/training_speed.py --quick    # one length, one step, records nothing
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import record
from transformers import LlamaConfig, LlamaForCausalLM

from sparring.envs.pool import EnvPool
from sparring.runs import RunFolder
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers import grpo, sft
from sparring.trainers.batch import Batch, Sample, collate, micro_batches, score_tokens
from sparring.trainers.checkpoint import load_learner
from sparring.trainers.losses import aggregate, clipped_surrogate, token_weights
from sparring.trainers.policy_update import update_policy
from sparring.trainers.session import LoopConfig

SEED, VOCABULARY, SEQUENCES, MICRO_BATCH_TOKENS = 0, 2048, 64, 4096


def cpu_seconds(work: Callable[[], Any], repeats: int) -> float:
    """The least CPU time of some repeats, after one to warm up."""
    work()
    times = []
    for _ in range(repeats):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return min(times)


def made_up_samples(length: int) -> list[Sample]:
    """Sequences within a third of `length`, with admissible sets of 1, 10 or 100 tokens at half of what was sampled."""
    rng = np.random.default_rng(SEED)
    sets = [np.sort(rng.choice(VOCABULARY, size=size, replace=False)) for size in (1, 10, 100) for _ in range(30)]
    samples = []
    for _ in range(SEQUENCES):
        ids = rng.integers(VOCABULARY, size=int(length * rng.uniform(2 / 3, 4 / 3)))
        sampled = np.sort(rng.choice(np.arange(1, len(ids)), size=max(1, int(0.15 * len(ids))), replace=False))
        allowed = [sets[int(rng.integers(len(sets)))] if rng.random() < 0.5 else None for _ in sampled]
        for position, choice in zip(sampled, allowed, strict=True):
            if choice is not None:
                ids[position] = rng.choice(choice)
        samples.append(Sample(ids, sampled, np.full(len(sampled), -1.0, dtype=np.float32), tuple(allowed)))
    return samples


def gradient_speed(model: Any, length: int, repeats: int) -> dict[str, float]:
    """Tokens (without padding) whose gradient is taken in a CPU second."""
    samples = made_up_samples(length)
    weights = token_weights(torch.tensor([len(one.sampled_n) for one in samples]), "token-mean")

    def batches() -> list[Batch]:
        return [
            collate([samples[row] for row in rows], VOCABULARY, weights_B=weights[rows], advantages=[1.0] * len(rows))
            for rows in micro_batches(samples, MICRO_BATCH_TOKENS)
        ]

    ready = batches()

    def trainer() -> None:
        for batch in batches():
            scores = score_tokens(model, batch)
            loss_N = clipped_surrogate(scores.logprobs_N, batch.old_logprobs_N, batch.advantages_N).loss_N
            aggregate(loss_N, batch.weights_N).backward()

    def full_logits() -> None:
        for batch in ready:
            logits_BTV = model(input_ids=batch.tokens_BT[:, :-1], use_cache=False).logits
            logprobs_BT = logits_BTV.log_softmax(-1).gather(-1, batch.tokens_BT[:, 1:, None]).squeeze(-1)
            (logprobs_BT * batch.mask_BT[:, 1:]).sum().backward()

    def decoder() -> None:
        for batch in ready:
            model.get_decoder()(input_ids=batch.tokens_BT[:, :-1], use_cache=False).last_hidden_state.sum().backward()

    tokens = sum(len(one.ids_T) for one in samples)
    speeds = {work.__name__: tokens / cpu_seconds(work, repeats) for work in (trainer, full_logits, decoder)}
    return {
        "mean_length": round(tokens / len(samples)),
        **{f"{name}_tokens_per_cpu_s": round(speed) for name, speed in speeds.items()},
        "times_full_logits": round(speeds["trainer"] / speeds["full_logits"], 2),
        "share_of_decoder": round(speeds["trainer"] / speeds["decoder"], 2),
    }


def step_times(steps: int) -> list[dict[str, float]]:
    """CPU seconds of the parts of GRPO steps, from a model that imitated for 60 steps."""
    env = EnvConfig("WebShop-v1", wrappers=("webshop-brief", "webshop-match", "webshop-index"), max_turns=8)
    agent = AgentConfig(max_action_tokens=12)
    with tempfile.TemporaryDirectory() as folder:
        start = sft.train(
            sft.Config(
                run=Path(folder) / "start",
                env=env,
                agent=agent,
                demos=sft.DemosConfig(episodes=500),
                loop=LoopConfig(steps=60, eval_every=0),
            )
        )
        config = grpo.Config(run=Path(folder) / "grpo", model=str(start), env=env, agent=agent)
        learner = load_learner(config.model, config.optim, RunFolder(config.run))
        policy = learner.policy(config.agent)
        rows = []
        with EnvPool(env.maker(), config.groups * config.group_size) as pool:
            for step in range(1, steps + 1):
                marks = [time.process_time()]
                collection, _ = grpo.play(config, policy, pool, step, "train")
                marks.append(time.process_time())
                lessons = grpo.lessons_of(config, policy, collection)
                marks.append(time.process_time())
                update_policy(
                    config.objective, config.optim, learner, lessons, temperature=1.0, seed=0, step=step, progress=0.0
                )
                policy.weights_changed()
                marks.append(time.process_time())
                spent = [later - earlier for earlier, later in pairwise(marks)]
                tokens = sum(len(lesson.sample.ids_T) for lesson in lessons)
                rows.append(
                    {
                        "episodes": len(lessons),
                        "turns": sum(len(one.turns) for one in collection.trajectories),
                        "tokens": tokens,
                        "rollout_cpu_s": round(spent[0], 3),
                        "lessons_cpu_s": round(spent[1], 3),
                        "gradients_cpu_s": round(spent[2], 3),
                    }
                )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one length and one step, nothing recorded")
    parser.add_argument("--repeats", type=int, default=3, help="the best of so many runs counts")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    shape = {"hidden_size": 64, "intermediate_size": 192, "num_hidden_layers": 3, "num_attention_heads": 4}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=VOCABULARY, tie_word_embeddings=True, **shape)).eval()
    figures = {
        "model": shape | {"vocabulary": VOCABULARY},
        "gradients": [
            gradient_speed(model, length, options.repeats) for length in ((250,) if options.quick else (110, 250, 500))
        ],
        "grpo_steps": step_times(1 if options.quick else 3),
    }
    for row in (*figures["gradients"], *figures["grpo_steps"]):
        print(row)
    if not options.quick:
        print(record("training_speed", figures, seeds=[SEED], notes="one thread, CPU time"))


if __name__ == "__main__":
    main()
