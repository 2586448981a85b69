"""Pages as screens: the same page is played by GUI actions and pictures, and its expert by the same actions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

import sparring
from sparring.envs.base import EnvType, restore, snapshot
from sparring.envs.gui.desktop_tasks import KINDS as DESKTOP_KINDS
from sparring.envs.gui.page import Screen
from sparring.envs.gui.pixels import Pixels
from sparring.envs.text.number_search import NumberSearch
from sparring.envs.web.browser.page import Browser
from sparring.errors import InvalidConfig
from sparring.types import Image

KINDS = ("Add", "Mark", "Remove", "How many")


@pytest.fixture(scope="module")
def todo(browser: None) -> Iterator[EnvType]:
    env = sparring.make("Browser-v1", wrappers=("expert", "screen"))
    yield env
    env.close()


def act(**fields: Any) -> str:
    return json.dumps(fields)


def box_of(text: str, start: str) -> list[int]:
    line = next(one for one in text.splitlines() if one.startswith(start))
    return [int(edge) for edge in line.rpartition(" at ")[2].split()]


def middle(text: str, start: str) -> list[int]:
    left, top, right, bottom = box_of(text, start)
    return [(left + right) // 2, (top + bottom) // 2]


def test_the_expert_of_the_page_does_every_kind_of_task_on_the_screen(todo: EnvType) -> None:
    done: dict[str, int] = {}
    for number in range(12):
        _, info = todo.reset(options={"task": f"test/{number}"})
        kind = next(one for one in KINDS if info["instruction"].startswith(one))
        ended = False
        while not ended:
            if json.loads(info["expert"])["action"] == "impossible":
                kind = "missing"
            _, reward, terminated, truncated, info = todo.step(info["expert"])
            assert "no_op" not in info
            ended = terminated or truncated
        assert reward == 1.0
        done[kind] = done.get(kind, 0) + 1
    assert set(done) == {*KINDS, "missing"}
    assert len(done) + len(DESKTOP_KINDS) >= 12  # kinds of tasks on the two live backends; test_desktop.py has those


def test_the_text_says_where_things_are_and_the_picture_shows_them(todo: EnvType) -> None:
    text, info = todo.reset(options={"task": "test/0"})
    assert info["image"].size == (1280, 720) and "actions" not in info
    assert all(0 <= edge <= 1000 for line in text.splitlines() for edge in map(int, line.split()[-4:]))
    before = info["image"]
    text, _, _, _, info = todo.step(act(action="type", text="sweep", point=middle(text, 'textbox "New task"')))
    assert 'textbox "New task" = "sweep"' in text and info["image"] != before
    text, *_ = todo.step(act(action="press", keys=["ctrl", "a"]))
    text, *_ = todo.step(act(action="type", text="mop"))
    assert 'textbox "New task" = "mop"' in text
    text, *_ = todo.step(act(action="enter"))
    assert 'checkbox "mop"' in text


def test_the_expert_types_over_what_stands_in_a_field(todo: EnvType) -> None:
    number = next(n for n in range(40) if todo.reset(options={"task": f"test/{n}"})[1]["instruction"].startswith("Add"))
    text, info = todo.reset(options={"task": f"test/{number}"})
    *_, info = todo.step(act(action="type", text="nonsense", point=middle(text, 'textbox "New task"')))
    said = []
    reward, ended = 0.0, False
    while not ended:
        said.append(json.loads(info["expert"])["action"])
        _, reward, terminated, truncated, info = todo.step(info["expert"])
        ended = terminated or truncated
    assert said == ["click", "press", "type", "click"] and reward == 1.0


@pytest.mark.parametrize(
    ("action", "says"),
    [
        ("click[3]", "JSON object"),
        (act(action="right_click", point=[5, 5]), "a page has no action right_click"),
        (act(action="open_app", app="mail"), "no action open_app"),
        (act(action="press", keys=["hyper", "a"]), "can't be held"),
        (act(action="press", keys=["f77"]), "no key"),
        (act(action="select", text="Large"), "needs the"),
        (act(action="select", text="Large", point=[1, 1]), "no list to select from"),
        (act(action="type", text=""), "nothing to type"),
        (act(action="type", text="1] hello"), 'needs the "point"'),
    ],
)
def test_what_a_page_does_not_know_is_a_turn_without_effect(todo: EnvType, action: str, says: str) -> None:
    before, _ = todo.reset(options={"task": "test/0"})
    after, reward, terminated, _, info = todo.step(action)
    assert after == before and reward == 0.0 and not terminated
    assert says in info["no_op"]


def test_a_choice_is_made_from_the_list_at_a_point(page: Any) -> None:
    body = "<select onchange='document.title = this.value'><option>Small<option>Done</select>"
    env = Screen(page(body))
    text, _ = env.reset(seed=0)
    _, reward, terminated, _, _ = env.step(act(action="select", text="Done", point=middle(text, "combobox")))
    assert reward == 1.0 and terminated


def test_a_fork_shows_what_was_there(page: Any) -> None:
    env = Screen(page("<input aria-label='Name' oninput='document.title = this.value'>"))
    text, _ = env.reset(seed=0)
    field = middle(text, 'textbox "Name"')
    env.step(act(action="type", text="Do", point=field))
    saved = snapshot(env)
    expected = env.step(act(action="type", text="ne"))
    text, info = restore(env, saved)
    assert 'textbox "Name" = "Do"' in text and isinstance(info["image"], Image)
    again = env.step(act(action="type", text="ne"))
    assert again[:4] == expected[:4] and again[1] == 1.0


def test_pixels_shows_the_picture_and_says_nothing_of_it(page: Any) -> None:
    env = Pixels(page("<button style='position:absolute;left:0;top:0' onclick='document.title = \"Done\"'>Go</button>"))
    text, info = env.reset(seed=0)
    assert (text, info["instruction"]) == ("a screen", "Do it.") and info["image"].size == (1280, 720)
    saved = snapshot(env)
    text, reward, terminated, _, info = env.step(act(action="click", point=[8, 8]))
    assert (text, reward, terminated) == ("a screen", 1.0, True) and isinstance(info["image"], Image)
    assert restore(env, saved)[0] == "a screen"


def test_screen_is_for_pages() -> None:
    with pytest.raises(InvalidConfig, match="screen shows pages in a browser, and NumberSearch has none"):
        Screen(NumberSearch())


def test_it_is_a_wrapper_by_name(todo: EnvType) -> None:
    assert isinstance(todo, Screen) and isinstance(todo.unwrapped, Browser)
