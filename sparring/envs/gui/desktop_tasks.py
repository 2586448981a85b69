"""What there is to do on the desktop: eight kinds of tasks, their goals, and how each is reached.

A task is plain data drawn from a seed. Whether its goal is reached is read off the application's own state, never off
pixels; the next action of the expert is read off that and what is on the screen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparring.envs.gui.actions import GuiAction, Kind
from sparring.envs.gui.session import Look, Shown

WORDS = (
    "amber",
    "birch",
    "cedar",
    "delta",
    "ember",
    "fjord",
    "grove",
    "heron",
    "inlet",
    "juniper",
    "kestrel",
    "lotus",
)
_NAMES = ("Ann", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gail", "Hugo", "Iris", "Jon", "Kim", "Lea")
_CITIES = ("Oslo", "Lima", "Rome", "Cairo", "Quito", "Kyoto", "Delhi", "Paris", "Tunis", "Accra")
_COLOURS = ("red", "green", "blue")


@dataclass(frozen=True, slots=True)
class DesktopTask:
    """One task.

    Attributes:
        kind: of `KINDS`. instruction: in words. spec: what the application is built from. goal: what is to be reached.
    """

    kind: str
    instruction: str
    spec: dict[str, Any]
    goal: Any


@dataclass(frozen=True, slots=True)
class TaskKind:
    """How tasks of one kind are drawn, judged and done.

    Attributes:
        draw: a task, from a generator. reached: whether its goal is, from that and the application's state.
        advise: the expert's next action, from the goal and what the application says of itself.
    """

    draw: Callable[[np.random.Generator], DesktopTask]
    reached: Callable[[Any, dict[str, Any]], bool]
    advise: Callable[[Any, Look], GuiAction]


def pick(rng: np.random.Generator, names: Sequence[str], count: int) -> list[str]:
    """So many different ones of the names."""
    return [str(one) for one in rng.permutation(names)[:count]]


def find(look: Look, kind: str, name: str | None = None) -> Shown | None:
    """The first thing of a kind, and of a name where one is given, that is on the screen."""
    return next((one for one in look.widgets if one.kind == kind and name in (None, one.name)), None)


def click(widget: Shown | None) -> GuiAction:
    """A click at the middle of a thing; where there is none, waiting for it."""
    return GuiAction(Kind.WAIT) if widget is None else GuiAction(Kind.CLICK, point=widget.box.centre)


# Fill in a form


def _draw_form(rng: np.random.Generator) -> DesktopTask:
    values = {"Name": pick(rng, _NAMES, 1)[0], "City": pick(rng, _CITIES, 1)[0], "Code": str(rng.integers(100, 1000))}
    fields = pick(rng, list(values), int(rng.integers(2, 4)))
    goal = {name: values[name] for name in fields}
    wanted = ", ".join(f"{name} {value}" for name, value in goal.items())
    return DesktopTask("form", f"fill in the form and send it: {wanted}", {"app": "form", "fields": fields}, goal)


def _form_done(goal: Any, state: dict[str, Any]) -> bool:
    return bool(state["sent"] == goal)


def _do_form(goal: Any, look: Look) -> GuiAction:
    for name, value in goal.items():
        field = find(look, "field", name)
        if field is None or field.value == value:
            continue
        if not field.value:
            return GuiAction(Kind.TYPE, text=value, point=field.box.centre)
        if look.state["focused"] != name:
            return GuiAction(Kind.CLICK, point=(field.box.right - 0.01, field.box.centre[1]))
        return (
            GuiAction(Kind.PRESS, keys=("backspace",)) if look.state["at_end"] else GuiAction(Kind.PRESS, keys=("end",))
        )
    return click(find(look, "button", "Send"))


# Tick boxes


def _draw_checklist(rng: np.random.Generator) -> DesktopTask:
    names = pick(rng, WORDS, 6)
    goal = sorted(pick(rng, names, int(rng.integers(1, 4))), key=names.index)
    ticked = pick(rng, names, 1)
    return DesktopTask(
        "checklist",
        f"tick exactly {', '.join(goal)}, and apply",
        {"app": "checklist", "names": names, "ticked": ticked},
        goal,
    )


def _checklist_done(goal: Any, state: dict[str, Any]) -> bool:
    return bool(state["applied"] == goal)


def _do_checklist(goal: Any, look: Look) -> GuiAction:
    for box in look.widgets:
        if box.kind == "checkbox" and (box.value == "on") != (box.name in goal):
            return click(box)
    return click(find(look, "button", "Apply"))


# Calculate


def _draw_calculator(rng: np.random.Generator) -> DesktopTask:
    first, second = int(rng.integers(2, 100)), int(rng.integers(2, 30))
    sign = str(rng.choice(["+", "-", "*"]))
    result = {"+": first + second, "-": first - second, "*": first * second}[sign]
    goal = {"first": str(first), "sign": sign, "second": str(second), "result": str(result)}
    return DesktopTask(
        "calculator", f"calculate {first} {sign} {second} with the calculator", {"app": "calculator"}, goal
    )


def _calculator_done(goal: Any, state: dict[str, Any]) -> bool:
    return bool(state["finished"] and state["shown"] == goal["result"])


def _do_calculator(goal: Any, look: Look) -> GuiAction:
    first, sign, second = goal["first"], goal["sign"], goal["second"]
    typed, pending, total = look.state["typed"], look.state["pending"], look.state["total"]
    is_begun = (pending, total) == (sign, int(first)) and not (sign == "+" and total == 0)
    is_fresh = (pending, total) == ("+", 0) and not look.state["finished"]
    if not is_begun and not is_fresh:
        return click(find(look, "button", "C"))
    wanted, after = (second, "=") if is_begun else (first, sign)
    if typed == wanted:
        return click(find(look, "button", after))
    return click(find(look, "button", wanted[len(typed)] if wanted.startswith(typed) else "C"))


# Edit a text


def _draw_editor(rng: np.random.Generator) -> DesktopTask:
    old, new = " ".join(pick(rng, WORDS, 3)), " ".join(pick(rng, WORDS, 2))
    if rng.random() < 0.5:
        return DesktopTask(
            "editor", f"replace the whole text by: {new}\nand save it", {"app": "editor", "text": old}, new
        )
    return DesktopTask(
        "editor",
        f"put at the end of the text: {new}\nand save it",
        {"app": "editor", "text": f"{old} "},
        f"{old} {new}",
    )


def _editor_done(goal: Any, state: dict[str, Any]) -> bool:
    return bool(state["saved"] == goal)


def _do_editor(goal: Any, look: Look) -> GuiAction:
    page = find(look, "text")
    if page is None or page.value == goal:
        return click(find(look, "button", "Save"))
    value = page.value or ""
    if look.state["selected"] or not value:
        return GuiAction(Kind.TYPE, text=goal, point=None if look.state["focused"] else page.box.centre)
    if not look.state["focused"]:
        return click(page)
    if look.state["at_end"] and goal.startswith(value):
        return GuiAction(Kind.TYPE, text=goal[len(value) :])
    return GuiAction(Kind.PRESS, keys=("ctrl", "end") if goal.startswith(value) else ("ctrl", "a"))


# Set a slider


def _draw_mixer(rng: np.random.Generator) -> DesktopTask:
    names = pick(rng, WORDS, 3)
    levels = {name: int(rng.integers(0, 101)) for name in names}
    asked = names[int(rng.integers(3))]
    level = int(rng.integers(0, 101))
    while abs(level - levels[asked]) < 10:
        level = int(rng.integers(0, 101))
    goal = {"levels": levels, "name": asked, "level": level}
    return DesktopTask(
        "mixer", f"set {asked} to about {level} (3 more or less will do)", {"app": "mixer", "levels": levels}, goal
    )


def _mixer_done(goal: Any, state: dict[str, Any]) -> bool:
    others = {name: level for name, level in state["levels"].items() if name != goal["name"]}
    same = all(goal["levels"][name] == level for name, level in others.items())
    return bool(same and abs(state["levels"][goal["name"]] - goal["level"]) <= 3)


def _do_mixer(goal: Any, look: Look) -> GuiAction:
    slider = find(look, "slider", goal["name"])
    if slider is None or slider.value is None:
        return GuiAction(Kind.WAIT)
    # The knob travels the slider less its own length; it stands in the lower half, under the number.
    box, knob = slider.box, 0.1 * (slider.box.right - slider.box.left)
    height = box.top + 0.7 * (box.bottom - box.top)

    def place(level: float) -> float:
        start, end = box.left + 0.85 * knob, box.right - 0.85 * knob
        return start + (end - start) * level / 100

    return GuiAction(Kind.DRAG, point=(place(int(slider.value)), height), to=(place(goal["level"]), height))


# Delete a file


def _draw_files(rng: np.random.Generator) -> DesktopTask:
    names = sorted(f"{first}-{second}.txt" for first in pick(rng, WORDS, 4) for second in pick(rng, WORDS, 4))
    asked = names[int(rng.integers(len(names)))]
    return DesktopTask(
        "files", f"delete the file {asked}", {"app": "files", "names": names}, {"names": names, "asked": asked}
    )


def _files_done(goal: Any, state: dict[str, Any]) -> bool:
    return bool(state["gone"] == [goal["asked"]])


def _do_files(goal: Any, look: Look) -> GuiAction:
    entry, asked = find(look, "entry", goal["asked"]), goal["asked"]
    if look.state["asking"]:
        is_right = find(look, "label", f"Delete {asked}?") is not None
        return click(find(look, "button", "Yes" if is_right else "No"))
    if entry is not None:
        return click(find(look, "button", "Delete")) if entry.value == "chosen" else click(entry)
    listing, first = find(look, "list"), find(look, "entry")
    if listing is None or first is None:
        return GuiAction(Kind.WAIT)
    return GuiAction(Kind.SCROLL, direction="down" if first.name < asked else "up", point=listing.box.centre)


# Change settings


def _draw_settings(rng: np.random.Generator) -> DesktopTask:
    pages = {str(page): pick(rng, WORDS, 3) for page in ("View", "Sound", "Keys")}
    page = str(rng.choice(list(pages)))
    option = pages[page][int(rng.integers(1, 3))]
    number = int(rng.integers(2, 18))
    wanted = number + int(rng.choice([-2, -1, 1, 2]))
    goal = {
        "page": page,
        "option": option,
        "number": wanted,
        "pages": {name: names[0] for name, names in pages.items()},
    }
    return DesktopTask(
        "settings",
        f"on the page {page} choose {option}, and set the size to {wanted}",
        {"app": "settings", "pages": pages, "number": number},
        goal,
    )


def _settings_done(goal: Any, state: dict[str, Any]) -> bool:
    choices = goal["pages"] | {goal["page"]: goal["option"]}
    return bool(state["choices"] == choices and state["number"] == goal["number"])


def _do_settings(goal: Any, look: Look) -> GuiAction:
    number = look.state["number"]
    if number != goal["number"]:
        return click(find(look, "button", "+" if number < goal["number"] else "-"))
    choices = goal["pages"] | {goal["page"]: goal["option"]}
    for page, option in choices.items():
        if look.state["choices"][page] != option:
            there = look.state["page"] == page
            return click(find(look, "option", option) if there else find(look, "button", page))
    return GuiAction(Kind.COMPLETE)


# Sort by dragging


def _draw_sorter(rng: np.random.Generator) -> DesktopTask:
    names = pick(rng, _COLOURS, int(rng.integers(1, 4)))
    lefts = [int(at) for at in rng.permutation(8)[: len(names)]]
    squares = {name: (10 + 44 * left, int(rng.integers(10, 110))) for name, left in zip(names, lefts, strict=True)}
    bins = pick(rng, ("left", "middle", "right"), 3)
    goal = {name: bins[int(rng.integers(3))] for name in names}
    wanted = ", ".join(f"the {name} square into the {bin} bin" for name, bin in goal.items())
    return DesktopTask("sorter", f"drag {wanted}", {"app": "sorter", "bins": bins, "squares": squares}, goal)


def _sorter_done(goal: Any, state: dict[str, Any]) -> bool:
    return bool(state["inside"] == goal)


def _do_sorter(goal: Any, look: Look) -> GuiAction:
    for name, bin in goal.items():
        square, place = find(look, "item", f"{name} square"), find(look, "item", f"{bin} bin")
        if look.state["inside"][name] != bin and square is not None and place is not None:
            share = (1 + list(_COLOURS).index(name)) / (1 + len(_COLOURS))  # side by side, so that none hides another
            to = (place.box.left + share * (place.box.right - place.box.left), place.box.centre[1] - 0.02)
            return GuiAction(Kind.DRAG, point=square.box.centre, to=to)
    return GuiAction(Kind.COMPLETE)


KINDS: dict[str, TaskKind] = {
    "form": TaskKind(_draw_form, _form_done, _do_form),
    "checklist": TaskKind(_draw_checklist, _checklist_done, _do_checklist),
    "calculator": TaskKind(_draw_calculator, _calculator_done, _do_calculator),
    "editor": TaskKind(_draw_editor, _editor_done, _do_editor),
    "mixer": TaskKind(_draw_mixer, _mixer_done, _do_mixer),
    "files": TaskKind(_draw_files, _files_done, _do_files),
    "settings": TaskKind(_draw_settings, _settings_done, _do_settings),
    "sorter": TaskKind(_draw_sorter, _sorter_done, _do_sorter),
}
