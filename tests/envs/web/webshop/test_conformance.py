"""The conformance command: on our golden recordings, on hashed ones, on wrong ones, and on the original's."""

from __future__ import annotations

import copy
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from sparring.envs.web.webshop.catalogue import Catalogue
from sparring.envs.web.webshop.conformance import main
from sparring.envs.web.webshop.goals import GoalBook
from sparring.envs.web.webshop.recordings import hash_episodes, short_hash

GOLDEN = Path(__file__).parent / "golden"
AWKWARD = [
    part
    for name in ("items", "attributes", "human", "nouns")
    for part in (f"--{name}", str(GOLDEN / f"awkward_{name}.json"))
]


def write(path: Path, data: Any) -> str:
    path.write_text(json.dumps(data), encoding="utf-8")
    return str(path)


@pytest.fixture
def recorded() -> dict[str, Any]:
    data: dict[str, Any] = json.loads((GOLDEN / "awkward_episodes_synthetic.json").read_text(encoding="utf-8"))
    return data


def test_golden_episodes_still_come_out_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    files = sorted(map(str, GOLDEN.glob("awkward_episodes_*.json")))
    assert main([*AWKWARD, *files]) == 0
    printed = capsys.readouterr().out
    assert printed.count(" 0 mismatches") == 2
    assert all(int(line.split(": ")[1].split()[0]) > 100 for line in printed.splitlines())


def test_hashed_episodes_are_compared_and_not_taken_on_trust(
    recorded: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hashed = hash_episodes(recorded)
    actions = [step["action"] for episode in hashed["episodes"] for step in episode["steps"]]
    assert any("search_title" in action for action in actions) and {"search_instruction": True} in actions
    assert main([*AWKWARD, write(tmp_path / "hashed.json", hashed)]) == 0
    for key in ("text_sha", "rich_sha", "actions_sha", "reward", "done"):
        wrong = copy.deepcopy(hashed)
        wrong["episodes"][0]["steps"][3][key] = "0" * 16
        assert main([*AWKWARD, write(tmp_path / "wrong.json", wrong)]) == 1
        assert "1 mismatches" in capsys.readouterr().out
    bare = hashed["episodes"]  # without a wrapping object or a label
    assert main([*AWKWARD, write(tmp_path / "bare.json", bare)]) == 0


def test_the_first_mismatch_is_shown_in_full(
    recorded: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    step = recorded["episodes"][0]["steps"][2]
    step["obs_text"] = "something else"
    step["session"]["page"] = 7
    assert main([*AWKWARD, write(tmp_path / "wrong.json", recorded)]) == 1
    printed = capsys.readouterr().out
    assert "1 mismatches" in printed and "something else" in printed and step["action"] in printed


def test_entries_of_another_data_set_are_counted_apart(
    recorded: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for episode in recorded["episodes"]:
        episode["goal"]["asin"] = "B0ELSEWHER"
    steps = sum(len(episode["steps"]) for episode in recorded["episodes"])
    assert main([*AWKWARD, write(tmp_path / "other.json", recorded)]) == 0
    assert f"0 checked, 0 mismatches ({steps} not applicable" in capsys.readouterr().out


def test_goals_rewards_and_the_rest_in_their_hashed_forms(
    awkward: Catalogue, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    book = GoalBook(awkward, "human")
    goals = [book.goal(index).as_original() for index in range(len(book))]
    digest = hashlib.sha256(json.dumps(goals, sort_keys=True).encode()).hexdigest()
    listed = {"n_goals": len(goals), "sha256_of_json_dumps_sort_keys": digest, "sum_weights": 10.0, "human_goals": True}
    chandelier = next(goal for goal in goals if goal["asin"] == "B0TEST0008")
    # All of it is right: the type, 1 attribute, 1 option, and 985 dollars, above which fewer than two bounds are left.
    case = {
        "purchased_asin": "B0TEST0008", "goal_asin": "B0TEST0008", "price": 985.0, "options": {"finish": "gold"},
        "goal_text_sha": short_hash(chandelier["instruction_text"]), "expected": {"reward": 1.0},
    }  # fmt: skip
    files = {
        "goals": {"awkward/human=True": listed},
        "bare_goals": listed,
        "rewards": {"cases": [case, {**case, "price": 2e6, "expected": {"reward": 2 / 3}}]},
        "ratios": {"pairs": [{"a": "red shoe", "b": "shoe red", "thefuzz0.19+difflib": 100}]},
        "colours": [{"input": "tangerine", "output": "tan"}, {"input_tuple": ["color", "red"], "output": "red"}],
        "prefix": {
            "prefix": "pre-", "reset_arg": 3, "session": "pre-3", "url": "http://127.0.0.1:3000/pre-3", "goal_index": 3,
        },
        "nouns": {"awkward": {"B0TEST0006": ["lamp"]}, "other": {"B0ELSEWHER": ["x"]}},
    }  # fmt: skip
    paths = [write(tmp_path / f"{name}.json", data) for name, data in files.items()]
    assert main([*AWKWARD, *paths]) == 0, capsys.readouterr().out
    printed = capsys.readouterr().out
    assert "nouns.json: 1 checked, 0 mismatches (1 not applicable" in printed
    assert printed.count("goals.json: 3 checked") == 2 and "rewards.json: 2 checked" in printed
    unknown_goal = {"cases": [{**case, "goal_text_sha": "0" * 16}]}
    assert main([*AWKWARD, write(tmp_path / "unknown.json", unknown_goal)]) == 1


def test_hashed_episodes_are_found_however_they_are_wrapped(
    recorded: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    episodes = hash_episodes(recorded)["episodes"]
    steps = sum(len(episode["steps"]) for episode in episodes)
    wrapped = {
        "listed": [{**episode, "unheard_of": {"x": [1]}} for episode in episodes],
        "named": {str(number): episode for number, episode in enumerate(episodes)},
        "by_data_set": {"note": "by data set", "real1k": episodes, "recorder": {"version": 2}},
        "in_parts": {"part 1": {"episodes": episodes[:1]}, "part 2": {"human_goals": False, "episodes": episodes[1:]}},
    }
    for name, data in wrapped.items():
        assert main([*AWKWARD, write(tmp_path / f"{name}.json", data)]) == 0
        assert f"{name}.json: {steps} checked, 0 mismatches\n" in capsys.readouterr().out


def test_nothing_beside_the_episodes_goes_unchecked(
    recorded: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hashed = hash_episodes(recorded)
    goals = {"n_goals": 1, "sha256_of_json_dumps_sort_keys": "0" * 64, "human_goals": False}
    assert main([*AWKWARD, write(tmp_path / "goals.json", {**hashed, "goals": [goals]})]) == 1
    assert "2 mismatches" in capsys.readouterr().out
    assert main([*AWKWARD, write(tmp_path / "odd.json", {**hashed, "odd": [{"what": [1]}]})]) == 1
    assert "no known format of vectors in odd" in capsys.readouterr().out


def test_goals_that_read_alike_are_told_apart_by_what_they_earn(tmp_path: Path) -> None:
    asked = {"instruction": "a chandelier", "instruction_options": []}
    alike = [
        {**asked, "instruction_attributes": wanted} for wanted in (["no such thing"], ["no such thing", "nor that"])
    ]
    files = dict(zip(AWKWARD[::2], AWKWARD[1::2], strict=True))
    files["--human"] = write(tmp_path / "human.json", {"B0TEST0008": alike})
    arguments = [part for pair in files.items() for part in pair]
    # 985 dollars are within a bound that is there only below 980, so the price counts: 1 of 2 parts, or 1 of 3.
    case = {
        "purchased_asin": "B0TEST0008", "goal_asin": "B0TEST0008", "price": 985.0, "options": {},
        "goal_text_sha": short_hash("a chandelier"),
    }  # fmt: skip
    right = [{**case, "expected": {"reward": reward}} for reward in (1 / 2, 1 / 3)]
    assert main([*arguments, write(tmp_path / "right.json", right)]) == 0
    assert main([*arguments, write(tmp_path / "wrong.json", [{**case, "expected": {"reward": 1.0}}])]) == 1


def test_a_step_without_an_observation_is_an_error(recorded: dict[str, Any], tmp_path: Path) -> None:
    step = {"action": "<reset>", "reward": 0.0, "done": False, "text_digest": "0" * 16}
    assert main([*AWKWARD, write(tmp_path / "odd.json", [{**recorded["episodes"][0], "steps": [step]}])]) == 1


def test_a_product_that_our_data_set_lacks_is_no_other_data_set(
    recorded: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded["episodes"][0]["goal"]["asin"] = "B0ELSEWHER"
    assert main([*AWKWARD, write(tmp_path / "episodes.json", recorded)]) == 1
    case = {"dataset": "x", "purchased_asin": "B0TEST0008", "goal_asin": "B0TEST0008", "options": {}, "expected": 0}
    lacking = {**case, "purchased_asin": "B0ELSEWHER", "goal_asin": "B0ELSEWHER", "goal_text_sha": "0" * 16}
    assert main([*AWKWARD, write(tmp_path / "rewards.json", [lacking, {**case, "goal_text_sha": "0" * 16}])]) == 1
    nouns = {"awkward": {"B0TEST0006": ["lamp"], "B0ELSEWHER": ["x"]}}
    assert main([*AWKWARD, write(tmp_path / "nouns.json", nouns)]) == 1
    assert "not applicable" not in capsys.readouterr().out


@pytest.mark.parametrize("content", ['{"what": 1}', "[]", "no json", '{"episodes": []}', "[[1]]", '{"a": {"b": [{}]}}'])
def test_a_file_of_no_known_format_fails(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "vectors.json"
    path.write_text(content, encoding="utf-8")
    assert main([*AWKWARD, str(path)]) == 1
    assert "can't be read" in capsys.readouterr().out


@pytest.mark.parametrize("dataset", ["edge", "real1k"])
def test_the_originals_recordings(real_data: Path, dataset: str, capsys: pytest.CaptureFixture[str]) -> None:
    data = real_data / "data"
    if dataset == "edge":
        files = ("edge/items_shuffle.json", "edge/items_ins_v2.json", "edge/items_human_ins.json")
    else:
        files = ("items_shuffle_1000.json", "items_ins_v2_1000.json", "items_human_ins.json")
    arguments = [
        part for key, name in zip(("items", "attributes", "human"), files, strict=True)
        for part in (f"--{key}", str(data / name))
    ]  # fmt: skip
    vectors = sorted(map(str, (real_data / "vectors").glob("*.json")))
    assert main([*arguments, *vectors]) == 0, capsys.readouterr().out
    plain = [path for path in vectors if "episodes_edge_" in path and "history" not in path]
    printed = capsys.readouterr().out
    assert "search_dev.json: 0 checked" not in printed
    assert (f"{Path(plain[0]).name}: 0 checked" in printed) == (dataset != "edge")


def test_the_originals_recordings_in_hashed_form(real_data: Path, tmp_path: Path) -> None:
    edge = real_data / "data" / "edge"
    arguments = [
        "--items", str(edge / "items_shuffle.json"), "--attributes", str(edge / "items_ins_v2.json"),
        "--human", str(edge / "items_human_ins.json"),
        "--nouns", str(next((real_data / "vectors").glob("title_nouns_*.json"))),
    ]  # fmt: skip
    paths = []
    for kind in ("synthetic", "human"):
        plain = json.loads((real_data / "vectors" / f"episodes_edge_{kind}.json").read_text(encoding="utf-8"))
        paths.append(write(tmp_path / f"{kind}.json", hash_episodes(plain)))
    assert main([*arguments, *paths]) == 0
