"""Chromium for the tests, and pages made of a few lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sparring.envs.web.browser import chromium
from sparring.envs.web.browser.limits import Limits
from sparring.envs.web.browser.page import Browser
from sparring.envs.web.browser.tasks import Listed, PageTask, Visited
from sparring.errors import MissingExtra

QUICK = Limits(answer_s=4.0, settle_s=2.0)


@pytest.fixture(scope="session")
def browser() -> None:
    """A browser is there; where there is none, the test is skipped with the error that says what to install."""
    pytest.importorskip("playwright")
    pytest.importorskip("miniwob")
    try:
        chromium.executable()
    except MissingExtra as missing:
        pytest.skip(str(missing))


@pytest.fixture
def page(browser: None, tmp_path: Path) -> Iterator[Callable[..., Browser]]:
    """Makes an environment of a page whose body is given; further files may be laid beside it."""
    made: list[Browser] = []

    def make(body: str, *, check: Callable[[Visited], float] | None = None, **options: object) -> Browser:
        folder = tmp_path / f"page{len(made)}"
        folder.mkdir()
        (folder / "index.html").write_text(f"<!doctype html><title>Page</title><body>{body}</body>")
        for name, content in dict(options.pop("files", {})).items():  # type: ignore[call-overload]
            (folder / name).write_text(content)
        task = PageTask("task", "Do it.", check=check or (lambda visited: visited.title == "Done"))
        options.setdefault("limits", QUICK)
        env = Browser(Listed([task]), html=folder, **options)  # type: ignore[arg-type]
        made.append(env)
        return env

    yield make
    for env in made:
        env.close()
