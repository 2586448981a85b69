"""A desktop without a screen: small applications under Xvfb, worked by real pointer and keyboard events."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar

from sparring.envs.base import Info, TextEnv
from sparring.envs.gui.actions import ENDINGS, HOW, GuiAction, Kind, parse, write
from sparring.envs.gui.desktop_tasks import KINDS, DesktopTask, TaskKind
from sparring.envs.gui.display import Display
from sparring.envs.gui.geometry import Size
from sparring.envs.gui.programs.session import ProgramSession
from sparring.envs.gui.session import Look, Session, give_back, take
from sparring.envs.text.seeded_tasks import SPLITS, SeededSplits, SeededTasks, draw_world
from sparring.errors import EnvFailed, InvalidConfig, InvalidData, ReplayDiverged, unknown
from sparring.types import Image, Snapshot, SnapshotKind

_WAIT_S, _LONG_PRESS_S, _LONGEST_SHOWN = 0.05, 0.6, 120
_WHEEL_CLICKS = 1


class Desktop(TextEnv):
    """A task in an application: fill in a form, tick boxes, calculate, edit, set a slider, delete, choose, sort.

    What the text lists of the screen's widgets with their boxes, `info["image"]` shows; actions are those of
    `sparring.envs.gui.actions`. The reward, and the score, is 1 when the application's own state is what the task
    asks for. The episode ends there, when the user commits something else, or says that it is over.

    An application or a display that hangs or crashes costs the episode (`EnvFailed`); the next reset starts another.
    Displays and applications are kept for other environments of this process when this one closes, and end with the
    process.

    Args:
        kinds: of tasks, separated by commas; all eight by default (see `KINDS` in `desktop_tasks`). A sequence may hold
            kinds of your own (`TaskKind`) as well as names.
        width, height: of the display, in pixels.
        patience_s: an application or a display that takes longer over an answer hangs.
        hint: whether the instruction says how actions are written.
        train_tasks, dev_tasks, test_tasks: how many tasks each split has.
    Raises:
        UnknownName: no such kind. InvalidConfig: a display that is too small.
        MissingExtra: Xvfb, Tk or a package is missing (at the first reset); the message says how to get it.
    """

    splits: ClassVar[tuple[str, ...]] = SPLITS
    snapshot_kind: ClassVar[SnapshotKind | None] = SnapshotKind.REPLAY
    known_kinds: ClassVar[Mapping[str, TaskKind]] = KINDS
    least_size: ClassVar[Size] = (380, 280)

    def __init__(
        self,
        kinds: str | Sequence[str | TaskKind] = tuple(KINDS),
        width: int = 400,
        height: int = 300,
        patience_s: float = 10.0,
        hint: bool = True,
        train_tasks: int = 10_000,
        dev_tasks: int = 200,
        test_tasks: int = 200,
    ) -> None:
        self.kinds = tuple(
            self._kind(one) if isinstance(one, str) else one
            for one in (kinds.split(",") if isinstance(kinds, str) else kinds)
        )
        if not self.kinds or width < self.least_size[0] or height < self.least_size[1]:
            least = " × ".join(map(str, self.least_size))
            raise InvalidConfig(f"the applications need a display of at least {least}, got {width} × {height}")
        self._size, self._patience_s, self._hint = (width, height), patience_s, hint
        self._tasks = SeededSplits(train_tasks, dev_tasks, test_tasks)
        self._session: Session | ProgramSession | None = None
        self._task, self._look = "", Look({}, ())
        self._picture: Image | None = None
        self._played: list[tuple[str, str]] = []

    def _kind(self, name: str) -> TaskKind:
        if name not in self.known_kinds:
            raise unknown("kind of task", name, self.known_kinds)
        return self.known_kinds[name]

    def task_ids(self, split: str) -> SeededTasks:
        """The ids of a split's tasks; the kinds take turns.

        Raises:
            UnknownName: no such split.
        """
        return self._tasks.tasks(split)

    @property
    def task(self) -> DesktopTask:
        """What is to be done."""
        return _task(self._task, self._kind_of_task)

    @property
    def _kind_of_task(self) -> TaskKind:
        return self.kinds[int(self._task.partition("/")[2]) % len(self.kinds)]

    def observe(self) -> tuple[str, Info]:
        """The widgets on the screen, one a line, and the picture of it."""
        return self._text(), {"image": self._picture}

    def _text(self) -> str:
        lines = []
        for one in self._look.widgets:
            edges = (round(1000 * edge) for edge in (one.box.left, one.box.top, one.box.right, one.box.bottom))
            value = "" if one.value is None else f" = {json.dumps(one.value[:_LONGEST_SHOWN], ensure_ascii=False)}"
            lines.append(f"{one.kind} {json.dumps(one.name, ensure_ascii=False)}{value} at {' '.join(map(str, edges))}")
        return "\n".join(lines)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        """Begin a task."""
        super().reset(seed=seed)
        self._restart(self.choose_task(options))
        text, info = self.observe()
        instruction = f"{self.task.instruction}\n{HOW}" if self._hint else self.task.instruction
        return text, info | {"task": self._task, "instruction": instruction}

    def _restart(self, task: str) -> None:
        if self._session is None or not self._session.is_alive:
            self._session = self._take()
        self._task, self._played = task, []
        self._see(self._session.show(self.task.spec))

    def _take(self) -> Session | ProgramSession:
        return take(self._size, self._patience_s)

    def _give_back(self, session: Any) -> None:
        """Leave a session of `_take`'s."""
        give_back(session)

    def _see(self, look: Look) -> None:
        assert self._session is not None
        self._look = look
        self._picture = self._session.grab()

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        """Do an action with the pointer or the keyboard."""
        if self._session is None:
            raise EnvFailed("there is no application: reset first")
        extra: Info = {}
        is_over = False
        try:
            found = parse(action)
            if found.kind in ENDINGS:
                is_over = True
            else:
                with self._session.using_display() as display:
                    perform(display, found)
                self._see(self._session.look())
        except InvalidData as error:
            extra["no_op"] = str(error)
        reached = self._kind_of_task.reached(self.task.goal, self._look.state)
        is_over = is_over or reached or bool(self._look.state.get("committed"))
        text, info = self.observe()
        self._played.append((action, text))
        if is_over:
            extra |= {"score": float(reached), "success": reached}
        return text, float(reached), is_over, False, info | extra

    def expert_action(self) -> str:
        """The next action of a user who reads the application's state."""
        return write(self._kind_of_task.advise(self.task.goal, self._look))

    def close(self) -> None:
        """Leave the display and the application to the next environment."""
        session, self._session = self._session, None
        if session is not None:
            self._give_back(session)

    def snapshot(self) -> Snapshot:
        """The actions so far; `restore` does them again."""
        state = (self._task, tuple(self._played), copy.deepcopy(self.np_random.bit_generator.state))
        return Snapshot(type(self).__name__, SnapshotKind.REPLAY, state)

    def restore(self, snapshot: Snapshot) -> tuple[str, Info]:
        """Bring a saved state back.

        Raises:
            ReplayDiverged: done again, the actions led elsewhere. InvalidConfig: a snapshot of something else.
        """
        if snapshot.env_id != type(self).__name__ or snapshot.kind is not SnapshotKind.REPLAY:
            raise InvalidConfig(f"a snapshot of {snapshot.env_id} can't be restored in {type(self).__name__}")
        state: Any = snapshot.state
        task, played, generator = state
        self._restart(task)
        for turn, (action, expected) in enumerate(played, start=1):
            found = self.step(action)[0]
            if found != expected:
                raise ReplayDiverged(
                    f"task {task}: {action[:80]!r} in turn {turn} led to {found[:200]!r} and before to "
                    f"{expected[:200]!r}"
                )
        self.np_random.bit_generator.state = generator
        return self.observe()


def perform(display: Display, action: GuiAction) -> None:
    """Do an action on a display.

    Raises:
        InvalidData: there is no such thing on a desktop, or no such key.
    """
    doers: dict[Kind, Callable[[], None]] = {
        Kind.ENTER: lambda: display.press(("enter",)),
        Kind.PRESS: lambda: display.press(action.keys),
        Kind.WAIT: lambda: time.sleep(_WAIT_S),
        Kind.SCROLL: lambda: display.scroll(str(action.direction), action.point or (0.5, 0.5), clicks=_WHEEL_CLICKS),
    }
    if action.kind in doers:
        doers[action.kind]()
        return
    point = action.point
    if action.kind is Kind.TYPE:
        if point is not None:
            display.click(point)
        display.type(action.text)
        return
    if point is None or action.kind is Kind.SELECT:
        raise InvalidData(f"a desktop has no action {action.kind}")
    if action.kind is Kind.DRAG and action.to is not None:
        display.drag(point, action.to)
    elif action.kind is Kind.RIGHT_CLICK:
        display.right_click(point)
    elif action.kind is Kind.DOUBLE_CLICK:
        display.click(point)
        display.click(point)
    else:
        display.click(point, hold_s=_LONG_PRESS_S if action.kind is Kind.LONG_PRESS else 0.0)


@lru_cache(maxsize=4_096)
def _task(task: str, kind: TaskKind) -> DesktopTask:
    return draw_world(task, kind.draw, lambda one: f"{one.instruction}{one.spec}")
