"""Policies that need no model: random, and the environment's own expert with a chosen error rate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sparring.errors import InvalidConfig, PolicyFailed
from sparring.types import Action, ActionSet, Form, Prompt


def random_words(prompt: Prompt, form: Form, rng: np.random.Generator) -> str:
    """Fill a form's slot with one to four words, of its vocabulary or else of the instruction."""
    words = form.words or tuple(prompt.instruction.replace(form.suffix, " ").split()) or ("anything",)
    return " ".join(words[int(rng.integers(len(words)))] for _ in range(int(rng.integers(1, 5))))


def random_action(prompt: Prompt, rng: np.random.Generator) -> str:
    """Draw uniformly from the admissible choices and forms (a form counts as one choice).

    Raises:
        PolicyFailed: the environment does not say what is admissible.
    """
    actions: ActionSet | None = prompt.observation.actions
    if actions is None or not (actions.choices or actions.forms):
        raise PolicyFailed('a random policy needs info["actions"] with at least one admissible action')
    pick = int(rng.integers(len(actions.choices) + len(actions.forms)))
    if pick < len(actions.choices):
        return actions.choices[pick]
    form = actions.forms[pick - len(actions.choices)]
    return f"{form.prefix}{random_words(prompt, form, rng)}{form.suffix}"


class RandomPolicy:
    """Draws an admissible action each turn. Its randomness is the prompt's seed, so episodes repeat."""

    version = 0

    def act(self, prompts: Sequence[Prompt]) -> list[Action]:
        """One uniform draw a prompt."""
        return [Action(random_action(prompt, np.random.default_rng(prompt.seed))) for prompt in prompts]


class ExpertPolicy:
    """Follows the environment's expert (the `expert` wrapper), and errs at a chosen rate.

    Args:
        error_rate: probability, each turn, of a random admissible action instead of the expert's.
    """

    version = 0

    def __init__(self, error_rate: float = 0.0) -> None:
        if not 0 <= error_rate <= 1:
            raise InvalidConfig(f"error_rate must be within 0 and 1, got {error_rate}")
        self.error_rate = error_rate

    def act(self, prompts: Sequence[Prompt]) -> list[Action]:
        """The expert's action, or an error.

        Raises:
            PolicyFailed: a prompt carries no expert action.
        """
        return [Action(self._one(prompt)) for prompt in prompts]

    def _one(self, prompt: Prompt) -> str:
        rng = np.random.default_rng(prompt.seed)
        if rng.random() < self.error_rate:
            return random_action(prompt, rng)
        if prompt.observation.expert is None:
            raise PolicyFailed(
                'no expert action in the prompt: put the wrapper "expert" innermost around the environment'
            )
        return prompt.observation.expert
