"""Public conformance checks: for environments (`check_env`, `report`) and for policies (`check_policy`).

They are what `sparring check ID` runs, and are meant for the test suites of plug-ins as well.
"""

from sparring.testing.environment import check_env, report
from sparring.testing.outcome import Check
from sparring.testing.policy import check_policy

__all__ = ["Check", "check_env", "check_policy", "report"]
