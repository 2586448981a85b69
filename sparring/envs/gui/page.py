"""Any page in Chromium as a screen: GUI actions and pictures in place of the browser's own grammar (wrapper `screen`).

    env = sparring.make("Browser-v1", wrappers=("screen",))
    env.step('{"action": "click", "point": [120, 80]}')

It fits `Browser-v1` with a page of one's own or the to-do list, `MiniWoB-v1` and `WebShopBrowser-v1`. The text lists
what is within the view with boxes in thousandths, as `Desktop-v1` does, and `info["image"]` is the picture of it.
Actions are those of `sparring.envs.gui.actions`; each is one step of the page. What the page does not know (double
clicks, right clicks, apps) is a no-op that says so.
"""

from __future__ import annotations

import json
import re
from typing import Any, ClassVar

from sparring.envs.base import EnvType, Info, TextWrapper
from sparring.envs.gui.actions import HOW, GuiAction, Kind, parse, write
from sparring.envs.gui.geometry import Box, Point, to_pixel
from sparring.envs.web.browser import actions as act
from sparring.envs.web.browser.env import PageEnv
from sparring.envs.web.browser.view import Node
from sparring.errors import InvalidConfig, InvalidData
from sparring.types import Image

_HOW = HOW + '\n{"action": "answer", "text": "4"}'
_LONGEST_SHOWN = 120
_NOT_AN_ACTION = "screen"  # to the page: a turn in which nothing is done
_LIKE_A_PLACE = re.compile(r"[0-9,]{1,11}\] ")
_MODIFIERS = {"ctrl": "Control", "control": "Control", "shift": "Shift", "alt": "Alt"}
_KEYS = {
    **{name.lower(): name for name in act.KEYS},
    **{name.lower().removeprefix("arrow"): name for name in act.KEYS if name.startswith("Arrow")},
    "return": "Enter",
    "esc": "Escape",
    "page_up": "PageUp",
    "page_down": "PageDown",
}


class Screen(TextWrapper):
    """Show a page as a screen, and take GUI actions (registered as `screen`; before it only `expert`).

    Args:
        env: an environment in a browser, possibly with wrappers around it.
    Raises:
        InvalidConfig: it is none.
    """

    state: ClassVar[tuple[str, ...]] = ("_last",)

    def __init__(self, env: EnvType) -> None:
        if not isinstance(env.unwrapped, PageEnv):
            raise InvalidConfig(
                f"screen shows pages in a browser, and {type(env.unwrapped).__name__} has none: put it around "
                "Browser-v1, MiniWoB-v1 or WebShopBrowser-v1"
            )
        super().__init__(env)
        self._page: PageEnv = env.unwrapped
        self._last: GuiAction | None = None

    def begin(self, info: Info) -> None:
        """Nothing has been done yet."""
        self._last = None

    def step(self, action: str) -> tuple[str, Any, bool, bool, Info]:
        """Do a GUI action on the page."""
        reason = None
        try:
            self._last = parse(action)
            said = self._on_page(self._last)
        except InvalidData as error:
            reason, said = str(error), _NOT_AN_ACTION
        text, reward, terminated, truncated, info = self.env.step(said)
        if reason is not None:
            info = {**info, "no_op": reason}
        text, info = self._show(text, info)
        return text, reward, terminated, truncated, info

    def view(self, text: str, info: Info) -> tuple[str, Info]:
        """List what is within the view, and show it."""
        shown = {name: value for name, value in info.items() if name != "actions"}
        shown["image"] = Image(self._page.screenshot())
        if "instruction" in info:
            shown["instruction"] = f"{info['instruction']}\n{_HOW}"
        if "expert" in info:
            shown["expert"] = write(self._translated(act.parse(info["expert"])))
        lines = [f"({notice})" for notice in self._page.look.notices]
        lines += [line for node in self._page.look.nodes if (line := self._line(node))]
        return "\n".join(lines), shown

    def _line(self, node: Node) -> str | None:
        box = self._box(node)
        if box is None:
            return None
        value = node.states.get("value")
        if "checked" in node.states:
            value = "on" if node.states["checked"] else "off"
        said = "" if value is None else f" = {json.dumps(str(value)[:_LONGEST_SHOWN], ensure_ascii=False)}"
        edges = (round(1000 * edge) for edge in (box.left, box.top, box.right, box.bottom))
        return f"{node.role} {json.dumps(node.name, ensure_ascii=False)}{said} at {' '.join(map(str, edges))}"

    def _box(self, node: Node) -> Box | None:
        """What of a node is within the view; None where nothing is."""
        (x, y, width, height), (right, bottom) = node.box, self._page.size
        edges = max(x, 0), max(y, 0), min(x + width, right), min(y + height, bottom)
        if edges[0] >= edges[2] or edges[1] >= edges[3]:
            return None
        return Box.from_pixels(*edges, self._page.size)

    # --- from the screen to the page ---------------------------------------------------------------------------------

    def _on_page(self, action: GuiAction) -> str:
        """The action in the browser's grammar.

        Raises:
            InvalidData: a page has no such action, or there is nothing to do it to.
        """
        kind = action.kind
        if kind is Kind.CLICK:
            return f"click[{self._pixel(action.point)}]"
        if kind is Kind.TYPE:
            if not action.text:
                raise InvalidData('"text" is empty: there is nothing to type')
            if action.point is not None:
                return f"type[{self._pixel(action.point)}] {action.text}"
            if _LIKE_A_PLACE.match(action.text):  # the browser's grammar would click there, and type the rest
                raise InvalidData('a text that begins like "7] " needs the "point" of the field that it is typed into')
            return f"type[{action.text}]"
        if kind is Kind.DRAG:
            return f"drag[{self._pixel(action.point)}] {self._pixel(action.to)}"
        if kind is Kind.SCROLL:
            return f"scroll[{action.direction}]"
        if kind is Kind.PRESS:
            return f"press[{_key(action.keys)}]"
        if kind is Kind.ENTER:
            return "press[Enter]"
        if kind is Kind.SELECT:
            return f"select[{self._list_at(action.point)}] {action.text}"
        if kind in (Kind.WAIT, Kind.BACK):
            return str(kind)
        if kind in (Kind.ANSWER, Kind.COMPLETE):
            return f"answer[{action.text or 'done'}]"
        if kind is Kind.IMPOSSIBLE:
            return "infeasible[it can't be done]"
        raise InvalidData(f"a page has no action {kind}")

    def _pixel(self, point: Point | None) -> str:
        if point is None:
            raise InvalidData('this action needs a "point"')
        x, y = to_pixel(point, self._page.size)
        return f"{x},{y}"

    def _list_at(self, point: Point | None) -> int:
        """The number of the list at a point."""
        if point is None:
            raise InvalidData('on a page, select needs the "point" of the list')
        for node in self._page.look.nodes:
            box = self._box(node)
            if "options" in node.states and node.number is not None and box is not None and box.contains(point):
                return node.number
        raise InvalidData("there is no list to select from at this point")

    # --- from the page's expert to the screen -------------------------------------------------------------------------

    def _translated(self, action: act.PageAction) -> GuiAction:
        """What a user of the screen does first towards an action on the page."""
        if isinstance(action, act.Say):
            kind = Kind.IMPOSSIBLE if action.infeasible else Kind.ANSWER
            return GuiAction(kind, text="" if action.infeasible else action.text)
        if isinstance(action, act.Press):
            return GuiAction(
                Kind.PRESS, keys=tuple(one.lower() if len(one) > 1 else one for one in action.key.split("+"))
            )
        if isinstance(action, act.Scroll):
            return GuiAction(Kind.SCROLL, direction=action.direction)
        if isinstance(action, act.Type) and action.place is None:
            return GuiAction(Kind.TYPE, text=action.text)
        if isinstance(action, act.Simple) and action.verb == "back":
            return GuiAction(Kind.BACK)
        if isinstance(action, act.Click | act.Fill | act.Select | act.Drag):
            return self._at_a_place(action)
        return GuiAction(Kind.WAIT)

    def _at_a_place(self, action: act.Click | act.Fill | act.Select | act.Drag) -> GuiAction:
        place = (
            action.place if isinstance(action, act.Click) else action.start if isinstance(action, act.Drag) else None
        )
        point = self._point(action.element if isinstance(action, act.Fill | act.Select) else place)
        if point is None:
            return GuiAction(Kind.SCROLL, direction="down" if "down" in self._page.look.scrolls else "up")
        if isinstance(action, act.Click):
            return GuiAction(Kind.CLICK, point=point)
        if isinstance(action, act.Select):
            return GuiAction(Kind.SELECT, text=action.option, point=point)
        if isinstance(action, act.Drag):
            end = self._point(action.end)
            return GuiAction(Kind.WAIT) if end is None else GuiAction(Kind.DRAG, point=point, to=end)
        return self._filling(action, point)

    def _filling(self, action: act.Fill, point: Point) -> GuiAction:
        """Type into an empty field; else click it, select all, and type over that."""
        node = next(one for one in self._page.look.nodes if one.number == action.element)
        everything = GuiAction(Kind.PRESS, keys=("ctrl", "a"))
        if not node.value:
            return GuiAction(Kind.TYPE, text=action.text, point=point)
        if self._last == everything:
            return GuiAction(Kind.TYPE, text=action.text)
        box = self._box(node)
        clicked = self._last is not None and self._last.kind is Kind.CLICK and self._last.point is not None
        is_there = clicked and box is not None and self._last is not None and box.contains(self._last.point or (-1, -1))
        return everything if is_there else GuiAction(Kind.CLICK, point=point)

    def _point(self, place: act.Place | None) -> Point | None:
        """The middle of an element, or a point, as shares of the view; None where that shows nothing of it."""
        if isinstance(place, tuple):
            return (place[0] + 0.5) / self._page.size[0], (place[1] + 0.5) / self._page.size[1]
        node = next((one for one in self._page.look.nodes if one.number == place), None)
        box = None if node is None or place is None else self._box(node)
        return None if box is None else box.centre


def _key(keys: tuple[str, ...]) -> str:
    """Keys as the browser's grammar joins them.

    Raises:
        InvalidData: a name that no key has.
    """
    *held, last = keys
    for name in held:
        if name.lower() not in _MODIFIERS:
            raise InvalidData(f"{name!r} can't be held; only {', '.join(_MODIFIERS)} can")
    if len(last) > 1 and last.lower() not in _KEYS:
        raise InvalidData(f"there is no key {last!r}; write {', '.join(_KEYS)}, or a character")
    return "+".join([_MODIFIERS[name.lower()] for name in held] + [_KEYS.get(last.lower(), last)])
