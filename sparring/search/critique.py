"""A policy's own critique of its proposals: which of the actions drawn at a place is best, which next, and so on.

    search(…, critic=ranking(Judge(policy)), rules=rules_of("agent-q"))

Agent Q, arXiv:2408.07199: the model is asked again and again for the best of what is left.
"""

from __future__ import annotations

from collections.abc import Sequence

from sparring.episode import Moment
from sparring.search.asking import Judge, Question, indented
from sparring.search.engine import Critic


def ranking(judge: Judge) -> Critic:
    """Ask for the best action, take it away, and ask again.

    For at most K actions at a place that is K - 1 calls of the judge's policy, however many places there are. An answer
    that names no action stands for the first of those left: critics are given the most sampled actions first.

    Returns:
        A critic: of K actions the one ranked k of 1 … K is worth (K - k) / (K - 1), a single one 1. The paper does not
        say how it maps ranks to values.
    """

    def critique(places: Sequence[tuple[Moment, tuple[str, ...]]]) -> list[list[float]]:
        left = [list(range(len(actions))) for _, actions in places]
        ranks: list[list[int]] = [[] for _ in places]
        while asked := [place for place, remaining in enumerate(left) if len(remaining) > 1]:
            answers = judge.ask([_which(*places[place], left[place]) for place in asked])
            for place, answer in zip(asked, answers, strict=True):
                ranks[place].append(left[place].pop(int(answer) - 1 if answer else 0))
        return [worths([*ranked, *remaining]) for ranked, remaining in zip(ranks, left, strict=True)]

    return critique


def worths(order: Sequence[int]) -> list[float]:
    """What each of K things is worth, given their indices in order, the best first."""
    found = [1.0] * len(order)
    for rank, index in enumerate(order):
        if len(order) > 1:
            found[index] = 1 - rank / (len(order) - 1)
    return found


def _which(moment: Moment, actions: Sequence[str], left: Sequence[int]) -> Question:
    listed = "\n".join(f"{number}:\n{indented(actions[index])}" for number, index in enumerate(left, 1))
    return Question(
        moment,
        f"These are the actions to choose from:\n{listed}\nWhich is the best to take now?",
        tuple(str(number) for number in range(1, len(left) + 1)),
    )
