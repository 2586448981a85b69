"""The figures of a benchmark: episodes, an agent's row of means and intervals, and paired comparisons."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from sparring.correction import Attempts, Correction, measure
from sparring.errors import InvalidConfig, InvalidData
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
