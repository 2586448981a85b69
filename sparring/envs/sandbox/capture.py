"""Reading what a process writes, under limits of time and size."""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Callable
from dataclasses import dataclass, field

# A process that writes this many times what is kept is stopped: reading on would cost the owner's time, not its own.
FLOOD = 64
_CHUNK = 1 << 16


@dataclass(slots=True)
class Stream:
    """One pipe from a process, of which the first `limit` bytes are kept."""

    descriptor: int
    limit: int
    kept: bytearray = field(default_factory=bytearray)
    seen: int = 0
    open: bool = True

    def read(self) -> bool:
        """Take what is there; whether there was something."""
        try:
            chunk = os.read(self.descriptor, _CHUNK)
        except BlockingIOError:
            return False
        if not chunk:
            self.open = False
            return False
        self.seen += len(chunk)
        self.kept += chunk[: self.limit - len(self.kept)]
        return True

    def drain(self) -> None:
        """Take all that has been written by now, without waiting; a writer that never stops is cut off."""
        while self.open and not self.flooded and self.read():
            pass

    @property
    def truncated(self) -> bool:
        """Whether more was written than kept."""
        return self.seen > len(self.kept)

    @property
    def flooded(self) -> bool:
        """Whether so much was written that the writer is to be stopped."""
        return self.seen > FLOOD * self.limit

    def take(self) -> bytes:
        """What was kept; the stream starts counting afresh."""
        taken = bytes(self.kept)
        self.kept.clear()
        self.seen = 0
        return taken


@dataclass(slots=True)
class Feed:
    """What is still to be written into a process's standard input; the pipe is closed at its end."""

    descriptor: int
    rest: memoryview
    open: bool = True

    def write(self) -> None:
        """Write what fits."""
        try:
            self.rest = self.rest[os.write(self.descriptor, self.rest[:_CHUNK]) :]
        except BlockingIOError:
            return
        except BrokenPipeError:  # it does not want to read all
            self.rest = self.rest[len(self.rest) :]
        if not self.rest:
            self.close()

    def close(self) -> None:
        """End the input."""
        if self.open:
            self.open = False
            with contextlib.suppress(OSError):
                os.close(self.descriptor)


def pump(
    streams: list[Stream],
    watched: int,
    happened: Callable[[], bool],
    deadline: float,
    feed: Feed | None = None,
    lifeline: int | None = None,
) -> bool:
    """Move bytes until something has happened.

    Args:
        streams: what to read. watched: a descriptor to look at besides.
        happened: called when `watched` has something to read; returns whether that is the end.
        deadline: on the monotonic clock.
        feed: what to write.
        lifeline: a descriptor whose other end closes when nobody waits for the outcome any more.
    Returns:
        Whether it happened; else the deadline passed or a stream was flooded.
    Raises:
        EOFError: the lifeline's other end was closed.
    """
    poll = select.poll()
    poll.register(watched, select.POLLIN)
    by_descriptor = {stream.descriptor: stream for stream in streams if stream.open}
    for descriptor in by_descriptor:
        poll.register(descriptor, select.POLLIN)
    if feed is not None and feed.open:
        poll.register(feed.descriptor, select.POLLOUT)
    if lifeline is not None:
        poll.register(lifeline, 0)  # tells of its end only
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        for descriptor, _ in poll.poll(left * 1000 + 1):
            if descriptor == watched:
                if happened():
                    return True
            elif descriptor in by_descriptor:
                stream = by_descriptor[descriptor]
                stream.read()
                if stream.flooded:
                    return False
                if not stream.open:
                    poll.unregister(descriptor)
            elif descriptor == lifeline:
                raise EOFError("the owner is gone")
            elif feed is not None:
                feed.write()
                if not feed.open:
                    poll.unregister(descriptor)
