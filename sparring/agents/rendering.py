"""From messages to token ids, piece by piece, so that nothing sampled is ever re-tokenised.

The usual way (decode, apply the chat template, encode again) changes tokens under the policy's feet: BPE is not
unique, and templates trim and rewrite. Here the template is read once, when the format is derived, for the ids
that open and close each role's message. A prompt is then a concatenation: opening ids, encoded text, closing ids;
for an assistant message the ids *as sampled*. Hence the property that everything downstream rests on: the prompt
of turn t+1 starts with the prompt of turn t followed by the action of turn t, token for token. Engines keep their
cache by it, and a trainer packs an episode into one sequence.

Masks follow from the pieces: exactly the sampled tokens count, the end-of-turn token included where it was
sampled; what the template adds after it does not.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from sparring.agents.grammar import Grammar
from sparring.agents.prompts import build, extends
from sparring.agents.vocabulary import Vocabulary
from sparring.errors import InvalidConfig, InvalidData
from sparring.types import Action, ActionSet, Image, Message, Trajectory, Turn

# Plain words that no template rewrites; they mark where a message's text stands.
_WORDS = ("alpha", "bravo", "charlie", "delta")


def checksum(token_ids: Sequence[int]) -> int:
    """CRC-32 of ids as little-endian 32-bit integers: what `Action.prompt_checksum` holds."""
    return zlib.crc32(np.asarray(token_ids, dtype="<u4").tobytes())


@dataclass(frozen=True, slots=True)
class Wording:
    """The ids that a chat template puts around messages.

    Attributes:
        opening: before a first user message without a system message (a default system message included).
        system: before a system message; None where the template takes none.
        system_to_user: between a system message and the first user message.
        user: before a later user message. user_end: after every user message.
        assistant: before an assistant message (the generation prompt).
        assistant_end: after an assistant message; its first id is the end-of-turn token, the rest (often a
            newline) is never sampled.
    """

    opening: tuple[int, ...]
    system: tuple[int, ...] | None
    system_to_user: tuple[int, ...]
    user: tuple[int, ...]
    user_end: tuple[int, ...]
    assistant: tuple[int, ...]
    assistant_end: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Span:
    """Where an action stands in a `TokenSequence`.

    Attributes:
        turn: index of the turn in its trajectory. start, stop: half-open range of positions.
        sampled: whether the ids and log-probabilities are those of a policy (False: a scripted action, encoded).
        constrained: whether the ids follow the grammar of the turn's action set, so that
            `grammar.allowed_sets(turn.observation.actions, ids[start:stop])` is defined.
    """

    turn: int
    start: int
    stop: int
    sampled: bool
    constrained: bool


@dataclass(frozen=True, eq=False, slots=True)
class TokenSequence:
    """One training sequence: a prompt with its actions in place, of T tokens.

    Attributes:
        ids: token ids, int64 [T].
        action_mask: True at exactly the tokens of actions, the end-of-turn token included, bool [T].
        turn_index: the turn of each action token, -1 elsewhere, int32 [T].
        logprobs: log-probabilities as sampled at action tokens, 0 elsewhere and for scripted actions, float32 [T].
        spans: the actions in order.
        images: the pictures whose ids stand among the tokens, in order.
    """

    ids: npt.NDArray[np.int64]
    action_mask: npt.NDArray[np.bool_]
    turn_index: npt.NDArray[np.int32]
    logprobs: npt.NDArray[np.float32]
    spans: tuple[Span, ...]
    images: tuple[Image, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)


class Sight(Protocol):
    """How a model takes a picture in (`sparring.agents.eyes`)."""

    def tokens(self, image: Image) -> tuple[int, ...]: ...


class ChatFormat:
    """Renders messages as ids in one model's chat format.

    Args:
        vocabulary: the tokenizer. wording: the template's ids around messages.

    Attributes:
        eyes: how the model takes pictures in; None for one that does not see them.
    """

    def __init__(self, vocabulary: Vocabulary, wording: Wording) -> None:
        self.vocabulary = vocabulary
        self.wording = wording
        self.eyes: Sight | None = None

    @property
    def end_id(self) -> int:
        """The end-of-turn token."""
        return self.wording.assistant_end[0]

    @classmethod
    def from_tokenizer(cls, tokenizer: Any) -> ChatFormat:
        """Derive the format from a tokenizer's own chat template, by rendering dummy conversations.

        Raises:
            InvalidConfig: there is no template, or its conversations can't be put together message by message
                (it rewrites earlier messages, or the tokenizer merges across their borders).
        """
        vocabulary = Vocabulary.of(tokenizer)
        if not getattr(vocabulary.tokenizer, "chat_template", None):
            raise InvalidConfig(
                "the tokenizer has no chat template: set tokenizer.chat_template, or use an instruction-tuned model"
            )
        chat = cls(vocabulary, _derive(vocabulary))
        _verify(chat)
        return chat

    def render(self, messages: Sequence[Message]) -> list[int]:
        """The ids of a prompt, up to and including the generation prompt.

        Args:
            messages: an optional system message, then user and assistant messages, a user message last.
        Raises:
            InvalidConfig: a system message that the template doesn't take, or messages out of order.
        """
        ids: list[int] = []
        for piece, _ in self._pieces(messages):
            ids.extend(piece)
        return ids

    def encode_action(
        self, action: Action, actions: ActionSet | None = None, grammar: Grammar | None = None
    ) -> tuple[int, ...]:
        """The ids of an action: as sampled where it has them, else the path that the decoder would have taken.

        A scripted action is spelled by `grammar` where the grammar admits it, else encoded as plain text with the
        end-of-turn token behind.
        """
        if action.token_ids:
            return action.token_ids
        if grammar is not None and actions is not None and actions.admits(action.text):
            try:
                return grammar.encode(action.text, actions)
            except InvalidData:
                pass  # admissible, but not by tokens that the decoder could have chosen
        return (*self.vocabulary.encode(action.text), self.end_id)

    def _pieces(self, messages: Sequence[Message]) -> list[tuple[tuple[int, ...], Message | None]]:
        """Ids in order, each with the assistant message whose action they are (None for everything else)."""
        wording, encode = self.wording, self.vocabulary.encode
        pieces: list[tuple[tuple[int, ...], Message | None]] = []
        previous = ""
        for message in messages:
            if message.role == "system":
                if wording.system is None:
                    raise InvalidConfig("this model's chat template takes no system message: put it in the instruction")
                if previous:
                    raise InvalidConfig("a system message must come first")
                pieces += [(wording.system, None), (encode(message.content), None)]
            elif message.role == "user":
                before = {"": wording.opening, "system": wording.system_to_user}.get(previous, wording.user)
                pieces.append((before, None))
                if message.image is not None and self.eyes is not None:
                    pieces.append((self.eyes.tokens(message.image), None))
                pieces += [(encode(message.content), None), (wording.user_end, None)]
            else:
                if previous != "user":
                    raise InvalidConfig(f"an assistant message must follow a user message, not {previous or 'nothing'}")
                ids = self.encode_action(message.action or Action(message.content))
                end = wording.assistant_end[1:] if ids[-1] == self.end_id else wording.assistant_end
                pieces += [(wording.assistant, None), (ids, message), (end, None)]
            previous = message.role
        if previous != "user":
            raise InvalidConfig(f"a prompt must end with a user message, not {previous or 'nothing'}")
        pieces.append((wording.assistant, None))
        return pieces


def encode_episode(
    trajectory: Trajectory,
    chat: ChatFormat,
    *,
    grammar: Grammar | None = None,
    memory: str | None = None,
    system: str | None = None,
    verify: bool = True,
) -> list[TokenSequence]:
    """Rebuild the tokens of an episode, for training.

    Args:
        trajectory: the episode.
        chat: the model's chat format.
        grammar: spells scripted actions as constrained decoding would have; None encodes them as plain text.
        memory: the memory style; None takes the trajectory's own.
        system: the system message that the prompts had.
        verify: compare each prompt with what the policy recorded about it, where it did.
    Returns:
        One sequence where each prompt extends the one before it (`full_history`), else one for each turn; none
        for an episode without turns.
    Raises:
        InvalidData: a rebuilt prompt is not the one that the policy saw.
    """
    style = trajectory.memory if memory is None else memory
    turns = [_with_ids(turn, chat, grammar) for turn in trajectory.turns]
    if not turns:
        return []
    actions = [turn.action for turn in turns]
    sequences = []
    ends = [len(turns) - 1] if extends(style) else range(len(turns))
    for last in ends:
        messages = build(
            turns[:last],
            turns[last].observation,
            memory=style,
            instruction=trajectory.instruction,
            system=system,
        )
        first = last - sum(message.role == "assistant" for message in messages) if extends(style) else last
        pieces = [*chat._pieces(messages), (actions[last].token_ids, Message("assistant", "", actions[last]))]
        sequence = _assemble(pieces, first, last, trajectory, chat, grammar, verify)
        if chat.eyes is not None:
            images = tuple(message.image for message in messages if message.image is not None)
            sequence = replace(sequence, images=images)
        sequences.append(sequence)
    return sequences


def _with_ids(turn: Turn, chat: ChatFormat, grammar: Grammar | None) -> Turn:
    """The turn with its action's ids filled in, where a script took it."""
    ids = chat.encode_action(turn.action, turn.observation.actions, grammar)
    return turn if ids is turn.action.token_ids else replace(turn, action=replace(turn.action, token_ids=ids))


def _assemble(
    pieces: Sequence[tuple[tuple[int, ...], Message | None]],
    first: int,
    last: int,
    trajectory: Trajectory,
    chat: ChatFormat,
    grammar: Grammar | None,
    verify: bool,
) -> TokenSequence:
    """Lay the pieces out; only actions of the turns `first` to `last` (the final ones among the pieces) count."""
    ids: list[int] = []
    spans: list[Span] = []
    skipped = sum(message is not None for _, message in pieces) - (last - first + 1)
    total = sum(len(piece) for piece, _ in pieces)
    logprobs = np.zeros(total, dtype=np.float32)
    turn_index = np.full(total, -1, dtype=np.int32)
    for piece, message in pieces:
        if message is not None and skipped:
            skipped -= 1
        elif message is not None:
            turn = first + len(spans)
            original = trajectory.turns[turn].action
            if verify and original.prompt_tokens:
                _check_prompt(ids, original, turn, trajectory, chat)
            start, stop = len(ids), len(ids) + len(piece)
            turn_index[start:stop] = turn
            if original.logprobs:
                logprobs[start:stop] = original.logprobs
            constrained = original.constrained or (
                not original.token_ids and is_path(piece, trajectory.turns[turn].observation.actions, grammar)
            )
            spans.append(Span(turn, start, stop, bool(original.token_ids), constrained))
        ids.extend(piece)
    return TokenSequence(np.array(ids, dtype=np.int64), turn_index >= 0, turn_index, logprobs, tuple(spans))


def is_path(ids: Sequence[int], actions: ActionSet | None, grammar: Grammar | None) -> bool:
    """Whether constrained decoding could have taken these ids."""
    if grammar is None or actions is None or not (actions.choices or actions.forms):
        return False
    try:
        grammar.text(actions, ids)
    except InvalidData:
        return False
    return True


def _check_prompt(ids: list[int], action: Action, turn: int, trajectory: Trajectory, chat: ChatFormat) -> None:
    found = checksum(ids)
    if action.prompt_tokens == len(ids) and action.prompt_checksum == found:
        return
    tail = chat.vocabulary.decode(ids[-60:])
    raise InvalidData(
        f'turn {turn} of task "{trajectory.task_id}" (seed {trajectory.seed}): the rebuilt prompt is not the one that '
        f"the policy saw.\n  seen:    {action.prompt_tokens} tokens, checksum {action.prompt_checksum:08x}\n"
        f"  rebuilt: {len(ids)} tokens, checksum {found:08x}, ending {tail!r}\n"
        f"Use the tokenizer, chat template, system message and memory style ({trajectory.memory}) of the collection."
    )


def _derive(vocabulary: Vocabulary) -> Wording:
    """Read the template's texts off dummy conversations."""
    a, b, c, d = _WORDS

    def text(*turns: tuple[str, str], prompt: bool = False) -> str:
        messages = [{"role": role, "content": content} for role, content in turns]
        return str(vocabulary.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompt))

    def split(whole: str, *marks: str) -> list[str]:
        pieces, rest = [], whole
        for mark in marks:
            before, found, rest = rest.partition(mark)
            if not found:
                raise InvalidConfig(f"the chat template leaves out a message: {mark!r} is not in {whole!r}")
            pieces.append(before)
        return [*pieces, rest]

    opening, user_end = split(text(("user", a)), a)
    _, generation = split(text(("user", a), prompt=True), a)
    conversation = text(("user", a), ("assistant", b), ("user", c))
    _, to_assistant, to_user, closing = split(conversation, a, b, c)
    if not generation.startswith(user_end) or to_assistant != generation or closing != user_end:
        raise InvalidConfig(
            "the chat template writes an earlier turn otherwise than it was generated, so a prompt would not extend "
            f"the one before it: after a user message it generates from {generation!r} and later shows "
            f"{to_assistant!r}; the user message is closed by {user_end!r} and later by {closing!r}. "
            "Simplify tokenizer.chat_template."
        )
    _, _, assistant_end = split(text(("user", a), ("assistant", b)), a, b)
    if not assistant_end or not to_user.startswith(assistant_end):
        raise InvalidConfig(
            f"the chat template closes a last assistant message by {assistant_end!r}, but puts {to_user!r} between "
            "it and the next user message"
        )
    try:
        system, system_to_user, _ = split(text(("system", d), ("user", a)), d, a)
    except Exception:  # a template raises its own jinja errors for roles that it does not take
        system = None
        system_to_user = ""
    control = vocabulary.encode_control
    wording = Wording(
        opening=control(opening),
        system=None if system is None else control(system),
        system_to_user=control(system_to_user),
        user=control(to_user[len(assistant_end) :]),
        user_end=control(user_end),
        assistant=control(generation[len(user_end) :]),
        assistant_end=control(assistant_end),
    )
    if wording.assistant_end[0] not in vocabulary.control_ids:
        raise InvalidConfig(
            f"the chat template closes an assistant message by {assistant_end!r}, which does not begin with a control "
            "token of the tokenizer: nothing would tell the policy's end of turn from text"
        )
    return wording


def _verify(chat: ChatFormat) -> None:
    """Check that the pieces put together give the very ids of the template.

    Raises:
        InvalidConfig: they don't.
    """
    a, b, c, d = _WORDS
    conversation = [Message("user", a), Message("assistant", b), Message("user", c)]
    cases = [conversation] if chat.wording.system is None else [conversation, [Message("system", d), *conversation]]
    for messages in cases:
        plain = [{"role": message.role, "content": message.content} for message in messages]
        whole = str(chat.vocabulary.tokenizer.apply_chat_template(plain, tokenize=False, add_generation_prompt=True))
        expected, rendered = list(chat.vocabulary.encode_control(whole)), chat.render(messages)
        if expected != rendered:
            raise InvalidConfig(
                "the tokenizer merges across the borders of messages, so prompts can't be put together piece by "
                f"piece:\n  template: {expected}\n  pieces:   {rendered}\n  text:     {whole!r}"
            )
