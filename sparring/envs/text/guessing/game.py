"""The game itself: questions in, answers out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from sparring.envs.base import Info, TextEnv
from sparring.envs.text.guessing.answerers import NO, UNKNOWN, YES, Answerer, as_reply
from sparring.envs.text.guessing.expert import next_question
from sparring.envs.text.guessing.knowledge import Knowledge, load_knowledge
from sparring.envs.text.guessing.questions import AsksWhether, Guesses, Meaning, Reader
from sparring.errors import InvalidConfig
from sparring.types import ActionSet, Form

ACTIONS = ("free", "listed")
SHOWN = ("reply", "summary")
_MOST_SAID_TO_ANSWERER = 300  # characters


class GuessingGame(TextEnv):
    """Find out by yes-no questions which item the other has in mind. Subclasses name the files of a knowledge.

    Every action that does not solve the game has reward -1, what is no question at all included (free nonsense would
    beat asking); the solving one has 0. A game is solved by a question that names the item, or a synonym of it, and
    is answered yes. After `max_questions` it is truncated. The score is 1 + return / max_questions: 1 for a lucky
    first guess, 0 for failure.

    `info["reply"]` is the answer in the environment's words: `yes`, `no`, or `I don't know` to what is not understood.

    Args:
        actions: `free` takes any text; `listed` takes only the canonical questions, one an attribute and one an item,
            of which `info["actions"]` is the list.
        show: `reply` shows the last answer; `summary` shows all that is known, by attribute (a Markov observation).
        items, attributes: play with so many of each, chosen by `Knowledge.subset`; by default with all. Guesses and
            the expert's candidates are the items of all splits.
        holdout: keep the splits' items apart. A model trained from scratch can't name an item that it never saw
            named, so for such a model give `holdout=False`: each split then holds all items, and differs in task ids
            only.
        max_questions: the most questions of an episode. Prefer it to a shorter time limit, which the score can't see.
        answerer: answers in place of the knowledge; see `Answerer`.
    Raises:
        InvalidConfig: an unknown mode, or a world too small or too large.
    """

    splits: ClassVar[tuple[str, ...]] = ("train", "dev", "test")
    state: ClassVar[tuple[str, ...]] = ("task", "asked", "answered", "unread", "reply", "solved")
    sort: ClassVar[str] = "thing"
    files: ClassVar[tuple[Path, Path]]

    def __init__(
        self,
        actions: str = "free",
        show: str = "reply",
        items: int | None = None,
        attributes: int | None = None,
        holdout: bool = True,
        max_questions: int = 20,
        answerer: Answerer | None = None,
    ) -> None:
        if actions not in ACTIONS:
            raise InvalidConfig(f'actions must be one of {", ".join(ACTIONS)}, got "{actions}"')
        if show not in SHOWN:
            raise InvalidConfig(f'show must be one of {", ".join(SHOWN)}, got "{show}"')
        if max_questions < 1:
            raise InvalidConfig(f"max_questions must be at least 1, got {max_questions}")
        self.knowledge, self._reader = _world(*self.files, items, attributes)
        self._row = {item.name: row for row, item in enumerate(self.knowledge.items)}
        self._actions = _listed(self.knowledge) if actions == "listed" else ActionSet(forms=(Form("", ""),))
        self._admitted = frozenset(self._actions.choices)
        self._summarises = show == "summary"
        self._holdout = holdout
        self.max_questions = max_questions
        self._answerer = answerer
        self.task = f"train/{self.knowledge.items[0].name}"
        self._begin()

    def _begin(self) -> None:
        self.asked = 0
        self.answered: tuple[tuple[Meaning, str], ...] = ()
        self.unread: tuple[tuple[str, str], ...] = ()  # questions that only an answerer of its own understood
        self.reply = ""
        self.solved = False

    @property
    def secret(self) -> int:
        """The row of the item to be guessed."""
        return self._row[self.task.partition("/")[2]]

    def task_ids(self, split: str) -> Sequence[str]:
        """One task an item: `train/owl`."""
        if split not in self.splits:
            return super().task_ids(split)
        items = self.knowledge.items
        return [f"{split}/{item.name}" for item in items if item.split == split or not self._holdout]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        super().reset(seed=seed)
        self.task = self.choose_task(options)
        self._begin()
        text, info = self.observe()
        first = self.knowledge
        instruction = (
            f"I am thinking of a {self.sort}. Find out which by yes-no questions, at most {self.max_questions}, "
            f"such as: {first.attributes[0].question} {first.items[0].question}"
        )
        return text, info | {"task": self.task, "instruction": instruction}

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        self.asked += 1
        understood = not self._no_question(action)
        self.reply = UNKNOWN
        if understood:
            self._ask(action)
        out_of_questions = not self.solved and self.asked >= self.max_questions
        text, info = self.observe()
        if not understood:
            info["no_op"] = f"{action[:40]!r} is no question of the list" if action else "nothing was asked"
        info["reply"] = self.reply
        if self.solved or out_of_questions:
            score = 1 - (self.asked - 1) / self.max_questions if self.solved else 0.0
            info |= {"score": score, "success": self.solved}
        return text, -float(not self.solved), self.solved, out_of_questions, info

    def _no_question(self, action: str) -> bool:
        return action not in self._admitted if self._admitted else not action

    def _ask(self, question: str) -> None:
        meaning = self._reader.read(question)
        item = self.knowledge.items[self.secret]
        if self._answerer is not None:
            self.reply = as_reply(self._answerer(item.phrase, _valid(question[:_MOST_SAID_TO_ANSWERER])))
        elif isinstance(meaning, AsksWhether):
            self.reply = YES if self.knowledge.truth[self.secret, meaning.attribute] != meaning.opposite else NO
        elif isinstance(meaning, Guesses):
            self.reply = YES if meaning.item == self.secret else NO
        self.solved = self.reply == YES and meaning == Guesses(self.secret)
        if meaning is not None:
            self.answered = (*self.answered, (meaning, self.reply))
        elif self.reply != UNKNOWN:
            self.unread = (*self.unread, (" ".join(_valid(question[:80]).split()), self.reply))

    def observe(self) -> tuple[str, Info]:
        """The last reply or a summary, and the number of the question to come."""
        lines = self._summary() if self._summarises else [self.reply] if self.reply else []
        if self.solved:
            lines.append("solved")
        elif self.asked < self.max_questions:
            lines.append(f"question {self.asked + 1} of {self.max_questions}")
        else:
            lines.append("no questions left")
        return "\n".join(lines), {"actions": self._actions}

    def _summary(self) -> list[str]:
        """What is known, in the order of the table, so that it depends on what was learned and not on when."""
        known: dict[str, dict[tuple[int, int, str], None]] = {YES: {}, NO: {}, UNKNOWN: {}}
        for meaning, reply in self.answered:
            if isinstance(meaning, Guesses):
                known[reply][1, meaning.item, self.knowledge.items[meaning.item].name] = None
            else:
                turned = {YES: NO, NO: YES}.get(reply, reply) if meaning.opposite else reply
                known[turned][0, meaning.attribute, self.knowledge.attributes[meaning.attribute].label] = None
        for number, (question, reply) in enumerate(self.unread):
            known[reply][2, number, question] = None
        return [
            f"{reply}: {', '.join(label for _, _, label in sorted(about))}" for reply, about in known.items() if about
        ]

    def expert_action(self) -> str:
        """The question that tells most; see `expert.next_question`. It does not look at the secret."""
        return next_question(self.knowledge, self.answered)


def _valid(text: str) -> str:
    """The text with halves of surrogate pairs, which a model may say and no file can hold, as question marks."""
    return text.encode("utf-8", "replace").decode()


@cache
def _listed(knowledge: Knowledge) -> ActionSet:
    """All canonical questions; one object for all environments on the same knowledge."""
    asked = [attribute.question for attribute in knowledge.attributes]
    return ActionSet((*asked, *(item.question for item in knowledge.items)))


@cache
def _world(
    items_file: Path, attributes_file: Path, items: int | None, attributes: int | None
) -> tuple[Knowledge, Reader]:
    """The knowledge, whole or in part, and what understands questions about it; shared by all environments."""
    whole = load_knowledge(items_file, attributes_file)
    part = whole if items is None and attributes is None else whole.subset(items, attributes)
    return part, Reader(part)
