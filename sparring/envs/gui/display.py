"""An X display without a screen (Xvfb), its keyboard and pointer (XTest), and pictures of it.

    with Display((400, 300)) as display:
        display.click((0.5, 0.5))
        display.type("hello")
        display.grab()              # an Image

Xvfb is asked to end with its last client (`-terminate`), so that it is gone even where this process was killed.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sparring.envs.gui.geometry import Point, Size, to_pixel
from sparring.envs.gui.screens import png_of
from sparring.errors import EnvFailed, InvalidData, MissingExtra, need
from sparring.types import Image

_START_S = 120.0  # a tenth of a second on a machine that is not busy
_LEFT, _RIGHT, _WHEEL = 1, 3, {"up": 4, "down": 5, "left": 6, "right": 7}
_DRAG_STEPS = 8
_NAMES = {
    "ctrl": "Control_L",
    "control": "Control_L",
    "alt": "Alt_L",
    "shift": "Shift_L",
    "super": "Super_L",
    "enter": "Return",
    "return": "Return",
    "esc": "Escape",
    "escape": "Escape",
    "tab": "Tab",
    "space": "space",
    "backspace": "BackSpace",
    "delete": "Delete",
    "home": "Home",
    "end": "End",
    "pageup": "Prior",
    "pagedown": "Next",
    "up": "Up",
    "down": "Down",
    "left": "Left",
    "right": "Right",
    **{f"f{number}": f"F{number}" for number in range(1, 13)},
}


class Display:
    """A running Xvfb. `close` ends it, as does losing the last reference to this object.

    Args:
        size: width and height in pixels.
    Raises:
        MissingExtra: Xvfb, python-xlib, mss or Pillow is not installed; the message says how to get it.
        EnvFailed: Xvfb did not start.
    """

    def __init__(self, size: Size) -> None:
        self.size = size
        self._spare: dict[int, int] | None = None  # keys without a symbol of their own, and what each was lent
        xlib, mss = need("Xlib.display", "gui"), need("mss", "gui")
        self._pillow = need("PIL.Image", "gui")
        self._x, self._xtest, self._xk = need("Xlib.X", "gui"), need("Xlib.ext.xtest", "gui"), need("Xlib.XK", "gui")
        for group in ("latin1", "miscellany", "xkb"):
            self._xk.load_keysym_group(group)
        self.process, self.number = _start(size)
        self.name = f":{self.number}"
        try:
            self._display: Any = xlib.Display(self.name)
            self._eye: Any = mss.MSS(display=self.name)
        except Exception as error:  # both raise errors of their own
            end_group(self.process)
            raise EnvFailed(f"no connection to Xvfb on {self.name}: {error}") from error
        self.close = weakref.finalize(self, _close, self._display, self._eye, self.process)

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def is_alive(self) -> bool:
        return bool(self.close.alive) and self.process.poll() is None

    @contextmanager
    def watched(self, patience_s: float) -> Iterator[Display]:
        """This display, which is killed where it is not done with within a time.

        One that hangs holds whoever asks it for ever; killed, it lets go, and its connection raises.
        """
        watch = threading.Timer(patience_s, self.process.kill)
        watch.daemon = True
        watch.start()
        try:
            yield self
        finally:
            watch.cancel()

    def grab(self) -> Image:
        """A picture of the whole display, without the pointer."""
        width, height = self.size
        shot = self._eye.grab({"left": 0, "top": 0, "width": width, "height": height})
        return png_of(self._pillow.frombytes("RGB", shot.size, shot.bgra, "raw", "BGRX"))

    def move(self, point: Point) -> None:
        """Put the pointer somewhere."""
        x, y = to_pixel(point, self.size)
        self._fake(self._x.MotionNotify, 0, x=x, y=y)
        self._display.sync()

    def click(self, point: Point, *, button: int = _LEFT, hold_s: float = 0.0) -> None:
        """Press and release a button of the mouse: 1 is the left one, 3 the right one."""
        self.move(point)
        self._fake(self._x.ButtonPress, button)
        self._display.sync()
        if hold_s:
            time.sleep(hold_s)
        self._fake(self._x.ButtonRelease, button)
        self._display.sync()

    def right_click(self, point: Point) -> None:
        """Press and release the right button."""
        self.click(point, button=_RIGHT)

    def drag(self, point: Point, to: Point) -> None:
        """Press the left button at one place and let it go at another, with moves between."""
        self.move(point)
        self._fake(self._x.ButtonPress, _LEFT)
        for step in range(1, _DRAG_STEPS + 1):
            share = step / _DRAG_STEPS
            self.move((point[0] + (to[0] - point[0]) * share, point[1] + (to[1] - point[1]) * share))
        self._fake(self._x.ButtonRelease, _LEFT)
        self._display.sync()

    def scroll(self, direction: str, point: Point, *, clicks: int = 1) -> None:
        """Turn the wheel over a place."""
        for _ in range(clicks):
            self.click(point, button=_WHEEL[direction])

    def press(self, keys: tuple[str, ...]) -> None:
        """Press keys together, the first held longest; one alone with Shift where it needs that, as `A` does.

        Keys that lock (Caps_Lock and the like) are none here: what they do would outlive the episode.

        Raises:
            InvalidData: a name that no key has.
        """
        strokes = []
        for key in keys:
            name = _NAMES.get(key.lower(), key)
            keysym = 0 if name.endswith("Lock") else self._xk.string_to_keysym(name)
            stroke = self._stroke(keysym) if keysym else None
            if stroke is None:
                raise InvalidData(f"there is no key {key!r}; write ctrl, shift, enter, f5, a and so on")
            strokes.append(stroke)
        codes = [code for code, _ in strokes]
        if len(strokes) == 1 and strokes[0][1]:
            codes.insert(0, self._display.keysym_to_keycode(self._xk.XK_Shift_L))
        for code in codes:
            self._fake(self._x.KeyPress, code)
        for code in reversed(codes):
            self._fake(self._x.KeyRelease, code)
        self._display.sync()

    def type(self, text: str) -> None:
        """Press the keys of a text, one after another; a line's end is the Return key.

        Characters that the keyboard lacks are put on keys that it does not use.

        Raises:
            InvalidData: a control character, or more different characters than there are keys.
        """
        if any((ord(one) < 32 and one not in "\n\t") or 0xD800 <= ord(one) < 0xE000 for one in text):
            raise InvalidData("a text to type holds no control characters but line ends and tabs")
        self._lend_keys({self._keysym(one) for one in text})
        shift = self._display.keysym_to_keycode(self._xk.XK_Shift_L)
        for character in text:
            stroke = self._stroke(self._keysym(character))
            assert stroke is not None
            code, shifted = stroke
            if shifted:
                self._fake(self._x.KeyPress, shift)
            self._fake(self._x.KeyPress, code)
            self._fake(self._x.KeyRelease, code)
            if shifted:
                self._fake(self._x.KeyRelease, shift)
        self._display.sync()

    def _stroke(self, keysym: int) -> tuple[int, bool] | None:
        """The key of a symbol, and whether Shift is held; None where there is none."""
        for code, level in self._display.keysym_to_keycodes(keysym):
            if level in (0, 1):
                return code, level == 1
        return None

    def _keysym(self, character: str) -> int:
        special = {"\n": self._xk.XK_Return, "\t": self._xk.XK_Tab}
        return int(special.get(character, ord(character) if ord(character) < 256 else 0x1000000 + ord(character)))

    def _lend_keys(self, keysyms: set[int]) -> None:
        """Put those of the symbols of a text that have no key on keys that the text does not need.

        Those are keys without a symbol, or with one that an earlier text was lent.
        """
        missing = sorted(one for one in keysyms if self._stroke(one) is None)
        if not missing:
            return
        if self._spare is None:
            first, count = self._display.display.info.min_keycode, self._display.display.info.max_keycode
            table = self._display.get_keyboard_mapping(first, count - first + 1)
            self._spare = {first + at: 0 for at, symbols in enumerate(table) if not any(symbols)}
        free = [code for code, lent in self._spare.items() if lent not in keysyms]
        if len(missing) > len(free):
            raise InvalidData(f"at most {len(self._spare)} different characters in a text that the keyboard lacks")
        for code, keysym in zip(free, missing, strict=False):
            self._display.change_keyboard_mapping(code, [(keysym, keysym)])
            self._spare[code] = keysym
        self._display.sync()
        self._display._update_keymap(
            self._display.display.info.min_keycode, 256 - self._display.display.info.min_keycode
        )

    def _fake(self, kind: int, detail: int, **place: int) -> None:
        self._xtest.fake_input(self._display, kind, detail, **place)


def _start(size: Size) -> tuple[subprocess.Popen[bytes], int]:
    """Start Xvfb on the first number that is free, and return that."""
    program = shutil.which("Xvfb")
    if program is None:
        raise MissingExtra("Xvfb is needed for a desktop without a screen: apt-get install xvfb (Debian, Ubuntu)")
    reading, writing = os.pipe()
    try:
        process = subprocess.Popen(
            (
                *(program, "-displayfd", str(writing), "-screen", "0", f"{size[0]}x{size[1]}x24"),
                *("-nolisten", "tcp", "-terminate", "-dpi", "96"),
            ),
            pass_fds=(writing,),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    finally:
        os.close(writing)
    try:
        said = b""
        # Up to the end of the line: it would die of a pipe that is closed while it still writes.
        while not said.endswith(b"\n") and select.select([reading], [], [], _START_S)[0]:
            part = os.read(reading, 20)
            said += part
            if not part:
                break
    finally:
        os.close(reading)
    if not said.strip().isdigit():
        end_group(process)
        raise EnvFailed(f"Xvfb ended at once, or did not start within {_START_S:.0f} s: run `Xvfb :99` to see why")
    return process, int(said)


def _close(display: Any, eye: Any, process: subprocess.Popen[bytes]) -> None:
    for connection in (eye, display):
        try:
            connection.close()
        except Exception:  # a connection that broke has nothing left to close
            pass
    process.terminate()  # asked to, it takes its socket and its lock along
    try:
        process.wait(2.0)
    except subprocess.TimeoutExpired:
        pass
    end_group(process)


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process with all those that it started (it leads a session of its own), and wait for it."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
