"""Where Chromium is, and the flags it is started with."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from sparring.errors import MissingExtra

# The headless shell is the same engine without windows: a step takes a fifth to a quarter less CPU time.
_NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome")
_FLAGS = (
    "--no-sandbox",  # its own sandbox needs privileges that containers don't give; pages are held by origins instead
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-frame-rate-limit",
    "--disable-gpu-vsync",
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
)


def executable() -> Path:
    """The browser: what the variable SPARRING_CHROMIUM names, else Chromium or Chrome on the path.

    Raises:
        MissingExtra: there is none; the message names the package and the command.
    """
    named = os.environ.get("SPARRING_CHROMIUM")
    if named:
        if not os.access(named, os.X_OK) or Path(named).is_dir():
            raise MissingExtra(f"SPARRING_CHROMIUM names {named!r:.200}, which is no program that can be started")
        return Path(named)
    for name in _NAMES:
        found = shutil.which(name)
        if found:
            return Path(found)
    raise MissingExtra(
        "the browser Chromium is needed here: `apt-get install chromium-headless-shell` (or chromium) on Debian, as "
        "root; or name another Chromium or Chrome in the variable SPARRING_CHROMIUM"
    )


def flags(hosts: Iterable[str]) -> list[str]:
    """The flags of a browser that can reach these hosts and no others, not even by a redirect.

    Args:
        hosts: names or addresses with their ports; those of a context's allowed origins.
    """
    # The first rule that fits is taken. EXCLUDE would know hosts only, and let pages reach their other ports.
    reached = "".join(f"MAP {host} {host}," for host in sorted(hosts))
    return [*_FLAGS, f"--host-resolver-rules={reached}MAP * ~NOTFOUND"]
