"""The two games, and the least number of questions that any player needs."""

from __future__ import annotations

from functools import cache

from sparring.envs.text.guess_my_city import GuessMyCity
from sparring.envs.text.guessing.game import GuessingGame
from sparring.envs.text.twenty_questions import TwentyQuestions

GAMES: tuple[type[GuessingGame], ...] = (TwentyQuestions, GuessMyCity)


@cache
def least_mean_questions(items: int) -> float:
    """Mean number of questions to find one of `items`, if there were a question for every division of them.

    With one left its guess ends the game. A guess among n leaves n-1 with probability (n-1)/n; a division into k and
    n-k leaves k with probability k/n.
    """
    if items == 1:
        return 1.0
    guess = 1 + (items - 1) / items * least_mean_questions(items - 1)
    divisions = (
        1 + (k * least_mean_questions(k) + (items - k) * least_mean_questions(items - k)) / items
        for k in range(1, items // 2 + 1)
    )
    return min(guess, *divisions)


def play_expert(env: GuessingGame, task: str) -> tuple[list[str], float, bool]:
    """The expert's questions on a task, the return, and whether it solved it."""
    env.reset(seed=0, options={"task": task})
    asked, total, over, success = [], 0.0, False, False
    while not over:
        asked.append(env.expert_action())
        _, reward, terminated, truncated, info = env.step(asked[-1])
        total, over, success = total + reward, terminated or truncated, info.get("success", False)
    return asked, total, success
