"""Any Gymnasium environment with a Discrete action space, in text and with named actions."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

import gymnasium
from gymnasium import spaces

from sparring.envs.base import Info, TextEnv
from sparring.envs.text.repeats import how_it_repeats
from sparring.envs.text.seeded_tasks import SPLITS, SeededSplits, SeededTasks, seed_of
from sparring.envs.text.space_text import describer
from sparring.errors import EnvNotSearchable, InvalidConfig, ReplayDiverged
from sparring.types import ActionSet, Snapshot, SnapshotKind

DiscreteEnv = gymnasium.Env[Any, Any]


class GymnasiumText(TextEnv):
    """A text environment around a Gymnasium one.

    Register it with the names of the actions, and everything that plays text environments plays this one:

        sparring.register(
            "acme/CartPole-v1",
            "sparring.envs.text.gymnasium_text:GymnasiumText",
            env="CartPole-v1",
            action_names=("left", "right"),
            instruction="keep the pole upright\\nactions: left, right",
            score=lambda total: total / 500,
        )
        env = sparring.make("acme/CartPole-v1")

    A task is a seed of the inner environment (`train/17` is `reset(seed=17)`), and the whole luck of an episode with
    it; what the outer seed draws is the task. Other seeds may begin alike. An action that is not named is a no-op:
    it takes a turn and `no_op_reward`, and the inner environment does not see it. What the inner environment says in
    the info of a step is `info["inner"]`. `info["score"]` comes with every end, a truncated one included.

    Args:
        env: id of a registered Gymnasium environment, or a function that makes one.
        action_names: one distinct name an action; by default the action's number.
        describe: the text of an observation; by default one part a line, by the observation space.
        instruction: the task in words; by default to get much reward, and the names of the actions.
        score: from the undiscounted return to [0, 1]; by default the return, clipped. A score of 1 is a success.
        turn_limit: the most turns of an episode, no-ops included; by default the inner environment's limit, if any.
        no_op_reward: for an action that is not named. 0 is the best there is where every step costs: lower it there.
        train_tasks, dev_tasks, test_tasks: how many tasks each split has.
        snapshots: how they bring a state back: COPY (the inner environment is deep-copied), REPLAY (its actions are
            applied again and compared), None (not at all). "probe" tries a few episodes for the first of these
            that is exact, and declares an environment that does not even repeat itself as not deterministic.
    Raises:
        InvalidConfig: the actions are not Discrete, names are missing or equal, or the observation can't be described.
    """

    splits: ClassVar[tuple[str, ...]] = SPLITS
    state: ClassVar[tuple[str, ...]] = ("inner", "turns", "total_reward", "_task", "_text")

    def __init__(
        self,
        env: str | Callable[[], DiscreteEnv],
        action_names: Sequence[str] | None = None,
        describe: Callable[[Any], str] | None = None,
        instruction: str | None = None,
        score: Callable[[float], float] | None = None,
        *,
        turn_limit: int | None = None,
        no_op_reward: float = 0.0,
        train_tasks: int = 1_000,
        dev_tasks: int = 100,
        test_tasks: int = 100,
        snapshots: SnapshotKind | Literal["probe"] | None = "probe",
    ) -> None:
        make: Callable[[], DiscreteEnv] = _maker(env)
        self.inner = make()
        self._numbers = _named(self.inner.action_space, action_names)
        self._actions = ActionSet(tuple(self._numbers))
        self.describe = describe or describer(self.inner.observation_space)
        self.instruction = instruction or f"get as much reward as you can\nactions: {', '.join(self._numbers)}"
        self._score = score or _clipped
        self.turn_limit = turn_limit or getattr(self.inner.spec, "max_episode_steps", None)
        self._no_op_reward = no_op_reward
        self._tasks = SeededSplits(train_tasks, dev_tasks, test_tasks)
        if snapshots == "probe":
            snapshots, self.deterministic = how_it_repeats(make)  # type: ignore[misc]  # the inner one's, not the class's
        self.snapshot_kind = snapshots  # type: ignore[misc]
        self.turns, self.total_reward, self._task, self._text = 0, 0.0, "", ""
        self._played: list[tuple[str, tuple[str, float, bool, bool]]] = []

    def task_ids(self, split: str) -> SeededTasks:
        """The ids of a split's seeds.

        Raises:
            UnknownName: no such split.
        """
        return self._tasks.tasks(split)

    def observe(self) -> tuple[str, Info]:
        """The inner environment's last observation in text."""
        return self._text, {"actions": self._actions}

    def close(self) -> None:
        self.inner.close()

    def begin(self, task: str) -> Any:
        """Reset the inner environment to a task, and return its observation.

        Override it where a task is more than a seed. It must not draw from `np_random` where snapshots are replayed.
        """
        observation, _ = self.inner.reset(seed=seed_of(task))
        return observation

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        super().reset(seed=seed)
        self._restart(self.choose_task(options))
        text, info = self.observe()
        return text, info | {"task": self._task, "instruction": self.instruction}

    def _restart(self, task: str) -> None:
        self._task = task
        self.turns, self.total_reward, self._played = 0, 0.0, []
        self._text = self.describe(self.begin(task))

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        self.turns += 1
        number = self._numbers.get(action)
        if number is None:
            reward, terminated, truncated = self._no_op_reward, False, False
            extra: Info = {"no_op": f"{action[:20]!r} is none of: {', '.join(self._actions.choices)[:200]}"}
        else:
            observation, given, terminated, truncated, inner = self.inner.step(number)
            reward, terminated, truncated = float(given), bool(terminated), bool(truncated)
            self._text, extra = self.describe(observation), {"inner": inner} if inner else {}
        self.total_reward += reward
        truncated = truncated or (not terminated and self.turns == self.turn_limit)
        if self.snapshot_kind is SnapshotKind.REPLAY:
            self._played.append((action, (self._text, reward, terminated, truncated)))
        if terminated or truncated:
            score = float(self._score(self.total_reward))
            if not 0 <= score <= 1:
                raise InvalidConfig(f"score({self.total_reward}) must lie within 0 and 1, got {score}")
            extra |= {"score": score, "success": score == 1}
        text, info = self.observe()
        return text, reward, terminated, truncated, info | extra

    def snapshot(self) -> Snapshot:
        """Save the state: a copy of the inner environment, or the actions so far.

        Raises:
            EnvNotSearchable: neither is exact.
        """
        if self.snapshot_kind is SnapshotKind.COPY:
            return super().snapshot()
        if self.snapshot_kind is None:
            raise EnvNotSearchable(
                f"{self.inner} is exact neither when copied nor when its actions are applied again, so it has no "
                "snapshots"
            )
        state = (self._task, tuple(self._played), copy.deepcopy(self.np_random.bit_generator.state))
        return Snapshot(type(self).__name__, SnapshotKind.REPLAY, state)

    def restore(self, snapshot: Snapshot) -> tuple[str, Info]:
        """Bring a saved state back, and return its observation and info.

        Raises:
            ReplayDiverged: applied again, the actions led elsewhere.
            InvalidConfig: the snapshot was taken in another kind of environment.
        """
        if snapshot.kind is not SnapshotKind.REPLAY or snapshot.env_id != type(self).__name__:
            return super().restore(snapshot)
        state: Any = snapshot.state
        task, played, generator = state
        self._restart(task)
        for turn, (action, expected) in enumerate(played, start=1):
            self.step(action)
            if self._played[-1][1] != expected:
                raise ReplayDiverged(
                    f"task {task}: {action!r} in turn {turn} led to {str(self._played[-1][1])[:200]} and before to "
                    f"{str(expected)[:200]}. The environment does not repeat itself: give it snapshots=None"
                )
        self.np_random.bit_generator.state = generator
        return self.observe()


def _maker(env: str | Callable[[], DiscreteEnv]) -> Callable[[], DiscreteEnv]:
    if isinstance(env, str):
        return lambda: gymnasium.make(env, disable_env_checker=True)
    return env


def _named(space: spaces.Space[Any], names: Sequence[str] | None) -> dict[str, int]:
    """The actions of a space by their names.

    Raises:
        InvalidConfig: the space is not Discrete, or the names don't fit it.
    """
    if not isinstance(space, spaces.Discrete):
        raise InvalidConfig(
            f"the actions must be Discrete, got {space}: put a gymnasium.ActionWrapper that makes them so around the "
            "environment, in a function given as env="
        )
    numbers = range(int(space.start), int(space.start + space.n))
    named = dict(zip(map(str, numbers) if names is None else names, numbers, strict=False))
    if len(named) != space.n or "" in named or (names is not None and len(names) != space.n):
        raise InvalidConfig(f"action_names must be {space.n} distinct names that are not empty, got {names}")
    return named


def _clipped(total_reward: float) -> float:
    return min(max(total_reward, 0.0), 1.0)
