"""What environments in a browser share: acting by the grammar, looking, snapshots by replay.

A subclass says what may be loaded (`origins`), begins a task (`begin`) and judges what came of an action (`judge`).
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

from sparring.envs.base import Info, TextEnv
from sparring.envs.web.browser import actions as act
from sparring.envs.web.browser.limits import Limits
from sparring.envs.web.browser.origins import Origins
from sparring.envs.web.browser.pool import Settings, browsers
from sparring.envs.web.browser.session import Session, before_pages
from sparring.envs.web.browser.tab import PageFailed, PageLeft
from sparring.envs.web.browser.view import Look, View
from sparring.errors import EnvFailed, EnvNotSearchable, InvalidConfig, ReplayDiverged, need
from sparring.types import ActionSet, Snapshot, SnapshotKind

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an action came to. `info` holds what is reported beside it; `score` and `success` belong to the end."""

    reward: float = 0.0
    terminated: bool = False
    info: Info = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Played:
    """An action and what it led to, for replays."""

    action: str
    text: str
    reward: float
    terminated: bool


class PageEnv(TextEnv):
    """An environment whose world is a page in Chromium.

    Args:
        view: how pages are shown. limits: what they may cost.
        step_ms: how far a page's own time goes on with each action. Its time stands still in between, so that
            timers and animations are part of the episode and not of the machine's speed. None leaves it real time,
            which makes no episode repeat itself for certain.
        width, height: of the view, in pixels.
    Attributes:
        look: what the page showed when it was last looked at.
    """

    snapshot_kind: ClassVar[SnapshotKind | None] = SnapshotKind.REPLAY

    def __init__(
        self,
        view: View,
        *,
        limits: Limits | None = None,
        step_ms: int | None = 500,
        width: int = 1280,
        height: int = 720,
    ) -> None:
        need("playwright", "web")
        if step_ms is not None and not 0 <= step_ms <= 60_000:
            raise InvalidConfig(f"step_ms must be within 0 and 60000, or None for real time; got {step_ms}")
        if not (50 <= width <= 4_000 and 50 <= height <= 4_000):
            raise InvalidConfig(f"the view must be 50 to 4000 pixels wide and high, got {width} by {height}")
        self.view, self.limits, self.step_ms = view, limits or Limits(), step_ms
        self._size = (width, height)
        self._session: Session | None = None
        self.look = Look("", "", ())
        self._task, self._instruction, self._text = "", "", ""
        self._actions = ActionSet()
        self._played: list[_Played] = []

    # --- what a subclass says ----------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def origins(self) -> Origins:
        """What may be loaded."""

    @abstractmethod
    def begin(self, task: str) -> str:
        """Load the task's page into the session; returns the instruction. It must draw nothing from `np_random`."""

    @abstractmethod
    def judge(self, action: act.PageAction) -> Verdict:
        """Judge an action that has been taken; `look` is what came of it."""

    # --- the session -------------------------------------------------------------------------------------------------

    def call(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine of the session's. A page that fails takes its session along.

        Raises:
            EnvFailed: the page failed, or left itself while it was asked.
        """
        try:
            return browsers().call(work)
        except EnvFailed:
            self.close()
            raise
        except PageLeft as error:
            self.close()
            raise PageFailed("the page was left while it was asked something") from error

    def open(self, seed: int = 0) -> Session:
        """A fresh context in place of the one before, if any."""
        self.close()
        settings = Settings(*self._size, before_pages(seed, self.step_ms is not None))
        self._session = self.call(
            Session.open(browsers(), self.origins, settings, self.limits, self.view, self.step_ms)
        )
        return self._session

    @property
    def session(self) -> Session:
        """The open session.

        Raises:
            EnvFailed: there is none, because the environment was not reset, or its page failed.
        """
        if self._session is None:
            raise EnvFailed(f"{type(self).__name__} has no page now: call reset() first")
        return self._session

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the view in pixels."""
        return self._size

    @property
    def is_open(self) -> bool:
        """Whether there is an open session."""
        return self._session is not None

    def load(self, url: str) -> None:
        """Load an address and look at it.

        Raises:
            EnvFailed: it can't be loaded.
        """
        refused = self.call(self.session.goto(url))
        if refused is not None:
            raise EnvFailed(refused)
        self.call(self.session.tab.send("Page.resetNavigationHistory"))  # nothing to go back to from here
        self.look, _ = self.call(self.session.step(None))

    def screenshot(self, marks: bool = False) -> bytes:
        """The view as a PNG image; with `marks`, a frame and the number around each element that can be acted on."""
        from sparring.envs.web.browser.marks import draw

        image = self.call(self.session.screenshot())
        return draw(image, self.look.nodes) if marks else image

    def close(self) -> None:
        """Close the context. The browser is kept for others."""
        if self._session is not None:
            session, self._session = self._session, None
            browsers().call(session.close())

    # --- the environment ---------------------------------------------------------------------------------------------

    def observe(self) -> tuple[str, Info]:
        """What the last reset or step showed."""
        return self._text, {"actions": self._actions, "url": self.look.url}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        """Begin a task."""
        super().reset(seed=seed)
        self._restart(self.choose_task(options))
        text, info = self.observe()
        return text, info | {"task": self._task, "instruction": self._instruction}

    def _restart(self, task: str) -> None:
        self._task, self._played = task, []
        self._instruction = self.begin(task)
        self._show()

    def _show(self) -> None:
        self._text = self.view.text(self.look, self.limits.page_chars)
        self._actions = self.view.actions(self.look)

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        """Act; what follows no rule of the grammar, or finds nothing, changes nothing and says so in `no_op`."""
        try:
            parsed = act.parse(action, most_chars=self.limits.action_chars)
            if act.verb_of(parsed) not in self.view.verbs:
                raise act.BadAction(f"{act.verb_of(parsed)} is not admitted here, only: {', '.join(self.view.verbs)}")
        except act.BadAction as error:
            return self._done(action, Verdict(), str(error))
        no_op = None
        if not isinstance(parsed, act.Say):
            self.look, no_op = self.call(self.session.step(parsed))
            self._show()
        return self._done(action, self.judge(parsed), no_op)

    def _done(self, action: str, verdict: Verdict, no_op: str | None) -> tuple[str, float, bool, bool, Info]:
        self._played.append(_Played(action, self._text, verdict.reward, verdict.terminated))
        text, info = self.observe()
        info |= verdict.info
        if no_op is not None:
            info["no_op"] = no_op
        return text, verdict.reward, verdict.terminated, False, info

    def snapshot(self) -> Snapshot:
        """Save the task and the actions so far, with what each led to.

        Raises:
            EnvNotSearchable: the page runs in real time, where replays are not exact.
        """
        if self.step_ms is None:
            raise EnvNotSearchable("a page in real time does not repeat itself: give step_ms a number of milliseconds")
        generator = copy.deepcopy(self.np_random.bit_generator.state)
        state = (self._task, tuple(self._played), generator, self._text)
        return Snapshot(type(self).__name__, SnapshotKind.REPLAY, state)

    def restore(self, snapshot: Snapshot) -> tuple[str, Info]:
        """Begin the task again and take the actions again, each checked against what it led to.

        Raises:
            ReplayDiverged: one led elsewhere. InvalidConfig: the snapshot is of another kind of environment.
        """
        if snapshot.env_id != type(self).__name__ or snapshot.kind is not SnapshotKind.REPLAY:
            raise InvalidConfig(f"a snapshot of {snapshot.env_id} can't be restored in {type(self).__name__}")
        state: Any = snapshot.state
        task, played, generator, text = state
        self._restart(task)
        for turn, before in enumerate(played, start=1):
            self.step(before.action)
            _require(self._played[-1] == before, task, turn, before.text, self._text)
        _require(self._text == text, task, 0, text, self._text)
        self.np_random.bit_generator.state = generator
        return self.observe()


def _require(same: bool, task: str, turn: int, before: str, now: str) -> None:
    if not same:
        raise ReplayDiverged(
            f"task {task}: the replay diverged at turn {turn}. Recorded:\n{before[:500]}\nNow:\n{now[:500]}\nThe page "
            "does not repeat itself: it depends on real time, on the network, or on something that reset does not undo"
        )
