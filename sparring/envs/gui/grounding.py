"""Find a thing on a screen and click it: generated screens whose boxes are known."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, ClassVar

from sparring.envs.base import Info, TextEnv
from sparring.envs.gui.actions import GuiAction, Kind, parse, write
from sparring.envs.gui.geometry import Point, from_thousandths, to_thousandths
from sparring.envs.gui.screens import KINDS, Screen, Style, WidgetKind, arrange, draw
from sparring.envs.text.seeded_tasks import SPLITS, SeededSplits, SeededTasks, draw_world
from sparring.errors import InvalidConfig, InvalidData
from sparring.types import Image

_HOW = 'answer with JSON such as {"action": "click", "point": [500, 250]}, in thousandths of width and height'


class ScreenGrounding(TextEnv):
    """One screen, one click: the reward, and the score, is 1 where the click lies in the box of what was asked for.

    The task is a screen, drawn from a seed; no screen is in two splits. `info["image"]` is its picture. An action that
    is no click ends the episode as well, with reward 0 and `info["no_op"]`.

    Args:
        width, height: of the screen, in pixels.
        widgets: how many things are on it. kinds: of what, separated by commas (button, field, checkbox, label, icon).
        colours: how many are used, 2 to 8. side: of icons, in pixels.
        described: whether the text of the observation lists the widgets with their boxes, so that an agent without
            eyes can play; else it says only that there is a screen.
        step: the expert points at multiples of so many thousandths, as near to the middle of the box as they come.
        hint: whether the instruction says how an action is written.
        train_tasks, dev_tasks, test_tasks: how many screens each split has.
    Raises:
        InvalidConfig: settings out of range. MissingExtra: Pillow is not installed.
    """

    splits: ClassVar[tuple[str, ...]] = SPLITS
    state: ClassVar[tuple[str, ...]] = ("_task",)

    def __init__(
        self,
        width: int = 320,
        height: int = 240,
        widgets: int = 6,
        kinds: str | Sequence[WidgetKind] = KINDS,
        colours: int = 8,
        side: int = 28,
        described: bool = True,
        step: int = 1,
        hint: bool = True,
        train_tasks: int = 100_000,
        dev_tasks: int = 500,
        test_tasks: int = 500,
    ) -> None:
        named: Any = tuple(kinds.split(",")) if isinstance(kinds, str) else tuple(kinds)
        if width < 16 or height < 16 or not 1 <= step <= 250:
            raise InvalidConfig(f"sides must be at least 16 and step 1 to 250, got {width}, {height} and {step}")
        self._style = Style((width, height), widgets, named, colours, side)
        self._described, self._step, self._hint = described, step, hint
        self._tasks = SeededSplits(train_tasks, dev_tasks, test_tasks)
        self._task = "train/0"

    def task_ids(self, split: str) -> SeededTasks:
        """The ids of a split's screens.

        Raises:
            UnknownName: no such split.
        """
        return self._tasks.tasks(split)

    @property
    def screen(self) -> Screen:
        """What is on the screen."""
        return _screen(self._task, self._style)

    def observe(self) -> tuple[str, Info]:
        """The screen, in words as far as `described` says, and its picture."""
        text = self.screen.describe() if self._described else "a screen"
        return text, {"image": _image(self._task, self._style)}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        super().reset(seed=seed)
        self._task = self.choose_task(options)
        text, info = self.observe()
        instruction = f"{self.screen.instruction}\n{_HOW}" if self._hint else self.screen.instruction
        return text, info | {"task": self._task, "instruction": instruction}

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        """Click, which ends the episode."""
        text, info = self.observe()
        point, problem = clicked(action)
        if problem:
            info["no_op"] = problem
        hit = point is not None and self.screen.box(self.screen.target).contains(point)
        return text, float(hit), True, False, info | {"score": float(hit), "success": hit}

    def expert_action(self) -> str:
        """A click at the middle of the target, or at the point of the grid in its box that is nearest to it."""
        box = self.screen.box(self.screen.target)
        points = (_rounded(box.centre, self._step), to_thousandths(box.centre))
        inside = next((one for one in points if box.contains(from_thousandths(one))), points[-1])
        return write(GuiAction(Kind.CLICK, point=from_thousandths(inside)))


def special_tokens() -> tuple[str, ...]:
    """Texts for which a small model's tokenizer should have a token each: what every click begins and ends with."""
    return '{"action": "click", "point": [', "]}"


def clicked(action: str) -> tuple[Point | None, str]:
    """Where an action clicks, or None and what is wrong with it."""
    try:
        found = parse(action)
    except InvalidData as error:
        return None, str(error)
    if found.kind is not Kind.CLICK:
        return None, f"here only a click counts, got {found.kind}"
    return found.point, ""


def _rounded(point: Point, step: int) -> tuple[int, int]:
    across, down = (min(round(1000 * share / step) * step, 1000) for share in point)
    return across, down


@lru_cache(maxsize=8_192)
def _screen(task: str, style: Style) -> Screen:
    return draw_world(task, lambda rng: arrange(rng, style), lambda screen: f"{screen.describe()}\n{screen.asked}")


@lru_cache(maxsize=1_024)
def _image(task: str, style: Style) -> Image:
    return draw(_screen(task, style))
