"""The contract between policies and everything that calls them.

`sparring.types.Policy` is the protocol; this module adds its async twin and the check that every policy passes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from sparring.errors import PolicyFailed
from sparring.types import Action, Policy, Prompt


class AsyncPolicy(Protocol):
    """A policy whose engine is asynchronous by nature (a server, vLLM's async engine)."""

    @property
    def version(self) -> int: ...

    async def aact(self, prompts: Sequence[Prompt]) -> list[Action]: ...


async def act_async(policy: Policy, prompts: Sequence[Prompt]) -> list[Action]:
    """Act without blocking the event loop: by the policy's own `aact` where it has one, else in a thread."""
    own = getattr(policy, "aact", None)
    actions: list[Action] = await own(prompts) if own else await asyncio.to_thread(policy.act, prompts)
    return check_actions(policy, prompts, actions)


def check_actions(policy: Policy, prompts: Sequence[Prompt], actions: list[Action]) -> list[Action]:
    """Return `actions` if there is one for each prompt.

    Raises:
        PolicyFailed: the policy broke the contract.
    """
    if len(actions) != len(prompts):
        raise PolicyFailed(
            f"{type(policy).__name__} was given {len(prompts)} prompts and returned {len(actions)} actions"
        )
    return actions
