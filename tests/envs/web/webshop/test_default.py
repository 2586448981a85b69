"""The built-in catalogue: made on first use, hard enough for a heuristic, wholly solvable."""

from __future__ import annotations

from pathlib import Path

import pytest

from sparring.agents.first_hit import FirstHitPolicy
from sparring.envs.pool import EnvPool
from sparring.envs.web.webshop.catalogue import read_manifest
from sparring.envs.web.webshop.default import DEFAULT_PRODUCTS, default_catalogue
from sparring.registration import make
from sparring.rollout import Setting, Start, rollout


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPARRING_CACHE", str(tmp_path))
    return tmp_path


def test_it_is_made_once_and_mended_when_half_there(cache: Path) -> None:
    folder = default_catalogue()
    assert folder.parent == cache
    assert read_manifest(folder)["products"] == DEFAULT_PRODUCTS
    written = (folder / "manifest.json").stat().st_mtime_ns
    assert default_catalogue() == folder
    assert (folder / "manifest.json").stat().st_mtime_ns == written
    (folder / "products.bin").write_bytes(b"")
    assert default_catalogue() == folder
    assert read_manifest(folder)["products"] == DEFAULT_PRODUCTS


def test_there_are_thousands_of_goals_and_enough_held_out_ones(cache: Path) -> None:
    env = make("WebShop-v1").unwrapped
    assert len(env.task_ids("train")) > 2_000  # type: ignore[attr-defined]
    assert len(env.task_ids("test")) > 200  # type: ignore[attr-defined]
    assert len(make("WebShop-v1", goals="human").unwrapped.task_ids("train")) > 500  # type: ignore[attr-defined]


@pytest.mark.parametrize("goals", ["synthetic", "human"])
def test_taking_the_first_hit_is_right_less_than_half_the_time(cache: Path, goals: str) -> None:
    # 150 goals have a standard error of .04 around the .43 success and .66 score of all of them.
    pool = EnvPool(lambda: make("WebShop-v1", goals=goals), 4)
    starts = [Start(seed) for seed in range(150)]
    played = rollout(FirstHitPolicy(), pool, starts, Setting("sparring/WebShop-v1"))
    assert 0.25 < sum(one.success for one in played) / 150 < 0.55
    assert 0.5 < sum(one.score for one in played) / 150 < 0.78
    assert all(one.error is None for one in played)
