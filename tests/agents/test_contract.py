"""Every kind of policy keeps the one contract (the client of servers is held to it in its own file)."""

from __future__ import annotations

from pathlib import Path

import pytest

from sparring.agents.first_hit import FirstHitPolicy
from sparring.agents.prompts import build
from sparring.agents.scripted import ExpertPolicy, RandomPolicy
from sparring.testing import check_policy
from sparring.types import ActionSet, Form, Observation, Policy, Prompt
from tests.worlds import WORDS


def prompts() -> list[Prompt]:
    """Ragged prompts of four episodes, with closed and with open actions."""
    sets = (ActionSet(WORDS), ActionSet((), (Form("search[", "]", ("red", "shoes")),)))
    made = []
    for number in range(4):
        observation = Observation("red " * (1 + 3 * number), sets[number % 2], expert="red")
        messages = build([], observation, instruction="Buy red shoes.")
        made.append(Prompt(messages, observation, "Buy red shoes.", f"episode-{number}", 0, (number, 1, 0)))
    return made


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from sparring.agents.models.tiny import build_tiny

    texts = ["Buy red shoes. search[red shoes]", *WORDS]
    return build_tiny(texts, tmp_path_factory.mktemp("models") / "tiny", hidden=32, layers=2, heads=2)


@pytest.mark.parametrize(
    "policy", [RandomPolicy(), ExpertPolicy(0.4), FirstHitPolicy()], ids=lambda p: type(p).__name__
)
def test_scripted_policies(policy: Policy) -> None:
    check_policy(policy, prompts())


@pytest.mark.parametrize("cache", ["pooled", "plain"])
@pytest.mark.parametrize("constrained", [True, False])
@pytest.mark.parametrize("greedy", [True, False])
def test_language_models(tiny: Path, cache: str, constrained: bool, greedy: bool) -> None:
    from sparring.agents.hf import HFPolicy

    policy = HFPolicy.from_folder(tiny, cache=cache, constrained=constrained, greedy=greedy, max_new_tokens=8)
    check_policy(policy, prompts())
    assert any(action.constrained for action in policy.act(prompts())) == constrained
