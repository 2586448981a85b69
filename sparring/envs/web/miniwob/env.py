"""MiniWoB++ (`sparring/MiniWoB-v1`): 130 small tasks on pages of 160 by 210 pixels.

Shi et al., "World of Bits", ICML 2017; Liu et al., arXiv:1802.08802. The pages are those of the package `miniwob`.

    env = sparring.make("MiniWoB-v1", task="click-button,enter-text")
    text, info = env.reset(seed=0, options={"split": "test"})
    env.step("click[3]")

What differs from the package's own environment, on purpose:

1. A page's time goes on by `step_ms` with each action and stands still in between. There is no time limit of ten
   seconds, and the reward is the raw one, which the package calls `raw_reward`: it does not decay with time.
2. An episode begins by `Math.seedrandom(seed)` in the page. Most pages are then set back by the page's own
   `startEpisodeReal`, which takes milliseconds; those that keep something of the last episode are loaded again.
3. Elements are those of `page.js` with numbers by first sight, not the package's references.
"""

from __future__ import annotations

import json
from typing import ClassVar, Literal

from sparring.envs.text.seeded_tasks import SPLITS, seed_of
from sparring.envs.web.browser import actions as act
from sparring.envs.web.browser.env import PageEnv, Verdict
from sparring.envs.web.browser.limits import Limits
from sparring.envs.web.browser.origins import Folder, Origins
from sparring.envs.web.browser.view import Look, View
from sparring.envs.web.miniwob import tasks
from sparring.envs.web.miniwob.experts import EXPERTS
from sparring.errors import InvalidConfig, unknown

_ORIGIN = "http://miniwob.localhost"
_NEVER_MS = 1_000_000_000
# Where the mouse waits for the episode: what lies under it would show that it does.
_BESIDE = (495, 235)
_NOT_OF_THE_TASK = "#reward-display, #sync-task-cover, #click-canvas, #query"
VERBS = ("click", "fill", "select", "press", "scroll", "type", "drag", "hover", "wait")


class MiniWoB(PageEnv):
    """Small tasks on small pages; ids are `name/split/number`, such as `click-test/train/17`.

    The reward is the page's raw one, within -1 and 1, and comes with the end. The score is the reward, but at least
    0; success is a reward of 1. Splits differ in their seeds; on `test` a page that has a distribution of its own
    for tests uses it.

    Args:
        task: names of the package's tasks, separated by commas; `all` for every one.
        observation: `tree` or `html` (see `View`). ids: `all` elements get numbers, or only `interactive` ones.
        verbs: of the actions that are admitted, separated by commas.
        boxes: whether positions are shown. step_ms: how far time goes on with each action.
        train_tasks, dev_tasks, test_tasks: how many seeds of each task a split has.
    Raises:
        UnknownName: no such task. MissingExtra: a package, or Chromium, is not installed.
    """

    splits: ClassVar[tuple[str, ...]] = SPLITS

    def __init__(
        self,
        task: str = "click-test",
        *,
        observation: Literal["tree", "html"] = "tree",
        ids: Literal["interactive", "all"] = "all",
        verbs: str = ",".join(VERBS),
        boxes: bool = False,
        step_ms: int = 500,
        train_tasks: int = 1_000,
        dev_tasks: int = 100,
        test_tasks: int = 100,
        limits: Limits | None = None,
    ) -> None:
        known = tasks.names()
        self.names = known if task == "all" else tuple(one.strip() for one in task.split(","))
        for name in self.names:
            if name not in known:
                raise unknown("MiniWoB task", name, known)
        if len(set(self.names)) != len(self.names):
            raise InvalidConfig(f"a task is named twice: {task}")
        view = View(observation, ids, tuple(verbs.split(",")), boxes, address=False, exclude=_NOT_OF_THE_TASK)
        super().__init__(view, limits=limits, step_ms=step_ms, width=500, height=240)
        counts = zip(SPLITS, (train_tasks, dev_tasks, test_tasks), strict=True)
        self._ids = {split: tasks.TaskIds(self.names, split, count) for split, count in counts}
        self._loaded = ""

    def task_ids(self, split: str) -> tasks.TaskIds:
        """`name/split/number`, a seed of each task and then the next seed."""
        if split not in self._ids:
            raise unknown("split", split, SPLITS)
        return self._ids[split]

    @property
    def origins(self) -> Origins:
        """The package's pages and nothing else."""
        return Origins(site=Folder(tasks.folder(), _ORIGIN))

    @property
    def name(self) -> str:
        """The name of the current task."""
        return self._task.partition("/")[0]

    def begin(self, task: str) -> str:
        """Set the page back, or load it, and start its episode with the task's seed."""
        name, _, seeded = task.partition("/")
        if not self.is_open:
            self.open()
            self._loaded = ""
        if self._loaded != name or name in tasks.RELOADED:
            self.load(f"{_ORIGIN}/miniwob/{name}.html")
            self._loaded = name
        mode = "test" if seeded.startswith("test/") else "train"
        self.look, instruction = self.call(self._start(seed_of(seeded), mode))
        return instruction

    async def _start(self, seed: int, mode: str) -> tuple[Look, str]:
        tab, self.session.copied = self.session.tab, ""
        await tab.input(tab.page.mouse.move(*_BESIDE))
        instruction = await tab.evaluate(
            f"(async () => {{ __sparringClock.restart(); document.activeElement?.blur(); scrollTo(0, 0); "
            f"core.EPISODE_MAX_TIME = {_NEVER_MS}; core.setDataMode({json.dumps(mode)}); "
            f"document.querySelectorAll('[data-tampered]').forEach((one) => one.removeAttribute('data-tampered')); "
            f"Math.seedrandom({json.dumps(str(seed))}); core.startEpisodeReal(); "
            "await __sparringClock.advance(0); return core.getUtterance(); })()"
        )
        await tab.ask("forget")
        look, _ = await self.session.step(None)
        return look, str(instruction)

    def judge(self, action: act.PageAction) -> Verdict:
        """The page's own raw reward, once it says that the episode is over."""
        over, raw = self.call(self.session.tab.evaluate("[WOB_DONE_GLOBAL, WOB_RAW_REWARD_GLOBAL]"))
        if not over:
            return Verdict()
        reward = float(raw)
        return Verdict(reward, True, {"score": min(max(reward, 0.0), 1.0), "success": reward >= 1.0})

    def expert_action(self) -> str:
        """The next action of the task's scripted expert.

        Raises:
            UnknownName: it has none.
        """
        if self.name not in EXPERTS:
            raise unknown("expert for the MiniWoB task", self.name, EXPERTS)
        return EXPERTS[self.name](self._instruction, self.look)

    def close(self) -> None:
        """Close the context."""
        self._loaded = ""
        super().close()
