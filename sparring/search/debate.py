"""What a place is worth after a debate: one side says why it leads to success, one why not, and a judge reads both.

    search(…, evaluator=estimate(debate(Judge(policy))), rules=rules_of("r-mcts", sees_outcome=False))

R-MCTS, arXiv:2410.02052.
"""

from __future__ import annotations

from collections.abc import Sequence

from sparring.episode import Moment
from sparring.search.asking import Judge, Question, indented
from sparring.search.verdicts import GRADES, Scale, Values

_SIDES = ("leads to success", "leads to failure")


def debate(judge: Judge, debater: Judge | None = None, scale: Scale = GRADES) -> Values:
    """Two arguments a place, and the mean of two grades, between which the arguments change places.

    That is two calls of a policy, however many places there are.

    Args:
        debater: argues; by default the judge itself. What it says is shown to the judge as words of somebody's.
    """

    def values(moments: Sequence[Moment]) -> list[float]:
        sides = (debater or judge).ask([_argue(moment, side) for moment in moments for side in _SIDES])
        arguments = [
            f"Why it {side}:\n{indented(said or '')}" for side, said in zip(_SIDES * len(moments), sides, strict=True)
        ]
        questions = []
        for index, moment in enumerate(moments):
            both = arguments[2 * index : 2 * index + 2]
            questions += [_grade(moment, both, scale), _grade(moment, both[::-1], scale)]
        grades = [scale.worth(answer) for answer in judge.ask(questions)]
        return [(one + other) / 2 for one, other in zip(grades[::2], grades[1::2], strict=True)]

    return values


def _argue(moment: Moment, side: str) -> Question:
    return Question(moment, f"Give the strongest reasons why the way taken so far {side}.")


def _grade(moment: Moment, arguments: Sequence[str], scale: Scale) -> Question:
    heard = "\n".join(arguments)
    return Question(moment, f"Two sides were heard.\n{heard}\n{scale.question}", tuple(scale.worths))
