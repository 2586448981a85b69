"""A good player: asks what tells most about the items that still fit all answers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sparring.envs.text.guessing.answerers import UNKNOWN, YES
from sparring.envs.text.guessing.knowledge import Knowledge
from sparring.envs.text.guessing.questions import AsksWhether, Guesses, Meaning

Answered = Sequence[tuple[Meaning, str]]


def candidates(knowledge: Knowledge, answered: Answered) -> npt.NDArray[np.int64]:
    """Rows of the items that contradict the fewest answers, those guessed in vain left out.

    With the knowledge itself answering these are the items that fit every answer.
    """
    contradictions = np.zeros(len(knowledge.items), dtype=np.int64)
    for meaning, reply in answered:
        if isinstance(meaning, Guesses):
            contradictions[meaning.item] += len(answered) * (reply != YES)
        elif reply != UNKNOWN:
            holds = (reply == YES) != meaning.opposite
            contradictions += knowledge.truth[:, meaning.attribute] != holds
    return np.flatnonzero(contradictions == contradictions.min())


def _bits(share: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Entropy of a yes-no answer whose probability of yes is `share`."""
    inner = np.clip(share, 1e-12, 1 - 1e-12)
    return np.asarray(-inner * np.log2(inner) - (1 - inner) * np.log2(1 - inner))


def next_question(knowledge: Knowledge, answered: Answered) -> str:
    """The canonical question with the largest expected gain of information, all candidates being equally likely.

    A guess is one of the questions. Of equals the guess comes first, as it may end the game, then the order of the
    table. Attributes already asked for are not asked for again, whatever was answered.
    """
    rows = candidates(knowledge, answered)
    gain = _bits(knowledge.truth[rows].mean(axis=0))
    gain[[meaning.attribute for meaning, _ in answered if isinstance(meaning, AsksWhether)]] = 0.0
    best = int(np.argmax(gain))
    if gain[best] > _bits(np.array(1 / len(rows))) + 1e-9:
        return knowledge.attributes[best].question
    return knowledge.items[int(rows[0])].question
