"""The original's `WebAgentTextEnv`, with its calls and its session rules, over `session.Shop`.

For comparisons with the original and for code written against it; agents use the Gymnasium environment in
`env.py`. Both share `Shop.act`. What is the original's here and Gymnasium's there: `reset` returns `(obs, None)`,
`step` a four-tuple whose info is None; sessions persist, so that a known id keeps its first goal; nothing stops
after a purchase; random draws come from one generator that goes on from the goals' shuffle.
"""

from __future__ import annotations

import random
import string
from typing import Any

from sparring.envs.web.webshop.goals import weighted_index
from sparring.envs.web.webshop.pages import Page, with_history
from sparring.envs.web.webshop.session import Shop, Visit
from sparring.errors import InvalidConfig

MODES = ("text", "text_rich")


class Simulator:
    """One server with one browser.

    Args:
        shop: catalogue and goals. observation_mode: "text" or "text_rich".
        session_prefix: put in front of every session id.
        num_prev_obs, num_prev_actions: how many earlier ones `step` puts in front of what it returns.
        generator: of session ids, random goals and `search[<r>]`; None for the one that the goals leave behind.
    """

    def __init__(
        self,
        shop: Shop,
        observation_mode: str = "text",
        session_prefix: str | None = None,
        num_prev_obs: int = 0,
        num_prev_actions: int = 0,
        generator: random.Random | None = None,
    ) -> None:
        if observation_mode not in MODES:
            raise InvalidConfig(f'observation_mode must be "text" or "text_rich", got {observation_mode!r}')
        self.shop = shop
        self.observation_mode = observation_mode
        self.session_prefix = session_prefix
        self._num_prev = (num_prev_obs, num_prev_actions)
        self._generator = generator or shop.book.generator()
        self._visits: dict[str, Visit] = {}
        self._past: list[str] = []
        self._actions: list[str] = []
        self.visit: Visit
        self.instruction_text = ""
        self.reset()

    def reset(self, session: str | int | None = None, instruction_text: str | None = None) -> tuple[str, None]:
        """Start or re-enter a session.

        Args:
            session: an int takes that goal, unless its session is known already; a string draws a goal; None also
                draws the session id.
            instruction_text: only sets the attribute of that name.
        """
        if session is None:
            session_id = "".join(self._generator.choices(string.ascii_lowercase, k=10))
        else:
            session_id = str(session)
        session_id = (self.session_prefix or "") + session_id
        if session_id not in self._visits:
            goals = len(self.shop.book)
            if isinstance(session, int):
                if not -goals <= session < goals:
                    raise InvalidConfig(f"there is no goal {session}: goals run from 0 to {goals - 1}")
                goal = int(session) % goals
            else:
                goal = weighted_index(self.shop.book.weight_sums, self._generator)
            self._visits[session_id] = self.shop.enter(session_id, goal)
        self.visit = self.shop.start_page(self._visits[session_id])
        self._visits[session_id] = self.visit
        told = f"Instruction: {self.shop.goal(self.visit).instruction_text}"
        self.instruction_text = told if instruction_text is None else instruction_text
        self._past, self._actions = [self.observation], []
        return self.observation, None

    def step(self, action: str) -> tuple[str, float, bool, None]:
        """Take an action: (observation with history, reward, done, None)."""
        outcome = self.shop.act(self.visit, action, lambda: self._generator)
        self.visit = self._visits[self.visit.session_id] = outcome.visit
        self._actions.append(action)
        shown = with_history(self.observation, self._past, self._actions, *self._num_prev)
        self._past.append(self.observation)
        return shown, outcome.reward, outcome.done, None

    @property
    def page(self) -> Page:
        """The current page."""
        return self.shop.page(self.visit)

    @property
    def observation(self) -> str:
        """The current page in the observation mode, without history."""
        return self.observe(self.observation_mode)

    def observe(self, mode: str) -> str:
        """The current page in a given mode."""
        return self.shop.observe(self.visit, self.page, rich=mode == "text_rich")

    def available_actions(self) -> dict[str, Any]:
        """`has_search_bar` and `clickables`, as the original gives them."""
        page = self.page
        return {"has_search_bar": page.has_search_bar, "clickables": list(page.targets)}

    @property
    def session(self) -> dict[str, Any]:
        """The server's record of the current session, in the original's words."""
        visit = self.visit
        return {
            "keywords": list(visit.keywords) if visit.keywords is not None else None,
            "page": visit.number,
            "asin": None if visit.row is None else self.shop.catalogue.product(visit.row).asin,
            "asins": sorted(visit.seen),
            "options": dict(visit.options),
            "actions": dict(visit.counters),
            "done": visit.finished,
            "verbose_info": None if visit.parts is None else dict(visit.parts),
        }
