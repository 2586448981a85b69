"""WebShop as a Gymnasium environment (`sparring/WebShop-v1`).

Yao et al., "WebShop: Towards Scalable Real-World Web Interaction with Grounded Language Agents", NeurIPS 2022.
What happens inside an episode is the original's, quirks included. Around it Gymnasium's rules hold:

- `reset` returns `(obs, info)`, and every reset is a new session; the original returns `(obs, None)` and lets a
  known session keep its first goal. `options={"goal": i}` takes goal i, as an int does there.
- Goals are drawn by weight from the environment's own generator; the original draws from Python's global one,
  one place off.
- `step` returns five values: a purchase sets `terminated`, the registered step limit sets `truncated`.
- Prices are fixed by `goal_seed` (the original's draws, seeded with it); there they differ from run to run.
- `search[<a> …]` and the like, on which the original raises, are no-ops that say so.
- After a purchase stepping goes on as in the original, but Gymnasium asks for a reset.

`simulator.Simulator` has the original's calls and session rules.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np

from sparring.envs.base import Info, TextEnv
from sparring.envs.web.webshop.catalogue import SPLITS, open_catalogue
from sparring.envs.web.webshop.default import default_catalogue
from sparring.envs.web.webshop.goals import Goal, GoalBook, GoalFilter, GoalKind, goal_book
from sparring.envs.web.webshop.pages import Kind, Page, with_history
from sparring.envs.web.webshop.session import Shop
from sparring.envs.web.webshop.simulator import MODES
from sparring.envs.web.webshop.splits import Division, Split, TaskIds, default_division, split_goals
from sparring.errors import InvalidConfig, unknown
from sparring.types import Snapshot, SnapshotKind


class WebShop(TextEnv):
    """Find and buy a product that fits an instruction.

    Actions are `search[words]` and `click[name]`. The reward comes with `click[buy now]`, in [0, 1].

    `info` always holds `available_actions` (the original's `has_search_bar` and `clickables`) and `actions` (the
    same as an `ActionSet`); after a reset also `instruction`, `task`, `goal` (the goal's index) and `cluster` (the
    ASIN of the goal's product, which other goals may share); at a purchase `score`, `success` (score is 1) and the
    parts of the reward (`r_type`, `r_att`, …); after an action that did nothing `no_op` says why.

    Args:
        catalogue: folder of a compiled catalogue; None for the built-in made-up one.
        goals: "synthetic" or "human".
        split: what `reset` draws from when its options name neither task, goal nor split.
        goal_seed: of the original's draws of prices and price bounds.
        observation_mode: "text" or "text_rich".
        num_prev_obs, num_prev_actions: how many earlier ones are put in front of the observation of `step`.
        show_attrs: whether item pages have the `Attributes` button.
        splits: "product" or "original" (see `splits.split_goals`); None for what fits the goals.
        filter_goals, limit_goals: the original's selection of goals.
    Raises:
        InvalidConfig: a setting outside what is allowed. InvalidData: the catalogue can't be opened.
    """

    splits: ClassVar[tuple[str, ...]] = SPLITS
    snapshot_kind: ClassVar[SnapshotKind | None] = SnapshotKind.COPY
    clusters: ClassVar[str] = "products"

    def __init__(
        self,
        catalogue: Path | str | None = None,
        goals: GoalKind = "synthetic",
        split: str = "train",
        goal_seed: int = 0,
        observation_mode: str = "text",
        num_prev_obs: int = 0,
        num_prev_actions: int = 0,
        show_attrs: bool = False,
        splits: Division | None = None,
        filter_goals: GoalFilter | None = None,
        limit_goals: int = -1,
    ) -> None:
        if observation_mode not in MODES:
            raise InvalidConfig(f'observation_mode must be "text" or "text_rich", got {observation_mode!r}')
        if num_prev_obs < 0 or num_prev_actions < 0:
            raise InvalidConfig(
                f"num_prev_obs and num_prev_actions must not be negative, got {num_prev_obs} and {num_prev_actions}"
            )
        if split not in SPLITS:
            raise unknown("split", split, SPLITS)
        opened = open_catalogue(catalogue if catalogue is not None else default_catalogue())
        if filter_goals is None and limit_goals == -1:
            book = goal_book(opened, goals, goal_seed)
        else:
            book = GoalBook(opened, goals, goal_seed, filter_goals, limit_goals)
        self.shop = _shared_shop(book, show_attrs)
        self._splits = _shared_splits(book, splits or default_division(book))
        self._split = split
        self._rich = observation_mode == "text_rich"
        self._num_prev = (num_prev_obs, num_prev_actions)
        self.visit = self.shop.enter("", 0)
        self._past: tuple[str, ...] = ()
        self._actions: tuple[str, ...] = ()
        self._random: random.Random | None = None
        self._shown = ""

    @property
    def goal(self) -> Goal:
        """The current goal."""
        return self.shop.goal(self.visit)

    @property
    def page(self) -> Page:
        """The page shown now."""
        return self.shop.page(self.visit)

    def task_ids(self, split: str) -> TaskIds:
        """The ids of a split's goals: `synthetic-17` or `human-3`.

        Raises:
            UnknownName: no such split.
        """
        return self._split_named(split).task_ids

    def choose_task(self, options: dict[str, Any] | None) -> str:
        """The id of the goal that `choose_goal` picks."""
        return f"{self.shop.book.kind}-{self.choose_goal(options)}"

    def _split_named(self, name: str) -> Split:
        if name not in self._splits:
            raise unknown("split", name, SPLITS)
        return self._splits[name]

    def choose_goal(self, options: dict[str, Any] | None) -> int:
        """The index of the goal that `reset` was asked for.

        Args:
            options: `{"goal": i}`, `{"task": id}`, `{"split": name}`, or a task with its split; None draws from the
                environment's split.
        Raises:
            UnknownName: no such goal, task or split; the message names the nearest. InvalidConfig: the split is
                empty, or both a goal and a task are named.
        """
        wanted = options or {}
        goal, task, split = wanted.get("goal"), wanted.get("task"), wanted.get("split")
        if goal is not None:
            return self._goal_numbered(goal, task)
        if task is not None:
            chosen = [self._split_named(split)] if split is not None else self._splits.values()
            for one in chosen:
                found = one.task_ids.goal(task)
                if found is not None:
                    return found
            raise self._no_such_task(task, split)
        drawn_from = self._split_named(self._split if split is None else split)
        if not len(drawn_from.goals):
            raise InvalidConfig(
                f'the split "{split or self._split}" of {self.shop.catalogue.path} has no {self.shop.book.kind} goals'
            )
        return drawn_from.draw(self.np_random)

    def _goal_numbered(self, goal: object, task: object) -> int:
        if task is not None:
            raise InvalidConfig(f"reset takes a goal or a task, not both; got goal {goal!r} and task {task!r}")
        last = len(self.shop.book) - 1
        if not isinstance(goal, int | np.integer) or not 0 <= goal <= last:
            raise unknown("goal", goal, (), f"Goals are the whole numbers from 0 to {last}.")
        return int(goal)

    def _no_such_task(self, task: object, split: str | None) -> Exception:
        names = [split] if split is not None else list(SPLITS)
        near = [id for name in names for id in self._splits[name].task_ids[:2]]
        prefix, _, digits = str(task).rpartition("-")
        if prefix == self.shop.book.kind and digits.isdigit() and split is not None:
            goals = self._splits[split].goals
            at = int(np.searchsorted(goals, min(int(digits), len(self.shop.book))))
            near = [f"{prefix}-{goal}" for goal in goals[max(0, at - 2) : at + 2].tolist()] or near
        place = f'of the split "{split}"' if split is not None else "of this catalogue"
        return unknown(f"task {place}", task, near, f"Ids look like {near[0]}." if near else "")

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        """Begin an episode; see `choose_goal` for the options."""
        gymnasium.Env.reset(self, seed=seed)
        index = self.choose_goal(options)
        self._random = None
        self.visit = self.shop.enter(str(index), index)
        page = self.page
        observation = self.shop.observe(self.visit, page, self._rich)
        self._past, self._actions = (observation,) if self._num_prev[0] else (), ()
        self._shown = observation
        return observation, self._info(page) | self._task_info()

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        """Act: `search[words]`, `click[name]`; anything else changes nothing."""
        outcome = self.shop.act(self.visit, action, self._generator)
        self.visit = outcome.visit
        page = self.page
        observation = shown = self.shop.observe(self.visit, page, self._rich)
        keep_observations, keep_actions = self._num_prev
        if keep_actions:
            self._actions = (*self._actions, action)[-keep_actions:]
        if keep_observations or keep_actions:
            shown = with_history(observation, self._past, self._actions, keep_observations, keep_actions)
        if keep_observations:
            self._past = (*self._past, observation)[-keep_observations:]
        self._shown = shown
        info = self._info(page)
        if outcome.no_op is not None:
            info["no_op"] = outcome.no_op
        return shown, outcome.reward, outcome.done, False, info

    def observe(self) -> tuple[str, Info]:
        """The latest observation as `reset` or `step` gave it, and its info with that of the task."""
        return self._shown, self._info(self.page) | self._task_info()

    def _info(self, page: Page) -> Info:
        info: Info = {
            "available_actions": {"has_search_bar": page.has_search_bar, "clickables": list(page.targets)},
            "actions": page.actions,
        }
        if self.visit.kind is Kind.DONE:
            info |= self.visit.parts or {}
            info["score"] = self.visit.reward
            info["success"] = self.visit.reward == 1.0
        return info

    def _task_info(self) -> Info:
        index, goal = self.visit.goal, self.goal
        return {
            "instruction": goal.instruction_text,
            "task": f"{self.shop.book.kind}-{index}",
            "goal": index,
            "cluster": goal.asin,
        }

    def expert_action(self) -> str:
        """The next action of the oracle in `expert.py`, which knows the goal."""
        from sparring.envs.web.webshop.expert import next_action

        return next_action(self.shop, self.visit)

    def _generator(self) -> random.Random:
        """The generator of `search[<r>]`, made when first needed in an episode."""
        if self._random is None:
            self._random = random.Random(int(self.np_random.integers(1 << 62)))
        return self._random

    def snapshot(self) -> Snapshot:
        """Save the episode, generators included. A visit is never changed in place, so nothing is copied."""
        generator = self._np_random.bit_generator.state if self._np_random is not None else None
        draws = self._random.getstate() if self._random is not None else None
        state = (self.visit, self._shown, self._past, self._actions, draws, generator)
        return Snapshot(type(self).__name__, SnapshotKind.COPY, state)

    def restore(self, snapshot: Snapshot) -> tuple[str, Info]:
        """Go back to a saved moment of this environment, or of another one on the same catalogue and goals.

        Raises:
            InvalidConfig: the snapshot is of another kind of environment.
        """
        if snapshot.env_id != type(self).__name__:
            raise InvalidConfig(f"a snapshot of {snapshot.env_id} can't be restored in {type(self).__name__}")
        state: Any = snapshot.state
        self.visit, self._shown, self._past, self._actions, draws, generator = state
        self._random = None
        if draws is not None:
            self._random = random.Random()
            self._random.setstate(draws)
        if generator is None:
            self._np_random = None
        else:
            self.np_random.bit_generator.state = generator
        return self.observe()


def _shared_shop(book: GoalBook, show_attrs: bool) -> Shop:
    """One shop for all environments on the same goals, so that they share the pages it keeps."""
    shop = book.shared.get(("shop", show_attrs))
    if shop is None:
        shop = book.shared["shop", show_attrs] = Shop(book, show_attrs)
    assert isinstance(shop, Shop)
    return shop


def _shared_splits(book: GoalBook, division: Division) -> dict[str, Split]:
    splits = book.shared.get(("splits", division))
    if splits is None:
        splits = book.shared["splits", division] = split_goals(book, division)
    assert isinstance(splits, dict)
    return splits
