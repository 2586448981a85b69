"""What is being trained, and how it is put into a checkpoint and got out again, bit for bit."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from sparring.agents.eyes import eyes_of
from sparring.agents.hf import HFPolicy
from sparring.agents.models import Lora, load_model
from sparring.agents.vision import policy_on
from sparring.agents.vllm import VLLMPolicy
from sparring.agents.vllm_engine import Engine
from sparring.errors import InvalidConfig, InvalidData
from sparring.runs import RunFolder, write_folder
from sparring.settings import AgentConfig
from sparring.trainers.optim import OptimConfig, build_optimizer

OPTIMIZER_FILE = "optimizer.pt"


@dataclass(frozen=True, slots=True)
class Learner:
    """A model under training, with its tokenizer and optimiser, and the engine that plays it where there is one."""

    model: Any
    tokenizer: Any
    optimizer: torch.optim.AdamW
    _engines: list[Engine] = field(default_factory=list, repr=False)

    def write(self, folder: Path) -> None:
        """Fill a checkpoint's folder: a Hugging Face folder (or an adapter's), and the optimiser beside it."""
        write_model(self.model, self.tokenizer, folder)
        torch.save(self.optimizer.state_dict(), folder / OPTIMIZER_FILE)

    def restart(self, base: Any) -> None:
        """Take the weights of the model `base`, and forget what the optimiser has seen."""
        self.model.load_state_dict(base.state_dict())
        self.optimizer.state.clear()

    def policy(self, agent: AgentConfig, *, greedy: bool = False) -> HFPolicy | Any:
        """A policy that follows the model's weights; tell it `weights_changed()` after a step.

        It is an `HFPolicy` on the model itself, or a `VLLMPolicy`; all of those share one engine.

        Raises:
            MissingExtra: vllm is asked for and not installed. InvalidConfig: vllm for a vision-language model.
        """
        settings: dict[str, Any] = {
            "temperature": agent.temperature,
            "greedy": greedy,
            "max_new_tokens": agent.max_action_tokens,
            "constrained": agent.constrained,
        }
        if agent.engine == "hf":
            return policy_on(self.model, self.tokenizer, **settings)
        if eyes_of(self.model) is not None:
            raise InvalidConfig(
                'the engine vllm is given no pictures here: use agent.engine "hf" for a model that sees'
            )
        if not self._engines:
            cache_bytes = round(agent.engine_cache_gib * 2**30)
            self._engines.append(Engine(self.model, dtype=agent.engine_dtype, cache_bytes=cache_bytes))
        return VLLMPolicy(self._engines[0], self.tokenizer, **settings)


def write_model(model: Any, tokenizer: Any, folder: Path) -> None:
    """Fill a Hugging Face folder (or an adapter's), with the image processor's settings for a model that sees."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    eyes = eyes_of(model)
    if eyes is not None:
        eyes.save(folder)


def load_learner(
    model: str, optim: OptimConfig, run: RunFolder, *, lora_rank: int = 0, texts: Iterable[str] | None = None
) -> Learner:
    """Load the run's newest checkpoint, optimiser included, or else begin from `model`.

    Args:
        model: `tiny`, `smollm2`, a model folder, or a run folder, whose newest checkpoint is taken.
        lora_rank: put a fresh adapter of this rank on the model and train it alone; 0 trains what there is.
        texts: what the tokenizer of `tiny` is trained on.
    Raises:
        UnknownName: no such model. InvalidConfig: `model` is a run without a checkpoint.
        InvalidData: a checkpoint without its optimiser's state.
    """
    latest = run.latest_checkpoint()
    if latest is None:
        lora = Lora(rank=lora_rank, alpha=2 * lora_rank) if lora_rank else None
        loaded, tokenizer = load_model(_start(model), lora=lora, texts=texts)
        return Learner(loaded, tokenizer, build_optimizer(loaded, optim))
    loaded, tokenizer = load_model(latest[1])
    optimizer = build_optimizer(loaded, optim)
    path = latest[1] / OPTIMIZER_FILE
    try:
        optimizer.load_state_dict(torch.load(path, weights_only=True, map_location="cpu"))
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, pickle.UnpicklingError) as error:
        raise InvalidData(
            f"{path} does not hold the optimiser of this run, so it can't go on. Start a new run from its weights "
            f"with --model {latest[1]} ({error})"
        ) from error
    return Learner(loaded, tokenizer, optimizer)


def _start(model: str) -> str:
    """The folder that a run's name stands for; other names are left to `load_model`."""
    run = RunFolder(Path(model))
    if not run.config_path.exists():
        return model
    latest = run.latest_checkpoint()
    if latest is None:
        raise InvalidConfig(f"{model} is a run without a checkpoint, so there is no model to start from")
    return str(latest[1])


def load_reference(learner: Learner, run: RunFolder) -> Any:
    """A frozen copy of the model that a run started from, kept in `reference/` so that a resumed run has the same."""
    folder = run.path / "reference"
    if run.latest_checkpoint() is None:  # what an attempt without a step left there may be another model
        with write_folder(folder) as partial:
            write_model(learner.model, learner.tokenizer, partial)
    model, _ = load_model(folder)
    return model.requires_grad_(False)
