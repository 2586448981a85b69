"""How much GRPO lifts a tiny vision-language model above its imitation: examples/gui.py, recorded.

    python benchmarks/gui_grounding.py                   # trains one model and records it
    python benchmarks/gui_grounding.py --runs runs/gui   # scores and records what examples/gui.py left there

Both models play the same held-out screens, sampled and greedily.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import tyro

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

import gui
from record import record

from sparring.runs import RunFolder


@dataclass(frozen=True)
class Config:
    """What is scored."""

    demo: gui.Demo = field(default_factory=lambda: gui.Demo(out=Path("runs/gui-grounding")))
    """The example's own settings, used where it is yet to be run."""
    runs: tuple[Path, ...] = ()
    """Folders of finished runs of the example, with its default settings."""


def figures(demo: gui.Demo) -> dict[str, Any]:
    """Success of both models on the same held-out screens, and the difference, with 95 % intervals."""
    report, comparisons, _ = gui.score(demo)
    found: dict[str, Any] = {
        row.agent: {"success": row.success.estimate, "low": row.success.low, "high": row.success.high}
        for row in report.rows
        if row.success is not None
    }
    (one,) = comparisons
    difference = one.success.difference
    found["difference, sampled"] = {
        "success": difference.estimate, "low": difference.low, "high": difference.high,
    }  # fmt: skip
    for name in ("imitation", "rl"):
        last = RunFolder.open(demo.out / name).metrics()[-1]
        found[f"{name} seconds of training"], found[f"{name} steps"] = round(last["seconds"]), last["step"]
    return found


def main(config: Config) -> None:
    """Run what is to be run, and record."""
    demos = [replace(config.demo, out=out) for out in config.runs] or [config.demo]
    if not config.runs:
        gui.main(config.demo)
    path = record(
        "gui_grounding",
        {demo.out.name: figures(demo) for demo in demos},
        seeds=[demo.seed for demo in demos],
        notes="Screens of 48 x 48 pixels with one icon; 400 held-out screens, the same for both models. The "
        "demonstrator's hand strays by 0.12 of the screen. One core of a machine that was busy with other work.",
    )
    print(path)


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
