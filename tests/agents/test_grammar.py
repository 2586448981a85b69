"""The token grammar: what it admits, what it spells, when it closes a slot."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sparring.agents.grammar import Grammar
from sparring.errors import InvalidConfig, InvalidData
from sparring.types import ActionSet, Form

WORDS = ("red", "blue", "shoe", "jeans", "reddish")
texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), min_size=1, max_size=12)
forms = st.one_of(
    st.just(Form("search[", "]", WORDS)),
    st.just(Form("say[", "]")),
    st.just(Form("", "", WORDS[:2])),
    st.just(Form("open(", ").")),
)
action_sets = st.builds(
    lambda choices, slots: ActionSet(tuple(choices), tuple(slots)),
    st.lists(texts, max_size=6),
    st.lists(forms, max_size=2),
).filter(lambda actions: bool(actions.choices or actions.forms))
relaxed = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def walk(grammar: Grammar, actions: ActionSet, seed: int) -> list[int]:
    rng, state, ids = np.random.default_rng(seed), grammar.start(actions), []
    while not state.is_done:
        ids.append(int(rng.choice(grammar.allowed(state))))
        state = grammar.advance(state, ids[-1])
    return ids


@relaxed
@given(actions=action_sets, seed=st.integers(0, 2**32), budget=st.integers(1, 24))
def test_whatever_is_decoded_is_admissible(tokenizer: Any, actions: ActionSet, seed: int, budget: int) -> None:
    grammar = Grammar(tokenizer, tokenizer.eos_token_id, max_tokens=budget)
    ids = walk(grammar, actions, seed)
    text = grammar.text(actions, ids)
    assert ids[-1] == tokenizer.eos_token_id
    if "\N{REPLACEMENT CHARACTER}" not in text:  # a free slot may hold half a character, which decodes to this mark
        assert actions.admits(text)
    assert all(token in allowed for token, allowed in zip(ids, grammar.allowed_sets(actions, ids), strict=True))


@relaxed
@given(actions=action_sets, data=st.data())
def test_encoding_takes_a_path_of_the_decoder(tokenizer: Any, actions: ActionSet, data: st.DataObject) -> None:
    grammar = Grammar(tokenizer, tokenizer.eos_token_id, max_tokens=64)
    spelled = list(actions.choices)
    for form in actions.forms:
        slot = " ".join(data.draw(st.lists(st.sampled_from(form.words or ("a", "red", "?")), min_size=1, max_size=3)))
        spelled.append(form.prefix + slot + form.suffix)
    for text in spelled:
        ids = grammar.encode(text, actions)
        assert grammar.text(actions, ids) == text
        assert ids[-1] == grammar.end_id
        assert all(token in allowed for token, allowed in zip(ids, grammar.allowed_sets(actions, ids), strict=True))


def test_a_choice_that_begins_another_stays_reachable(tokenizer: Any) -> None:
    grammar = Grammar(tokenizer, tokenizer.eos_token_id)
    actions = ActionSet(("red", "red shoe"))
    red = grammar.vocabulary.encode("red")
    state = grammar.start(actions)
    for token in red:
        state = grammar.advance(state, token)
    shoe = grammar.vocabulary.encode("red shoe")[len(red)]
    assert set(state.allowed.tolist()) == {tokenizer.eos_token_id, shoe}
    assert state.forced is None


def test_a_choice_that_begins_like_a_form(tokenizer: Any) -> None:
    grammar = Grammar(tokenizer, tokenizer.eos_token_id)
    actions = ActionSet(("search[red]",), (Form("search[", "]", WORDS),))
    for text in ("search[red]", "search[red blue]"):
        assert grammar.text(actions, grammar.encode(text, actions)) == text


def test_a_slot_is_closed_in_time(tokenizer: Any) -> None:
    budget = 12
    grammar = Grammar(tokenizer, tokenizer.eos_token_id, max_tokens=budget)
    for form in (Form("search[", "]"), Form("search[", "]", WORDS)):
        lengths = {len(walk(grammar, ActionSet((), (form,)), seed)) for seed in range(50)}
        assert max(lengths) == budget, form
    longest = ActionSet(("a choice is taken whole however long it is, past any budget",))
    assert len(walk(grammar, longest, 0)) > budget


def test_a_free_slot_admits_no_control_token_and_no_suffix(tokenizer: Any) -> None:
    grammar = Grammar(tokenizer, tokenizer.eos_token_id)
    actions = ActionSet((), (Form("say[", "]"),))
    state = grammar.start(actions)
    for token in grammar.vocabulary.encode("say["):
        state = grammar.advance(state, token)
    allowed = set(state.allowed.tolist())
    assert not allowed & grammar.vocabulary.control_ids
    assert not any("]" in grammar.vocabulary.texts[token] for token in allowed)  # nor an empty slot, nor a tag [0]
    with pytest.raises(InvalidData, match="not admissible"):
        grammar.advance(state, tokenizer.eos_token_id)


def test_forced_tokens_are_named(tokenizer: Any) -> None:
    grammar = Grammar(tokenizer, tokenizer.eos_token_id)
    state, steps = grammar.start(ActionSet(("back",))), 0
    while not state.is_done:
        assert state.forced is not None
        state, steps = grammar.advance(state, state.forced), steps + 1
    assert steps == len(grammar.vocabulary.encode("back")) + 1


@pytest.mark.parametrize(
    ("text", "actions"),
    [
        ("left", ActionSet(("right",))),
        ("say[a]b]", ActionSet((), (Form("say[", "]"),))),
        ("say[" + "x " * 40 + "]", ActionSet((), (Form("say[", "]"),))),
    ],
)
def test_what_no_path_spells_is_refused(tokenizer: Any, text: str, actions: ActionSet) -> None:
    with pytest.raises(InvalidData, match="constrained decoding"):
        Grammar(tokenizer, tokenizer.eos_token_id).encode(text, actions)


def test_sets_that_admit_nothing_are_refused(tokenizer: Any) -> None:
    grammar = Grammar(tokenizer, tokenizer.eos_token_id)
    for actions in (
        ActionSet(),
        ActionSet(("",)),
        ActionSet((), (Form("a", "b", ()),)),
        ActionSet((), (Form("a", "b", ("x y",)),)),
    ):
        with pytest.raises(InvalidConfig):
            grammar.start(actions)
    with pytest.raises(InvalidConfig, match="max_tokens"):
        Grammar(tokenizer, tokenizer.eos_token_id, max_tokens=0)


def test_incomplete_ids_have_no_text(tokenizer: Any) -> None:
    grammar = Grammar(tokenizer, tokenizer.eos_token_id)
    with pytest.raises(InvalidData, match="no complete action"):
        grammar.text(ActionSet(("back",)), grammar.vocabulary.encode("back"))
