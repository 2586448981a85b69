"""MiniGrid and BabyAI levels as text environments (`sparring/MiniGrid-v1`, `sparring/BabyAI-v1`).

Chevalier-Boisvert et al., "Minigrid & Miniworld", NeurIPS 2023, and "BabyAI", ICLR 2019. The rules, missions, limits
of steps and rewards are the package's. The agent's view is put into words, and layouts are divided into splits.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from sparring.envs.base import Info, TextEnv
from sparring.envs.text.babyai.expert import ACTIONS, PASSED, Expert, expert_for
from sparring.envs.text.babyai.levels import Level, layout_text, load, make_level, save
from sparring.envs.text.babyai.view import full_map, in_words, window_map
from sparring.envs.text.seeded_tasks import SPLITS, SeededSplits, SeededTasks, draw_world, seed_of
from sparring.errors import InvalidConfig
from sparring.types import ActionSet, Snapshot, SnapshotKind

View = Literal["words", "window", "full"]
Admissible = Literal["all", "effective"]
Disjoint = Literal["layouts", "seeds"]

_VIEWS: dict[str, Callable[[Level], str]] = {"words": in_words, "window": window_map, "full": full_map}
# By level and task the seed of a layout in the task's split, which takes ten draws in dev and test to find.
_LAYOUT_SEEDS: dict[tuple[str, str], int] = {}


class MiniGrid(TextEnv):
    """A level of MiniGrid or BabyAI in text.

    The observation is what MiniGrid's agent sees, at most ten lines such as `a locked yellow door 2 ahead and 1 left`;
    the instruction is the level's mission. The reward comes with success, 1 − 0.9 · steps / limit, and is the score;
    the level's own limit of steps truncates. An action that is none of the seven passes the turn.

    Args:
        level: id of a level, such as "MiniGrid-DoorKey-5x5-v0" or "BabyAI-GoToLocal-v0".
        view: "words"; "window", the same 7×7 cells as a map; "full", a map of the whole grid, nothing hidden.
        admissible: what `info["actions"]` lists: "all" actions of the level, or only those that now have an "effect".
        disjoint: "layouts": no layout is in two splits (a level with too few layouts refuses); "seeds": seeds differ,
            but in small levels equal layouts do turn up in several splits.
        max_steps: the limit of steps; None for the level's own.
        train_tasks, dev_tasks, test_tasks: how many layouts each split has.
    Raises:
        MissingExtra: the package minigrid is not installed.
        UnknownName: no such level.
    """

    splits: ClassVar[tuple[str, ...]] = SPLITS
    snapshot_kind: ClassVar[SnapshotKind | None] = SnapshotKind.COPY

    def __init__(
        self,
        level: str = "MiniGrid-DoorKey-5x5-v0",
        view: View = "words",
        admissible: Admissible = "all",
        disjoint: Disjoint = "layouts",
        max_steps: int | None = None,
        *,
        train_tasks: int = 1_000,
        dev_tasks: int = 100,
        test_tasks: int = 100,
    ) -> None:
        _require("view", view, get_args(View))
        _require("admissible", admissible, get_args(Admissible))
        _require("disjoint", disjoint, get_args(Disjoint))
        if max_steps is not None and max_steps < 1:
            raise InvalidConfig(f"max_steps must be at least 1, got {max_steps}")
        self.level_name = level
        self.level = make_level(level, max_steps)
        self.level.reset(seed=0)
        self._tasks = SeededSplits(train_tasks, dev_tasks, test_tasks)
        self._see = _VIEWS[view]
        self._only_effective = admissible == "effective"
        self._disjoint, self._max_steps = disjoint, max_steps
        self._names = ACTIONS[: int(self.level.action_space.n)]
        self._task, self._seed = "", 0
        self._played: list[int] = []
        self._score: float | None = None
        self._expert: Expert | None = None

    def task_ids(self, split: str) -> SeededTasks:
        """The ids of a split's layouts.

        Raises:
            UnknownName: no such split.
        """
        return self._tasks.tasks(split)

    def observe(self) -> tuple[str, Info]:
        """What the agent sees, and what it can do."""
        info: Info = {"actions": self._actions()}
        if self._score is not None:
            info |= {"score": self._score, "success": self._score > 0}
        return self._see(self.level), info

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        super().reset(seed=seed)
        self._task = self.choose_task(options)
        self._seed = self._lay_out(self._task)
        self._played, self._score, self._expert = [], None, None
        text, info = self.observe()
        return text, info | {"task": self._task, "instruction": str(self.level.mission)}

    def _lay_out(self, task: str) -> int:
        """Reset the level to the layout of a task, and return the seed that makes it."""
        if self._disjoint == "seeds":
            self.level.reset(seed=seed_of(task))
            return seed_of(task)

        def draw(rng: np.random.Generator) -> int:
            seed = int(rng.integers(1 << 31))
            self.level.reset(seed=seed)
            return seed

        known = _LAYOUT_SEEDS.get((self.level_name, task))
        if known is not None:
            self.level.reset(seed=known)
            return known
        try:
            seed = draw_world(task, draw, lambda _: layout_text(self.level))
        except InvalidConfig as error:
            raise InvalidConfig(f'{self.level_name}: {error}; or make it with disjoint="seeds"') from error
        _LAYOUT_SEEDS[self.level_name, task] = seed
        return seed

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        if self._score is not None:
            text, info = self.observe()
            return text, 0.0, True, False, info | {"no_op": "the episode is over"}
        reward, terminated, extra = 0.0, False, {}
        if action in self._names and not (self._only_effective and action not in self._actions().choices):
            number = ACTIONS.index(action)
            self._played.append(number)
            _, given, ended, truncated, _ = self.level.step(number)
            reward, terminated, truncated = float(given), bool(ended), bool(truncated)
        else:
            self._played.append(PASSED)
            self.level.step_count += 1
            truncated = self.level.step_count >= self.level.max_steps
            extra = {"no_op": f"{action[:20]!r} is not among: {', '.join(self._actions().choices)}"}
        if terminated or truncated:
            self._score = max(0.0, reward)  # Dynamic-Obstacles gives -1 for a collision
        text, info = self.observe()
        return text, reward, terminated, truncated and not terminated, info | extra

    def expert_action(self) -> str:
        """The next action of BabyAI's bot, or of a shortest plan in levels without BabyAI's instructions.

        Raises:
            UnknownName: neither knows a way in this level.
        """
        if self._expert is None:
            self._expert = expert_for(self.level_name, self.level, self._seed, self._max_steps)
        return self._expert.advise(self.level, self._played)

    def _actions(self) -> ActionSet:
        return _action_set(_effective(self.level, self._names) if self._only_effective else self._names)

    def snapshot(self) -> Snapshot:
        """Save the level, its random generator and ours; cells that never change are shared."""
        ours = self._np_random.bit_generator.state if self._np_random is not None else None
        state = (self.level_name, save(self.level), self._task, self._seed, tuple(self._played), self._score, ours)
        return Snapshot(type(self).__name__, SnapshotKind.COPY, state)

    def restore(self, snapshot: Snapshot) -> tuple[str, Info]:
        """Go back to a saved moment of this environment, or of another one with the same level.

        Raises:
            InvalidConfig: the snapshot is of another kind of environment or another level.
        """
        state: Any = snapshot.state
        if snapshot.env_id != type(self).__name__:
            raise InvalidConfig(f"a snapshot of {snapshot.env_id} can't be restored in {type(self).__name__}")
        if state[0] != self.level_name:
            raise InvalidConfig(f"a snapshot of the level {state[0]} can't be restored in {self.level_name}")
        _, saved, self._task, seed, played, self._score, ours = state
        load(self.level, saved)
        self._played = list(played)
        if seed != self._seed:
            self._seed, self._expert = seed, None
        if ours is not None:
            self.np_random.bit_generator.state = ours
        return self.observe()


def _require(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InvalidConfig(f"{name} must be one of {', '.join(allowed)}, got {value!r}")


@cache
def _action_set(names: tuple[str, ...]) -> ActionSet:
    return ActionSet(names)


def _effective(level: Level, names: tuple[str, ...]) -> tuple[str, ...]:
    """The actions that now change something or end the episode."""
    front = level.grid.get(*level.front_pos)
    carried = level.carrying
    judged = hasattr(level, "target_pos") and not hasattr(level, "move_type")  # GoToDoor, GoToObject: by done, toggle
    works = {
        "turn left": True,
        "turn right": True,
        "move forward": front is None or front.can_overlap() or hasattr(level, "obstacles"),
        "pick up": front is not None and front.can_pickup() and carried is None,
        "drop": front is None and carried is not None,
        "toggle": judged or _can_toggle(front, carried),
        "done": judged,
    }
    return tuple(name for name in names if works[name])


def _can_toggle(front: Any, carried: Any) -> bool:
    if front is None or front.type not in ("door", "box"):
        return False
    locked = front.type == "door" and front.is_locked
    return not locked or (carried is not None and (carried.type, carried.color) == ("key", front.color))
