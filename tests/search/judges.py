"""Judges that answer by rule, and places of a world of choices to ask them about."""

from __future__ import annotations

import re
from collections.abc import Callable

from sparring.episode import Moment, Start
from sparring.types import Action, Prompt
from tests.search.worlds import SETTING, START, TreeWorld


class RuleJudge:
    """Answers by a rule, and remembers what it was asked."""

    version = 0

    def __init__(self, rule: Callable[[Prompt], str]) -> None:
        self.rule = rule
        self.batches: list[list[Prompt]] = []

    def act(self, prompts):
        self.batches.append(list(prompts))
        return [Action(self.rule(prompt)) for prompt in prompts]

    @property
    def prompts(self) -> list[Prompt]:
        return [prompt for batch in self.batches for prompt in batch]


def moment_at(env: TreeWorld, *taken: str, start: Start = START) -> Moment:
    """The place of an episode that these actions lead to."""
    moment = Moment.begin(start, SETTING, *env.reset(seed=start.seed))
    for action in taken:
        moment = moment.after(Action(action), env.step(action))
    return moment


def said(prompt: Prompt) -> str:
    """All that a prompt says."""
    return "\n".join(message.content for message in prompt.messages)


def taken(prompt: Prompt) -> tuple[str, ...]:
    """Where in a world of choices a prompt asks."""
    place = prompt.observation.text.removeprefix("at ")
    return () if place == "the root" else tuple(place.split("/"))


def listed(prompt: Prompt) -> list[str]:
    """The actions that a prompt lists."""
    return [action.strip() for action in re.findall(r"^\d+:\n  (.*)$", said(prompt), re.MULTILINE)]


def promise(env: TreeWorld, path: tuple[str, ...]) -> float:
    """The best that can still be had after a path."""
    return max(value for leaf, value in env.values.items() if leaf[: len(path)] == path)
