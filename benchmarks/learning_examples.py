"""What does reinforcement learning add to imitating a poor demonstrator, in generated tool worlds or on web pages?

    python benchmarks/learning_examples.py tools --seeds 0 1 2
    python benchmarks/learning_examples.py web --seeds 0

Runs an example (`examples/tools.py`, `examples/web.py`) once a seed, or goes on with its run, and records everyone's
success on held-out tasks, and the paired differences, with 95 % intervals.
"""

from __future__ import annotations

import importlib
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
from record import record

NAMES = {"tools": "tool_world", "web": "web_pages"}
"""Of the files under benchmarks/results."""


@dataclass(frozen=True)
class Benchmark:
    """What is run."""

    example: Annotated[Literal["tools", "web"], tyro.conf.Positional]
    seeds: tuple[int, ...] = (0,)
    out: Path = Path("runs/learning-examples")


def one_seed(config: Benchmark, seed: int) -> dict[str, Any]:
    """The figures of a seed."""
    began = time.monotonic()
    example = importlib.import_module(config.example)
    demo = replace(example.Demo(), out=config.out / f"{config.example}-{seed}", seed=seed)
    report, comparisons = example.main(demo)
    return {
        "wall_s": round(time.monotonic() - began),
        "test_tasks": report.rows[0].tasks,
        "agents": {
            row.agent: {
                "success": asdict(row.success) if row.success else None,
                "turns": row.turns,
                "errors": row.errors,
            }
            for row in report.rows
        },
        "differences": {f"{one.agent} minus {one.baseline}": asdict(one.success) for one in comparisons},
    }


def main(config: Benchmark) -> None:
    """Run the seeds one after the other."""
    figures = {str(seed): one_seed(config, seed) for seed in config.seeds}
    notes = "CPU shared with other work, and a run that was there was gone on with: wall_s says little."
    print(record(NAMES[config.example], figures, seeds=config.seeds, notes=notes))


if __name__ == "__main__":
    main(tyro.cli(Benchmark, description=__doc__))
