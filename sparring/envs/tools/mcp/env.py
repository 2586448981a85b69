"""Tasks for the tools of an MCP server as a Gymnasium environment (`sparring/MCP-v1`; extra `mcp`).

    env = sparring.make("MCP-v1", command=["python", "notes_server.py"], tasks="notes.jsonl")
    text, info = env.reset(options={"task": "milk"})
    env.step('<tool_call>{"name": "add_note", "arguments": {"text": "milk"}}</tool_call>')
    env.step("Done.")     # no call ends the episode: then the task's checks are made

Each episode has a server of its own, so that no state is left over. What is run is `command` alone, which whoever makes
the environment gives: neither a task nor a model can name a program. Model Context Protocol, revision 2025-06-18, by
the official SDK.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from sparring.envs.base import Info
from sparring.envs.tools.base import Docs, ToolEnv, World
from sparring.envs.tools.calls import Style
from sparring.envs.tools.mcp.server import Server
from sparring.envs.tools.mcp.tasks import SPLITS, Task, read_tasks
from sparring.envs.tools.schema import Tool, ToolError
from sparring.errors import EnvFailed, EnvNotSearchable, InvalidConfig, ReplayDiverged, need, unknown
from sparring.types import Snapshot, SnapshotKind


class MCP(ToolEnv):
    """Tasks for the tools of a server.

    The score is 1 where all checks of the task hold at the end, else 0. Snapshots begin a new server and repeat the
    actions, each of which must be answered as before.

    Args:
        command: the server's program and arguments, as a list or in one line.
        tasks: a file of tasks (`sparring.envs.tools.mcp.tasks`).
        hidden: tools that only setup and checks may call, such as one that shows all state.
        start_timeout_s, call_timeout_s: how long a server may take to start and to answer.
        style, docs, result_characters: as of every `ToolEnv`.
    Raises:
        InvalidConfig: there is no such program, or a time is not positive. InvalidData: the tasks can't be read.
        MissingExtra: the package mcp is not installed.
    """

    splits: ClassVar[tuple[str, ...]] = SPLITS
    snapshot_kind: ClassVar[SnapshotKind | None] = SnapshotKind.REPLAY

    def __init__(
        self,
        command: Sequence[str] | str,
        tasks: str | Path,
        hidden: Sequence[str] = (),
        start_timeout_s: float = 30,
        call_timeout_s: float = 30,
        style: Style = "hermes",
        docs: Docs = "schemas",
        result_characters: int = 4000,
    ) -> None:
        super().__init__(style, docs, result_characters)
        need("mcp", "mcp")
        self._command = shlex.split(command) if isinstance(command, str) else [str(part) for part in command]
        if not self._command or shutil.which(self._command[0]) is None:
            raise InvalidConfig(f"command must begin with a program that can be found, got {self._command[:1]}")
        if not (start_timeout_s > 0 and call_timeout_s > 0):
            raise InvalidConfig(f"timeouts must be above 0 s, got {start_timeout_s} and {call_timeout_s}")
        self._start_timeout_s, self._call_timeout_s = start_timeout_s, call_timeout_s
        self._tasks = read_tasks(Path(tasks))
        self._hidden = frozenset(hidden)
        self._server: Server | None = None
        self._offers: tuple[Tool, ...] = ()
        self._solved = False
        self._steps: list[tuple[str, str]] = []

    def task_ids(self, split: str) -> Sequence[str]:
        """The ids of a split's tasks, in the file's order.

        Raises:
            UnknownName: no such split.
        """
        if split not in self.splits:
            raise unknown("split", split, self.splits)
        return [id for id, task in self._tasks.items() if task.split == split]

    def begin(self, task: str) -> tuple[str, World]:
        """Start a server and set the task up."""
        self.close()
        self._solved, self._steps = False, []
        self._server = Server(self._command, start_timeout_s=self._start_timeout_s, call_timeout_s=self._call_timeout_s)
        try:
            self._offers = tuple(tool for tool in self._server.tools() if tool.name not in self._hidden)
            self._set_up(self._tasks[task])
        except BaseException:
            self.close()
            raise
        return self._tasks[task].instruction, None

    def _set_up(self, task: Task) -> None:
        assert self._server is not None
        for call in task.setup:
            try:
                self._server.call(call.name, call.arguments)
            except ToolError as error:
                raise EnvFailed(f"the task {task.id} can't be set up: {call.name}: {error}") from error

    def tools(self) -> Sequence[Tool]:
        """What the server offers, but for the hidden tools."""
        return self._offers

    def score(self) -> float:
        """1 where all checks held at the end, else 0."""
        return float(self._solved)

    def carry_out(self, tool: Tool, arguments: dict[str, Any]) -> tuple[Any, str | None]:
        """Call the server, which checks arguments itself: its schemas are not ours to run."""
        assert self._server is not None
        try:
            return self._server.call(tool.name, arguments), None
        except ToolError as error:
            return None, str(error)

    def answered(self) -> None:
        """The agent is done: make the checks."""
        super().answered()
        self._solved = self._holds(self._tasks[self.task])

    def _holds(self, task: Task) -> bool:
        assert self._server is not None
        if task.answer is not None and task.answer.casefold() not in self.answer.casefold():
            return False
        for check in task.checks:
            try:
                if self._server.call(check.call.name, check.call.arguments) != check.result:
                    return False
            except ToolError:
                return False
        return True

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        if self._server is None:
            raise EnvFailed("the server has failed or was closed: reset() begins a new episode")
        try:
            result = super().step(action)
        except EnvFailed:
            self.close()
            raise
        self._steps.append((action, result[0]))
        return result

    def close(self) -> None:
        """End the server."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def snapshot(self) -> Snapshot:
        """The task and the actions so far.

        Raises:
            EnvNotSearchable: no episode has begun.
        """
        if self._server is None:
            raise EnvNotSearchable("there is no episode to save: call reset() first")
        return Snapshot(type(self).__name__, SnapshotKind.REPLAY, (self.task, tuple(self._steps)))

    def restore(self, snapshot: Snapshot) -> tuple[str, Info]:
        """Repeat a snapshot's actions on a new server.

        Raises:
            ReplayDiverged: one was answered in another way. InvalidConfig: it is no snapshot of this environment.
        """
        if snapshot.env_id != type(self).__name__ or snapshot.kind is not SnapshotKind.REPLAY:
            raise InvalidConfig(f"a snapshot of {snapshot.env_id} can't be restored in {type(self).__name__}")
        state: Any = snapshot.state
        task, steps = state
        self.reset(options={"task": task})
        for turn, (action, before) in enumerate(steps):
            now = self.step(action)[0]
            if now != before:
                raise ReplayDiverged(f"at turn {turn} {action[:40]!r} was answered {before!r}, now {now!r}")
        return self.observe()
