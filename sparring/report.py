"""What a benchmark found: Markdown to publish, JSON, and tables that fit a terminal."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from sparring.play import printable
from sparring.runs import write_atomic
from sparring.statistics import Interval
from sparring.summary import Comparison, Row

_FEW_CLUSTERS = 20  # fewer, and a bootstrap over them covers too seldom
_WIDE = 110  # columns of a terminal that the less important figures fit into as well


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

    def show(self, console: Console | None = None, *, compared: bool = True) -> None:
        """Print the figures: in a terminal as tables that fit it, else, such as into a file or a pipe, as Markdown.

        Args:
            console: where to; standard output by default.
            compared: whether to show the paired comparisons and how to read them, too.
        """
        console = console or Console()
        if not console.is_terminal:
            text = self.to_markdown()
            console.file.write(text if compared else text.split("\n## ")[0] + "\n")
            return
        console.print(f"\n[bold]{_shown(self.title)}[/bold]")
        console.print(_shown(_sentence(self.setting)), style="dim", highlight=False)
        console.print()
        console.print(_terminal_rows(self.rows, wide=console.width >= _WIDE))
        for row in self.rows:
            if row.errors:
                found = f"{row.agent}: the environment failed in {row.errors} episodes, such as by {row.first_error}"
                console.print(f"\n[red]{_shown(found)}[/red]", highlight=False)
        if not compared:
            return
        for columns in _attempts(self.rows):
            names = list(columns)[1:]
            fit = max(1, (console.width - 20) // 25)  # a name folds, an interval of 23 characters doesn't
            for first in range(0, len(names), fit):
                console.print()
                console.print(_terminal_table({name: columns[name] for name in ("agent", *names[first : first + fit])}))
        if self.comparisons:
            console.print(f"\n[bold]Against {_shown(self.comparisons[0].baseline)}, task by task[/bold]\n")
            console.print(_terminal_pairs(self.comparisons, self.clusters, wide=console.width >= _WIDE))
        console.print(f"\nBrackets are 95 % intervals over {self.clusters}. {self._over()}", highlight=False)

    def _over(self) -> str:
        """What the intervals are over, and whether that is enough."""
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
        return over

    def _reading(self) -> str:
        """How to read the tables, and what their intervals hold for."""
        return (
            f"Brackets are 95 % intervals over {self.clusters}: Wilson's for success, bootstrap for means. "
            f"{self._over()} Claims rest on the paired differences, not on whether two intervals overlap. An interval "
            f"that is a point says that all {self.clusters} agreed, not that nothing else can happen. p is the exact "
            f"sign test of {self.clusters} won against {self.clusters} lost: it asks how often, not by how much, so it "
            "may disagree with the interval of the mean. Nothing is corrected for the number of comparisons."
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
    lines = ["", "## Attempts"] if any(row.correction is not None for row in rows) else []
    for columns in _attempts(rows):
        cells = zip(*columns.values(), strict=True)
        lines += ["", _line(list(columns)), _line(["---"] * len(columns)), *map(_line, cells)]
    return lines


def _attempts(rows: Sequence[Row]) -> list[dict[str, list[str]]]:
    """How answers changed from the first attempt to the last, as columns; nothing where no agent made attempts."""
    tried = [(row.agent, row.correction) for row in rows if row.correction is not None]
    if not tried:
        return []
    most = max(len(one.accuracy) for _, one in tried)
    agents = [agent for agent, _ in tried]
    accuracy = {
        f"t{at + 1}": [_interval(one.accuracy[at] if at < len(one.accuracy) else None) for _, one in tried]
        for at in range(most)
    }
    changes = {
        "delta": [_interval(one.delta, signed=True) for _, one in tried],
        "wrong to right": [_interval(one.wrong_to_right) for _, one in tried],
        "right to wrong": [_interval(one.right_to_wrong) for _, one in tried],
        "copied": [_interval(one.copied) for _, one in tried],
        "edit distance": [_interval(one.edit_distance) for _, one in tried],
    }
    return [{"agent": agents, **accuracy}, {"agent": agents, **changes}]


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


def _shown(text: str) -> str:
    """As it is, for a terminal, which obeys no character of it, and for rich, which finds no markup in it."""
    return escape(printable(text))


def _terminal_table(columns: Mapping[str, Sequence[str]]) -> Table:
    """Columns with their cells; the names of the first fold where there is no room, figures never."""
    first, *others = columns
    head = (Column(first, overflow="fold"), *(Column(name, justify="right", no_wrap=True) for name in others))
    table = Table(*head, box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for cells in zip(*columns.values(), strict=True):
        table.add_row(*map(_shown, cells))
    return table


def _terminal_rows(rows: Sequence[Row], *, wide: bool) -> Table:
    """What tells agents apart; the Markdown has it all."""
    columns = {
        "agent": [row.agent for row in rows],
        "score": [_interval(row.score) for row in rows],
        "success": [_interval(row.success) for row in rows],
        "turns": [_number(row.turns, 1) for row in rows],
    }
    if any(row.env_steps > row.turns for row in rows):  # a search looks at more than it plays
        columns["env steps"] = [_number(row.env_steps, 0) for row in rows]
    if wide:
        columns["return"] = [_interval(row.total_reward) for row in rows]
        columns["tokens"] = [_number(row.sampled_tokens, 0) for row in rows]
        columns["s/episode"] = [_seconds(row.seconds) for row in rows]
    return _terminal_table(columns)


def _terminal_pairs(comparisons: Sequence[Comparison], clusters: str, *, wide: bool) -> Table:
    columns = {
        "agent": [one.agent for one in comparisons],
        "score difference": [_interval(one.score.difference, signed=True) for one in comparisons],
        "success difference": [_interval(one.success.difference, signed=True) for one in comparisons],
    }
    if wide:
        columns[f"{clusters} won / lost / tied"] = [
            f"{one.score.wins} / {one.score.losses} / {one.score.ties}" for one in comparisons
        ]
        columns["p"] = [_p_value(one.score.p_value) for one in comparisons]
    return _terminal_table(columns)


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
