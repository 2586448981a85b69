"""The browsers of this process: started when needed, shared by contexts, recycled, and ended with all they started.

Playwright's asynchronous interface runs in one thread of its own; `Browsers.call` hands it a coroutine from any other.
Each browser is a process group: a browser that does not close when asked is killed with its group. Should this process
die, the pipes to Playwright's driver and from there to the browsers close, and they end by themselves.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import secrets
import signal
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sparring.envs.web.browser import chromium
from sparring.errors import EnvFailed, need

Result = TypeVar("Result")

CONTEXTS_PER_BROWSER = 4
# A browser grows by some MiB with each context that was ever opened in it.
CONTEXTS_BEFORE_RECYCLING = 200
_LAUNCH_S, _CLOSE_S, _CALL_S = 60.0, 5.0, 120.0
_ATTEMPTS = 2
_MARK = "--sparring-browser="


class Browser:
    """One running browser.

    Attributes:
        handle: Playwright's. pid: its process and process group, None where /proc does not tell.
        hosts: what it can reach. open, opened: contexts that are open, and that ever were.
        failed: whether it has refused a context.
    """

    def __init__(self, handle: Any, pid: int | None, hosts: frozenset[str]) -> None:
        self.handle, self.pid, self.hosts = handle, pid, hosts
        self.open = self.opened = 0
        self.failed = False

    @property
    def alive(self) -> bool:
        """Whether it still answers to Playwright."""
        return not self.failed and bool(self.handle.is_connected())

    @property
    def worn(self) -> bool:
        """Whether it should take no more contexts."""
        return self.opened >= CONTEXTS_BEFORE_RECYCLING

    def kill(self) -> None:
        """End its whole process group at once."""
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class Settings:
    """How a context is set up: the size of its view in pixels, and the script that runs before each page's own."""

    width: int = 1280
    height: int = 720
    script: str = ""


class Browsers:
    """All browsers of one process. Use `browsers()`, which gives the process's own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._running: list[Browser] = []
        self._playwright: Any = None
        self._lock = asyncio.Lock()
        threading.Thread(target=self._loop.run_forever, name="browsers", daemon=True).start()

    def call(self, work: Coroutine[Any, Any, Result], timeout_s: float = _CALL_S) -> Result:
        """Run a coroutine in the browsers' thread and wait for its result.

        Raises:
            EnvFailed: it took longer than `timeout_s`. Whatever the coroutine raises.
        """
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout_s)
        except FutureTimeout as error:
            if future.done():  # the coroutine's own TimeoutError
                raise
            future.cancel()
            raise EnvFailed(f"the browser gave no answer within {timeout_s:g} s") from error
        except BaseException:
            future.cancel()
            raise

    @property
    def pids(self) -> list[int]:
        """The process groups of the running browsers."""
        return [one.pid for one in self._running if one.pid is not None and one.alive]

    async def open_context(self, hosts: frozenset[str], settings: Settings) -> tuple[Browser, Any]:
        """A fresh context, with no cookies and no storage, in a browser that reaches these hosts alone."""
        for attempt in range(_ATTEMPTS):
            async with self._lock:
                browser = await self._browser(hosts)
                browser.open += 1
                browser.opened += 1
            try:
                return browser, await self._context(browser, settings)
            except BaseException as error:
                # One that died a moment ago may not be known to be dead yet; the next attempt starts another.
                browser.failed = browser.failed or isinstance(error, Exception)
                await self._leave(browser)
                if not isinstance(error, Exception):
                    raise
                if attempt == _ATTEMPTS - 1:
                    raise EnvFailed(f"the browser opened no context: {error}") from error
        raise AssertionError("unreachable")

    async def _context(self, browser: Browser, settings: Settings) -> Any:
        context = await browser.handle.new_context(
            viewport={"width": settings.width, "height": settings.height},
            locale="en-US",
            timezone_id="UTC",
            reduced_motion="reduce",
            service_workers="block",
            accept_downloads=False,
        )
        if settings.script:
            await context.add_init_script(settings.script)
        return context

    async def close_context(self, browser: Browser, context: Any) -> None:
        """Close a context; a browser that can't close it in time is killed."""
        try:
            async with asyncio.timeout(_CLOSE_S):
                await context.close()
        except Exception:  # hung or gone; either way its processes must not stay
            if browser.alive:
                browser.kill()
        await self._leave(browser)

    async def _leave(self, browser: Browser) -> None:
        async with self._lock:
            browser.open -= 1
            if browser.open:
                return
            idle = [one for one in self._running if not one.open and one is not browser]
            # One idle browser is kept warm: the next episode is likely to want it.
            for one in idle if not browser.worn and browser.alive else [browser]:
                await self._end(one)

    async def _browser(self, hosts: frozenset[str]) -> Browser:
        for one in list(self._running):
            if not one.alive:
                await self._end(one)
            elif one.hosts == hosts and one.open < CONTEXTS_PER_BROWSER and not one.worn:
                return one
        program = chromium.executable()
        fresh = self._playwright is None
        if fresh:
            api: Any = need("playwright.async_api", "web")
            self._playwright = await api.async_playwright().start()
        mark = _MARK + secrets.token_hex(8)
        try:
            handle = await self._playwright.chromium.launch(
                executable_path=str(program),
                args=[*chromium.flags(hosts), mark],
                timeout=1000 * _LAUNCH_S,
                handle_sigint=False,
                handle_sigterm=False,
                handle_sighup=False,
            )
        except Exception as error:
            if not fresh and not await self._driver_lives():
                self._playwright = None
                return await self._browser(hosts)
            raise EnvFailed(f"{program} could not be started: {str(error)[:2000]}") from error
        started = Browser(handle, next(_marked(mark), None), hosts)
        self._running.append(started)
        return started

    async def _driver_lives(self) -> bool:
        """Whether Playwright's own process still answers: without it no browser starts any more."""
        try:
            async with asyncio.timeout(_CLOSE_S):
                await (await self._playwright.request.new_context()).dispose()
        except Exception:  # whatever it says: it does not do what it is there for
            return False
        return True

    async def _end(self, browser: Browser) -> None:
        if browser in self._running:
            self._running.remove(browser)
        try:
            async with asyncio.timeout(_CLOSE_S):
                await browser.handle.close()
        except Exception:  # hung or gone
            pass
        browser.kill()  # what is left of its group, if anything

    async def _end_all(self) -> None:
        for one in list(self._running):
            await self._end(one)
        if self._playwright is not None:
            playwright, self._playwright = self._playwright, None
            async with asyncio.timeout(_CLOSE_S):
                await playwright.stop()

    def close(self) -> None:
        """End all browsers. Open contexts are lost; the next one starts a new browser."""
        running = list(self._running)
        with contextlib.suppress(Exception):
            self.call(self._end_all(), timeout_s=4 * _CLOSE_S)
        for one in running:
            one.kill()


def _marked(mark: str) -> Iterator[int]:
    """The process that leads a browser's group: the one that was given the mark."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark.encode() in (folder / "cmdline").read_bytes() and os.getpgid(int(folder.name)) == int(folder.name):
                yield int(folder.name)


_own: tuple[int, Browsers] | None = None
_own_lock = threading.Lock()


def browsers() -> Browsers:
    """This process's browsers. A forked child has its own."""
    global _own
    with _own_lock:
        if _own is None or _own[0] != os.getpid():
            _own = os.getpid(), Browsers()
        return _own[1]


@atexit.register
def close_browsers() -> None:
    """End all browsers of this process."""
    if _own is not None and _own[0] == os.getpid():
        _own[1].close()
