"""What there is to do in Debian's programs: four kinds of tasks, their goals, and how each is reached.

As in `desktop_tasks` a task is plain data drawn from a seed. Whether its goal is reached is read off the files in the
home folder: what an editor saved, and what a calculator wrote down of its settings as it was quit. The next action of
the expert is read off the programs' trees of elements.
"""

from __future__ import annotations

import configparser
from typing import Any

import numpy as np

from sparring.envs.gui.actions import GuiAction, Kind
from sparring.envs.gui.desktop_tasks import WORDS, DesktopTask, TaskKind, click, find, pick
from sparring.envs.gui.session import Look, Shown

_SAVE = GuiAction(Kind.PRESS, keys=("ctrl", "s"))
_ALL = GuiAction(Kind.PRESS, keys=("ctrl", "a"))
_ESCAPE = GuiAction(Kind.PRESS, keys=("esc",))
_PACKAGES = {"l3afpad": "l3afpad", "galculator": "galculator"}


def _is_focused(look: Look, one: Shown) -> bool:
    at = look.state["focused"]
    return at is not None and look.widgets[at] is one


def _write(look: Look, field: Shown, text: str) -> GuiAction:
    """The next action towards a field of exactly this text, which is not in it yet."""
    value = field.value or ""
    if not _is_focused(look, field):
        return click(field)
    if not value or look.state["selected"] == len(value):
        return GuiAction(Kind.TYPE, text=text)
    if not text.startswith(value):
        return _ALL
    at_end = look.state["caret"] == len(value) and not look.state["selected"]
    return GuiAction(Kind.TYPE, text=text[len(value) :]) if at_end else GuiAction(Kind.PRESS, keys=("ctrl", "end"))


def _holds(state: dict[str, Any], name: str, text: str) -> bool:
    """Whether a file has a text, where a last line's end makes no difference."""
    return bool(state["files"].get(name, "").removesuffix("\n") == text)


# Edit a file


def _draw_edit(rng: np.random.Generator) -> DesktopTask:
    name = f"{pick(rng, WORDS, 1)[0]}.txt"
    old, new = " ".join(pick(rng, WORDS, 4)), " ".join(pick(rng, WORDS, 3))
    spec = {"programs": [["l3afpad", name]], "files": {name: old}, "packages": _PACKAGES}
    if rng.random() < 0.5:
        return DesktopTask(
            "edit", f"replace the whole text of {name} by: {new}\nand save it", spec, {"name": name, "text": new}
        )
    return DesktopTask(
        "edit",
        f"put at the end of the line of {name}, after a space: {new}\nand save it",
        spec,
        {"name": name, "text": f"{old} {new}"},
    )


def _edit_done(goal: Any, state: dict[str, Any]) -> bool:
    return _holds(state, goal["name"], goal["text"])


def _do_edit(goal: Any, look: Look) -> GuiAction:
    page = find(look, "text")
    if page is None:
        return _ESCAPE
    return _SAVE if page.value == goal["text"] else _write(look, page, goal["text"])


# Save under a name


def _draw_save_as(rng: np.random.Generator) -> DesktopTask:
    folder, other, name = pick(rng, WORDS, 3)
    place = f"{folder}/{name}.txt" if rng.random() < 0.5 else f"{name}.txt"
    text = " ".join(pick(rng, WORDS, 3))
    where = f"in the folder {folder} of your home folder" if "/" in place else "in your home folder"
    return DesktopTask(
        "save_as",
        f"write this into the empty editor: {text}\nand save it as {name}.txt {where}",
        {"programs": [["l3afpad"]], "files": {f"{folder}/{other}.txt": other}, "packages": _PACKAGES},
        {"name": place, "text": text},
    )


def _do_save_as(goal: Any, look: Look) -> GuiAction:
    page, save = find(look, "text"), find(look, "button", "Save As")
    if page is None:
        return _ESCAPE
    if save is not None:  # the dialog is open, and the text in it is the name
        return click(save) if page.value == goal["name"] else _write(look, page, goal["name"])
    return _SAVE if page.value == goal["text"] else _write(look, page, goal["text"])


# Change settings

_SETTINGS_FILE = ".config/galculator/galculator.conf"
_SETTINGS = {
    "Number bases": ("default_number_base", ("Decimal", "Hexadecimal", "Octal", "Binary")),
    "Angle units": ("default_angle_base", ("Degrees", "Radians", "Gradians")),
    "Notation modes": ("default_notation_mode", ("Algebraic", "Reverse Polish (RPN)", "Formula Entry")),
}


def _draw_settings(rng: np.random.Generator) -> DesktopTask:
    now = {menu: int(rng.integers(len(names))) for menu, (_, names) in _SETTINGS.items()}
    asked = sorted(pick(rng, list(_SETTINGS), int(rng.integers(1, 3))), key=list(_SETTINGS).index)
    goal = dict(now)
    for menu in asked:
        names = _SETTINGS[menu][1]
        goal[menu] = (now[menu] + int(rng.integers(1, len(names)))) % len(names)
    lines = [f"{_SETTINGS[menu][0]}={value}" for menu, value in now.items()]
    wanted = " and ".join(f'"{_SETTINGS[menu][1][goal[menu]]}" under {menu}' for menu in asked)
    return DesktopTask(
        "settings",
        f"in the calculator's menu choose {wanted}, then quit the calculator, which saves its settings",
        {
            "programs": [["galculator"]],
            "files": {_SETTINGS_FILE: "\n".join(["[general]", "mode=1", *lines, ""])},
            "packages": _PACKAGES,
        },
        {"values": goal, "asked": asked},
    )


def _settings_done(goal: Any, state: dict[str, Any]) -> bool:
    found = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        found.read_string(state["files"].get(_SETTINGS_FILE, ""))
    except configparser.Error:
        return False
    return bool(state["committed"]) and all(
        found.get("general", _SETTINGS[menu][0], fallback="") == str(value) for menu, value in goal["values"].items()
    )


def _do_settings(goal: Any, look: Look) -> GuiAction:
    """From menu to menu: what is chosen is seen only in an open one, so that all that are asked for are looked at."""
    leave = find(look, "menu item", "Quit")
    if leave is not None:
        return click(leave)
    for at, menu in enumerate(goal["asked"]):
        option = find(look, "radio menu item", _SETTINGS[menu][1][goal["values"][menu]])
        if option is None:
            continue
        if option.value == "off":
            return click(option)
        following = goal["asked"][at + 1 :]
        return click(find(look, "menu", following[0] if following else "File"))
    first = find(look, "menu", goal["asked"][0])
    return click(first if first is not None else find(look, "menu", "Calculator"))


# Calculate, and write the result down


def _draw_calculation(rng: np.random.Generator) -> DesktopTask:
    first, second, third = (int(one) for one in rng.integers(12, 100, size=3))
    sign = str(rng.choice(["+", "-"]))
    result = first * second + (third if sign == "+" else -third)
    name = f"{pick(rng, WORDS, 1)[0]}.txt"
    return DesktopTask(
        "calculation",
        f"calculate {first} * {second} {sign} {third} with the calculator, write the result into {name} in the editor, "
        "and save it",
        {
            "programs": [["galculator"], ["l3afpad", name]],
            # With a field for formulas: elsewhere a key that comes again while its button flashes is lost.
            "files": {name: "", _SETTINGS_FILE: "[general]\nmode=0\ndefault_notation_mode=2\n"},
            "packages": _PACKAGES,
            "places": {"Galculator": [0, 0, 340, 440], "L3afpad": [345, 0, 450, 440]},
        },
        {"name": name, "text": str(result), "formula": f"{first}*{second}{sign}{third}"},
    )


def _do_calculation(goal: Any, look: Look) -> GuiAction:
    texts = [one for one in look.widgets if one.kind == "text"]
    if len(texts) != 3:
        return _ESCAPE
    display, formula, page = texts
    if page.value == goal["text"]:
        return _SAVE if _is_focused(look, page) else click(page)
    if display.value == goal["text"]:
        return _write(look, page, goal["text"])
    return (
        click(find(look, "toggle button", "="))
        if formula.value == goal["formula"]
        else _write(look, formula, goal["formula"])
    )


KINDS: dict[str, TaskKind] = {
    "edit": TaskKind(_draw_edit, _edit_done, _do_edit),
    "save_as": TaskKind(_draw_save_as, _edit_done, _do_save_as),
    "settings": TaskKind(_draw_settings, _settings_done, _do_settings),
    "calculation": TaskKind(_draw_calculation, _edit_done, _do_calculation),
}
