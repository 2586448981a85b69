"""What does reinforcement learning add to the imitation of a poor demonstrator on generated tool worlds?

    python benchmarks/tool_world.py --seeds 0

Runs the example (`examples/tools.py`) once a seed and records everyone's success on held-out worlds, and the paired
differences, with 95 % intervals.
"""

from __future__ import annotations

import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import tyro

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
import tools as example
from record import record


@dataclass(frozen=True)
class Benchmark:
    """What is run."""

    seeds: tuple[int, ...] = (0,)
    out: Path = Path("runs/tool-world")
    name: str = "tool_world"
    """Of the file under benchmarks/results."""


def one_seed(config: Benchmark, seed: int) -> dict[str, Any]:
    """The figures of a seed."""
    began = time.monotonic()
    demo = replace(example.Demo(), out=config.out.with_name(f"{config.out.name}-{seed}"), seed=seed)
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
    print(record(config.name, figures, seeds=config.seeds, notes="CPU shared with other work: wall_s says little."))


if __name__ == "__main__":
    main(tyro.cli(Benchmark, description=__doc__))
