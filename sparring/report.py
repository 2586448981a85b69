"""What a benchmark found: rows of agents, paired comparisons, as Markdown and JSON."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sparring.correction import Attempts, Correction, measure
from sparring.errors import InvalidConfig, InvalidData
from sparring.runs import write_atomic
from sparring.statistics import (
    Interval,
    PairedDifference,
    Spread,
    effective_clusters,
    mean_interval,
    paired_difference,
    rate_interval,
    spread,
)
from sparring.types import Stop, Trajectory

_FEW_CLUSTERS = 20  # fewer, and a bootstrap over them covers too seldom


@dataclass(frozen=True, slots=True)
class EpisodeRecord:
    """One episode in figures.

    Attributes:
        turns: of the episode. env_steps: those and the steps of a search before it.
        seconds: wall-clock time since the episode before it ended.
        cluster: what the task shares with others, as the environment named it; empty where it named nothing.
        attempts: where the turns were attempts at one answer, which were right and how they changed.
    """

    task: str
    seed: int
    score: float
    success: bool
    total_reward: float
    turns: int
    sampled_tokens: int
    prompt_tokens: int
    seconds: float
    stop: str
    error: str | None = None
    cluster: str = ""
    env_steps: int = 0
    attempts: Attempts | None = None

    @classmethod
    def of(cls, trajectory: Trajectory, task: str, seed: int, seconds: float) -> EpisodeRecord:
        """Summarise a trajectory. `seed` is the benchmark's, from which the episode's own was derived."""
        return cls(
            task=task,
            seed=seed,
            score=trajectory.score,
            success=trajectory.success,
            total_reward=trajectory.total_reward,
            turns=len(trajectory.turns),
            sampled_tokens=int(
                # An agent that searches samples far more than what it says in the end.
                trajectory.info.get("search_tokens", sum(turn.action.sampled_tokens for turn in trajectory.turns))
            ),
            prompt_tokens=sum(turn.action.prompt_tokens for turn in trajectory.turns),
            seconds=seconds,
            stop=str(trajectory.stop),
            error=trajectory.error,
            cluster=trajectory.cluster,
            env_steps=len(trajectory.turns) + int(trajectory.info.get("search_env_steps", 0)),
            attempts=Attempts.of(trajectory),
        )

    @property
    def failed(self) -> bool:
        """Whether the environment failed, so that the episode says nothing about the agent."""
        return self.stop == Stop.ENV_ERROR


@dataclass(frozen=True, slots=True)
class Row:
    """One agent's figures; means are over the episodes in which the environment did not fail.

    Attributes:
        tasks, clusters: how many were played; tasks that share nothing are a cluster each.
        effective_clusters: how many clusters of equal size would weigh as evenly.
        score, total_reward: means, with bootstrap intervals over clusters. success: rate, with Wilson's interval,
            whose trials are worth what the clusters leave of them.
        turns, prompt_tokens, seconds: means an episode. env_steps, sampled_tokens: those of a search included.
        errors: episodes that the environment failed in, left out of all means; `first_error` is one of them.
        stops: why the others ended, counted. seed_scores: spread of the mean score over the seeds.
        correction: how answers changed over attempts, where there were some.
    """

    agent: str
    wrappers: tuple[str, ...]
    memory: str
    source: str
    episodes: int
    tasks: int
    errors: int
    clusters: int = 0
    effective_clusters: float = 0.0
    score: Interval | None = None
    success: Interval | None = None
    total_reward: Interval | None = None
    turns: float = math.nan
    env_steps: float = math.nan
    sampled_tokens: float = math.nan
    prompt_tokens: float = math.nan
    seconds: float = math.nan
    stops: Mapping[str, int] = field(default_factory=dict)
    seed_scores: Spread | None = None
    first_error: str | None = None
    correction: Correction | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """An agent against the baseline, on the tasks that both played."""

    agent: str
    baseline: str
    score: PairedDifference
    success: PairedDifference


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


def summarise(
    records: Sequence[EpisodeRecord],
    *,
    agent: str,
    wrappers: tuple[str, ...] = (),
    memory: str = "full_history",
    source: str = "",
    clusters: Mapping[str, str] | None = None,
    rng: np.random.Generator,
) -> Row:
    """Boil an agent's episodes down to a row.

    Args:
        clusters: the cluster of each task, as `clusters_of` finds them in all agents' records; by default in these.
        rng: draws the bootstrap.
    """
    whole = [record for record in records if not record.failed]
    broken = [record.error or "unknown error" for record in records if record.failed]
    if not whole:
        error = broken[0] if broken else None
        return Row(agent, wrappers, memory, source, 0, 0, len(broken), first_error=error)
    tasks = [record.task for record in whole]
    cluster_of = clusters_of(records) if clusters is None else clusters
    drawn = [cluster_of[task] for task in tasks]
    seeds = sorted({record.seed for record in whole})
    tried = [(record.attempts, cluster_of[record.task]) for record in whole if record.attempts is not None]
    by_seed = [_mean([record.score for record in whole if record.seed == seed]) for seed in seeds]
    return Row(
        agent,
        wrappers,
        memory,
        source,
        episodes=len(whole),
        tasks=len(set(tasks)),
        errors=len(broken),
        clusters=len(set(drawn)),
        effective_clusters=effective_clusters(drawn),
        score=mean_interval([record.score for record in whole], drawn, rng=rng),
        success=rate_interval([float(record.success) for record in whole], drawn),
        total_reward=mean_interval([record.total_reward for record in whole], drawn, rng=rng),
        turns=_mean([record.turns for record in whole]),
        env_steps=_mean([max(record.env_steps, record.turns) for record in whole]),
        sampled_tokens=_mean([record.sampled_tokens for record in whole]),
        prompt_tokens=_mean([record.prompt_tokens for record in whole]),
        seconds=_mean([record.seconds for record in whole]),
        stops=dict(sorted(Counter(record.stop for record in whole).items())),
        seed_scores=spread(by_seed) if len(seeds) > 1 else None,
        first_error=broken[0] if broken else None,
        correction=measure([one for one, _ in tried], [cluster for _, cluster in tried], rng=rng) if tried else None,
    )


def compare(
    records: Mapping[str, Sequence[EpisodeRecord]], baseline: str, *, rng: np.random.Generator
) -> tuple[Comparison, ...]:
    """Compare every agent with the baseline, in pairs over tasks; one without a common task is left out.

    Raises:
        InvalidConfig: no agent is called `baseline`. InvalidData: a task has two clusters.
    """
    if baseline not in records:
        raise InvalidConfig(f'no agent "{baseline}" to compare with. Agents: {", ".join(records)}')
    clusters = clusters_of(record for theirs in records.values() for record in theirs)
    found = []
    for agent, theirs in records.items():
        if agent == baseline:
            continue
        try:
            found.append(
                Comparison(
                    agent,
                    baseline,
                    score=paired_difference(_scores(theirs), _scores(records[baseline]), clusters=clusters, rng=rng),
                    success=paired_difference(
                        _successes(theirs), _successes(records[baseline]), clusters=clusters, rng=rng
                    ),
                )
            )
        except InvalidData:
            continue  # every common task was lost to environment errors, which the report counts
    return tuple(found)


def clusters_of(records: Iterable[EpisodeRecord]) -> dict[str, str]:
    """The cluster of every task: what any of its episodes names, the task itself where none does.

    So the episodes of an older benchmark, which name none, go by what a newer one says of the same tasks.

    Raises:
        InvalidData: two episodes of a task name different ones.
    """
    found: dict[str, str] = {}
    for record in records:
        known = found.setdefault(record.task, record.cluster)
        if record.cluster and known and known != record.cluster:
            raise InvalidData(
                f'episodes of the task "{record.task}" name two clusters, "{known}" and "{record.cluster}": '
                'info["cluster"] must be the same at every reset of a task'
            )
        found[record.task] = known or record.cluster
    return {task: cluster or task for task, cluster in found.items()}


def _scores(records: Sequence[EpisodeRecord]) -> dict[str, list[float]]:
    return _grouped([(record.task, record.score) for record in records if not record.failed])


def _successes(records: Sequence[EpisodeRecord]) -> dict[str, list[float]]:
    return _grouped([(record.task, float(record.success)) for record in records if not record.failed])


def _grouped(pairs: Sequence[tuple[str, float]]) -> dict[str, list[float]]:
    groups: dict[str, list[float]] = {}
    for task, value in pairs:
        groups.setdefault(task, []).append(value)
    return groups


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


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
