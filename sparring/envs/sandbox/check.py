"""`sparring sandbox`: whether sandboxes hold on this machine, which are open, and an image for Docker."""

from __future__ import annotations

import time
from typing import Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from sparring.envs.sandbox import engine, image, probe, slots
from sparring.envs.sandbox.bubblewrap import BubblewrapSandbox
from sparring.envs.sandbox.protocol import SandboxRefused
from sparring.errors import CheckFailed, MissingExtra

MEMORY = {
    "cgroup": "by a control group of the kernel, exact",
    "watched": "watched every 20 ms, weaker: this user may not make control groups, so a fast process can "
    "pass the limit for a moment",
}


def run(do: Literal["check", "list", "reap", "image"], console: Console | None = None) -> None:
    """Attack sandboxes in every known way, list the open ones, end what killed owners left, or build Docker's image.

    Raises:
        CheckFailed: an attack got through, or no backend can be had.
    """
    {"check": _check, "list": _list, "reap": _reap, "image": _image}[do](console or Console())


def _check(console: Console) -> None:
    """Make every attack on every backend that there is.

    Raises:
        CheckFailed: one got through, or there is no backend.
    """
    breaches, missing = [], []
    for backend in probe.BACKENDS:
        try:
            breaches += _attack(backend, console)
        except (MissingExtra, SandboxRefused) as error:
            missing.append(backend)
            console.print(f"[yellow]{backend} can't be had here:[/yellow] {escape(str(error))}")
    if breaches:
        raise CheckFailed(
            f"{len(breaches)} attacks got through ({', '.join(breaches)}): don't run untrusted programs on this "
            "machine; docs/sandbox.md says what each of them needs"
        )
    if len(missing) == len(probe.BACKENDS):
        raise CheckFailed("no backend can be had on this machine, so nothing runs sandboxed here")
    console.print("Every attack was held off.")


def _attack(backend: str, console: Console) -> list[str]:
    """Make every attack on one backend; the names of those that got through."""
    make = probe.opener(backend)
    with make() as opened:
        memory = MEMORY[opened.memory_limit] if isinstance(opened, BubblewrapSandbox) else MEMORY["cgroup"]
        console.print(f"{backend}: memory and processes are limited {memory}.")
    table = Table(Column("attack", no_wrap=True), "what it attempts", "outcome", title=f"Attacks on {backend}")
    breaches = []
    for found in probe.check(make):
        held = found.breach is None
        outcome = "[green]held[/green]" if held else f"[red]GOT THROUGH[/red] {escape(found.breach or '')}"
        table.add_row(found.attack.name, found.attack.what, outcome)
        if not held:
            breaches.append(f"{found.attack.name} on {backend}")
    console.print(table)
    return breaches


def _list(console: Console) -> None:
    table = Table("label", "owner", "process or container", "state")
    table.title = f"Sandboxes of this user (at most {slots.cap()})"
    for tenant, alive in slots.tenants():
        place = tenant.container or str(tenant.process)
        table.add_row(escape(tenant.label) or "–", str(tenant.owner), place, "open" if alive else "orphan")
    console.print(table)


def _reap(console: Console) -> None:
    began = time.monotonic()
    ended = len(slots.reap())
    try:
        ended += len(engine.reap())
    except (MissingExtra, SandboxRefused):
        console.print("No Docker engine was asked for containers: none can be reached.")
    console.print(f"{ended} orphans ended in {time.monotonic() - began:.1f} s.")


def _image(console: Console) -> None:
    began = time.monotonic()
    built = image.build(say=console.print)
    console.print(f'The image "{engine.IMAGE}" is {built}, made in {time.monotonic() - began:.0f} s.')
