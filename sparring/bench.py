"""Score agents on the same tasks, through the one collector, and go on where an interrupted benchmark stopped.

    sparring bench WebShop-v1 --agents random,oracle,runs/demo --split test

The output folder holds, beside the report, each agent's episodes as they ended (append-only JSON lines) and its
trajectories, of which a killed process may lose the last hundred. A benchmark that is given the same folder and
`--resume` plays only what is missing.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cattrs
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import sparring
from sparring import trajectories
from sparring.agents.load import Agent, variants
from sparring.envs.base import TextEnv
from sparring.envs.pool import EnvPool
from sparring.errors import InvalidConfig, InvalidData
from sparring.report import Report
from sparring.rollout import Setting, Start, rollout, rollout_async
from sparring.runs import write_atomic
from sparring.settings import EnvConfig
from sparring.summary import EpisodeRecord, clusters_of, compare, summarise
from sparring.types import Trajectory

_TRAJECTORIES_A_FILE = 100


@dataclass(frozen=True, slots=True)
class BenchConfig:
    """What is played, by every agent alike."""

    env: EnvConfig = field(default_factory=EnvConfig)
    """The environment. Its wrappers are left to the agents, which name their own."""
    split: str = "test"
    """The split whose tasks are played."""
    tasks: int | None = None
    """How many tasks of it, drawn once for all agents; by default all."""
    seeds: tuple[int, ...] = (0,)
    """Every task is played once under each of these."""
    concurrent_episodes: int = 16
    """Environments played side by side."""
    step_timeout_s: float | None = None
    """Give up on an environment that takes longer over one step; by default wait."""
    save_trajectories: bool = True
    """Keep whole trajectories beside the figures."""

    def __post_init__(self) -> None:
        if self.env.wrappers:
            raise InvalidConfig("in a benchmark each agent names its own wrappers: leave env.wrappers empty")
        if self.tasks is not None and self.tasks < 1:
            raise InvalidConfig(f"tasks must be at least 1, got {self.tasks}")
        if not self.seeds or len(set(self.seeds)) != len(self.seeds) or min(self.seeds) < 0:
            raise InvalidConfig(f"seeds must be different numbers from 0 on, at least one, got {self.seeds}")
        if self.concurrent_episodes < 1:
            raise InvalidConfig(f"concurrent_episodes must be at least 1, got {self.concurrent_episodes}")


def bench(
    agents: Sequence[Agent],
    config: BenchConfig,
    out: Path,
    *,
    tasks: Sequence[str] | None = None,
    baseline: str | None = None,
    resume: bool = False,
    show_progress: bool = False,
) -> Report:
    """Play the tasks with every agent, and write `report.md` and `report.json` into `out`.

    An agent that has a greedy policy too is played twice, sampled and greedy.

    Args:
        tasks: the ids to play, all of the split; by default `choose_tasks` picks them.
        baseline: name of the agent that the others are compared with; by default the first.
        resume: keep the episodes that `out` already holds; without it a folder with episodes is refused.
        show_progress: draw a progress bar on standard error.
    Raises:
        InvalidConfig: two agents of one name, no such baseline, or episodes in `out` that were not asked for or
            were played otherwise.
        UnknownName: no such environment, split or wrapper.
        Whatever a policy raises; the episodes that ended before are kept.
    """
    players = [variant for agent in agents for variant in variants(agent)]
    names = [player.name for player in players]
    if not players or len(set(names)) != len(names):
        raise InvalidConfig(f"a benchmark needs agents of different names, got {names}")
    reference = baseline or names[0]
    if reference not in names:
        raise InvalidConfig(f'no agent "{reference}" to compare with. Agents: {", ".join(names)}')
    chosen = choose_tasks(config) if tasks is None else list(tasks)
    stores = {player.name: _Store(out, player, config, resume=resume) for player in players}
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) if show_progress else nullcontext() as progress:
        for player in players:
            _play(player, config, chosen, stores[player.name], progress)
    records = {name: _asked_for(store.records, chosen, config.seeds) for name, store in stores.items()}
    clusters = clusters_of(record for played in records.values() for record in played)
    number, shared = len({clusters[task] for task in chosen}), _clusters_name(config)
    rng = np.random.default_rng(0)
    report = Report(
        title=f"{config.env.full_id}, {config.split}",
        setting={
            "tasks": len(chosen),
            **({shared: number} if number < len(chosen) else {}),
            "seeds": list(config.seeds),
            "options": dict(config.env.options) or "none",
            "max_turns": config.env.max_turns or "the environment's own",
            "concurrent_episodes": config.concurrent_episodes,
            "sparring": sparring.__version__,
        },
        rows=tuple(
            summarise(
                records[player.name],
                agent=player.name,
                wrappers=player.wrappers,
                memory=player.memory,
                source=player.source,
                clusters=clusters,
                rng=rng,
            )
            for player in players
        ),
        comparisons=compare(records, reference, rng=rng) if len(players) > 1 else (),
        clusters=shared if any(cluster != task for task, cluster in clusters.items()) else "tasks",
    )
    report.save(out)
    return report


def choose_tasks(config: BenchConfig) -> list[str]:
    """The tasks to play, in the split's order: all of them, or a draw that is the same at every call.

    Raises:
        InvalidConfig: the environment has no tasks, or fewer than asked for.
    """
    env = config.env.make()
    try:
        core = env.unwrapped
        if not isinstance(core, TextEnv):
            raise InvalidConfig(f"{config.env.full_id} is no sparring TextEnv, so it names no tasks to play")
        ids = list(core.task_ids(config.split))
    finally:
        env.close()
    wanted = len(ids) if config.tasks is None else config.tasks
    if not ids:
        raise InvalidConfig(
            f'the split "{config.split}" of {config.env.full_id} has no tasks; name another with --split'
        )
    if not 0 < wanted <= len(ids):
        raise InvalidConfig(f'the split "{config.split}" has {len(ids)} tasks, {wanted} were asked for')
    chosen = np.random.default_rng(0).permutation(len(ids))[:wanted]
    return [ids[index] for index in sorted(chosen)]


def _clusters_name(config: BenchConfig) -> str:
    """What the environment calls the things that its tasks share."""
    env = config.env.make()
    try:
        return env.unwrapped.clusters if isinstance(env.unwrapped, TextEnv) else TextEnv.clusters
    finally:
        env.close()


def episodes(out: Path) -> dict[str, list[EpisodeRecord]]:
    """The episodes that a benchmark's folder holds, by agent.

    Raises:
        InvalidData: there are none, or a line is no episode.
    """
    folders = sorted(path.parent for path in (out / "agents").glob("*/episodes.jsonl"))
    if not folders:
        raise InvalidData(f"{out} holds no episodes: expected agents/*/episodes.jsonl, as `sparring bench` writes them")
    return {json.loads((one / "agent.json").read_text())["agent"]: _read(one / "episodes.jsonl") for one in folders}


def _start(task: str, seed: int, split: str) -> Start:
    """Every task has entropy of its own: were it the seed alone, luck would be shared between tasks."""
    entropy = int.from_bytes(hashlib.sha256(f"{seed}:{task}".encode()).digest()[:6], "big")
    return Start(entropy, task, split, entropy)


def _play(agent: Agent, config: BenchConfig, tasks: Sequence[str], store: _Store, progress: Progress | None) -> None:
    """Play what the store does not hold yet, and put each episode into it as it ends."""
    held = {(record.task, record.seed) for record in store.records}
    missing = [(task, seed) for seed in config.seeds for task in tasks if (task, seed) not in held]
    if not missing:
        return
    starts = [_start(task, seed, config.split) for task, seed in missing]
    played = {start.seed: one for start, one in zip(starts, missing, strict=True)}
    total = len(tasks) * len(config.seeds)
    bar = progress.add_task(agent.name, total=total, completed=total - len(missing)) if progress else None

    def finished(trajectory: Trajectory) -> None:
        store.add(trajectory, *played[trajectory.seed])
        if progress is not None and bar is not None:
            progress.advance(bar)

    env = EnvConfig(config.env.id, config.env.options, agent.wrappers, config.env.max_turns)
    setting = Setting(
        config.env.full_id, agent.wrappers, agent.memory, agent.system, step_timeout_s=config.step_timeout_s
    )
    with EnvPool(env.maker(), min(config.concurrent_episodes, len(starts))) as pool, store:
        play = agent.play or (rollout_async if getattr(agent.policy, "concurrent", False) else rollout)
        play(agent.policy, pool, starts, setting, on_finish=finished)
    # A language model's caches may take gigabytes, and the agents still to come have their own.
    release = getattr(agent.policy, "release", None)
    if release is not None:
        release()


def _asked_for(records: Sequence[EpisodeRecord], tasks: Sequence[str], seeds: Sequence[int]) -> list[EpisodeRecord]:
    """The records of this benchmark's tasks and seeds, in their order; a folder may hold more."""
    found = {(record.task, record.seed): record for record in records}
    return [found[task, seed] for seed in seeds for task in tasks]


def _read(path: Path) -> list[EpisodeRecord]:
    """All whole lines; the last may be cut short, by a crash or because it is being written."""
    whole = path.read_text().rpartition("\n")[0]
    records = []
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            records.append(cattrs.structure(json.loads(line), EpisodeRecord))
        except (ValueError, cattrs.BaseValidationError) as error:
            raise InvalidData(f"{path}, line {number} is no episode: {error}") from error
    return records


class _Store:
    """One agent's folder: `agent.json`, `episodes.jsonl`, `trajectories/`. Used as a context while playing."""

    def __init__(self, out: Path, agent: Agent, config: BenchConfig, *, resume: bool) -> None:
        self.folder = out / "agents" / _folder_name(agent.name)
        self._path = self.folder / "episodes.jsonl"
        self._save_trajectories = config.save_trajectories
        self._unsaved: list[Trajectory] = []
        self._last = 0.0
        played = {
            "agent": agent.name,
            "wrappers": list(agent.wrappers),
            "memory": agent.memory,
            "system": agent.system,
            "source": agent.source,
            "env": config.env.full_id,
            "options": dict(config.env.options),
            "max_turns": config.env.max_turns,
            "split": config.split,
        }
        self.records: list[EpisodeRecord] = []
        if self._path.exists():
            if not resume:
                raise InvalidConfig(
                    f"{out} already holds episodes of {agent.name}. Go on with --resume, or name another folder "
                    "with --out"
                )
            self._require_same(played)
            self._mend()
            self.records = _read(self._path)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomic(self.folder / "agent.json", json.dumps(played, indent=2, ensure_ascii=False) + "\n")

    def _require_same(self, played: Mapping[str, Any]) -> None:
        before = json.loads((self.folder / "agent.json").read_text())
        for name, value in played.items():
            if before.get(name) != value:
                raise InvalidConfig(
                    f"{self.folder} holds episodes of another {name}: {before.get(name)!r}, now {value!r}. "
                    "Name another folder with --out"
                )

    def _mend(self) -> None:
        """Remove a line that a crash cut short, so that the next begins on its own line."""
        whole, newline, cut = self._path.read_text().rpartition("\n")
        if cut:
            write_atomic(self._path, whole + newline)

    def add(self, trajectory: Trajectory, task: str, seed: int) -> None:
        """Append an episode; it is on disk when this returns."""
        now = time.perf_counter()
        record = EpisodeRecord.of(trajectory, task, seed, now - self._last)
        self._last = now
        self.records.append(record)
        with self._path.open("a") as file:
            file.write(json.dumps(asdict(record), ensure_ascii=False) + "\n")
        if self._save_trajectories:
            self._unsaved.append(trajectory)
            if len(self._unsaved) >= _TRAJECTORIES_A_FILE:
                self._flush()

    def _flush(self) -> None:
        if not self._unsaved:
            return
        folder = self.folder / "trajectories"
        number = len(list(folder.glob("*.jsonl.zst"))) + 1
        trajectories.write(folder / f"{number:05d}.jsonl.zst", self._unsaved)
        self._unsaved = []

    def __enter__(self) -> _Store:
        self._last = time.perf_counter()
        return self

    def __exit__(self, *error: object) -> None:
        self._flush()


def _folder_name(agent: str) -> str:
    """A name for a folder that holds nothing but letters, digits and dashes, and differs where names differ."""
    readable = re.sub(r"[^a-zA-Z0-9]+", "-", agent).strip("-")[:60]
    return f"{readable}-{hashlib.sha256(agent.encode()).hexdigest()[:6]}"
