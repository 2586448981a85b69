"""What environments of tool calls share: reading calls, checking them, and answering by results or errors.

    class Counter(ToolEnv):
        finish = "stop"

        def task_ids(self, split):
            return [f"{split}/{number}" for number in range(5)]

        def begin(self, task):
            self.goal = int(task.rpartition("/")[2])
            return f"Count to {self.goal}, then stop.", {"count": 0}

        def tools(self):
            return ADD, STOP     # two of `sparring.envs.tools.schema.Tool`

        def score(self):
            return float(self.world["count"] == self.goal)

A call that can't be read or is unknown, wrong arguments, and a function that raises are answered in words, and the
episode goes on. Each function works on a copy of the world, so that one that raises half-way has changed nothing.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from sparring.envs.base import Info, TextEnv
from sparring.envs.tools.calls import Call, Said, Style, Unreadable, parse_calls, require_style, write_results
from sparring.envs.tools.schema import Tool, ToolError, every_call
from sparring.errors import InvalidConfig
from sparring.types import ActionSet

World = Any
Docs = Literal["schemas", "signatures", "none"]

HOW_TO_CALL: dict[Style, str] = {
    "hermes": 'Call a tool by <tool_call>{"name": tool, "arguments": {…}}</tool_call>.',
    "react": 'Call a tool by a line "Action: tool" and a line "Action Input: {…}" with its arguments in JSON.',
    "openai": 'Call a tool by {"tool_calls": [{"type": "function", "function": {"name": tool, "arguments": "{…}"}}]}.',
    "python": "Call a tool by tool(argument=value).",
}
_MOST_CALLS = 64


@dataclass(frozen=True, slots=True)
class Called:
    """A call that was made, and the error that it ran into, if any."""

    call: Call
    error: str | None = None


class ToolEnv(TextEnv):
    """An environment whose actions are calls of tools.

    A subclass implements `task_ids`, `begin`, `tools` and `score`. The reward is the score, given when the episode
    ends: by the tool that `finish` names, or, where it names none, by an action without a call.
    `info["tool_errors"]` counts the calls of an action that ran into an error.

    Class attributes:
        finish: name of the tool that ends the episode; None where text without a call does.

    Args:
        style: how calls are written (`sparring.envs.tools.calls`).
        docs: what the instruction says of tools: their schemas, a short line each, or nothing.
        result_characters: longer results are cut.
    Raises:
        InvalidConfig: no such style or docs, or no room for results.
    """

    state: ClassVar[tuple[str, ...]] = ("task", "world", "said", "log", "answer", "ended")
    finish: ClassVar[str | None] = None

    def __init__(self, style: Style = "hermes", docs: Docs = "schemas", result_characters: int = 4000) -> None:
        require_style(style)
        if docs not in get_args(Docs):
            raise InvalidConfig(f"docs must be one of {', '.join(get_args(Docs))}, got {docs!r}")
        if result_characters < 16:
            raise InvalidConfig(f"result_characters must be at least 16, got {result_characters}")
        self.style, self.docs, self.result_characters = style, docs, result_characters
        self.task, self.said, self.answer, self.ended = "", "", "", False
        self.world: World = None
        self.log: tuple[Called, ...] = ()

    # What a subclass implements

    def begin(self, task: str) -> tuple[str, World]:
        """The instruction and the world at the start of a task. A draw comes from `self.np_random`."""
        raise NotImplementedError

    def tools(self) -> Sequence[Tool]:
        """The tools of the task under way."""
        raise NotImplementedError

    def offered(self) -> Sequence[Tool]:
        """The tools that the instruction describes."""
        return self.tools()

    def score(self) -> float:
        """How good the world is now, from 0 to 1, when the agent is done."""
        raise NotImplementedError

    def actions(self) -> ActionSet | None:
        """What is admissible now: all calls where they can be listed, else None for anything."""
        return every_call(self.tools(), self.style) if self.finish else None

    # Gymnasium

    def observe(self) -> tuple[str, Info]:
        """What tools answered to the last action."""
        info: Info = {}
        if (actions := self.actions()) is not None:
            info["actions"] = actions
        if self.ended:
            score = self.score()
            info |= {"score": score, "success": score >= 1}
        return self.said, info

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        super().reset(seed=seed)
        self.task = self.choose_task(options)
        self.said, self.log, self.answer, self.ended = "ready", (), "", False
        instruction, self.world = self.begin(self.task)
        text, info = self.observe()
        return text, info | {"task": self.task, "instruction": self._with_docs(instruction)}

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        no_op, errors = self._act(action)
        text, info = self.observe()
        if no_op:
            info["no_op"] = no_op
        if errors:
            info["tool_errors"] = errors
        return text, float(info["score"]) if self.ended else 0.0, self.ended, False, info

    def _act(self, action: str) -> tuple[str | None, int]:
        """Carry an action out: why it means nothing, if so, and the number of calls that ran into an error."""
        try:
            found = parse_calls(action, self.style, {tool.name: tool.order for tool in self.tools()})
            self._require_meaning(found)
        except Unreadable as reason:
            self.said = write_results([("error", {"error": str(reason)})], self.style)
            return str(reason), 0
        if not found.calls:
            self.answer = found.text
            self.answered()
            return None, 0
        return None, self.call_all(found.calls)

    def _require_meaning(self, found: Said) -> None:
        if not found.calls and self.finish:
            raise Unreadable(f"there is no call in it. {HOW_TO_CALL[self.style]}")
        if not found.calls and not found.text:
            raise Unreadable("it is empty")
        if len(found.calls) > _MOST_CALLS:
            raise Unreadable(f"an action may make {_MOST_CALLS} calls, this one makes {len(found.calls)}")

    def answered(self) -> None:
        """Go on after an action without a call, whose text is in `answer`: here the episode ends."""
        self.ended, self.said = True, "done"

    def call_all(self, calls: Sequence[Call]) -> int:
        """Make the calls of an action, say what came of them, and return how many ran into an error."""
        results, errors = [], 0
        for call in calls:
            value, error = self._call(call)
            self.log = (*self.log, Called(call, error))
            results.append((call.name, self._clipped({"error": error} if error is not None else value)))
            errors += error is not None
            if call.name == self.finish and error is None:
                self.ended = True
                break
        self.said = write_results(results, self.style)
        return errors

    def _call(self, call: Call) -> tuple[Any, str | None]:
        """The value that a call returns, or the error that it ran into."""
        tools = {tool.name: tool for tool in self.tools()}
        tool = tools.get(call.name)
        if tool is None:
            return None, f"there is no tool {call.name[:40]!r}; there are {', '.join(sorted(tools))}"
        return self.carry_out(tool, {name: _listed(value) for name, value in call.arguments.items()})

    def carry_out(self, tool: Tool, arguments: dict[str, Any]) -> tuple[Any, str | None]:
        """Check the arguments and run the tool: the value that it returns, or the error that it ran into."""
        if problem := tool.problem(arguments):
            return None, problem
        world = copy.deepcopy(self.world)
        try:
            value = tool.function(world, **arguments)
            json.dumps(value)
        except ToolError as error:
            return None, str(error)
        except (Exception, SystemExit) as error:  # a broken tool is the agent's to see, and costs nobody the run
            return None, f"the tool failed: {type(error).__name__}: {str(error)[:200]}"
        self.world = world
        return value, None

    def _clipped(self, value: Any) -> Any:
        """The value, or the beginning of its JSON where that is too long."""
        written = json.dumps(value, ensure_ascii=False)
        if len(written) <= self.result_characters:
            return value
        left = len(written) - self.result_characters
        return f"{written[: self.result_characters]}… ({left:,} characters more)"

    def _with_docs(self, instruction: str) -> str:
        if self.docs == "none":
            return instruction
        return "\n".join(["Tools:", *self.described(self.offered()), HOW_TO_CALL[self.style], "", instruction])

    def described(self, tools: Sequence[Tool]) -> list[str]:
        """A line for each tool, as `docs` says."""
        if self.docs == "none":
            return []
        return [json.dumps(tool.document) if self.docs == "schemas" else tool.signature for tool in tools]


def _listed(value: Any) -> Any:
    """Tuples as the lists that JSON Schema knows."""
    if isinstance(value, (list, tuple)):
        return [_listed(one) for one in value]
    if isinstance(value, dict):
        return {key: _listed(one) for key, one in value.items()}
    return value
