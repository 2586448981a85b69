"""The contract that every policy passes, scripted or learned."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sparring.errors import CheckFailed
from sparring.testing.outcome import brief
from sparring.types import Action, Policy, Prompt


def check_policy(policy: Policy, prompts: Sequence[Prompt]) -> None:
    """Check a policy on real prompts (of one environment; two or more, with different episode keys).

    Raises:
        CheckFailed: the first thing found: what the policy returned and what was expected.
    """
    name = type(policy).__name__
    if not prompts:
        raise CheckFailed("check_policy needs at least one prompt to ask the policy with")
    version = getattr(policy, "version", None)
    if not isinstance(version, int) or isinstance(version, bool):
        raise CheckFailed(f"{name}.version must be an int, got {brief(version)}. A policy that never learns says 0")
    if list(policy.act([])) != []:
        raise CheckFailed(f"{name}.act([]) must return []")
    actions = policy.act(prompts)
    if len(actions) != len(prompts):
        raise CheckFailed(f"{name}.act was given {len(prompts)} prompts and returned {len(actions)} actions")
    for prompt, action in zip(prompts, actions, strict=True):
        _check_action(name, prompt, action)
    for prompt in prompts:
        _forget(policy, prompt.episode)
    again = policy.act(prompts)
    for prompt, first, second in zip(prompts, actions, again, strict=True):
        if first.text != second.text:
            raise CheckFailed(
                f"{name} said {brief(first.text)} and then {brief(second.text)} to the same prompt with the same seed "
                f"{prompt.seed}. Draw from np.random.default_rng(prompt.seed) and from nothing else"
            )
        _forget(policy, prompt.episode)
    _forget(policy, "an episode that the policy never saw")


def _check_action(name: str, prompt: Prompt, action: Action) -> None:
    if not isinstance(action, Action) or not isinstance(action.text, str):
        raise CheckFailed(f"{name}.act must return sparring.Action with a string text, got {brief(action)}")
    if len(action.token_ids) != len(action.logprobs):
        raise CheckFailed(
            f"{name} gave {len(action.token_ids)} token ids and {len(action.logprobs)} log-probabilities: one a token"
        )
    for logprob in action.logprobs:
        if not (math.isfinite(logprob) and logprob <= 1e-6):
            raise CheckFailed(f"{name} gave the log-probability {logprob}: expected a finite number of at most 0")
    allowed = prompt.observation.actions
    if action.constrained and action.stop == "end" and allowed is not None and not allowed.admits(action.text):
        raise CheckFailed(
            f"{name} decoded under constraint and yet said {brief(action.text)}, which {brief(allowed)} does not admit"
        )


def _forget(policy: Policy, episode: str) -> None:
    forget = getattr(policy, "forget", None)
    if forget is not None:
        forget(episode)
