"""A page as the agent reads it: its nodes as text, and what can be done to them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any, Literal

from sparring.envs.web.browser.actions import VERBS
from sparring.errors import InvalidConfig, unknown
from sparring.types import ActionSet, Form

Box = tuple[float, float, float, float]

_TYPED = ("textbox", "searchbox", "spinbutton")
_VALUED = ("date", "time", "month", "week", "datetime", "color", "slider")
_PRESSED = ("Enter", "Tab", "Escape", "ArrowDown", "ArrowUp")
_MOST_LISTED = 200
_ADDRESS_CHARS = 2_000
_LIKE_AN_ELEMENT = re.compile(r"\[\d+\]")


@dataclass(frozen=True, slots=True)
class Node:
    """One thing on a page.

    Attributes:
        role, name: as an accessibility tree gives them, by simpler rules. depth: how deep it is nested.
        box: x, y, width and height in pixels from the view's upper left corner.
        number: what actions call it; None where it can't be acted on.
        states: such as value, checked, options; only those that apply.
    """

    role: str
    name: str
    depth: int
    box: Box
    number: int | None = None
    states: Mapping[str, Any] = field(default_factory=dict)

    @property
    def value(self) -> str:
        """What a field holds, empty for what is no field."""
        return str(self.states.get("value", ""))


@dataclass(frozen=True, slots=True)
class Look:
    """What the page showed when it was last looked at.

    Attributes:
        url, title: of the current tab. nodes: in the order of the document. cut: whether there were more.
        notices: what happened beside the page since the last action: dialogs, windows, downloads.
        tabs: titles of all tabs. tab: the current one's place, from 1.
        scrolls: the directions in which the page can be scrolled.
    """

    url: str
    title: str
    nodes: tuple[Node, ...]
    cut: bool = False
    notices: tuple[str, ...] = ()
    tabs: tuple[str, ...] = ()
    tab: int = 1
    scrolls: tuple[str, ...] = ()

    def find(self, role: str, name: str | None = None) -> Node | None:
        """The first node of this role (and name) that can be acted on."""
        fits = (one for one in self.nodes if one.role == role and one.number is not None)
        return next((one for one in fits if name is None or one.name == name), None)


def one_line(text: str) -> str:
    """A text that a page gives beside its content, without line breaks and what can't be printed."""
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())


def read(found: Mapping[str, Any], notices: Sequence[str] = (), tabs: Sequence[str] = (), tab: int = 1) -> Look:
    """What the page's script reported, as a `Look`."""
    nodes = []
    for one in found["nodes"]:
        x, y, width, height = one["box"]
        number = one.get("id")
        nodes.append(Node(one["role"], one["name"], one["depth"], (x, y, width, height), number, one["states"]))
    scrolls = tuple(direction for direction in ("up", "down") if found["scroll"][direction])
    return Look(
        found["url"], found["title"], tuple(nodes), bool(found["cut"]), tuple(notices), tuple(tabs), tab, scrolls
    )


@dataclass(frozen=True, slots=True)
class View:
    """How pages are shown and what is admitted.

    Attributes:
        form: `tree`: one thing a line; `html`: pruned markup with the numbers as ids.
        ids: which elements get numbers: `interactive` ones, or `all` that show something.
        verbs: those that are admitted; others are no-ops. boxes: whether positions are shown.
        address: whether the page's address and title are shown. exclude: a CSS selector of what is left out.
    """

    form: Literal["tree", "html"] = "tree"
    ids: Literal["interactive", "all"] = "interactive"
    verbs: tuple[str, ...] = VERBS
    boxes: bool = False
    address: bool = True
    exclude: str = ""

    def __post_init__(self) -> None:
        if self.form not in ("tree", "html"):
            raise InvalidConfig(f'the observation must be "tree" or "html", got {self.form!r}')
        if self.ids not in ("interactive", "all"):
            raise InvalidConfig(f'ids must be "interactive" or "all", got {self.ids!r}')
        for verb in self.verbs:
            if verb not in VERBS:
                raise unknown("verb", verb, VERBS)

    def text(self, look: Look, most_chars: int) -> str:
        """The observation."""
        lines = [*self._head(look)]
        lines += [self._line(node) for node in look.nodes]
        if look.cut:
            lines.append("… the page goes on")
        text = "\n".join(lines)
        return text if len(text) <= most_chars else text[:most_chars] + "\n… the page goes on"

    def _head(self, look: Look) -> Iterable[str]:
        for notice in look.notices:
            yield f"({notice})"
        if len(look.tabs) > 1:
            yield "Tabs: " + ", ".join(
                f"{number}{'*' if number == look.tab else ''} {title}" for number, title in enumerate(look.tabs, 1)
            )
        if self.address:
            address = look.url[:_ADDRESS_CHARS]
            yield f"{_told(look.title)} ({address})" if look.title else address

    def _line(self, node: Node) -> str:
        where = f" at {','.join(f'{one:g}' for one in node.box)}" if self.boxes else ""
        if self.form == "html":
            return _markup(node, where)
        indent = "  " * min(node.depth, 20)
        label = f"[{node.number}] {node.role}" if node.number is not None else node.role
        if node.role == "text" and node.number is None:
            return f"{indent}{_told(node.name)}{where}"
        name = f' "{node.name}"' if node.name else ""
        return f"{indent}{label}{name}{''.join(f' {one}' for one in _states(node))}{where}"

    def actions(self, look: Look) -> ActionSet:
        """What is admissible now: complete actions, and forms with an open slot."""
        choices: list[str] = []
        forms: list[Form] = []
        for node in look.nodes:
            if node.number is None or node.states.get("disabled") or len(choices) >= _MOST_LISTED:
                continue
            number = node.number
            if node.role in (*_TYPED, *_VALUED) and not node.states.get("readonly"):
                forms.append(Form(f"fill[{number}] ", ""))
            if "options" in node.states:
                choices += [f"select[{number}] {one}" for one in dict.fromkeys(node.states["options"]) if one]
            else:
                choices.append(f"click[{number}]")
            forms += [Form(f"drag[{number}] ", "")] if self.ids == "all" else []
        choices += [f"press[{key}]" for key in _PRESSED]
        choices += [f"scroll[{direction}]" for direction in look.scrolls]
        choices += [f"tab[{number}]" for number in range(1, len(look.tabs) + 1) if number != look.tab]
        choices += ["close_tab"] if len(look.tabs) > 1 else []
        choices.append("wait")
        forms += [Form(f"{verb}[", "]") for verb in ("type", "answer", "infeasible")]
        kept = tuple(one for one in choices if _verb(one) in self.verbs)
        return ActionSet(kept, tuple(one for one in forms if _verb(one.prefix) in self.verbs))


def _told(text: str) -> str:
    """Text as it stands on a line of its own; in quotes where it would look like an element, such as `[7] button`."""
    return f'"{text}"' if _LIKE_AN_ELEMENT.match(text) else text


def _verb(action: str) -> str:
    return action.partition("[")[0]


def _states(node: Node) -> Iterable[str]:
    for name, state in node.states.items():
        if name == "options":
            yield "of " + ", ".join(f'"{one}"' for one in state)
        elif name == "expanded":
            yield "expanded" if state else "collapsed"
        elif state is True:
            yield name
        elif name != "value" or state or node.role in _TYPED:
            yield f'{name}="{state}"'


def _markup(node: Node, where: str) -> str:
    number = f' id="{node.number}"' if node.number is not None else ""
    options = "".join(f"<option>{escape(str(one))}</option>" for one in node.states.get("options", ()))
    states = "".join(
        f" {name}" if state is True else f' {name}="{escape(str(state))}"'
        for name, state in node.states.items()
        if name != "options" and state is not False
    )
    tag = "p" if node.role == "text" else node.role
    return f"<{tag}{number}{states}>{escape(node.name)}{options}</{tag}>{where}"
