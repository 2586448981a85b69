"""Bringing an environment to a place of a tree: by snapshots where it has them, else by a replay that is checked."""

from __future__ import annotations

import time

from sparring.envs.base import EnvType, TextEnv, restore, snapshot
from sparring.episode import Moment, Reset, Step, perform
from sparring.errors import EnvFailed, EnvNotSearchable, ReplayDiverged
from sparring.search.patience import within
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


def save(env: EnvType, spent: Spent, patience_s: float | None = None) -> Snapshot | None:
    """A snapshot of where the environment is, None where it has none.

    Args:
        patience_s: how long to wait for it.
    Raises:
        EnvFailed: the environment raised or hung. EnvNotSearchable: it can't be saved at all.
    """
    core = env.unwrapped
    if not isinstance(core, TextEnv) or core.snapshot_kind is None:
        return None
    began = time.perf_counter()
    try:
        return within(patience_s, snapshot, env)
    except (EnvFailed, EnvNotSearchable):
        raise
    except Exception as error:
        raise EnvFailed(f"{type(error).__name__} in snapshot: {error}") from error
    finally:
        spent.fork_seconds += time.perf_counter() - began


def go_to(env: EnvType, node: Node, spent: Spent) -> None:
    """Bring the environment to a node, from the nearest snapshot on the way to it, or from a reset.

    Raises:
        ReplayDiverged: a replayed action led to another observation than it had, or to an end.
        EnvFailed: the environment raised or hung.
    """
    began = time.perf_counter()
    moment, patience_s = node.moment, node.moment.setting.step_timeout_s
    origin = node
    while origin.snapshot is None and origin.came_by is not None:
        origin = origin.came_by.parent
    if origin.snapshot is not None:
        try:
            within(patience_s, restore, env, origin.snapshot)
        except EnvFailed:
            raise
        except Exception as error:
            raise EnvFailed(f"{type(error).__name__} in restore: {error}") from error
        first = len(origin.moment.turns)
    else:
        text, _ = within(patience_s, perform, env, Reset(moment.start.seed, moment.start.options))
        check_again(moment, 0, text)
        first = 0
    turns = moment.turns[first:]
    for number, turn in enumerate(turns, first):
        text, _, terminated, truncated, _ = within(patience_s, perform, env, Step(turn.action.text))
        spent.env_steps += 1
        spent.replayed_steps += 1
        check_again(moment, number + 1, text, is_over=bool(terminated or truncated))
    if turns and node.snapshot is None:
        node.snapshot = save(env, Spent(), patience_s)
    spent.fork_seconds += time.perf_counter() - began


def check_again(moment: Moment, number: int, text: str, *, is_over: bool = False) -> None:
    """Check that an episode was brought to where it stood after some turns.

    Args:
        number: of the turns taken again. text: what the environment shows now. is_over: whether it says to be over.
    Raises:
        ReplayDiverged: it showed something else then, or went on where it is over now, or the other way round.
    """
    was = moment.turns[number].observation if number < len(moment.turns) else moment.observation
    assert was is not None
    last = moment.turns[number - 1] if number else None
    was_over = last is not None and (last.terminated or last.truncated)
    if was.text == text and was_over == is_over:
        return
    ends = {False: "", True: "\nand was over"}
    raise ReplayDiverged(
        f'the replay of task "{moment.task}" (seed {moment.start.seed}) diverged at turn {number}: it was\n'
        f"{was.text}{ends[was_over]}\nand is now\n{text}{ends[is_over]}"
    )
