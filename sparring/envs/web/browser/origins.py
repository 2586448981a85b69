"""What a page may load: addresses on the network that are allowed, and sites that the program itself serves.

A served site needs no port: its pages are handed to the browser as answers to its requests. Everything else is
refused, by the context's routes and once more by the browser, which resolves no other host.
"""

from __future__ import annotations

import mimetypes
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from sparring.errors import InvalidConfig

MOST_BYTES = 64 << 20
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer to a request for a page."""

    body: bytes
    content_type: str = "text/html; charset=utf-8"
    status: int = 200


class Site(Protocol):
    """Something that answers requests under an origin of its own, which no network is asked for."""

    @property
    def origin(self) -> str:
        """Such as `http://shop.localhost`."""
        ...

    def reply(self, target: str) -> Reply:
        """The answer to a request for a path with its query. Called in the browser's thread, so it must be quick."""
        ...


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder (or one file) as a site. Nothing outside of it is served, not even by a link in it."""

    path: Path
    origin: str = "http://page.localhost"

    def reply(self, target: str) -> Reply:
        """The file that a path names, `index.html` for a folder."""
        wanted = self._file(unquote(split_target(target)[0]).lstrip("/"))
        if wanted is None or wanted.stat().st_size > MOST_BYTES:
            return Reply(b"not found", "text/plain", 404)
        kind = mimetypes.guess_type(wanted.name)[0] or "application/octet-stream"
        return Reply(wanted.read_bytes(), f"{kind}; charset=utf-8" if kind.startswith("text/") else kind)

    def _file(self, name: str) -> Path | None:
        root = self.path.resolve()
        if root.is_file():
            return root if name in ("", root.name) else None
        try:
            wanted = (root / name).resolve()
            # Resolved again: the folder's index may itself be a link that leads outside.
            wanted = (wanted / "index.html").resolve() if wanted.is_dir() else wanted
            return wanted if root in wanted.parents and wanted.is_file() else None
        except (OSError, ValueError, RuntimeError):  # no file has such a name, or its links go round in a circle
            return None


@dataclass(frozen=True, slots=True)
class Origins:
    """The origins of one context: those on the network, and one site that is served from here."""

    network: tuple[str, ...] = ()
    site: Site | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        for origin in self.network:
            if origin != origin_of(origin):
                raise InvalidConfig(
                    f'an origin looks like "https://example.org" or "http://127.0.0.1:80", got "{origin}"'
                )

    @property
    def hosts(self) -> frozenset[str]:
        """The hosts that the browser must be able to reach, each with its port."""
        parts = [urlsplit(origin) for origin in self.network]
        return frozenset(f"{one.hostname}:{one.port or _PORTS[one.scheme]}" for one in parts)

    def allow(self, url: str) -> bool:
        """Whether a page may be loaded from this address."""
        found = origin_of(url)
        return found is not None and (found in self.network or (self.site is not None and found == self.site.origin))

    @property
    def refused(self) -> re.Pattern[str]:
        """Matches every address outside of the origins."""
        known = [*self.network, *([self.site.origin] if self.site is not None else [])]
        return _outside(known, "data:", "blob:", "about:")

    @property
    def refused_sockets(self) -> re.Pattern[str]:
        """Matches the address of every web socket that leads to none of the origins on the network."""
        return _outside([f"ws{origin.removeprefix('http')}" for origin in self.network])


def _outside(origins: list[str], *schemes: str) -> re.Pattern[str]:
    inside = "|".join([*(re.escape(origin) + r"(?:[/?#]|$)" for origin in origins), *schemes])
    return re.compile(f"^(?!{inside})" if inside else "^")


def split_target(target: str) -> tuple[str, str]:
    """The path and the query of a request's target, whatever it holds: `urlsplit` refuses some, such as `//[`."""
    path, _, query = target.partition("#")[0].partition("?")
    return path, query


def origin_of(url: str) -> str | None:
    """Scheme, host and port of a web address, as browsers write them; None for what is none."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        return None
    return f"{parts.scheme}://{parts.hostname}" + (f":{port}" if port not in (None, _PORTS[parts.scheme]) else "")
