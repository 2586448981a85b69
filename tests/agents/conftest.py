"""A tiny model for the tests of policies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from sparring.agents.models import load_model
from sparring.agents.models.tiny import build_tiny, train_tokenizer

TEXTS = [
    "Instruction: i need a red shoe, with color: blue [SEP] click[color: red] search[blue jeans]\nPage 1 (results: 50)"
] * 10


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny(
        TEXTS, tmp_path_factory.mktemp("models") / "tiny", vocabulary=400, hidden=32, layers=2, heads=2,
        special_tokens=("[0]", "[1]"),
    )  # fmt: skip


def liven(model: Any) -> Any:
    """Scale a fresh model's layers: as initialised it only repeats its last token, which would prove little."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "layers" in name and parameter.dim() > 1:
                parameter.mul_(12.0)
    return model


@pytest.fixture
def tiny(tiny_folder: Path) -> tuple[Any, Any]:
    """A model of its own for each test, and its tokenizer."""
    model, tokenizer = load_model(tiny_folder)
    return liven(model), tokenizer


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    return train_tokenizer(TEXTS, vocabulary=400, special_tokens=("[0]", "[1]"))
