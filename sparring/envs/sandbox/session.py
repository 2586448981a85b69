"""A bash that stays between commands."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from typing import Protocol

from sparring.envs.sandbox.capture import Feed, Stream, pump
from sparring.envs.sandbox.protocol import Limits, Result
from sparring.errors import InvalidConfig

# Commands come in on one descriptor, each behind a turn's name and ended by a null byte, and their statuses go out on
# another behind the same name, both with numbers that nobody writes into a command by chance. Commands inherit neither.
# A turn's name can't be guessed before it: what a command wrote there for the turns to come is not taken for theirs.
_LOOP = r"""
exec 62<&3 63>&4 3<&- 4>&-
while IFS= read -r -d '' -u 62 __command; do
  __turn=${__command:0:8}; eval "${__command:8}" 62<&- 63>&- </dev/null
  printf '%s %d\n' "$__turn" "$?" >&63
done
"""
_STATUS = re.compile(rb"([0-9a-f]{8}) (\d{1,3})\n")
_LONGEST_ANSWER = 64


class Job(Protocol):
    """A program that was started in a sandbox."""

    def follow(self, streams: list[Stream], deadline: float) -> bool:
        """Move bytes until its end; False where its time is over or it floods us."""
        ...

    def wait(self) -> int:
        """Its status, once it has ended or is just ending.

        Raises:
            SandboxFailed: it could not be started, or all is gone.
        """
        ...


class ShellHost(Protocol):
    """What a shell needs of its sandbox."""

    limits: Limits
    lifeline: int | None

    def begin(self, argv: Sequence[str], descriptors: Sequence[int]) -> Job:
        """Start a program with these descriptors as its 0, 1, 2, …

        Raises:
            SandboxFailed: the sandbox did not answer, and a new one has taken its place.
        """
        ...

    def memory_kills(self) -> int:
        """How many times something was killed because memory ran out."""
        ...

    def patience(self, timeout: float | None) -> float:
        """The seconds that a command may take."""
        ...

    def kill(self) -> None:
        """End every process."""
        ...


class BashShell:
    """A persistent shell in a sandbox (`sparring.envs.sandbox.protocol.Shell`)."""

    def __init__(self, host: ShellHost) -> None:
        self._host = host
        self._job: Job | None = None
        self._commands = -1
        self._statuses = -1
        self._streams: list[Stream] = []

    def _start(self) -> None:
        commands, output, errors, statuses = (os.pipe() for _ in range(4))
        nothing = os.open(os.devnull, os.O_RDONLY)
        theirs = (nothing, output[1], errors[1], commands[0], statuses[1])
        argv = ["/bin/bash", "--noprofile", "--norc", "-c", _LOOP, "bash"]
        try:
            job = self._host.begin(argv, theirs)
        except BaseException:
            for one in (commands[1], output[0], errors[0], statuses[0]):
                os.close(one)
            raise
        finally:
            for one in theirs:
                os.close(one)
        self._job, self._commands, self._statuses = job, commands[1], statuses[0]
        limit = self._host.limits.output_bytes
        self._streams = [Stream(output[0], limit), Stream(errors[0], limit)]
        for one in (self._commands, self._statuses, output[0], errors[0]):
            os.set_blocking(one, False)

    def run(self, command: str, timeout: float | None = None) -> Result:
        """Run one command; see the protocol."""
        if "\0" in command:
            raise InvalidConfig("a shell command can't hold null bytes")
        began = time.monotonic()
        host = self._host
        kills, deadline = host.memory_kills(), began + host.patience(timeout)
        if self._job is None:
            self._start()
        streams, job = self._streams, self._job
        assert job is not None
        answer, turn = bytearray(), os.urandom(4).hex().encode()

        def happened() -> bool:
            chunk = os.read(self._statuses, 64)
            answer.extend(chunk)
            return not chunk or b"\n" in chunk or len(answer) > _LONGEST_ANSWER

        feed = Feed(os.dup(self._commands), memoryview(turn + command.encode() + b"\0"))
        try:
            feed.write()  # nearly always all of it, without a look at who is ready
            came = pump(streams, self._statuses, happened, deadline, feed, host.lifeline)
            flooded = any(stream.flooded for stream in streams)
            for stream in streams:
                stream.drain()
            if (said := _STATUS.fullmatch(answer)) and said[1] == turn:
                status = int(said[2])
            else:  # the shell has ended, or the agent wrote to the descriptor, or closed it
                came = came and (bool(answer) or job.follow(streams, deadline))
                status = self._end(job, came and not answer)
        finally:
            feed.close()
        truncated = any(stream.truncated for stream in streams)
        output, errors = (stream.take() for stream in streams)
        out_of_memory = host.memory_kills() > kills
        seconds = time.monotonic() - began
        return Result(output, errors, status, not came and not flooded, truncated, out_of_memory, seconds)

    def _end(self, job: Job, came: bool) -> int:
        """The status of a shell that ended or is to be ended; the next command starts another."""
        self._job = None  # so that kill(), which closes every shell, leaves our pipes open for what is still in them
        try:
            if not came:
                self._host.kill()
            status = job.wait()
            for stream in self._streams:
                stream.drain()
        finally:
            self._close_pipes()
        return status

    def close(self) -> None:
        """End this shell; the processes that it left running stay."""
        if self._job is not None:
            self._job = None
            self._close_pipes()

    def _close_pipes(self) -> None:
        for one in (self._commands, self._statuses, *(stream.descriptor for stream in self._streams)):
            os.close(one)
