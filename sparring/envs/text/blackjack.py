"""Gymnasium's Blackjack in text, with the exactly optimal player as its expert."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from gymnasium.envs.toy_text.blackjack import BlackjackEnv

from sparring.envs.base import Info
from sparring.envs.text.gymnasium_text import GymnasiumText
from sparring.envs.text.repeats import light_copy
from sparring.types import SnapshotKind

# The deck never runs out: an ace, 2 to 9, and four cards that count 10.
CARDS = {card: (4 if card == 10 else 1) / 13 for card in range(1, 11)}

_DEALER_STANDS = 17


class Table(BlackjackEnv):
    """Gymnasium's environment with cheap copies: only the hands change."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Table:
        return light_copy(self, "player", "dealer")


class Blackjack(GymnasiumText):
    """One hand of blackjack, by the rules of Sutton and Barto (2018), example 5.1: `hit` or `stick`.

    The reward is 1 for a win, 0 for a draw and -1 for a loss, the score maps it to 1, 0.5 and 0, and only a win is a
    success. A task is the luck of a whole hand.

    Args:
        sab: the rules above, by which an ace and a ten at the start beat every other 21. Without them they are a 21.
        natural: only where `sab` is False: pay 1.5 for a win by an ace and a ten.
        train_tasks, dev_tasks, test_tasks: how many hands each split has.
    """

    def __init__(
        self,
        sab: bool = True,
        natural: bool = False,
        train_tasks: int = 10_000,
        dev_tasks: int = 1_000,
        test_tasks: int = 1_000,
    ) -> None:
        super().__init__(
            lambda: Table(natural=natural, sab=sab),
            ("stick", "hit"),
            _seen,
            "get closer to 21 than the dealer without going over\nactions: hit, stick",
            _score,
            train_tasks=train_tasks,
            dev_tasks=dev_tasks,
            test_tasks=test_tasks,
            snapshots=SnapshotKind.COPY,
        )

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        """Play on; the last observation also tells the dealer's total and who won."""
        text, reward, terminated, truncated, info = super().step(action)
        if terminated:
            table: Any = self.inner
            outcome = "you win" if reward > 0 else "you lose" if reward < 0 else "a draw"
            text = f"{text}\ndealer total {hand_total(table.dealer)}\n{outcome}"
        return text, reward, terminated, truncated, info

    def expert_action(self) -> str:
        """The action of greater expected reward, ties to `stick`."""
        table: Any = self.inner
        total, dealer, usable_ace = table._get_obs()
        if table.sab and sorted(table.player) == [1, 10]:
            return "stick"  # which alone beats other hands of 21
        return best_action(int(total), bool(usable_ace), int(dealer))


def _seen(observation: tuple[int, int, int]) -> str:
    total, dealer, usable_ace = observation
    ace = "a usable ace" if usable_ace else "no usable ace"
    return f"your total {total}\n{ace}\ndealer shows {'ace' if dealer == 1 else dealer}"


def _score(reward: float) -> float:
    return min((reward + 1) / 2, 1.0)


def drawn(total: int, usable_ace: bool, card: int) -> tuple[int, bool]:
    """A hand after one more card: its best total, and whether an ace in it counts as 11."""
    total += card
    if card == 1 and not usable_ace and total + 10 <= 21:
        return total + 10, True
    if usable_ace and total > 21:
        return total - 10, False
    return total, usable_ace


def hand_total(cards: Sequence[int]) -> int:
    """The best total of a hand."""
    total, usable_ace = 0, False
    for card in cards:
        total, usable_ace = drawn(total, usable_ace, card)
    return total


@cache
def dealer_totals(total: int, usable_ace: bool) -> dict[int, float]:
    """The probabilities of the dealer's final total from a hand; every total above 21 is 22."""
    if total >= _DEALER_STANDS:
        return {min(total, 22): 1.0}
    found: dict[int, float] = {}
    for card, probability in CARDS.items():
        for final, onward in dealer_totals(*drawn(total, usable_ace, card)).items():
            found[final] = found.get(final, 0.0) + probability * onward
    return found


@cache
def worth_of_sticking(total: int, shown: int) -> float:
    """The expected reward of sticking with a total against the dealer's card."""
    totals = dealer_totals(*drawn(0, False, shown))
    return sum(
        chance * (1 if final > 21 or final < total else -1 if final > total else 0) for final, chance in totals.items()
    )


@cache
def worth_of_hitting(total: int, usable_ace: bool, shown: int) -> float:
    """The expected reward of one more card and the best play after it."""
    worth = 0.0
    for card, probability in CARDS.items():
        following, ace = drawn(total, usable_ace, card)
        worth += probability * (-1.0 if following > 21 else best_worth(following, ace, shown))
    return worth


def best_worth(total: int, usable_ace: bool, shown: int) -> float:
    """The expected reward of the best play."""
    return max(worth_of_sticking(total, shown), worth_of_hitting(total, usable_ace, shown))


def best_action(total: int, usable_ace: bool, shown: int) -> str:
    """`hit` where one more card is worth more than none."""
    return "hit" if worth_of_hitting(total, usable_ace, shown) > worth_of_sticking(total, shown) else "stick"
