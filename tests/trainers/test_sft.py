"""What imitation learns from: the selection of episodes, the loss of scripted actions, the order of samples."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sparring import trajectories
from sparring.errors import InvalidConfig, UnknownName
from sparring.runs import RunFolder
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers import sft
from sparring.trainers.batch import collate, samples_of, score_tokens, vocabulary_size
from sparring.trainers.checkpoint import load_learner
from sparring.trainers.optim import OptimConfig
from sparring.trainers.session import LoopConfig
from sparring.types import Trajectory
from tests.worlds import WORDS


@pytest.fixture
def config(tmp_path: Path, copy_model: Path, copy_env: EnvConfig, copy_agent: AgentConfig) -> sft.Config:
    return sft.Config(
        run=tmp_path / "run",
        model=str(copy_model),
        env=copy_env,
        agent=copy_agent,
        demos=sft.DemosConfig("expert:0.5", episodes=30),
        loop=LoopConfig(steps=2, eval_every=0),
        optim=OptimConfig(lr=1e-3),
    )


@pytest.fixture
def played(config: sft.Config) -> list[Trajectory]:
    return demonstrations_of(config, RunFolder.create(config.run, "sft", config))


def demonstrations_of(config: sft.Config, run: RunFolder) -> list[Trajectory]:
    return sft.demonstrations(config.demos, run, config.env, config.setting, data=config.data, seed=config.seed)


def test_demonstrations_are_played_once(config: sft.Config, played: list[Trajectory]) -> None:
    assert len(played) == 30
    assert {one.wrappers for one in played} == {("expert",)}
    assert 0 < np.mean([one.score for one in played]) < 1
    other = replace(config, demos=sft.DemosConfig("random", episodes=3))
    run = RunFolder(config.run)
    with run.checkpoint(1) as folder:
        (folder / "model").touch()
    assert demonstrations_of(other, run) == played  # a resumed run imitates the episodes that it began with
    shutil.rmtree(run.path / "checkpoints")
    assert len(demonstrations_of(other, run)) == 3  # nothing was learned yet, so that nothing binds the run


def test_selection(played: list[Trajectory]) -> None:
    assert sft.select(played, None, 1.0) == played
    perfect = sft.select(played, 1.0, 1.0)
    assert perfect and all(one.score == 1 for one in perfect)
    half = sft.select(played, None, 0.5)
    assert len(half) == 15
    worst_kept = min(one.score for one in half)
    assert worst_kept >= sorted((one.score for one in played), reverse=True)[14]
    assert [one for one in played if one in half] == half
    with pytest.raises(InvalidConfig, match="Lower min_score"):
        sft.select(played, 1.5, 1.0)


def test_scripted_actions_cost_what_constrained_decoding_would_pay(
    config: sft.Config, played: list[Trajectory]
) -> None:
    """With weights of zero every logit is equal: a word then costs the logarithm of the choices at each of its tokens.

    Summed over an episode of two words that is at most 2 log 8 when all eight words differ in their first token, and
    the end of the turn, being forced, costs exactly nothing.
    """
    learner = load_learner(config.model, config.optim, RunFolder(config.run / "none"))
    with torch.no_grad():
        for parameter in learner.model.parameters():
            parameter.zero_()
    policy = learner.policy(config.agent)
    firsts = {policy.vocabulary.encode(word)[0] for word in WORDS}
    assert len(firsts) == len(WORDS)
    (sample,) = samples_of(played[0], policy.chat, policy.grammar)
    scores = score_tokens(learner.model, collate([sample], vocabulary_size(learner.model)).to(learner.model.device))
    assert float(scores.logprobs_N.detach().sum()) == pytest.approx(-2 * math.log(8), abs=1e-5)
    assert np.isnan(sample.logprobs_n).all()
    (free,) = samples_of(played[0], policy.chat, None)
    free_scores = score_tokens(learner.model, collate([free], vocabulary_size(learner.model)).to(learner.model.device))
    expected = -len(free.sampled_n) * math.log(vocabulary_size(learner.model))
    assert float(free_scores.logprobs_N.detach().sum()) == pytest.approx(expected, abs=1e-3)


def test_each_epoch_sees_every_sample_once_in_its_own_order(config: sft.Config) -> None:
    varied = replace(config, batch_episodes=4)
    seen = [index for step in range(1, 11) for index in sft.batch_indices(varied, 10, step)]
    epochs = [seen[first : first + 10] for first in range(0, 40, 10)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert sft.batch_indices(varied, 10, 3) == seen[8:12]


def test_data_of_another_run(config: sft.Config, played: list[Trajectory], tmp_path: Path) -> None:
    path = tmp_path / "best.jsonl.zst"
    trajectories.write(path, played)
    run = RunFolder(sft.train(replace(config, run=tmp_path / "second", data=path, min_score=0.5, batch_episodes=3)))
    assert not run.trajectories_path("demos").exists()
    chosen = len([one for one in played if one.score >= 0.5])
    assert run.metrics()[-1]["epoch"] == pytest.approx(2 * 3 / chosen)


def test_tiny_is_built_from_the_demonstrations(config: sft.Config, tmp_path: Path) -> None:
    tiny = sft.TinyConfig(vocabulary=300, hidden=16, layers=1, heads=1)
    run = sft.train(replace(config, run=tmp_path / "tiny", model="tiny", tiny=tiny))
    latest = RunFolder(run).latest_checkpoint()
    assert latest is not None and (run / "start" / "config.json").exists()
    # What was trained is itself a model to start from, by the name of its run.
    again = load_learner(str(run), config.optim, RunFolder(tmp_path / "none"))
    assert again.model.config.hidden_size == 16
    RunFolder.create(config.run, "sft", config)
    with pytest.raises(InvalidConfig, match="without a checkpoint"):
        load_learner(str(config.run), config.optim, RunFolder(tmp_path / "none"))


def test_lora_trains_an_adapter_and_resumes(config: sft.Config, tmp_path: Path) -> None:
    lora = replace(config, run=tmp_path / "lora", lora_rank=2, loop=LoopConfig(steps=4, eval_every=0))
    parted = replace(lora, run=tmp_path / "parted")
    sft.train(lora)
    sft.train(replace(parted, loop=replace(lora.loop, steps=2)))
    sft.train(replace(parted, resume=True))
    ends = [RunFolder(one.run).latest_checkpoint() for one in (lora, parted)]
    files = [end[1] / "adapter_model.safetensors" for end in ends if end is not None]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert not (files[0].parent / "model.safetensors").exists()


def test_episodes_beyond_the_context(config: sft.Config, played: list[Trajectory], tmp_path: Path) -> None:
    learner = load_learner(config.model, config.optim, RunFolder(tmp_path / "none"))
    learner.model.config.max_position_embeddings = 5
    lessons = sft.Lessons(config, learner.policy(config.agent), played)
    assert len(lessons) == 30 and lessons[0] == []
    with pytest.raises(InvalidConfig, match="fits the model's context"):
        sft.update(config, learner, lessons[0], 1, 0.0)


def test_unknown_names(config: sft.Config, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="expert"):
        sft.train(replace(config, demos=sft.DemosConfig("exprt")))
    with pytest.raises(UnknownName, match="tiny"):
        sft.train(replace(config, model="tinny"))  # in the same folder: an attempt without a step holds no run
    with pytest.raises(UnknownName, match="test"):
        loop = replace(config.loop, eval_split="tset")
        sft.train(replace(config, run=tmp_path / "other", loop=loop))
