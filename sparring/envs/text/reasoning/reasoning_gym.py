"""Any task of reasoning-gym, by its name, with its own scorer (`sparring/ReasoningGym-v1`, extra `reasoning`).

    env = sparring.make("ReasoningGym-v1", dataset="countdown", feedback="verdict", attempts=5)

The package (PyPI reasoning-gym, Apache-2.0; Stojanovski et al., arXiv:2505.24760) generates about a hundred kinds of
problems. They are its own: `gsm_symbolic` and the others stand in for no published test set, and results on them are to
be named after reasoning-gym. What is mended of version 0.1.25:

1. Some scorers pass the answer to `eval`, or to sympy's `parse_expr`, which does. Here such a scorer is asked only
   about text that is a literal or plain arithmetic; the three tasks whose answers are formulas are refused.
2. Scorers that raise on an answer they can't read give it 0 here.
3. Some tasks draw from the process-wide generators: here each has generators of its own, seeded by its index.
4. Indices are seeds next to each other, and small tasks repeat: here no problem is in two splits.

A few tasks come without an answer of their own, and so without an expert. `composite` needs `config`, and `acre`,
`gsm_symbolic`, `list_functions` and `word_ladder` have 2,000 to 20,000 problems unless `config` says another `size`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Any, Unpack

import numpy as np

from sparring.envs.text.global_generators import OwnGenerators
from sparring.envs.text.reasoning.self_correction import Options, SelfCorrection, Verdict
from sparring.errors import EnvFailed, InvalidConfig, need, unknown
from sparring.types import ActionSet, Form

Entry = Mapping[str, Any]

# Scorers that evaluate the answer: as a Python literal, as arithmetic, or as a formula with names of functions.
_EVALUATES_LITERALS = frozenset({"binary_matrix", "n_queens", "spiral_matrix", "string_insertion"})
_EVALUATES_ARITHMETIC = frozenset({"countdown", "puzzle24"})
_EVALUATES_FORMULAS = frozenset({"intermediate_integration", "polynomial_multiplication", "simple_integration"})

_LONGEST_EVALUATED = 500
# No power, which could take for ever: a star follows no star.
_ARITHMETIC = re.compile(r"(?:[0-9+\-/() ]|\*(?!\s*\*))+")
# A board of n_queens: as Python it is no expression, or a name that means nothing.
_BOARD = re.compile(r"[Q_\s]+")
# Entries to draw from. Some tasks make all of them at once, or can't make so many.
_ENTRIES = 2**31 - 1
_FEWER_ENTRIES = {"acre": 2_000, "gsm_symbolic": 20_000, "list_functions": 20_000, "word_ladder": 20_000}


def is_harmless(dataset: str, answer: str) -> bool:
    """Whether the scorer of a task may be asked about an answer."""
    if dataset in _EVALUATES_FORMULAS:
        return False
    if dataset not in _EVALUATES_ARITHMETIC | _EVALUATES_LITERALS:
        return True
    if len(answer) > _LONGEST_EVALUATED:
        return False
    if dataset in _EVALUATES_ARITHMETIC:
        return _ARITHMETIC.fullmatch(answer) is not None
    return _BOARD.fullmatch(answer) is not None or _is_literal(answer)


def _is_literal(text: str) -> bool:
    try:
        ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return False
    return True


class ReasoningGym(SelfCorrection[Entry]):
    """A task of reasoning-gym.

    The reward is its scorer's, clipped to [0, 1], and 1 is right; many scorers give a little for any answer at all.

    Args:
        dataset: reasoning-gym's name of the task, such as `chain_sum` or `mini_sudoku`.
        config: options of the task, as reasoning-gym names them.
        options: `attempts`, `feedback` and the others of `SelfCorrection`.
    Raises:
        MissingExtra: reasoning-gym is not installed. UnknownName: it has no such task. EnvFailed: it can't make it.
        InvalidConfig: its scorer would evaluate what a model says.
    """

    rules = "Say nothing but the answer."
    actions = ActionSet(forms=(Form("", ""),))

    def __init__(
        self,
        *,
        dataset: str = "chain_sum",
        config: Mapping[str, Any] | None = None,
        **options: Unpack[Options],
    ) -> None:
        factory: Any = need("reasoning_gym.factory", "reasoning")
        if dataset not in factory.DATASETS:
            raise unknown("task of reasoning-gym", dataset, factory.DATASETS)
        if dataset in _EVALUATES_FORMULAS:
            raise InvalidConfig(
                f'the scorer of "{dataset}" evaluates the answer as Python, which is no way to treat what a model '
                "says: choose another task"
            )
        super().__init__(**options)
        self.dataset = dataset
        try:
            size = _FEWER_ENTRIES.get(dataset, _ENTRIES)
            self._entries: Any = factory.create_dataset(dataset, **{"seed": 0, "size": size, **(config or {})})
        except Exception as error:
            raise EnvFailed(f'reasoning-gym can\'t make "{dataset}": {type(error).__name__}: {error}') from error

    def draw(self, rng: np.random.Generator) -> Entry:
        """The entry of a random index."""
        index = int(rng.integers(len(self._entries)))
        with OwnGenerators(index).lent():
            entry: Entry = self._entries[index]
        return entry

    def problem(self, problem: Entry) -> str:
        return str(problem["question"]).strip()

    def read(self, action: str) -> str:
        """The answer as it was said, without the space around it: lines may matter."""
        return action.strip()

    def solve(self, problem: Entry) -> str:
        """The answer that comes with the problem.

        Raises:
            UnknownName: none does.
        """
        if not isinstance(problem["answer"], str) or not problem["answer"].strip():
            raise unknown("expert", self.dataset, (), "This task of reasoning-gym comes without an answer.")
        return problem["answer"].strip()

    def verify(self, problem: Entry, answer: str) -> Verdict:
        if answer == str(problem["answer"]).strip():
            answer = problem["answer"]  # where space around it matters, it is not what was asked for
        elif not is_harmless(self.dataset, answer):
            return Verdict(0.0, "it can't be read")
        try:
            with OwnGenerators(0).lent():
                score = float(self._entries.score_answer(answer, dict(problem)))
        except Exception:
            return Verdict(0.0, "it can't be read")
        reward = min(max(score, 0.0), 1.0)
        return Verdict(reward, "" if reward in (0.0, 1.0) else f"it scores {reward:.2f} of 1")
