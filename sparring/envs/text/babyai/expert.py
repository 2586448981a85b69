"""The experts of MiniGrid and BabyAI levels: BabyAI's own bot, and `planner` where it has no instructions to read."""

from __future__ import annotations

from typing import Any, Protocol

from sparring.envs.text.babyai import planner
from sparring.envs.text.babyai.levels import Level, make_level
from sparring.errors import need, unknown

# Index of each action in minigrid's enumeration.
ACTIONS = ("turn left", "turn right", "move forward", "pick up", "drop", "toggle", "done")
# What is played for an action that minigrid does not know: the turn passes, and nothing else happens.
PASSED = -1

# By its documentation the bot can't solve these.
_BEYOND_THE_BOT = frozenset(
    {
        "BabyAI-PutNextS5N2Carrying-v0",
        "BabyAI-PutNextS6N3Carrying-v0",
        "BabyAI-PutNextS7N4Carrying-v0",
        "BabyAI-KeyInBox-v0",
    }
)


class Expert(Protocol):
    """Says what to do next."""

    def advise(self, level: Level, played: list[int]) -> str:
        """The next action after `played`, without touching the level.

        Raises:
            UnknownName: it knows no way from here.
        """
        ...


def expert_for(name: str, level: Level, seed: int, max_steps: int | None) -> Expert:
    """The expert of a level that was just reset with `seed`.

    Raises:
        UnknownName: there is none for this level.
    """
    if name in _BEYOND_THE_BOT:
        raise _no_expert(name)
    return Bot(name, seed, max_steps) if hasattr(level, "instrs") else Planner(name)


def _no_expert(name: str) -> Exception:
    return unknown("expert", name, (), "Neither BabyAI's bot nor the planner of sparring knows a way in this level.")


class Planner:
    """Follows a shortest plan, and plans anew wherever it is not on it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._planned: dict[planner.State, str] = {}

    def advise(self, level: Level, played: list[int]) -> str:
        fixed, state = planner.read(level)
        if state not in self._planned:
            aim = planner.aim_of(level, fixed, state)
            way = planner.plan(fixed, state, aim) if aim is not None else []
            if not way:
                raise _no_expert(self._name)
            self._planned = dict(way)
        return self._planned[state]


class Bot:
    """BabyAI's bot (Chevalier-Boisvert et al., "BabyAI", ICLR 2019), which explores as the agent must.

    It remembers what it saw and must watch every step, so it watches a level of its own that is led through the same
    actions when advice is asked for. Where the agent's actions confuse it, a fresh bot takes over.
    """

    def __init__(self, name: str, seed: int, max_steps: int | None) -> None:
        self._bot_class: Any = need("minigrid.utils.baby_ai_bot", "minigrid").BabyAIBot
        self._level = make_level(name, max_steps)
        self._seed = seed
        self._begin()

    def _begin(self) -> None:
        self._level.reset(seed=self._seed)
        self._watched: list[int] = []
        self._watcher = self._bot_class(self._level)
        self._advice = self._ask(None)

    def advise(self, level: Level, played: list[int]) -> str:
        if played[: len(self._watched)] != self._watched:
            self._begin()
        for action in played[len(self._watched) :]:
            self._watch(action)
        return ACTIONS[self._advice]

    def _watch(self, action: int) -> None:
        self._watched.append(action)
        if action == PASSED:
            self._level.step_count += 1
            return
        self._level.step(action)
        self._advice = self._ask(action)

    def _ask(self, taken: int | None) -> int:
        try:
            return int(self._watcher.replan(taken))
        except Exception:  # whatever an unforeseen action made of its plans
            self._watcher = self._bot_class(self._level)
        try:
            return int(self._watcher.replan())
        except Exception:  # it says "done" itself where it sees nothing left to do
            return ACTIONS.index("done")
