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
from typing import Literal

from sparring.envs.sandbox import probe
from sparring.envs.sandbox.bubblewrap import BubblewrapSandbox
from sparring.envs.sandbox.docker import DockerSandbox
from sparring.envs.sandbox.engine import IMAGE
from sparring.envs.sandbox.forkserver import IMPORTS, ForkServer
from sparring.envs.sandbox.local import UnsafeLocal, UnsafeLocalWarning
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
from sparring.errors import InvalidConfig

Backend = Literal["auto", "bubblewrap", "docker"]

__all__ = [
    "Backend",
    "File",
    "FileTree",
    "ForkServer",
    "Limits",
    "Result",
    "Sandbox",
    "SandboxFailed",
    "SandboxRefused",
    "Shell",
    "UnsafeLocalWarning",
    "open_fork_server",
    "open_sandbox",
]


def open_sandbox(
    limits: Limits | None = None,
    *,
    label: str = "",
    read_only: Sequence[Path] = (),
    wait_s: float = 60.0,
    backend: Backend = "auto",
    image: str = IMAGE,
    unsafe_local: bool = False,
) -> Sandbox:
    """Open a sandbox, after making sure once in this process that sandboxes hold here.

    Args:
        limits: what its processes may use.
        label: what it is for, as lists of sandboxes show it.
        read_only: further folders of this machine that processes may read, at the paths that they have outside.
        wait_s: how long to wait where the most sandboxes are open already.
        backend: what contains it. `auto` is bubblewrap, and Docker where that does not hold.
        image: the image that Docker starts; it is never pulled.
        unsafe_local: run everything on this machine without a sandbox; nothing else ever does.
    Raises:
        MissingExtra: the backend's package is not installed.
        SandboxRefused: an attack got through on this machine, or what the backend needs is not there; nothing is run.
        SandboxFailed: none could be opened in time.
    """
    if unsafe_local:
        if backend != "auto":
            raise InvalidConfig(f"unsafe_local=True runs without any sandbox: it can't be had with {backend}")
        return UnsafeLocal(limits, label=label, wait_s=wait_s)
    chosen = probe.choose(image) if backend == "auto" else backend
    probe.verify(chosen, image)
    if chosen == "docker":
        return DockerSandbox(limits, label=label, read_only=read_only, wait_s=wait_s, image=image)
    return BubblewrapSandbox(limits, label=label, read_only=read_only, wait_s=wait_s)


def open_fork_server(
    limits: Limits | None = None,
    *,
    imports: Sequence[str] = IMPORTS,
    paths: Sequence[Path] = (),
    label: str = "grading",
) -> ForkServer:
    """Open a fork server for grading, after the same check; see `ForkServer` for the arguments."""
    probe.verify("bubblewrap")
    return ForkServer(limits, imports=imports, paths=paths, label=label)
