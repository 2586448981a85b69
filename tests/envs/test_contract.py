"""Every registered environment, found through the registry, keeps the whole contract."""

from __future__ import annotations

import pytest

from sparring.errors import MissingExtra
from sparring.registration import env_ids
from sparring.testing import report

# What takes minutes: the first generates its games, the second starts a Java process for each environment.
SLOW = {"sparring/TextWorld-v1", "sparring/ScienceWorld-v1"}
# What can't be made without a file that no package ships; its own tests bring one.
NEEDS_A_FILE = {"sparring/Jericho-v1"}

IDS = [id for id in env_ids() if id not in NEEDS_A_FILE]


@pytest.mark.parametrize("id", [pytest.param(id, marks=pytest.mark.slow) if id in SLOW else id for id in IDS])
def test_every_registered_environment_passes_every_check(id: str) -> None:
    try:
        found = report(id)
    except MissingExtra as missing:
        pytest.skip(str(missing))
    assert [one for one in found if one.outcome == "failed"] == []
