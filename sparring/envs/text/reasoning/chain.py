"""Follow arrows, and write the way back to front (`sparring/Chain-v1`).

    c>a a>f f>b b>d ... from c, 4 steps  ->  d b f a

The answer begins with where the way ends, so its first word takes all steps in the head, one after another, and a model
of few layers can follow only so many in one pass: what is missing is ability, not a steadier hand. A guessed end is
walked back from like a right one, so that the error shows at the last word, which no arrow joins to the start; to check
an answer takes one step a word. The detailed feedback names the first wrong arrow on the way.

Related: depth of function composition and what writing down adds, Merrill and Sabharwal, arXiv:2310.07923; Sanford et
al., arXiv:2402.09268 (k-hop).
"""

from __future__ import annotations

from dataclasses import dataclass
from string import ascii_lowercase
from typing import Unpack

import numpy as np

from sparring.envs.text.reasoning.self_correction import RIGHT, Options, SelfCorrection, Verdict, wrong
from sparring.errors import InvalidConfig
from sparring.types import ActionSet, Form


@dataclass(frozen=True, slots=True)
class Arrows:
    """Places from 0 up, the arrow out of each in the order shown, and where the way begins."""

    arrows: tuple[tuple[int, int], ...]
    start: int

    def way(self, steps: int) -> list[int]:
        """The places after each step."""
        leads = dict(self.arrows)
        here, found = self.start, []
        for _ in range(steps):
            here = leads[here]
            found.append(here)
        return found


class Chain(SelfCorrection[Arrows]):
    """Say where a way along arrows leads, the last place first.

    The arrows are one cycle through all places, in a random order: no place comes twice.

    Args:
        places: 3 to 26. steps: how many arrows to follow, fewer than places.
        options: `attempts`, `feedback` and the others of `SelfCorrection`.
    Raises:
        InvalidConfig: sizes out of range.
    """

    def __init__(self, *, places: int = 10, steps: int = 4, **options: Unpack[Options]) -> None:
        if not 3 <= places <= len(ascii_lowercase) or not 1 <= steps < places:
            raise InvalidConfig(f"places must be 3 to 26 and steps 1 to places - 1, got {places} and {steps}")
        super().__init__(**options)
        self.places, self.steps = places, steps
        self.rules = f"Follow {steps} arrows from the place named last. Say the way, its end first."
        self.actions = ActionSet(forms=(Form("", "", tuple(ascii_lowercase[:places])),))

    def draw(self, rng: np.random.Generator) -> Arrows:
        cycle = [int(place) for place in rng.permutation(self.places)]
        arrows = list(zip(cycle, [*cycle[1:], cycle[0]], strict=True))
        shown = tuple(arrows[int(at)] for at in rng.permutation(self.places))
        return Arrows(shown, cycle[0])

    def problem(self, problem: Arrows) -> str:
        arrows = " ".join(f"{ascii_lowercase[one]}>{ascii_lowercase[other]}" for one, other in problem.arrows)
        return f"{arrows} from {ascii_lowercase[problem.start]}"

    def solve(self, problem: Arrows) -> str:
        return " ".join(ascii_lowercase[place] for place in reversed(problem.way(self.steps)))

    def verify(self, problem: Arrows, answer: str) -> Verdict:
        said = answer.split()
        if len(said) != self.steps:
            return wrong(f"it names {len(said)} places")
        before = ascii_lowercase[problem.start]
        for name, right in zip(reversed(said), problem.way(self.steps), strict=True):
            if name != ascii_lowercase[right]:
                return wrong(f"no arrow leads from {before} to {name}")
            before = name
        return RIGHT
