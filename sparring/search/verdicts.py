"""What a place is worth by the word of a judge.

    search(…, evaluator=estimate(verdicts(Judge(policy), VERDICTS, votes=20)), rules=rules_of("best-first"))

Under rules with `sees_outcome=False` a judge also values endings, as at test time, where nothing else tells what they
are worth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sparring.episode import Moment
from sparring.errors import InvalidConfig
from sparring.search.asking import Judge, Question

Values = Callable[[Sequence[Moment]], Sequence[float]]


@dataclass(frozen=True, slots=True)
class Scale:
    """What a judge may say, and what that is worth.

    Attributes:
        worths: of each answer. meanings: of each answer, where it does not speak for itself.
        otherwise: what anything else is worth.
    """

    worths: Mapping[str, float]
    otherwise: float
    meanings: Mapping[str, str]

    @property
    def question(self) -> str:
        """How to judge, as the judge is told."""
        explained = [f"{answer}: {meaning}" for answer, meaning in self.meanings.items()]
        return "\n".join(["How likely is it that the task ends in success?", *explained])

    def worth(self, answer: str | None) -> float:
        """What an answer is worth."""
        return self.otherwise if answer is None else self.worths[answer]


GRADES = Scale(
    {"A": 1.0, "B": 0.7, "C": 0.5, "D": -0.2, "E": -1.0},
    -1.0,
    {
        "A": "the task is done, just as it was asked",
        "B": "nearly done, and nothing was done wrong",
        "C": "on the way, and it may still go either way",
        "D": "on a wrong way that can be left",
        "E": "it failed, or can't succeed any more",
    },
)
"""R-MCTS, arXiv:2410.02052, and its code. The code's E is one of all other answers."""

VERDICTS = Scale(
    {"success": 1.0, "on track": 0.5, "fail": 0.0},
    0.0,
    {
        "success": "the task is done, just as it was asked",
        "on track": "not done yet, but on the way",
        "fail": "it failed, or is on no way to success",
    },
)
"""Koh et al., arXiv:2407.01476, whose value is the mean of 20 verdicts."""

SCORES = Scale(
    {str(score): score / 10 for score in range(1, 11)},
    -1.0,
    {"1": "it can't succeed any more", "10": "the task is done, just as it was asked"},
)
"""LATS, arXiv:2310.04406, and its code for WebShop."""


def verdicts(judge: Judge, scale: Scale = GRADES, *, votes: int = 1) -> Values:
    """The mean of a judge's verdicts on each place, all asked for in one call of its policy.

    Args:
        votes: how many verdicts of each place.
    Raises:
        InvalidConfig: fewer than one.
    """
    if votes < 1:
        raise InvalidConfig(f"votes must be at least 1, got {votes}")

    def values(moments: Sequence[Moment]) -> list[float]:
        questions = [
            Question(moment, scale.question, tuple(scale.worths), vote) for moment in moments for vote in range(votes)
        ]
        found = [scale.worth(answer) for answer in judge.ask(questions)]
        return [sum(found[first : first + votes]) / votes for first in range(0, len(found), votes)]

    return values
