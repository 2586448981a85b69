"""A display on which programs of the machine run: what the environment of applications drives.

The display, a bus and the registry of those who say what they show stay from episode to episode. The home folder, the
window manager and the programs are begun anew for each. All are children of one keeper (`keeper.py`), which ends them.
"""

from __future__ import annotations

import os
import select
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sparring.envs.gui.display import Display
from sparring.envs.gui.geometry import Box, Size
from sparring.envs.gui.programs import landlock, tree
from sparring.envs.gui.programs.activity import quiet_time
from sparring.envs.gui.programs.bus import LONGEST_MESSAGE, SETTINGS, Bus
from sparring.envs.gui.programs.children import START_S, Children
from sparring.envs.gui.programs.home import PATH, Home
from sparring.envs.gui.programs.windows import Windows
from sparring.envs.gui.session import Look, Shown
from sparring.errors import EnvFailed, InvalidConfig, InvalidData, MissingExtra, need
from sparring.types import Image

_REST_S = 3.0  # what still draws then is an animation
_LASTING = ("bus", "registry")
_REGISTRIES = ("/usr/libexec/at-spi2-registryd", "/usr/lib/at-spi2-core/at-spi2-registryd")
# What programs may read: the system's own, without what is somebody's or secret.
_READABLE = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/var/cache/fontconfig", "/var/lib/dbus"),
    *(f"/etc/{name}" for name in ("alternatives", "fonts", "gtk-3.0", "gtk-4.0", "ld.so.cache", "ld.so.conf.d")),
    *(f"/etc/{name}" for name in ("ld.so.conf", "localtime", "machine-id", "mime.types", "nsswitch.conf", "passwd")),
    *(f"/etc/{name}" for name in ("group", "xdg", "X11", "locale.alias")),
)


class ProgramSession:
    """A display, and in each episode the programs on it.

    Args:
        size: of the display, in pixels. patience_s: a program that takes longer over an answer hangs.
        confined: whether programs are kept from writing outside a folder of the episode, from reading what is
            somebody's, and from TCP. readable: further files and folders for them to read.
    Raises:
        MissingExtra: something is not installed. InvalidConfig: this kernel confines nobody.
        EnvFailed: the display or the bus did not start.
    """

    def __init__(self, size: Size, patience_s: float, *, confined: bool = True, readable: tuple[str, ...] = ()) -> None:
        self.patience_s = patience_s
        need("jeepney", "gui")
        daemon, registry = program_at("dbus-daemon", "dbus-daemon"), _registry()
        self._manager = program_at("openbox", "openbox")
        if confined and not landlock.version():
            raise InvalidConfig(
                "programs are kept inside their folder by Landlock, which this kernel lacks or has switched off "
                '(Linux 5.13 and newer, "landlock" in /sys/kernel/security/lsm); confined False lets them write '
                "wherever this user may"
            )
        self.display = Display(size)
        self._speakers: dict[str, int] = {}
        self._names: list[str] = []
        self.folder = Path(tempfile.mkdtemp(prefix="sparring-"))
        self._open: list[Any] = []
        heard, telling = os.pipe()
        try:
            self.children = Children(self.folder, (*_READABLE, *readable) if confined else None, telling)
            self.close = weakref.finalize(self, _close, self._open, self.children, self.display)
            with self._blaming():
                self._serve(daemon, registry, heard, telling)
        finally:
            os.close(heard)
            os.close(telling)

    def _serve(self, daemon: str, registry: str, heard: int, telling: int) -> None:
        """Start what lasts for all episodes: the bus and the registry of those who say what they show."""
        lasting = self.folder / "lasting"  # where the programs of an episode can't write
        lasting.mkdir()
        self._address = f"unix:path={lasting}/bus"
        settings = lasting / "bus.conf"
        settings.write_text(SETTINGS.format(socket=lasting / "bus", longest=LONGEST_MESSAGE))
        environment = {"PATH": PATH, "DBUS_SESSION_BUS_ADDRESS": self._address, "AT_SPI_BUS_ADDRESS": self._address}
        command = (daemon, f"--config-file={settings}", "--nofork", f"--print-address={telling}")
        self.children.start("bus", command, environment, lasting, give=(telling,))
        if not select.select([heard], [], [], START_S)[0]:
            raise EnvFailed(f"dbus-daemon did not start within {START_S:g} s")
        self._bus = Bus(self._address, self.patience_s)
        self._open.append(self._bus)
        self._windows = Windows(self.display)
        self._open.append(self._windows)
        self.children.start("registry", (registry,), environment, lasting)
        self._bus.await_owner(tree.REGISTRY, START_S)

    @property
    def is_alive(self) -> bool:
        return bool(self.close.alive) and self.display.is_alive

    def show(self, spec: dict[str, Any]) -> Look:
        """Begin an episode: programs on an empty display, with the pointer out of the way in the lower right corner.

        Args:
            spec: `programs`, a list of command lines; `files`, texts by name; `packages`, which Debian package has
                which program; `environment`, further variables; `places`, where windows of a class go, as left,
                top, width and height in pixels.
        Raises:
            MissingExtra: a program is not installed. InvalidConfig: a file that would lie outside the home folder.
            EnvFailed: a program did not start, hangs or has crashed.
        """
        packages = spec.get("packages", {})
        commands = [(program_at(one[0], packages.get(one[0], one[0])), *one[1:]) for one in spec["programs"]]
        with self.using_display() as display:
            display.move((1.0, 1.0))
        with self._blaming():
            self._bus.patience_s = self.patience_s
            self.children.end(but=_LASTING)
            self._windows.forget()
            self.home = Home(self.folder / "episode", spec.get("places", {}))
            self.home.write(spec.get("files", {}))
            environment = self.home.environment(self.display.name, self._address)
            manager = (self._manager, "--sm-disable", "--config-file", str(self.home.manager_settings))
            self.children.start("windows", manager, environment, self.home.folder)
            if not self._windows.await_manager(START_S, lambda: self.children.has_ended("windows")):
                raise EnvFailed(f"the window manager openbox ended at once, or did not start within {START_S:g} s")
            self._names = [f"{at} {one[0]}" for at, one in enumerate(spec["programs"])]
            for name, command in zip(self._names, commands, strict=True):
                self._show(name, command, environment | spec.get("environment", {}))
        return self.look()

    def _show(self, name: str, command: tuple[str, ...], environment: dict[str, str]) -> None:
        """Start a program and wait for its window."""
        before = len(self._windows.ids())
        self.children.start(name, command, environment, self.home.folder, self.home.path)
        came = self._windows.await_more(before, START_S, lambda: self.children.has_ended(name))
        self._check()
        if not came:
            how = "ended" if name in self.children.ended else f"did not within {START_S:g} s"
            raise EnvFailed(f"the program {command[0]!r} was to show a window and {how}")

    @contextmanager
    def using_display(self) -> Iterator[Display]:
        """The display, for input.

        Raises:
            EnvFailed: it hangs or has crashed, and is ended along with the programs.
        """
        with self._blaming(), self.display.watched(self.patience_s) as display:
            yield display

    def grab(self) -> Image:
        """A picture of the display.

        Raises:
            EnvFailed: as for `using_display`.
        """
        with self.using_display() as display:
            return display.grab()

    def look(self) -> Look:
        """What is on the screen and in the home folder, after all input so far.

        Its state has `files`, texts by name; `focused`, the place in the list of what has the keyboard, with `caret`,
        where in its text that stands, and `selected`, how many characters are; `ended`, how many programs have ended by
        themselves; and `committed`, whether all have.

        Raises:
            EnvFailed: a program hangs or has crashed, and all are ended.
        """
        with self._blaming(), self.display.watched(3 * self.patience_s + _REST_S):
            if not self._windows.answer(self.patience_s):
                raise TimeoutError
            self._windows.rest(self._quiet_time, _REST_S)
            self._check()
            found = tree.read(self._bus, self.display.size, self._speakers, folder=str(self.home.path))
            self._check()
            ended = sum(name in self.children.ended for name in self._names)
            state = {
                "files": self.home.read(),
                "focused": found.focused,
                "caret": found.caret,
                "selected": found.selected,
                "ended": ended,
                "committed": ended == len(self._names),
            }
            return Look(state, found.shown + self._silent(found))

    def _silent(self, found: tree.Tree) -> tuple[Shown, ...]:
        """The windows of programs that do not say what they show."""
        everything = Box(0.0, 0.0, 1.0, 1.0)
        return tuple(
            Shown("window without a list of elements (look at the picture)", self._windows.title(id), None, everything)
            for id in self._windows.ids()
            if self._windows.process_of(id) not in found.speakers
        )

    def _check(self) -> None:
        """Raise where a program has ended otherwise than by its own decision."""
        while self.children.listen(0):
            pass
        for name, status in self.children.ended.items():
            if status or name not in self._names:
                raise EnvFailed(f"the program {name.partition(' ')[2] or name!r} has crashed (status {status})")

    def _quiet_time(self) -> float:
        at_work = ("windows", *self._names)  # the bus and the registry work for those, which then wait for them
        return quiet_time(
            id for name, id in self.children.ids.items() if name in at_work and name not in self.children.ended
        )

    @contextmanager
    def _blaming(self) -> Iterator[None]:
        """End everything where something fails, as an `EnvFailed`."""
        try:
            yield
        except (InvalidData, InvalidConfig, MissingExtra):
            raise
        except Exception as error:  # each library that speaks to displays raises kinds of its own
            if not self.close.alive:
                how = "no program runs"
            elif isinstance(error, EnvFailed):
                how = str(error)
            elif isinstance(error, TimeoutError):
                how = f"a program did not answer within {self.patience_s:g} s"
            else:
                how = f"the display or the bus of the programs is lost ({type(error).__name__}: {error})"
            self.close()
            raise EnvFailed(f"{how}; all were ended, and the next episode starts others") from error


def program_at(name: str, package: str) -> str:
    """Where a program is.

    Raises:
        MissingExtra: it is not installed; the message names the Debian package that has it.
    """
    found = shutil.which(name, path=PATH)
    if found is None:
        raise MissingExtra(f'the program "{name}" is needed here: apt-get install {package} (Debian, Ubuntu)')
    return found


def _registry() -> str:
    for path in _REGISTRIES:
        if Path(path).exists():
            return path
    raise MissingExtra('the program "at-spi2-registryd" is needed here: apt-get install at-spi2-core (Debian, Ubuntu)')


def _close(open: list[Any], children: Children, display: Display) -> None:
    for connection in open:
        try:
            connection.close()
        except Exception:  # a connection that broke has nothing left to close
            pass
    children.close()
    display.close()
