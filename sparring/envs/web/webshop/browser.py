"""WebShop in a real browser (`sparring/WebShopBrowser-v1`): the site over the text environment's visits, in Chromium.

Goals, splits, rewards and the state behind the pages are those of `sparring/WebShop-v1`; what differs is how an agent
sees and acts: a page of `view.py`, and the grammar of `browser/actions.py`. A search is two actions, filling the
field and pressing the button.

    env = sparring.make("WebShopBrowser-v1")
    text, info = env.reset(seed=0)
    env.step("fill[1] red running shoes")
    env.step("click[2]")
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from sparring.envs.base import Info
from sparring.envs.web.browser import actions as act
from sparring.envs.web.browser.env import PageEnv, Verdict
from sparring.envs.web.browser.limits import Limits
from sparring.envs.web.browser.origins import Origins
from sparring.envs.web.browser.view import Node, View
from sparring.envs.web.webshop.catalogue import SPLITS
from sparring.envs.web.webshop.env import WebShop
from sparring.envs.web.webshop.expert import next_action
from sparring.envs.web.webshop.goals import Goal, GoalKind
from sparring.envs.web.webshop.pages import Kind, parse_action
from sparring.envs.web.webshop.session import Visit
from sparring.envs.web.webshop.site.pages import controls
from sparring.envs.web.webshop.site.site import Site
from sparring.envs.web.webshop.splits import Division, TaskIds

VERBS = ("click", "fill", "press", "scroll", "back")


class WebShopBrowser(PageEnv):
    """Find and buy, in Chromium, a product that fits an instruction.

    `info` holds what that of `WebShop` holds of the task and at a purchase.

    Args:
        catalogue, goals, split, goal_seed, show_attrs, splits: as for `WebShop`.
        observation: `tree` or `html`. verbs: of the actions that are admitted, separated by commas.
        boxes: whether positions are shown. limits: what a page may cost.
    """

    splits: ClassVar[tuple[str, ...]] = SPLITS
    clusters: ClassVar[str] = "products"

    def __init__(
        self,
        catalogue: Path | str | None = None,
        goals: GoalKind = "synthetic",
        split: str = "train",
        goal_seed: int = 0,
        show_attrs: bool = False,
        splits: Division | None = None,
        *,
        observation: Literal["tree", "html"] = "tree",
        verbs: str = ",".join(VERBS),
        boxes: bool = False,
        limits: Limits | None = None,
    ) -> None:
        super().__init__(View(observation, "interactive", tuple(verbs.split(",")), boxes, address=False), limits=limits)
        self._text_env = WebShop(catalogue, goals, split, goal_seed, show_attrs=show_attrs, splits=splits)
        self.shop = self._text_env.shop
        self.site = Site(self.shop, None)
        self.visit: Visit = self._text_env.visit

    def task_ids(self, split: str) -> TaskIds:
        """The ids of a split's goals: `synthetic-17` or `human-3`."""
        return self._text_env.task_ids(split)

    def choose_task(self, options: dict[str, Any] | None) -> str:
        """As `WebShop` chooses."""
        self._text_env._np_random = self.np_random
        return self._text_env.choose_task(options)

    @property
    def goal(self) -> Goal:
        """The current goal."""
        return self.shop.goal(self.visit)

    @property
    def origins(self) -> Origins:
        """The shop and nothing else."""
        return Origins(site=self.site)

    def begin(self, task: str) -> str:
        """Enter the shop with the task's goal, in a page without a past."""
        self.open()
        self.site.clear()
        goal = int(task.rpartition("-")[2])
        self.load(self.site.origin + self.site.enter(goal))
        self.visit = self.shop.enter(str(goal), goal)
        return self.goal.instruction_text

    def judge(self, action: act.PageAction) -> Verdict:
        """What was bought, if the page shows a purchase."""
        shown = self.site.at(self.look.url)
        if shown is None:
            return Verdict()
        before, (self.visit, outcome) = self.visit, shown
        info: Info = {"no_op": outcome.no_op} if outcome.no_op is not None and self.visit == before else {}
        if self.visit.kind is not Kind.DONE:
            return Verdict(info=info)
        reward = float(self.visit.reward or 0.0)
        return Verdict(reward, True, {**(self.visit.parts or {}), "score": reward, "success": reward == 1.0})

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        """Begin an episode; options as for `WebShop`."""
        text, info = super().reset(seed=seed, options=options)
        return text, info | {"goal": self.visit.goal, "cluster": self.goal.asin}

    def translate(self, action: str) -> list[str]:
        """The actions in the browser that do what an action of the text environment does on the page shown now.

        A search that stands in its field already needs only the button.
        """
        name, argument = parse_action(action)
        if name == "search" and argument is not None:
            field, button = self.look.find("searchbox"), self.look.find("button", "Search")
            if field is None or button is None:
                return []
            filled = [] if field.value == argument else [f"fill[{field.number}] {argument}"]
            return [*filled, f"click[{button.number}]"]
        names = [one.name for one in controls(self.shop, self.visit)]
        links: list[Node] = [one for one in self.look.nodes if one.role == "link" and one.number is not None]
        if name != "click" or argument not in names or len(links) != len(names):
            return []
        return [f"click[{links[names.index(argument)].number}]"]

    def expert_action(self) -> str:
        """The next action towards what the text environment's oracle does next."""
        translated = self.translate(next_action(self.shop, self.visit))
        return translated[0] if translated else "back"
