"""Does an environment repeat itself exactly: from a seed, from a snapshot, beside others."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from sparring.envs.base import EnvType, restore, snapshot
from sparring.errors import CheckFailed, EnvNotSearchable
from sparring.testing.outcome import Skipped
from sparring.testing.subject import Seen, Subject, core, draw, play, require_equal, reset, step
from sparring.types import SnapshotKind


def check_deterministic(subject: Subject) -> None:
    """The same seed and actions give the same episode, in the same environment and in a fresh one."""
    with subject.opened() as env, subject.opened() as fresh:
        subject.require_deterministic(env)
        mend = (
            "Draw only from self.np_random after super().reset(seed=seed), iterate over nothing unordered, and set "
            "every attribute anew in reset(); or declare deterministic = False"
        )
        for seed in (subject.seed, subject.seed + 1):
            actions, first = play(env, seed, max_turns=subject.max_turns)
            for other, where in ((env, "the same environment"), (fresh, "a fresh environment")):
                _, second = play(other, seed, max_turns=subject.max_turns, actions=actions)
                require_equal(first, second, f"seed {seed} and the same actions, played again in {where}", mend)


def check_snapshots(subject: Subject) -> None:
    """Snapshot, act, restore, act: the same result, any number of times."""
    with subject.opened() as env:
        _require_snapshots(env, subject)
        actions, seen = play(env, subject.seed, max_turns=subject.max_turns)
        for at in _prefixes(len(actions)):
            tail = actions[at : at + 4]
            _replay(env, subject.seed, actions[:at])
            saved = snapshot(env)
            first = [step(env, action) for action in tail]
            after = reset(env, None)
            for _ in range(2):
                found = Seen(*_restored(env, saved))
                mend = (
                    "Name every attribute that changes during an episode in the class attribute `state` (a wrapper's "
                    "too), and let observe() only read"
                )
                before = Seen(seen[at].text, 0.0, False, False, found.info)
                require_equal([before], [found], f"restore() of a snapshot taken after {at} steps", mend)
                again = [step(env, action) for action in tail]
                require_equal([found, *first], [found, *again], f"after restore() to step {at}", mend)
                require_equal(
                    [after],
                    [reset(env, None)],
                    f"an unseeded reset() after restore() to step {at}",
                    "The random generator belongs to the state",
                )


def check_snapshots_travel(subject: Subject) -> None:
    """A snapshot continues in a fresh environment, and the two then do not disturb each other."""
    with subject.opened() as env, subject.opened() as other:
        _require_snapshots(env, subject)
        if core(env).snapshot_kind is not SnapshotKind.COPY:
            raise Skipped(f"snapshots of the kind {core(env).snapshot_kind} belong to one environment")
        actions, seen = play(env, subject.seed, max_turns=subject.max_turns)
        at = len(actions) // 2
        _replay(env, subject.seed, actions[:at])
        saved = snapshot(env)
        reset(other, subject.seed + 1)
        restore(other, saved)
        mend = "Something outside `state` decides what happens: name it there, or set it in __init__"
        both = [(step(env, action), step(other, action)) for action in actions[at:]]
        require_equal([one for one, _ in both], [two for _, two in both], "restored into a fresh environment", mend)
        require_equal(seen[at + 1 :], [one for one, _ in both], "stepping a fork beside it", mend)


def check_isolated(subject: Subject) -> None:
    """Other environments of its kind, played in between, change nothing."""
    with subject.opened() as env, subject.opened() as neighbour:
        subject.require_deterministic(env)
        actions, alone = play(env, subject.seed, max_turns=subject.max_turns)
        rng = np.random.default_rng(subject.seed + 1)
        last = [reset(neighbour, subject.seed + 1)]

        def disturb() -> None:
            following = step(neighbour, draw(last[0].info, rng))
            last[0] = reset(neighbour, int(rng.integers(1_000))) if following.over else following

        _, together = play(env, subject.seed, max_turns=subject.max_turns, actions=actions, between=disturb)
        require_equal(
            alone,
            together,
            "with another environment of its kind played in between",
            "Keep state on self, not on the class or module",
        )


def check_global_generators(subject: Subject) -> None:
    """The global generators are neither moved nor listened to."""
    with subject.opened() as env, _global_generators_kept():
        plays = []
        for entropy in (1, 2):
            random.seed(entropy)
            np.random.seed(entropy)  # noqa: NPY002 - the point is to see whether the environment listens to it
            before = _global_states()
            plays.append(play(env, subject.seed, max_turns=subject.max_turns))
            for name, one, other in zip(("random", "numpy.random"), before, _global_states(), strict=True):
                if one != other:
                    raise CheckFailed(
                        f"an episode moved the global generator of {name}, so environments disturb one another and "
                        "everything else. Draw from self.np_random, and never seed the global one"
                    )
        subject.require_deterministic(env)
        require_equal(
            plays[0][1], plays[1][1], "under two states of the global generators", "Draw from self.np_random alone"
        )


def _require_snapshots(env: EnvType, subject: Subject) -> None:
    inner = core(env)
    if inner.snapshot_kind is None:
        raise Skipped("the class declares snapshot_kind = None")
    subject.require_deterministic(env)
    reset(env, subject.seed)
    try:
        snapshot(env)
    except EnvNotSearchable as error:
        raise CheckFailed(f"{error}; or declare snapshot_kind = None") from error


def _restored(env: EnvType, saved: Any) -> tuple[str, float, bool, bool, dict[str, Any]]:
    text, info = restore(env, saved)
    return text, 0.0, False, False, info


def _replay(env: EnvType, seed: int, actions: list[str]) -> None:
    reset(env, seed)
    for action in actions:
        step(env, action)


def _prefixes(length: int) -> list[int]:
    """Where in an episode of `length` steps to try: its beginning, its middle, before its last step."""
    return sorted({0, min(1, max(length - 1, 0)), length // 2, max(length - 1, 0)})


def _global_states() -> tuple[object, object]:
    kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)  # noqa: NPY002
    return random.getstate(), (kind, keys.tobytes(), position, has_gauss, cached)  # type: ignore[union-attr]


@contextmanager
def _global_generators_kept() -> Iterator[None]:
    python, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002 - put back as it was
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy_state)  # noqa: NPY002
