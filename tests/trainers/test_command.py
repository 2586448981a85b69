"""The command line of a trainer, and what surrounds its loop."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.progress import Progress, TaskID

from sparring.cli import run as sparring
from sparring.errors import InvalidConfig, UnknownName
from sparring.runs import RunFolder
from sparring.settings import EnvConfig
from sparring.trainers import grpo, sft
from sparring.trainers.command import parse
from sparring.trainers.optim import OptimConfig, learning_rate
from sparring.trainers.session import LoopConfig, Session, command_of, cpu_threads, entropy


def test_flags_of_both_levels() -> None:
    config = parse(
        grpo.Config,
        "grpo",
        [
            *("--run", "runs/x", "--steps", "7", "--max-seconds", "3.5", "--env.id", "WebShop-v1"),
            *("--env.wrappers", "webshop-brief", "webshop-index", "--env.options", "goals", "human"),
            *("--optim.lr", "0.5", "--agent.no-constrained", "--advantage", "rloo"),
        ],
    )
    assert config == grpo.Config(
        run=Path("runs/x"),
        loop=LoopConfig(steps=7, max_seconds=3.5),
        env=EnvConfig("WebShop-v1", {"goals": "human"}, ("webshop-brief", "webshop-index")),
        optim=OptimConfig(lr=0.5),
        agent=replace(grpo.Config().agent, constrained=False),
        advantage="rloo",
    )


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ("/usr/bin/sparring", "sparring train reinforce"),
        ("mine/reinforce.py", "python mine/reinforce.py"),  # `sparring train` would not know it
        (grpo.__file__.replace("grpo", "reinforce"), "sparring train reinforce"),  # python -m sparring.trainers.…
    ],
)
def test_a_trainer_of_a_file_of_its_own_is_run_by_that_file(
    argv: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", [argv])
    assert command_of("reinforce") == expected


def test_settings_of_a_file_and_of_the_run_to_continue(tmp_path: Path) -> None:
    stored = grpo.Config(run=tmp_path / "run", groups=5, loop=LoopConfig(steps=9))
    RunFolder.create(stored.run, "grpo", stored)
    path = str(stored.run / "config.toml")
    other = str(tmp_path / "other")
    for config_flag in (["--config", path], [f"--config={path}"]):
        replayed = parse(grpo.Config, "grpo", [*config_flag, "--run", other, "--groups", "6"])
        assert replayed == replace(stored, run=Path(other), groups=6)
    resumed = parse(grpo.Config, "grpo", ["--run", str(stored.run), "--resume", "--steps", "20"])
    assert resumed == replace(stored, resume=True, loop=replace(stored.loop, steps=20))
    with pytest.raises(UnknownName, match=r'Did you mean ".*run".*leave out --resume'):
        parse(grpo.Config, "grpo", ["--run", str(tmp_path / "runn"), "--resume"])
    with pytest.raises(InvalidConfig, match='"grpo", not of sft'):
        parse(sft.Config, "sft", ["--config", path])
    with pytest.raises(InvalidConfig, match="can't be read"):
        parse(sft.Config, "sft", ["--config", str(tmp_path / "none.toml")])


def test_stored_options_are_kept_and_can_be_given_again(tmp_path: Path) -> None:
    config = grpo.Config(run=tmp_path / "run", env=EnvConfig(options={"catalogue": "shop"}))
    RunFolder.create(config.run, "grpo", config)
    again = ["--run", str(config.run), "--resume"]
    assert parse(grpo.Config, "grpo", again).env.options == {"catalogue": "shop"}
    other = parse(grpo.Config, "grpo", [*again, "--env.options", "catalogue", "other"])
    assert other.env.options == {"catalogue": "other"}


def test_sparring_train(tmp_path: Path, copy_model: Path, copy_env: EnvConfig) -> None:
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    common = f"--env.id {copy_env.id} --agent.max-action-tokens 8 --steps 2 --eval-every 1 --eval-episodes 4"
    sparring(f"train sft --run {first} --model {copy_model} {common} --demos.episodes 8 --tensorboard".split())
    sparring(f"train grpo --run {second} --model {first} {common} --groups 2 --group-size 2".split())
    sparring(f"train grpo --run {second} --resume --steps 3".split())
    assert [row["step"] for row in RunFolder(Path(second)).metrics()] == [1, 2, 3]
    assert list((Path(first) / "tensorboard").iterdir())


def test_learning_rate() -> None:
    constant = OptimConfig(lr=1.0, warmup_steps=3)
    assert [learning_rate(constant, step, 0.5) for step in (1, 2, 3, 4, 5)] == [0.25, 0.5, 0.75, 1, 1]
    linear = OptimConfig(lr=1.0, warmup_steps=0, decay="linear", final_lr_fraction=0.2)
    assert [learning_rate(linear, 9, part) for part in (0, 0.5, 1, 2)] == pytest.approx([1, 0.6, 0.2, 0.2])
    cosine = replace(linear, decay="cosine")
    assert [learning_rate(cosine, 9, part) for part in (0, 0.5, 1)] == pytest.approx([1, 0.6, 0.2])


def test_entropy_differs_by_seed_step_and_purpose() -> None:
    uses = [entropy(seed, step, purpose) for seed in (0, 1) for step in (0, 1) for purpose in ("starts", "shuffle")]
    draws = {int(np.random.default_rng(use).integers(2**62)) for use in uses}
    assert len(draws) == len(uses)


def test_a_budget_of_seconds_leaves_evaluation_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("sparring.trainers.session.time.monotonic", lambda: clock[0])
    run = RunFolder.create(tmp_path / "run", "sft", sft.Config())
    session = Session("sft", run, LoopConfig(steps=100, max_seconds=10))
    progress = []
    for _ in session.steps():
        progress.append(session.progress)
        clock[0] += 4
        with session.timed("eval", counted=False):
            clock[0] += 100
        session.log({"loss": float("nan")})
    assert progress == pytest.approx([0, 0.4, 0.8])
    rows = [json.loads(line) for line in run.metrics_path.read_text().splitlines()]
    assert [(row["seconds"], row["eval_seconds"], row["loss"]) for row in rows] == [
        (4, 100, None),
        (8, 100, None),
        (12, 100, None),
    ]


def test_the_bar_tells_what_is_going_on_and_where_a_resumed_run_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[float, int, str]] = []
    usual = Progress.update

    def update(bar: Progress, task: TaskID, **fields: object) -> None:
        usual(bar, task, **fields)  # type: ignore[arg-type]
        one = bar.tasks[0]
        drawn.append((one.completed, one.fields["step"], one.fields["status"]))

    monkeypatch.setattr(Progress, "update", update)
    run = RunFolder.create(tmp_path / "run", "sft", sft.Config())
    session = Session("sft", run, LoopConfig(steps=4, checkpoint_every=2))
    for step in session.steps():
        session.show("evaluating, greedy")
        session.log({}, status="loss 1")
        session.save_if_due(lambda folder: None)
        if step == 2:
            break
    evaluating, logged = (0, 1, "evaluating, greedy"), (0.25, 1, "loss 1")
    assert drawn[1:3] == [evaluating, logged]
    drawn.clear()
    Session("sft", run, LoopConfig(steps=4))
    assert drawn == [(0.5, 2, "")]


def test_threads_by_the_size_of_the_model_and_only_while_training() -> None:
    small = torch.nn.Linear(2, 2)
    large = torch.nn.Linear(1000, 1001)
    for model, wanted, expected in ((small, 0, 1), (small, 2, 2), (small, None, 3), (large, 0, 3), (large, 1, 1)):
        torch.set_num_threads(3)
        with cpu_threads(model, wanted):
            assert torch.get_num_threads() == expected
        assert torch.get_num_threads() == 3


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: OptimConfig(lr=0), "optim.lr must be above 0"),
        (lambda: OptimConfig(betas=(0.9, 1.0)), "optim.betas"),
        (lambda: OptimConfig(grad_clip=0), "inf for none"),
        (lambda: LoopConfig(steps=0), "steps must be at least 1"),
        (lambda: LoopConfig(max_seconds=0), "max_seconds"),
        (lambda: sft.Config(top_fraction=0), "top_fraction"),
        (lambda: sft.DemosConfig(episodes=0), "demos.episodes"),
    ],
)
def test_settings_out_of_range(build: object, says: str) -> None:
    with pytest.raises(InvalidConfig, match=says):
        build()  # type: ignore[operator]
