"""What a GRPO step costs, by who plays: the model under training, or vLLM beside it.

    python benchmarks/gpu_training.py                   # records results/gpu_training.json
    python benchmarks/gpu_training.py --model tiny --steps 2 --groups 2 --name ""    # a small one, records nothing

Each way trains for a few steps from the same weights with the same seeds; the first step, which starts the engine and
warms the kernels up, does not count. `mismatch` is the mean difference between a sampled token's log-probability and
the trainer's own before the update: what the engine's numbers cost in exactness.
"""

from __future__ import annotations

import statistics
import tempfile
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import tyro
from record import record
from vllm_speed import SHAPES, built

from sparring.agents.models.device import model_device
from sparring.runs import RunFolder
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers import grpo
from sparring.trainers.optim import OptimConfig
from sparring.trainers.session import LoopConfig

PLAYS: dict[str, AgentConfig] = {
    "the model itself, float32": AgentConfig(),
    "vLLM, bfloat16": AgentConfig(engine="vllm", engine_dtype="bfloat16"),
    "vLLM, float32": AgentConfig(engine="vllm", engine_dtype="float32"),
}
COLUMNS = ("rollout_seconds", "update_seconds", "seconds", "mismatch", "env_turns", "action_tokens")


@dataclass(frozen=True)
class Study:
    """What to run."""

    model: str = "800m"
    """A shape of `vllm_speed.py`, with random weights, or any model that trainers take."""
    steps: int = 3
    groups: int = 16
    group_size: int = 16
    env: str = "sparring/NumberSearch-v1"
    max_turns: int = 8
    micro_batch_tokens: int = 16_384
    cache_gib: float = 8.0
    name: str = "gpu_training"
    """Of the results; empty records nothing."""


def measure(study: Study, model: str, agent: AgentConfig, run: Path) -> dict[str, Any]:
    """Means over the steps behind the first."""
    config = grpo.Config(
        run=run,
        model=model,
        env=EnvConfig(study.env, max_turns=study.max_turns),
        agent=replace(agent, max_action_tokens=24, engine_cache_gib=study.cache_gib),
        optim=OptimConfig(lr=1e-6, micro_batch_tokens=study.micro_batch_tokens),
        loop=LoopConfig(steps=study.steps, eval_every=0, checkpoint_every=1000),
        groups=study.groups,
        group_size=study.group_size,
    )
    rows = RunFolder(grpo.train(config)).metrics()
    # Turns, tokens and seconds since the run began are sums.
    sums = ("env_turns", "action_tokens", "seconds")
    found: dict[str, Any] = {}
    for column in COLUMNS:
        values = [float(row[column]) for row in rows if column in row]  # a step without a lesson has no mismatch
        if column in sums:
            values = [late - early for early, late in pairwise(values)]
        else:
            values = values[1:]
        found[column] = round(statistics.mean(values), 6) if values else None
    found["turns_per_s"] = round(found["env_turns"] / found["rollout_seconds"], 1)
    return found


def main(study: Study) -> None:
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        model = study.model
        if model in SHAPES:
            model = str(built(Path(folder) / model, **SHAPES[model]))
        for number, (name, agent) in enumerate(PLAYS.items()):
            found[name] = measure(study, model, agent, Path(folder) / f"run-{number}")
            print(name, found[name], flush=True)
    if study.name:
        print(
            record(
                study.name,
                {"device": str(model_device()), "ways": found},
                seeds=[0],
                notes="Means over the steps behind the first; float32 weights under training. env_turns, action_tokens "
                "and seconds are those of a step.",
            )
        )


if __name__ == "__main__":
    main(tyro.cli(Study))
