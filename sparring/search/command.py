"""What the commands `sparring search` and `sparring trees` do: search tasks, and look at trees."""

from __future__ import annotations

import json as jsons
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from sparring import trajectories
from sparring.envs.base import TextEnv
from sparring.envs.pool import EnvPool
from sparring.episode import Setting, Start
from sparring.errors import InvalidConfig, InvalidData
from sparring.play import printable
from sparring.runs import write_atomic
from sparring.search import files
from sparring.search.agent import SearchSpec, load_inner
from sparring.search.play import COSTS, play
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
        UnknownName: no such agent, method, split or task. InvalidConfig: an impossible setting.
        EnvNotSearchable: the environment can't be forked.
    """
    for name, given, low in (("episodes", episodes, 1), ("environments", environments, 1), ("seed", seed, 0)):
        if given < low:
            raise InvalidConfig(f"{name} must be at least {low}, got {given}")
    if ":" in method:
        raise InvalidConfig(f'"{method}" must be a method with its settings, such as mcts@simulations=50, and no agent')
    spec = SearchSpec.parse(f"search:{method}:{agent}")
    found = load_inner(spec, wrappers=env.wrappers, memory=memory, system=system)
    searcher = spec.searcher(found.policy)
    setting = Setting(env.full_id, found.wrappers, found.memory, found.system)
    starts = [Start(seed + index, task, split, seed + index) for index in range(episodes)]
    trees: list[Tree] = []
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with EnvPool(replace(env, wrappers=found.wrappers).maker(), environments) as pool, Progress(*columns) as progress:
        _check_task(pool, split, task)
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


def _check_task(pool: EnvPool, split: str | None, task: str | None) -> None:
    core = pool.envs[0].unwrapped
    if isinstance(core, TextEnv) and task is not None:
        core.choose_task({"task": task, "split": split})
    elif isinstance(core, TextEnv) and split is not None:
        core.task_ids(split)


def write(searched: Searched, out: Path) -> None:
    """Write trees (each as text too) and episodes into a folder, as they lie in a run's."""
    files.write(out / "trees" / "searched.jsonl.zst", searched.trees)
    trajectories.write(out / "trajectories" / "searched.jsonl.zst", searched.episodes)
    for number, tree in enumerate(searched.trees):
        write_atomic(out / "trees" / f"tree-{number}.txt", render(tree, searched.rules))


def show_episodes(searched: Searched, *, width: int, colours: bool, max_depth: int | None = None) -> Iterator[str]:
    """The trees as text, then a line for every episode and for what failed in it."""
    for tree in searched.trees:
        yield render(tree, searched.rules, max_depth=max_depth, width=width, colours=colours)
    for one in searched.episodes:
        spent = ", ".join(f"{one.info[f'search_{name}']} {name.replace('_', ' ')}" for name in COSTS)
        yield printable(f"task {one.task_id}: score {one.score:.3f} in {len(one.turns)} turns ({spent})")
        for what, error in (("its search", one.info.get("search_error")), ("it", one.error)):
            if error is not None:
                yield printable(f"  {what} failed: {error}")


def show_file(path: Path, *, number: int | None, json: bool, max_depth: int | None, width: int) -> Iterator[str]:
    """The trees of a file, a folder or a run as text, or as JSON.

    Args:
        path: a file of trees, or a folder of them, or one that has such a folder `trees`.
        number: of the one to show, from 0; None for all.
    Raises:
        InvalidData: nothing is there, a line is no tree, or there is none of that number.
        InvalidConfig: a number below 0, or a depth below 1.
    """
    if number is not None and number < 0:
        raise InvalidConfig(f"trees are counted from 0, got {number}")
    if max_depth is not None and max_depth < 1:
        raise InvalidConfig(f"depth must be at least 1, got {max_depth}")
    trees = files.read(path / "trees" if (path / "trees").is_dir() else path)
    is_empty = True
    for tree in trees if number is None else islice(trees, number, number + 1):
        is_empty = False
        yield _ascii(files.to_json(tree)) if json else render(tree, max_depth=max_depth, width=width)
    if is_empty:
        raise InvalidData(f"{path} holds no tree{'' if number is None else f' number {number}, counted from 0'}")


def _ascii(line: str) -> str:
    """The same JSON in characters that no terminal obeys."""
    return jsons.dumps(jsons.loads(line))
