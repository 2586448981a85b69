"""The folder in which the programs of one episode live: their home, their settings, and how a display is set up.

What a program left there is read with care: no links are followed, and what is large is left out.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import quoteattr

from sparring.errors import InvalidConfig

LARGEST_FILE, MOST_FILES = 1 << 16, 200
# What files of a task were last changed at, so that a list that shows it is the same in each episode.
_CHANGED_S = 1_577_880_000
_KEPT = ("data", "cache", "state")  # as XDG names what programs keep besides their settings
PATH = "/usr/local/bin:/usr/bin:/bin:/usr/games"

# Nothing that moves by itself, and nothing that depends on how long an agent thinks.
_TOOLKIT = """[Settings]
gtk-cursor-blink=0
gtk-enable-animations=0
gtk-primary-button-warps-slider=0
gtk-double-click-time=60
gtk-recent-files-enabled=0
gtk-theme-name=Adwaita
gtk-icon-theme-name=Adwaita
gtk-font-name=DejaVu Sans 9
"""

# Windows get no menus, keys or buttons of the window manager's that a task did not ask for.
_WINDOW_MANAGER = """<openbox_config xmlns="http://openbox.org/3.4/rc">
  <focus><focusNew>yes</focusNew><raiseOnFocus>no</raiseOnFocus></focus>
  <placement><policy>Smart</policy><center>no</center></placement>
  <theme><name>Clearlooks</name><titleLayout>LC</titleLayout><animateIconify>no</animateIconify></theme>
  <desktops><number>1</number><popupTime>0</popupTime></desktops>
  <keyboard/>
  <mouse>
    <doubleClickTime>60</doubleClickTime>
    <context name="Client">
      <mousebind button="Left" action="Press"><action name="Focus"/><action name="Raise"/></mousebind>
    </context>
    <context name="Titlebar">
      <mousebind button="Left" action="Press"><action name="Focus"/><action name="Raise"/></mousebind>
      <mousebind button="Left" action="Drag"><action name="Move"/></mousebind>
    </context>
    <context name="Close"><mousebind button="Left" action="Click"><action name="Close"/></mousebind></context>
  </mouse>
  <applications>{places}</applications>
</openbox_config>
"""
_PLACE = """<application class={window} type="normal"><position force="yes"><x>{left}</x><y>{top}</y></position>
<size><width>{width}</width><height>{height}</height></size></application>"""


class Home:
    """A home folder, empty at first, and beside it settings and what programs keep.

    Args:
        folder: for all of that. Whatever is there is deleted, so that nothing outlives the episode that left it.
        places: left, top, width and height in pixels of windows, by their class.
    """

    def __init__(self, folder: Path, places: Mapping[str, Sequence[int]]) -> None:
        self.folder, self.path = folder, folder / "home"
        self.manager_settings = folder / "windows.xml"
        if folder.exists():
            shutil.rmtree(folder)
        (self.path / ".config").mkdir(parents=True)
        (folder / "run").mkdir(mode=0o700)
        toolkit = folder / "config" / "gtk-3.0" / "settings.ini"
        toolkit.parent.mkdir(parents=True)
        toolkit.write_text(_TOOLKIT)
        rules = []
        for window, place in places.items():
            sides = dict(zip(("left", "top", "width", "height"), map(int, place), strict=True))
            rules.append(_PLACE.format(window=quoteattr(window), **sides))
        self.manager_settings.write_text(_WINDOW_MANAGER.format(places="".join(rules)))

    def environment(self, display: str, bus: str) -> dict[str, str]:
        """All that a program finds in its environment."""
        return {
            "PATH": PATH,
            "HOME": str(self.path),
            "DISPLAY": display,
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "TMPDIR": str(self.folder / "run"),
            "XDG_RUNTIME_DIR": str(self.folder / "run"),
            "XDG_CONFIG_HOME": str(self.path / ".config"),
            "XDG_CONFIG_DIRS": f"{self.folder}/config:/etc/xdg",
            **{f"XDG_{name.upper()}_HOME": str(self.folder / name) for name in _KEPT},
            "XDG_DATA_DIRS": "/usr/local/share:/usr/share",
            "DBUS_SESSION_BUS_ADDRESS": bus,
            "AT_SPI_BUS_ADDRESS": bus,
            "QT_LINUX_ACCESSIBILITY_ALWAYS_ON": "1",
            "GDK_BACKEND": "x11",
            "GSETTINGS_BACKEND": "memory",
            "GTK_IM_MODULE": "gtk-im-context-simple",
            "GTK_OVERLAY_SCROLLING": "0",
            "GTK_USE_PORTAL": "0",
            "GIO_USE_VFS": "local",
        }

    def write(self, files: Mapping[str, str]) -> None:
        """Put files into the home folder; programs keep their settings under `.config`.

        Raises:
            InvalidConfig: a path that leads elsewhere.
        """
        for name, text in files.items():
            if not name or Path(name).is_absolute() or ".." in Path(name).parts:
                raise InvalidConfig(f"a task's file must lie in its home folder, got {name!r}; write notes/list.txt")
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            for one in (path, *path.parents):
                if self.path in one.parents:
                    os.utime(one, (_CHANGED_S, _CHANGED_S))

    def read(self) -> dict[str, str]:
        """The texts of all files, by the names that `write` has for them.

        No links are followed. Of a file the first `LARGEST_FILE` bytes are read, with replacement characters for what
        is no UTF-8; files after `MOST_FILES` are left out.
        """
        found: dict[str, str] = {}
        for folder, folders, names in os.walk(self.path):
            folders.sort()
            for name in sorted(names):
                path = Path(folder, name)
                text = _text(path)
                if text is not None and len(found) < MOST_FILES:
                    found[str(path.relative_to(self.path))] = text
        return found


def _text(path: Path) -> str | None:
    """The text of a plain file, None for anything else."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        return file.read(LARGEST_FILE).decode("utf-8", "replace")
