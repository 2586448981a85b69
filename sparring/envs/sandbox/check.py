"""`sparring sandbox`: whether sandboxes hold on this machine, and which are open."""

from __future__ import annotations

import time
from typing import Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from sparring.envs.sandbox import probe, slots
from sparring.envs.sandbox.attacks import LIMITS
from sparring.envs.sandbox.bubblewrap import BubblewrapSandbox
from sparring.errors import CheckFailed

MEMORY = {
    "cgroup": "by a control group of the kernel, exact",
    "watched": "watched every 20 ms, weaker: this user may not make control groups, so a fast process can "
    "pass the limit for a moment",
}


def run(do: Literal["check", "list", "reap"], console: Console | None = None) -> None:
    """Attack a sandbox in every known way, list the open ones, or end those that a killed owner left behind.

    Raises:
        CheckFailed: an attack got through.
    """
    {"check": _check, "list": _list, "reap": _reap}[do](console or Console())


def _check(console: Console) -> None:
    """Make every attack.

    Raises:
        CheckFailed: one got through.
    """
    with BubblewrapSandbox(LIMITS, label="check") as opened:
        console.print(f"Memory and processes: {MEMORY[opened.memory_limit]}.")
    table = Table(Column("attack", no_wrap=True), "what it attempts", "outcome", title="Attacks on bubblewrap")
    breaches = []
    for found in probe.check():
        held = found.breach is None
        outcome = "[green]held[/green]" if held else f"[red]GOT THROUGH[/red] {escape(found.breach or '')}"
        table.add_row(found.attack.name, found.attack.what, outcome)
        if not held:
            breaches.append(found.attack.name)
    console.print(table)
    if breaches:
        raise CheckFailed(
            f"{len(breaches)} attacks got through ({', '.join(breaches)}): don't run untrusted programs on this "
            "machine; docs/sandbox.md says what each of them needs"
        )
    console.print("Every attack was held off.")


def _list(console: Console) -> None:
    table = Table("label", "owner", "process", "state", title=f"Sandboxes of this user (at most {slots.cap()})")
    for tenant, alive in slots.tenants():
        table.add_row(
            escape(tenant.label) or "–", str(tenant.owner), str(tenant.process), "open" if alive else "orphan"
        )
    console.print(table)


def _reap(console: Console) -> None:
    began = time.monotonic()
    ended = slots.reap()
    console.print(f"{len(ended)} orphans ended in {time.monotonic() - began:.1f} s.")
