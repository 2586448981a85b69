"""Revisions: where a failed branch of a tree went wrong, and how an episode goes on well from there.

Agent-R (arXiv:2501.11425). A tree has endings of different worth. Where one is good and another clearly worse, the
worse branch is followed to its first bad action (the transition point), and what an agent should have done then becomes
a lesson: a bad beginning, which is context, and a good end, which is learned from. All functions here are pure.

    for contrast in contrasts(tree, outcome, alpha=0.5, beta=0.2, nearest=False):
        mistake = mistake_of(contrast, by_value(contrast.branch, gap=0.2))
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from sparring.envs.second_thought import FURTHEST, answered, sentence
from sparring.episode import Moment
from sparring.search.tree import Edge, Node, Tree
from sparring.trainers.rounds import Flagged
from sparring.types import Action, Observation, Stop, Trajectory, Turn

Verdict = Literal["Good", "Bad", "Uncertain"]
Outcome = Callable[[Moment], float]


# Endings


def is_good(worth: float, alpha: float) -> bool:
    """Whether an ending is good enough to lead to: worth more than alpha.

    At alpha 1, where the paper's thresholds end, the best there is would not be; an ending worth 1 always is.
    """
    return worth > alpha or worth >= 1.0


def is_contrast(good: float, bad: float, *, alpha: float, beta: float) -> bool:
    """Whether two endings make a pair: the one is good, and by more than beta better than the other."""
    return is_good(good, alpha) and good - bad > beta


def good_endings(nodes: Iterable[Node], outcome: Outcome, alpha: float) -> list[Node]:
    """The good ones among endings: the best first, of equals those reached in fewer turns, then those found first."""
    good = [node for node in nodes if is_good(outcome(node.moment), alpha)]
    return sorted(good, key=lambda node: (-outcome(node.moment), node.depth, node.number))


def shared_actions(one: Sequence[Edge], other: Sequence[Edge]) -> int:
    """How many actions two paths from a root have in common before they part."""
    count = 0
    for first, second in zip(one, other, strict=False):
        if first is not second:
            break
        count += 1
    return count


@dataclass(frozen=True, slots=True)
class Contrast:
    """A good and a bad ending of one tree.

    Attributes:
        good, bad: their paths from the root. shared: how many actions they have in common.
    """

    good: tuple[Edge, ...]
    bad: tuple[Edge, ...]
    shared: int

    @property
    def branch(self) -> tuple[Edge, ...]:
        """The bad path from where it parts with the good one."""
        return self.bad[self.shared :]


def contrasts(tree: Tree, outcome: Outcome, *, alpha: float, beta: float, nearest: bool) -> list[Contrast]:
    """Each bad ending with the best of the good ones that make a pair with it (`is_contrast`).

    Args:
        nearest: of equally good ones take that which shares most with the bad path, as in the paper; else that which
            was reached in the fewest turns, which makes no mistake that could be done without.
    Returns:
        The pairs in the order in which the search came to their bad endings.
    """
    found: list[Contrast] = []
    good = [(node, tuple(node.path)) for node in good_endings(tree.endings(), outcome, alpha)]
    for ending in tree.endings():
        bad, worth = tuple(ending.path), outcome(ending.moment)
        pairs = [
            Contrast(path, bad, shared_actions(path, bad))
            for node, path in good
            if is_contrast(outcome(node.moment), worth, alpha=alpha, beta=beta)
        ]
        if pairs:  # the best come first, of equals the shortest
            best = [one for one in pairs if _worth(one, outcome) == _worth(pairs[0], outcome)]
            found.append(max(best, key=lambda one: one.shared) if nearest else best[0])
    return found


def _worth(contrast: Contrast, outcome: Outcome) -> float:
    node = contrast.good[-1].node
    assert node is not None
    return outcome(node.moment)


# The transition point


def by_value(branch: Sequence[Edge], *, gap: float) -> list[Verdict]:
    """What the search itself says of actions: the means of what simulations through them ended with.

    An action is bad where another one of its place has a mean higher by more than `gap`, good where none has a higher
    one, and otherwise, or where no other was tried, uncertain.
    """
    return [_verdict(edge, gap) for edge in branch]


def _verdict(edge: Edge, gap: float) -> Verdict:
    others = [one.mean for one in edge.parent.edges if one is not edge and one.visits]
    if not others:
        return "Uncertain"
    behind = max(others) - edge.mean
    return "Bad" if behind > gap else "Good" if behind <= 0 else "Uncertain"


@dataclass(frozen=True, slots=True)
class Mistake:
    """Where a bad path is left.

    Attributes:
        contrast: the pair. turn: the number of the transition point, an action of `contrast.bad`. All up to and with it
            are kept.
    """

    contrast: Contrast
    turn: int

    @property
    def node(self) -> Node:
        """The place behind the transition point."""
        node = self.contrast.bad[self.turn].node
        assert node is not None
        return node

    @property
    def kept(self) -> tuple[Turn, ...]:
        """The turns of the episode up to and with the transition point."""
        return self.node.moment.turns


def mistake_of(contrast: Contrast, verdicts: Sequence[Verdict]) -> Mistake | None:
    """The first bad action of the bad branch; where none is called bad, the last one (`last_to_leave`).

    Args:
        verdicts: on the actions of `contrast.branch` in order; none for revising at the end (Direct-Revision).
    Returns:
        None where there is nothing to go on from: the first bad action ended the episode, or there is no last one.
    """
    bad = next((number for number, verdict in enumerate(verdicts) if verdict == "Bad"), None)
    left = last_to_leave(contrast) if bad is None else bad
    return Mistake(contrast, contrast.shared + left) if left is not None and _goes_on(contrast.branch[left]) else None


def last_to_leave(contrast: Contrast) -> int | None:
    """The number, in the bad branch, of its last action that an episode could still go on well from.

    It did not end the episode. And where a limit of turns did, as many are left after it as the good branch takes, and
    one to get there.
    """
    branch, ending = contrast.branch, contrast.bad[-1].node
    assert ending is not None
    is_cut = ending.moment.stop in (Stop.TRUNCATED, Stop.MAX_TURNS)
    room = len(contrast.good) - contrast.shared + 1 if is_cut else 0
    return next(
        (
            number
            for number in reversed(range(len(branch)))
            if _goes_on(branch[number]) and len(branch) - number - 1 >= room
        ),
        None,
    )


def _goes_on(edge: Edge) -> bool:
    return edge.node is not None and not edge.node.is_over


# Lessons


def below(node: Node, endings: Iterable[Node]) -> list[Node]:
    """The endings that were reached through a node."""
    edge = node.came_by
    return [one for one in endings if edge is None or edge in one.path]


def revised(trajectory: Trajectory, first: int) -> Flagged:
    """A revision to learn from: the turns from number `first` on; the bad beginning is context."""
    return Flagged(trajectory, frozenset(range(first, len(trajectory.turns))))


def spliced(mistake: Mistake) -> tuple[Turn, ...] | None:
    """The turns of a revision as the paper writes it: bad beginning, a thought that takes it back, the good branch.

    Only what is seen and said counts: the turns are to be taken again, under the wrapper `second-thought`. Actions that
    have moved behind a thought are scripted ones: no policy sampled them on what they now stand behind.

    Returns:
        None where the good branch parts further back than a thought reaches, or where the bad steps did nothing.
    """
    path = mistake.contrast
    undone = [edge.turn for edge in path.bad[path.shared : mistake.turn + 1] if edge.turn is not None]
    steps = sum(not turn.info.get("no_op") for turn in undone)
    if not 1 <= steps <= FURTHEST:
        return None
    seen = mistake.node.moment.observation
    assert seen is not None
    good = [edge.turn for edge in path.good[path.shared :] if edge.turn is not None]
    moved = [Turn(turn.observation, Action(turn.action.text), turn.reward) for turn in good]
    back = replace(moved[0], observation=Observation(answered(moved[0].observation.text)))
    return (*mistake.kept, Turn(seen, Action(sentence(steps)), 0.0), back, *moved[1:])
