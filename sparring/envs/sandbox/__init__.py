"""Places in which an agent's commands and programs run without reaching the machine around them.

    with open_sandbox(Limits(wall_s=10), label="repair") as sandbox:
        sandbox.write("main.py", b"print('hello')")
        print(sandbox.run("python3 main.py").text)

`open_sandbox` first makes sure, by attacks, that sandboxes hold on this machine. docs/sandbox.md says what is contained
and what is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sparring.envs.sandbox.bubblewrap import BubblewrapSandbox
from sparring.envs.sandbox.forkserver import IMPORTS, ForkServer
from sparring.envs.sandbox.probe import verify
from sparring.envs.sandbox.protocol import (
    File,
    FileTree,
    Limits,
    Result,
    Sandbox,
    SandboxFailed,
    SandboxRefused,
    Shell,
)

__all__ = [
    "File",
    "FileTree",
    "ForkServer",
    "Limits",
    "Result",
    "Sandbox",
    "SandboxFailed",
    "SandboxRefused",
    "Shell",
    "open_fork_server",
    "open_sandbox",
]


def open_sandbox(
    limits: Limits | None = None, *, label: str = "", read_only: Sequence[Path] = (), wait_s: float = 60.0
) -> Sandbox:
    """Open a sandbox, after making sure once in this process that sandboxes hold here.

    Args:
        limits: what its processes may use.
        label: what it is for, as lists of sandboxes show it.
        read_only: further folders of this machine that processes may read, at the paths that they have outside.
        wait_s: how long to wait where the most sandboxes are open already.
    Raises:
        MissingExtra: bubblewrap is not installed.
        SandboxRefused: an attack got through on this machine; nothing is run.
        SandboxFailed: none could be opened in time.
    """
    verify()
    return BubblewrapSandbox(limits, label=label, read_only=read_only, wait_s=wait_s)


def open_fork_server(
    limits: Limits | None = None,
    *,
    imports: Sequence[str] = IMPORTS,
    paths: Sequence[Path] = (),
    label: str = "grading",
) -> ForkServer:
    """Open a fork server for grading, after the same check; see `ForkServer` for the arguments."""
    verify()
    return ForkServer(limits, imports=imports, paths=paths, label=label)
