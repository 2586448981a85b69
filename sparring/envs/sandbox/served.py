"""Sandboxes whose commands and files are seen to by a server on the other side of a stream.

The server is `sparring.envs.sandbox.inside.server`; the modules that it needs are sent ahead of the first request, so
that a container needs nothing but Python and bash, and always runs what its owner runs.
"""

from __future__ import annotations

import functools
import io
import socket
import struct
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sparring.envs.sandbox import frames
from sparring.envs.sandbox.capture import Stream
from sparring.envs.sandbox.kept import patience, status_of
from sparring.envs.sandbox.protocol import File, FileTree, Limits, Result, SandboxFailed
from sparring.envs.sandbox.session import BashShell
from sparring.envs.sandbox.surroundings import WORKSPACE
from sparring.errors import InvalidConfig

# How long an answer may be late. The time limits themselves are kept by the server; this is for one that is lost.
GRACE_S = 30.0
_MOMENT_S = 0.02  # how long the server waits with the answer that a program goes on
# The program that a server starts as: it takes the modules of `programs` from standard input and imports them.
BOOT = """
import os, sys
def take(size):
    data = b""
    while len(data) < size:
        part = os.read(0, size - len(data))
        if not part:
            sys.exit(0)
        data += part
    return data
file = os.memfd_create("sandbox")
os.write(file, take(int.from_bytes(take(4), "big")))
sys.path.insert(0, f"/proc/self/fd/{file}")
from sparring.envs.sandbox.inside.server import main
main()
"""
_CHUNK = 1 << 16
_PACKAGE = Path(__file__).parents[2]
_MODULES = (
    "errors.py",
    *(f"envs/sandbox/{name}.py" for name in ("capture", "cgroup", "files", "frames", "kept", "protocol")),
    *(f"envs/sandbox/{name}.py" for name in ("seccomp", "session", "surroundings")),
    *(f"envs/sandbox/inside/{name}.py" for name in ("keeper", "owner", "server")),
)


@functools.cache
def programs() -> bytes:
    """The server and all that it imports, as a zip file that Python can import from."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for folder in ("", "envs/", "envs/sandbox/", "envs/sandbox/inside/"):
            archive.writestr(f"sparring/{folder}__init__.py", "")
        for name in _MODULES:
            archive.write(_PACKAGE / name, f"sparring/{name}")
    return packed.getvalue()


class SocketStream:
    """A server's standard input and output over one socket.

    Args:
        connection: the socket.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = bytearray()

    def send(self, data: bytes, deadline: float, descriptors: Sequence[int] = ()) -> None:
        """Send all of it, and with its first byte these descriptors.

        Raises:
            SandboxFailed: the other side is gone, or does not take it in time.
        """
        try:
            self._connection.settimeout(_left(deadline))
            if descriptors:
                data = data[socket.send_fds(self._connection, [data], descriptors) :]
            self._connection.sendall(data)
        except OSError as error:
            raise SandboxFailed(f"the sandbox's server is gone, or does not listen ({error})") from error

    def receive(self, size: int, deadline: float) -> bytes:
        """Exactly so many bytes.

        Raises:
            SandboxFailed: the other side is gone, or does not give them in time.
        """
        while len(self._buffer) < size:
            self._connection.settimeout(_left(deadline))
            try:
                self._buffer += self.chunk()
            except OSError as error:
                raise SandboxFailed(f"the sandbox's server is gone, or does not answer ({error})") from error
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def chunk(self) -> bytes:
        """The next bytes of the server's standard output.

        Raises:
            OSError: none come.
        """
        data = self._connection.recv(_CHUNK)
        if not data:
            raise ConnectionResetError("its end of the connection is closed")
        return data

    def close(self) -> None:
        """End the connection, from which the server knows that its owner is gone."""
        self._connection.close()


def _left(deadline: float) -> float:
    return max(0.001, deadline - time.monotonic())


class ServedJob:
    """A program that the server started for its owner (`sparring.envs.sandbox.session.Job`)."""

    def __init__(self, sandbox: ServedSandbox, number: int) -> None:
        self._sandbox = sandbox
        self._number = number
        self._ended: dict[str, Any] = {}

    def _has_ended(self) -> bool:
        """Ask, which takes a moment where it goes on."""
        if not self._ended:
            said, _ = self._sandbox.ask({"do": "end", "job": self._number, "seconds": _MOMENT_S})
            if said and not isinstance(said.get("status"), int | None):
                raise SandboxFailed(f"no end of a program came: {said}")
            self._ended = said
        return bool(self._ended)

    def follow(self, streams: list[Stream], deadline: float) -> bool:
        while not self._has_ended():
            for stream in streams:
                stream.drain()
            if time.monotonic() > deadline or any(stream.flooded for stream in streams):
                return False
        return True

    def wait(self) -> int:
        deadline = time.monotonic() + GRACE_S
        while not self._has_ended():
            if time.monotonic() > deadline:
                raise SandboxFailed("a program that was to end goes on")
        return status_of({"status": None, "why": "", **self._ended})


class ServedShell:
    """A persistent shell on the server's side (`sparring.envs.sandbox.protocol.Shell`)."""

    def __init__(self, sandbox: ServedSandbox, number: int) -> None:
        self._sandbox = sandbox
        self._number = number

    def run(self, command: str, timeout: float | None = None) -> Result:
        """Run one command; see the protocol."""
        if "\0" in command:
            raise InvalidConfig("a shell command can't hold null bytes")
        text = command.encode("utf-8", "surrogateescape")
        return self._sandbox.command({"do": "type", "shell": self._number}, text, timeout)

    def close(self) -> None:
        """End this shell; the processes that it left running stay."""
        self._sandbox.ask({"do": "leave", "shell": self._number})


class ServedSandbox:
    """A sandbox over a stream (`sparring.envs.sandbox.protocol.Sandbox`).

    Subclasses open the stream, and have `restart` and `close`.

    Where the server is on this very machine, a shell's pipes are the owner's own, handed to it over the socket: then a
    command passes by no server, and takes half the time. Else the server keeps shells, too.

    Args:
        limits: what its processes may use. label: what it is for.
    """

    workspace = WORKSPACE
    contained = True
    lifeline: int | None = None

    def __init__(self, limits: Limits | None, label: str) -> None:
        self.limits = limits or Limits()
        self.label = label
        self._stream: SocketStream | None = None
        self._shells = 0
        self._near_shells: list[BashShell] = []

    def _greet(self, stream: SocketStream, direct: str = "") -> bool:
        """Send the programs and the limits, and wait until they are at work.

        Args:
            stream: the server's standard input and output.
            direct: the path, as the server sees it, of a socket of the owner's that is to take the stream's place.
        Returns:
            Whether the server has connected to it; else it goes on over the stream.
        """
        deadline = time.monotonic() + GRACE_S
        modules = programs()
        begin = {"limits": asdict(self.limits), "contained": self.contained, "workspace": self.workspace}
        begin["direct"] = direct
        stream.send(struct.pack(">I", len(modules)) + modules + frames.pack(begin), deadline)
        ready, _ = frames.take(lambda size: stream.receive(size, deadline), 0)
        self._stream = stream
        return ready.get("direct") is True

    def restart(self) -> None:
        """Put a new, empty sandbox in the place of one that no longer answers or can't be cleaned."""
        raise NotImplementedError

    def close(self) -> None:
        """End every process and drop every file. A second call does nothing."""
        raise NotImplementedError

    @property
    def near(self) -> bool:
        """Whether descriptors can be handed to the server, and kills for want of memory be counted from here."""
        return False

    def memory_kills(self) -> int:
        """How many times something was killed in this sandbox because memory ran out, where it is near."""
        return 0

    @contextmanager
    def _replacing(self) -> Iterator[SocketStream]:
        """The stream; when anything goes wrong on it, a new sandbox takes the place of this one."""
        stream = self._stream
        if stream is None:
            raise SandboxFailed("this sandbox is closed")
        try:
            yield stream
        except _Answered as answered:
            raise answered.error from None
        except BaseException:  # an interrupt too leaves half a message behind
            self._end_shells()
            self.restart()
            raise

    def _end_shells(self) -> None:
        """Forget shells whose processes are gone; their next command starts others."""
        for shell in self._near_shells:
            shell.close()

    def ask(
        self, request: Mapping[str, Any], data: bytes = b"", *, seconds: float = 0.0, most: int = 0
    ) -> tuple[dict[str, Any], bytes]:
        """Send a request and wait for its answer.

        Args:
            request, data: the message. seconds: how long the answer may take, beside the usual grace.
            most: how many bytes may come with the answer.
        Raises:
            InvalidConfig, SandboxFailed, OSError: as the call that it stands for.
        """
        deadline = time.monotonic() + seconds + GRACE_S
        with self._replacing() as stream:
            stream.send(frames.pack(request, data), deadline)
            return self._answer(stream, deadline, most)

    def _answer(self, stream: SocketStream, deadline: float, most: int) -> tuple[dict[str, Any], bytes]:
        header, data = frames.take(lambda size: stream.receive(size, deadline), most)
        if "error" in header:
            raise _Answered(_error(header))
        return header, data

    def command(self, request: Mapping[str, Any], data: bytes, timeout: float | None) -> Result:
        """Have a command run."""
        began = time.monotonic()
        seconds = patience(self.limits, timeout)
        header, output = self.ask(
            {**request, "timeout": seconds}, data, seconds=seconds, most=2 * self.limits.output_bytes
        )
        cut, status = header.get("output"), header.get("status")
        if not isinstance(cut, int) or not isinstance(status, int):
            raise SandboxFailed(f"no result of a command came: {header}")
        if header.get("killed") is True:
            self._end_shells()
        flags = {name: header.get(name) is True for name in ("timed_out", "truncated", "out_of_memory")}
        return Result(output[:cut], output[cut:], status, **flags, seconds=time.monotonic() - began)

    def run(
        self,
        command: str | Sequence[str],
        timeout: float | None = None,
        stdin: bytes = b"",
        *,
        env: Mapping[str, str] | None = None,
        join: bool = False,
    ) -> Result:
        told = command if isinstance(command, str) else list(command)
        return self.command({"do": "run", "command": told, "env": dict(env or {}), "join": join}, stdin, timeout)

    def patience(self, timeout: float | None) -> float:
        """The seconds that a command may take."""
        return patience(self.limits, timeout)

    def begin(self, argv: Sequence[str], descriptors: Sequence[int]) -> ServedJob:
        """Start a program with these descriptors as its 0, 1, 2, …

        Raises:
            SandboxFailed: the server did not answer, and a new sandbox has taken its place.
        """
        deadline = time.monotonic() + GRACE_S
        with self._replacing() as stream:
            stream.send(frames.pack({"do": "start", "command": list(argv)}), deadline, descriptors)
            said, _ = self._answer(stream, deadline, 0)
            if not isinstance(said.get("job"), int):
                raise SandboxFailed(f"no program was started: {said}")
        return ServedJob(self, said["job"])

    def shell(self) -> BashShell | ServedShell:
        if self.near:
            self._near_shells.append(BashShell(self))
            return self._near_shells[-1]
        self._shells += 1
        return ServedShell(self, self._shells)

    def write(self, path: str, data: bytes, mode: int = 0o644) -> None:
        self.ask({"do": "write", "path": path, "mode": mode}, data)

    def read(self, path: str, limit: int | None = None) -> bytes:
        most = self.limits.disk_bytes if limit is None else limit
        return self.ask({"do": "read", "path": path, "limit": most}, most=most)[1]

    def list(self, path: str = ".") -> list[str]:
        return list(map(str, self.ask({"do": "list", "path": path})[0].get("names", ())))

    def snapshot(self) -> FileTree:
        deadline = time.monotonic() + GRACE_S
        files: list[File] = []
        left = self.limits.disk_bytes
        with self._replacing() as stream:
            stream.send(frames.pack({"do": "snapshot"}), deadline)
            while True:
                header, data = self._answer(stream, deadline, left)
                if "path" not in header:
                    return FileTree(tuple(files))
                files.append(frames.file(header, data))
                left -= len(data)

    def restore(self, tree: FileTree) -> None:
        self._end_shells()
        try:
            clean = self.ask({"do": "clear"})[0].get("clean") is True
        except SandboxFailed:  # an empty one has taken its place
            clean = True
        if not clean:
            self.restart()
        deadline = time.monotonic() + GRACE_S
        with self._replacing() as stream:
            message = [frames.pack({"do": "load", "files": len(tree.files)})]
            message += [frames.pack(frames.described(file), file.data) for file in tree.files]
            stream.send(b"".join(message), deadline)
            self._answer(stream, deadline, 0)

    def kill(self) -> None:
        self.ask({"do": "kill"})
        self._end_shells()


class _Answered(Exception):
    """An error that the server answered with, after which the stream is in order."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


def _error(header: Mapping[str, Any]) -> Exception:
    text = str(header.get("text"))
    if header["error"] == "config":
        return InvalidConfig(text)
    if header["error"] == "os":
        return OSError(int(header.get("number") or 0), text, str(header.get("path") or ""))
    return SandboxFailed(text)
