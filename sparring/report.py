"""What a benchmark found, as Markdown for people and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sparring.runs import write_atomic
from sparring.statistics import Interval
from sparring.summary import Comparison, Row

_FEW_CLUSTERS = 20  # fewer, and a bootstrap over them covers too seldom


@dataclass(frozen=True, slots=True)
class Report:
    """A whole benchmark.

    Attributes:
        setting: what was played, in plain values.
        clusters: what the intervals are over, in the plural: "tasks", or what tasks share, such as "products".
    """

    title: str
    setting: Mapping[str, Any]
    rows: tuple[Row, ...]
    comparisons: tuple[Comparison, ...]
    clusters: str = "tasks"

    def row(self, agent: str) -> Row:
        """The row of one agent.

        Raises:
            KeyError: there is none.
        """
        return {row.agent: row for row in self.rows}[agent]

    def to_json(self) -> str:
        """All figures; what is not a number is null."""
        return json.dumps(_plain(asdict(self)), indent=2, ensure_ascii=False) + "\n"

    def to_markdown(self) -> str:
        """Tables for people, with a line on how to read them."""
        lines = [f"# {self.title}", "", _sentence(self.setting), "", *_row_table(self.rows)]
        lines += _correction_tables(self.rows)
        if self.comparisons:
            lines += [
                "",
                f"## Against {self.comparisons[0].baseline}, task by task",
                "",
                *_pair_table(self.comparisons, self.clusters),
            ]
        errors = [row for row in self.rows if row.errors]
        if errors:
            lines += ["", "## Environment errors", "", "Left out of every figure above."]
            lines += [
                f"- {row.agent}: {row.errors} episodes, such as `{_cell(row.first_error or '')}`" for row in errors
            ]
        lines += ["", self._reading()]
        return "\n".join(lines) + "\n"

    def _reading(self) -> str:
        """How to read the tables, and what their intervals hold for."""
        most = max(self.rows, key=lambda row: row.tasks, default=None)
        if self.clusters == "tasks" or most is None:
            over = "Tasks count as independent: none names anything that it shares with others."
        elif most.clusters == most.tasks:
            over = f"No two tasks share one of the {self.clusters}."
        else:
            over = (
                f"There are {most.tasks} tasks of {most.clusters} {self.clusters}, which weigh like "
                f"{most.effective_clusters:.0f} of equal size."
            )
        if most is not None and 0 < most.effective_clusters < _FEW_CLUSTERS:
            over += f" From so few {self.clusters} intervals are too narrow."
        return (
            f"Brackets are 95 % intervals over {self.clusters}: Wilson's for success, bootstrap for means. {over} "
            "Claims rest on the paired differences, not on whether two intervals overlap. An interval that is a point "
            f"says that all {self.clusters} agreed, not that nothing else can happen. p is the exact sign test of "
            f"{self.clusters} won against {self.clusters} lost: it asks how often, not by how much, so it may disagree "
            "with the interval of the mean. Nothing is corrected for the number of comparisons."
        )

    def save(self, folder: Path) -> None:
        """Write `report.md` and `report.json`, each atomically."""
        write_atomic(folder / "report.md", self.to_markdown())
        write_atomic(folder / "report.json", self.to_json())


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _sentence(setting: Mapping[str, Any]) -> str:
    return "; ".join(f"{name.replace('_', ' ')}: {_cell(value)}" for name, value in setting.items()) + "."


def _row_table(rows: Sequence[Row]) -> list[str]:
    head = ("agent", "score", "success", "return", "turns", "env steps", "tokens", "s/episode", "episodes", "errors")
    lines = [_line((*head, "wrappers", "memory")), _line(["---"] * 12)]
    for row in rows:
        lines.append(
            _line(
                (
                    row.agent,
                    _interval(row.score),
                    _interval(row.success),
                    _interval(row.total_reward),
                    _number(row.turns, 1),
                    _number(row.env_steps, 1),
                    _number(row.sampled_tokens, 0),
                    _seconds(row.seconds),
                    row.episodes,
                    row.errors,
                    ", ".join(row.wrappers) or "none",
                    row.memory,
                )
            )
        )
    spreads = [row for row in rows if row.seed_scores is not None]
    if spreads:
        lines += ["", _line(("agent", "score by seed: mean", "deviation", "lowest", "highest")), _line(["---"] * 5)]
        for row in spreads:
            assert row.seed_scores is not None
            one = row.seed_scores
            lines.append(_line((row.agent, *(_number(x, 3) for x in (one.mean, one.deviation, one.low, one.high)))))
    return lines


def _correction_tables(rows: Sequence[Row]) -> list[str]:
    """How answers changed from the first attempt to the last; nothing where no agent made attempts."""
    tried = [(row.agent, row.correction) for row in rows if row.correction is not None]
    if not tried:
        return []
    most = max(len(one.accuracy) for _, one in tried)
    head = ("agent", *(f"t{at}" for at in range(1, most + 1)))
    changes = ("agent", "delta", "wrong to right", "right to wrong", "copied", "edit distance")
    lines = ["", "## Attempts", "", _line(head), _line(["---"] * len(head))]
    for agent, one in tried:
        missing = [None] * (most - len(one.accuracy))
        lines.append(_line((agent, *map(_interval, (*one.accuracy, *missing)))))
    lines += ["", _line(changes), _line(["---"] * len(changes))]
    for agent, one in tried:
        figures = map(_interval, (one.wrong_to_right, one.right_to_wrong, one.copied, one.edit_distance))
        lines.append(_line((agent, _interval(one.delta, signed=True), *figures)))
    return lines


def _pair_table(comparisons: Sequence[Comparison], clusters: str) -> list[str]:
    won = f"{clusters} won / lost / tied"
    lines = [
        _line(("agent", "score difference", won, "p", "success difference", "p (success)", "tasks")),
        _line(["---"] * 7),
    ]
    for one in comparisons:
        score, success = one.score, one.success
        lines.append(
            _line(
                (
                    one.agent,
                    _interval(score.difference, signed=True),
                    f"{score.wins} / {score.losses} / {score.ties}",
                    _p_value(score.p_value),
                    _interval(success.difference, signed=True),
                    _p_value(success.p_value),
                    score.tasks,
                )
            )
        )
    return lines


def _line(cells: Sequence[object]) -> str:
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _cell(value: object) -> str:
    """Text that can't break out of its table cell."""
    return str(value).replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")


def _interval(found: Interval | None, *, signed: bool = False) -> str:
    if found is None:
        return "–"
    style = "+.3f" if signed else ".3f"
    return f"{found.estimate:{style}} [{found.low:{style}}, {found.high:{style}}]"


def _number(value: float, digits: int) -> str:
    return "–" if math.isnan(value) else f"{value:.{digits}f}"


def _seconds(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3g}"


def _p_value(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
