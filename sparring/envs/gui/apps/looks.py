"""What can be seen of Tk widgets, as plain data: kind, name, value, and the box in pixels."""

from __future__ import annotations

import tkinter
from typing import Any

_KINDS = {
    "Button": "button",
    "Entry": "field",
    "Checkbutton": "checkbox",
    "Radiobutton": "option",
    "Label": "label",
    "Scale": "slider",
    "Text": "text",
}


def widgets_of(root: tkinter.Tk) -> list[dict[str, Any]]:
    """All visible widgets, in the order in which they were made; entries of lists and items of drawings apart."""
    found: list[dict[str, Any]] = []
    _collect(root, found)
    return found


def _collect(parent: tkinter.Misc, found: list[dict[str, Any]]) -> None:
    for child in parent.winfo_children():
        if not child.winfo_viewable():
            continue
        kind = child.winfo_class()
        if kind == "Listbox":
            _entries(child, found)
        elif kind == "Canvas":
            _items(child, found)
        elif kind in _KINDS:
            found.append(_widget(child, _KINDS[kind]))
        _collect(child, found)


def _widget(widget: Any, kind: str) -> dict[str, Any]:
    left, top = widget.winfo_rootx(), widget.winfo_rooty()
    name = getattr(widget, "shown_name", None) or str(widget.cget("text") if kind not in ("field", "text") else "")
    return {
        "kind": kind,
        "name": name,
        "value": _value(widget, kind),
        "box": [left, top, left + widget.winfo_width(), top + widget.winfo_height()],
    }


def _value(widget: Any, kind: str) -> str | None:
    if kind == "field":
        return str(widget.get())
    if kind == "text":
        return str(widget.get("1.0", "end-1c"))
    if kind == "slider":
        return str(int(widget.get()))
    if kind in ("checkbox", "option"):
        return "on" if widget.is_on() else "off"
    return None


def _entries(listing: Any, found: list[dict[str, Any]]) -> None:
    chosen = set(listing.curselection())
    for at in range(listing.size()):
        box = listing.bbox(at)
        if box is None:
            continue
        left, top = listing.winfo_rootx() + box[0], listing.winfo_rooty() + box[1]
        value = "chosen" if at in chosen else None
        right = listing.winfo_rootx() + listing.winfo_width()
        found.append(
            {"kind": "entry", "name": listing.get(at), "value": value, "box": [left, top, right, top + box[3]]}
        )
    left, top = listing.winfo_rootx(), listing.winfo_rooty()
    first, last = listing.yview()
    edges = [left, top, left + listing.winfo_width(), top + listing.winfo_height()]
    shown = f"{round(100 * first)} to {round(100 * last)} of 100"
    found.append({"kind": "list", "name": getattr(listing, "shown_name", ""), "value": shown, "box": edges})


def _items(canvas: Any, found: list[dict[str, Any]]) -> None:
    left, top = canvas.winfo_rootx(), canvas.winfo_rooty()
    for item in canvas.find_all():
        names = [tag for tag in canvas.gettags(item) if tag != "current"]
        if not names:
            continue
        x1, y1, x2, y2 = canvas.coords(item)
        found.append(
            {
                "kind": "item",
                "name": names[0],
                "value": None,
                "box": [left + int(x1), top + int(y1), left + int(x2), top + int(y2)],
            }
        )
