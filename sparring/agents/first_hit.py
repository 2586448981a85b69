"""A shopper without a model: the bar that every WebShop result should be held against.

It searches for the whole instruction, opens the first product, sets the options that the instruction names, and
buys. It reads what is on the page and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from sparring.errors import PolicyFailed
from sparring.types import Action, ActionSet, Form, Prompt

BUTTONS = frozenset(
    ("back to search", "< prev", "next >", "description", "features", "reviews", "attributes", "buy now")
)
_BUY_NOW = "click[buy now]"
_BACK = "click[back to search]"


def clickable_name(action: str) -> str:
    """What a click names: `red` for `click[red]`."""
    return action.removeprefix("click[").removesuffix("]")


def named_in(instruction: str, actions: ActionSet) -> list[str]:
    """The options that an instruction names as whole words, shorter names first.

    A page keeps one value per option, the last one clicked; so where one name is part of another ("blue" in
    "navy blue") the longer one stays.
    """
    told = instruction.lower()
    names = [clickable_name(choice) for choice in actions.choices]
    found = [name for name in names if name not in BUTTONS and _stands_in(told, name)]
    return sorted(found, key=len)


def _stands_in(text: str, name: str) -> bool:
    """Whether a name stands in a text by itself, not inside a longer word or number ("large" in "x-large")."""
    return re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-]|\.\d)", text) is not None


class FirstHitPolicy:
    """Searches the whole instruction, opens the first hit, sets the options it can find there, buys.

    It needs WebShop's plain actions (`search[…]`, `click[…]`), and remembers per episode what it has clicked.
    """

    version = 0

    def __init__(self) -> None:
        self._clicked: dict[str, set[str]] = {}

    def forget(self, episode: str) -> None:
        """Drop what was remembered of an episode."""
        self._clicked.pop(episode, None)

    def act(self, prompts: Sequence[Prompt]) -> list[Action]:
        """The next step of each episode.

        Raises:
            PolicyFailed: the environment does not say what is admissible.
        """
        return [Action(self._one(prompt)) for prompt in prompts]

    def _one(self, prompt: Prompt) -> str:
        actions = prompt.observation.actions
        if actions is None:
            raise PolicyFailed('the first-hit heuristic needs info["actions"]')
        if prompt.turn == 0:
            self.forget(prompt.episode)
        if actions.forms:
            return _search(prompt.instruction, actions.forms[0])
        if _BUY_NOW in actions.choices:
            clicked = self._clicked.setdefault(prompt.episode, set())
            for name in named_in(prompt.instruction, actions):
                if name not in clicked:
                    clicked.add(name)
                    return f"click[{name}]"
            return _BUY_NOW
        products = [choice for choice in actions.choices if clickable_name(choice) not in BUTTONS]
        return products[0] if products else _BACK


def _search(instruction: str, form: Form) -> str:
    """The whole instruction in the form's slot, as far as its vocabulary allows."""
    words = re.sub(r"[\[\]]", " ", instruction).split()
    if form.words is not None:
        words = [bare for word in words if (bare := word.lower().strip(",.:;!?()")) in form.words]
    return f"{form.prefix}{' '.join(words) or 'anything'}{form.suffix}"
