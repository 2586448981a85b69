"""The environments in Chromium keep the contract, played for few turns: an episode costs seconds."""

from __future__ import annotations

import pytest

import sparring
from sparring.testing.environment import CHECKS, run_check
from sparring.testing.subject import Subject

IDS = ("sparring/Browser-v1", "sparring/MiniWoB-v1", "sparring/WebShopBrowser-v1")
QUICK = ("determinism", "info conventions", "nonsense actions", "splits and tasks")


@pytest.mark.parametrize("id", [pytest.param(id, marks=pytest.mark.slow) for id in IDS])
@pytest.mark.parametrize("name", [name for name, _ in CHECKS])
def test_every_check(browser: None, id: str, name: str) -> None:
    found = run_check(name, dict(CHECKS)[name], Subject(lambda: sparring.make(id), 0, 12))
    assert found.outcome in ("passed", "skipped"), found.message


@pytest.mark.parametrize("name", QUICK)
def test_the_checks_that_matter_most(browser: None, name: str) -> None:
    found = run_check(name, dict(CHECKS)[name], Subject(lambda: sparring.make("MiniWoB-v1"), 0, 4))
    assert found.outcome == "passed", found.message
