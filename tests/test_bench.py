"""Benchmarks: the same tasks for all, honest rows, resume, and a report that can't be broken by what it names."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sparring
from sparring import trajectories
from sparring.agents.load import Agent, load_agent
from sparring.agents.scripted import ExpertPolicy, RandomPolicy
from sparring.bench import BenchConfig, bench, choose_tasks
from sparring.envs.base import Info, TextWrapper
from sparring.errors import InvalidConfig, InvalidData, UnknownName
from sparring.report import Report
from sparring.rollout import Start
from sparring.runs import RunFolder
from sparring.settings import AgentConfig, EnvConfig
from sparring.summary import EpisodeRecord, compare, summarise
from sparring.types import Action, ActionSet, Prompt
from tests.worlds import Copy

ENV = EnvConfig("tests/Copy-v1", {"words": "3"})
RANDOM = Agent("random", RandomPolicy())
EXPERT = Agent("expert", ExpertPolicy(), ("expert",))


class Breaks(Copy):
    """Fails in one task."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        if options and options.get("task") == "test-3":
            raise OSError("the disk | is\nfull")
        return super().reset(seed=seed, options=options)


@pytest.fixture(autouse=True)
def registered() -> None:
    sparring.register("tests/Copy-v1", "tests.worlds:Copy", max_turns=10)
    sparring.register("tests/Breaks-v1", "tests.test_bench:Breaks", max_turns=10)


class Counted(RandomPolicy):
    """Counts the turns it was asked for, and may be interrupted after some."""

    def __init__(self, limit: float = math.inf) -> None:
        self.turns, self.limit = 0, limit

    def act(self, prompts: Sequence[Prompt]) -> list[Action]:
        self.turns += len(prompts)
        if self.turns > self.limit:
            raise KeyboardInterrupt
        return super().act(prompts)


def figures(report: Report) -> Any:
    """A report without its clock."""
    content = json.loads(report.to_json())
    for row in content["rows"]:
        del row["seconds"]
    return content


def test_every_agent_plays_the_same_tasks(tmp_path: Path) -> None:
    report = bench([RANDOM, EXPERT], BenchConfig(ENV, seeds=(0, 1)), tmp_path)
    random, expert = report.row("random"), report.row("expert")
    assert (expert.episodes, expert.tasks, expert.errors) == (16, 8, 0)
    assert expert.score is not None and expert.success is not None and random.score is not None
    assert (expert.score.estimate, expert.success.estimate, expert.turns) == (1.0, 1.0, 3.0)
    # Always succeeding in 8 tasks leaves room below: with n = 8 the lower bound is n / (n + z²) = 0.676.
    assert (expert.success.low, expert.success.high) == (pytest.approx(0.6756, abs=1e-4), 1.0)
    assert 0 < random.score.estimate < 0.5
    assert (expert.wrappers, expert.memory) == (("expert",), "full_history")
    assert expert.seed_scores is not None and expert.seed_scores.seeds == 2
    (pair,) = report.comparisons
    assert (pair.agent, pair.baseline, pair.score.tasks) == ("expert", "random", 8)
    assert pair.score.difference.estimate == pytest.approx(1.0 - random.score.estimate)
    assert pair.score.difference.excludes(0.0) and pair.score.p_value == pytest.approx(2 / 2**8)


def test_the_same_benchmark_gives_the_same_figures(tmp_path: Path) -> None:
    config = BenchConfig(ENV, concurrent_episodes=3)
    first = bench([RANDOM, EXPERT], config, tmp_path / "one")
    assert figures(bench([RANDOM, EXPERT], config, tmp_path / "two")) == figures(first)
    assert json.loads((tmp_path / "one" / "report.json").read_text()) == json.loads(first.to_json())
    assert (tmp_path / "one" / "report.md").read_text() == first.to_markdown()


def test_luck_is_not_shared_between_tasks(tmp_path: Path) -> None:
    """Were the seed alone the entropy, a random agent would draw the same numbers in every task."""
    bench([RANDOM], BenchConfig(ENV), tmp_path)
    played = list(trajectories.read(next(tmp_path.glob("agents/*/trajectories"))))
    assert len({one.sampling_seed for one in played}) == len(played) == 8
    assert len({tuple(turn.action.text for turn in one.turns) for one in played}) > 4


def test_an_interrupted_benchmark_goes_on_where_it_stopped(tmp_path: Path) -> None:
    config = BenchConfig(ENV, concurrent_episodes=2)
    whole = bench([RANDOM, Agent("counted", Counted())], config, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        bench([RANDOM, Agent("counted", Counted(limit=14))], config, tmp_path / "cut")
    kept = next((tmp_path / "cut/agents").glob("counted-*/episodes.jsonl")).read_text().splitlines()
    assert len(kept) == 4
    with pytest.raises(InvalidConfig, match=r"already holds episodes of random\. Go on with --resume"):
        bench([RANDOM, Agent("counted", Counted())], config, tmp_path / "cut")
    again, random_again = Counted(), Counted(limit=0)
    resumed = bench([Agent("random", random_again), Agent("counted", again)], config, tmp_path / "cut", resume=True)
    assert (random_again.turns, again.turns) == (0, 4 * 3)
    assert figures(resumed) == figures(whole)
    episodes = list(trajectories.read(next((tmp_path / "cut/agents").glob("counted-*/trajectories"))))
    assert sorted(one.task_id for one in episodes) == sorted(choose_tasks(config))


def test_a_line_that_a_crash_cut_short_is_played_again(tmp_path: Path) -> None:
    whole = bench([RANDOM], BenchConfig(ENV), tmp_path)
    path = next(tmp_path.glob("agents/*/episodes.jsonl"))
    path.write_text(path.read_text()[:-20])
    policy = Counted()
    resumed = bench([Agent("random", policy)], BenchConfig(ENV), tmp_path, resume=True)
    assert policy.turns == 3
    assert figures(resumed) == figures(whole)
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    bench([RANDOM], BenchConfig(ENV), tmp_path)
    path = next(tmp_path.glob("agents/*/episodes.jsonl"))
    lines = path.read_text().splitlines()
    for broken in ("{}", "no json"):
        path.write_text("\n".join([lines[0], broken, *lines[2:]]) + "\n")
        with pytest.raises(InvalidData, match=r"episodes\.jsonl, line 2 is no episode"):
            bench([RANDOM], BenchConfig(ENV), tmp_path, resume=True)


def test_more_tasks_and_seeds_may_be_added(tmp_path: Path) -> None:
    bench([RANDOM], BenchConfig(ENV, tasks=5), tmp_path)
    policy = Counted()
    report = bench([Agent("random", policy)], BenchConfig(ENV, tasks=8, seeds=(0, 1)), tmp_path, resume=True)
    assert policy.turns == (16 - 5) * 3
    assert figures(report) == figures(bench([RANDOM], BenchConfig(ENV, seeds=(0, 1)), tmp_path / "anew"))
    # And fewer may be asked for: the report holds just those.
    assert bench([RANDOM], BenchConfig(ENV, tasks=5), tmp_path, resume=True).row("random").episodes == 5


@pytest.mark.parametrize(
    ("agent", "config", "says"),
    [
        (Agent("a", RandomPolicy(), memory="window(2)"), BenchConfig(ENV), "another memory: 'full_history'"),
        (Agent("a", RandomPolicy(), ("expert",)), BenchConfig(ENV), "another wrappers"),
        (Agent("a", RandomPolicy(), source="checkpoints/step-9"), BenchConfig(ENV), "another source: '', now"),
        (Agent("a", RandomPolicy()), BenchConfig(EnvConfig("tests/Copy-v1")), "another options"),
        (Agent("a", RandomPolicy()), BenchConfig(ENV, split="train"), "another split"),
    ],
)
def test_episodes_that_were_played_otherwise_are_not_mixed_in(
    tmp_path: Path, agent: Agent, config: BenchConfig, says: str
) -> None:
    bench([Agent("a", RandomPolicy())], BenchConfig(ENV), tmp_path)
    with pytest.raises(InvalidConfig, match=says):
        bench([agent], config, tmp_path, resume=True)


def test_environment_errors_are_counted_apart_from_failures(tmp_path: Path) -> None:
    report = bench([RANDOM, EXPERT], BenchConfig(EnvConfig("tests/Breaks-v1")), tmp_path)
    row = report.row("expert")
    assert (row.episodes, row.errors, row.tasks) == (7, 1, 7)
    assert row.score is not None and row.score.estimate == 1.0
    assert report.comparisons[0].score.tasks == 7
    text = report.to_markdown()
    assert "expert: 1 episodes, such as `OSError in reset: the disk \\| is full`" in text


def test_an_agent_of_nothing_but_errors_has_no_figures() -> None:
    record = EpisodeRecord("t", 0, 0.0, False, 0.0, 0, 0, 0, 0.1, "env_error", "boom")
    row = summarise([record], agent="unlucky", rng=np.random.default_rng(0))
    assert (row.score, row.episodes, row.errors, row.first_error) == (None, 0, 1, "boom")
    text = Report("t", {}, (row,), ()).to_markdown()
    assert "| unlucky | – | – | – | – | – | – | – | 0 | 1 |" in text
    assert json.loads(Report("t", {}, (row,), ()).to_json())["rows"][0]["turns"] is None
    good = EpisodeRecord("t", 0, 1.0, True, 1.0, 1, 0, 0, 0.1, "terminated")
    assert compare({"a": [good], "b": [record]}, "a", rng=np.random.default_rng(0)) == ()


def test_a_model_is_scored_sampled_and_greedy(tmp_path: Path) -> None:
    class First(RandomPolicy):
        def act(self, prompts: Sequence[Prompt]) -> list[Action]:
            return [Action("red", token_ids=(1, 2), logprobs=(-1.0, -1.0), prompt_tokens=10) for _ in prompts]

    report = bench([Agent("model", RandomPolicy(), greedy=First())], BenchConfig(ENV), tmp_path)
    assert [row.agent for row in report.rows] == ["model (sampled)", "model (greedy)"]
    greedy = report.row("model (greedy)")
    assert (greedy.sampled_tokens, greedy.prompt_tokens) == (6.0, 30.0)


def test_free_running_environments_give_the_same_figures(tmp_path: Path) -> None:
    locked = bench([RANDOM], BenchConfig(ENV), tmp_path / "locked")
    free = bench([RANDOM], BenchConfig(ENV, step_timeout_s=10.0), tmp_path / "free")
    assert figures(free) == figures(locked)


def test_a_draw_of_tasks_is_the_same_every_time_and_in_order() -> None:
    drawn = choose_tasks(BenchConfig(ENV, tasks=4))
    everything = choose_tasks(BenchConfig(ENV))
    assert drawn == choose_tasks(BenchConfig(ENV, tasks=4))
    assert len(drawn) == 4 and drawn == [task for task in everything if task in drawn]
    # Drawing more keeps those drawn before, so that a benchmark can grow.
    assert set(drawn) < set(choose_tasks(BenchConfig(ENV, tasks=6)))


def test_a_table_can_not_be_broken_by_a_name(tmp_path: Path) -> None:
    report = bench([Agent("../a|b\n# <script>", RandomPolicy())], BenchConfig(ENV), tmp_path)
    (row,) = [line for line in report.to_markdown().splitlines() if "script" in line]
    assert row.startswith("| ../a\\|b # <script> | ")
    assert all(path.is_relative_to(tmp_path) for path in tmp_path.rglob("*"))
    assert next((tmp_path / "agents").iterdir()).name.startswith("a-b-script-")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: BenchConfig(ENV, tasks=0), "tasks must be at least 1, got 0"),
        (lambda: BenchConfig(ENV, seeds=()), "seeds must be different"),
        (lambda: BenchConfig(ENV, seeds=(1, 1)), "seeds must be different"),
        (lambda: BenchConfig(ENV, concurrent_episodes=0), "concurrent_episodes"),
        (lambda: BenchConfig(EnvConfig("tests/Copy-v1", wrappers=("expert",))), "leave env.wrappers empty"),
        (lambda: choose_tasks(BenchConfig(ENV, tasks=9)), 'the split "test" has 8 tasks, 9 were asked for'),
        (lambda: bench([], BenchConfig(ENV), Path("nowhere")), "needs agents of different names"),
        (lambda: bench([RANDOM, RANDOM], BenchConfig(ENV), Path("nowhere")), "needs agents of different names"),
        (lambda: bench([RANDOM], BenchConfig(ENV), Path("nowhere"), baseline="x"), 'no agent "x" to compare with'),
    ],
)
def test_what_can_not_be_benchmarked_is_refused_before_anything_is_written(make: Any, says: str) -> None:
    with pytest.raises(InvalidConfig, match=says):
        make()
    assert not Path("nowhere").exists()


# Loading agents


def test_agents_by_name() -> None:
    random = load_agent("random", wrappers=("webshop-index",), memory="window(2)", system="Shop.")
    assert isinstance(random.policy, RandomPolicy)
    assert (random.name, random.wrappers, random.memory) == ("random", ("webshop-index",), "window(2)")
    assert random.system == "Shop."
    oracle = load_agent("oracle", wrappers=("webshop-index",))
    assert isinstance(oracle.policy, ExpertPolicy) and oracle.wrappers == ("expert", "webshop-index")
    noisy = load_agent("expert:0.3").policy
    assert isinstance(noisy, ExpertPolicy) and noisy.error_rate == 0.3
    assert load_agent("first-hit").name == "first-hit"
    served = load_agent("openai:org/model@http://localhost:1/v1")
    assert served.greedy is not None and served.source == "org/model"


def test_an_agent_may_name_its_wrappers(tmp_path: Path) -> None:
    agent = load_agent("expert:0.5+webshop-match+webshop-index", wrappers=("webshop-brief",))
    assert (agent.name, agent.wrappers) == (
        "expert:0.5+webshop-match+webshop-index",
        ("expert", "webshop-match", "webshop-index"),
    )
    sparring.register_wrapper("loud", "tests.test_bench:Loud")
    report = bench([RANDOM, load_agent("expert+loud")], BenchConfig(ENV, tasks=2), tmp_path)
    assert report.row("expert+loud").wrappers == ("expert", "loud")
    with pytest.raises(UnknownName, match=r'no wrapper "webshop-indx"\. Did you mean "webshop-index".*behind a "\+"'):
        load_agent("random+webshop-indx")


def test_an_agent_of_ones_own() -> None:
    found = load_agent("tests.test_bench:Counted")
    assert type(found.policy).__name__ == "Counted"
    with pytest.raises(UnknownName, match="need the module nowhere"):
        load_agent("nowhere:Policy")
    with pytest.raises(UnknownName, match=r'no attribute of tests\.worlds "Copi".*Did you mean "Copy"'):
        load_agent("tests.worlds:Copi")
    with pytest.raises(InvalidConfig, match="is no policy"):
        load_agent("tests.worlds:Copy")


@pytest.mark.parametrize(
    ("spec", "error", "says"),
    [
        ("rondom", UnknownName, 'no agent "rondom". Did you mean "random"'),
        ("expert:much", InvalidConfig, "must be a number within 0 and 1"),
        ("expert:1.5", InvalidConfig, "error_rate must be within 0 and 1"),
        ("openai:model", InvalidConfig, "must be openai:MODEL@URL"),
        ("runs/nowhere", UnknownName, "A run is a folder with a config.toml"),
    ],
)
def test_what_is_no_agent_is_explained(spec: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        load_agent(spec)


@dataclass(frozen=True, slots=True)
class Trained:
    """As much of a trainer's settings as an agent is made from."""

    env: EnvConfig
    agent: AgentConfig


def test_a_run_brings_what_it_was_trained_with(tmp_path: Path) -> None:
    from sparring.agents.models.tiny import build_tiny

    settings = Trained(
        EnvConfig("tests/Copy-v1", wrappers=("loud",)), AgentConfig(memory="window(1)", system="Copy.", temperature=0.5)
    )
    run = RunFolder.create(tmp_path / "demo", "sft", settings)
    with pytest.raises(InvalidConfig, match="has no checkpoint yet"):
        load_agent(str(run.path))
    build_tiny(["Say the word. red green blue"], run.path / "checkpoints/step-7", hidden=32, layers=1, heads=2)
    with pytest.raises(InvalidConfig, match="under the wrappers that it was trained with"):
        load_agent(f"{run.path}+expert")
    agent = load_agent(f"{run.path}/")
    assert (agent.name, agent.source) == (str(run.path), "checkpoints/step-7")
    assert (agent.wrappers, agent.memory, agent.system) == (("loud",), "window(1)", "Copy.")
    sparring.register_wrapper("loud", "tests.test_bench:Loud")
    report = bench([agent], BenchConfig(ENV, tasks=3), tmp_path / "out")
    sampled, greedy = report.rows
    assert (sampled.agent, greedy.agent) == (f"{run.path} (sampled)", f"{run.path} (greedy)")
    assert (sampled.episodes, greedy.episodes, sampled.wrappers) == (3, 3, ("loud",))
    assert sampled.sampled_tokens > 0 and sampled.prompt_tokens > 0
    # Both are one model.
    assert agent.greedy is not None and agent.greedy.model is agent.policy.model  # type: ignore[attr-defined]


class Loud(TextWrapper):
    """Says everything in capitals, and takes it back."""

    def action(self, text: str) -> str:
        return text.lower()

    def view(self, text: str, info: Info) -> tuple[str, Info]:
        actions = ActionSet(tuple(word.upper() for word in info["actions"].choices))
        return text.upper(), {**info, "actions": actions}


def test_starts_are_different_for_tasks_and_seeds(tmp_path: Path) -> None:
    bench([RANDOM], BenchConfig(ENV, seeds=(0, 1)), tmp_path)
    played = list(trajectories.read(next(tmp_path.glob("agents/*/trajectories"))))
    begun = {Start(one.seed, one.task_id, None, one.sampling_seed) for one in played}
    assert len(begun) == 16


def test_an_agent_that_has_played_gives_its_memory_back(tmp_path: Path) -> None:
    class Hungry(RandomPolicy):
        released = 0

        def release(self) -> None:
            self.released += 1

    policy = Hungry()
    bench([Agent("hungry", policy)], BenchConfig(ENV), tmp_path)
    assert policy.released == 1
