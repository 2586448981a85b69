"""One tab: what is going on in it, and calls into the page's world and into the script's own (`page.js`)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable
from functools import cache
from importlib.resources import files
from typing import Any

from sparring.envs.web.browser.limits import Limits
from sparring.errors import EnvFailed

_WORLD = "sparring"
# What Chromium says when a page is left while it is asked.
_LEFT = ("context with specified id", "context was destroyed", "navigated or closed", "Cannot find default execution")
_NOT_WAITED_FOR = ("WebSocket", "EventSource", "Ping", "Prefetch", "CSPViolationReport", "Preflight")


class PageFailed(EnvFailed):
    """The page hung, crashed or overstepped its limits."""


class PageLeft(Exception):
    """The page was left while a call into it ran."""


@cache
def script(name: str) -> str:
    """One of the package's scripts."""
    return (files("sparring.envs.web.browser") / name).read_text(encoding="utf-8")


class Tab:
    """A tab and what Chromium says of it. Everything here runs in the browsers' thread.

    Attributes:
        page: Playwright's. loading: whether it is on its way to another page.
        activity: counts requests and navigations. opening: windows that it has asked for and that are not there yet.
    """

    def __init__(self, page: Any, limits: Limits) -> None:
        self.page, self.limits = page, limits
        self.loading = False
        self.activity = self.opening = 0
        self.failed = ""
        self._cdp: Any = None
        self._frame = ""
        self._world: int | None = None
        self._requests: set[str] = set()
        self._given_up: set[str] = set()
        self._changed = asyncio.Event()
        self._failure: asyncio.Future[None] | None = None

    async def start(self, cdp: Any) -> None:
        """Listen, before anything else is done with the tab."""
        self._cdp = cdp
        self.page.on("crash", lambda _: self.fail("the page crashed"))
        for event, listener in {
            "Page.frameRequestedNavigation": self._requested,
            "Page.frameScheduledNavigation": self._starts,
            "Page.frameStartedLoading": self._starts,
            "Page.frameStoppedLoading": self._stops,
            "Page.frameNavigated": self._navigated,
            "Page.windowOpen": self._opens,
            "Network.requestWillBeSent": self._sends,
            "Network.loadingFinished": self._ends,
            "Network.loadingFailed": self._ends,
        }.items():
            cdp.on(event, listener)
        tree = await self.send("Page.getFrameTree")
        self._frame = tree["frameTree"]["frame"]["id"]
        await self.send("Page.enable")
        await self.send("Network.enable")

    def fail(self, reason: str) -> None:
        """Give the page up; whoever waits for it is told."""
        self.failed = self.failed or reason
        if self._failure is not None and not self._failure.done():
            self._failure.set_result(None)
        self._changed.set()

    def _requested(self, event: dict[str, Any]) -> None:
        if event.get("disposition") == "currentTab":
            self._starts(event)

    def _starts(self, event: dict[str, Any]) -> None:
        if event["frameId"] == self._frame:
            self.loading = True
            self.activity += 1

    def _stops(self, event: dict[str, Any]) -> None:
        if event["frameId"] == self._frame:
            self.loading = False
            self._changed.set()

    def _navigated(self, event: dict[str, Any]) -> None:
        if "parentId" not in event["frame"]:
            self._world = None
            self._requests.clear()
            self._given_up.clear()

    def _opens(self, event: dict[str, Any]) -> None:
        self.opening += 1

    def opened(self) -> None:
        """A window that it asked for is there, or was refused."""
        self.opening = max(0, self.opening - 1)
        self._changed.set()

    def _sends(self, event: dict[str, Any]) -> None:
        address = event["request"]["url"]
        if event.get("type") in _NOT_WAITED_FOR or address.endswith("/favicon.ico"):
            return
        self._requests.add(event["requestId"])
        self.activity += 1

    def _ends(self, event: dict[str, Any]) -> None:
        self._requests.discard(event["requestId"])
        self._changed.set()

    @property
    def busy(self) -> bool:
        """Whether it loads, waits for a window or for an answer from the network."""
        return self.loading or self.opening > 0 or bool(self._requests - self._given_up)

    async def quiet(self, deadline: float) -> bool:
        """Wait until it is no longer busy, by the events that say so; False if that takes past the deadline."""
        loop = asyncio.get_running_loop()
        while self.busy and not self.failed:
            self._changed.clear()
            try:
                async with asyncio.timeout(max(0.0, deadline - loop.time())):
                    await self._changed.wait()
            except TimeoutError:
                self._given_up |= self._requests
                self.loading, self.opening = False, 0
                return False
        return True

    async def within(self, work: Awaitable[Any], what: str) -> Any:
        """Wait for something that the page must do.

        Raises:
            PageFailed: it does not in time, it crashed, or it overstepped its limits meanwhile. Whatever `work` raises.
        """
        if self._failure is None:
            self._failure = asyncio.get_running_loop().create_future()
        if self.failed:
            self.fail(self.failed)
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait({task, self._failure}, timeout=self.limits.answer_s, return_when="FIRST_COMPLETED")
            if task.done() and not self.failed:
                return task.result()
        finally:
            if not task.cancel() and not task.cancelled():
                task.exception()  # seen, so that nothing is logged about it
        self.fail(f"the page hung: it did not answer to {what} within {self.limits.answer_s:g} s")
        raise PageFailed(self.failed)

    async def send(self, method: str, arguments: dict[str, Any] | None = None) -> Any:
        """Send Chromium a command.

        Raises:
            PageFailed: no answer in time, or the page is gone. PageLeft: the page was left meanwhile.
        """
        try:
            return await self.within(self._cdp.send(method, arguments or {}), method)
        except PageFailed:
            raise
        except Exception as error:
            if any(words in str(error) for words in _LEFT):
                raise PageLeft(str(error)) from error
            raise PageFailed(self.failed or f"{method} failed: {str(error)[:300]}") from error

    async def input(self, work: Awaitable[Any]) -> None:
        """Wait until the page has dealt with an input.

        Raises:
            PageFailed: it does not in time, or is gone.
        """
        try:
            await self.within(work, "an input")
        except PageFailed:
            raise
        except Exception as error:
            if self.page.is_closed():  # the input closed it
                return
            raise PageFailed(self.failed or f"the input failed: {str(error)[:300]}") from error

    async def ask(self, function: str, *arguments: object) -> Any:
        """Call one of `page.js`'s functions in its own world. Arguments go as JSON.

        Raises:
            PageFailed, PageLeft: as for `send`.
        """
        if self._world is None:
            made = await self.send("Page.createIsolatedWorld", {"frameId": self._frame, "worldName": _WORLD})
            await self._evaluate(script("page.js"), made["executionContextId"])
            self._world = made["executionContextId"]
        return await self._evaluate(f"sparring.{function}({','.join(map(json.dumps, arguments))})", self._world)

    async def evaluate(self, expression: str) -> Any:
        """Evaluate an expression of ours in the page's own world."""
        return await self._evaluate(expression, None)

    async def _evaluate(self, expression: str, world: int | None) -> Any:
        where = {} if world is None else {"contextId": world}
        answer = await self.send(
            "Runtime.evaluate", {"expression": expression, "returnByValue": True, "awaitPromise": True, **where}
        )
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            text = details.get("exception", {}).get("description") or details.get("text", "")
            raise PageFailed(f"a script failed in the page: {text[:300]}")
        return answer["result"].get("value")
