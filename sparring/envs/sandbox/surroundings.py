"""What a command finds around it in every sandbox: the workspace's place and the environment variables."""

from __future__ import annotations

import sys
from pathlib import Path

WORKSPACE = "/work"
FOLDERS = {WORKSPACE: 0o755, "/tmp": 0o1777, "/dev/shm": 0o1777}
"""The folders that can be written to, with the modes that they start with."""


def environment(home: str = WORKSPACE) -> dict[str, str]:
    """The variables of a command whose home is `home`; the Python that runs this comes first among programs."""
    return {
        "HOME": home,
        "LANG": "C.UTF-8",
        "LOGNAME": "agent",
        "PATH": f"{Path(sys.base_prefix).resolve()}/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "TERM": "dumb",
        "TMPDIR": "/tmp",
        "USER": "agent",
    }
