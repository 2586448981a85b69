"""Who answers the questions, where it is not the knowledge itself."""

from __future__ import annotations

import re
import zlib
from typing import Protocol

from sparring.types import ActionSet, Message, Observation, Policy, Prompt

YES, NO, UNKNOWN = "yes", "no", "I don't know"
_FIRST_WORD = re.compile(r"[^a-z]*([a-z]+)")


class Answerer(Protocol):
    """Answers `question`, any text that a player said, about `object`.

    What begins with "yes" or "no" counts as that, everything else as "I don't know". The environment declares itself
    deterministic, so equal questions must get equal answers.
    """

    def __call__(self, object: str, question: str) -> str: ...


def as_reply(text: str) -> str:
    """One of the three replies, by the first word of an answer."""
    word = _FIRST_WORD.match(text[:100].lower())
    return {"yes": YES, "no": NO}.get(word[1] if word else "", UNKNOWN)


class PolicyAnswerer:
    """A language model that answers: any policy, one question at a time.

    Where the policy decodes under constraints it can say nothing but the three replies. Its sampling seed is drawn
    from object and question, so that equal questions get equal answers.

    Args:
        policy: any policy, such as `load_agent("hf:FOLDER").policy`.
        prompt: what it is asked, with `{object}` and `{question}`.
    """

    def __init__(
        self,
        policy: Policy,
        prompt: str = "Answer a question about {object} with yes or no, or with I don't know.\nQuestion: {question}",
    ) -> None:
        self.policy = policy
        self.prompt = prompt

    def __call__(self, object: str, question: str) -> str:
        text = self.prompt.replace("{object}", object).replace("{question}", question)
        seed = zlib.crc32(f"{object}\n{question}".encode("utf-8", "replace"))
        observation = Observation(text, ActionSet((YES, NO, UNKNOWN)))
        request = Prompt((Message("user", text),), observation, episode=f"answerer-{seed}", seed=(seed,))
        answer = self.policy.act([request])[0].text
        forget = getattr(self.policy, "forget", None)
        if forget is not None:
            forget(request.episode)
        return answer
