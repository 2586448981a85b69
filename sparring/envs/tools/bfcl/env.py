"""The Berkeley Function Calling Leaderboard as a Gymnasium environment (`sparring/BFCL-v1`; extra `bfcl`).

    env = sparring.make("BFCL-v1", category="multi_turn_base", style="hermes")
    text, info = env.reset(options={"split": "test"})     # what the user says first
    env.step('<tool_call>{"name": "ls", "arguments": {}}</tool_call>')   # what the simulator answers
    env.step("There you are.")                            # no call ends the turn; the user goes on

Patil et al., "The Berkeley Function Calling Leaderboard", ICML 2025; the package bfcl-eval 2026.3.23 (version 4 of its
data). Entries, simulators and the checkers that give the final reward are the package's.

Departures from its own runner:
1. A malformed call is answered with an error and the turn goes on; there it ends the turn.
2. Calls that would take for ever (powers of thousands of digits) are refused.
3. Entries are divided into train, dev and test (3:1:1) such that variants of a scenario stay together, so that one may
   train on some. `whole=True` has them all in test, as the leaderboard scores them.
Left out: Java and JavaScript, whose values are source text, and the categories that search the web or need an
embedding model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from sparring.envs.base import Info
from sparring.envs.tools.base import Docs, ToolEnv, World
from sparring.envs.tools.bfcl.checkers import gold_calls, multi_turn_valid, single_turn_valid
from sparring.envs.tools.bfcl.entries import GROUPS, Entry, entries
from sparring.envs.tools.bfcl.simulators import is_error, load, run, shown
from sparring.envs.tools.calls import Call, Style, write_calls
from sparring.envs.tools.schema import Tool
from sparring.errors import unknown

# Of the leaderboard: a turn may take so many steps, then the entry has failed.
MOST_STEPS = 20


class BFCL(ToolEnv):
    """Entries of the leaderboard: the reward is 1 where its checker finds them solved, at the end, else 0.

    Args:
        category: one of its categories, or `multi_turn`, or `single_turn`.
        whole: all entries are in the split test.
        style, docs, result_characters: as of every `ToolEnv`.
    Raises:
        UnknownName: no such category. MissingExtra: the package is not installed.
    """

    splits: ClassVar[tuple[str, ...]] = ("train", "dev", "test")
    state: ClassVar[tuple[str, ...]] = (*ToolEnv.state, "turns", "steps", "valid")
    clusters: ClassVar[str] = "scenarios"

    def __init__(
        self,
        category: str = "multi_turn_base",
        whole: bool = False,
        style: Style = "hermes",
        docs: Docs = "schemas",
        result_characters: int = 4000,
    ) -> None:
        super().__init__(style, docs, result_characters)
        if category not in GROUPS:
            raise unknown("category of BFCL", category, GROUPS)
        self._entries = {id: entry for one in GROUPS[category] for id, entry in entries(one).items()}
        self._ids: dict[str, list[str]] = {split: [] for split in self.splits}
        for id, entry in self._entries.items():
            self._ids["test" if whole else entry.split].append(id)
        self.task = next(iter(self._entries))
        self.turns: tuple[tuple[tuple[Call, ...], ...], ...] = ((),)
        self.steps, self.valid = 0, False

    @property
    def entry(self) -> Entry:
        """The entry under way."""
        return self._entries[self.task]

    def task_ids(self, split: str) -> Sequence[str]:
        """The ids of a split's entries, such as `multi_turn_base_17`.

        Raises:
            UnknownName: no such split.
        """
        if split not in self._ids:
            raise unknown("split", split, self.splits)
        return self._ids[split]

    def begin(self, task: str) -> tuple[str, World]:
        """The first turn."""
        self.turns, self.steps, self.valid, self.said = ((),), 0, False, self.entry.says[0]
        wish = (
            "Do what the user asks for by calling tools. Where no tool helps, say so. Text without a call ends a turn."
        )
        return wish, load(self.entry)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        text, info = super().reset(seed=seed, options=options)
        family = "multi_turn" if self.entry.classes else self.entry.category
        return text, info | {"cluster": f"{family} {self.entry.number}"}

    def tools(self) -> Sequence[Tool]:
        """The tools that can be called: those withheld until later as well, which some answers call early."""
        return self.entry.tools

    def offered(self) -> Sequence[Tool]:
        """The tools that the first turn gives."""
        withheld = {name for names in self.entry.missing.values() for name in names}
        return [tool for tool in self.entry.tools if tool.name not in withheld]

    def score(self) -> float:
        """What the leaderboard's checker found at the end."""
        return float(self.valid)

    def answered(self) -> None:
        """After an action without a call the user goes on, or it is the end."""
        turn = len(self.turns)
        if turn < len(self.entry.says):
            added = [tool for tool in self.entry.tools if tool.name in self.entry.missing.get(turn, ())]
            self.turns = (*self.turns, ())
            self.said = "\n".join([*self.described(added), self.entry.says[turn]])
            return
        self._end()

    def _end(self, failed: bool = False) -> None:
        self.ended, self.said = True, "done"
        if self.entry.classes:
            self.valid = not failed and multi_turn_valid(self.entry, self.turns)
        else:
            self.valid = single_turn_valid(self.entry, [call for step in self.turns[0] for call in step])

    def call_all(self, calls: Sequence[Call]) -> int:
        """Make the calls of an action; where one turn is all, they are its answer."""
        if not self.entry.classes:
            self.turns = ((tuple(calls),),)
            self._end()
            return 0
        errors = super().call_all(calls)
        known = {tool.name for tool in self.tools()}
        step = tuple(call for call in calls if call.name in known)
        self.turns = (*self.turns[:-1], (*self.turns[-1], step) if step else self.turns[-1])
        return errors

    def _act(self, action: str) -> tuple[str | None, int]:
        turn = len(self.turns)
        found = super()._act(action)
        self.steps = self.steps + 1 if len(self.turns) == turn else 0
        if self.steps >= MOST_STEPS and not self.ended:
            self._end(failed=True)
        return found

    def carry_out(self, tool: Tool, arguments: dict[str, Any]) -> tuple[Any, str | None]:
        """Let the simulators answer, which check arguments themselves."""
        result = run(self.world, Call(tool.name, arguments))
        if is_error(result):
            return None, result["error"] if isinstance(result, dict) else str(result)
        return shown(result), None

    def expert_action(self) -> str:
        """The answer's calls of this turn, then a word that ends it; for `live_relevance`, which has none, any call."""
        if self.entry.category == "live_relevance":
            return write_calls([Call(self.entry.tools[0].name)], self.style)
        gold = gold_calls(self.entry, len(self.turns) - 1) if self.entry.answers else ()
        if not gold or self.turns[-1]:
            return "Done."
        return write_calls(gold, self.style)
