"""What the commands `sparring search` and `sparring trees` do: search tasks, and look at trees."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from sparring import trajectories
from sparring.agents.load import load_agent
from sparring.envs.pool import EnvPool
from sparring.episode import Setting, Start
from sparring.errors import InvalidConfig, InvalidData
from sparring.runs import write_atomic
from sparring.search import files
from sparring.search.agent import SearchSpec
from sparring.search.play import play
from sparring.search.rules import Rules
from sparring.search.show import render
from sparring.search.tree import Tree
from sparring.settings import EnvConfig
from sparring.types import Trajectory


@dataclass(frozen=True, slots=True)
class Searched:
    """What came of searching some tasks.

    Attributes:
        rules: by which. trees: as they were done; several an episode where the method commits to single actions.
        episodes: what was played for real then, by their starts.
    """

    rules: Rules
    trees: tuple[Tree, ...]
    episodes: tuple[Trajectory, ...]


def search_tasks(
    env: EnvConfig,
    agent: str,
    method: str,
    *,
    split: str | None = None,
    task: str | None = None,
    episodes: int = 1,
    seed: int = 0,
    memory: str = "full_history",
    system: str | None = None,
    environments: int = 16,
) -> Searched:
    """Play episodes, each with a search.

    Args:
        env: its wrappers are for agents that bring none of their own.
        agent, method: as in `search:METHOD:AGENT`. seed: of the first episode; the others count on from it.
        environments: how many to search in at once.
    Raises:
        UnknownName: no such agent, method, split or task. EnvNotSearchable: the environment can't be forked.
    """
    if episodes < 1 or environments < 1:
        raise InvalidConfig(f"episodes and environments must be at least 1, got {episodes} and {environments}")
    spec = SearchSpec.parse(f"search:{method}:{agent}")
    found = load_agent(spec.agent, wrappers=env.wrappers, memory=memory, system=system)
    searcher = spec.searcher(found.policy)
    setting = Setting(env.full_id, found.wrappers, found.memory, found.system)
    starts = [Start(seed + index, task, split, seed + index) for index in range(episodes)]
    trees: list[Tree] = []
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with EnvPool(replace(env, wrappers=found.wrappers).maker(), environments) as pool, Progress(*columns) as progress:
        bar = progress.add_task("episodes", total=episodes)
        played = play(
            searcher,
            found.policy,
            pool,
            starts,
            setting,
            on_finish=lambda _: progress.advance(bar),
            on_tree=trees.append,
        )
    return Searched(searcher.rules, tuple(trees), tuple(played))


def write(searched: Searched, out: Path) -> None:
    """Write trees (each as text too) and episodes into a folder, as they lie in a run's."""
    files.write(out / "trees" / "searched.jsonl.zst", searched.trees)
    trajectories.write(out / "trajectories" / "searched.jsonl.zst", searched.episodes)
    for number, tree in enumerate(searched.trees):
        write_atomic(out / "trees" / f"tree-{number}.txt", render(tree, searched.rules))


def show_episodes(searched: Searched, *, width: int, colours: bool, max_depth: int | None = None) -> Iterator[str]:
    """The trees as text, then a line for every episode."""
    for tree in searched.trees:
        yield render(tree, searched.rules, max_depth=max_depth, width=width, colours=colours)
    for one in searched.episodes:
        cost = {name.removeprefix("search_"): one.info[name] for name in one.info if name.startswith("search_")}
        spent = ", ".join(f"{value} {name.replace('_', ' ')}" for name, value in cost.items())
        yield f"task {one.task_id}: score {one.score:.3f} in {len(one.turns)} turns ({spent})"


def show_file(path: Path, *, number: int | None, json: bool, max_depth: int | None, width: int) -> Iterator[str]:
    """The trees of a file, a folder or a run as text, or as JSON.

    Args:
        path: a file of trees, or a folder of them, or one that has such a folder `trees`.
        number: of the one to show, from 0; None for all.
    Raises:
        InvalidData: nothing is there, a line is no tree, or there is none of that number.
    """
    trees = files.read(path / "trees" if (path / "trees").is_dir() else path)
    chosen = list(trees) if number is None else list(islice(trees, number, number + 1))
    if not chosen:
        raise InvalidData(f"{path} holds no tree{'' if number is None else f' number {number}, counted from 0'}")
    for tree in chosen:
        yield files.to_json(tree) if json else render(tree, max_depth=max_depth, width=width)
