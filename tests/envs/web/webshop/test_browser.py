"""WebShop in Chromium: the same decisions lead to the same state and reward as in the text environment."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from sparring.envs.base import restore, snapshot
from sparring.envs.web.webshop.browser import WebShopBrowser
from sparring.envs.web.webshop.env import WebShop
from sparring.envs.web.webshop.session import Visit

STATE = (
    "goal",
    "kind",
    "keywords",
    "number",
    "row",
    "seen",
    "counters",
    "rows",
    "total",
    "sub_page",
    "finished",
    "reward",
    "parts",
)


def state(visit: Visit) -> dict[str, object]:
    """All of a visit but its session's name, which is in the address alone."""
    return {name: getattr(visit, name) for name in STATE} | {"options": dict(visit.options)}


def play_both(text_env: WebShop, browser_env: WebShopBrowser, task: str, rng: random.Random, turns: int) -> int:
    """Take the same random decisions in both; returns how many."""
    text_env.reset(seed=0, options={"task": task})
    _, info = browser_env.reset(seed=0, options={"task": task})
    assert info["task"] == task and info["instruction"] == text_env.goal.instruction_text
    for turn in range(turns):
        assert state(browser_env.visit) == state(text_env.visit)
        page = text_env.page
        if page.has_search_bar:
            words = text_env.goal.instruction_text.split()
            action = f"search[{' '.join(rng.sample(words, min(4, len(words))))}]"
        else:
            expert = text_env.expert_action()
            action = (
                expert if rng.random() < 0.6 and expert in page.actions.choices else rng.choice(page.actions.choices)
            )
        steps = browser_env.translate(action.lower())
        assert steps, (action, browser_env.observe()[0])
        _, reward, done, _, _ = text_env.step(action)
        for step in steps:
            _, other, over, _, told = browser_env.step(step)
        assert (other, over) == (reward, done), action
        assert state(browser_env.visit) == state(text_env.visit), action
        if done:
            assert told["score"] == reward
            return turn + 1
    return turns


@pytest.fixture(scope="module")
def shop_browser() -> Iterator[WebShopBrowser]:
    env = WebShopBrowser()
    yield env
    env.close()


def test_the_built_in_catalogue(browser: None, shop_browser: WebShopBrowser) -> None:
    rng = random.Random(0)
    text_env = WebShop()
    assert sum(play_both(text_env, shop_browser, text_env.task_ids("train")[n], rng, 10) for n in range(3)) > 6


def test_an_awkward_catalogue_full_of_markup(browser: None, awkward_folder: Path) -> None:
    text_env, env = WebShop(awkward_folder), WebShopBrowser(awkward_folder)
    try:
        rng = random.Random(1)
        for task in list(text_env.task_ids(next(name for name in env.splits if len(env.task_ids(name)))))[:3]:
            play_both(text_env, env, task, rng, 8)
            # A script out of the catalogue would have shown itself: none is allowed to run, and none is there.
            assert env.call(env.session.tab.evaluate("document.querySelectorAll('script, img, iframe').length")) == 0
    finally:
        env.close()


@pytest.mark.slow
def test_the_real_catalogue(browser: None, real_data: Path, tmp_path: Path) -> None:
    from sparring.envs.web.webshop.build import build

    data = real_data / "data"
    folder = build(
        items=data / "items_shuffle_1000.json",
        attributes=data / "items_ins_v2_1000.json",
        human=data / "items_human_ins.json",
        nouns=next((real_data / "vectors").glob("title_nouns_*.json")),
        out=tmp_path / "real",
    )
    text_env, env = WebShop(folder), WebShopBrowser(folder)
    try:
        rng = random.Random(2)
        for task in list(text_env.task_ids("train"))[:20]:
            play_both(text_env, env, task, rng, 12)
    finally:
        env.close()


def test_the_expert_buys_and_snapshots_replay(browser: None, shop_browser: WebShopBrowser) -> None:
    env = shop_browser
    text, info = env.reset(seed=3)
    assert info["instruction"] in text.replace("\n", " ")
    saved, following = None, ""
    for turn in range(20):
        if turn == 2:
            saved, action = snapshot(env), env.expert_action()
            following = env.step(action)[0]
            assert restore(env, saved)[0] != following
            assert env.step(action)[0] == following
            continue
        _, reward, done, _, info = env.step(env.expert_action())
        if done:
            break
    assert reward == 1.0 and info["success"]


def test_an_empty_search_is_not_sent(browser: None, shop_browser: WebShopBrowser) -> None:
    env = shop_browser
    _, info = env.reset(seed=5)
    button, before, url = env.look.find("button", "Search"), env.visit, env.look.url
    assert button is not None and f"click[{button.number}]" in info["actions"].choices
    *_, info = env.step(f"click[{button.number}]")
    assert "no_op" not in info and env.visit == before and env.look.url == url


def test_going_back_goes_back_in_the_shop(browser: None, shop_browser: WebShopBrowser) -> None:
    env = shop_browser
    env.reset(seed=4)
    for _ in range(3):
        env.step(env.expert_action())
    item, back = env.visit, env.look.find("link", "Back to Search")
    assert back is not None
    env.step(f"click[{back.number}]")
    assert env.visit != item
    env.step("back")
    assert state(env.visit) == state(item)
