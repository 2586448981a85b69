"""Files of a workspace, from outside: whatever links the sandboxed processes made, no call leaves the workspace.

Everything goes through a descriptor of the workspace's folder. Paths that callers name are resolved by the kernel
under RESOLVE_BENEATH, in one call, so that a process inside can't swap a folder for a link in between; walks over the
tree open one name at a time and follow no link at all.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import itertools
import os
import stat
import struct
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from sparring.envs.sandbox.protocol import File, SandboxFailed
from sparring.errors import InvalidConfig

_LIBC = ctypes.CDLL(None, use_errno=True)
_OPENAT2 = 437  # the same number on every architecture
_BENEATH, _NO_MAGIC_LINKS = 0x08, 0x02
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DEEPEST = 64
_MOST = 20_000


class TooWild(Exception):
    """A tree too deep or too large to walk; the sandbox that holds it is better dropped as a whole."""


def beneath(path: str, workspace: str) -> str:
    """`path` relative to the workspace, or `.`.

    Raises:
        InvalidConfig: it is empty, has a null byte, or is absolute and elsewhere.
    """
    if not path or "\0" in path:
        raise InvalidConfig(f"a path in a workspace must be non-empty and without null bytes, got {path!r}")
    pure = PurePosixPath(path)
    if pure.is_absolute():
        if not pure.is_relative_to(workspace):
            raise InvalidConfig(f"{path!r} lies outside the workspace {workspace}")
        pure = pure.relative_to(workspace)
    return str(pure)


def open_beneath(folder: int, path: str, flags: int, mode: int = 0) -> int:
    """Open `path` under the folder with descriptor `folder`, or fail where it would lead out of it.

    Raises:
        InvalidConfig: `..` or a symbolic link leads out of the folder.
        OSError: as `os.open`.
    """
    how = struct.pack("=QQQ", flags | os.O_CLOEXEC, mode if flags & os.O_CREAT else 0, _BENEATH | _NO_MAGIC_LINKS)
    opened = int(_LIBC.syscall(_OPENAT2, folder, os.fsencode(path), how, len(how)))
    if opened >= 0:
        return opened
    number = ctypes.get_errno()
    if number in (errno.EXDEV, errno.ELOOP):
        raise InvalidConfig(f"{path!r} leads out of the workspace, or in circles")
    if number == errno.ENOSYS:
        raise SandboxFailed("files of a sandbox need the openat2 call: Linux 5.6 or newer, not hidden by a container")
    raise OSError(number, os.strerror(number), path)


def read(folder: int, path: str, limit: int) -> bytes:
    """Read a plain file of at most `limit` bytes.

    Raises:
        InvalidConfig: no plain file, or a larger one (a file of holes may claim any size).
    """
    opened = open_beneath(folder, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        return _content(opened, os.fstat(opened), path, limit)
    finally:
        os.close(opened)


def _content(opened: int, found: os.stat_result, path: str, limit: int) -> bytes:
    if not stat.S_ISREG(found.st_mode):
        raise InvalidConfig(f"{path!r} is no plain file")
    if found.st_size > limit:
        raise InvalidConfig(f"{path!r} has {found.st_size} bytes; at most {limit} are read")
    content = os.read(opened, found.st_size) if found.st_size else b""
    while len(content) < found.st_size and (more := os.read(opened, found.st_size - len(content))):
        content += more
    return content


def write(folder: int, path: str, data: bytes, mode: int, owner: int | None) -> None:
    """Write a plain file and the folders above it; `owner` is the user that they shall belong to."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK | os.O_NOCTTY
    with acting_as(owner):
        for parent in reversed(PurePosixPath(path).parents[:-1]):
            _make_folder(folder, str(parent))
        opened = open_beneath(folder, path, flags, 0o600)
        try:
            if not stat.S_ISREG(os.fstat(opened).st_mode):
                raise InvalidConfig(f"{path!r} is no plain file")
            _fill(opened, data, mode)
        finally:
            os.close(opened)


@contextlib.contextmanager
def acting_as(user: int | None) -> Iterator[None]:
    """Let this thread work on files as `user`, None for itself.

    Root has no name in a file system that a sandbox made, so that it could create nothing there.
    """
    if user is None:
        yield
        return
    _LIBC.setfsgid(user)
    _LIBC.setfsuid(user)
    try:
        yield
    finally:
        _LIBC.setfsuid(os.geteuid())
        _LIBC.setfsgid(os.getegid())


def _fill(opened: int, data: bytes, mode: int) -> None:
    written = 0
    try:
        while written < len(data):
            written += os.write(opened, memoryview(data)[written:] if written else data)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            left = len(data) - written
            raise SandboxFailed(f"the sandbox's disk is full: {left} of {len(data)} bytes did not fit") from error
        raise
    os.fchmod(opened, mode & 0o777)


def _make_folder(folder: int, path: str) -> None:
    pure = PurePosixPath(path)
    above = open_beneath(folder, str(pure.parent), os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.mkdir(pure.name, 0o755, dir_fd=above)
    except FileExistsError:
        pass
    finally:
        os.close(above)


def names(folder: int, path: str) -> list[str]:
    """The names in a folder, sorted; folders end in a slash.

    Raises:
        InvalidConfig: there are more than anybody reads.
    """
    opened = open_beneath(folder, path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return sorted(one.name + "/" * one.is_dir(follow_symlinks=False) for one in _entries(opened))
    except TooWild as error:
        raise InvalidConfig(f"{path!r} can't be listed: {error}") from error
    finally:
        os.close(opened)


def _entries(folder: int) -> list[os.DirEntry[str]]:
    """What lies in a folder, of which a sandbox's memory has room for hundreds of thousands."""
    with os.scandir(folder) as entries:
        found = list(itertools.islice(entries, _MOST + 1))
    if len(found) > _MOST:
        raise TooWild(f"more than {_MOST} files in one folder")
    return found


def save(folder: int, limit: int) -> Iterator[File]:
    """Read the whole tree: files, folders and links, up to `limit` bytes; pipes, sockets and devices are left out.

    Raises:
        SandboxFailed: too deep, too many files, or too many bytes.
    """
    left, files = limit, 0
    try:
        for file in _walk(folder, "", 0, limit):
            left -= len(file.data)
            files += 1
            if left < 0 or files > _MOST:
                raise TooWild(f"more than {limit} bytes or {_MOST} files")
            yield file
    except (TooWild, InvalidConfig, OSError) as error:
        raise SandboxFailed(f"this workspace can't be saved: {error}") from error


def _walk(folder: int, prefix: str, depth: int, limit: int) -> Iterator[File]:
    if depth > _DEEPEST:
        raise TooWild(f"folders lie more than {_DEEPEST} deep")
    for one in sorted(_entries(folder), key=lambda one: one.name):
        path = prefix + one.name
        if one.is_symlink():
            yield File(path, "link", data=os.fsencode(os.readlink(one.name, dir_fd=folder)))
        elif one.is_dir(follow_symlinks=False):
            opened = os.open(one.name, _FOLDER, dir_fd=folder)
            try:
                status = os.fstat(opened)
                yield File(path, "folder", status.st_mode & 0o777, modified_ns=status.st_mtime_ns)
                yield from _walk(opened, path + "/", depth + 1, limit)
            finally:
                os.close(opened)
        elif one.is_file(follow_symlinks=False):
            opened = os.open(one.name, _READ, dir_fd=folder)
            try:
                status = os.fstat(opened)
                data = _content(opened, status, path, limit)
                yield File(path, "file", status.st_mode & 0o777, data, status.st_mtime_ns)
            finally:
                os.close(opened)


def load(folder: int, files: Iterable[File], owner: int | None) -> None:
    """Write saved files, in the order of a walk, into an empty folder in which no process is at work.

    Raises:
        InvalidConfig: a path in the tree is no path of a walk, or leads out of the folder.
    """
    with acting_as(owner):
        _load(folder, files)


def _load(folder: int, files: Iterable[File]) -> None:
    above: list[tuple[int, File]] = [(folder, File("", "folder"))]  # the folders that the walk is in
    try:
        for file in files:
            parent, _, name = file.path.rpartition("/")
            while len(above) > 1 and above[-1][1].path != parent:
                _leave(above)
            if name in ("", ".", "..") or above[-1][1].path != parent:
                raise InvalidConfig(f"{file.path!r} in a saved workspace has no folder before it, or is no plain path")
            _create(above[-1][0], name, file)
            if file.kind == "folder":
                above.append((os.open(name, _FOLDER, dir_fd=above[-1][0]), file))
        while len(above) > 1:
            _leave(above)
    finally:
        for descriptor, _ in above[1:]:
            os.close(descriptor)


def _leave(above: list[tuple[int, File]]) -> None:
    """Finish the last folder: filling it changed its time, and may have needed more permission than it has."""
    descriptor, file = above.pop()
    try:
        os.fchmod(descriptor, file.mode)
        os.utime(descriptor, ns=(file.modified_ns, file.modified_ns))
    finally:
        os.close(descriptor)


def _create(folder: int, name: str, file: File) -> None:
    if file.kind == "folder":
        os.mkdir(name, 0o700, dir_fd=folder)
    elif file.kind == "link":
        os.symlink(file.data, os.fsencode(name), dir_fd=folder)
    else:
        opened = os.open(name, _CREATE, 0o600, dir_fd=folder)
        try:
            _fill(opened, file.data, file.mode)
            os.utime(opened, ns=(file.modified_ns, file.modified_ns))
        finally:
            os.close(opened)
