"""Reranking: one policy proposes several utterances, and a critic that has learned what they lead to picks one."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sparring.agents.hf import HFPolicy
from sparring.agents.models.critic import Ints, UtteranceCritic, build_utterance_critic
from sparring.agents.threads import cpu_threads
from sparring.errors import InvalidConfig, InvalidData
from sparring.types import Action, Prompt

# Pairs of a state and an utterance that go through the critic at once.
_VALUED_AT_ONCE = 64


class RerankPolicy:
    """Says the one of `proposals` sampled utterances of which a critic's lower Q is highest; of equals, the first.

    Equal prompts and seeds give equal choices. What it returns is the proposer's action as sampled: the recorded
    log-probabilities are the proposer's, not those of having been picked, so there is no policy gradient on them.

    Args:
        proposer: a policy that samples. critic: what values utterances in the proposer's token ids.
        proposals: how many utterances are proposed in each state; CHAI has 5.
    Raises:
        InvalidConfig: `proposals` below 1, or a greedy proposer, which would propose one utterance again and again.
    Source:
        CHAI, arXiv:2204.08426, as in the baselines of ArCHer, arXiv:2402.19446.
    """

    def __init__(self, proposer: HFPolicy, critic: UtteranceCritic, *, proposals: int = 5) -> None:
        if proposals < 1:
            raise InvalidConfig(f"proposals must be at least 1, got {proposals}")
        if proposer.greedy:
            raise InvalidConfig("a proposer that is greedy proposes the same every time: give one that samples")
        self.proposer, self.critic, self.proposals = proposer, critic.eval(), proposals

    @property
    def version(self) -> int:
        """That of the proposer."""
        return self.proposer.version

    def act(self, prompts: Sequence[Prompt]) -> list[Action]:
        """Let the proposer speak for each prompt, and pick.

        Raises:
            InvalidConfig: messages that the chat format can't render, or an empty action set.
        """
        asked = [replace(one, seed=(*one.seed, number)) for one in prompts for number in range(self.proposals)]
        proposed = self.proposer.act(asked)
        values = self._values([prompt for prompt in prompts for _ in range(self.proposals)], proposed)
        table_BK = values.reshape(len(prompts), self.proposals)
        return [proposed[row * self.proposals + int(best)] for row, best in enumerate(table_BK.argmax(axis=1))]

    def forget(self, episode: str) -> None:
        """Free what the proposer keeps for an episode."""
        self.proposer.forget(episode)

    def _values(self, prompts: Sequence[Prompt], actions: Sequence[Action]) -> np.ndarray[Any, np.dtype[np.float32]]:
        """The lower Q of each action; of an action that says nothing, for want of room, minus infinity."""
        found = np.full(len(actions), -np.inf, dtype=np.float32)
        pairs: dict[tuple[tuple[int, ...], tuple[int, ...]], list[int]] = {}
        states: dict[int, tuple[int, ...]] = {}
        for row, (prompt, action) in enumerate(zip(prompts, actions, strict=True)):
            if action.token_ids:
                first = row - row % self.proposals
                if first not in states:
                    states[first] = tuple(self.proposer.chat.render(prompt.messages))
                pairs.setdefault((states[first], action.token_ids), []).append(row)
        distinct = sorted(pairs, key=lambda pair: len(pair[0]) + len(pair[1]))
        for start in range(0, len(distinct), _VALUED_AT_ONCE):
            part = distinct[start : start + _VALUED_AT_ONCE]
            with torch.inference_mode(), cpu_threads(self.critic, 0):
                q_2B = self.critic([_ids(state) for state, _ in part], [_ids(said) for _, said in part])[0]
            for pair, value in zip(part, q_2B.amin(0).tolist(), strict=True):
                found[pairs[pair]] = value
        return found


def load_critic(checkpoint: Path, encoder: str, policy: HFPolicy) -> UtteranceCritic:
    """The critic of a checkpoint of `archer` or `offline_archer`: the slow copy, whose values are the steadier.

    Args:
        checkpoint: its folder. encoder: as in that run's settings. policy: of the same checkpoint.
    Raises:
        InvalidData: the folder holds no critic, or one of another shape.
    """
    path = checkpoint / "critic.pt"
    critic = build_utterance_critic(encoder, policy.model, policy.vocabulary.decode)
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
        critic.load_state_dict(state["target"] or state["module"])
    except (OSError, RuntimeError, KeyError, TypeError, pickle.UnpicklingError) as error:
        raise InvalidData(
            f"{path} holds no critic of utterances; runs of archer and offline_archer have one ({error})"
        ) from error
    return critic.requires_grad_(False)


def _ids(values: Sequence[int]) -> Ints:
    return np.array(values, dtype=np.int64)
