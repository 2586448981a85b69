"""What programs say is on the screen: their trees of elements (AT-SPI), read over a bus of their own.

What a program says of itself is not trusted: texts are cut, and depth and number of its elements are bounded.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from sparring.envs.gui.geometry import Box, Size
from sparring.envs.gui.programs.bus import Bus, Call
from sparring.envs.gui.session import Shown

LONGEST_NAME, LONGEST_VALUE, MOST_ELEMENTS, MOST_DEPTH = 120, 2_000, 2_000, 40

_ACCESSIBLE, _COMPONENT, _TEXT = (f"org.a11y.atspi.{name}" for name in ("Accessible", "Component", "Text"))
REGISTRY = "org.a11y.atspi.Registry"
_ROOT = (REGISTRY, "/org/a11y/atspi/accessible/root")
_ACTIVE, _CHECKED, _FOCUSED, _PRESSED, _SELECTED, _SHOWING = (1 << bit for bit in (1, 4, 12, 20, 23, 25))
_ON_SCREEN = 0  # of the two ways in which places are told: from the display's corner, or a window's
_BEHIND, _FRONT, _MENU = range(3)  # what covers what
_TEXTS = ("text", "entry", "password text", "paragraph", "terminal")
_TICKED = ("check box", "radio button", "check menu item", "radio menu item")
_WINDOWS = ("frame", "dialog", "alert", "file chooser", "window", "color chooser", "font chooser")
# What an agent can use or read. What holds others and says nothing itself is left out.
_KINDS = {
    **{
        role: role
        for role in ("label", "menu", "menu item", "toggle button", "combo box", "slider", "link", "page tab")
    },
    **{role: role for role in ("list item", "tree item", "table cell", "icon", "spin button", "status bar", "heading")},
    **{role: role for role in ("table column header", "column header", "terminal", "paragraph")},
    "check box": "checkbox",
    "check menu item": "check menu item",
    "entry": "text",
    "password text": "text",
    "push button": "button",
    "button": "button",
    "radio button": "option",
    "radio menu item": "radio menu item",
    "statusbar": "status bar",
    "text": "text",
}
# When a file was changed differs between two episodes that are equal otherwise.
_CLOCK = re.compile(r"\d{1,2}\W{1,3}\d\d")


@dataclass
class _Node:
    """One element: who says it, its path there, depth and window, and what was answered about it."""

    owner: str
    path: str
    depth: int
    window: int
    parent: str = ""
    role: str = ""
    name: str = ""
    value: str | None = None
    caret: int | None = None
    selected: int = 0
    states: int = 0
    extents: tuple[int, int, int, int] = (0, 0, 0, 0)
    interfaces: Sequence[str] = ()
    children: list[_Node] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Tree:
    """The elements on the screen.

    Attributes:
        shown: from window to window, each in the program's own order. focused: the place in `shown` of what has the
            keyboard, or None. caret: before which character of its text the caret stands, where it has one. selected:
            how many characters of it are. speakers: process ids of the programs that say what they show.
    """

    shown: tuple[Shown, ...]
    focused: int | None
    caret: int | None
    selected: int
    speakers: frozenset[int]


def read(bus: Bus, size: Size, speakers: dict[str, int], *, folder: str) -> Tree:
    """Ask every program on a bus what it shows.

    Args:
        size: of the display. speakers: process ids of owners that are known, to which new ones are added.
        folder: named anew in each episode; `~` is said in its place.
    Raises:
        TimeoutError: a program hangs. OSError: the bus is gone.
    """
    found = bus.ask([Call(*_ROOT, _ACCESSIBLE, "GetChildren")])[0]
    owners = [str(owner) for owner, _ in found[0]] if found else []
    for owner in owners:
        speakers.setdefault(owner, bus.process_of(owner))
    level = [_Node(owner, str(path), 0, -1) for owner, path in (found[0] if found else [])]
    programs, total = level, len(level)
    while level and total < MOST_ELEMENTS and level[0].depth < MOST_DEPTH:
        _describe(bus, level)
        level = [child for node in level for child in node.children][: MOST_ELEMENTS - total]
        total += len(level)
    nodes = [node for program in programs for node in _walk(program)]
    _read_texts(bus, nodes)
    return _tree(nodes, size, frozenset(speakers[owner] for owner in owners), folder)


def _describe(bus: Bus, level: list[_Node]) -> None:
    """Fill in what is to be known of elements, and find the children of those that are on the screen."""
    states = bus.ask([Call(one.owner, one.path, _ACCESSIBLE, "GetState") for one in level])
    for node, found in zip(level, states, strict=True):
        words = found[0] if found else [0]
        node.states = int(words[0])
    # A program itself is never on the screen, and what is in a closed menu is not.
    level = [node for node in level if node.depth == 0 or node.states & _SHOWING]
    calls = []
    for node in level:
        calls += [
            Call(node.owner, node.path, _ACCESSIBLE, "GetRoleName"),
            Call(node.owner, node.path, "org.freedesktop.DBus.Properties", "Get", "ss", (_ACCESSIBLE, "Name")),
            Call(node.owner, node.path, _ACCESSIBLE, "GetInterfaces"),
            Call(node.owner, node.path, _COMPONENT, "GetExtents", "u", (_ON_SCREEN,)),
            Call(node.owner, node.path, _ACCESSIBLE, "GetChildren"),
        ]
    answers = iter(bus.ask(calls))
    for node in level:
        role, name, interfaces, extents, children = (next(answers) for _ in range(5))
        node.role, node.name = str(role[0]) if role else "", str(name[0][1]) if name else ""
        node.interfaces = interfaces[0] if interfaces else ()
        node.extents = tuple(extents[0]) if extents else (0, 0, 0, 0)
        for at, (owner, path) in enumerate(children[0] if children else ()):
            window = at if node.depth == 0 else node.window
            # A program speaks for itself alone, so that none can make another's elements its own.
            if owner == node.owner:
                node.children.append(_Node(owner, str(path), node.depth + 1, window, parent=node.role))


def _walk(node: _Node) -> list[_Node]:
    return [node] + [one for child in node.children for one in _walk(child)]


def _read_texts(bus: Bus, nodes: list[_Node]) -> None:
    fields = [node for node in nodes if node.role in _TEXTS and _TEXT in node.interfaces]
    texts = bus.ask([Call(one.owner, one.path, _TEXT, "GetText", "ii", (0, LONGEST_VALUE)) for one in fields])
    for node, found in zip(fields, texts, strict=True):
        node.value = _plain(str(found[0])[:LONGEST_VALUE]) if found else ""
    for node in fields:
        if node.states & _FOCUSED:
            caret, selection = bus.ask(
                [
                    Call(node.owner, node.path, "org.freedesktop.DBus.Properties", "Get", "ss", (_TEXT, "CaretOffset")),
                    Call(node.owner, node.path, _TEXT, "GetSelection", "i", (0,)),
                ]
            )
            node.caret = int(caret[0][1]) if caret else None
            node.selected = int(selection[1]) - int(selection[0]) if selection else 0


def _tree(nodes: list[_Node], size: Size, speakers: frozenset[int], folder: str) -> Tree:
    in_front = {(one.owner, one.window) for one in nodes if one.depth == 1 and one.states & _ACTIVE}
    on_screen = [(node, _layer(node, in_front)) for node in nodes if node.depth > 0 and node.states & _SHOWING]
    shown: list[Shown] = []
    focused, caret, selected = None, None, 0
    for node, layer in on_screen:
        kind, box = _kind(node), _box(node.extents, size)
        if kind is None or box is None or (node.role == "table cell" and _CLOCK.fullmatch(node.name.strip())):
            continue
        # Of what lies above, a window counts as a whole and a menu item by item. A window whose middle is covered is
        # still there.
        above = [one for one, its in on_screen if its > layer and (its == _MENU or one.depth == 1)]
        if kind != "window" and any(_is_under(node, one.extents) for one in above):
            continue
        if node.states & _FOCUSED:
            focused, caret, selected = len(shown), node.caret, node.selected
        name = _plain(node.name.replace(folder, "~").strip()[:LONGEST_NAME])
        shown.append(Shown(kind, name, _value(node), box))
    return Tree(tuple(shown), focused, caret, selected, speakers)


def _layer(node: _Node, in_front: set[tuple[str, int]]) -> int:
    if node.parent == "menu" or ("menu item" in node.role and node.parent in ("window", "popup menu")):
        return _MENU
    return _FRONT if (node.owner, node.window) in in_front else _BEHIND


def _plain(text: str) -> str:
    """Without what is no character to see, such as separators that would begin a line of the list of elements."""
    return "".join(one if one.isprintable() or one in "\n\t" else "\ufffd" for one in text)


def _is_under(node: _Node, cover: tuple[int, int, int, int]) -> bool:
    left, top, width, height = node.extents
    x, y = left + width / 2, top + height / 2
    return cover[0] <= x < cover[0] + cover[2] and cover[1] <= y < cover[1] + cover[3]


def _kind(node: _Node) -> str | None:
    if node.depth == 1 and node.role in _WINDOWS:
        return "window"
    kind = _KINDS.get(node.role)
    is_said = bool(node.name.strip()) or node.value is not None
    return kind if kind is not None and (is_said or node.role in ("push button", "toggle button")) else None


def _value(node: _Node) -> str | None:
    if node.role in _TICKED:
        return "on" if node.states & _CHECKED else "off"
    if node.role == "toggle button" and node.states & (_CHECKED | _PRESSED):
        return "on"
    if node.states & _SELECTED and node.role in ("table cell", "list item", "tree item"):
        return "chosen"
    return node.value


def _box(extents: tuple[int, int, int, int], size: Size) -> Box | None:
    """The part that is within the display."""
    left, top, width, height = extents
    edges = max(left, 0), max(top, 0), min(left + width, size[0]), min(top + height, size[1])
    if edges[0] >= edges[2] or edges[1] >= edges[3]:
        return None
    return Box.from_pixels(*edges, size)
