"""Turns of past episodes, kept to learn from again: what an off-policy critic replays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sparring.agents.grammar import Grammar
from sparring.agents.hf import HFPolicy
from sparring.agents.prompts import build
from sparring.agents.rendering import ChatFormat, is_path
from sparring.trainers.batch import Ints, Sample
from sparring.trainers.session import entropy
from sparring.types import Action, Prompt, Stop, Trajectory, Turn

# Prompts of one call of the policy: more would only make its batch's rows longer to wait for each other.
_DRAWN_AT_ONCE = 256


@dataclass(frozen=True, slots=True, eq=False)
class Transition:
    """One turn: a state, an utterance, and what came of it.

    Attributes:
        prompt: what the policy saw. state_T: its ids, int64.
        action: what it said. utterance_T: the ids of that, end of turn included, int64.
        reward: of the turn.
        next_T: ids of the following prompt, int64. terminated: whether the environment ended there, so that nothing
            follows; a limit is no end.
        to_go: the rewards from this turn to the episode's last, discounted turn by turn.
        episode_return: of the whole episode.
    """

    prompt: Prompt
    state_T: Ints
    action: Action
    utterance_T: Ints
    reward: float
    next_T: Ints
    terminated: bool
    to_go: float
    episode_return: float


def transitions_of(
    trajectory: Trajectory,
    policy: HFPolicy,
    *,
    gamma: float = 1.0,
    system: str | None = None,
    bootstrap: bool = True,
) -> list[Transition]:
    """The turns of an episode, up to the first whose following prompt overruns the model's context.

    Args:
        policy: whose chat format, grammar and context the episode is laid out for. Actions that no model sampled are
            spelled as it would have.
        gamma: discount of `to_go`. system: the system message that the prompts had.
        bootstrap: whether something follows the last turn where the environment did not end; without it, that turn
            counts as terminated.
    """
    if trajectory.stop is Stop.ENV_ERROR or trajectory.final is None:
        return []
    grammar = policy.grammar if policy.constrained else None
    turns = [_spelled(turn, policy.chat, grammar) for turn in trajectory.turns]
    prompts = [
        Prompt(
            build(turns[:at], seen, memory=trajectory.memory, instruction=trajectory.instruction, system=system),
            seen,
            trajectory.instruction,
            turn=at,
        )
        for at, seen in enumerate([*(turn.observation for turn in turns), trajectory.final])
    ]
    ids = [np.array(policy.chat.render(prompt.messages), dtype=np.int64) for prompt in prompts]
    to_go = [0.0] * (len(turns) + 1)
    for at in reversed(range(len(turns))):
        to_go[at] = turns[at].reward + gamma * to_go[at + 1]
    found = []
    for at, turn in enumerate(turns):
        if max(len(ids[at]) + len(turn.action.token_ids), len(ids[at + 1])) >= policy.max_context:
            break
        found.append(
            Transition(
                prompts[at],
                ids[at],
                turn.action,
                np.array(turn.action.token_ids, dtype=np.int64),
                turn.reward,
                ids[at + 1],
                turn.terminated,
                to_go[at],
                trajectory.total_reward,
            )
        )
    if found and not bootstrap:
        found[-1] = replace(found[-1], terminated=True)
    return found


def _spelled(turn: Turn, chat: ChatFormat, grammar: Grammar | None) -> Turn:
    """The turn with its action's ids filled in, where a script took it."""
    if turn.action.token_ids:
        return turn
    ids = chat.encode_action(turn.action, turn.observation.actions, grammar)
    follows_grammar = is_path(ids, turn.observation.actions, grammar)
    return replace(turn, action=replace(turn.action, token_ids=ids, constrained=follows_grammar))


class Replay:
    """The newest transitions, at most `capacity` of them.

    Args:
        capacity: how many are kept; the oldest give way.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._kept: list[Transition] = []

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, index: int) -> Transition:
        return self._kept[index]

    def add(self, transitions: Iterable[Transition]) -> None:
        """Keep these too."""
        self._kept.extend(transitions)
        del self._kept[: -self._capacity]


def draw(policy: HFPolicy, transitions: Sequence[Transition], seed: int, step: int, purpose: str) -> list[Action]:
    """Ask the policy anew what it would say in each state.

    Args:
        seed, step, purpose: of the samples: equal ones give equal samples from equal weights.
    """
    key = entropy(seed, step, purpose)
    prompts = [replace(one.prompt, seed=(*key, at)) for at, one in enumerate(transitions)]
    return [
        action
        for first in range(0, len(prompts), _DRAWN_AT_ONCE)
        for action in policy.act(prompts[first : first + _DRAWN_AT_ONCE])
    ]


def as_sample(policy: HFPolicy, state_T: Ints, transition: Transition, action: Action) -> Sample:
    """A state and an action in it, as a sequence whose action can be learned."""
    utterance = list(action.token_ids)
    count = len(utterance)
    actions = transition.prompt.observation.actions
    allowed = policy.grammar.allowed_sets(actions, utterance) if action.constrained and actions else [None] * count
    logprobs = action.logprobs or (np.nan,) * count
    return Sample(
        np.concatenate([state_T, np.array(utterance, dtype=np.int64)]),
        np.arange(len(state_T), len(state_T) + count),
        np.array(logprobs, dtype=np.float32),
        tuple(allowed),
    )


def ids_of(actions: Sequence[Action]) -> list[Ints]:
    """The tokens of some actions, int64."""
    return [np.array(action.token_ids, dtype=np.int64) for action in actions]
