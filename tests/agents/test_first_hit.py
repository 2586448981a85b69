"""The first-hit heuristic, on handmade pages."""

from __future__ import annotations

import pytest

from sparring.agents.first_hit import FirstHitPolicy
from sparring.errors import PolicyFailed
from sparring.types import ActionSet, Form, Observation, Prompt

INSTRUCTION = "find a [blue] mug with color: navy blue, and size: x-large, and price lower than 10.00 dollars"
BUTTONS = ("back to search", "< prev", "description", "features", "reviews", "buy now")


def act(policy: FirstHitPolicy, actions: ActionSet | None, turn: int = 1, episode: str = "e") -> str:
    prompt = Prompt((), Observation("", actions), INSTRUCTION, episode, turn)
    return policy.act([prompt])[0].text


def clicks(*names: str) -> ActionSet:
    return ActionSet(tuple(f"click[{name}]" for name in names))


def test_it_searches_the_whole_instruction_without_brackets() -> None:
    words = "find a blue mug with color: navy blue, and size: x-large, and price lower than 10.00 dollars"
    assert act(FirstHitPolicy(), ActionSet((), (Form("search[", "]"),)), 0) == f"search[{words}]"


def test_it_keeps_to_the_words_that_a_form_admits() -> None:
    form = Form("search[", "]", ("mug", "color", "x-large"))
    searched = act(FirstHitPolicy(), ActionSet((), (form,)), 0)
    assert searched == "search[mug color x-large]"
    assert form.admits(searched)


def test_it_opens_the_first_hit_and_without_hits_goes_back() -> None:
    assert act(FirstHitPolicy(), clicks("back to search", "next >", "b0b", "b0a")) == "click[b0b]"
    assert act(FirstHitPolicy(), clicks("back to search", "< prev", "next >")) == "click[back to search]"


def test_it_sets_the_options_that_the_instruction_names_then_buys() -> None:
    # "blue" stands by itself too, but the longer "navy blue" is clicked after it and stays; "large" stands only
    # inside "x-large", "10" only inside a price.
    page = clicks(*BUTTONS, "navy blue", "blue", "red", "large", "x-large", "10")
    policy = FirstHitPolicy()
    taken = [act(policy, page) for _ in range(4)]
    assert taken == ["click[blue]", "click[x-large]", "click[navy blue]", "click[buy now]"]


def test_episodes_do_not_disturb_each_other() -> None:
    page = clicks(*BUTTONS, "navy blue")
    policy = FirstHitPolicy()
    assert act(policy, page, episode="one") == "click[navy blue]"
    assert act(policy, page, episode="two") == "click[navy blue]"
    assert act(policy, page, episode="one") == "click[buy now]"
    policy.forget("one")
    assert act(policy, page, episode="one") == "click[navy blue]"
    assert act(policy, page, turn=0, episode="two") == "click[navy blue]"


def test_it_needs_to_know_what_is_admissible() -> None:
    with pytest.raises(PolicyFailed, match="actions"):
        act(FirstHitPolicy(), None)
