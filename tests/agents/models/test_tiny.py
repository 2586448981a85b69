"""The tiny model: an ordinary folder, equal from equal arguments, with the tokens that small models need."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from sparring.agents.models import Lora, load_model, model_folder
from sparring.agents.models.folders import complete_folder
from sparring.agents.models.tiny import build_tiny, train_tokenizer
from sparring.errors import InvalidConfig, InvalidData, UnknownName

TEXTS = ["red shoes with a color of blue, size 42 and a price under 50 dollars\nclick[blue] search[red shoes]"] * 5
SMALL: dict[str, Any] = {"vocabulary": 330, "hidden": 32, "layers": 1, "heads": 2, "special_tokens": ("[0]", "[1]")}


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_the_folder_is_an_ordinary_one(tmp_path: Path) -> None:
    folder = build_tiny(TEXTS, tmp_path / "tiny", **SMALL, seed=3)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert type(model).__name__ == "LlamaForCausalLM"
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
    assert model.config.vocab_size == len(tokenizer) <= 330
    text = "Blue shoes — été 你好 [0]!\n\n  two  spaces"
    assert tokenizer.decode(tokenizer(text.replace(" [0]", "[0]"), add_special_tokens=False)["input_ids"]) == (
        text.replace(" [0]", "[0]")
    )
    model.save_pretrained(tmp_path / "again")
    tokenizer.save_pretrained(tmp_path / "again")
    reloaded, _ = load_model(tmp_path / "again")
    ids = torch.tensor([[5, 6, 7]], device=reloaded.device)
    assert torch.equal(model.to(reloaded.device)(ids).logits, reloaded(ids).logits)


def test_equal_arguments_give_equal_files_and_disturb_no_generator(tmp_path: Path) -> None:
    before = torch.random.get_rng_state()
    first, second, other = (
        files(build_tiny(TEXTS, tmp_path / name, **SMALL, seed=seed)) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert torch.equal(before, torch.random.get_rng_state())
    assert first == second
    assert first["tokenizer.json"] == other["tokenizer.json"]
    assert first["model.safetensors"] != other["model.safetensors"]


def test_a_word_is_one_token_whatever_follows_it() -> None:
    tokenizer = train_tokenizer(TEXTS, vocabulary=400, special_tokens=("[0]",))
    one = tokenizer(" blue", add_special_tokens=False)["input_ids"]
    assert len(one) == 1
    for text in (" blue,", " blue:", " blue]", " blue shoes", " blue\n"):
        assert tokenizer(text, add_special_tokens=False)["input_ids"][:1] == one
    pieces = tokenizer.convert_ids_to_tokens(tokenizer("red [0] blue, size 42", add_special_tokens=False)["input_ids"])
    assert "[0]" in pieces
    assert "Ġ" not in pieces  # no space stands alone, not even before the tag


def test_a_tag_is_one_token_of_text() -> None:
    tokenizer = train_tokenizer(TEXTS, vocabulary=400, special_tokens=("[0]", "[1]"))
    ids = tokenizer("[0][1]", add_special_tokens=False, split_special_tokens=True)["input_ids"]
    assert len(ids) == 2
    assert not set(ids) & set(tokenizer.all_special_ids)


def test_a_vocabulary_too_small_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="at least 263"):
        build_tiny(TEXTS, tmp_path / "tiny", vocabulary=262, special_tokens=("[0]", "[1]"))
    with pytest.raises(InvalidConfig, match="multiple of heads"):
        build_tiny(TEXTS, tmp_path / "tiny", hidden=30, heads=4)
    assert not list(tmp_path.iterdir())


def test_models_are_found_by_name_or_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARRING_CACHE", str(tmp_path / "cache"))
    folder = model_folder("tiny", texts=TEXTS)
    assert folder.is_relative_to(tmp_path / "cache")
    assert folder == model_folder("tiny", texts=TEXTS)
    assert folder != model_folder("tiny", texts=TEXTS[:1])
    assert model_folder(folder) == folder
    with pytest.raises(UnknownName, match=r'no model "tinny"\. Did you mean "tiny"'):
        model_folder("tinny")


def test_a_folder_is_whole_or_not_there(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), complete_folder(tmp_path / "model") as partial:
        assert partial is not None
        (partial / "config.json").write_text("{}")
        raise RuntimeError("out of luck")
    assert not list(tmp_path.iterdir())
    with complete_folder(tmp_path / "model") as partial:
        assert partial is not None
        (partial / "config.json").write_text("first")
        with complete_folder(tmp_path / "model") as rival:
            assert rival is not None
            (rival / "config.json").write_text("faster")
    assert (tmp_path / "model" / "config.json").read_text() == "faster"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_adapters_are_seeded_and_name_their_base(tmp_path: Path) -> None:
    folder = build_tiny(TEXTS, tmp_path / "tiny", **SMALL)
    before = torch.random.get_rng_state()
    first, second, other = (load_model(folder, lora=Lora(rank=2, seed=seed))[0] for seed in (0, 0, 1))
    assert torch.equal(before, torch.random.get_rng_state())
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight"
    weights = [model.state_dict()[name] for model in (first, second, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    first.save_pretrained(tmp_path / "adapter")
    reloaded, tokenizer = load_model(tmp_path / "adapter")
    assert torch.equal(reloaded.state_dict()[name], weights[0])
    assert len(tokenizer) == first.config.vocab_size
    with pytest.raises(InvalidConfig, match="adapter already"):
        load_model(tmp_path / "adapter", lora=Lora())
    folder.rename(tmp_path / "moved")
    with pytest.raises(InvalidData, match="base_model_name_or_path"):
        load_model(tmp_path / "adapter")


def test_models_that_are_loaded_side_by_side_are_whole(tmp_path: Path) -> None:
    """Loading is not safe in threads: without a lock tied heads come out with random weights."""
    folder = build_tiny(TEXTS, tmp_path / "tiny", **SMALL)
    reference = load_model(folder)[0].get_output_embeddings().weight
    with ThreadPoolExecutor(4) as pool:
        loaded = list(pool.map(lambda _: load_model(folder)[0], range(24)))
    assert all(torch.equal(model.get_output_embeddings().weight, reference) for model in loaded)
