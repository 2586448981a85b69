"""Scripted experts for some of the tasks: from the instruction and what the page shows to the next action."""

from __future__ import annotations

import re
from collections.abc import Callable

from sparring.envs.web.browser.view import Look, Node

Expert = Callable[[str, Look], str]

_QUOTED = re.compile(r'"([^"]*)"')


def _click(node: Node | None) -> str:
    return f"click[{node.number}]" if node is not None else "wait"


def _quoted(instruction: str) -> list[str]:
    return _QUOTED.findall(instruction)


def _submit(look: Look) -> str:
    return _click(next((one for one in look.nodes if one.role == "button" and one.name in ("Submit", "Login")), None))


def _named(look: Look, name: str) -> Node | None:
    fits = [one for one in look.nodes if one.number is not None and one.name == name]
    return fits[-1] if fits else None


def _fill(look: Look, roles: tuple[str, ...], texts: list[str]) -> str:
    """Fill fields of these roles in order, then submit."""
    fields = [one for one in look.nodes if one.role in roles and one.number is not None]
    for field, text in zip(fields, texts, strict=False):
        if field.value != text:
            return f"fill[{field.number}] {text}"
    return _submit(look)


def click_only_button(instruction: str, look: Look) -> str:
    """`click-test`."""
    return _click(look.find("button"))


def click_named(instruction: str, look: Look) -> str:
    """`click-button`, `click-link`, `click-test-2`: what the instruction names."""
    names = _quoted(instruction) or re.findall(r"button (ONE|TWO)", instruction)
    return _click(_named(look, names[0])) if names else "wait"


def click_button_sequence(instruction: str, look: Look) -> str:
    """`click-button-sequence`: ONE, and once it has the focus, TWO."""
    one, two = look.find("button", "ONE"), look.find("button", "TWO")
    return _click(two if one is not None and one.states.get("focused") else one)


def click_dialog(instruction: str, look: Look) -> str:
    """`click-dialog`: the button that closes it."""
    return _click(next((one for one in look.nodes if one.role == "button"), None))


def enter_text(instruction: str, look: Look) -> str:
    """`enter-text`, `enter-text-dynamic`."""
    return _fill(look, ("textbox",), _quoted(instruction)[:1])


def enter_password(instruction: str, look: Look) -> str:
    """`enter-password`: passwords show as dots, so that what counts is their length."""
    wanted = (_quoted(instruction) or [""])[0]
    for field in (one for one in look.nodes if one.role == "textbox" and one.number is not None):
        if len(field.value) != len(wanted):
            return f"fill[{field.number}] {wanted}"
    return _submit(look)


def login_user(instruction: str, look: Look) -> str:
    """`login-user`."""
    name, password = [*_quoted(instruction), "", ""][:2]
    fields = [one for one in look.nodes if one.role == "textbox" and one.number is not None]
    for field, wanted, dots in zip(fields, (name, password), (False, True), strict=False):
        if field.value != ("•" * len(wanted) if dots else wanted):
            return f"fill[{field.number}] {wanted}"
    return _submit(look)


def click_checkboxes(instruction: str, look: Look) -> str:
    """`click-checkboxes`, `-large`, `-transfer`."""
    stated = re.fullmatch(r"Select (.*) and click Submit\.", instruction)
    wanted = set(stated[1].split(", ")) if stated else set()
    for box in (one for one in look.nodes if one.role == "checkbox"):
        if (box.name in wanted) != bool(box.states.get("checked")):
            return _click(box)
    return _submit(look)


def click_option(instruction: str, look: Look) -> str:
    """`click-option`: a radio button, then submit."""
    stated = re.fullmatch(r"Select (.*) and click Submit\.", instruction)
    chosen = next((one for one in look.nodes if one.role == "radio" and stated and one.name == stated[1]), None)
    return _submit(look) if chosen is not None and chosen.states.get("checked") else _click(chosen)


def choose_list(instruction: str, look: Look) -> str:
    """`choose-list`: an entry of a list, then submit."""
    stated = re.fullmatch(r"Select (.*) from the list and click Submit\.", instruction)
    box = next((one for one in look.nodes if "options" in one.states), None)
    if box is None or stated is None:
        return "wait"
    return _submit(look) if box.value == stated[1] else f"select[{box.number}] {stated[1]}"


def focus_text(instruction: str, look: Look) -> str:
    """`focus-text`, `focus-text-2`: the field that is named by its place."""
    places = {"1st": 0, "2nd": 1, "3rd": 2}
    fields = [one for one in look.nodes if one.role == "textbox"]
    place = next((at for word, at in places.items() if word in instruction), 0)
    return _click(fields[place] if place < len(fields) else None)


EXPERTS: dict[str, Expert] = {
    "click-test": click_only_button,
    "click-test-2": click_named,
    "click-button": click_named,
    "click-link": click_named,
    "click-button-sequence": click_button_sequence,
    "click-dialog": click_dialog,
    "enter-text": enter_text,
    "enter-text-dynamic": enter_text,
    "enter-password": enter_password,
    "login-user": login_user,
    "click-checkboxes": click_checkboxes,
    "click-checkboxes-large": click_checkboxes,
    "click-checkboxes-transfer": click_checkboxes,
    "click-option": click_option,
    "choose-list": choose_list,
    "focus-text": focus_text,
    "focus-text-2": focus_text,
}
