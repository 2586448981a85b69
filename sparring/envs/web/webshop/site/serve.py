"""The shop on a port of this machine, for people.

sparring webshop serve                    # then open http://127.0.0.1:3000 in a browser
"""

from __future__ import annotations

import random
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from sparring.envs.web.webshop.catalogue import open_catalogue
from sparring.envs.web.webshop.default import default_catalogue
from sparring.envs.web.webshop.goals import GoalKind, goal_book
from sparring.envs.web.webshop.session import Shop
from sparring.envs.web.webshop.site.site import Site
from sparring.errors import InvalidConfig

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Server(ThreadingHTTPServer):
    """A site on a port.

    Args:
        port: 0 for any that is free. host: the address to listen at; by default only this machine can reach it.
    Raises:
        InvalidConfig: the port can't be used.
    """

    daemon_threads = True

    def __init__(self, site: Site, port: int, host: str = "127.0.0.1") -> None:
        self.site = site
        try:
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError) as error:
            raise InvalidConfig(
                f"the port {port} of {host} can't be used: {error}. Name another with --port"
            ) from error
        site.origin = f"http://{host}:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        answer = self.server.site.reply(self.path)
        self.send_response(answer.status)
        for name, value in (("Content-Type", answer.content_type), ("Content-Length", str(len(answer.body)))):
            self.send_header(name, value)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a line for each page would hide the address that is to be opened."""


def open_site(catalogue: Path | None, goals: GoalKind, seed: int) -> Site:
    """The site of a catalogue, with visitors' goals drawn at random from `seed`."""
    book = goal_book(open_catalogue(catalogue if catalogue is not None else default_catalogue()), goals)
    if not len(book):
        raise InvalidConfig(f"the catalogue {book.catalogue.path} has no {goals} goals")
    generator, lock = random.Random(seed), threading.Lock()

    def draw() -> int:
        with lock:
            return generator.randrange(len(book))

    return Site(Shop(book), draw)


def serve(catalogue: Path | None = None, goals: GoalKind = "synthetic", port: int = 3000, seed: int = 0) -> None:
    """Serve until interrupted."""
    with Server(open_site(catalogue, goals, seed), port) as server:
        print(f"The shop is open at {server.site.origin} (Ctrl-C closes it)", flush=True)
        server.serve_forever()
