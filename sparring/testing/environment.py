"""Conformance checks for environments, beyond Gymnasium's own `check_env`, which is the first of them."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import gymnasium
from gymnasium.utils.env_checker import check_env as gymnasium_check_env

from sparring.envs.base import EnvType
from sparring.envs.pool import EnvPool
from sparring.errors import CheckFailed, InvalidConfig
from sparring.registration import make as make_registered
from sparring.rollout import Setting, Start, rollout
from sparring.testing.contract import (
    check_admissible_actions,
    check_conventions,
    check_expert,
    check_final_observation,
    check_nonsense,
    check_tasks,
)
from sparring.testing.leaks import check_leaks
from sparring.testing.outcome import Check, Skipped
from sparring.testing.repeatability import (
    check_deterministic,
    check_global_generators,
    check_isolated,
    check_snapshots,
    check_snapshots_travel,
)
from sparring.testing.subject import Subject, Wanderer


def report(make_or_id: str | Callable[[], EnvType], *, seed: int = 0, max_turns: int = 50) -> list[Check]:
    """Run every check on an environment; one that fails does not stop the others.

    Args:
        make_or_id: a registered id, or a function (or class) that builds a fresh environment each time.
        seed: of the random episodes. max_turns: how far they are played.
    Returns:
        One `Check` each, in a fixed order.
    Raises:
        InvalidConfig: given an environment itself, of which no second one can be made.
        UnknownName: no such id.
    """
    if isinstance(make_or_id, gymnasium.Env):
        raise InvalidConfig(
            "check_env needs to make several environments: give it the registered id or a function that builds one, "
            f"such as lambda: {type(make_or_id.unwrapped).__name__}()"
        )
    if isinstance(make_or_id, str):
        id = make_or_id
        make_registered(id).close()  # an unknown id is the caller's mistake and no outcome of a check
        make: Callable[[], EnvType] = lambda: make_registered(id)  # noqa: E731 - a def would need two names
    else:
        make = make_or_id
    subject = Subject(make, seed, max_turns)
    return [run_check(name, check, subject) for name, check in CHECKS]


def check_env(make_or_id: str | Callable[[], EnvType], *, seed: int = 0, max_turns: int = 50) -> None:
    """Like `report`, for tests: silent when all is well.

    Raises:
        CheckFailed: lists every check that failed, with both values and how to mend it.
    """
    failed = [one for one in report(make_or_id, seed=seed, max_turns=max_turns) if one.outcome == "failed"]
    if failed:
        lines = "".join(f"\n- {one.check}: {one.message}" for one in failed)
        raise CheckFailed(f"{len(failed)} of {len(CHECKS)} checks failed:{lines}")


def run_check(name: str, check: Callable[[Subject], None], subject: Subject) -> Check:
    """Run one check; whatever the environment raises in it is a finding."""
    try:
        check(subject)
    except Skipped as reason:
        return Check(name, "skipped", str(reason))
    except CheckFailed as failure:
        return Check(name, "failed", str(failure))
    except Exception as error:
        return Check(name, "failed", f"{type(error).__name__}: {error}")
    return Check(name, "passed")


def _gymnasium(subject: Subject) -> None:
    """Gymnasium's checker, with its warnings as failures."""
    with subject.opened() as env, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gymnasium_check_env(env.unwrapped)
    ours = [str(one.message) for one in caught if "gymnasium" in one.filename or "WARN" in str(one.message)]
    # An environment from a plain function has no spec, which is no fault of its own.
    serious = [message for message in ours if "not having a spec" not in message]
    if serious:
        raise CheckFailed(f"Gymnasium's check_env warns: {serious[0]}")


def _smoke(subject: Subject) -> None:
    """A random agent plays tasks of every split through the collector."""
    with subject.opened() as env:
        splits: tuple[str | None, ...] = getattr(env.unwrapped, "splits", ()) or (None,)
    starts = [Start(subject.seed + number, split=split) for split in splits for number in range(3)]
    with EnvPool(subject.make, 2) as pool:
        played = rollout(Wanderer(), pool, starts, Setting("checked", max_turns=subject.max_turns))
    for trajectory in played:
        if trajectory.error:
            raise CheckFailed(f"seed {trajectory.seed}, task {trajectory.task_id!r}: {trajectory.error}")


CHECKS: tuple[tuple[str, Callable[[Subject], None]], ...] = (
    ("gymnasium check_env", _gymnasium),
    ("smoke run", _smoke),
    ("determinism", check_deterministic),
    ("snapshots", check_snapshots),
    ("snapshots travel", check_snapshots_travel),
    ("isolation", check_isolated),
    ("global generators", check_global_generators),
    ("final observation", check_final_observation),
    ("info conventions", check_conventions),
    ("admissible actions", check_admissible_actions),
    ("nonsense actions", check_nonsense),
    ("splits and tasks", check_tasks),
    ("expert", check_expert),
    ("leaks", check_leaks),
)
