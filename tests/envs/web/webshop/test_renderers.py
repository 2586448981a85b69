"""Renderings for small models: acting through them is acting on the plain shop."""

from __future__ import annotations

import re
from itertools import permutations
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparring.agents.scripted import ExpertPolicy, random_action
from sparring.envs.base import TextEnv, TextWrapper, restore, snapshot
from sparring.envs.pool import EnvPool
from sparring.envs.web.webshop.generate import generate
from sparring.envs.web.webshop.matching import asked_for, shared_words, words_of
from sparring.envs.web.webshop.renderers import (
    ABOVE,
    ASKED,
    NOTHING_NEW,
    PERHAPS,
    TAGS,
    WITHIN,
    IndexClicks,
    MatchCounts,
    NewObservationOnly,
    PriceMarks,
    special_tokens,
)
from sparring.errors import InvalidConfig
from sparring.registration import make
from sparring.rollout import Setting, Start, rollout
from sparring.types import ActionSet, Form, Observation, Prompt

INNER = ("webshop-brief", "webshop-match", "webshop-price")
ALL = ("webshop-top5", *INNER, "webshop-index")
INSTRUCTION = (
    "Find me a water resistant tote bag with color: navy blue, and size: 7, and price lower than 40.00 dollars"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(products=300, seed=11, out=tmp_path_factory.mktemp("made") / "catalogue")


class Script(TextEnv):
    """Shows given pages one after another."""

    state = ("at",)

    def __init__(self, *pages: tuple[str, ActionSet], instruction: str = INSTRUCTION) -> None:
        self.pages, self.at, self.instruction = pages, 0, instruction
        self.taken: list[str] = []

    def observe(self) -> tuple[str, dict[str, Any]]:
        text, actions = self.pages[min(self.at, len(self.pages) - 1)]
        return text, {"actions": actions, "instruction": self.instruction}

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[str, dict[str, Any]]:
        self.at = 0
        return self.observe()

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        self.taken.append(action)
        self.at += 1
        text, info = self.observe()
        return text, 0.0, False, False, info


START = ("WebShop [SEP] Instruction: [SEP] " + INSTRUCTION + " [SEP] Search", ActionSet((), (Form("search[", "]"),)))
RESULTS = (
    f"Instruction: [SEP] {INSTRUCTION} [SEP] Back to Search [SEP] Page 1 (Total results: 3) [SEP] Next > [SEP] "
    "B0AAAAAAAA [SEP] Vava Water Resistant Tote Bag [SEP] $35.5 [SEP] B0BBBBBBBB [SEP] Wimo Tote [SEP] $40.01 [SEP] "
    "B0CCCCCCCC [SEP] Mug [SEP] $10.0 to $41.0",
    ActionSet(
        ("click[back to search]", "click[next >]", "click[b0aaaaaaaa]", "click[b0bbbbbbbb]", "click[b0cccccccc]")
    ),
)
ITEM = (
    f"Instruction: [SEP] {INSTRUCTION} [SEP] Back to Search [SEP] < Prev [SEP] color [SEP] blue [SEP] navy blue [SEP] "
    "size [SEP] 7 [SEP] 40 [SEP] Vava Water Resistant Tote Bag [SEP] Price: $35.5 [SEP] Rating: N.A. [SEP] "
    "Description [SEP] Features [SEP] Reviews [SEP] Buy Now",
    ActionSet(
        tuple(
            f"click[{name}]"
            for name in (
                "back to search", "< prev", "description", "features", "reviews", "buy now",
                "blue", "navy blue", "7", "40",
            )
        )
    ),
)  # fmt: skip


def test_tags_stand_behind_what_they_name() -> None:
    env = IndexClicks(Script(START, RESULTS, ITEM))
    env.reset(seed=5)
    text, _, _, _, info = env.step("search[bag]")
    first, second, third = info["actions"].choices[2:]
    assert (
        f"Vava Water Resistant Tote Bag $35.5 {first} [SEP] Wimo Tote $40.01 {second} [SEP] Mug $10.0 to $41.0 {third}"
        in text
    )
    assert "B0AAAAAAAA" not in text
    assert "Back to Search [0] [SEP] Page 1 (Total results: 3) [SEP] Next > [2]" in text
    assert info["actions"].choices[:2] == ("[0]", "[2]")
    text, _, _, _, info = env.step(second)
    blue, navy, seven, forty = info["actions"].choices[-4:]
    assert f"color [SEP] blue {blue} [SEP] navy blue {navy} [SEP] size [SEP] 7 {seven} [SEP] 40 {forty}" in text
    assert text.endswith("Description [3] [SEP] Features [4] [SEP] Reviews [5] [SEP] Buy Now [7]")
    env.step("[7]")
    assert env.unwrapped.taken == ["search[bag]", "click[b0bbbbbbbb]", "click[buy now]"]  # type: ignore[attr-defined]


def test_tags_are_drawn_anew_for_each_episode_and_page_and_kept_within() -> None:
    def choices(env: IndexClicks, seed: int | None) -> tuple[str, ...]:
        env.reset(seed=seed)
        *_, info = env.step("search[bag]")
        chosen: tuple[str, ...] = info["actions"].choices[2:]
        return chosen

    env = IndexClicks(Script(START, RESULTS, RESULTS))
    assert choices(env, 1) == choices(env, 1) == choices(IndexClicks(Script(START, RESULTS)), 1)
    assert len({choices(env, seed) for seed in range(20)}) > 15
    assert len({choices(env, None) for _ in range(20)}) > 15
    first = choices(env, 3)
    *_, again = env.step("click[next >]")
    assert again["actions"].choices[2:] == first


def test_marked_things_have_tags_of_their_own_range() -> None:
    env = IndexClicks(MatchCounts(Script(START, RESULTS, ITEM)))
    env.reset(seed=1)
    text, *_ = env.step("search[bag]")
    assert all(int(tag[1:-1]) >= 40 for tag in re.findall(r"\(most\) (\[\d+\])", text))
    assert all(8 <= int(tag[1:-1]) < 40 for tag in re.findall(r"=\d (\[\d+\])", text))
    text, *_ = env.step("[8]")
    assert len(asked := re.findall(r"\(asked\) \[(\d+)\]", text)) == 2
    assert all(int(number) >= 40 for number in asked)


def test_what_finds_no_tag_keeps_its_plain_action() -> None:
    values = [f"value {number}" for number in range(70)]
    page = ("Instruction: [SEP] x [SEP] " + " [SEP] ".join(values), ActionSet(tuple(f"click[{one}]" for one in values)))
    text, info = IndexClicks(Script(page)).reset()
    assert info["actions"].choices[55] in TAGS and info["actions"].choices[56] == "click[value 56]"
    assert re.search(r"value 55 \[\d+\] \[SEP\] value 56 \[SEP\] value 57", text)


def test_matches_are_counted_and_options_marked() -> None:
    env = MatchCounts(Script(START, RESULTS, ITEM))
    _, info = env.reset()
    (form,) = info["actions"].forms
    assert form.admits("search[water resistant tote bag navy 40.00]")
    assert not form.admits("search[mug]")
    assert "a" not in form.words and "with" not in form.words  # search ignores them
    text, *_ = env.step("search[bag]")
    # water, resistant, tote, bag; tote; nothing
    assert "$35.5 =4 (most) [SEP] B0BBBBBBBB [SEP] Wimo Tote [SEP] $40.01 =1 [SEP]" in text
    assert text.endswith("$10.0 to $41.0 =0")
    text, *_ = env.step("click[b0aaaaaaaa]")
    # "blue" is only part of "navy blue", "40" only part of a price
    assert "color [SEP] blue [SEP] navy blue (asked) [SEP] size [SEP] 7 (asked) [SEP] 40 [SEP]" in text


def test_prices_are_judged_against_the_stated_bound() -> None:
    env = PriceMarks(Script(START, RESULTS, ITEM))
    env.reset()
    text, *_ = env.step("search[bag]")
    assert f"$35.5 {WITHIN} [SEP]" in text and f"$40.01 {ABOVE} [SEP]" in text and text.endswith(f"$41.0 {PERHAPS}")
    text, *_ = env.step("click[b0aaaaaaaa]")
    assert f"Price: $35.5 {WITHIN}" in text
    unbounded = PriceMarks(Script(RESULTS, instruction="find me a bag"))
    assert unbounded.reset()[0] == RESULTS[0]


def test_options_still_to_choose_are_shown_again() -> None:
    env = IndexClicks(MatchCounts(NewObservationOnly(Script(START, RESULTS, ITEM, ITEM, ITEM, ITEM, RESULTS))))
    env.reset(seed=0)
    env.step("search[bag]")
    page, *_ = env.step("click[b0aaaaaaaa]")
    asked = re.findall(r"(\S[^\n]*) \(asked\) (\[\d+\])", page)
    assert [value for value, _ in asked] == ["navy blue", "7"]
    (_, navy), (_, seven) = asked
    assert env.step(navy)[0] == f" 7 (asked) {seven}"
    blue = next(tag for tag in re.findall(r"\n blue (\[\d+\])", page))
    assert env.step(blue)[0] == f" navy blue (asked) {navy}\n 7 (asked) {seven}"  # blue takes navy blue's place
    env.step(navy)
    assert "(asked)" not in env.step(seven)[0]


def test_the_most_matches_are_sought_among_prices_in_reach() -> None:
    env = MatchCounts(PriceMarks(Script(START, RESULTS, instruction=INSTRUCTION.replace("40.00", "20.00"))))
    env.reset()
    text, *_ = env.step("search[bag]")
    assert "(above) =4 [SEP]" in text and "$40.01 (above) =1 [SEP]" in text
    assert "(most)" not in text  # the mug, which alone may be in reach, shares no word


def test_only_the_first_hits_are_shown(folder: Path) -> None:
    plain, few = make("WebShop-v1", catalogue=folder), make("WebShop-v1", wrappers=("webshop-top5",), catalogue=folder)
    for env in (plain, few):
        env.reset(seed=3)
    (long, *_, all_hits), (short, *_, five) = plain.step("search[bag]"), few.step("search[bag]")
    assert five["actions"].choices == all_hits["actions"].choices[:7]  # two buttons, five products
    assert long.startswith(short) and short.count("[SEP] B0") == 5 and long.count("[SEP] B0") == 10


def test_nothing_is_said_twice() -> None:
    env = NewObservationOnly(Script(START, RESULTS, ITEM, ITEM, RESULTS))
    first, _ = env.reset()
    assert first == f" {INSTRUCTION}\n search"
    results, *_ = env.step("search[bag]")
    assert results.splitlines()[:4] == [" back to search", " page 1 (total results: 3)", " next >", " b0aaaaaaaa"]
    item, *_ = env.step("click[b0aaaaaaaa]")
    assert item.splitlines()[:3] == [" < prev", " color", " blue"] and item.endswith("reviews\n buy now")
    again, *_ = env.step("click[7]")
    assert again == NOTHING_NEW
    results, *_ = env.step("click[< prev]")
    assert results.startswith(" page 1 (total results: 3)\n b0aaaaaaaa\n vava water resistant tote bag\n $35.5")
    assert INSTRUCTION not in item + again + results


def test_only_the_first_hits_are_shown_and_clickable() -> None:
    wrappers = ("expert", "webshop-brief", "webshop-top5", "webshop-index")
    env, whole = make("WebShop-v1", wrappers=wrappers), make("WebShop-v1")
    env.reset(seed=1)
    _, plain_info = whole.reset(seed=1)
    query = f"search[{' '.join(plain_info['instruction'].split()[:6]).replace('[', '').replace(']', '')}]"
    _, _, _, _, plain_info = whole.step(query)
    text, _, _, _, info = env.step(query)
    products = [choice for choice in plain_info["actions"].choices if choice.startswith("click[b0")]
    assert len(products) == 10
    assert len(info["actions"].choices) == len(plain_info["actions"].choices) - 5
    assert sum(tag in text for tag in TAGS[8:]) == 5
    assert info["expert"] in info["actions"].choices or info["expert"].startswith("search[")


def test_names_keep_their_spaces() -> None:
    page = (
        "Instruction: [SEP] x [SEP] size [SEP] two  spaces [SEP] Buy Now",
        ActionSet(("click[buy now]", "click[two  spaces]")),
    )
    text, _ = IndexClicks(MatchCounts(NewObservationOnly(Script(page, instruction="x")))).reset()
    assert re.search(r"two  spaces \[\d+\]", text) and "buy now [7]" in text


def visits(env: gymnasium.Env[str, str]) -> Any:
    core: Any = env.unwrapped
    return core.visit


@given(seed=st.integers(0, 10**6))
@settings(max_examples=15, deadline=None)
def test_acting_through_any_stack_visits_the_same_states(folder: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    mode = ("text", "text_rich")[seed % 2]
    rendered = make("WebShop-v1", wrappers=ALL, catalogue=folder, observation_mode=mode)
    plain = make("WebShop-v1", catalogue=folder, observation_mode=mode)
    _, info = rendered.reset(seed=seed)
    _, plain_info = plain.reset(seed=seed)
    for _ in range(25):
        tags, choices = info["actions"].choices, plain_info["actions"].choices
        if "click[next >]" in choices:
            choices = [one for one in choices if not one.startswith("click[b0")] + [
                one for one in choices if one.startswith("click[b0")
            ][:5]
        assert len(tags) == len(choices)
        action = random_action(Prompt((), Observation("", info["actions"]), info.get("instruction", "x")), rng)
        meant = choices[tags.index(action)] if action in tags else action
        _, reward, over, _, info = rendered.step(action)
        _, plain_reward, plain_over, _, plain_info = plain.step(meant)
        assert (reward, over, visits(rendered)) == (plain_reward, plain_over, visits(plain))
        if over:
            break


@given(seed=st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_every_tag_on_offer_has_been_shown_and_means_the_same_after_a_restore(folder: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    env = make("WebShop-v1", wrappers=("expert", *ALL), catalogue=folder)
    text, info = env.reset(seed=seed)
    shown = text
    for _ in range(15):
        assert all(tag in shown for tag in info["actions"].choices)
        saved = snapshot(env)
        action = random_action(Prompt((), Observation("", info["actions"]), "x"), rng)
        after = env.step(action)
        before = restore(env, saved)
        assert (before[0], before[1]["actions"], before[1].get("expert")) == (text, info["actions"], info.get("expert"))
        assert env.step(action) == after
        text, _, over, _, info = after
        shown += text
        if over:
            break


@pytest.mark.parametrize("inner", list(permutations(INNER)))
def test_the_inner_renderers_go_in_any_order(folder: Path, inner: tuple[str, ...]) -> None:
    wrappers = ("expert", *inner, "webshop-index")
    pool = EnvPool(lambda: make("WebShop-v1", wrappers=wrappers, catalogue=folder), 2)
    played = rollout(ExpertPolicy(), pool, [Start(seed) for seed in range(10)], Setting("WebShop-v1", wrappers))
    assert all(one.success and one.error is None for one in played)
    page = played[0].turns[1].observation.text
    assert "=" in page and (WITHIN in page or ABOVE in page) and any(tag in page for tag in TAGS[8:])


def test_the_expert_speaks_in_tags_and_in_admissible_words(folder: Path) -> None:
    env = make("WebShop-v1", wrappers=("expert", *ALL), catalogue=folder, max_turns=20)
    lost = 0
    for seed in range(40):
        _, info = env.reset(seed=seed)
        while "expert" in info:
            assert info["actions"].admits(info["expert"])
            _, reward, _, truncated, info = env.step(info["expert"])
            if truncated:
                break
        lost += reward < 1
    assert lost <= 2  # where its own search has the product behind the fifth place, it can't be seen


@pytest.mark.parametrize("outer", [MatchCounts, PriceMarks, NewObservationOnly])
def test_tags_go_on_last(outer: type[TextWrapper]) -> None:
    with pytest.raises(InvalidConfig, match="webshop-index goes outside"):
        outer(IndexClicks(Script(START)))


def test_special_tokens_are_distinct() -> None:
    assert len(set(special_tokens())) == len(special_tokens()) >= len(TAGS) + 10
    assert ASKED in special_tokens()


def test_words_are_compared_by_stem_and_names_as_wholes() -> None:
    assert words_of("Find me [two] Bags, $5.00 or (more)!") == ("find", "me", "two", "bags", "$5.00", "or", "more")
    assert shared_words("Resistant Bag", "bags that resist water") == 2
    assert asked_for(["large", "x-large", "5", "red"], "in x-large, 5.5 inches, and tired") == {"x-large"}
