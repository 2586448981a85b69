"""What tasks share: from the environment into records, intervals, comparisons and the report."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from rich.console import Console

import sparring
from sparring import trajectories
from sparring.agents.load import Agent
from sparring.agents.scripted import ExpertPolicy, RandomPolicy
from sparring.bench import BenchConfig, bench, episodes
from sparring.envs.base import Info
from sparring.errors import CheckFailed, InvalidData
from sparring.report import Report
from sparring.settings import EnvConfig
from sparring.statistics import mean_interval, rate_interval
from sparring.summary import EpisodeRecord, clusters_of, compare, summarise
from sparring.testing import check_env
from tests.worlds import Copy

GOLDEN = Path(__file__).parent / "golden"
ENV = EnvConfig("tests/Shelves-v1")
RANDOM = Agent("random", RandomPolicy())
EXPERT = Agent("expert", ExpertPolicy(error_rate=0.3), ("expert",))
SHELF = {f"test-{number}": f"shelf {'AAAAABBC'[number]}" for number in range(8)}


class Shelves(Copy):
    """Eight test tasks on three shelves: five, two and one."""

    clusters: ClassVar[str] = "shelves"

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        text, info = super().reset(seed=seed, options=options)
        return text, info | {"cluster": SHELF.get(info["task"], "shelf of training")}


class Fickle(Copy):
    """Names another cluster under every seed."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        text, info = super().reset(seed=seed, options=options)
        return text, info | {"cluster": f"seed {seed}"}


@pytest.fixture(autouse=True)
def registered() -> None:
    for name in ("Shelves", "Fickle"):
        sparring.register(f"tests/{name}-v1", f"tests.test_clusters:{name}", max_turns=10)


def record(task: str, score: float, cluster: str = "", seed: int = 0) -> EpisodeRecord:
    return EpisodeRecord(task, seed, score, score == 1, score, 1, 0, 0, 0.25, "terminated", cluster=cluster)


def test_records_and_trajectories_carry_what_the_environment_names(tmp_path: Path) -> None:
    bench([RANDOM], BenchConfig(ENV), tmp_path)
    assert {one.task: one.cluster for one in episodes(tmp_path)["random"]} == SHELF
    played = trajectories.read(next(tmp_path.glob("agents/*/trajectories")))
    assert {one.task_id: one.cluster for one in played} == SHELF


def test_intervals_are_over_clusters(tmp_path: Path) -> None:
    report = bench([EXPERT, RANDOM], BenchConfig(ENV, seeds=(0, 1)), tmp_path)
    row, played = report.row("expert"), episodes(tmp_path)["expert"]
    played.sort(key=lambda one: (one.seed, one.task))
    shelves = [SHELF[one.task] for one in played]
    # The first draws of the benchmark's generator are those of the first row's score.
    assert row.score == mean_interval([one.score for one in played], shelves, rng=np.random.default_rng(0))
    assert row.success == rate_interval([float(one.success) for one in played], shelves)
    assert (row.tasks, row.clusters, report.setting["shelves"]) == (8, 3, 3)
    # Sizes 5, 2, 1, twice: 16² / (10² + 4² + 2²) = 2.13.
    assert row.effective_clusters == pytest.approx(256 / 120)
    (pair,) = report.comparisons
    assert (pair.score.tasks, pair.score.clusters) == (8, 3)
    # Three shelves can't say more than three coins: p is at least 2 / 2³.
    assert pair.score.p_value >= 0.25


def test_tasks_that_share_nothing_are_a_cluster_each(tmp_path: Path) -> None:
    sparring.register("tests/Copy-v1", "tests.worlds:Copy", max_turns=10)
    report = bench([RANDOM], BenchConfig(EnvConfig("tests/Copy-v1")), tmp_path)
    row = report.row("random")
    assert (report.clusters, row.tasks, row.clusters, row.effective_clusters) == ("tasks", 8, 8, 8.0)
    assert "Tasks count as independent" in report.to_markdown()


def without_clusters(folder: Path) -> None:
    """Make the episodes of a benchmark those of a version that knew no clusters."""
    for path in folder.glob("episodes.jsonl"):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        path.write_text("".join(json.dumps({k: v for k, v in line.items() if k != "cluster"}) + "\n" for line in lines))


def test_episodes_of_an_older_version_count_by_task(tmp_path: Path) -> None:
    bench([RANDOM], BenchConfig(ENV), tmp_path)
    for folder in (tmp_path / "agents").iterdir():
        without_clusters(folder)
    report = bench([RANDOM], BenchConfig(ENV), tmp_path, resume=True)
    assert (report.clusters, report.row("random").clusters) == ("tasks", 8)
    assert clusters_of(episodes(tmp_path)["random"]) == {task: task for task in SHELF}


def test_older_episodes_go_by_what_newer_ones_name(tmp_path: Path) -> None:
    whole = bench([RANDOM, EXPERT], BenchConfig(ENV), tmp_path)
    without_clusters(next((tmp_path / "agents").glob("random-*")))
    again = bench([RANDOM, EXPERT], BenchConfig(ENV), tmp_path, resume=True)
    assert json.loads(again.to_json()) == json.loads(whole.to_json())


def test_a_task_with_two_clusters_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match='the task "a" name two clusters, "x" and "y"'):
        clusters_of([record("a", 1, "x"), record("a", 0), record("a", 1, "y")])
    with pytest.raises(InvalidData, match="must be the same at every reset"):
        bench([RANDOM], BenchConfig(EnvConfig("tests/Fickle-v1"), seeds=(0, 1)), tmp_path)


def test_the_conformance_check_knows_clusters() -> None:
    with pytest.raises(CheckFailed, match=r'info\["cluster"\] of the task \'train-[07]\' was \'seed 0\''):
        check_env("tests/Fickle-v1")
    check_env("tests/Shelves-v1")


def test_chosen_tasks_are_played(tmp_path: Path) -> None:
    report = bench([RANDOM], BenchConfig(ENV), tmp_path, tasks=["test-7", "test-5", "test-0"])
    assert (report.row("random").tasks, report.row("random").clusters) == (3, 3)
    assert "No two tasks share one of the shelves." in report.to_markdown()


def test_an_unfinished_line_is_left_alone_by_a_reader(tmp_path: Path) -> None:
    bench([RANDOM], BenchConfig(ENV), tmp_path)
    path = next(tmp_path.glob("agents/*/episodes.jsonl"))
    path.write_text(path.read_text()[:-20])
    assert len(episodes(tmp_path)["random"]) == 7
    assert not path.read_text().endswith("\n")
    with pytest.raises(InvalidData, match="holds no episodes"):
        episodes(tmp_path / "agents")


def test_webshop_names_the_product() -> None:
    env = sparring.make("WebShop-v1")
    _, info = env.reset(seed=0, options={"split": "test"})
    assert info["cluster"] == env.unwrapped.goal.asin  # type: ignore[attr-defined]
    assert env.unwrapped.clusters == "products"  # type: ignore[attr-defined]


def report_of_three_products() -> Report:
    """Two agents on six goals of three products, four of them of one."""
    goals = {"a1": "A", "a2": "A", "a3": "A", "a4": "A", "b1": "B", "c1": "C"}
    records = {
        "learner": [record(goal, 0.5 if goal == "b1" else 1.0, product) for goal, product in goals.items()],
        "heuristic": [record(goal, 1.0 if goal == "a1" else 0.25, product) for goal, product in goals.items()],
    }
    rng = np.random.default_rng(0)
    rows = tuple(summarise(played, agent=agent, rng=rng) for agent, played in records.items())
    return Report(
        "acme/Shop-v1, test", {"tasks": 6, "products": 3}, rows, compare(records, "heuristic", rng=rng), "products"
    )


def test_the_report_says_what_its_intervals_are_over() -> None:
    # Rewrite the file with the text that a failure shows, once the change is meant.
    assert report_of_three_products().to_markdown() == (GOLDEN / "report_of_three_products.md").read_text()


@pytest.mark.parametrize("width", [60, 80, 200])
def test_a_terminal_is_shown_tables_that_fit_it(width: int) -> None:
    report = report_of_three_products()
    screen = Console(file=io.StringIO(), force_terminal=True, color_system=None, width=width)
    report.show(screen)
    out = screen.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, out.splitlines())) <= width
    for figure in ("0.917 [0.500, 1.000]", "+0.542 [+0.250, +0.625]", "From so few products"):
        assert figure in " ".join(out.split())
    assert ("s/episode" in out) == ("3 / 0 / 0" in out) == (width == 200)
    report.show(few := Console(file=io.StringIO(), force_terminal=True, width=width), compared=False)
    assert "task by task" not in few.file.getvalue()  # type: ignore[attr-defined]


def test_a_pipe_is_given_the_markdown() -> None:
    report = report_of_three_products()
    report.show(pipe := Console(file=io.StringIO(), width=40))
    assert pipe.file.getvalue() == report.to_markdown()  # type: ignore[attr-defined]


def test_names_cannot_command_the_terminal_that_a_report_is_shown_on() -> None:
    report = report_of_three_products()
    row = replace(report.rows[0], agent="[red]a\x1b[2J", errors=1, first_error="b\x1b]0;c\x07 [/red]")
    screen = Console(file=io.StringIO(), force_terminal=True, color_system=None, width=120)
    replace(report, rows=(row,), comparisons=()).show(screen)
    out = screen.file.getvalue()  # type: ignore[attr-defined]
    assert not set(out) & set("\x1b\x07") and "[red]a\\x1b[2J" in out and "[/red]" in out
