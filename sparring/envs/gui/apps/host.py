"""The process that shows the applications: it reads commands from a pipe, one JSON object a line, and answers each.

    python -m sparring.envs.gui.apps.host < commands > answers

`{"show": {…}}` shows an application in place of the one before, `{"look": true}` says what is on the screen now, after
all input that the display has received. Both are answered by `{"state": {…}, "widgets": […]}`. It ends when the pipe
does, or when the process that started it is gone, even while an application hangs.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import tkinter
from typing import Any

from sparring.envs.gui.apps.kinds import APPS, App
from sparring.envs.gui.apps.looks import widgets_of

_WATCH_S = 1.0
_MORE_AT_ONCE = 1 << 20


class Host:
    """One Tk root, on which one application is shown at a time.

    Args:
        width, height: of the display, all of which the application takes.
    """

    def __init__(self, width: int, height: int) -> None:
        self.root = tkinter.Tk()
        self.root.geometry(f"{width}x{height}+0+0")
        self.root.option_add("*insertOffTime", 0)  # a caret that blinks would make equal screens unequal
        self.root.option_add("*font", "TkFixedFont")
        # Two clicks are two clicks however fast: otherwise an episode would depend on the machine's speed.
        for kind in ("Entry", "Text", "Listbox", "Button"):
            for count in ("Double", "Triple"):
                self.root.unbind_class(kind, f"<{count}-Button-1>")
                self.root.unbind_class(kind, f"<{count}-1>")
        self.app: App | None = None
        self._rest = b""
        self.root.createfilehandler(sys.stdin.fileno(), tkinter.READABLE, self._read)

    def show(self, spec: dict[str, Any]) -> None:
        """Show an application as `spec` says, in place of what was there."""
        for child in list(self.root.winfo_children()):
            child.destroy()
        frame = tkinter.Frame(self.root, background="#f0f0f0")
        frame.pack(fill="both", expand=True)
        self.app = APPS[spec["app"]](frame, spec)
        self.root.clipboard_clear()  # what was copied in another episode is none of this one's
        self.root.focus_force()

    def look(self) -> dict[str, Any]:
        """What is there now."""
        for _ in range(3):
            self.root.update()
            self.root.winfo_pointerxy()  # a round trip: after it all that the display has sent is here
        self.root.update()
        assert self.app is not None
        return {"state": self.app.state(), "widgets": widgets_of(self.root)}

    def _read(self, file: Any, mask: int) -> None:
        found = os.read(sys.stdin.fileno(), _MORE_AT_ONCE)
        if not found:
            os._exit(0)
        *lines, self._rest = (self._rest + found).split(b"\n")
        for line in lines:
            command = json.loads(line)
            if "show" in command:
                self.show(command["show"])
            print(json.dumps(self.look()), flush=True)


def _leave_with(parent: int) -> None:
    """End this process when its parent is gone, whatever the main thread is doing."""
    while os.getppid() == parent:
        time.sleep(_WATCH_S)
    os._exit(1)


def main() -> None:
    """Serve until the pipe ends."""
    width, height = map(int, sys.argv[1:3])
    threading.Thread(target=_leave_with, args=(os.getppid(),), daemon=True).start()
    host = Host(width, height)
    print(json.dumps({"ready": True}), flush=True)
    host.root.mainloop()


if __name__ == "__main__":
    main()
