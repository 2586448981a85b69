"""Repositories to be repaired from a shell (`sparring/RepositoryRepair-v1`, `sparring/RepositoryTasks-v1`).

    env = sparring.make("RepositoryRepair-v1")
    text, info = env.reset(seed=0)
    text, *_ = env.step("python3 run_tests.py")
    text, *_ = env.step("sed -i 's/>/>=/' app/cart.py")
    text, reward, terminated, truncated, info = env.step("submit")

Commands are run by a bash that stays, in a sandbox (docs/sandbox.md). What is graded at the end are the files that the
agent leaves; see `grade` for how, and docs/code.md.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from sparring.envs.base import Info, TextEnv
from sparring.envs.code.grading import MIB, Grader
from sparring.envs.code.repair.generate import GeneratedRepositories
from sparring.envs.code.repair.grade import by_commands, by_values
from sparring.envs.code.repair.jsonl import FileRepositories
from sparring.envs.code.repair.repository import RepositoryTask, RepositoryTasks
from sparring.envs.sandbox import FileTree, Limits, Result, Sandbox, SandboxFailed, Shell, open_sandbox
from sparring.errors import InvalidConfig, unknown
from sparring.types import Snapshot, SnapshotKind

_LONGEST_COMMAND = 64 * 1024
_LONGEST_OUTPUT = 4_000  # characters of an observation: the first and the last half of these
# Equal files then give equal outputs, and running Python leaves none behind.
_PREPARED = "export PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1\n"


class Repair(TextEnv):
    """Type commands into a shell in the repository, then `submit`.

    The score and the reward come at the end: of the hidden tests that the bug fails, the share that now passes, and 0
    where one that passed before fails now. After `turns` actions of any kind the episode is truncated and what stands
    is submitted.

    A snapshot holds the workspace's files and the shell's folder, exactly. It does not hold the shell's variables,
    functions and jobs, other processes, and /tmp: after `restore` these begin anew. Commands whose output depends on
    more than files (`date`, `ps`, `echo $$`) give other observations another time.

    Args:
        tasks: where repositories come from.
        turns: the most turns of an episode.
        command_s: seconds that one command may take.
        timeout_s: seconds for all hidden tests together, or for each command that is one.
    Raises:
        MissingExtra: bubblewrap is not installed. InvalidConfig: a setting outside what is allowed.
    """

    state: ClassVar[tuple[str, ...]] = ("task_id", "said", "turn", "score", "patched")
    snapshot_kind: ClassVar[SnapshotKind | None] = SnapshotKind.SANDBOX
    clusters: ClassVar[str] = "functions"

    def __init__(
        self, tasks: RepositoryTasks, *, turns: int = 20, command_s: float = 10.0, timeout_s: float = 20.0
    ) -> None:
        if turns < 1:
            raise InvalidConfig(f"an episode needs turns of at least 1, got {turns}")
        if not (command_s > 0 and timeout_s > 0):
            raise InvalidConfig(f"command_s and timeout_s must be above 0, got {command_s} and {timeout_s}")
        self._tasks = tasks
        self.splits = tasks.splits  # type: ignore[misc]  # sets of tasks differ in them
        self._turns, self._timeout_s = turns, timeout_s
        self._limits = Limits(wall_s=command_s, memory_bytes=512 * MIB, disk_bytes=64 * MIB, output_bytes=64 * 1024)
        self._grader = Grader(timeout_s)
        self._sandbox: Sandbox | None = None
        self._shell: Shell | None = None
        self.task_id, self.said, self.turn, self.patched = "", "", 0, False
        self.score: float | None = None

    @property
    def task(self) -> RepositoryTask:
        """The task that is played."""
        return self._tasks.task(self.task_id)

    @property
    def sandbox(self) -> Sandbox:
        """The sandbox in which commands run, opened when it is first asked for."""
        if self._sandbox is None:
            self._sandbox = open_sandbox(self._limits, label="repository repair")
            self._shell = self._sandbox.shell()
        return self._sandbox

    def task_ids(self, split: str) -> Sequence[str]:
        """The ids of a split's tasks.

        Raises:
            UnknownName: no such split.
        """
        if split not in self.splits:
            raise unknown("split", split, self.splits)
        return self._tasks.task_ids(split)

    def observe(self) -> tuple[str, Info]:
        """What came of the last command. Any text is admissible, so `info["actions"]` is left out."""
        return self.said, {} if self.score is None else {"score": self.score, "success": self.score == 1.0}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        super().reset(seed=seed)
        self.task_id = self.choose_task(options)
        self.turn, self.score, self.patched = 0, None, False
        self.sandbox.restore(self.task.tree)
        self.said = "The shell is ready."
        text, info = self.observe()
        info |= {"task": self.task_id, "instruction": self.task.instruction}
        return text, info | ({"cluster": self.task.cluster} if self.task.cluster else {})

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        over = self.score is not None
        no_op = "the episode is over" if over else _why_not(action)
        submitted = no_op is None and action.strip() == "submit"
        if submitted:
            self._submit()
        elif no_op is None:
            self.said = self._run(action)
            self.patched = self.patched or action == self.task.patch
        self.turn += 0 if over else 1
        out_of_turns = not (over or submitted) and self.turn >= self._turns
        if out_of_turns:
            self._submit()
        text, info = self.observe()
        if no_op is not None:
            info["no_op"] = no_op
        reward = 0.0 if over or self.score is None else self.score
        return text, reward, over or submitted, out_of_turns, info

    def _run(self, command: str) -> str:
        """Type a command, and say what came of it."""
        assert self._shell is not None
        try:
            return _said(self._shell.run(_PREPARED + command))
        except SandboxFailed as error:  # it was broken from inside: that costs this episode, and nothing else
            self.sandbox.kill()
            return f"The shell was lost: {error}"

    def _submit(self) -> None:
        """Grade the files that are there once every process of the agent is dead."""
        self.sandbox.kill()
        try:
            tree = self.sandbox.snapshot()
        except SandboxFailed as error:  # more files or deeper folders than anybody needs
            self.score, self.said = 0.0, f"Submitted: the files can't be graded: {error}"
            return
        if self.task.functions:
            self.score = by_values(self.task, tree, self._grader)
        else:
            self.score = by_commands(self.task, tree, self.sandbox, self._timeout_s)
        self.said = f"Submitted: score {self.score:.2f}."

    def expert_action(self) -> str:
        """Apply the known patch once, then submit; what the agent breaks after that stays broken.

        Raises:
            UnknownName: the task has no known patch.
        """
        if not self.task.patch:
            raise unknown("expert", self.task_id, (), "This task comes without a patch.")
        return "submit" if self.patched else self.task.patch

    def snapshot(self) -> Snapshot:
        """Save the files, the shell's folder and the generator; see the class for what is not kept."""
        assert self._shell is not None
        inner = super().snapshot()
        told = self._shell.run("builtin pwd -P").stdout  # what that says is the agent's to decide
        folder = self.sandbox.workspace if b"\0" in told else told.decode("utf-8", "replace").strip()
        return Snapshot(inner.env_id, SnapshotKind.SANDBOX, (inner, self.sandbox.snapshot(), folder))

    def restore(self, snapshot: Snapshot) -> tuple[str, Info]:
        """Bring files and folder back, in a new shell, and return the observation and info.

        Raises:
            InvalidConfig: the snapshot was taken in another kind of environment.
        """
        state: Any = snapshot.state
        if snapshot.env_id != type(self).__name__:
            raise InvalidConfig(f"a snapshot of {snapshot.env_id} can't be restored in {type(self).__name__}")
        inner, tree, folder = state
        assert isinstance(tree, FileTree)
        self.sandbox.restore(tree)
        assert self._shell is not None
        self._shell.run(f"builtin cd -- {shlex.quote(folder)}")
        return super().restore(inner)

    def close(self) -> None:
        """Close the sandbox and give back what grades. A second call does nothing."""
        self._grader.close()
        if self._sandbox is not None:
            self._sandbox.close()
            self._sandbox = self._shell = None


def _why_not(command: str) -> str | None:
    """Why a text is no command, None where it is one."""
    if not command.strip():
        return "the command is empty"
    if len(command) > _LONGEST_COMMAND:
        return f"a command has at most {_LONGEST_COMMAND:,} characters"
    if "\0" in command or any("\ud800" <= one <= "\udfff" for one in command):
        return "a command holds no null bytes and no halves of characters"
    return None


def _said(result: Result) -> str:
    text = result.text.rstrip()
    if len(text) > _LONGEST_OUTPUT:
        half = _LONGEST_OUTPUT // 2
        text = f"{text[:half]}\n… {len(text) - 2 * half:,} characters …\n{text[-half:]}"
    notes = []
    if result.timed_out:
        notes.append("it ran out of time, and every process was killed")
    elif result.out_of_memory:
        notes.append("memory ran out")
    elif result.status:
        notes.append(f"exit status {result.status}")
    if result.truncated:
        notes.append("not all output was kept")
    return "\n".join([*([text] if text else []), *(f"[{note}]" for note in notes)]) or "[no output]"


class RepositoryRepair(Repair):
    """Small generated repositories with one bug each (`sparring/RepositoryRepair-v1`).

    Args:
        turns, command_s, timeout_s: see `Repair`.
    """

    def __init__(self, turns: int = 20, command_s: float = 10.0, timeout_s: float = 20.0) -> None:
        super().__init__(GeneratedRepositories(), turns=turns, command_s=command_s, timeout_s=timeout_s)


class OwnRepositories(Repair):
    """Repositories from a file of one's own (`sparring/RepositoryTasks-v1`); see `jsonl` for what it holds.

    Args:
        path: a .jsonl file.
        folder: a folder whose text files every task begins with, under its own; by default none.
        turns, command_s, timeout_s: see `Repair`.
    Raises:
        InvalidData: the file or folder can't be read; the message names the line and the field.
    """

    def __init__(
        self, path: str, folder: str = "", turns: int = 20, command_s: float = 10.0, timeout_s: float = 60.0
    ) -> None:
        tasks = FileRepositories(Path(path), Path(folder) if folder else None)
        super().__init__(tasks, turns=turns, command_s=command_s, timeout_s=timeout_s)
