"""iTool: what a fragment is, which tasks are deficient, the order of demonstrations, learning from pairs of calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

import sparring
from sparring.envs.pool import EnvPool
from sparring.envs.tools.base import ToolEnv
from sparring.envs.tools.schema import Tool, parameters, text
from sparring.errors import InvalidConfig
from sparring.rollout import Start
from sparring.runs import RunFolder
from sparring.search.tree import Edge
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers import itool, preferences, sft
from sparring.trainers.demos import DemosConfig
from sparring.trainers.optim import OptimConfig
from sparring.trainers.preferences import Pair
from sparring.trainers.rounds import LearningConfig
from sparring.trainers.session import LoopConfig
from sparring.trainers.trees import SearchConfig
from sparring.types import Action, Observation, Stop, Trajectory, Turn

COLOURS = ("red", "blue", "grey", "gold", "pink", "teal")


class Painter(ToolEnv):
    """Paint in the colour that is asked for: one call, of two tools, that ends the episode."""

    finish: ClassVar[str | None] = "paint"

    def __init__(self) -> None:
        super().__init__("python", "none")

    def task_ids(self, split: str) -> Sequence[str]:
        if split not in self.splits:
            return super().task_ids(split)
        return [f"{split}/{colour}" for colour in COLOURS]

    splits: ClassVar[tuple[str, ...]] = ("train", "test")

    def begin(self, task: str) -> tuple[str, dict[str, str]]:
        return f"paint it {task.partition('/')[2]}", {"colour": ""}

    def tools(self) -> Sequence[Tool]:
        paint = Tool("paint", "Paint.", parameters(colour=text(*COLOURS)), _paint)
        return paint, Tool("wash", "Wash.", parameters(), lambda world: "clean")

    def score(self) -> float:
        return float(self.world["colour"] == self.task.partition("/")[2])

    def expert_action(self) -> str:
        return f"paint(colour='{self.task.partition('/')[2]}')"


def _paint(world: dict[str, str], colour: str) -> str:
    world["colour"] = colour
    return "done"


def said(action: str, *, turns: int = 1, seed: int = 0, score: float = 0.0) -> Trajectory:
    taken = tuple(Turn(Observation("o"), Action(action), 0.0) for _ in range(turns))
    return Trajectory("e", "t", seed, "do it", taken, Stop.TERMINATED, info={"score": score, "success": score >= 1})


@pytest.mark.parametrize(
    ("better", "worse", "expected"),
    [
        ("f(a=1)", "f(a=2)", True),
        ("f(a=1)", "f(b=1)", True),
        ("f(a=1)", "f(a=1, b=2)", True),
        ("f(a=1)", "g(a=1)", False),
        ("f(a=1)", "f( a=1 )", False),  # spelled otherwise, and the same call
        ("f(a=1)", "no call", False),
        ("no call", "nor this", False),
        ("f(a=", "f(a=1)", False),
    ],
)
def test_a_fragment_is_what_calls_of_the_same_tools_differ_in(better: str, worse: str, expected: bool) -> None:
    assert itool.is_fragment(Pair(said(better), said(worse), first=0), "python") is expected


def test_tasks_that_were_failed_once_are_searched_once() -> None:
    starts = [Start(seed, sampling_seed=member) for seed in (5, 3, 8) for member in range(2)]
    played = [said("a", seed=one.seed, score=float(one.seed == 3 or one.sampling_seed)) for one in starts]
    assert [(one.seed, one.sampling_seed) for one in itool.deficient(starts, played)] == [(5, 0), (8, 0)]


def test_demonstrations_are_sorted_by_their_turns_and_bad_ones_left_out() -> None:
    played = [said("a", turns=turns, score=score) for turns, score in ((3, 1.0), (1, 1.0), (1, 0.5), (2, 1.0))]
    assert [len(one.turns) for one in itool.easiest_first(played, 1.0)] == [1, 2, 3]
    with pytest.raises(InvalidConfig, match="none of 4 demonstrations has a score of 2"):
        itool.easiest_first(played, 2.0)


def test_an_environment_without_calls_is_refused(copy_env: EnvConfig) -> None:
    with EnvPool(copy_env.maker(), 1) as pool, pytest.raises(InvalidConfig, match="actions of Copy are none"):
        itool.style_of(pool)


@pytest.fixture(scope="module")
def painter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that knows how calls are written and paints at random."""
    sparring.register("tests/Painter-v1", "tests.trainers.test_itool:Painter")
    return sft.train(
        sft.Config(
            run=tmp_path_factory.mktemp("painter") / "start",
            env=EnvConfig("tests/Painter-v1", max_turns=3),
            agent=AgentConfig(max_action_tokens=24),
            demos=DemosConfig("random", episodes=200),
            tiny=sft.TinyConfig(hidden=32, layers=2, heads=2, vocabulary=300, max_context=192),
            loop=LoopConfig(steps=30, eval_every=0, checkpoint_every=30),
        )
    )


def run(folder: Path, model: Path, **changes: Any) -> list[dict[str, float]]:
    sparring.register("tests/Painter-v1", "tests.trainers.test_itool:Painter")
    config = itool.Config(
        run=folder / "itool",
        model=str(model),
        env=EnvConfig("tests/Painter-v1", max_turns=3),
        agent=AgentConfig(max_action_tokens=24),
        optim=OptimConfig(lr=3e-3, warmup_steps=2),
        loop=LoopConfig(steps=12, eval_every=12, eval_episodes=64, checkpoint_every=12),
        learning=LearningConfig(updates=40, max_passes=10),
        search=SearchConfig("agent-q", trees=32, simulations=16, samples=24, children=20, save_every=0),
        warmup_rounds=0,
    )
    return RunFolder(itool.train(replace(config, **changes))).metrics()


def test_what_differs_between_calls_is_learned(tmp_path: Path, painter: Path) -> None:
    rows = run(tmp_path, painter)
    assert rows[0]["deficient"] > 0.7 and rows[-1]["eval_sampled_score"] > 0.5
    pairs = list(preferences.read(tmp_path / "itool" / "pairs"))
    assert pairs and all(itool.is_fragment(pair, "python") for pair in pairs)


def test_and_nothing_without_the_values_of_the_search(
    tmp_path: Path, painter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key term removed: which of two calls is the better is told by its spelling."""

    def by_spelling(rules: Any, edge: Edge) -> float:
        return sum(map(ord, edge.action.text)) % 97 / 97

    monkeypatch.setattr("sparring.trainers.node_pairs.edge_value", by_spelling)
    assert run(tmp_path, painter)[-1]["eval_sampled_score"] < 0.3


def test_the_warm_up_imitates_and_a_resumed_run_is_the_run_that_was_not_stopped(tmp_path: Path, painter: Path) -> None:
    changes: dict[str, Any] = {
        "warmup_rounds": 2,
        "demos": DemosConfig("expert", episodes=60),
        "loop": LoopConfig(steps=4, eval_every=0, checkpoint_every=2),
    }
    rows = run(tmp_path / "whole", painter, **changes)
    assert [row["found"] for row in rows[:3]] == [30.0, 60.0, 0.0] and rows[2]["success"] > 0.3
    run(tmp_path / "cut", painter, **changes | {"loop": LoopConfig(steps=2, eval_every=0, checkpoint_every=2)})
    run(tmp_path / "cut", painter, **changes, resume=True)
    last = [RunFolder(tmp_path / name / "itool").latest_checkpoint() for name in ("whole", "cut")]
    assert last[0] is not None and last[1] is not None
    one, other = ((found[1] / "model.safetensors").read_bytes() for found in last if found is not None)
    assert one == other
