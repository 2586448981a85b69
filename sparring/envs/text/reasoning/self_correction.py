"""What all environments of self-correction share: a problem, attempts at it, and feedback between them.

    env = sparring.make("Arithmetic-v1", attempts=2, feedback="fixed")
    text, info = env.reset(seed=0, options={"split": "test"})
    text, reward, over, _, info = env.step("1 0 3 7")  # info: attempt 1, correct or not; text: the feedback

Every action is a full answer. Its reward is the verifier's of this attempt alone, in [0, 1]: nothing is summed or
discounted over attempts here, since what an attempt is credited with is the trainer's decision. The problem stands in
the first observation, which is also the instruction, so that memory styles that drop old turns keep it.

Sources: attempts under a fixed text are SCoRe's (Kumar et al., arXiv:2409.12917), stopping at the first right attempt
is RISE's protocol with an oracle (Qu et al., arXiv:2407.18219), and detailed feedback is that of Self-Debug (Chen et
al., arXiv:2304.05128). All wordings are our own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, TypedDict, TypeVar, get_args

import numpy as np

from sparring.envs.base import Info, TextEnv
from sparring.envs.text.seeded_tasks import SPLITS, SeededSplits, SeededTasks, draw_world
from sparring.errors import InvalidConfig, unknown
from sparring.types import ActionSet

Feedback = Literal["fixed", "verdict", "detail"]
ProblemT = TypeVar("ProblemT")

FIXED = "There may be an error above. Check it and answer again."
"""The feedback that says nothing about the attempt."""

_RIGHT = "That is right. Answer again."
_WRONG = "That is wrong. Answer again."
_WRONG_BECAUSE = "That is wrong: {}. Answer again."


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a verifier says of an answer.

    Attributes:
        reward: in [0, 1]; 1 is right. detail: what is wrong, as part of a sentence, without giving the answer away.
    """

    reward: float
    detail: str = ""

    @property
    def is_right(self) -> bool:
        """Whether the answer has the full reward."""
        return self.reward >= 1


RIGHT = Verdict(1.0)


def wrong(detail: str) -> Verdict:
    """The verdict on an answer that is worth nothing."""
    return Verdict(0.0, detail)


class Options(TypedDict, total=False):
    """The options that every environment of self-correction takes; `SelfCorrection` says what they mean."""

    attempts: int
    feedback: Feedback
    stop_when_right: bool
    train_tasks: int
    dev_tasks: int
    test_tasks: int


class SelfCorrection(TextEnv, ABC, Generic[ProblemT]):
    """A problem drawn from a seed, and some attempts at it.

    A subclass gives `draw`, `problem`, `verify` and `solve`, and sets `rules` and `actions`. Equal problems are never
    in two splits, however they were drawn.

    On every attempt `info["correct"]` says whether it was right, `info["attempt"]` its number from 1, and
    `info["answer"]` how it was read; `info["score"]` and `info["success"]` at the end are those of the last attempt. An
    answer outside of `actions` is a wrong attempt with `info["no_op"]`: were nonsense free, it would buy time to think.

    Args:
        attempts: how many answers an episode has, at least 1.
        feedback: what is shown after an attempt: `fixed` is a text that does not depend on it, `verdict` says whether
            it is right, and `detail` also what is wrong with it.
        stop_when_right: end at the first right attempt, which a policy could only do if somebody told it.
        train_tasks, dev_tasks, test_tasks: how many tasks each split has.
    Raises:
        InvalidConfig: no attempts, or an unknown feedback. UnknownName: another option.
    """

    splits: ClassVar[tuple[str, ...]] = SPLITS
    state: ClassVar[tuple[str, ...]] = ("_task", "_problem", "_attempt", "_verdict")

    rules: str
    """What to do, and how to write the answer."""
    actions: ActionSet
    """The form of an answer; the same at every attempt."""

    def __init__(
        self,
        *,
        attempts: int = 2,
        feedback: Feedback = "fixed",
        stop_when_right: bool = False,
        train_tasks: int = 100_000,
        dev_tasks: int = 1_000,
        test_tasks: int = 2_000,
        **others: Any,
    ) -> None:
        if others:
            raise unknown(f"option of {type(self).__name__}", next(iter(others)), Options.__annotations__)
        if attempts < 1:
            raise InvalidConfig(f"attempts must be at least 1, got {attempts}")
        if feedback not in get_args(Feedback):
            raise InvalidConfig(f'feedback must be one of {", ".join(get_args(Feedback))}, got "{feedback}"')
        self.attempts, self.feedback, self.stop_when_right = attempts, feedback, stop_when_right
        self._tasks = SeededSplits(train_tasks, dev_tasks, test_tasks)
        self._task, self._attempt = "", 0
        self._problem: ProblemT | None = None
        self._verdict: Verdict | None = None

    @abstractmethod
    def draw(self, rng: np.random.Generator) -> ProblemT:
        """Draw a problem, immutable."""

    @abstractmethod
    def problem(self, problem: ProblemT) -> str:
        """The problem in words, unequal for unequal problems."""

    @abstractmethod
    def verify(self, problem: ProblemT, answer: str) -> Verdict:
        """Judge an answer that `actions` admits; its words are joined by single spaces."""

    @abstractmethod
    def solve(self, problem: ProblemT) -> str:
        """A right answer."""

    def load(self, task: str) -> ProblemT:
        """The problem of a task, always the same."""
        return draw_world(task, self.draw, self.problem)

    def read(self, action: str) -> str:
        """The answer in an action."""
        return " ".join(action.split())

    def task_ids(self, split: str) -> SeededTasks:
        """`train/0`, `train/1` and so on."""
        return self._tasks.tasks(split)

    @property
    def is_over(self) -> bool:
        """Whether no attempt is left."""
        return self._attempt >= self.attempts or (self._was_right and self.stop_when_right)

    def observe(self) -> tuple[str, Info]:
        """The problem, then the feedback on the last attempt, then how it ended."""
        return self._text(), {"actions": self.actions}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        super().reset(seed=seed)
        self._task = self.choose_task(options)
        self._problem = self.load(self._task)
        self._attempt, self._verdict = 0, None
        text, info = self.observe()
        return text, info | {"task": self._task, "instruction": text}

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        """Judge the answer. Attempts after the end don't count any more."""
        assert self._problem is not None, "reset() comes before step()"
        answer = self.read(action)
        understood = self.actions.admits(answer)
        self._verdict = self.verify(self._problem, answer) if understood else wrong("it is no answer of the asked form")
        self._attempt += 1
        text, info = self.observe()
        info |= {"attempt": self._attempt, "correct": self._was_right}
        if understood:
            info["answer"] = answer
        else:
            info["no_op"] = f"{action[:40]!r} is no answer of the asked form: {self.rules}"
        if self.is_over:
            info |= {"score": self._verdict.reward, "success": self._was_right}
        return text, self._verdict.reward, self.is_over, False, info

    def expert_action(self) -> str:
        """A right answer, at every attempt."""
        assert self._problem is not None, "reset() comes before expert_action()"
        return self.solve(self._problem)

    @property
    def _was_right(self) -> bool:
        return self._verdict is not None and self._verdict.is_right

    def _text(self) -> str:
        if self._verdict is None:
            return "" if self._problem is None else f"{self.rules}\n{self.problem(self._problem)}"
        if self.is_over:
            return "The last answer is right." if self._was_right else "The last answer is wrong."
        if self.feedback == "fixed":
            return FIXED
        if self._was_right:
            return _RIGHT
        because = self._verdict.detail if self.feedback == "detail" else ""
        return _WRONG_BECAUSE.format(because) if because else _WRONG
