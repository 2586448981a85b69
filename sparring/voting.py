"""Many answers to one problem: the majority's, and the best that an oracle would pick.

Names are RISE's: `m1@t5` is the majority over the five turns of one episode, `p1@t5` whether any of them is right (an
oracle stops the episode there), `m5@t1` and `p5@t1` the same over the first turns of five episodes. Both cost five
answers, so in turns against in parallel is a comparison at equal budget.

    in_turns(trajectories, 5), in_parallel(trajectories, 5)

Source: Qu et al., RISE, arXiv:2407.18219, section 5 (protocols).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sparring.correction import answer, attempts
from sparring.errors import InvalidData
from sparring.types import Stop, Trajectory, Turn


@dataclass(frozen=True, slots=True)
class Choice:
    """Rates of right answers, over problems.

    Attributes:
        majority: the commonest answer is right. oracle: any answer is right. problems: how many there were.
    """

    majority: float
    oracle: float
    problems: int


def in_turns(trajectories: Sequence[Trajectory], turns: int) -> Choice:
    """`m1@t…` and `p1@t…`: choose among the first attempts of each episode.

    An episode that stopped at a right attempt (an oracle's protocol) counts its last answer for the attempts that it
    did not need, so that its `oracle` is right and its `majority` too flattering: for that one, play all turns.

    Args:
        trajectories: episodes; those that the environment failed in are left out. turns: how many attempts, from 1.
    Raises:
        InvalidData: no episode has an attempt, or one that was not right in the end has too few.
    """
    return _choose([_padded(found, turns) for found in map(attempts, _whole(trajectories)) if found])


def in_parallel(trajectories: Sequence[Trajectory], samples: int) -> Choice:
    """`m…@t1` and `p…@t1`: choose among the first attempts of several episodes of a task.

    Args:
        trajectories: episodes; of each task the first `samples` count. samples: from 1.
    Raises:
        InvalidData: no episode has an attempt, or a task has fewer episodes.
    """
    firsts: dict[str, list[Turn]] = {}
    for one in _whole(trajectories):
        if found := attempts(one):
            firsts.setdefault(one.task_id, []).append(found[0])
    for task, found_first in firsts.items():
        if len(found_first) < samples:
            raise InvalidData(
                f'the task "{task}" has {len(found_first)} episodes with an attempt, and {samples} are asked for: play '
                "every task so often"
            )
    return _choose([found_first[:samples] for found_first in firsts.values()])


def majority(answers: Sequence[str]) -> str:
    """The commonest answer; of several, the one that came up first.

    Raises:
        InvalidData: no answers.
    """
    if not answers:
        raise InvalidData("a majority needs at least one answer")
    return Counter(answers).most_common(1)[0][0]


def _choose(problems: Sequence[Sequence[Turn]]) -> Choice:
    if not problems or not all(problems):
        raise InvalidData("nothing to choose among: no episode has an attempt, or none was asked for")
    voted = [majority([answer(turn) for turn in turns]) for turns in problems]
    return Choice(
        majority=sum(_is_right(turns, text) for turns, text in zip(problems, voted, strict=True)) / len(problems),
        oracle=sum(any(turn.info["correct"] for turn in turns) for turns in problems) / len(problems),
        problems=len(problems),
    )


def _is_right(turns: Sequence[Turn], text: str) -> bool:
    """What the verifier said of this answer, which is the same each time."""
    return next(bool(turn.info["correct"]) for turn in turns if answer(turn) == text)


def _padded(found: Sequence[Turn], turns: int) -> list[Turn]:
    if len(found) < turns and not found[-1].info["correct"]:
        raise InvalidData(f"an episode made {len(found)} attempts, and {turns} are asked for: play it with so many")
    return [*found[:turns], *[found[-1]] * (turns - len(found))]


def _whole(trajectories: Sequence[Trajectory]) -> list[Trajectory]:
    return [one for one in trajectories if one.stop is not Stop.ENV_ERROR]
