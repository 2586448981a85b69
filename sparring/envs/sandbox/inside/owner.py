"""The owner of a sandbox as its server sees it: bytes and descriptors that come in, and bytes that go out."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable

_MOST_HANDED = 16  # descriptors with one message


class Owner:
    """The other end of standard input and output, from which descriptors come too where it is a socket."""

    def __init__(self) -> None:
        self.handed: list[int] = []
        self._arrived = bytearray()
        self._socket: socket.socket | None = None
        self._wait: Callable[[int], None] | None = None

    def connect(self, address: str) -> socket.socket | None:
        """The owner's socket at this path, None where there is none or it can't be reached."""
        if not address:
            return None
        direct = socket.socket(socket.AF_UNIX)
        try:
            direct.connect(address)
        except OSError:
            direct.close()
            return None
        return direct

    def listen(self, direct: socket.socket | None, wait: Callable[[int], None]) -> None:
        """From now on speak over `direct` where there is one, and call `wait` until there is something to read."""
        if direct is not None:
            os.dup2(direct.fileno(), 0)
            os.dup2(direct.fileno(), 1)
            direct.close()
        if stat.S_ISSOCK(os.fstat(0).st_mode):
            self._socket = socket.socket(fileno=os.dup(0))
        self._wait = wait

    def read(self, size: int) -> bytes:
        """Exactly so many bytes.

        Raises:
            EOFError: the owner is gone.
        """
        while len(self._arrived) < size:
            if self._wait is not None:
                self._wait(0)
            if self._socket is None:
                chunk = os.read(0, 1 << 20)
            else:
                chunk, came, _, _ = socket.recv_fds(self._socket, 1 << 20, _MOST_HANDED, socket.MSG_CMSG_CLOEXEC)
                self.handed += came
            if not chunk:
                raise EOFError("the owner is gone")
            self._arrived.extend(chunk)
        taken = bytes(memoryview(self._arrived)[:size])
        del self._arrived[:size]
        return taken

    def write(self, data: bytes | bytearray) -> None:
        """Send all of this."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(1, rest) :]
