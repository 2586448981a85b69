"""A vision-language model small enough to train on a CPU in minutes, saved as an ordinary Hugging Face folder.

A LLaVA built from a config with random weights: a CLIP tower over patches of the picture, a projector, and the Llama
and the tokenizer of `sparring.agents.models.tiny`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from sparring.agents.models.folders import complete_folder
from sparring.agents.models.tiny import train_tokenizer
from sparring.errors import InvalidConfig, need

PICTURE = "<|picture|>"
# Screens are mostly bright. With their background near 0, what stands on it is most of what a small tower gets to see.
_PAPER = 0.965


def build_tiny_vision(
    texts: Iterable[str],
    folder: str | Path,
    *,
    picture: int = 64,
    patch: int = 8,
    vocabulary: int = 1024,
    hidden: int = 64,
    layers: int = 3,
    vision_layers: int = 1,
    heads: int = 4,
    special_tokens: Sequence[str] = (),
    max_context: int = 1024,
    seed: int = 0,
) -> Path:
    """Train a tokenizer, initialise a model, and save both. Equal arguments give equal files.

    Args:
        texts: what the environment says and what may be said to it; the tokenizer is trained on them.
        folder: where to save. An existing complete folder is left alone and returned.
        picture, patch: side of the picture that the model sees, and of its patches, in pixels; every picture is
            squeezed into that square, and takes (picture / patch)² tokens.
        vocabulary: size of the vocabulary at most, as for `build_tiny`.
        hidden, layers, vision_layers, heads: shape of both towers.
        special_tokens: texts that get a token of their own. max_context: longest sequence in tokens.
        seed: of the weights, drawn without touching torch's global generator.
    Raises:
        InvalidConfig: a vocabulary too small, or sizes that don't divide.
        MissingExtra: transformers or tokenizers is not installed.
    """
    if hidden % heads or (hidden // heads) % 2:
        raise InvalidConfig(f"hidden ({hidden}) must be an even multiple of heads ({heads})")
    if picture % patch:
        raise InvalidConfig(f"picture ({picture}) must be a multiple of patch ({patch})")
    with complete_folder(Path(folder)) as partial:
        if partial is not None:
            tokenizer = train_tokenizer(texts, vocabulary=vocabulary - 1, special_tokens=special_tokens)
            tokenizer.add_tokens([PICTURE], special_tokens=True)
            tokenizer.model_max_length = max_context
            model = _initialise(tokenizer, picture, patch, hidden, layers, vision_layers, heads, max_context, seed)
            model.save_pretrained(partial)
            tokenizer.save_pretrained(partial)
            _processor(picture).save_pretrained(partial)
    return Path(folder)


def _processor(picture: int) -> Any:
    need("PIL.Image", "gui")
    clip = need("transformers.models.clip.image_processing_pil_clip", "train")
    return clip.CLIPImageProcessorPil(
        size={"height": picture, "width": picture},
        do_center_crop=False,
        image_mean=[_PAPER] * 3,
        image_std=[0.25] * 3,
    )


def _initialise(
    tokenizer: Any,
    picture: int,
    patch: int,
    hidden: int,
    layers: int,
    vision_layers: int,
    heads: int,
    max_context: int,
    seed: int,
) -> Any:
    transformers = need("transformers", "train")
    inner = math.ceil(hidden * 8 / 3 / 32) * 32
    text = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=max_context,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    vision = transformers.CLIPVisionConfig(
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=vision_layers,
        num_attention_heads=heads,
        image_size=picture,
        patch_size=patch,
    )
    config = transformers.LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids(PICTURE),
        image_seq_length=(picture // patch) ** 2,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    # The library draws initial weights from the global generator, whose state is put back here.
    with torch.random.fork_rng(devices=[]):
        model = transformers.LlavaForConditionalGeneration(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                parameter.normal_(0.0, _spread(name, parameter), generator=generator)
            elif name.endswith("class_embedding"):
                parameter.zero_()
    return model.eval()


def _spread(name: str, parameter: torch.Tensor) -> float:
    """Standard deviation of an initial weight.

    Language weights are drawn as usual. What leads from pixels to language keeps the scale of its input instead, and
    positions weigh as much as what is seen there: from smaller values a small tower takes thousands of steps to tell
    one place from another.
    """
    if "position_embedding" in name:
        return 0.5
    if "patch_embedding" in name or "projector" in name:
        return 1.0 / math.sqrt(parameter[0].numel())
    return 0.02
