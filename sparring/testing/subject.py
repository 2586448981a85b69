"""The environment under test, played with reproducible random actions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.utils.env_checker import data_equivalence

from sparring.agents.scripted import random_action
from sparring.envs.base import EnvType, Info, TextEnv
from sparring.errors import CheckFailed
from sparring.testing.outcome import Skipped, brief
from sparring.types import Action, ActionSet, Form, Observation, Prompt

_ANYTHING = ActionSet(forms=(Form("", ""),))


@dataclass(frozen=True, slots=True)
class Seen:
    """What reset or step returned (a reset counts as a step of reward 0)."""

    text: str
    reward: float
    terminated: bool
    truncated: bool
    info: Info

    @property
    def over(self) -> bool:
        return self.terminated or self.truncated


@dataclass(frozen=True, slots=True)
class Subject:
    """The environment under test.

    Attributes:
        make: builds a fresh one. seed: of all checks. max_turns: how far episodes are played.
    """

    make: Callable[[], EnvType]
    seed: int
    max_turns: int

    @contextmanager
    def opened(self) -> Iterator[EnvType]:
        """A fresh environment, closed afterwards."""
        env = self.make()
        try:
            yield env
        finally:
            env.close()

    def require_deterministic(self, env: EnvType) -> None:
        """Skip the check where the class declares that equal seeds need not give equal episodes."""
        if not getattr(env.unwrapped, "deterministic", True):
            raise Skipped(f"{type(env.unwrapped).__name__} declares deterministic = False")


def core(env: EnvType) -> TextEnv:
    """The innermost environment.

    Raises:
        Skipped: it is no `TextEnv`, so it has no tasks, snapshots or expert.
    """
    inner = env.unwrapped
    if not isinstance(inner, TextEnv):
        raise Skipped(f"{type(inner).__name__} is no sparring TextEnv")
    return inner


def reset(env: EnvType, seed: int | None, options: dict[str, Any] | None = None) -> Seen:
    """Reset, and check the shape of what comes back."""
    result = env.reset(seed=seed, options=options)
    if not (isinstance(result, tuple) and len(result) == 2):
        raise CheckFailed(f"reset() must return (observation, info), got {brief(result)}")
    text, info = result
    if not isinstance(text, str) or not isinstance(info, dict):
        raise CheckFailed(f"reset() must return a string and a dict, got {brief(text)} and {brief(info)}")
    return Seen(text, 0.0, False, False, dict(info))


def step(env: EnvType, action: str) -> Seen:
    """Step, and check the shape of what comes back."""
    result = env.step(action)
    if not (isinstance(result, tuple) and len(result) == 5):
        raise CheckFailed(
            f"step({brief(action)}) must return (observation, reward, terminated, truncated, info), got {brief(result)}"
        )
    text, reward, terminated, truncated, info = result
    if not isinstance(text, str) or not isinstance(info, dict):
        raise CheckFailed(
            f"step({brief(action)}) must return a string observation and a dict info, "
            f"got {brief(text)} and {brief(info)}"
        )
    return Seen(text, float(reward), bool(terminated), bool(truncated), dict(info))


def draw(info: Info, rng: np.random.Generator) -> str:
    """A random admissible action; free words where the environment does not list any."""
    actions = info.get("actions", _ANYTHING)
    if not isinstance(actions, ActionSet):
        raise CheckFailed(f'info["actions"] must be a sparring.ActionSet, got {brief(actions)}')
    if not (actions.choices or actions.forms):
        raise CheckFailed(
            "no action is admitted and yet the episode goes on. End it, or leave out "
            'info["actions"] where anything goes'
        )
    observation = Observation("", actions)
    return random_action(Prompt((), observation, str(info.get("instruction", ""))), rng)


def play(
    env: EnvType,
    seed: int,
    *,
    max_turns: int,
    actions: Sequence[str] | None = None,
    options: dict[str, Any] | None = None,
    between: Callable[[], None] = lambda: None,
) -> tuple[list[str], list[Seen]]:
    """Play one episode, at most `max_turns` turns of it.

    Args:
        actions: what to do; by default random admissible actions drawn from `seed`.
        between: called after reset and after each step.
    Returns:
        The actions, and what reset and each step returned (one more than there are actions).
    """
    rng = np.random.default_rng(seed)
    seen = [reset(env, seed, options)]
    between()
    done: list[str] = []
    while not seen[-1].over and len(done) < (max_turns if actions is None else len(actions)):
        action = draw(seen[0].info | seen[-1].info, rng) if actions is None else actions[len(done)]
        done.append(action)
        seen.append(step(env, action))
        between()
    return done, seen


def difference(first: Seen, second: Seen) -> str | None:
    """What differs between two results, with both values; None where they are equal."""
    for name in ("text", "reward", "terminated", "truncated"):
        one, other = getattr(first, name), getattr(second, name)
        if one != other:
            label = "observation" if name == "text" else name
            return f"{label} {_excerpt(one, other)} against {_excerpt(other, one)}"
    for key in sorted(first.info.keys() | second.info.keys()):
        one, other = first.info.get(key), second.info.get(key)
        if not data_equivalence(one, other, exact=True):
            return f'info["{key}"] {brief(one)} against {brief(other)}'
    return None


def require_equal(first: Sequence[Seen], second: Sequence[Seen], what: str, mend: str) -> None:
    """Fail at the first turn in which two plays differ, naming it and both values."""
    for turn, (one, other) in enumerate(zip(first, second, strict=False)):
        found = difference(one, other)
        if found:
            where = "at reset" if turn == 0 else f"after step {turn}"
            raise CheckFailed(f"{what}: {where} {found}. {mend}")
    if len(first) != len(second):
        raise CheckFailed(f"{what}: {len(first) - 1} steps against {len(second) - 1}. {mend}")


class Wanderer:
    """Acts at random, on any environment: in admissible actions where they are listed, else in free words."""

    version = 0

    def act(self, prompts: Sequence[Prompt]) -> list[Action]:
        """One random action a prompt."""
        return [
            Action(
                draw(
                    {"actions": prompt.observation.actions or _ANYTHING, "instruction": prompt.instruction},
                    np.random.default_rng(prompt.seed),
                )
            )
            for prompt in prompts
        ]


def _excerpt(value: object, other: object) -> str:
    """A long text is shown from shortly before the first character in which it differs from the other."""
    if not (isinstance(value, str) and isinstance(other, str)) or max(len(value), len(other)) <= 120:
        return brief(value)
    same = next((at for at, pair in enumerate(zip(value, other, strict=False)) if pair[0] != pair[1]), None)
    begin = max(0, (min(len(value), len(other)) if same is None else same) - 30)
    return f"…{value[begin : begin + 90]!r}… (from character {begin})"
