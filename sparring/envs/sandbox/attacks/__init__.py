"""Attempts to get out of a sandbox, or to take more than its limits give.

Each attack runs inside any backend's sandbox and says what got through, or None where the sandbox held. The tests run
all of them; `probe.verify` runs the `quick` ones before a process opens its first sandbox; `sparring sandbox check`
runs all on one's own machine.
"""

from sparring.envs.sandbox.attacks import grading, lasting, limits, machine, owner, rights
from sparring.envs.sandbox.attacks.attack import ATTACKS, LIMITS, Attack

__all__ = ["ATTACKS", "LIMITS", "Attack", "grading", "lasting", "limits", "machine", "owner", "rights"]
