"""Guess My City: find out by yes-no questions which city the other has in mind.

The game and its reward are those of LMRL-Gym's Guess My City (Abdulhai et al., "LMRL Gym: Benchmarks for Multi-Turn
Reinforcement Learning with Language Models", 2023) as ArCHer plays it: -1 for each question but the one that solves
it, at most twenty. Cities, attributes and the rules that answer are our own, and questions are answered by yes or no;
the original has a language model answer open questions.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from sparring.envs.text.guessing.answerers import Answerer
from sparring.envs.text.guessing.game import GuessingGame

_HERE = Path(__file__).parent


class GuessMyCity(GuessingGame):
    """Guess a city of the world.

    Args:
        cities: play with so many cities; the other arguments are those of `GuessingGame`.
    """

    sort: ClassVar[str] = "city"
    files: ClassVar[tuple[Path, Path]] = (_HERE / "cities.toml", _HERE / "attributes.toml")

    def __init__(
        self,
        actions: str = "free",
        show: str = "reply",
        cities: int | None = None,
        attributes: int | None = None,
        holdout: bool = True,
        max_questions: int = 20,
        answerer: Answerer | None = None,
    ) -> None:
        super().__init__(actions, show, cities, attributes, holdout, max_questions, answerer)
