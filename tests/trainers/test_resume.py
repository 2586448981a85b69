"""A run that was stopped or killed and then resumed ends with the very weights of one that was not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from sparring import trajectories
from sparring.errors import InvalidConfig, InvalidData
from sparring.runs import RunFolder
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers import (
    agent_q,
    agent_r,
    archer,
    digirl,
    dpo,
    exploratory,
    filtered_bc,
    grpo,
    iterated,
    leti,
    off_policy,
    offline_archer,
    ppo,
    rest_mcts,
    rise,
    score,
    self_debug,
    session,
    sft,
)
from sparring.trainers.collect import demonstrate, shared_setting
from sparring.trainers.optim import OptimConfig
from sparring.trainers.pair_update import PreferenceConfig
from sparring.trainers.policy_update import ObjectiveConfig
from sparring.trainers.rounds import LearningConfig
from sparring.trainers.session import LoopConfig
from sparring.trainers.trees import SearchConfig
from sparring.trainers.turn_critic import TurnCriticConfig
from sparring.types import Trajectory

ROOT = Path(__file__).parents[2]
OPTIM = OptimConfig(lr=3e-3, warmup_steps=2, decay="cosine", micro_batch_tokens=256)
LOOP = LoopConfig(steps=7, eval_every=2, eval_episodes=4, checkpoint_every=3, keep_checkpoints=0)


def grpo_config(run: Path, model: Path, env: EnvConfig, agent: AgentConfig) -> grpo.Config:
    return grpo.Config(
        run=run,
        model=str(model),
        env=env,
        agent=agent,
        optim=OPTIM,
        loop=LOOP,
        groups=4,
        group_size=3,
        objective=ObjectiveConfig(epochs=2, minibatches=2, kl_coef=0.05, entropy_coef=0.01),
        save_episodes_every=2,
    )


def ppo_config(run: Path, model: Path, env: EnvConfig, agent: AgentConfig) -> ppo.Config:
    return ppo.Config(run=run, model=str(model), env=env, agent=agent, optim=OPTIM, critic=OPTIM, loop=LOOP, episodes=8)


def archer_config(run: Path, model: Path, env: EnvConfig, agent: AgentConfig) -> archer.Config:
    return archer.Config(
        run=run,
        model=str(model),
        env=env,
        agent=agent,
        optim=replace(OPTIM, amsgrad=True),  # as by default
        critic=OPTIM,
        loop=LOOP,
        episodes=4,
        capacity=30,
        warmup_steps=2,
        values=TurnCriticConfig(critic_steps=3, critic_batch=8),
        actor_states=6,
        token_baseline=True,
    )


def off_policy_config(run: Path, model: Path, env: EnvConfig, agent: AgentConfig) -> off_policy.Config:
    return off_policy.Config(
        run=run,
        model=str(model),
        env=env,
        agent=agent,
        optim=OPTIM,
        loop=LOOP,
        groups=3,
        group_size=3,
        max_age=3,
        learn_groups=5,
        minibatches=2,
        objective="copg",
    )


def sft_config(run: Path, model: Path, env: EnvConfig, agent: AgentConfig) -> sft.Config:
    return sft.Config(
        run=run,
        model=str(model),
        env=env,
        agent=agent,
        demos=sft.DemosConfig("expert:0.3", episodes=20),
        optim=OPTIM,
        loop=LOOP,
    )


def filtered_bc_config(run: Path, model: Path, env: EnvConfig, agent: AgentConfig) -> filtered_bc.Config:
    return filtered_bc.Config(
        run=run,
        model=str(model),
        env=env,
        agent=agent,
        optim=OPTIM,
        loop=LOOP,
        rule="success",
        groups=8,
        min_score=0.5,
        capacity=40,
        learn_episodes=6,
        restart_from_base=True,
    )


def offline_archer_config(run: Path, model: Path, env: EnvConfig, agent: AgentConfig) -> offline_archer.Config:
    return offline_archer.Config(
        run=run,
        model=str(model),
        env=env,
        agent=agent,
        optim=OPTIM,
        critic=OPTIM,
        loop=LOOP,
        demos=sft.DemosConfig("expert:0.3", episodes=20),
        warmup_steps=2,
        critic_steps=2,
        critic_batch=8,
        actor_turns=6,
    )


def digirl_config(run: Path, model: Path, env: EnvConfig, agent: AgentConfig) -> digirl.Config:
    return digirl.Config(
        run=run,
        model=str(model),
        env=env,
        agent=agent,
        optim=OPTIM,
        critic=OPTIM,
        loop=LOOP,
        episodes=6,
        capacity=20,
        min_score=0.5,
        instruction_fraction=0.3,
        critic_steps=2,
        instruction_steps=2,
        critic_batch=8,
        actor_turns=6,
        warmup_steps=1,
    )


def dpo_config(run: Path, model: Path, env: EnvConfig, agent: AgentConfig) -> dpo.Config:
    return dpo.Config(
        run=run,
        model=str(model),
        env=env,
        agent=agent,
        optim=OPTIM,
        loop=LOOP,
        preference=PreferenceConfig(objective="rpo", reference="model", epochs=2, minibatches=2),
        groups=4,
        group_size=4,
        which="all",
        save_pairs_every=2,
    )


def dpo_offline_config(run: Path, model: Path, env: EnvConfig, agent: AgentConfig) -> dpo.Config:
    """Pairs of a script's episodes, compared with the frozen start."""
    data = run.with_name("played.jsonl.zst")
    trajectories.write(data, played_twice(env))
    return dpo.Config(
        run=run,
        model=str(model),
        env=env,
        agent=agent,
        optim=OPTIM,
        loop=LOOP,
        preference=PreferenceConfig(reference="model"),
        data=data,
        batch_pairs=5,
    )


def played_twice(env: EnvConfig) -> list[Trajectory]:
    """Twelve tasks, each played by the expert and by chance."""
    setting = shared_setting(env, AgentConfig())
    return [
        one
        for agent in ("expert", "random")
        for one in demonstrate(env, agent, setting, episodes=12, split=None, seed=0)
    ]


def iterated_config(run: Path, model: Path, env: EnvConfig, agent: AgentConfig, method: Any) -> iterated.Config:
    return iterated.Config(
        run=run,
        model=str(model),
        env=env,
        agent=agent,
        method=method,
        min_score=0.5,
        demos=sft.DemosConfig("expert:0.6", episodes=20),
        optim=OPTIM,
        loop=LOOP,
        learning=LearningConfig(updates=3, batch_episodes=4, batch_pairs=4),
        groups=8,
        demos_per_round=6,
        continuations=3,
        tau=0.01,
    )


def agent_q_config(run: Path, model: Path, env: EnvConfig, agent: AgentConfig) -> agent_q.Config:
    return agent_q.Config(
        run=run,
        model=str(model),
        env=env,
        agent=agent,
        optim=OPTIM,
        loop=LOOP,
        search=SearchConfig("agent-q", trees=5, simulations=6, save_every=3),
        critique="asked",
        threshold=0.05,
        environments=4,
    )


def agent_r_config(run: Path, model: Path, env: EnvConfig, agent: AgentConfig) -> agent_r.Config:
    return agent_r.Config(
        run=run,
        model=str(model),
        env=env,
        agent=agent,
        optim=OPTIM,
        loop=LOOP,
        search=SearchConfig("agent-r", trees=5, simulations=6, save_every=3),
        learning=LearningConfig(updates=3, batch_episodes=4),
        demos=sft.DemosConfig("expert:0.6", episodes=20),
        alpha=(0.4,),
        environments=4,
    )


def rest_mcts_config(run: Path, model: Path, env: EnvConfig, agent: AgentConfig) -> rest_mcts.Config:
    return rest_mcts.Config(
        run=run,
        model=str(model),
        env=env,
        agent=agent,
        optim=OPTIM,
        critic=OPTIM,
        loop=LOOP,
        search=SearchConfig("rest-mcts", trees=5, simulations=6, save_every=3),
        learning=LearningConfig(updates=3, batch_episodes=4),
        min_score=0.5,
        environments=4,
    )


def exploratory_config(run: Path, model: Path, env: EnvConfig, agent: AgentConfig) -> exploratory.Config:
    return exploratory.Config(
        run=run,
        model=str(model),
        env=replace(env, wrappers=("backtrack",)),
        agent=agent,
        optim=OPTIM,
        loop=LOOP,
        search=SearchConfig("r-mcts", trees=5, simulations=6, save_every=3),
        learning=LearningConfig(updates=3, batch_episodes=4),
        min_score=0.5,
        environments=4,
    )


def score_config(run: Path, model: Path, env: EnvConfig, agent: AgentConfig) -> score.Config:
    return score.Config(
        run=run,
        model=str(model),
        env=env,
        agent=agent,
        optim=OPTIM,
        loop=LOOP,
        groups=4,
        group_size=3,
        stage_1_steps=3,
        mix=0.5,
        objective=ObjectiveConfig(kl_estimator="exact"),
        save_episodes_every=2,
    )


def rise_config(run: Path, model: Path, env: EnvConfig, agent: AgentConfig) -> rise.Config:
    return rise.Config(
        run=run,
        model=str(model),
        env=env,
        agent=agent,
        optim=OPTIM,
        loop=LOOP,
        learning=LearningConfig(updates=3, batch_episodes=4, remember=True),
        groups=6,
        samples=3,
        keep="all",
        environments=4,
    )


def self_debug_config(run: Path, model: Path, env: EnvConfig, agent: AgentConfig) -> self_debug.Config:
    return self_debug.Config(
        run=run,
        model=str(model),
        env=replace(env, wrappers=("explain",)),
        agent=agent,
        optim=OPTIM,
        loop=LOOP,
        groups=4,
        group_size=3,
        save_episodes_every=2,
    )


def leti_config(run: Path, model: Path, env: EnvConfig, agent: AgentConfig) -> leti.Config:
    return leti.Config(
        run=run,
        model=str(model),
        env=replace(env, wrappers=("reward-token",)),
        agent=agent,
        optim=OPTIM,
        loop=LOOP,
        learning=LearningConfig(updates=3, batch_episodes=4),
        groups=4,
        group_size=2,
        good_reward=0.5,
        environments=4,
    )


TRAINERS = [
    pytest.param(agent_r, agent_r_config, id="agent_r"),
    pytest.param(rest_mcts, rest_mcts_config, id="rest_mcts"),
    pytest.param(exploratory, exploratory_config, id="exploratory"),
    pytest.param(agent_q, agent_q_config, id="agent_q"),
    pytest.param(grpo, grpo_config, id="grpo"),
    pytest.param(sft, sft_config, id="sft"),
    pytest.param(ppo, ppo_config, id="ppo"),
    pytest.param(archer, archer_config, id="archer"),
    *(
        pytest.param(iterated, partial(iterated_config, method=method), id=f"iterated-{method}")
        for method in ("rft", "eef", "eto", "ipr")
    ),
    pytest.param(filtered_bc, filtered_bc_config, id="filtered_bc"),
    pytest.param(offline_archer, offline_archer_config, id="offline_archer"),
    pytest.param(digirl, digirl_config, id="digirl"),
    pytest.param(off_policy, off_policy_config, id="off_policy"),
    pytest.param(score, score_config, id="score"),
    pytest.param(rise, rise_config, id="rise"),
    pytest.param(leti, leti_config, id="leti"),
    pytest.param(self_debug, self_debug_config, id="self_debug"),
    pytest.param(dpo, dpo_config, id="dpo"),
    pytest.param(dpo, dpo_offline_config, id="dpo-offline"),
]


# In CI those that differ in what they keep; the slow tests have all. Stopping is the session's affair, alike in all.
STOPPED_IN_CI = ("sft", "grpo", "archer", "agent_q", "iterated-eto")
KILLED_IN_CI = (
    *STOPPED_IN_CI,
    "ppo",
    "agent_r",
    "filtered_bc",
    "offline_archer",
    "off_policy",
    "dpo",
    "score",
)


def some(names: tuple[str, ...]) -> list[Any]:
    """The trainers, those that are not named marked slow."""
    return [
        one if one.id in names else pytest.param(*one.values, id=one.id, marks=pytest.mark.slow) for one in TRAINERS
    ]


def weights(run: Path) -> dict[str, bytes]:
    """The last checkpoint's weights, bit by bit, and the optimiser's state."""
    latest = RunFolder(run).latest_checkpoint()
    assert latest is not None and latest[0] == LOOP.steps
    optimizer = torch.load(latest[1] / "optimizer.pt", weights_only=True, map_location="cpu")
    state = {
        f"{index}.{name}": value.numpy().tobytes()
        for index, values in optimizer["state"].items()
        for name, value in values.items()
    }
    for file in sorted(latest[1].glob("*critic.pt")):
        critic = torch.load(file, weights_only=True, map_location="cpu")
        for part in ("module", "target"):
            state |= {f"{file.name}.{part}.{name}": one.numpy().tobytes() for name, one in (critic[part] or {}).items()}
    return {"model": (latest[1] / "model.safetensors").read_bytes(), **state}


def untimed(run: Path) -> list[dict[str, Any]]:
    """The metrics without what measures time."""
    return [{name: value for name, value in row.items() if "second" not in name} for row in RunFolder(run).metrics()]


@pytest.mark.parametrize(("trainer", "config_of"), some(STOPPED_IN_CI))
def test_a_graceful_stop_and_resume(
    trainer: Any,
    config_of: Callable[..., Any],
    tmp_path: Path,
    copy_model: Path,
    copy_env: EnvConfig,
    copy_agent: AgentConfig,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole = config_of(tmp_path / "whole", copy_model, copy_env, copy_agent)
    trainer.train(whole)
    parted = replace(whole, run=tmp_path / "parted")
    log = session.Session.log

    def interrupt(self: session.Session, row: Any, status: str = "") -> None:
        log(self, row, status)
        if self.step == 4:
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patched:
        patched.setattr(session.Session, "log", interrupt)
        trainer.train(parted)
    assert list(RunFolder(parted.run).checkpoints()) == [3, 4]
    shown = " ".join(capsys.readouterr().out.split())
    assert "Stopped on request after step 4" in shown and "--resume" in shown
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    with pytest.raises(InvalidConfig, match="--resume"):
        trainer.train(parted)
    trainer.train(replace(parted, resume=True))
    assert weights(parted.run) == weights(whole.run)
    assert untimed(parted.run) == untimed(whole.run)
    assert (parted.run / "curve.png").read_bytes().startswith(b"\x89PNG")


KILLED = """
import os, signal, sys
from pathlib import Path
import sparring
from sparring.runs import RunFolder
from sparring.trainers import {trainer} as trainer, session

sparring.register("tests/Copy-v1", "tests.worlds:Copy", max_turns=5)
log = session.Session.log

def die(self, row, status=""):
    log(self, row, status)
    if self.step == 5:
        (self.run.path / "checkpoints" / "step-5.partial").mkdir()
        os.kill(os.getpid(), signal.SIGKILL)

session.Session.log = die
config = RunFolder(Path(sys.argv[1])).config(trainer.Config)
trainer.train(config.__class__(**{{
    **{{name: getattr(config, name) for name in config.__dataclass_fields__}}, "run": Path(sys.argv[2])}}))
"""


@pytest.mark.parametrize(("trainer", "config_of"), some(KILLED_IN_CI))
def test_killed_between_checkpoints_and_resumed(
    trainer: Any,
    config_of: Callable[..., Any],
    tmp_path: Path,
    copy_model: Path,
    copy_env: EnvConfig,
    copy_agent: AgentConfig,
) -> None:
    whole = config_of(tmp_path / "whole", copy_model, copy_env, copy_agent)
    trainer.train(whole)
    killed = tmp_path / "killed"
    name = trainer.__name__.rpartition(".")[2]
    died = subprocess.run(
        [sys.executable, "-c", KILLED.format(trainer=name), str(whole.run), str(killed)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert died.returncode == -signal.SIGKILL, died.stderr.decode()[-2000:]
    assert [row["step"] for row in RunFolder(killed).metrics()] == [1, 2, 3, 4, 5]
    assert list(RunFolder(killed).checkpoints()) == [3]
    trainer.train(replace(whole, run=killed, resume=True))
    assert weights(killed) == weights(whole.run)
    assert untimed(killed) == untimed(whole.run)


def test_a_damaged_checkpoint_is_named(
    tmp_path: Path, copy_model: Path, copy_env: EnvConfig, copy_agent: AgentConfig
) -> None:
    config = sft_config(tmp_path / "run", copy_model, copy_env, copy_agent)
    sft.train(replace(config, loop=replace(LOOP, steps=1, eval_every=0)))
    latest = RunFolder(config.run).latest_checkpoint()
    assert latest is not None
    (latest[1] / "optimizer.pt").write_bytes(b"cut short")
    with pytest.raises(InvalidData, match=r"optimizer\.pt"):
        sft.train(replace(config, resume=True))
    (latest[1] / "optimizer.pt").unlink()
    with pytest.raises(InvalidData, match=r"optimizer\.pt"):
        sft.train(replace(config, resume=True))


def test_what_the_run_folder_says(
    tmp_path: Path, copy_model: Path, copy_env: EnvConfig, copy_agent: AgentConfig
) -> None:
    """The resolved settings are those given; rows hold what the documentation promises."""
    config = grpo_config(tmp_path / "run", copy_model, copy_env, copy_agent)
    run = RunFolder(grpo.train(config))
    assert run.trainer == "grpo" and run.config(grpo.Config) == config
    rows = run.metrics()
    assert [row["step"] for row in rows] == list(range(1, 8))
    promised = {
        "seconds", "episodes", "env_turns", "loss", "return_mean", "success", "entropy", "kl", "clip_fraction",
        "zero_variance", "grad_norm", "tokens_per_second", "rollout_seconds", "update_seconds", "mismatch",
    }  # fmt: skip
    assert promised <= rows[0].keys()
    assert {"eval_greedy_score", "eval_sampled_success", "eval_seconds"} <= rows[1].keys()
    assert rows[-1]["episodes"] == 7 * 12 and rows[-1]["env_turns"] == 7 * 12 * 2
    assert max(row["mismatch"] for row in rows) < 1e-5
    assert json.loads(run.metrics_path.read_text().splitlines()[0])["step"] == 1
    assert run.trajectories_path("step-000002").exists()
