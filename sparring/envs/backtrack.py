"""Going back in the environment: a wrapper that admits `go back`, which undoes the last step (`backtrack`).

With it a search can be lived through by an agent that does not search: it looks at a branch, goes back, looks at
another (`sparring.trainers.exploratory`). An environment that copies its state is restored; another that is
deterministic is reset and led to the earlier place by the same actions, what it shows being compared on the way.

That is a power which the environment alone does not give: whoever plays under this wrapper plays another, more lenient
world. Compare its scores with others under it alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import gymnasium
from gymnasium.wrappers import TimeLimit

from sparring.envs.base import EnvType, Info, TextEnv, TextWrapper, restore, snapshot
from sparring.errors import EnvNotSearchable, ReplayDiverged
from sparring.types import ActionSet, Snapshot

GO_BACK = "go back"
MOST = 200
"""How often an episode can go back. Without a bound a world that counts its own turns could be played for ever."""

_HINT = f"You can also say: {GO_BACK} (it undoes your last step)"
_OF_THE_RESET = ("instruction", "task", "cluster")


def special_tokens() -> tuple[str, ...]:
    """The texts for which a small model's tokenizer should have a token each."""
    return (GO_BACK,)


@dataclass(frozen=True, slots=True)
class _Step:
    """A step that can be undone. It does not change, so that a snapshot of the wrapper may share it.

    Attributes:
        before: the state that it was taken in; None where that is led to again by the actions before it.
        seen: what the environment showed there. action: what was done. reward: what that earned.
    """

    before: Snapshot | None
    seen: str
    action: str
    reward: float

    def __deepcopy__(self, memo: dict[int, Any]) -> _Step:
        return self


class Backtrack(TextWrapper):
    """Admit `go back`, after which the place before the last step is shown again, as it was (`backtrack`, outermost).

    Going back is a turn like any other, and steps that are undone stay counted towards a `TimeLimit`. What a step had
    earned is taken back with it; what it had cost is not. After the end of an episode nothing can be undone.

    Raises:
        EnvNotSearchable: the environment neither copies its state nor is deterministic.
    """

    state: ClassVar[tuple[str, ...]] = ("_taken", "_left", "_turns", "_is_over", "_seen", "_began")

    def __init__(self, env: EnvType) -> None:
        core = env.unwrapped
        if not isinstance(core, TextEnv) or (core.snapshot_kind is None and not core.deterministic):
            raise EnvNotSearchable(
                f"backtrack undoes steps in environments that copy their state or are deterministic, and "
                f"{type(core).__name__} is neither: leave the wrapper out"
            )
        super().__init__(env)
        self._replays = core.snapshot_kind is None
        self._taken: tuple[_Step, ...] = ()
        self._left, self._turns, self._is_over = MOST, 0, False
        self._seen = ""
        self._began: tuple[int | None, dict[str, Any] | None] = (None, None)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        self._began = (seed, options)
        return super().reset(seed=seed, options=options)

    def begin(self, info: Info) -> None:
        """Nothing was done yet that could be undone."""
        self._taken, self._left, self._turns, self._is_over = (), MOST, 0, False

    def step(self, action: str) -> tuple[str, Any, bool, bool, Info]:
        self._turns += 1
        if action == GO_BACK and self._can_go_back:
            return self._go_back()
        before = None if self._replays else snapshot(self.env)
        seen = self._seen
        text, reward, terminated, truncated, info = self.env.step(action)
        self._taken = (*self._taken, _Step(before, seen, action, float(reward)))
        self._is_over = self._is_over or bool(terminated or truncated)
        text, info = self._show(text, info)
        return text, reward, terminated, truncated, info

    def view(self, text: str, info: Info) -> tuple[str, Info]:
        """Say that one can go back, and list it where the environment lists its actions and something can be undone."""
        self._seen = text
        if "instruction" in info or not self._turns:
            info = {**info, "instruction": f"{info.get('instruction', '')}\n{_HINT}".strip()}
        actions = info.get("actions")
        if isinstance(actions, ActionSet) and self._can_go_back:
            info = {**info, "actions": ActionSet((*actions.choices, GO_BACK), actions.forms)}
        return text, info

    @property
    def _can_go_back(self) -> bool:
        can_replay = not self._replays or self._began[0] is not None
        return bool(self._taken) and self._left > 0 and not self._is_over and can_replay

    def _go_back(self) -> tuple[str, float, bool, bool, Info]:
        undone = self._taken[-1]
        self._taken, self._left = self._taken[:-1], self._left - 1
        text, info = self._replay(undone) if undone.before is None else restore(self.env, undone.before)
        limit = self._time_limit()
        if limit is not None:
            limit._elapsed_steps = self._turns  # type: ignore[assignment]  # Gymnasium declares it None
            self._is_over = self._turns >= limit._max_episode_steps
        text, info = self._show(text, {name: value for name, value in info.items() if name not in _OF_THE_RESET})
        return text, min(0.0, -undone.reward), False, self._is_over, info

    def _replay(self, undone: _Step) -> tuple[str, Info]:
        """Lead the environment from its reset through the steps that were not undone."""
        seed, options = self._began
        text, info = self.env.reset(seed=seed, options=options)
        for number, step in enumerate((*self._taken, undone)):
            if text != step.seen:
                raise ReplayDiverged(f"going back diverged at step {number}: it was\n{step.seen}\nand is now\n{text}")
            if step is not undone:
                text, _, _, _, info = self.env.step(step.action)
        return text, info

    def _time_limit(self) -> TimeLimit[Any, Any] | None:
        layer: Any = self.env
        while isinstance(layer, gymnasium.Wrapper):
            if isinstance(layer, TimeLimit):
                return layer
            layer = layer.env
        return None
