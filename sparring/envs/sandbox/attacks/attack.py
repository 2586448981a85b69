"""What an attack is, and what attacking programs have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sparring.envs.sandbox.protocol import MIB, Limits, Result, Sandbox, SandboxFailed

# Small, so that running into them costs little.
LIMITS = Limits(
    wall_s=30.0, memory_bytes=96 * MIB, disk_bytes=4 * MIB, processes=24, output_bytes=64 * 1024, open_files=128
)


@dataclass(frozen=True, slots=True)
class Attack:
    """One attack.

    Attributes:
        name: short, for tables and tests. what: what it attempts.
        attempt: runs it; returns what got through, or None.
        quick: whether it is part of the check at start-up, because its outcome depends on the machine.
    """

    name: str
    what: str
    attempt: Callable[[Sandbox], str | None]
    quick: bool


ATTACKS: dict[str, Attack] = {}


def attack(name: str, *, quick: bool = True) -> Callable[[Callable[[Sandbox], str | None]], None]:
    """Add a function to `ATTACKS`; its docstring says what it attempts."""

    def register(attempt: Callable[[Sandbox], str | None]) -> None:
        ATTACKS[name] = Attack(name, (attempt.__doc__ or "").strip().rstrip("."), attempt, quick)

    return register


# What attacking programs start with. They print a line `GOT …` for whatever works, and `DONE` at their end, without
# which an attack counts as not made.
PRELUDE = """
import ctypes, errno, os, signal, socket, subprocess, sys, time
libc = ctypes.CDLL(None, use_errno=True)
def got(what): print("GOT", what, flush=True)
def attempt(what, call, *arguments):
    try:
        outcome = call(*arguments)
    except (OSError, ValueError, AttributeError, MemoryError):
        return
    got(f"{what}: {str(outcome)[:80]!r}")
def content(path):
    with open(path, "rb") as file:
        return file.read(64)
def change(path, data):
    with open(path, "r+b", buffering=0) as file:
        return file.write(data)
"""


def run_python(sandbox: Sandbox, program: str, timeout: float = 20.0) -> str | None:
    """Run an attacking program, and say what it got."""
    result = sandbox.run(["python3", "-I", "-c", PRELUDE + program + '\nprint("DONE")'], timeout)
    return breach_in(result)


def breach_in(result: Result) -> str | None:
    """What an attacking program got, from what it printed; None where it got nothing."""
    lines = result.text.splitlines()
    found = [line[4:] for line in lines if line.startswith("GOT ")]
    if found:
        return "; ".join(found[:5])
    return None if "DONE" in lines else f"the attack could not be made (status {result.status}): {result.text[-300:]}"


def still_works(sandbox: Sandbox) -> str | None:
    """Whether the sandbox still does what it is told."""
    try:
        result = sandbox.run("echo fine", 10.0)
    except SandboxFailed as error:
        return f"the sandbox broke: {error}"
    return None if result.stdout == b"fine\n" else f"the sandbox no longer works: {result}"


def alone(sandbox: Sandbox) -> str | None:
    """Whether no process is left in the sandbox."""
    program = """
others = [int(one) for one in os.listdir("/proc") if one.isdigit() and int(one) not in (1, os.getpid())]
for one in others:
    try:
        name = content(f"/proc/{one}/cmdline")
    except OSError:
        continue
    if name:  # empty: already ended
        got(f"process {one} is still there: {name}")
"""
    return run_python(sandbox, program)
