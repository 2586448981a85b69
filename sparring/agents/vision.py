"""A policy on a Hugging Face vision-language model: `HFPolicy` that sees the pictures of its prompts.

    from sparring.agents.models.tiny_vision import build_tiny_vision
    from sparring.agents.vision import load_policy

    policy = load_policy(build_tiny_vision(texts, "runs/eyes"), greedy=True)
    policy.act(prompts)   # where a message carries an image, the model sees it

A picture stands before the text of its message, as ids of its own (`sparring.agents.eyes`), so that everything that is
known of token sequences holds here too: prompts extend each other, masks are 1 exactly on sampled tokens, and the
checksum of a prompt covers the place of its pictures. A model of text plays the same environments by their text.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from sparring.agents.eyes import Eyes, eyes_of
from sparring.agents.hf import HFPolicy, Runner, _Row
from sparring.agents.plain import PlainRunner
from sparring.agents.sampling import log_probabilities
from sparring.errors import InvalidConfig
from sparring.types import Action, Image, Prompt


class VisionPolicy(HFPolicy):
    """Acts by sampling from a vision-language model (see `HFPolicy` for all but the pictures).

    Each prompt is run from its start: no keys and values are kept across turns.

    Args:
        model: a vision-language model that `load_model` loaded, or such a model under peft.
        tokenizer: its tokenizer, with a chat template.
        settings: keyword arguments of `HFPolicy`.
    Raises:
        InvalidConfig: a model without eyes, or as `HFPolicy` says.
    """

    def __init__(self, model: Any, tokenizer: Any, **settings: Any) -> None:
        found = eyes_of(model)
        if found is None:
            raise InvalidConfig(
                f"{type(model).__name__} has no eyes: load a vision-language model by sparring.agents.models.load_model"
            )
        super().__init__(model, tokenizer, **settings)
        self.eyes: Eyes = found
        self.chat.eyes = found

    def logprobs(self, prompts: Sequence[Prompt], actions: Sequence[Action]) -> list[npt.NDArray[np.float32]]:
        """Log-probabilities of actions under the current weights, by a fresh forward (`HFPolicy.logprobs`)."""
        scores = []
        with self._lock, self._inference():
            for prompt, action in zip(prompts, actions, strict=True):
                ids = self.chat.encode_action(action, prompt.observation.actions, self.grammar)
                whole = torch.tensor([[*self.chat.render(prompt.messages), *ids]], device=self.model.device)
                pixels = _moved(self.eyes.pixels(pictures(prompt)), self.model.device)
                output = self.model(input_ids=whole, logits_to_keep=len(ids) + 1, **self.eyes.arguments(pixels, whole))
                allowed = self._allowed(prompt.observation.actions, ids) if action.constrained else None
                logits_TV = self.eyes.silenced(output.logits[0, :-1])
                table_TV = log_probabilities(logits_TV, temperature=self.temperature, allowed=allowed)
                scores.append(table_TV.gather(-1, whole[0, -len(ids) :, None]).squeeze(-1).cpu().numpy())
        return scores

    def _choose_runner(self) -> Runner:
        return VisionRunner(self.model, self.eyes)

    def _decode(self, rows: Sequence[_Row], runner: Runner) -> None:
        assert isinstance(runner, VisionRunner)
        runner.look([image for row in rows for image in pictures(row.prompt)])
        super()._decode(rows, runner)


class VisionRunner(PlainRunner):
    """Runs each batch from its prompts' starts, with their pictures.

    Args:
        model: a vision-language model. eyes: how it takes pictures.
    """

    def __init__(self, model: Any, eyes: Eyes) -> None:
        super().__init__(model)
        self._eyes = eyes
        self._pixels: dict[str, torch.Tensor] = {}
        base = model.get_base_model() if hasattr(model, "get_base_model") else model
        self._trunk = base.base_model

    def look(self, images: Sequence[Image]) -> None:
        """Take the pictures of the batch that begins next, in the order of its prompts."""
        self._pixels = _moved(self._eyes.pixels(images), self._model.device)

    def _forward(self, ids_BQ: torch.Tensor) -> torch.Tensor:
        return self._eyes.silenced(super()._forward(ids_BQ))

    def arguments(self, ids_BQ: torch.Tensor) -> dict[str, Any]:
        """What the model is given beside ids and mask: pictures once, and positions where it does not find its own."""
        is_first = self._past is None
        if not hasattr(self._trunk, "rope_deltas"):
            return {**super().arguments(ids_BQ), **(self._pixels if is_first else {})}
        if is_first:
            self._trunk.rope_deltas = None  # those of an earlier batch
            return self._eyes.arguments(self._pixels, ids_BQ)
        positions_BQ = (self._mask_BT.cumsum(-1) - 1).clamp(min=0)[:, -ids_BQ.shape[1] :]
        if self._trunk.rope_deltas is not None:  # a picture takes fewer positions than it has tokens
            positions_BQ = positions_BQ + self._trunk.rope_deltas.to(positions_BQ.device)
        return {"position_ids": positions_BQ.expand(3, *positions_BQ.shape)}


def pictures(prompt: Prompt) -> list[Image]:
    """The pictures of a prompt's messages, in order."""
    return [message.image for message in prompt.messages if message.image is not None]


def _moved(pixels: dict[str, torch.Tensor], device: torch.device) -> dict[str, torch.Tensor]:
    return {name: tensor.to(device) for name, tensor in pixels.items()}


def policy_on(model: Any, tokenizer: Any, **settings: Any) -> HFPolicy:
    """The policy that fits a model: a `VisionPolicy` where the model has eyes, else an `HFPolicy`."""
    kind = HFPolicy if eyes_of(model) is None else VisionPolicy
    return kind(model, tokenizer, **settings)


def load_policy(folder: str | Path, **settings: Any) -> HFPolicy:
    """Load a model by name or folder (`agents.models.load_model`) and put the policy on it that fits."""
    from sparring.agents.models import load_model

    model, tokenizer = load_model(folder, lora=settings.pop("lora", None))
    return policy_on(model, tokenizer, **settings)
