from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparring.envs.text.seeded_tasks import SPLITS, SeededSplits, SeededTasks, draw_world, seed_of
from sparring.errors import InvalidConfig


def test_ids_are_made_when_asked_for() -> None:
    tasks = SeededTasks("dev", 1_000_000)
    assert (tasks[0], tasks[-1], tasks[3:5]) == ("dev/0", "dev/999999", ["dev/3", "dev/4"])
    assert seed_of(tasks[-1]) == 1_999_999


@given(st.text(max_size=10) | st.sampled_from(["dev/007", "dev/٣", "dev/-1", "dev/20", "train/3", "dev/", "dev/²"]))
def test_only_the_exact_spelling_is_contained(text: str) -> None:
    tasks = SeededTasks("dev", 20)
    assert (text in tasks) == (text in list(tasks))


def test_no_seed_and_no_world_is_in_two_splits() -> None:
    splits = SeededSplits(200, 40, 40)
    seeds, worlds = [], []
    for split in SPLITS:
        seeds.append({seed_of(task) for task in splits.tasks(split)})
        # 200 possible worlds only, so that seeds collide often
        worlds.append({draw_world(task, lambda rng: int(rng.integers(200)), str) for task in splits.tasks(split)})
    assert not (seeds[0] & seeds[1] or seeds[0] & seeds[2] or seeds[1] & seeds[2])
    assert not (worlds[0] & worlds[1] or worlds[0] & worlds[2] or worlds[1] & worlds[2])
    assert len(worlds[0]) > 50


def test_a_count_out_of_range_is_refused() -> None:
    with pytest.raises(InvalidConfig, match='split "train" must have 1 to 1,000,000 tasks, got 0'):
        SeededSplits(0, 1, 1)


def test_too_few_worlds_to_divide_are_an_error_not_a_hang() -> None:
    with pytest.raises(InvalidConfig, match="too few worlds"):
        for split in SPLITS:
            draw_world(f"{split}/0", lambda rng: "the only one", str)
