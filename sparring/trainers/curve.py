"""The learning curve of a run, as a picture."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from sparring.errors import need
from sparring.runs import RunFolder, write_atomic

PANELS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    ("score", (("score", "training"), ("eval_greedy_score", "held out, greedy"), ("eval_sampled_score", "sampled"))),
    (
        "success",
        (("success", "training"), ("eval_greedy_success", "held out, greedy"), ("eval_sampled_success", "sampled")),
    ),
    ("loss", (("loss", "loss"),)),
)


def save_curve(run: RunFolder) -> Path | None:
    """Draw `curve.png` from the metrics of a run, and return its path; None where there is nothing to draw.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    rows = run.metrics()
    panels = [(title, lines) for title, lines in PANELS if any(_points(rows, name) for name, _ in lines)]
    if not panels:
        return None
    need("matplotlib", "train")
    from matplotlib.figure import Figure  # the figure alone draws off screen; pyplot would keep global state

    figure = Figure(figsize=(4.5 * len(panels), 3.5), layout="constrained")
    for axes, (title, lines) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for name, label in lines:
            points = _points(rows, name)
            if points:
                axes.plot(*zip(*points, strict=True), marker="o" if name.startswith("eval") else None, label=label)
        axes.set_title(title)
        axes.set_xlabel("seconds of training")
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle(run.path.name)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    path = run.path / "curve.png"
    write_atomic(path, picture.getvalue())
    return path


def _points(rows: list[dict[str, Any]], name: str) -> list[tuple[float, float]]:
    return [(row["seconds"], row[name]) for row in rows if row.get(name) is not None]
