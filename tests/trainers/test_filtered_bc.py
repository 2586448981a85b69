"""Filtered behaviour cloning: what each rule keeps, and that it is the rule from which the agent learns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sparring import trajectories
from sparring.errors import InvalidConfig
from sparring.runs import RunFolder
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers import filtered_bc
from sparring.trainers.checkpoint import load_learner, load_reference
from sparring.trainers.filtered_bc import Config, select
from sparring.trainers.optim import OptimConfig
from sparring.trainers.policy_update import ObjectiveConfig
from sparring.trainers.session import LoopConfig
from sparring.types import Action, Observation, Stop, Trajectory, Turn

CHANCE = 1 / 8


def episode(reward: float, said: str = "red", *, task: str = "a", stop: Stop = Stop.TERMINATED) -> Trajectory:
    turn = Turn(Observation("red"), Action(said), reward, terminated=True)
    info = {"score": reward, "success": reward == 1}
    return Trajectory("tests/Copy-v1", task, 0, "Say the word.", (turn,), stop, Observation("done"), info=info)


def test_percentile_keeps_the_best_of_all() -> None:
    remembered = [episode(reward / 20) for reward in range(21)]
    kept = select(Config(), remembered, [])
    assert [one.total_reward for one in kept] == [0.9, 0.95, 1.0]


def test_best_keeps_one_of_each_group_and_the_first_of_equals() -> None:
    config = Config(rule="best", group_size=3)
    first, equal = episode(0.5, "teal"), episode(0.5, "gold")
    groups = [[episode(0), first, equal], [episode(1, stop=Stop.CONTEXT_FULL)], []]
    assert select(config, [], groups) == [first]


def test_success_keeps_each_way_once() -> None:
    remembered = [episode(1), episode(0.5), episode(1, task="b"), episode(1, "gold"), episode(0.2)]
    assert [one.turns[0].action.text for one in select(Config(rule="success"), remembered, [])] == ["red", "gold"]
    graded = select(Config(rule="success", min_score=0.5), remembered, [])
    assert [(one.score, one.turns[0].action.text) for one in graded] == [(1, "red"), (1, "gold")]


def test_demonstrations_are_always_learned_from(
    tmp_path: Path, copy_model: Path, copy_env: EnvConfig, copy_agent: AgentConfig
) -> None:
    """Rounds on demonstrations alone, since a random model hardly ever succeeds."""
    from sparring.trainers.collect import demonstrate

    config = replace(learning(tmp_path / "run", copy_model, copy_env, copy_agent), rule="success", groups=4)
    data = tmp_path / "demos.jsonl.zst"
    trajectories.write(
        data, demonstrate(copy_env, "expert", config.setting, episodes=100, split=None, seed=0, pool_size=8)
    )
    run = filtered_bc.train(
        replace(
            config,
            data=data,
            learn_episodes=0,
            restart_from_base=True,
            optim=OptimConfig(lr=3e-3, warmup_steps=0),
            objective=ObjectiveConfig(surrogate="likelihood", epochs=5, minibatches=10),
            loop=LoopConfig(steps=2, eval_every=2, eval_episodes=32),
        )
    )
    assert RunFolder(run).metrics()[-1]["eval_greedy_score"] > 0.6


def test_a_round_begins_where_the_run_began(tmp_path: Path, copy_model: Path) -> None:
    run = RunFolder.create(tmp_path / "run", "filtered_bc", Config())
    learner = load_learner(str(copy_model), OptimConfig(), run)
    base = load_reference(learner, run)
    before = {name: one.clone() for name, one in learner.model.state_dict().items()}
    next(learner.model.parameters()).grad = torch.ones_like(next(learner.model.parameters()))
    learner.optimizer.step()
    assert any(not torch.equal(one, before[name]) for name, one in learner.model.state_dict().items())
    learner.restart(base)
    assert all(torch.equal(one, before[name]) for name, one in learner.model.state_dict().items())
    assert not learner.optimizer.state


def learning(run: Path, model: Path, env: EnvConfig, agent: AgentConfig) -> Config:
    return Config(
        run=run,
        model=str(model),
        env=env,
        agent=agent,
        optim=OptimConfig(lr=3e-3, warmup_steps=0),
        loop=LoopConfig(steps=50, eval_every=50, eval_episodes=32, checkpoint_every=50),
        groups=64,
    )


def score(run: Path, first: int, last: int) -> float:
    rows = [row["score"] for row in RunFolder(run).metrics() if first <= row["step"] <= last]
    return float(sum(rows) / len(rows))


def test_it_learns(tmp_path: Path, copy_model: Path, copy_env: EnvConfig, copy_agent: AgentConfig) -> None:
    run = filtered_bc.train(learning(tmp_path / "run", copy_model, copy_env, copy_agent))
    # 5 steps are 640 words: the standard error of the start is 0.013.
    assert score(run, 1, 5) == pytest.approx(CHANCE, abs=0.07)
    assert score(run, 46, 50) > 0.6
    assert RunFolder(run).metrics()[-1]["eval_greedy_score"] > 0.7


def test_it_learns_nothing_from_what_is_kept_at_random(
    tmp_path: Path,
    copy_model: Path,
    copy_env: EnvConfig,
    copy_agent: AgentConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def at_random(returns_S: torch.Tensor, fraction: float) -> torch.Tensor:
        return torch.rand(len(returns_S), generator=torch.Generator().manual_seed(len(returns_S))) < fraction

    monkeypatch.setattr(filtered_bc, "top_fraction", at_random)
    run = filtered_bc.train(learning(tmp_path / "run", copy_model, copy_env, copy_agent))
    assert score(run, 46, 50) == pytest.approx(CHANCE, abs=0.07)


def test_ratio_and_clip_on_the_best(
    tmp_path: Path, copy_model: Path, copy_env: EnvConfig, copy_agent: AgentConfig
) -> None:
    """RAFT++: each group's best is made likelier, and the metrics tell how far."""
    config = learning(tmp_path / "run", copy_model, copy_env, copy_agent)
    run = filtered_bc.train(
        replace(
            config,
            rule="best",
            groups=4,
            group_size=4,
            objective=ObjectiveConfig(epochs=2),
            loop=replace(config.loop, steps=2, eval_every=0),
        )
    )
    first = RunFolder(run).metrics()[0]
    assert first["kept"] == 4 and first["kept_return_mean"] >= first["return_mean"]
    assert first["mismatch"] < 1e-5 and first["kl"] > 0


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: Config(groups=0), "groups must be at least 1"),
        (lambda: Config(top_fraction=0), "top_fraction"),
        (lambda: Config(min_score=0.5), "what a success is"),
        (lambda: Config(rule="best"), "group_size of at least 2"),
        (lambda: Config(rule="best", group_size=2, restart_from_base=True), "too few to restart"),
        (lambda: Config(objective=ObjectiveConfig()), "needs fresh samples"),
        (lambda: Config(rule="best", group_size=2, objective=ObjectiveConfig(), data=Path("x")), "with data"),
        (lambda: Config(objective=ObjectiveConfig(surrogate="likelihood", kl_coef=0.1)), "kl_coef"),
    ],
)
def test_settings_that_do_not_fit(build: object, says: str) -> None:
    with pytest.raises(InvalidConfig, match=says):
        build()  # type: ignore[operator]
