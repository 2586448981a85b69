"""Browsers are shared, recycled, and gone with the process that started them, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sparring.envs.web.browser import pool
from sparring.envs.web.browser.page import Browser
from sparring.errors import EnvFailed

GROUP_GONE_S = 15.0


def members(group: int) -> list[int]:
    """The living processes of a process group."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(int(folder.name))
    return found


def gone(group: int) -> bool:
    """Whether a process group ends in time."""
    deadline = time.monotonic() + GROUP_GONE_S
    while members(group) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not members(group)


def test_contexts_share_a_browser_that_is_recycled(
    page: Callable[..., Browser], monkeypatch: pytest.MonkeyPatch
) -> None:
    pool.close_browsers()
    first, second = page("<p>one"), page("<p>two")
    first.reset(seed=0)
    second.reset(seed=0)
    [group] = pool.browsers().pids
    monkeypatch.setattr(pool, "CONTEXTS_BEFORE_RECYCLING", 2)
    first.close()
    second.close()
    assert gone(group)
    assert pool.browsers().pids == []


def test_a_browser_that_hangs_is_killed(page: Callable[..., Browser], monkeypatch: pytest.MonkeyPatch) -> None:
    pool.close_browsers()
    env = page("<p>one")
    env.reset(seed=0)
    [group] = pool.browsers().pids
    os.killpg(group, signal.SIGSTOP)
    monkeypatch.setattr(pool, "_CLOSE_S", 0.5)
    env.close()
    assert gone(group)


PROGRAM = """
import sys, time
from sparring.envs.web.browser.page import Browser
from sparring.envs.web.browser.pool import browsers
env = Browser()
env.reset(seed=0)
print(browsers().pids[0], flush=True)
if sys.argv[1] == "waits":
    time.sleep(60)
"""


@pytest.mark.parametrize("ending", ["returns", "waits"])
def test_browsers_do_not_outlive_the_program(browser: None, ending: str) -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAM, ending], stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        group = int(program.stdout.readline())
        if ending == "waits":
            assert members(group)
            program.send_signal(signal.SIGKILL)
        program.wait(60)
    assert gone(group)


def test_a_browser_that_does_not_start_says_why(browser: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pool.close_browsers()
    broken = tmp_path / "chromium"
    broken.write_text("#!/bin/sh\necho no display here >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("SPARRING_CHROMIUM", str(broken))
    env = Browser()
    with pytest.raises(EnvFailed, match=r"could not be started"):
        env.reset(seed=0)
    env.close()
