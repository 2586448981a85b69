"""Grading a Python solution by tests that it never sees, in two processes.

The solver runs the solution. It holds the solution's text, two pipes to be called through, and nothing else. The judge
runs the tests; where they call a function of the solution, the call's arguments go to the solver as plain data and
what came of it comes back as plain data. The judge alone holds the tests and the descriptor for verdicts, and being
"not dumpable" shows neither memory nor descriptors to the solver. So a solution can return wrong values, hang, or kill
the judge; every one of these fails it.

Values that cross: None, bool, int, float, complex, str, bytes, list, tuple, dict, set and frozenset, by value. Changes
that a function makes to its arguments come back too, for lists, dicts and sets.
"""

from __future__ import annotations

import builtins
import gc
import json
import os
import random
import struct
import sys
import traceback
from collections.abc import Callable
from typing import Any

_LONGEST = 1 << 24
_MESSAGE = 2000  # characters of a message or traceback
_LARGE = 1 << 64


def encode(value: object) -> object:
    """A value as something that JSON can hold.

    Raises:
        TypeError: of a type that does not cross.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and not -_LARGE < value < _LARGE:  # Python refuses to write out thousands of digits
        return {"i": hex(value)}
    for plain in (int, float, str):
        if isinstance(value, plain):
            return plain(value)
    if isinstance(value, (list, tuple, set, frozenset)):
        kinds = {list: "l", tuple: "t", set: "s", frozenset: "z"}
        tag = next(tag for kind, tag in kinds.items() if isinstance(value, kind))
        return {tag: [encode(one) for one in value]}
    if isinstance(value, dict):
        return {"d": [[encode(key), encode(one)] for key, one in value.items()]}
    if isinstance(value, (bytes, bytearray)):
        return {"b": value.decode("latin-1")}
    if isinstance(value, complex):
        return {"c": [value.real, value.imag]}
    raise TypeError(f"a {type(value).__name__} can't be compared by the tests; use plain Python values")


def decode(value: Any) -> Any:
    """The value behind `encode`'s result; only of built-in types, whatever the other side sent.

    Raises:
        ValueError, TypeError: nothing that `encode` gives.
    """
    if not isinstance(value, dict):
        if isinstance(value, list):
            raise ValueError("a bare list")
        return value
    ((tag, content),) = value.items()
    if tag in "ltsz":
        return {"l": list, "t": tuple, "s": set, "z": frozenset}[tag](decode(one) for one in content)
    if tag == "d":
        return {decode(key): decode(one) for key, one in content}
    if tag == "i":
        return int(content, 16)
    if tag == "b":
        return content.encode("latin-1")
    if tag == "c":
        return complex(*content)
    raise ValueError(f"unknown tag {tag!r}")


def _send(descriptor: int, message: object) -> None:
    data = json.dumps(message).encode()
    rest = memoryview(struct.pack("=I", len(data)) + data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _receive(descriptor: int) -> Any:
    """One message; EOFError where there is none any more."""
    (size,) = struct.unpack("=I", _exactly(descriptor, 4))
    if size > _LONGEST:
        raise ValueError(f"an answer of {size} bytes; at most {_LONGEST} are taken")
    return json.loads(_exactly(descriptor, size))


def _exactly(descriptor: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = os.read(descriptor, min(size - len(data), 1 << 20))
        if not chunk:
            raise EOFError
        data += chunk
    return data


def read_all(descriptor: int) -> str:
    """The whole text behind a descriptor."""
    parts = []  # a file object of Python's costs a fresh fork a third of a millisecond
    while part := os.read(descriptor, 1 << 16):
        parts.append(part)
    os.close(descriptor)
    return b"".join(parts).decode()


def solve(source: int, calls: int, answers: int, seed: int) -> None:
    """Be the solver: run the solution on descriptor `source`, then answer calls until there are none."""
    gc.enable()  # off in the keeper, whose own objects are frozen
    random.seed(seed)
    names: dict[str, Any] = {"__name__": "solution"}
    broken: BaseException | None = None
    try:
        exec(compile(read_all(source), "solution.py", "exec", dont_inherit=True), names)  # noqa: S102 - sandboxed
    except BaseException as error:  # whatever it does, the judge is told so
        broken = error
    sys.stdout.flush()
    while True:
        try:
            name, packed, keywords = _receive(calls)
        except EOFError:
            return
        _send(answers, _answer(names, broken, name, packed, keywords))


def _answer(names: dict[str, Any], broken: BaseException | None, name: str, packed: Any, keywords: Any) -> object:
    try:
        if broken is not None:
            raise broken
        if name not in names:
            raise NameError(f"the solution defines no {name!r}")
        arguments, named = decode(packed), decode(keywords)
        value = names[name](*arguments, **named)
        sys.stdout.flush()
        return {"value": encode(value), "arguments": encode((*arguments, *named.values()))}
    except BaseException as error:
        kinds = [kind.__name__ for kind in type(error).__mro__]
        return {"raised": kinds, "text": str(error)[:_MESSAGE], "trace": _trace(error)}


def _trace(error: BaseException) -> str:
    """The part of a traceback that is about the solution."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == "solution.py"]
    lines = traceback.format_list(frames) + traceback.format_exception_only(type(error), error)
    return "".join(lines)[-_MESSAGE:]


class Solution:
    """The solver's functions as the tests call them."""

    def __init__(self, calls: int, answers: int) -> None:
        self.calls, self.answers = calls, answers
        self.trace = ""

    def function(self, name: str) -> Callable[..., Any]:
        """A stand-in for the solution's function `name`."""

        def call(*arguments: Any, **keywords: Any) -> Any:
            return self.call(name, arguments, keywords)

        call.__name__ = name
        return call

    def call(self, name: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        """Call it in the solver.

        Raises:
            Exception: what the solution raised, as the built-in exception nearest to it.
        """
        self.trace = ""
        _send(self.calls, [name, encode(arguments), encode(keywords)])
        answer = _receive(self.answers)
        if "raised" in answer:
            self.trace = str(answer.get("trace", ""))[:_MESSAGE]
            raise _exception(answer["raised"])(str(answer.get("text", ""))[:_MESSAGE])
        for ours, theirs in zip((*arguments, *keywords.values()), decode(answer["arguments"]), strict=True):
            _update(ours, theirs)
        return decode(answer["value"])


def _exception(names: Any) -> type[Exception]:
    """The first built-in exception of these names.

    StopIteration is none of them: out of a function that a test hands to `map` it would end the test's own loop, and
    with it the assertions that were to come.
    """
    for name in names:
        found = getattr(builtins, name, None) if isinstance(name, str) else None
        if isinstance(found, type) and issubclass(found, Exception):
            return RuntimeError if issubclass(found, (UnicodeError, StopIteration, ExceptionGroup)) else found
    return RuntimeError


def _update(ours: Any, theirs: Any) -> None:
    """Carry over what a function did to an argument."""
    if type(ours) is not type(theirs) or ours == theirs:
        return
    if isinstance(ours, list):
        ours[:] = theirs
    elif isinstance(ours, (dict, set)):
        ours.clear()
        ours.update(theirs)


def judge(tests: int, verdicts: int, calls: int, answers: int) -> None:
    """Be the judge: run each of the tests on descriptor `tests`, and write a verdict on each."""
    solution = Solution(calls, answers)
    known = json.loads(read_all(tests))
    for source in known["tests"]:
        names = {"__name__": "tests", **{name: solution.function(name) for name in known["functions"]}}
        solution.trace = message = ""
        passed = False
        try:
            exec(compile(source, "tests.py", "exec", dont_inherit=True), names)  # noqa: S102 - sandboxed
            passed = True
        except EOFError:
            message = "the solution's process ended before it answered"
        except AssertionError as error:
            message = solution.trace or "AssertionError" + (f": {error}" if str(error) else "")
        except BaseException as error:
            message = solution.trace or f"{type(error).__name__}: {error}"
        line = json.dumps([passed, message[:_MESSAGE]]).encode() + b"\n"
        rest = memoryview(line)
        while rest:
            rest = rest[os.write(verdicts, rest) :]
