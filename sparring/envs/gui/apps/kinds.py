"""The applications. Each is built from a `spec` of plain data, and says its `state` as plain data.

A state with `committed` true says that the user pressed the button that ends the matter.
"""

from __future__ import annotations

import tkinter
from functools import partial
from typing import Any, Protocol


class App(Protocol):
    """What the host needs of an application."""

    def state(self) -> dict[str, Any]: ...


class Form:
    """Labelled fields and a button that sends them."""

    def __init__(self, frame: tkinter.Frame, spec: dict[str, Any]) -> None:
        self._entries: dict[str, tkinter.Entry] = {}
        self._sent: dict[str, str] | None = None
        for row, name in enumerate(spec["fields"]):
            tkinter.Label(frame, text=name).grid(row=row, column=0, sticky="w", padx=12, pady=6)
            entry: Any = tkinter.Entry(frame, width=24)
            entry.shown_name = name
            entry.grid(row=row, column=1, padx=12, pady=6)
            self._entries[name] = entry
        tkinter.Button(frame, text="Send", command=self._send).grid(
            row=len(spec["fields"]), column=1, sticky="e", padx=12
        )

    def _send(self) -> None:
        self._sent = {name: entry.get() for name, entry in self._entries.items()}

    def state(self) -> dict[str, Any]:
        focused = next((name for name, one in self._entries.items() if one.focus_get() is one), None)
        here = self._entries.get(focused or "")
        at_end = here is not None and here.index("insert") == here.index("end")
        return {"sent": self._sent, "committed": self._sent is not None, "focused": focused, "at_end": at_end}


class Checklist:
    """Boxes to tick and a button that applies them."""

    def __init__(self, frame: tkinter.Frame, spec: dict[str, Any]) -> None:
        self._marks: dict[str, tkinter.BooleanVar] = {}
        self._applied: list[str] | None = None
        for number, name in enumerate(spec["names"]):
            mark = tkinter.BooleanVar(frame, value=name in spec["ticked"])
            box: Any = tkinter.Checkbutton(frame, text=name, variable=mark)
            box.is_on = mark.get
            box.grid(row=number // 2, column=number % 2, sticky="w", padx=12, pady=6)
            self._marks[name] = mark
        tkinter.Button(frame, text="Apply", command=self._apply).grid(row=9, column=1, sticky="e", padx=12, pady=6)

    def _apply(self) -> None:
        self._applied = [name for name, mark in self._marks.items() if mark.get()]

    def state(self) -> dict[str, Any]:
        return {"applied": self._applied, "committed": self._applied is not None}


class Calculator:
    """Four functions on whole numbers, from left to right."""

    def __init__(self, frame: tkinter.Frame, spec: dict[str, Any]) -> None:
        self._total, self._pending, self._typed, self._done = 0, "+", "", False
        self._display: Any = tkinter.Label(frame, text="0", anchor="e", width=20, background="white", relief="sunken")
        self._display.grid(row=0, column=0, columnspan=4, padx=8, pady=8, sticky="we")
        for at, key in enumerate("789+456-123*C0="):
            row, column = divmod(at, 4)
            tkinter.Button(frame, text=key, width=4, command=partial(self._press, key)).grid(
                row=row + 1, column=column, padx=3, pady=3
            )

    def _press(self, key: str) -> None:
        self._done = False
        if key.isdigit():
            self._typed = (self._typed + key)[-9:]
        elif key == "C":
            self._total, self._pending, self._typed = 0, "+", ""
        else:
            value = int(self._typed or "0")
            change = {"+": self._total + value, "-": self._total - value, "*": self._total * value}
            self._total, self._typed = change[self._pending], ""
            self._pending, self._done = ("+", True) if key == "=" else (key, False)
            if self._done:
                self._typed, self._total = str(self._total), 0
        self._display.configure(text=self._typed or str(self._total))

    def state(self) -> dict[str, Any]:
        return {
            "shown": str(self._display.cget("text")),
            "finished": self._done,
            "total": self._total,
            "pending": self._pending,
            "typed": self._typed,
        }


class Editor:
    """A text and a button that saves it; Ctrl+S does the same."""

    def __init__(self, frame: tkinter.Frame, spec: dict[str, Any]) -> None:
        self._saved: str | None = None
        page: Any = tkinter.Text(frame, width=38, height=6, undo=True)
        page.shown_name = "page"
        self._text = page
        self._text.insert("1.0", spec["text"])
        self._text.pack(padx=8, pady=8)
        self._text.bind("<Control-s>", self._save)
        self._text.bind("<Control-a>", self._select_all)
        tkinter.Button(frame, text="Save", command=self._save).pack(anchor="e", padx=8)

    def _select_all(self, event: Any) -> str:
        self._text.tag_add("sel", "1.0", "end-1c")
        return "break"

    def _save(self, event: Any = None) -> str:
        self._saved = self._text.get("1.0", "end-1c")
        return "break"

    def state(self) -> dict[str, Any]:
        return {
            "saved": self._saved,
            "selected": bool(self._text.tag_ranges("sel")),
            "focused": self._text.focus_get() is self._text,
            "at_end": bool(self._text.compare("insert", "==", "end-1c")),
        }


class Mixer:
    """Sliders from 0 to 100."""

    def __init__(self, frame: tkinter.Frame, spec: dict[str, Any]) -> None:
        self._scales: dict[str, tkinter.Scale] = {}
        for row, (name, level) in enumerate(spec["levels"].items()):
            tkinter.Label(frame, text=name).grid(row=row, column=0, sticky="w", padx=12, pady=6)
            scale: Any = tkinter.Scale(frame, orient="horizontal", from_=0, to=100, length=210, showvalue=True)
            scale.shown_name = name
            scale.set(level)
            scale.grid(row=row, column=1, padx=12)
            self._scales[name] = scale

    def state(self) -> dict[str, Any]:
        return {"levels": {name: int(scale.get()) for name, scale in self._scales.items()}}


class Files:
    """A list longer than its window, and a button that deletes what is chosen, after a question."""

    def __init__(self, frame: tkinter.Frame, spec: dict[str, Any]) -> None:
        self._frame = frame
        self._gone: list[str] = []
        self._question: tkinter.Frame | None = None
        self._asked = 0
        listing: Any = tkinter.Listbox(frame, width=34, height=7, exportselection=False)
        listing.shown_name = "files"
        self._list = listing
        for name in spec["names"]:
            self._list.insert("end", name)
        self._list.pack(padx=8, pady=8)
        tkinter.Button(frame, text="Delete", command=self._ask).pack(anchor="e", padx=8)

    def _ask(self) -> None:
        chosen = self._list.curselection()
        if not chosen or self._question is not None:
            return
        self._asked = chosen[0]  # the list may be clicked while the question is there
        name = self._list.get(self._asked)
        self._question = tkinter.Frame(self._frame, relief="raised", borderwidth=2)
        tkinter.Label(self._question, text=f"Delete {name}?").pack(padx=12, pady=6)
        for text, answer in (("Yes", True), ("No", False)):
            tkinter.Button(self._question, text=text, command=partial(self._close, answer)).pack(
                side="left", padx=12, pady=6
            )
        self._question.place(relx=0.5, rely=0.4, anchor="center")

    def _close(self, answer: bool) -> None:
        assert self._question is not None
        self._question.destroy()
        self._question = None
        if answer:
            self._gone.append(self._list.get(self._asked))
            self._list.delete(self._asked)

    def state(self) -> dict[str, Any]:
        return {"gone": list(self._gone), "asking": self._question is not None, "committed": bool(self._gone)}


class Settings:
    """Pages behind buttons, with options of which one holds, and a number that goes up and down."""

    def __init__(self, frame: tkinter.Frame, spec: dict[str, Any]) -> None:
        self._choice = {page: tkinter.StringVar(frame, value=names[0]) for page, names in spec["pages"].items()}
        self._number = tkinter.IntVar(frame, value=spec["number"])
        bar = tkinter.Frame(frame)
        bar.pack(anchor="w", padx=8, pady=8)
        self._pages: dict[str, tkinter.Frame] = {}
        for page, names in spec["pages"].items():
            tkinter.Button(bar, text=page, command=partial(self._turn, page)).pack(side="left", padx=4)
            body = tkinter.Frame(frame)
            for name in names:
                option: Any = tkinter.Radiobutton(body, text=name, value=name, variable=self._choice[page])
                option.is_on = partial(self._is_chosen, page, name)
                option.pack(anchor="w", padx=16, pady=3)
            self._pages[page] = body
        row = tkinter.Frame(frame)
        tkinter.Label(row, text="size").pack(side="left", padx=8)
        for text, change in (("-", -1), ("+", 1)):
            tkinter.Button(row, text=text, width=2, command=partial(self._change, change)).pack(side="left")
        tkinter.Label(row, textvariable=self._number, width=4).pack(side="left")
        row.pack(side="bottom", anchor="w", padx=8, pady=8)
        self._turn(next(iter(spec["pages"])))

    def _is_chosen(self, page: str, name: str) -> bool:
        return self._choice[page].get() == name

    def _turn(self, page: str) -> None:
        for body in self._pages.values():
            body.pack_forget()
        self._pages[page].pack(anchor="w", fill="x")
        self._page = page

    def _change(self, change: int) -> None:
        self._number.set(min(max(self._number.get() + change, 0), 20))

    def state(self) -> dict[str, Any]:
        choices = {page: choice.get() for page, choice in self._choice.items()}
        return {"choices": choices, "number": self._number.get(), "page": self._page}


class Sorter:
    """Coloured squares to be dragged into bins."""

    def __init__(self, frame: tkinter.Frame, spec: dict[str, Any]) -> None:
        self._held: int | None = None
        self._from = (0, 0)
        self._canvas = canvas = tkinter.Canvas(frame, width=370, height=240, background="white", highlightthickness=0)
        canvas.pack(padx=4, pady=4)
        self._bins: dict[str, int] = {}
        for at, name in enumerate(spec["bins"]):
            left = 10 + 120 * at
            self._bins[name] = canvas.create_rectangle(
                left, 160, left + 100, 230, fill="#eeeeee", outline="#555555", tags=(f"{name} bin",)
            )
            canvas.create_text(left + 50, 220, text=name)
        self._squares: dict[str, int] = {}
        for name, (left, top) in spec["squares"].items():
            self._squares[name] = canvas.create_rectangle(
                left, top, left + 30, top + 30, fill=name, outline="black", tags=(f"{name} square",)
            )
        canvas.bind("<ButtonPress-1>", self._take)
        canvas.bind("<B1-Motion>", self._move)
        canvas.bind("<ButtonRelease-1>", self._drop)

    def _take(self, event: Any) -> None:
        under = self._canvas.find_overlapping(event.x, event.y, event.x, event.y)
        self._held = next((item for item in reversed(under) if item in self._squares.values()), None)
        self._from = (event.x, event.y)

    def _move(self, event: Any) -> None:
        if self._held is not None:
            self._canvas.move(self._held, event.x - self._from[0], event.y - self._from[1])
            self._from = (event.x, event.y)

    def _drop(self, event: Any) -> None:
        self._held = None

    def state(self) -> dict[str, Any]:
        inside: dict[str, str | None] = {}
        for name, item in self._squares.items():
            x1, y1, x2, y2 = self._canvas.coords(item)
            middle = ((x1 + x2) / 2, (y1 + y2) / 2)
            inside[name] = next((bin for bin, place in self._bins.items() if self._holds(place, middle)), None)
        return {"inside": inside}

    def _holds(self, place: int, middle: tuple[float, float]) -> bool:
        x1, y1, x2, y2 = self._canvas.coords(place)
        return x1 <= middle[0] <= x2 and y1 <= middle[1] <= y2


APPS: dict[str, Any] = {
    "form": Form,
    "checklist": Checklist,
    "calculator": Calculator,
    "editor": Editor,
    "mixer": Mixer,
    "files": Files,
    "settings": Settings,
    "sorter": Sorter,
}
