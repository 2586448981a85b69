"""A page of one's own as an environment (`sparring/Browser-v1`).

    from sparring.envs.web.browser.page import Browser
    from sparring.envs.web.browser.tasks import Listed, PageTask

    def sent(page):
        return page.title == "Thank you"

    env = Browser(Listed([PageTask("contact", "Send us a message.", check=sent)]), html="contact.html")

A page is a file or folder, served without a port, or an address whose origin is named in `origins`; nothing else can be
loaded. Tasks say how an episode is judged: a function of ours over what the page shows, an expected answer, or both.

Snapshots are replays, each turn checked. A page can do better by exposing its state: where it defines
`window.pageState = {get() {…}, set(state) {…}}` over a JSON value from which all of it is drawn, a snapshot is that
value. Elements of such a page are numbered anew in each observation, in the order of the document.

Without arguments the environment plays a to-do list (`todo.py`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal
from zlib import crc32

from sparring.envs.base import Info
from sparring.envs.web.browser import actions as act
from sparring.envs.web.browser.env import PageEnv, Verdict
from sparring.envs.web.browser.limits import Limits
from sparring.envs.web.browser.origins import Folder, Origins
from sparring.envs.web.browser.tasks import PageTask, Tasks, Visited
from sparring.envs.web.browser.todo import PAGE, TodoTasks
from sparring.envs.web.browser.view import View
from sparring.errors import InvalidConfig, unknown
from sparring.types import Snapshot, SnapshotKind

_STATE_CHARS = 1_000_000


class Browser(PageEnv):
    """Tasks on a page in Chromium.

    The reward is the score, given at the end: when a task's check reaches 1, or the agent answers or gives up.

    Args:
        tasks: what is to be done; None for the built-in to-do list.
        html: a file or folder to serve, as `http://page.localhost/`.
        origins: what may be loaded from the network, such as `https://example.org` or `http://127.0.0.1:8080`.
        observation, ids, verbs, boxes: see `View`. step_ms, width, height, limits: see `PageEnv`.
    Raises:
        InvalidConfig: nothing to load, or a task that begins outside of what may be loaded.
    """

    def __init__(
        self,
        tasks: Tasks | None = None,
        *,
        html: Path | str | None = None,
        origins: Sequence[str] = (),
        observation: Literal["tree", "html"] = "tree",
        ids: Literal["interactive", "all"] = "interactive",
        verbs: str = ",".join(act.VERBS),
        boxes: bool = False,
        step_ms: int | None = 500,
        width: int = 1280,
        height: int = 720,
        limits: Limits | None = None,
    ) -> None:
        view = View(observation, ids, tuple(verbs.split(",")), boxes)
        super().__init__(view, limits=limits, step_ms=step_ms, width=width, height=height)
        if tasks is None:
            tasks, html = TodoTasks(), html or PAGE
        if html is None and not origins:
            raise InvalidConfig("a page needs html=, a file or folder to serve, or origins= that may be loaded")
        if html is not None and not Path(html).exists():
            raise InvalidConfig(f"html names {str(html)!r:.200}, which does not exist")
        self.tasks = tasks
        self.splits = tasks.splits  # type: ignore[misc] # an instance's tasks decide which there are
        self._folder = Folder(Path(html)) if html is not None else None
        self._origins = Origins(tuple(origins), self._folder)
        self._exposed = False
        self._state: Any = None

    def task_ids(self, split: str) -> Sequence[str]:
        """The ids of a split's tasks."""
        if split not in self.splits:
            raise unknown("split", split, self.splits)
        return self.tasks.ids(split)

    @property
    def origins(self) -> Origins:
        """The served folder and the named origins."""
        return self._origins

    @property
    def task(self) -> PageTask:
        """The current task."""
        return self.tasks.task(self._task)

    def begin(self, task: str) -> str:
        """Load the page afresh, without cookies or storage, and set the state that the task begins with."""
        chosen = self.tasks.task(task)
        self.open(seed=crc32(task.encode()))
        url = chosen.start
        if "://" not in url:
            if self._folder is None:
                raise InvalidConfig(
                    f'the task "{task}" begins at "{url}", but there is no html= that this could lie in'
                )
            url = f"{self._folder.origin}/{url.lstrip('/')}"
        self.load(url)
        exposes = "typeof window.pageState?.get === 'function' && typeof window.pageState?.set === 'function'"
        self._exposed = bool(self.call(self.session.tab.evaluate(exposes)))
        self.session.renumbers = self._exposed
        if chosen.state is not None:
            if not self._exposed:
                raise InvalidConfig(f'the task "{task}" has a state, but its page defines no window.pageState')
            self._set_state(chosen.state)
        self._read_state()
        return chosen.instruction

    def _set_state(self, state: Any) -> None:
        self.call(self.session.tab.evaluate(f"void window.pageState.set({json.dumps(state)})"))
        self.look, _ = self.call(self.session.step(None))

    def _read_state(self) -> None:
        self._state = None
        if self._exposed:
            expression = f"(JSON.stringify(window.pageState?.get()) ?? 'null').slice(0, {_STATE_CHARS})"
            text = self.call(self.session.tab.evaluate(expression))
            try:
                self._state = json.loads(text)
            # Cut, because it is larger than a state should be; or no JSON: a page can put anything in JSON's place.
            except (TypeError, ValueError, RecursionError):
                self._exposed = False

    def judge(self, action: act.PageAction) -> Verdict:
        """The task's score, at the end."""
        self._read_state()
        said = action if isinstance(action, act.Say) else None
        visited = Visited(
            self.look,
            self._state,
            said.text if said is not None and not said.infeasible else None,
            said is not None and said.infeasible,
            lambda expression: self.call(self.session.tab.evaluate(expression)),
        )
        score = self.task.score(visited)
        if said is None and score < 1:
            return Verdict()
        return Verdict(score, True, {"score": score, "success": score == 1.0})

    def expert_action(self) -> str:
        """The next action of the tasks' own expert, where they have one.

        Raises:
            UnknownName: they have none.
        """
        expert = getattr(self.tasks, "expert_action", None)
        if expert is None:
            raise unknown("expert", type(self.tasks).__name__, (), "These tasks have no expert_action().")
        return str(expert(self.task, self.look))

    def snapshot(self) -> Snapshot:
        """Save the page's exposed state, or else the actions so far; they also serve where the state falls short."""
        replay = super().snapshot()
        if not self._exposed:
            return replay
        clock = self.call(self.session.tab.evaluate("window.__sparringClock.save()"))
        saved = (self._state, clock, self.session.copied, self.look.url, replay)
        return Snapshot(replay.env_id, SnapshotKind.COPY, saved)

    def restore(self, snapshot: Snapshot) -> tuple[str, Info]:
        """Bring a saved state back; where the page then shows something else, by taking the actions again.

        Raises:
            ReplayDiverged: these led elsewhere as well.
        """
        if snapshot.kind is not SnapshotKind.COPY or snapshot.env_id != type(self).__name__:
            return super().restore(snapshot)
        saved: Any = snapshot.state
        state, clock, copied, url, replay = saved
        task, played, generator, text = replay.state
        self._restart(task)
        if self._exposed and self.look.url == url:
            self._set_state(state)
            self.call(self.session.tab.evaluate(f"window.__sparringClock.load({json.dumps(clock)})"))
            self._read_state()
            self._show()
            if self._text == text and self._state == state:
                self._played = list(played)
                self.session.copied = copied
                self.np_random.bit_generator.state = generator
                return self.observe()
        return super().restore(replay)
