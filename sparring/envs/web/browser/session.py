"""A context of a browser with its tabs: acting, waiting until the page has settled, and looking at it.

What a page does beside its content (dialogs, windows, downloads) is answered here, reported as a notice, and bounded
by `Limits`.
"""

from __future__ import annotations

import asyncio
import base64
from typing import Any

from sparring.envs.web.browser import actions as act
from sparring.envs.web.browser.limits import Limits
from sparring.envs.web.browser.origins import Origins
from sparring.envs.web.browser.pool import Browser, Browsers, Settings
from sparring.envs.web.browser.tab import PageFailed, PageLeft, Tab, script
from sparring.envs.web.browser.view import Look, View, one_line, read
from sparring.errors import EnvFailed

_ROUNDS = 8
_LOOKS = 3
_TYPED_AT_ONCE = 50
_MODIFIER_BITS = {"Alt": 1, "Control": 2, "Shift": 8}
_REASONS = {
    "gone": "there is no element with this number any more",
    "hidden": "this element is not shown now",
    "fixed": "this field can't be changed",
    "no field": "this is no field to write in",
    "no value": "this field does not take such a value",
    "no list": "this is no list to select from",
    "no option": "the list has no such option, or it is disabled",
    "end": "there is nothing further that way",
}
_STILL = (
    "addEventListener('DOMContentLoaded', () => { const style = document.createElement('style'); style.textContent = "
    "'*,*::before,*::after{transition:none!important;animation-duration:0s!important;animation-delay:0s!important;"
    "caret-color:transparent!important;scroll-behavior:auto!important}'; document.head?.append(style); });"
)


def before_pages(seed: int, virtual: bool) -> str:
    """The script that runs before each page's own: fixed time and chance, unless the page shall have real ones."""
    return script("determinism.js").replace("__SEED__", str(seed % (1 << 32))) + _STILL if virtual else ""


class Session:
    """An open context. Everything here runs in the browsers' thread (`Browsers.call`).

    Args:
        owner: the browsers that it belongs to. limits: see `Limits`. view: what is looked at.
        step_ms: how far a page's time goes on with each action; None leaves it real time.
    Attributes:
        renumbers: whether elements get new numbers with each look, in the order of the document.
        copied: what was cut or copied last. Chromium's own clipboard is one for a whole browser, and nothing is ever
            pasted from it.
    """

    def __init__(self, owner: Browsers, origins: Origins, limits: Limits, view: View, step_ms: int | None) -> None:
        self._owner, self._origins, self._limits, self._view, self._step_ms = owner, origins, limits, view, step_ms
        self.renumbers = False
        self.copied = ""
        self._browser: Browser | None = None
        self._context: Any = None
        self._tabs: list[Tab] = []
        self._starting = 0
        self._at = 0
        self._notices: list[str] = []
        self._dialogs = self._popups = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    async def open(
        cls,
        owner: Browsers,
        origins: Origins,
        settings: Settings,
        limits: Limits,
        view: View,
        step_ms: int | None,
    ) -> Session:
        """Open a context with one empty tab."""
        self = cls(owner, origins, limits, view, step_ms)
        self._browser, self._context = await owner.open_context(origins.hosts, settings)
        try:
            await self._context.route(origins.refused, self._refuse)
            await self._context.route_web_socket(origins.refused_sockets, self._refuse_socket)
            if origins.site is not None:
                await self._context.route(origins.site.origin + "/**", self._serve)
            page = await self._context.new_page()
            await self._add(page)
            self._context.on("page", self._window)
        except BaseException as error:
            await self.close()
            if isinstance(error, EnvFailed) or not isinstance(error, Exception):
                raise
            raise PageFailed(f"the browser opened no page: {str(error)[:300]}") from error
        return self

    async def close(self) -> None:
        """Close the context with all its tabs."""
        for task in self._tasks:
            task.cancel()
        if self._browser is not None:
            browser, self._browser = self._browser, None
            await self._owner.close_context(browser, self._context)

    @property
    def tab(self) -> Tab:
        """The current tab."""
        return self._tabs[self._at]

    # --- what pages do by themselves -------------------------------------------------------------------------------

    async def _refuse(self, route: Any) -> None:
        if route.request.is_navigation_request():
            self._notice(f"not allowed here: {route.request.url[:200]}")
        await route.abort("aborted")

    async def _refuse_socket(self, socket: Any) -> None:
        await socket.close(code=1008, reason="not allowed here")

    async def _serve(self, route: Any) -> None:
        site = self._origins.site
        assert site is not None
        target = route.request.url[len(site.origin) :] or "/"
        try:
            answer = site.reply(target)
        except Exception as error:  # a mistake in a site of ours must not hang the page that waits for it
            self.tab.fail(f"the site failed: {type(error).__name__}: {error}")
            await route.abort("failed")
            return
        await route.fulfill(status=answer.status, content_type=answer.content_type, body=answer.body)

    async def _add(self, page: Any) -> None:
        tab = Tab(page, self._limits)
        page.on("dialog", lambda dialog: self._later(self._answer(tab, dialog)))
        page.on("download", lambda download: self._notice(f"download refused: {download.suggested_filename[:100]}"))
        page.on("filechooser", lambda chooser: self._notice("there are no files to choose from"))
        page.on("close", lambda _: self._gone(tab))
        await tab.start(await self._context.new_cdp_session(page))
        self._tabs.append(tab)

    def _later(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, tab: Tab, dialog: Any) -> None:
        self._dialogs += 1
        if self._dialogs > self._limits.dialogs:
            tab.fail(f"the page opened more than {self._limits.dialogs} dialogs in one step")
            return
        if dialog.type != "beforeunload":
            self._notice(f'{dialog.type} "{dialog.message[: self._limits.text_chars]}", accepted')
        try:
            await dialog.accept()
        except Exception:  # the page is gone, and the dialog with it
            return

    def _window(self, page: Any) -> None:
        self._later(self._take(page))

    async def _take(self, page: Any) -> None:
        opener = self.tab
        self._popups += 1
        try:
            if self._popups > self._limits.popups:
                opener.fail(f"the page opened more than {self._limits.popups} windows in one step")
            elif len(self._tabs) + self._starting >= self._limits.tabs:
                await page.close()
                self._notice("a window too many was closed")
            else:
                self._starting += 1  # others may come while this one is waited for
                try:
                    await self._add(page)
                finally:
                    self._starting -= 1
                async with asyncio.timeout(self._limits.settle_s):
                    await page.wait_for_load_state()
                self._at = len(self._tabs) - 1
                self._notice("a new tab opened")
        except Exception:  # it was closed again, or does not load: the tabs that are there are what counts
            return
        finally:
            opener.opened()

    def _gone(self, tab: Tab) -> None:
        if tab in self._tabs and len(self._tabs) > 1:
            place = self._tabs.index(tab)
            self._tabs.remove(tab)
            self._at = min(self._at - (place <= self._at and self._at > 0), len(self._tabs) - 1)
        elif tab in self._tabs:
            tab.fail("the page closed its last tab")

    def _notice(self, text: str) -> None:
        if len(self._notices) < 10:
            self._notices.append(one_line(text))

    # --- acting, waiting, looking ------------------------------------------------------------------------------------

    async def goto(self, url: str) -> str | None:
        """Load an address in the current tab; returns why it did not."""
        if not self._origins.allow(url):
            return f"not allowed here: {url[:200]}"
        tab = self.tab
        try:
            await tab.page.goto(url, wait_until="load", timeout=1000 * self._limits.settle_s)
        except Exception as error:
            if tab.failed:
                raise PageFailed(tab.failed) from error
            if "Timeout" in type(error).__name__:  # a page that never ends loading is looked at as it stands
                return None
            return f"{url[:200]} could not be loaded"
        return None

    async def step(self, action: act.PageAction | None) -> tuple[Look, str | None]:
        """Act (unless None), wait until the page has settled, and look.

        Returns:
            What it shows, and why the action did nothing where it did nothing.
        Raises:
            PageFailed: the page hung, crashed, or overstepped its limits.
        """
        self._notices, self._dialogs, self._popups = [], 0, 0
        reason = None
        if action is not None:
            try:
                reason = await self._act(action)
            except PageLeft:  # the action led away before it had ended
                reason = None
        await self._settle(advance=action is not None and reason is None)
        return await self.look(), reason

    async def look(self) -> Look:
        """What the current tab shows."""
        settings = {
            "text_chars": self._limits.text_chars, "nodes": self._limits.nodes, "ids": self._view.ids,
            "exclude": self._view.exclude, "renumber": self.renumbers,
        }  # fmt: skip
        for _ in range(_LOOKS):
            try:
                found = await self.tab.ask("look", settings)
                break
            except PageLeft:
                await self._settle(advance=False)
        else:
            raise PageFailed("the page never stands still: it is left again whenever it is looked at")
        self.copied = self.copied if found["copied"] is None else str(found["copied"])
        titles = [found["title"]]
        if len(self._tabs) > 1:
            titles = [(await self._title(one))[:80] for one in self._tabs]
        return read(found, self._notices, titles, self._at + 1)

    async def _title(self, tab: Tab) -> str:
        try:
            return str(await tab.ask("title"))
        except (PageFailed, PageLeft):
            return "(does not answer)"

    async def screenshot(self) -> bytes:
        """The current view as PNG."""
        # Not Playwright's own call, which stops the page's animations (there are none) and takes twice as long.
        shot = await self.tab.send("Page.captureScreenshot", {"format": "png", "optimizeForSpeed": True})
        return base64.b64decode(shot["data"])

    async def _settle(self, advance: bool) -> None:
        """Wait for what the action set going: other pages, requests, windows; then let the page's time go on."""
        deadline = asyncio.get_running_loop().time() + self._limits.settle_s
        for _ in range(_ROUNDS):
            tab = self.tab
            if tab.failed:
                raise PageFailed(tab.failed)
            before = tab.activity
            try:
                await tab.ask("turn" if self._step_ms is not None else "frame")
                in_time = await tab.quiet(deadline)
                if advance and self._step_ms is not None and self.tab is tab:
                    advance = False
                    await tab.evaluate(f"window.__sparringClock?.advance({self._step_ms})")
                elif self._step_ms is None:
                    await tab.ask("frame")
            except PageLeft:
                continue
            if tab.failed:
                raise PageFailed(tab.failed)
            if not in_time or (self.tab is tab and not tab.busy and tab.activity == before):
                return

    async def _act(self, action: act.PageAction) -> str | None:
        tab = self.tab
        if isinstance(action, act.Click):
            return await self._click(tab, action)
        if isinstance(action, act.Fill):
            return await self._fill(tab, action)
        if isinstance(action, act.Type):
            return await self._type(tab, action)
        if isinstance(action, act.Select):
            return _REASONS.get(await tab.ask("choose", action.element, action.option))
        if isinstance(action, act.Press):
            await self._press(tab, action.key)
        elif isinstance(action, act.Scroll):
            dx, dy = {"up": (0, -1), "down": (0, 1), "left": (-1, 0), "right": (1, 0)}[action.direction]
            return _REASONS.get(await tab.ask("scroll", action.element, dx, dy))
        elif isinstance(action, act.Drag):
            return await self._drag(tab, action)
        elif isinstance(action, act.Goto):
            return await self.goto(action.url)
        elif isinstance(action, act.Tab):
            return await self._change_tab(action.number)
        elif isinstance(action, act.Simple):
            return await self._simple(tab, action)
        return None

    async def _simple(self, tab: Tab, action: act.Simple) -> str | None:
        if action.verb == "wait":
            return None
        if action.verb == "close_tab":
            if len(self._tabs) == 1:
                return "the only tab stays open"
            self._gone(tab)
            await tab.input(tab.page.close())
            return None
        if (await tab.send("Page.getNavigationHistory"))["currentIndex"] == 0:
            return "there is no earlier page"
        try:
            await tab.page.go_back(timeout=1000 * self._limits.settle_s)
        except Exception:  # it does not load in time, or is refused: what is there is looked at
            pass
        return None

    async def _change_tab(self, number: int) -> str | None:
        if not 1 <= number <= len(self._tabs):
            return f"there is no tab {number}, only {len(self._tabs)}"
        self._at = number - 1
        await self.tab.input(self.tab.page.bring_to_front())
        return None

    async def _click(self, tab: Tab, action: act.Click) -> str | None:
        point = await self._point(tab, action.place)
        if isinstance(point, str):
            return point
        mouse = tab.page.mouse
        await tab.input(mouse.move(*point) if action.hover else mouse.click(*point))
        return None

    async def _type(self, tab: Tab, action: act.Type) -> str | None:
        reason = None if action.place is None else await self._click(tab, act.Click(action.place))
        if reason is None:
            for start in range(0, len(action.text), _TYPED_AT_ONCE):  # each key is an input that may take its time
                await tab.input(tab.page.keyboard.type(action.text[start : start + _TYPED_AT_ONCE]))
        return reason

    async def _press(self, tab: Tab, key: str) -> None:
        *modifiers, last = key.split("+") if key != "+" else [key]
        if "Control" not in modifiers or last not in ("v", "V"):
            await tab.input(tab.page.keyboard.press(key))
            return
        # Without its legacy code the key means no more to Chromium than to the page: nothing is pasted by it, in no
        # frame. So the text is the session's own, or none.
        bits = sum(_MODIFIER_BITS[one] for one in set(modifiers))
        stroke = {"key": last, "code": "KeyV", "modifiers": bits}
        for one in modifiers:
            await tab.input(tab.page.keyboard.down(one))
        await tab.ask("awaitKey")
        for kind in ("rawKeyDown", "keyUp"):
            await tab.send("Input.dispatchKeyEvent", {**stroke, "type": kind})
        for one in reversed(modifiers):
            await tab.input(tab.page.keyboard.up(one))
        if "Alt" not in modifiers and await tab.ask("paste", self.copied):
            await tab.input(tab.page.keyboard.insert_text(self.copied))

    async def _fill(self, tab: Tab, action: act.Fill) -> str | None:
        answer = await tab.ask("enter", action.element, action.text)
        if answer == "ready":
            await tab.input(tab.page.keyboard.insert_text(action.text))
        return _REASONS.get(answer)

    async def _drag(self, tab: Tab, action: act.Drag) -> str | None:
        start = await self._point(tab, action.start)
        end = await self._point(tab, action.end) if not isinstance(start, str) else start
        if isinstance(action.end, int) and not isinstance(end, str):
            start = await self._point(tab, action.start, scroll=False)  # the second look may have scrolled
        if isinstance(start, str) or isinstance(end, str):
            return start if isinstance(start, str) else str(end)
        mouse = tab.page.mouse
        for work in (mouse.move(*start), mouse.down(), mouse.move(*end, steps=5), mouse.up()):
            await tab.input(work)
        return None

    async def _point(self, tab: Tab, place: act.Place, scroll: bool = True) -> tuple[float, float] | str:
        """Where a place is in the view, or why it is nowhere."""
        if isinstance(place, tuple):
            size = tab.page.viewport_size or {"width": 0, "height": 0}
            inside = place[0] < size["width"] and place[1] < size["height"]
            return place if inside else f"the point {place[0]},{place[1]} is outside of the view"
        found = await tab.ask("locate", place, scroll)
        return _REASONS[found] if isinstance(found, str) else (found["x"], found["y"])
