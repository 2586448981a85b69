"""Does an environment leave something behind: threads, open files, memory."""

from __future__ import annotations

import contextlib
import gc
import threading
import time
import tracemalloc
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from sparring.envs.base import EnvType
from sparring.errors import CheckFailed
from sparring.testing.subject import Subject, play

_ROUNDS = 8
_MOST_EPISODES_A_ROUND = 20
_ROUND_S = 2.0  # slow environments play fewer episodes, at least two
_EPISODE_TURNS = 15
# Growth of a round that counts as a leak: far above what repeated equal episodes were seen to wobble.
_LEAK_BYTES_A_ROUND = 4_096

_OPEN_FILES = Path("/proc/self/fd")


def check_leaks(subject: Subject) -> None:
    """Fail if making and closing environments, or playing episodes, leaves threads, files or memory behind."""
    begin = time.perf_counter()
    _play_and_close(subject)
    episode_s = time.perf_counter() - begin
    with _only_new_garbage():
        _check_environments(subject)
        _check_episodes(subject, episodes=int(min(max(2, _ROUND_S / episode_s), _MOST_EPISODES_A_ROUND)))


def _check_environments(subject: Subject) -> None:
    before = _held()
    for _ in range(_ROUNDS):
        _play_and_close(subject)
    _require_level(before, _held(), f"making, playing and closing {_ROUNDS} environments", "Release them in close().")


def _check_episodes(subject: Subject, episodes: int) -> None:
    with subject.opened() as env:
        _play_round(env, subject, episodes)
        before = _held()
        with _tracing():
            sizes = []
            for _ in range(4):
                _play_round(env, subject, episodes)
                gc.collect()
                sizes.append(tracemalloc.get_traced_memory()[0])
        _require_level(before, _held(), f"{4 * episodes} episodes in one environment", "Release them in reset().")
    # The first round still fills caches. A leak grows in each of the others, noise does not.
    growth = [later - earlier for earlier, later in pairwise(sizes[1:])]
    if min(growth) > _LEAK_BYTES_A_ROUND:
        raise CheckFailed(
            f"repeating the same {episodes} episodes in one environment holds {min(growth):,} bytes more each "
            "time. Something is kept across reset(): clear it there (histories and logs are the usual places)"
        )


def _play_and_close(subject: Subject) -> None:
    with subject.opened() as env:
        play(env, subject.seed, max_turns=_EPISODE_TURNS)


def _play_round(env: EnvType, subject: Subject, episodes: int) -> None:
    for number in range(episodes):
        play(env, subject.seed + number, max_turns=_EPISODE_TURNS)


def _held() -> dict[str, int]:
    gc.collect()
    held = {"threads": threading.active_count()}
    if _OPEN_FILES.exists():
        held["open files"] = sum(1 for _ in _OPEN_FILES.iterdir())
    return held


def _require_level(before: dict[str, int], after: dict[str, int], what: str, mend: str) -> None:
    # One or two may come and go with the interpreter; a leak leaves one each time.
    for name, count in before.items():
        if after[name] - count >= _ROUNDS // 2:
            raise CheckFailed(f"{what} took the number of {name} from {count} to {after[name]}. {mend}")


@contextlib.contextmanager
def _only_new_garbage() -> Iterator[None]:
    """Have collections leave alone what is there already, which in a process with torch takes them long."""
    if gc.get_freeze_count():  # somebody else's choice, which unfreezing would undo
        yield
        return
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextlib.contextmanager
def _tracing() -> Iterator[None]:
    already = tracemalloc.is_tracing()
    if not already:
        tracemalloc.start()
    try:
        yield
    finally:
        if not already:
            tracemalloc.stop()
