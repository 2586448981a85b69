"""Contrastive reflections: what a policy makes of the steps that turned out otherwise than its search expected.

    steps = surprises(executed(path, score))
    memory.add(reflect(Judge(policy), steps))

R-MCTS, arXiv:2410.02052. The error of an executed step is |V(t+1) - Q(t)|: what the place that it led to is worth,
against what the search expected of the action; the last place is worth what the episode scored. A step is a lesson for
the policy, found again by the place where it was taken, and one for the judge of places, found again by the place that
it led to (`sparring.search.memory`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sparring.episode import Moment
from sparring.search.asking import Judge, Question, indented
from sparring.search.tree import Edge

MOST_WORDS = 100

About = Literal["policy", "value"]


@dataclass(frozen=True, slots=True)
class Reflection:
    """A lesson in words.

    Attributes:
        about: "policy" where it says what to do, "value" where it says what a place is worth.
        key: task and observation (`key_of`), by the likeness of which it is found again.
        text: the lesson, in one line. task, split: where it was learned. error: of the step that taught it.
    """

    about: About
    key: str
    text: str
    task: str
    split: str = ""
    error: float = 0.0


@dataclass(frozen=True, slots=True)
class Executed:
    """A step that was taken after a search, and what came of it.

    Attributes:
        before: where it was taken. after: where it led.
        expected: what the search found the action to be worth. found: what the place turned out to be worth.
    """

    before: Moment
    after: Moment
    expected: float
    found: float

    @property
    def error(self) -> float:
        """By how much the search was wrong."""
        return abs(self.found - self.expected)


def executed(path: Sequence[Edge], score: float | None) -> list[Executed]:
    """The steps of an episode that was played by search, as far as it is known what was expected of them.

    Args:
        path: the edges that were taken, in order, of one tree or of several that were searched one after the other.
        score: of the episode; None where the path does not reach its end, so that the last place has but its value.
    """
    found = []
    for number, edge in enumerate(path, 1):
        if edge.node is None:
            continue
        value = score if score is not None and number == len(path) else edge.node.value
        if value is not None and edge.visits:
            found.append(Executed(edge.parent.moment, edge.node.moment, edge.mean, value))
    return found


def surprises(steps: Sequence[Executed], *, above: float = 0.5, most: int = 3) -> list[Executed]:
    """The steps with the largest errors, the largest first; of equal ones the earlier.

    Args:
        above: what an error must be greater than. most: how many there are at most.
    """
    return sorted((step for step in steps if step.error > above), key=lambda step: -step.error)[:most]


def reflect(judge: Judge, steps: Sequence[Executed]) -> list[Reflection]:
    """Let a policy say what it expected of each step, then what to learn from what came instead.

    That is two calls of the judge's policy, however many steps there are. A lesson that says nothing is left out, and
    one of more than 100 words cut.

    Returns:
        The lessons of each step, that for the policy before that for the judge of places.
    """
    expectations = judge.ask([_expect(step) for step in steps])
    about: tuple[About, ...] = ("policy", "value")
    questions = [
        _contrast(step, expectation or "", purpose)
        for step, expectation in zip(steps, expectations, strict=True)
        for purpose in about
    ]
    owners = [(step, purpose) for step in steps for purpose in about]
    return [
        Reflection(
            purpose,
            _key(step.before if purpose == "policy" else step.after),
            " ".join(said.split()[:MOST_WORDS]),
            step.before.task,
            step.before.start.split or "",
            step.error,
        )
        for (step, purpose), said in zip(owners, judge.ask(questions), strict=True)
        if said is not None
    ]


def key_of(instruction: str, seen: str) -> str:
    """What the lessons of a place are found again by: the task's instruction, and the observation there."""
    return f"{instruction}\n{seen}"


def _key(moment: Moment) -> str:
    assert moment.observation is not None
    return key_of(moment.instruction, moment.observation.text)


def _action(step: Executed) -> str:
    return indented(step.after.turns[-1].action.text)


def _expect(step: Executed) -> Question:
    return Question(step.before, f"This is done now:\n{_action(step)}\nWhat do you expect to see next, and why?")


def _contrast(step: Executed, expectation: str, about: About) -> Question:
    assert step.after.observation is not None
    lesson = {
        "policy": "What should be done, or left, when such a place is met again?",
        "value": "What tells how good such an outcome is, when one is met again?",
    }[about]
    return Question(
        step.before,
        f"This was done then:\n{_action(step)}\n"
        f"This was expected, and thought to be worth {step.expected:.2f} of at most 1:\n{indented(expectation)}\n"
        f"This came of it, and turned out to be worth {step.found:.2f}:\n{indented(step.after.observation.text)}\n"
        f"{lesson} Say it in at most {MOST_WORDS} words.",
    )
