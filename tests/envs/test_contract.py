"""Every registered environment, found through the registry, keeps the whole contract."""

from __future__ import annotations

import pytest

from sparring.errors import MissingExtra
from sparring.registration import env_ids
from sparring.testing import report

# Pages in Chromium; tests/envs/web/test_contract.py checks them in fewer turns.
BROWSERS = {"sparring/Browser-v1", "sparring/MiniWoB-v1", "sparring/WebShopBrowser-v1"}
# Programs on a display, which tests in tests/envs/gui check in fewer turns.
DESKTOPS = {"sparring/Desktop-v1", "sparring/DesktopApplications-v1"}
# What takes minutes: besides those, the first generates its games, and the second starts a Java process for each
# environment.
SLOW = {"sparring/TextWorld-v1", "sparring/ScienceWorld-v1", *DESKTOPS, *BROWSERS}
# What can't be made without a file that no package ships; its own tests bring one.
NEEDS_A_FILE = {
    "sparring/Jericho-v1",
    "sparring/ScreenDataset-v1",
    "sparring/MCP-v1",
    "sparring/CodeTasks-v1",
    "sparring/RepositoryTasks-v1",
}
# What opens sandboxes, which its own tests do where there are some.
SANDBOXED = {"sparring/CodeFunctions-v1", "sparring/HumanEval-v1", "sparring/RepositoryRepair-v1"}

IDS = [id for id in env_ids() if id not in NEEDS_A_FILE | SANDBOXED]


@pytest.mark.parametrize("id", [pytest.param(id, marks=pytest.mark.slow) if id in SLOW else id for id in IDS])
def test_every_registered_environment_passes_every_check(id: str) -> None:
    try:
        found = report(id)
    except MissingExtra as missing:
        pytest.skip(str(missing))
    assert [one for one in found if one.outcome == "failed"] == []
