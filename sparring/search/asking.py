"""How a language model is asked about places of an episode: all questions at once, each with its admissible answers.

    judge = Judge(policy)
    answers = judge.ask([Question(moment, "Is the task done?", ("yes", "no"))])

A judge is any `Policy`. The admissible answers are the action set of its prompt, so that one whose decoding is held to
them answers validly, however small it is; what a free one says is parsed. What happened in the episode is shown
indented, so that nothing that an environment or a model wrote can pass for the question.
"""

from __future__ import annotations

import string
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from sparring.agents.policy import check_actions
from sparring.agents.prompts import history_length
from sparring.episode import Moment
from sparring.types import Action, ActionSet, Message, Observation, Policy, Prompt

_DECORATION = string.punctuation + string.whitespace


@dataclass(frozen=True, slots=True)
class Question:
    """One question about a place.

    Attributes:
        moment: the place. text: what is asked there.
        answers: what may be answered; none where the judge is to speak freely.
        vote: tells askings of the same question apart, each of which is sampled anew.
    """

    moment: Moment
    text: str
    answers: tuple[str, ...] = ()
    vote: int = 0

    def prompt(self) -> Prompt:
        """What the judge is asked. Its entropy is that of the place, of the question and of the vote."""
        moment = self.moment
        assert moment.observation is not None
        text = f"{transcript(moment)}\n\n{self.text}"
        if self.answers:
            text += f"\nAnswer with one of these, and nothing else: {', '.join(self.answers)}"
        start = moment.start
        return Prompt(
            (Message("user", text),),
            Observation(moment.observation.text, ActionSet(self.answers) if self.answers else None),
            moment.instruction,
            turn=len(moment.turns),
            seed=(start.seed, start.sampling_seed, zlib.crc32(text.encode()), self.vote),
        )


@dataclass(eq=False, slots=True)
class Judge:
    """A policy that is asked questions, and what that cost.

    Attributes:
        policy: answers. asked: how many questions it was asked. tokens: how many it sampled for them.
        invalid: how many answers were none of the admissible ones.
    """

    policy: Policy
    asked: int = 0
    tokens: int = 0
    invalid: int = 0

    def ask(self, questions: Sequence[Question]) -> list[str | None]:
        """Ask all of these in one call of the policy.

        Returns:
            For each question one of its answers, or None where none was given; without admissible answers all that was
            said, None where that is nothing.
        """
        if not questions:
            return []
        prompts = [question.prompt() for question in questions]
        actions = check_actions(self.policy, prompts, self.policy.act(prompts))
        found = [_answer(question, action) for question, action in zip(questions, actions, strict=True)]
        self.asked += len(questions)
        self.tokens += sum(action.sampled_tokens for action in actions)
        self.invalid += sum(answer is None for answer in found)
        return found


def _answer(question: Question, action: Action) -> str | None:
    if not question.answers:
        return action.text.strip() or None
    return parse(action.text, question.answers)


def parse(text: str, answers: Sequence[str]) -> str | None:
    """The answer that a text gives: all of it, its last or its first line, or what a colon parts from the rest of that.

    Case, punctuation and space around it don't matter. None where the text gives no answer. Reasons before or behind
    it are passed over, but an answer within a sentence is none: "A good start" is not the grade A.
    """
    lines = [line for line in text.split("\n") if line.strip()] or [""]
    named = {_bare(answer): answer for answer in reversed(answers)}
    parts = [part for line in (lines[-1], lines[0]) for part in (line, line.rpartition(":")[2], line.partition(":")[0])]
    return next((named[_bare(part)] for part in (text, *parts) if _bare(part) in named), None)


def _bare(text: str) -> str:
    return (text.strip(_DECORATION) or text.strip()).casefold()


def transcript(moment: Moment) -> str:
    """The task and what happened, as much of it as the memory style of the episode shows.

    What an ending scored is not in it.
    """
    assert moment.observation is not None
    shown = history_length(moment.setting.memory)
    turns = moment.turns if shown is None else moment.turns[len(moment.turns) - shown :] if shown else ()
    parts = [f"The task:\n{indented(moment.instruction)}"] if moment.instruction else []
    for turn in turns:
        parts.append(f"Seen:\n{indented(turn.observation.text)}\nDone:\n{indented(turn.action.text)}")
    parts.append(f"Seen now:\n{indented(moment.observation.text)}")
    if moment.stop is not None:
        parts.append("The episode is over.")
    return "\n".join(parts)


def indented(text: str) -> str:
    """The text with two spaces before each line."""
    return "\n".join(f"  {line}" for line in text.split("\n"))
