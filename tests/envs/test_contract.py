"""Every registered environment, found through the registry, keeps the whole contract."""

from __future__ import annotations

import pytest

from sparring.errors import MissingExtra
from sparring.registration import env_ids
from sparring.testing import report


@pytest.mark.parametrize("id", env_ids())
def test_every_registered_environment_passes_every_check(id: str) -> None:
    try:
        found = report(id)
    except MissingExtra as missing:
        pytest.skip(str(missing))
    assert [one for one in found if one.outcome == "failed"] == []
