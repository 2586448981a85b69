from __future__ import annotations

import numpy as np
import pytest
from gymnasium.envs.toy_text.blackjack import sum_hand

from sparring.envs.text.blackjack import (
    CARDS,
    Blackjack,
    best_action,
    best_worth,
    dealer_totals,
    drawn,
    hand_total,
    worth_of_sticking,
)
from sparring.testing import check_env


def play(env: Blackjack, task: str, rng: np.random.Generator | None = None) -> float:
    """The reward of the expert, or of random actions drawn from `rng`."""
    env.reset(seed=0, options={"task": task})
    terminated = False
    while not terminated:
        action = env.expert_action() if rng is None else ("hit", "stick")[rng.integers(2)]
        _, reward, terminated, _, info = env.step(action)
    assert info["score"] == (reward + 1) / 2
    assert info["success"] == (reward == 1)
    return reward


def test_it_keeps_the_contract() -> None:
    check_env("Blackjack-v1")


def test_a_hand_by_hand() -> None:
    env = Blackjack()
    env.reset(seed=0)
    table = env.inner
    table.player, table.dealer = [1, 6], [10, 9]  # type: ignore[attr-defined]
    env._text = env.describe(table._get_obs())  # type: ignore[attr-defined]
    assert env.observe()[0] == "your total 17\na usable ace\ndealer shows 10"
    assert env.expert_action() == "hit"  # nothing is risked: the ace can still count 1
    table.player.append(4)  # type: ignore[attr-defined]
    text, reward, terminated, _, info = env.step("stick")
    assert text == "your total 21\na usable ace\ndealer shows 10\ndealer total 19\nyou win"
    assert (reward, terminated, info["score"], info["success"]) == (1.0, True, 1.0, True)


def test_hands_count_as_gymnasium_counts_them() -> None:
    assert drawn(5, False, 1) == (16, True)
    assert drawn(16, True, 1) == (17, True)
    assert drawn(16, True, 9) == (15, False)
    assert drawn(15, False, 1) == (16, False)
    assert drawn(15, False, 10) == (25, False)
    assert drawn(11, True, 1) == (12, True)  # two aces
    rng = np.random.default_rng(0)
    for _ in range(500):
        cards = rng.choice(list(CARDS), size=rng.integers(2, 7)).tolist()
        assert hand_total(cards) == sum_hand(cards)


def test_the_dealer_by_hand() -> None:
    # From a hard 16, 5 cards of 13 make 17 to 21, one each; the other 8 go over.
    assert dealer_totals(16, False) == pytest.approx(
        {17: 1 / 13, 18: 1 / 13, 19: 1 / 13, 20: 1 / 13, 21: 1 / 13, 22: 8 / 13}
    )
    assert dealer_totals(17, True) == {17: 1.0}  # a dealer's 17 with an ace stands
    for shown in CARDS:
        assert sum(dealer_totals(*drawn(0, False, shown)).values()) == pytest.approx(1)
    # Below 17 only the dealer's going over wins.
    over = dealer_totals(*drawn(0, False, 6))[22]
    assert worth_of_sticking(12, 6) == pytest.approx(over - (1 - over))


def test_the_best_play_is_the_published_one() -> None:
    # Sutton and Barto (2018), figure 5.2, without a usable ace: stick from 13 against 2 and 3, from 12 against 4, 5
    # and 6, from 17 against 7 and more and the ace.
    for shown, stick_from in {2: 13, 3: 13, 4: 12, 5: 12, 6: 12, 7: 17, 8: 17, 9: 17, 10: 17, 1: 17}.items():
        actions = [best_action(total, False, shown) for total in range(11, 22)]
        assert actions == ["hit"] * (stick_from - 11) + ["stick"] * (22 - stick_from)
    # With one: hit to 17, stick from 19, and 18 is stuck with but against 9 and 10.
    for shown in range(2, 11):
        actions = [best_action(total, True, shown) for total in range(12, 22)]
        assert actions == ["hit"] * 6 + ["hit" if shown in (9, 10) else "stick"] + ["stick"] * 3


def expected_reward_of_the_best() -> float:
    """Over all deals, naturals by the rules of Sutton and Barto: they win but against the dealer's own."""
    worth = 0.0
    for one, p_one in CARDS.items():
        for two, p_two in CARDS.items():
            hand = drawn(*drawn(0, False, one), two)
            for shown, p_shown in CARDS.items():
                if hand[0] == 21:
                    dealers_natural = {1: CARDS[10], 10: CARDS[1]}.get(shown, 0.0)
                    worth += p_one * p_two * p_shown * (1 - dealers_natural)
                else:
                    worth += p_one * p_two * p_shown * best_worth(*hand, shown)
    return worth


def test_the_expert_gets_what_it_computes_and_beats_random() -> None:
    env, rng, hands = Blackjack(), np.random.default_rng(0), 4_000
    expert = [play(env, f"train/{number}") for number in range(hands)]
    random = [play(env, f"train/{number}", rng) for number in range(hands)]
    # Rewards vary by less than 1 each, so that their mean lies within 4 / sqrt(n) but once in 15,000 seeds.
    assert np.mean(expert) == pytest.approx(expected_reward_of_the_best(), abs=4 / hands**0.5)
    assert np.mean(expert) > np.mean(random) + 0.25


def test_a_natural_pays_more_where_asked_and_still_scores_one() -> None:
    env = Blackjack(sab=False, natural=True)
    env.reset(seed=0)
    env.inner.player, env.inner.dealer = [1, 10], [10, 9]  # type: ignore[attr-defined]
    _, reward, _, _, info = env.step("stick")
    assert (reward, info["score"], info["success"]) == (1.5, 1.0, True)
