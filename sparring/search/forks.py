"""Bringing an environment to a place of a tree: by snapshots where it has them, else by a replay that is checked."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Set
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from sparring.envs.base import EnvType, TextEnv, restore, snapshot
from sparring.episode import Reset, Step, perform
from sparring.errors import EnvFailed, EnvNotSearchable, ReplayDiverged
from sparring.search.tree import Node, Spent
from sparring.types import Snapshot, SnapshotKind


def require_searchable(env: EnvType) -> None:
    """Check that an environment can be brought back to where it was.

    Raises:
        EnvNotSearchable: it is no `TextEnv`, or the same actions need not lead to the same place.
    """
    core = env.unwrapped
    if not isinstance(core, TextEnv):
        raise EnvNotSearchable(f"{type(core).__name__} is no sparring TextEnv, so its states can't be brought back")
    if not core.deterministic and core.snapshot_kind in (None, SnapshotKind.REPLAY):
        raise EnvNotSearchable(
            f"{type(core).__name__} is not deterministic and its states are not copied, so none can be brought back: "
            "make it with its deterministic options, or give it snapshot() and restore() that copy"
        )


def save(env: EnvType, spent: Spent) -> Snapshot | None:
    """A snapshot of where the environment is, None where it has none."""
    core = env.unwrapped
    if not isinstance(core, TextEnv) or core.snapshot_kind is None:
        return None
    began = time.perf_counter()
    found = snapshot(env)
    spent.fork_seconds += time.perf_counter() - began
    return found


def go_to(env: EnvType, node: Node, spent: Spent) -> None:
    """Bring the environment to a node, from the nearest snapshot on the way to it, or from a reset.

    Raises:
        ReplayDiverged: a replayed action led to another observation than it had. EnvFailed: the environment raised.
    """
    began = time.perf_counter()
    origin = node
    while origin.snapshot is None and origin.came_by is not None:
        origin = origin.came_by.parent
    if origin.snapshot is not None:
        try:
            restore(env, origin.snapshot)
        except Exception as error:
            raise EnvFailed(f"{type(error).__name__} in restore: {error}") from error
        first = len(origin.moment.turns)
    else:
        start = node.moment.start
        text, _ = perform(env, Reset(start.seed, start.options))
        _compare(node, 0, text)
        first = 0
    turns = node.moment.turns[first:]
    for number, turn in enumerate(turns, first):
        text, *_ = perform(env, Step(turn.action.text))
        spent.env_steps += 1
        spent.replayed_steps += 1
        _compare(node, number + 1, text)
    if turns and node.snapshot is None:
        node.snapshot = save(env, Spent())
    spent.fork_seconds += time.perf_counter() - began


def _compare(node: Node, number: int, text: str) -> None:
    moment = node.moment
    seen = moment.turns[number].observation if number < len(moment.turns) else moment.observation
    assert seen is not None
    if seen.text != text:
        raise ReplayDiverged(
            f'the replay of task "{moment.task}" (seed {moment.start.seed}) diverged at turn {number}: it was\n'
            f"{seen.text}\nand is now\n{text}"
        )


def fingerprint(saved: Snapshot) -> bytes:
    """A hash of a snapshot's state: equal for equal states, wrappers' counters and random generators included."""
    digest = hashlib.blake2b(digest_size=16)
    _feed(digest, saved.state)
    return digest.digest()


def _feed(digest: Any, value: Any) -> None:
    digest.update(type(value).__name__.encode())
    if isinstance(value, Mapping):
        for key in sorted(value, key=repr):
            digest.update(repr(key).encode())
            _feed(digest, value[key])
    elif isinstance(value, Set):
        for item in sorted(value, key=repr):
            _feed(digest, item)
    elif isinstance(value, (list, tuple)):
        digest.update(str(len(value)).encode())
        for item in value:
            _feed(digest, item)
    elif isinstance(value, np.ndarray):
        digest.update(value.tobytes())
    elif is_dataclass(value) and not isinstance(value, type):
        for one in fields(value):
            _feed(digest, getattr(value, one.name))
    elif isinstance(value, (str, int, float, bool, bytes, type(None))):
        digest.update(repr(value).encode())
    else:
        _feed(digest, vars(value) if hasattr(value, "__dict__") else repr(value))
