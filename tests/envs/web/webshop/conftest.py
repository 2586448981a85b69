"""A small catalogue of awkward products of our own, and the real data where it lies beside the checkout."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sparring.envs.web.webshop.build import build
from sparring.envs.web.webshop.catalogue import Catalogue, open_catalogue
from sparring.envs.web.webshop.goals import GoalBook
from sparring.envs.web.webshop.session import Shop

GOLDEN = Path(__file__).parent / "golden"


def awkward_arguments() -> dict[str, Path]:
    """The files of the awkward catalogue, as keyword arguments of `build`."""
    names = {"items": "items", "attributes": "attributes", "human": "human", "nouns": "nouns"}
    return {key: GOLDEN / f"awkward_{name}.json" for key, name in names.items()}


@pytest.fixture(scope="session")
def awkward_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A compiled catalogue of awkward products."""
    return build(**awkward_arguments(), out=tmp_path_factory.mktemp("webshop") / "awkward")


@pytest.fixture(scope="session")
def awkward(awkward_folder: Path) -> Catalogue:
    return open_catalogue(awkward_folder)


@pytest.fixture(scope="session")
def shop(awkward: Catalogue) -> Shop:
    """The awkward catalogue with synthetic goals."""
    return Shop(GoalBook(awkward, "synthetic"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with `data` and `vectors` of the original's release."""
    beside = Path(__file__).parents[5] / "shared" / "webshop"
    folder = Path(os.environ.get("SPARRING_WEBSHOP_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"the original's data is not here: {folder} (name its folder in SPARRING_WEBSHOP_DATA)")
    return folder
