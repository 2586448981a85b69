"""Films of episodes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import sparring
from sparring.envs.web.browser.film import Film
from sparring.envs.web.browser.page import Browser
from sparring.errors import InvalidConfig


def test_a_film_has_a_picture_of_each_observation(page: Callable[..., Browser], tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    film = Film(page("<button onclick='document.body.append(Date.now())'>x</button>", width=200, height=100))
    with pytest.raises(InvalidConfig, match=r"no picture"):
        film.save(tmp_path / "film.gif")
    text, _ = film.reset(seed=0)
    assert film.step("click[1]")[0] != text
    film.step("wait")
    film.save(tmp_path / "film.gif")
    with image.open(tmp_path / "film.gif") as saved:
        assert saved.size == (200, 100) and saved.n_frames >= 2
    assert len(film.frames) == 3
    film.reset(seed=0)
    assert len(film.frames) == 1


def test_only_browsers_are_filmed() -> None:
    with pytest.raises(InvalidConfig, match=r"no browser"):
        Film(sparring.make("NumberLine-v1"))
