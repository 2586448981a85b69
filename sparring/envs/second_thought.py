"""Taking steps back in words: a wrapper that admits `wait: …` and then restores an earlier state (`second-thought`).

It is what makes a revision of Agent-R (`sparring.trainers.agent_r`) a real episode: after some bad steps the agent says
that they were a mistake, and goes on from where it stood before them. In the paper the environment only answers `ok.`,
and what follows is pasted in from another state; here the state itself comes back, by a snapshot.

That is a power which the environment alone does not give: whoever plays under this wrapper plays another, more lenient
world. Compare its scores with others under it alone.
"""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium
from gymnasium.wrappers import TimeLimit

from sparring.envs.base import EnvType, Info, TextEnv, TextWrapper, restore, snapshot
from sparring.errors import EnvNotSearchable
from sparring.types import ActionSet, Snapshot, SnapshotKind

FURTHEST = 6
"""Steps that can be taken back at once."""
MOST = 4
"""Times that an episode can go back. Without a bound a world that counts its own turns could be played for ever."""

_SENTENCES = (
    "wait: that was a mistake, I take it back",
    "wait: the last two steps were a mistake, I take them back",
    "wait: three steps ago I went wrong, and I try again from there",
    "wait: for four steps this has led nowhere, so I go back",
    "wait: I was wrong five steps ago, let me return to that point",
    "wait: none of the last six steps helped, I undo them",
)
_ANSWER = "ok.\n"
_OF_THE_RESET = ("instruction", "task", "cluster")


def sentence(steps: int) -> str:
    """What to say to take so many steps back, from 1 to `FURTHEST`."""
    return _SENTENCES[steps - 1]


def answered(text: str) -> str:
    """How a state that comes back is shown, given how it was shown at first."""
    return text if text.startswith(_ANSWER) else _ANSWER + text


def special_tokens() -> tuple[str, ...]:
    """The texts for which a small model's tokenizer should have a token each."""
    return _SENTENCES


class _Past(tuple[tuple[Snapshot, float], ...]):
    """The states that can come back, oldest first, each with what the step out of it earned.

    Snapshots don't change, so a copy may share them; the snapshot of this wrapper would else copy them all.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> _Past:
        return self


class SecondThought(TextWrapper):
    """Admit sentences that take the last 1 to `FURTHEST` steps back (`second-thought`, outermost).

    A step is an action that did something; a no-op is none. The answer is `ok.` and what was shown at that place. Going
    back is a turn like any other, and the turns that it takes back stay counted towards a `TimeLimit`. What they had
    earned is taken back with them; what they had cost is not.

    Raises:
        EnvNotSearchable: the environment's snapshots don't copy its state.
    """

    state: ClassVar[tuple[str, ...]] = ("_past", "_left", "_is_over")

    def __init__(self, env: EnvType) -> None:
        core = env.unwrapped
        if not isinstance(core, TextEnv) or core.snapshot_kind is not SnapshotKind.COPY:
            raise EnvNotSearchable(
                f"second-thought brings states back by copies, which {type(core).__name__} does not give: "
                "leave the wrapper out"
            )
        super().__init__(env)
        self._past = _Past()
        self._left = MOST
        self._is_over = False

    def begin(self, info: Info) -> None:
        """Nothing was done yet that could be taken back."""
        self._past, self._left, self._is_over = _Past(), MOST, False

    def step(self, action: str) -> tuple[str, Any, bool, bool, Info]:
        steps = next((count for count in range(1, self._reach + 1) if action == sentence(count)), None)
        if steps is not None:
            return self._go_back(steps)
        before = snapshot(self.env)
        text, reward, terminated, truncated, info = self.env.step(action)
        if not info.get("no_op"):  # what did nothing needs no taking back
            self._past = _Past((*self._past, (before, float(reward))))
        self._is_over = self._is_over or bool(terminated or truncated)
        text, info = self._show(text, info)
        return text, reward, terminated, truncated, info

    def view(self, text: str, info: Info) -> tuple[str, Info]:
        """List the sentences beside the environment's actions, where it lists them."""
        actions = info.get("actions")
        if not isinstance(actions, ActionSet) or not self._reach:
            return text, info
        said = tuple(sentence(count) for count in range(1, self._reach + 1))
        return text, {**info, "actions": ActionSet((*actions.choices, *said), actions.forms)}

    @property
    def _reach(self) -> int:
        """How many steps can be taken back now."""
        return 0 if self._is_over or not self._left else min(FURTHEST, len(self._past))

    def _go_back(self, steps: int) -> tuple[str, float, bool, bool, Info]:
        undone = self._past[-steps:]
        limit = self._time_limit()
        played = 0 if limit is None else int(limit._elapsed_steps or 0) + 1
        text, info = restore(self.env, undone[0][0])
        self._past, self._left = _Past(self._past[:-steps]), self._left - 1
        if limit is not None:
            limit._elapsed_steps = played  # type: ignore[assignment]  # Gymnasium declares it None
            self._is_over = played >= limit._max_episode_steps
        kept = {name: value for name, value in info.items() if name not in _OF_THE_RESET}
        text, info = self._show(answered(text), kept)
        earned = sum(max(0.0, reward) for _, reward in undone)
        return text, 0.0 - earned, False, self._is_over, info

    def _time_limit(self) -> TimeLimit[Any, Any] | None:
        layer: Any = self.env
        while isinstance(layer, gymnasium.Wrapper):
            if isinstance(layer, TimeLimit):
                return layer
            layer = layer.env
        return None
