"""The cap over all processes, orphans of killed owners, and the pool."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sparring.envs.sandbox import slots
from sparring.envs.sandbox.bubblewrap import BubblewrapSandbox
from sparring.envs.sandbox.pool import SandboxPool
from sparring.envs.sandbox.processes import start_time
from sparring.envs.sandbox.protocol import SandboxFailed
from sparring.errors import InvalidConfig

pytestmark = pytest.mark.usefixtures("bubblewrap")

# Opens a sandbox with a process in it, says its process id, and waits to be killed.
OWNER = """
import sys, time
from sparring.envs.sandbox.bubblewrap import BubblewrapSandbox
sandbox = BubblewrapSandbox(label="orphan")
sandbox.run("sleep 600 & setsid sleep 600 &")
print(sandbox.keeper.process_id, *(sandbox.keeper.group.folders if sandbox.keeper.group else ()), flush=True)
time.sleep(600)
"""


@pytest.fixture(autouse=True)
def own_slots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slots of this test alone, whatever else uses sandboxes on the machine."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))


def owner() -> tuple[subprocess.Popen[str], list[str]]:
    process = subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    told = process.stdout.readline().split()
    assert told, "the owner opened no sandbox"
    return process, told


def gone(process: int, patience_s: float = 10.0) -> bool:
    deadline = time.monotonic() + patience_s
    while start_time(process):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_nothing_survives_a_killed_owner_and_the_reaper_tidies_up() -> None:
    process, (inside, *groups) = owner()
    assert [(tenant.label, alive) for tenant, alive in slots.tenants()] == [("orphan", True)]
    assert slots.reap() == []  # it has an owner
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert gone(int(inside))
    assert [(tenant.label, alive) for tenant, alive in slots.tenants()] == [("orphan", False)]
    assert [tenant.label for tenant in slots.reap()] == ["orphan"]
    assert not any(Path(group).exists() for group in groups)
    assert slots.tenants() == [] and slots.reap() == []


def test_whoever_claims_an_orphans_slot_ends_it() -> None:
    """The reaper does not rely on the kernel having ended the orphan."""
    with subprocess.Popen(["sleep", "600"]) as orphan:
        slot = slots.claim()
        slot.record(slots.Tenant("x", 1, orphan.pid, start_time(orphan.pid)))
        os.close(slot.descriptor)  # as the kernel does when an owner dies
        again = slots.claim()
        assert again.index == slot.index and orphan.wait(10) == -signal.SIGKILL
        again.release()


def test_the_reaper_spares_a_process_that_only_has_an_orphans_number() -> None:
    with subprocess.Popen(["sleep", "600"]) as other:
        slot = slots.claim()
        slot.record(slots.Tenant("x", 1, other.pid, start_time(other.pid) - 1))
        os.close(slot.descriptor)
        slots.reap()
        time.sleep(0.1)
        assert other.poll() is None
        other.kill()


def test_a_slot_cut_short_or_with_nonsense_is_no_obstacle() -> None:
    for content in ("", '{"label": "x", "own', "[]", '{"groups": 3}'):
        (slots.folder() / "0.slot").write_text(content)
        slot = slots.claim()
        assert slot.index == 0
        slot.release()


def test_the_cap_holds_over_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(slots.CAP_VARIABLE, "2")
    process, _ = owner()
    with BubblewrapSandbox():
        with pytest.raises(SandboxFailed, match="all 2 sandboxes of this user are in use"):
            BubblewrapSandbox(wait_s=0.1)
        process.kill()
        process.wait()
        BubblewrapSandbox(wait_s=10).close()


def test_a_wrong_cap_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(slots.CAP_VARIABLE, "many")
    with pytest.raises(InvalidConfig, match="many"):
        slots.cap()


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / f"sparring-sandboxes-{os.getuid()}").mkdir(mode=0o755)
    with pytest.raises(SandboxFailed, match="0700"):
        slots.claim()


def test_a_pool_hands_out_fresh_sandboxes() -> None:
    with SandboxPool(lambda: BubblewrapSandbox(label="pool"), ready=1) as pool:
        with pool.take() as first:
            first.write("left", b"x")
        with pool.take() as second:
            assert second is not first and second.list() == []
    assert slots.tenants() == []
    with pytest.raises(SandboxFailed, match="closed"):
        pool.take()


def test_a_pool_says_why_it_has_none_and_tries_again() -> None:
    failures = iter([True, False])

    def make() -> BubblewrapSandbox:
        if next(failures, False):
            raise SandboxFailed("no room")
        return BubblewrapSandbox()

    with SandboxPool(make, ready=1) as pool:
        with pytest.raises(SandboxFailed, match="no room"):
            pool.take()
        pool.take().close()
