"""What every environment shares: the base class, and snapshots through a stack of wrappers."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, ClassVar

import gymnasium
import numpy as np

from sparring.envs.spaces import UnicodeText
from sparring.errors import EnvNotSearchable, InvalidConfig, unknown
from sparring.types import Snapshot, SnapshotKind

Info = dict[str, Any]
EnvType = gymnasium.Env[str, str]


class TextEnv(gymnasium.Env[str, str]):
    """A Gymnasium environment of text observations and string actions.

    A subclass implements `task_ids`, `observe`, `reset` and `step`. It follows the Gymnasium contract
    unchanged and adds these conventions:

    - `reset(options={"task": id})` plays that task; `options={"split": name}` draws one of the split with the
      environment's own generator; `choose_task` does both.
    - `info["actions"]` is an `ActionSet` of what is admissible now (left out where anything goes);
      `info["instruction"]` is the task's instruction and `info["task"]` its id, both given at reset.
    - `info["image"]` is an `Image` of what the text says in words, where the environment draws one.
    - Where tasks share their material, `info["cluster"]` at reset names what this one shares (for WebShop the
      product), always the same for a task: benchmarks then take their intervals over clusters, not tasks.
    - At the end `info["score"]` in [0, 1] and `info["success"]` say how well it went.
    - An action that means nothing is a no-op reported in `info["no_op"]`, never an exception.

    Class attributes:
        splits: names of the task splits, the training split first.
        deterministic: whether the same seed and actions always give the same episode.
        state: names of the attributes that `snapshot` copies. Everything that changes during an episode
            belongs in it; objects never changed in place are copied cheaply by deepcopy's own rules.
        snapshot_kind: how snapshots bring a state back, None where there are none.
        clusters: what `info["cluster"]` names, in the plural, for reports.
    """

    splits: ClassVar[tuple[str, ...]] = ("train", "test")
    deterministic: ClassVar[bool] = True
    state: ClassVar[tuple[str, ...]] = ()
    snapshot_kind: ClassVar[SnapshotKind | None] = SnapshotKind.COPY
    clusters: ClassVar[str] = "clusters"

    observation_space: gymnasium.Space[str] = UnicodeText()
    action_space: gymnasium.Space[str] = UnicodeText()
    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 - Gymnasium declares it so

    def task_ids(self, split: str) -> Sequence[str]:
        """The ids of a split's tasks, in a stable order."""
        raise unknown("split", split, self.splits)

    def observe(self) -> tuple[str, Info]:
        """The current observation and info, without changing anything."""
        raise EnvNotSearchable(f"{type(self).__name__} has no observe(), which restore() needs")

    def choose_task(self, options: dict[str, Any] | None) -> str:
        """Pick the task that `reset` was asked for.

        Args:
            options: `{"task": id}`, or `{"split": name}`, or None for the first split. Given both, the task
                must belong to the split.
        Raises:
            UnknownName: no such split or task; the message names the nearest.
        """
        wanted = dict(options or {})
        split = wanted.get("split")
        if split is not None and split not in self.splits:
            raise unknown("split", split, self.splits)
        task = wanted.get("task")
        if task is None:
            ids = self.task_ids(split or self.splits[0])
            if not ids:
                raise InvalidConfig(f'{type(self).__name__}: the split "{split or self.splits[0]}" has no tasks')
            return ids[int(self.np_random.integers(len(ids)))]
        for name in (split,) if split else self.splits:
            if task in self.task_ids(name):
                return str(task)
        everything = [one for name in self.splits for one in self.task_ids(name)]
        raise unknown("task", task, everything)

    def expert_action(self) -> str:
        """The next action of the environment's own expert, which may use everything the environment knows.

        Raises:
            UnknownName: this environment has no expert.
        """
        raise unknown("expert", type(self).__name__, (), "This environment has no expert_action().")

    def snapshot(self) -> Snapshot:
        """Save the state, random generator included.

        Raises:
            EnvNotSearchable: the class names no `state`.
        """
        if not self.state:
            raise EnvNotSearchable(
                f"{type(self).__name__} names no state to save: set the class attribute `state` to the names of "
                "the attributes that change during an episode, or override snapshot() and restore()"
            )
        values = _values(self, self.state)
        # NumPy builds a new dictionary at each reading, and reads what it is given at once: no copies are needed.
        generator = self._np_random.bit_generator.state if self._np_random is not None else None
        return Snapshot(type(self).__name__, SnapshotKind.COPY, (values, generator))

    def restore(self, snapshot: Snapshot) -> tuple[str, Info]:
        """Bring a saved state back, and return its observation and info.

        Raises:
            InvalidConfig: the snapshot was taken in another kind of environment.
        """
        if snapshot.env_id != type(self).__name__:
            raise InvalidConfig(f"a snapshot of {snapshot.env_id} can't be restored in {type(self).__name__}")
        state: Any = snapshot.state
        values, generator = state
        for name, value in _copied(values).items():
            setattr(self, name, value)
        if generator is not None:
            self._np_random = np.random.default_rng(0)
            self._np_random.bit_generator.state = generator
        return self.observe()


class TextWrapper(gymnasium.Wrapper[str, str, str, str]):
    """A wrapper of a text environment whose own state is part of snapshots.

    Override `action` (policy → environment) and `view` (environment → policy). `state` names the attributes
    that change during an episode, all of which exist from `__init__` on. `view` may change them: it is called once
    for each reset and step, and what it returned last comes back with a restored snapshot.
    """

    state: ClassVar[tuple[str, ...]] = ()
    _shown: tuple[str, Info] | None = None

    def action(self, text: str) -> str:
        """Translate the policy's action into the environment's."""
        return text

    def view(self, text: str, info: Info) -> tuple[str, Info]:
        """Translate an observation and its info into what the policy sees."""
        return text, info

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        text, info = self.env.reset(seed=seed, options=options)
        self.begin(info)
        return self._show(text, info)

    def _show(self, text: str, info: Info) -> tuple[str, Info]:
        text, info = self.view(text, info)
        self._shown = text, dict(info)
        return text, info

    def begin(self, info: Info) -> None:
        """Called at each reset, before the first observation is viewed."""

    def step(self, action: str) -> tuple[str, Any, bool, bool, Info]:
        text, reward, terminated, truncated, info = self.env.step(self.action(action))
        text, info = self._show(text, info)
        return text, reward, terminated, truncated, info


_PLAIN = frozenset({str, int, float, bool, bytes, type(None)})

# Gymnasium's own wrappers keep these between steps; a fork that forgot them would never be cut at its limit.
_GYMNASIUM_STATE = {"TimeLimit": ("_elapsed_steps",), "OrderEnforcing": ("_has_reset",)}


def _wrapper_state(env: EnvType) -> tuple[str, ...]:
    return env.state if isinstance(env, TextWrapper) else _GYMNASIUM_STATE.get(type(env).__name__, ())


def _stack(env: EnvType) -> list[EnvType]:
    layers = [env]
    while isinstance(layers[-1], gymnasium.Wrapper):
        layers.append(layers[-1].env)
    return layers


def _values(owner: object, names: tuple[str, ...]) -> dict[str, Any]:
    """A deep copy of the named attributes."""
    try:
        values = {name: getattr(owner, name) for name in names}
    except AttributeError as error:
        raise EnvNotSearchable(
            f"{type(owner).__name__}.state names an attribute that is not there: {error}. Set it in __init__"
        ) from error
    return _copied(values)


def _copied(values: dict[str, Any]) -> dict[str, Any]:
    """What `copy.deepcopy` gives; a search forks at every step, and most of what it copies holds plain values only."""
    memo: dict[int, Any] = {}
    return {name: _copy(value, memo) for name, value in values.items()}


def _copy(value: Any, memo: dict[int, Any]) -> Any:
    kind = type(value)
    if kind in _PLAIN or (kind in (tuple, frozenset) and all(type(one) in _PLAIN for one in value)):
        return value
    if id(value) not in memo:
        if kind in (list, set) and all(type(one) in _PLAIN for one in value):
            memo[id(value)] = kind(value)
        elif kind is dict and all(type(one) in _PLAIN for pair in value.items() for one in pair):
            memo[id(value)] = dict(value)
    return copy.deepcopy(value, memo)


def _core(env: EnvType) -> tuple[list[EnvType], TextEnv]:
    *wrappers, core = _stack(env)
    if not isinstance(core, TextEnv):
        raise EnvNotSearchable(f"{type(core).__name__} is no sparring TextEnv, so it has no snapshot()")
    return wrappers, core


def snapshot(env: EnvType) -> Snapshot:
    """Save an environment together with all the wrappers around it.

    Raises:
        EnvNotSearchable: the innermost environment is no `TextEnv` or has no snapshots.
    """
    wrappers, core = _core(env)
    inner = core.snapshot()
    outer = tuple(
        (
            type(layer).__name__,
            _values(layer, _wrapper_state(layer)),
            layer._shown if isinstance(layer, TextWrapper) else None,
        )
        for layer in wrappers
    )
    return Snapshot(inner.env_id, inner.kind, (inner, outer))


def restore(env: EnvType, saved: Snapshot) -> tuple[str, Info]:
    """Bring back what `snapshot` saved, and return the observation and info as the outermost wrapper showed them.

    Raises:
        EnvNotSearchable: the innermost environment is no `TextEnv`.
        InvalidConfig: the snapshot is of another environment or other wrappers.
    """
    wrappers, core = _core(env)
    state: Any = saved.state
    inner, outer = state
    if not isinstance(inner, Snapshot):
        raise InvalidConfig("this snapshot holds no wrappers: it was taken by env.snapshot(), so call env.restore(it)")
    theirs, ours = [name for name, _, _ in outer], [type(layer).__name__ for layer in wrappers]
    if theirs != ours:
        raise InvalidConfig(f"a snapshot taken under the wrappers {theirs} can't be restored under {ours}")
    text, info = core.restore(inner)
    for layer, (_, values, shown) in zip(reversed(wrappers), reversed(outer), strict=True):
        for name, value in _copied(values).items():
            setattr(layer, name, value)
        if isinstance(layer, TextWrapper):
            layer._shown = shown
            if shown is None:  # taken before any reset, or under a wrapper that overrides reset and step themselves
                text, info = layer.view(text, info)
            else:
                text, info = shown[0], dict(shown[1])
    return text, info
