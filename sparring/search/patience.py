"""Calls into environments that may hang: what takes too long is left behind in its thread (`step_timeout_s`)."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import wait
from typing import TypeVar

from sparring.envs.pool import EnvPool, EnvThread
from sparring.errors import EnvFailed

ResultT = TypeVar("ResultT")


class Hung(EnvFailed):
    """An environment did not answer in time. It may still be at work, so it is neither used again nor closed."""


def within(seconds: float | None, function: Callable[..., ResultT], *arguments: object) -> ResultT:
    """Call a function of an environment.

    Args:
        seconds: how long to wait for it; None calls it here and now.
    Raises:
        Hung: it took longer. Whatever the function raises.
    """
    if seconds is None:
        return function(*arguments)
    thread = EnvThread("search")
    answer = thread.call(function, *arguments)
    thread.stop()
    wait([answer], seconds)
    if not answer.done():
        raise Hung(f"no answer within {seconds:g} s: the environment was abandoned")
    result: ResultT = answer.result()
    return result


def replace_broken(pool: EnvPool, index: int, failure: Exception) -> None:
    """Put a fresh environment in the place of one that failed."""
    pool.replace(index, close=not isinstance(failure, Hung))
