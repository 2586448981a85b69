"""Twenty Questions: find out by yes-no questions which common object the other has in mind.

The game and its reward are those of ArCHer's Twenty Questions (Zhou et al., "ArCHer: Training Language Model Agents
via Hierarchical Multi-Turn RL", ICML 2024): -1 for each question but the one that solves it, at most twenty. Objects,
attributes and the rules that answer are our own, where the original has a language model answer. There a question
solves the game if its last word is the object's name; here it must ask whether it *is* the object.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from sparring.envs.text.guessing.answerers import Answerer
from sparring.envs.text.guessing.game import GuessingGame

_HERE = Path(__file__).parent


class TwentyQuestions(GuessingGame):
    """Guess a common object: an animal, a food, a garment, a tool …

    Args:
        objects: play with so many objects; the other arguments are those of `GuessingGame`.
    """

    sort: ClassVar[str] = "common object"
    files: ClassVar[tuple[Path, Path]] = (_HERE / "objects.toml", _HERE / "attributes.toml")

    def __init__(
        self,
        actions: str = "free",
        show: str = "reply",
        objects: int | None = None,
        attributes: int | None = None,
        holdout: bool = True,
        max_questions: int = 20,
        answerer: Answerer | None = None,
    ) -> None:
        super().__init__(actions, show, objects, attributes, holdout, max_questions, answerer)
