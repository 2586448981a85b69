"""The Gymnasium environment: contract, info, tasks, snapshots, sharing."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from gymnasium.utils.env_checker import check_env as gymnasium_check

import sparring
from sparring.envs.web.webshop.env import WebShop
from sparring.errors import InvalidConfig, InvalidData, UnknownName
from sparring.testing import check_env


@pytest.fixture
def env(awkward_folder: Path) -> WebShop:
    return WebShop(awkward_folder)


def random_walk(env: gymnasium.Env[str, str], steps: int, seed: int) -> list[tuple[Any, ...]]:
    generator = random.Random(seed)
    seen: list[tuple[Any, ...]] = [env.reset(seed=seed)]
    info = seen[0][1]
    for _ in range(steps):
        choices = list(info["actions"].choices) or ["search[winter soft]", "search[<c> garden]", "search[lamp]"]
        result = env.step(generator.choice(choices))
        seen.append(result)
        info = result[4]
        if result[2]:
            seen.append(env.reset())
            info = seen[-1][1]
    return seen


def test_it_fulfils_the_contract(awkward_folder: Path) -> None:
    check_env(lambda: sparring.make("WebShop-v1", catalogue=awkward_folder))
    gymnasium_check(WebShop(awkward_folder), skip_render_check=True)


@pytest.mark.parametrize("goals", ["synthetic", "human"])
def test_equal_seeds_give_equal_episodes(awkward_folder: Path, goals: Any) -> None:
    one, other = (WebShop(awkward_folder, goals=goals, observation_mode="text_rich") for _ in range(2))
    assert random_walk(one, 60, 3) == random_walk(other, 60, 3)


def test_a_purchase_ends_the_episode_with_score_and_parts(env: WebShop) -> None:
    index = next(i for i in range(len(env.shop.book)) if env.shop.book.goal(i).asin == "B0TEST0008")
    observation, info = env.reset(options={"goal": index})
    assert observation.startswith("WebShop [SEP] Instruction: [SEP] Find me chandeliers")
    assert info["task"] == f"synthetic-{index}" and info["goal"] == index
    assert info["instruction"] == env.goal.instruction_text
    env.step(f"search[{env.goal.name}]")
    env.step("click[b0test0008]")
    finish = dict(env.goal.options)["finish"]  # type: ignore[arg-type]
    env.step(f"click[{finish}]")
    _, reward, terminated, truncated, info = env.step("click[buy now]")
    assert (reward, terminated, truncated) == (1.0, True, False)
    assert info["score"] == 1.0 and info["success"] is True
    assert info["r_type"] == info["r_att"] == info["r_option"] == 1.0 and info["r_price"] is True
    assert info["available_actions"] == {"has_search_bar": False, "clickables": []}


def test_a_wrong_purchase_is_no_success(env: WebShop) -> None:
    env.reset(options={"goal": 0})
    env.step("search[gadget]")
    env.step("click[b0test0004]")
    _, reward, terminated, _, info = env.step("click[buy now]")
    assert terminated and reward == 0.0 and info["score"] == 0.0 and info["success"] is False


def test_no_actions_are_reported(env: WebShop) -> None:
    before, _ = env.reset(seed=0)
    after, reward, terminated, _, info = env.step("buy everything")
    assert after == before and reward == 0 and not terminated
    assert "is no action" in info["no_op"]
    assert "no_op" not in env.step("search[lamp]")[4]
    # What is said of an action does not grow with it: the action of a runaway model would fill every record.
    assert all(len(env.step(action)[4]["no_op"]) < 200 for action in ("x" * 10_000, f"click[{'x' * 10_000}]"))


def test_available_actions_have_the_originals_form(env: WebShop) -> None:
    _, info = env.reset(seed=0)
    assert info["available_actions"] == {"has_search_bar": True, "clickables": ["search"]}
    assert info["actions"].admits("search[anything]") and not info["actions"].choices
    _, _, _, _, info = env.step("search[plain lamp]")
    assert info["available_actions"]["clickables"][:3] == ["back to search", "next >", "b0test0006"]
    assert info["actions"].choices[:3] == ("click[back to search]", "click[next >]", "click[b0test0006]")


def test_tasks_and_splits(env: WebShop) -> None:
    for split in env.splits:
        ids = env.task_ids(split)
        assert len(ids) == len(set(ids[:])) and ids[0] in ids and f"{ids[0]}0000" not in ids
        _, info = env.reset(options={"task": ids[-1], "split": split})
        assert info["task"] == ids[-1]
        assert env.reset(seed=1, options={"split": split})[1]["task"] in ids
    with_default = WebShop(env.shop.catalogue.path, split="test")
    assert with_default.reset(seed=0)[1]["task"] in env.task_ids("test")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "synthetic-99999"}, 'no task of this catalogue "synthetic-99999".*Did you mean'),
        ({"task": "human-0"}, "Ids look like synthetic-"),
        ({"task": 3}, "no task"),
        ({"goal": -1}, "from 0 to"),
        ({"goal": "3"}, "from 0 to"),
        ({"split": "tests"}, 'Did you mean "test"'),
        ({"task": "synthetic-0", "split": "nowhere"}, "no split"),
    ],
)
def test_what_does_not_exist_is_named_with_the_nearest(env: WebShop, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UnknownName, match=message):
        env.reset(options=options)


def test_a_task_of_another_split_is_refused(env: WebShop) -> None:
    task = env.task_ids("train")[0]
    with pytest.raises(UnknownName, match='of the split "test"'):
        env.reset(options={"task": task, "split": "test"})
    with pytest.raises(InvalidConfig, match="a goal or a task"):
        env.reset(options={"task": task, "goal": 0})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"goals": "both"}, "synthetic"),
        ({"observation_mode": "html"}, "observation_mode"),
        ({"split": "validation"}, "split"),
        ({"splits": "random"}, "splits"),
        ({"num_prev_obs": -1}, "num_prev_obs"),
    ],
)
def test_bad_settings_are_refused(awkward_folder: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises((InvalidConfig, UnknownName), match=message):
        WebShop(awkward_folder, **settings)


def test_a_missing_catalogue_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="does not exist"):
        WebShop(tmp_path / "nowhere")


def test_snapshots_bring_everything_back(awkward_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparring.envs.web.webshop.session.RANDOM_HITS", 20)
    env = WebShop(awkward_folder, num_prev_obs=2, num_prev_actions=1)
    generator = random.Random(0)
    env.reset(seed=5)
    actions = ["search[<r>]", "click[next >]", "search[winter]"]
    for _ in range(40):
        saved = env.snapshot()
        observation = env.observe()[0]
        follow = [generator.choice([*actions, *env.page.actions.choices]) for _ in range(3)]
        first = [env.step(action) for action in follow] + [env.reset()]
        assert env.restore(saved)[0] == observation
        second = [env.step(action) for action in follow] + [env.reset()]
        assert first == second
        env.restore(saved)
        env.step(follow[0])


def test_a_snapshot_fits_another_environment_on_the_same_catalogue(awkward_folder: Path) -> None:
    one, other = WebShop(awkward_folder), WebShop(awkward_folder)
    one.reset(seed=0)
    one.step("search[winter]")
    other.restore(one.snapshot())
    assert other.step("click[next >]") == one.step("click[next >]")


def test_history_is_put_in_front(awkward_folder: Path) -> None:
    env = WebShop(awkward_folder, num_prev_obs=1, num_prev_actions=2)
    start, _ = env.reset(seed=0)
    plain = WebShop(awkward_folder)
    plain.reset(seed=0)
    first = plain.step("search[lamp]")[0]
    assert env.step("search[lamp]")[0] == f"{start} [SEP] search[lamp] [SEP] {first}"
    assert env.step("oops")[0] == f"search[lamp] [SEP] {first} [SEP] oops [SEP] {first}"


def test_environments_share_what_does_not_change(awkward_folder: Path) -> None:
    one, other = WebShop(awkward_folder), WebShop(awkward_folder, split="test")
    assert one.shop is other.shop and one.task_ids("train") is other.task_ids("train")
    assert WebShop(awkward_folder, goal_seed=1).shop.catalogue is one.shop.catalogue


def test_the_goal_seed_fixes_prices_and_bounds(awkward_folder: Path) -> None:
    def bounds(seed: int) -> list[float]:
        book = WebShop(awkward_folder, goal_seed=seed).shop.book
        return [book.goal(index).price_upper for index in range(len(book))]

    assert bounds(1) == bounds(1) != bounds(2)


def test_the_step_limit_truncates(awkward_folder: Path) -> None:
    env = sparring.make("WebShop-v1", catalogue=awkward_folder, max_turns=2)
    env.reset(seed=0)
    assert env.step("search[lamp]")[3] is False
    assert env.step("search[lamp]")[3] is True


def test_without_a_name_the_made_up_catalogue_is_used(tmp_path: Path) -> None:
    code = (
        "import sparring; env = sparring.make('WebShop-v1'); _, info = env.reset(seed=0);"
        "print(len(env.unwrapped.shop.catalogue), info['task'])"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True,
            env={"SPARRING_CACHE": str(tmp_path), "PATH": "/usr/bin:/bin"},
        ).stdout
        for _ in range(2)
    ]  # fmt: skip
    assert runs[0] == runs[1] and int(runs[0].split()[0]) >= 1000
    assert len(list(tmp_path.iterdir())) == 1
