"""Where models are put."""

from __future__ import annotations

import pytest
import torch

from sparring.agents.models.device import VARIABLE, model_device
from sparring.errors import InvalidConfig


@pytest.mark.parametrize("value", [None, "", "auto"])
def test_a_gpu_is_taken_where_there_is_one(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    if value is None:
        monkeypatch.delenv(VARIABLE, raising=False)
    else:
        monkeypatch.setenv(VARIABLE, value)
    for found, expected in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda found=found: found)
        assert model_device() == torch.device(expected)


def test_the_variable_names_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv(VARIABLE, "cpu")
    assert model_device() == torch.device("cpu")


@pytest.mark.parametrize("value", ["gpu", "cuda:99", "meta"])
def test_what_can_not_be_used_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(VARIABLE, value)
    with pytest.raises(InvalidConfig, match=r"SPARRING_DEVICE is .* set it to auto, cpu"):
        model_device()
