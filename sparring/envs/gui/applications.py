"""Programs of Debian under Xvfb: an editor, a calculator, or any of your own, judged by the files they leave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from sparring.envs.gui.application_tasks import KINDS
from sparring.envs.gui.desktop import Desktop
from sparring.envs.gui.desktop_tasks import TaskKind
from sparring.envs.gui.geometry import Size
from sparring.envs.gui.programs.session import ProgramSession


class DesktopApplications(Desktop):
    """A task in programs of the machine: edit a text, save one under a name, change settings, calculate and write.

    As `Desktop`, with programs in place of small applications of this package's own. What the text lists comes from the
    programs' accessibility trees (AT-SPI); a program without one is seen in the picture alone, and the text says so.
    The reward is 1 when the files in the home folder are what the task asks for; each episode has a new one. The
    episode ends there, when all programs have been closed, or when the user says that it is over.

    A program that hangs, crashes or does not start costs the episode (`EnvFailed`); the next reset starts others. All
    processes end with this environment, and with the process that made it, even where that is killed.

    Args:
        kinds: of tasks, separated by commas; all by default (see `KINDS` in `application_tasks`). A sequence may hold
            kinds of your own (`TaskKind`), for any program.
        width, height: of the display, in pixels.
        patience_s: a program that takes longer over an answer hangs.
        hint: whether the instruction says how actions are written.
        confined: whether programs are kept (by Landlock) from writing outside the home folder, from reading what is
            somebody's, and from TCP.
        readable: further files and folders that confined programs may read, separated by commas.
        train_tasks, dev_tasks, test_tasks: how many tasks each split has.
    Raises:
        UnknownName: no such kind. InvalidConfig: a display that is too small; or, at the first reset, a kernel that
        can't confine programs.
        MissingExtra: a program or a package is missing (at a reset); the message says how to get it.
    """

    known_kinds: ClassVar[Mapping[str, TaskKind]] = KINDS
    least_size: ClassVar[Size] = (800, 480)

    def __init__(
        self,
        kinds: str | Sequence[str | TaskKind] = tuple(KINDS),
        width: int = 800,
        height: int = 480,
        patience_s: float = 10.0,
        hint: bool = True,
        confined: bool = True,
        readable: str = "",
        train_tasks: int = 10_000,
        dev_tasks: int = 200,
        test_tasks: int = 200,
    ) -> None:
        super().__init__(kinds, width, height, patience_s, hint, train_tasks, dev_tasks, test_tasks)
        self._confined, self._readable = confined, tuple(one for one in readable.split(",") if one)

    def _take(self) -> ProgramSession:
        return ProgramSession(self._size, self._patience_s, confined=self._confined, readable=self._readable)

    def _give_back(self, session: ProgramSession) -> None:
        session.close()
