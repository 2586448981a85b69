"""Imitation and GRPO on pictures: a tiny model learns to click what it sees, and does not where it can't see."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sparring.agents.models import load_model
from sparring.agents.vision import policy_on
from sparring.runs import RunFolder
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers import grpo, sft
from sparring.trainers.batch import collate, samples_of, score_tokens, vocabulary_size
from sparring.trainers.collect import demonstrate, shared_setting, special_tokens
from sparring.trainers.demos import DemosConfig
from sparring.trainers.optim import OptimConfig
from sparring.trainers.session import LoopConfig

pytest.importorskip("PIL")

ROOT = Path(__file__).parents[2]
OPTIONS = {
    "width": "48", "height": "48", "side": "14", "widgets": "1", "kinds": "icon", "colours": "3", "described": "False",
    "hint": "False", "step": "100",
}  # fmt: skip
ENV = EnvConfig("sparring/ScreenGrounding-v1", OPTIONS)
AGENT = AgentConfig(constrained=False, max_action_tokens=8)
TINY = sft.TinyConfig(vocabulary=300, hidden=64, layers=2, picture=48, patch=8, max_context=128)


def sft_config(run: Path, steps: int, **changes: Any) -> sft.Config:
    config = sft.Config(
        run=run,
        model="tiny-vision",
        env=ENV,
        agent=AGENT,
        optim=OptimConfig(lr=3e-3, warmup_steps=10),
        loop=LoopConfig(steps=steps, eval_every=0, checkpoint_every=2, keep_checkpoints=0),
        demos=DemosConfig(agent="expert", episodes=1500),
        tiny=TINY,
        batch_episodes=32,
    )
    return replace(config, **changes)


def grpo_config(run: Path, model: Path, steps: int) -> grpo.Config:
    return grpo.Config(
        run=run,
        model=str(model),
        env=ENV,
        agent=AGENT,
        optim=OptimConfig(lr=1e-3, warmup_steps=2),
        loop=LoopConfig(steps=steps, eval_every=0, checkpoint_every=2, keep_checkpoints=0),
        groups=8,
        group_size=8,
        advantage="rloo",
        save_episodes_every=0,
    )


def weights(run: Path) -> dict[str, torch.Tensor]:
    latest = RunFolder.open(run).latest_checkpoint()
    assert latest is not None
    model, _ = load_model(latest[1])
    found: dict[str, torch.Tensor] = model.state_dict()
    return found


def test_special_tokens_come_from_the_environment() -> None:
    assert special_tokens(ENV) == ('{"action": "click", "point": [', "]}")


def test_stopped_and_resumed_runs_end_with_the_same_weights(tmp_path: Path) -> None:
    small = {"demos": DemosConfig(agent="expert", episodes=40), "batch_episodes": 4}
    whole = sft.train(sft_config(tmp_path / "whole", 4, **small))
    sft.train(sft_config(tmp_path / "parts", 2, **small))
    parts = sft.train(replace(sft_config(tmp_path / "parts", 4, **small), resume=True))
    for one, other in zip(weights(whole).values(), weights(parts).values(), strict=True):
        assert torch.equal(one, other)
    whole_rl = grpo.train(grpo_config(tmp_path / "whole-rl", whole, 4))
    grpo.train(grpo_config(tmp_path / "parts-rl", whole, 2))
    parts_rl = grpo.train(replace(grpo_config(tmp_path / "parts-rl", whole, 4), resume=True))
    for one, other in zip(weights(whole_rl).values(), weights(parts_rl).values(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("sees", [True, False])
def test_it_learns_to_click_what_it_sees_and_not_without_eyes(tmp_path: Path, sees: bool) -> None:
    """The pictures are the key term: taken away, the same training stays near what can be guessed."""
    config = sft_config(tmp_path / "run", 120)
    episodes = demonstrate(ENV, "expert", shared_setting(ENV, AGENT), episodes=500, split="train", seed=0)
    model, tokens = load_model(sft.tiny_folder(config, RunFolder(tmp_path / "run"), episodes))
    policy = policy_on(model, tokens, constrained=False, max_new_tokens=8)
    samples = [samples_of(one, policy.chat, None)[0] for one in episodes]
    if not sees:  # every screen looks like the first one
        samples = [replace(one, images=samples[0].images) for one in samples]
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    found = 0.0
    for step in range(120):
        chosen = [samples[(32 * step + at) % 450] for at in range(32)]
        scores = score_tokens(model, collate(chosen, vocabulary_size(model)).to(model.device))
        (-scores.logprobs_N.mean()).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():  # on screens that it was not trained on
        found = float(
            -score_tokens(model, collate(samples[450:], vocabulary_size(model)).to(model.device)).logprobs_N.mean()
        )
    assert (found < 0.45) if sees else (found > 0.55), found


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_grpo_lifts_it_above_imitation(tmp_path: Path) -> None:
    """The example with its own settings, as recorded in benchmarks/results/gui_grounding.json."""
    command = [sys.executable, str(ROOT / "examples" / "gui.py"), "--out", str(tmp_path / "gui")]
    subprocess.run(command, cwd=ROOT, check=True)
    found = json.loads((tmp_path / "gui" / "difference.json").read_text())
    assert found["low"] > 0.2, found
    rows = RunFolder.open(tmp_path / "gui" / "rl").metrics()
    assert rows[0]["mismatch"] < 1e-4  # sampler and trainer see the same pictures
