"""Keeping a process, and all that it starts, out of the machine's files and networks (Landlock, Linux 5.13 and newer).

No privileges are needed, and nothing can be taken back. What is not allowed is refused as by a file's permissions, to
root too. Not governed are sockets in files, and the attributes (owner, mode, times) of files that are there; TCP is
refused from Linux 6.7 on.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_VERSION, _PATH_BENEATH, _NO_NEW_PRIVILEGES = 1, 1, 38
_EXECUTE, _WRITE, _READ, _LIST, _TRUNCATE, _DEVICE = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 14, 1 << 15
_OF_FILES = _EXECUTE | _WRITE | _READ | _TRUNCATE | _DEVICE
_TCP = 0b11  # binding and connecting
# How many rights over files each version of the interface knows; the last ones are those of all later versions.
_RIGHTS = (0, 13, 14, 15, 15, 16)
_FIRST_WITH_TCP = 4


def version() -> int:
    """The version of the kernel's interface; 0 where there is none, or it is switched off."""
    found = _libc().syscall(_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION))
    return max(int(found), 0)


def restrict(readable: Iterable[str], writable: Iterable[str]) -> None:
    """Confine this thread and what it starts from now on.

    Args:
        readable: files and folders that can be read and executed; those that do not exist are left out.
        writable: folders, or devices, in which everything can be done.
    Raises:
        OSError: the kernel has no Landlock, or refused.
    """
    libc, known = _libc(), version()
    if not known:
        raise OSError("this kernel has no Landlock")
    rights = (1 << _RIGHTS[min(known, len(_RIGHTS) - 1)]) - 1
    attributes = struct.pack("QQ", rights, _TCP) if known >= _FIRST_WITH_TCP else struct.pack("Q", rights)
    rules = _checked(libc.syscall(_CREATE, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0)))
    try:
        for path in readable:
            _allow(rules, path, rights & (_EXECUTE | _READ | _LIST))
        for path in writable:
            _allow(rules, path, rights)
        _checked(libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0))
        _checked(libc.syscall(_RESTRICT, rules, ctypes.c_uint32(0)))
    finally:
        os.close(rules)


def _allow(rules: int, path: str, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        rights &= rights if os.path.isdir(path) else _OF_FILES  # noqa: PTH112 - one look at a path, in a child to be
        beneath = struct.pack("=Qi", rights, place)
        _checked(_libc().syscall(_ADD, rules, _PATH_BENEATH, beneath, ctypes.c_uint32(0)))
    finally:
        os.close(place)


def _checked(found: int) -> int:
    if found < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"Landlock: {os.strerror(number)}")
    return found


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
