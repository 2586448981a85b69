"""The nouns of sparring: frozen, slotted, picklable.

A task goes into an environment, a policy talks to it over turns, one collector writes trajectories, and
everything else reads trajectories. `Batch`, the padded tensors for a loss, lives in `sparring.trainers.batch`
because it needs torch.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, Protocol, runtime_checkable

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Form:
    """An action with an open slot, such as `search[…]`: `prefix` + free text + `suffix`.

    `words`, where given, is the vocabulary of the slot: its text is then words of it joined by single spaces.
    """

    prefix: str
    suffix: str
    words: tuple[str, ...] | None = None

    def admits(self, text: str) -> bool:
        """Whether `text` is this form with a non-empty slot (of the right words, where they are given)."""
        if not (text.startswith(self.prefix) and text.endswith(self.suffix)):
            return False
        slot = text[len(self.prefix) : len(text) - len(self.suffix)]
        if not slot or len(text) < len(self.prefix) + len(self.suffix):
            return False
        return self.words is None or all(word in self.words for word in slot.split(" "))


@dataclass(frozen=True, slots=True)
class ActionSet:
    """The actions that an environment admits now: complete strings, and forms with an open slot."""

    choices: tuple[str, ...] = ()
    forms: tuple[Form, ...] = ()

    def admits(self, text: str) -> bool:
        """Whether `text` is one of the choices or fits one of the forms."""
        return text in self.choices or any(form.admits(text) for form in self.forms)


@dataclass(frozen=True, slots=True)
class Image:
    """A picture as the bytes of a PNG file, which is also how it is kept in files of trajectories (as base64)."""

    png: bytes = field(repr=False)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, as the file's header says.

        Raises:
            ValueError: these are not the bytes of a PNG file.
        """
        if not self.png.startswith(b"\x89PNG\r\n\x1a\n") or len(self.png) < 24:
            raise ValueError(f"no PNG file: its {len(self.png)} bytes begin with {self.png[:8]!r}")
        width, height = struct.unpack(">II", self.png[16:24])
        return int(width), int(height)


@dataclass(frozen=True, slots=True)
class Observation:
    """What a policy sees now.

    `image` is a picture of it, where the environment draws one. `expert` is the next action of the environment's own
    expert. It is set only under the `expert` wrapper, is read by scripted demonstrators, and never enters a prompt.
    """

    text: str
    actions: ActionSet | None = None
    expert: str | None = None
    image: Image | None = None


@dataclass(frozen=True, slots=True)
class Action:
    """What a policy said, with the token ids and log-probabilities *as sampled*: nothing is re-tokenised later.

    `token_ids` includes the end-of-turn token where the policy sampled it. `logprobs` are natural logarithms
    under the temperature-scaled distribution that was sampled from, before nucleus truncation, renormalised
    over the admissible tokens where decoding was constrained (`constrained`). `prompt_tokens` and
    `prompt_checksum` (CRC-32 of the ids) let a trainer verify that it rebuilds the very prompt that the policy
    saw. Scripted policies leave the token fields empty. `reported_tokens` is how many tokens were sampled
    according to a server that keeps their ids to itself.
    """

    text: str
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    constrained: bool = False
    prompt_tokens: int = 0
    prompt_checksum: int = 0
    stop: Literal["end", "length", "context"] = "end"
    reported_tokens: int = 0

    @property
    def sampled_tokens(self) -> int:
        """How many tokens were sampled, by their ids or by a server's report."""
        return len(self.token_ids) or self.reported_tokens


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a prompt. An assistant message carries the `Action` it came from.

    A user message may carry an `image`, which stands before its text.
    """

    role: Role
    content: str
    action: Action | None = None
    image: Image | None = None


@dataclass(frozen=True, slots=True)
class Prompt:
    """One request to a policy.

    Attributes:
        messages: the conversation, the current observation last.
        observation: the current observation, for policies that read it directly and for constrained decoding.
        instruction: the task's instruction.
        episode: a key that is unique among the episodes in flight; an engine may keep its cache under it.
        turn: index of the turn, from 0.
        seed: entropy for sampling this turn; equal seeds and equal logits give equal samples.
    """

    messages: tuple[Message, ...]
    observation: Observation
    instruction: str = ""
    episode: str = ""
    turn: int = 0
    seed: tuple[int, ...] = (0,)


@dataclass(frozen=True, slots=True)
class Turn:
    """One observation, the action taken on it, and what came of it. `info` holds plain scalars only."""

    observation: Observation
    action: Action
    reward: float
    terminated: bool = False
    truncated: bool = False
    info: Mapping[str, Any] = field(default_factory=dict)


class Stop(StrEnum):
    """Why an episode ended."""

    TERMINATED = "terminated"  # the environment reached an end of its own
    TRUNCATED = "truncated"  # the environment (or its time limit) cut it short
    MAX_TURNS = "max_turns"  # the collector's budget of turns ran out
    CONTEXT_FULL = "context_full"  # the conversation no longer fits the policy's context
    ENV_ERROR = "env_error"  # the environment failed; `Trajectory.error` says how


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One episode, as the collector wrote it.

    Attributes:
        env_id, wrappers: the registered environment and the named wrappers around it.
        task_id, seed: what reset was given. sampling_seed: the entropy of the policy's samples.
        memory: name of the memory style that built the prompts.
        policy_version: version of the weights that acted.
        turns: the turns in order. final: the observation after the last action.
        stop, error: why it ended; `error` is None unless the environment failed.
        info: scalars of the last step's info (for example `score` and `success`).
        cluster: what the task shares with others, as the environment named it at reset; empty where it named nothing.
    """

    env_id: str
    task_id: str
    seed: int
    instruction: str
    turns: tuple[Turn, ...]
    stop: Stop
    final: Observation | None = None
    wrappers: tuple[str, ...] = ()
    memory: str = "full_history"
    sampling_seed: int = 0
    policy_version: int = 0
    error: str | None = None
    info: Mapping[str, Any] = field(default_factory=dict)
    cluster: str = ""

    @property
    def total_reward(self) -> float:
        """The undiscounted return."""
        return sum(turn.reward for turn in self.turns)

    @property
    def score(self) -> float:
        """The environment's own score in [0, 1] where it reports one at the end, else the return."""
        return float(self.info.get("score", self.total_reward))

    @property
    def success(self) -> bool:
        """Whether the environment reported success at the end."""
        return bool(self.info.get("success", False))


@dataclass(frozen=True, slots=True)
class Group:
    """Trajectories of one task and environment seed: what group advantages are centred over."""

    trajectories: tuple[Trajectory, ...]


class SnapshotKind(StrEnum):
    """How a snapshot brings a state back."""

    COPY = "copy"  # explicit state, copied
    SANDBOX = "sandbox"  # a file tree or container image
    REPLAY = "replay"  # reset and re-applied actions, checked turn by turn


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A saved environment state, random generator included. Opaque to everyone but its environment."""

    env_id: str
    kind: SnapshotKind
    state: object


@runtime_checkable
class Policy(Protocol):
    """Anything that acts: a batched function from prompts to actions.

    `version` counts weight updates (0 for a policy that never learns). A policy may also offer an async twin
    `aact`, and `forget(episode)`, which the collector calls when an episode ends.
    """

    @property
    def version(self) -> int: ...

    def act(self, prompts: Sequence[Prompt]) -> list[Action]: ...
