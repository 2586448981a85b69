"""Find a secret number by questions: the smallest world in which credit over turns matters.

Every question costs 1 but the one that names the secret, so that the return is minus the number of questions that
did not solve it. For 16 numbers the best expected return is exactly -3.5: three questions `<` leave two numbers,
and `=` is right at once in half of the cases. The observation is all that was learned, as a Markov summary: the
lowest and highest number still possible.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from sparring.envs.base import Info, TextEnv
from sparring.errors import InvalidConfig
from sparring.types import ActionSet

# No number in it, so that a small model finds in its prompt only those that matter.
INSTRUCTION = "find the secret number by < (is it less?) and = (is it equal?)"


class NumberSearch(TextEnv):
    """A secret number below `size`, asked for by `< 07` (is it less than 7?) and `= 07` (is it 7?).

    A right `=` ends the episode with reward 0. Any other action, one that means nothing included, has reward -1:
    were nonsense free, saying it until the end would beat searching. After `max_questions` the episode is truncated,
    which the observation does not announce. The score is 1 + return / max_questions.

    There are only `size` secrets and an episode shows nothing of its task, so every split holds all of them: what
    differs between `train/07` and `test/07` is the id.

    Args:
        size: how many numbers there are, from 0 up.
        max_questions: the most questions of an episode.
    Raises:
        InvalidConfig: `size` below 2 or `max_questions` below 1.
    """

    splits: ClassVar[tuple[str, ...]] = ("train", "dev", "test")
    state: ClassVar[tuple[str, ...]] = ("secret", "low", "high", "asked", "found")

    def __init__(self, size: int = 16, max_questions: int = 10) -> None:
        if size < 2 or max_questions < 1:
            raise InvalidConfig(f"size must be at least 2 and max_questions at least 1, got {size} and {max_questions}")
        self.max_questions = max_questions
        width = len(str(size - 1))
        self._names = tuple(f"{number:0{width}d}" for number in range(size))
        self._number = {name: number for number, name in enumerate(self._names)}
        self._actions = ActionSet(tuple(f"{sign} {name}" for sign in "<=" for name in self._names))
        self.secret, self.low, self.high, self.asked, self.found = 0, 0, size - 1, 0, False

    def task_ids(self, split: str) -> Sequence[str]:
        """One task a secret: `train/07`."""
        if split not in self.splits:
            return super().task_ids(split)
        return [f"{split}/{name}" for name in self._names]

    def observe(self) -> tuple[str, Info]:
        """The numbers still possible, one bound a line; at the end the number found."""
        if self.found:
            return f"found {self._names[self.secret]}", {"actions": self._actions}
        return f"low {self._names[self.low]}\nhigh {self._names[self.high]}", {"actions": self._actions}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        super().reset(seed=seed)
        task = self.choose_task(options)
        self.secret = self._number[task.rpartition("/")[2]]
        self.low, self.high, self.asked, self.found = 0, len(self._names) - 1, 0, False
        text, info = self.observe()
        return text, info | {"task": task, "instruction": INSTRUCTION}

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        sign, number = action[:2], self._number.get(action[2:])
        understood = number is not None and sign in ("< ", "= ")
        if number is not None and sign == "= ":
            self._is(number)
        elif number is not None and sign == "< ":
            self._is_less_than(number)
        self.asked += 0 if self.found else 1
        out_of_questions = not self.found and self.asked >= self.max_questions
        text, info = self.observe()
        if not understood:
            info["no_op"] = f"{action[:20]!r} is no question such as {self._actions.choices[-1]!r}"
        if self.found or out_of_questions:
            info |= {"score": 1 - self.asked / self.max_questions, "success": self.found}
        return text, -float(not self.found), self.found, out_of_questions, info

    def _is(self, number: int) -> None:
        """Answer `=`. A wrong guess within the bounds is forgotten: they have no place for it."""
        if number == self.secret:
            self.found = True
        elif number == self.low:
            self.low += 1
        elif number == self.high:
            self.high -= 1

    def _is_less_than(self, number: int) -> None:
        if self.secret < number:
            self.high = min(self.high, number - 1)
        else:
            self.low = max(self.low, number)

    def expert_action(self) -> str:
        """Binary search down to three numbers, then guess: optimal, since half of two is won without a cost."""
        if self.high - self.low < 3:
            return f"= {self._names[self.low]}"
        return f"< {self._names[(self.low + self.high + 1) // 2]}"
