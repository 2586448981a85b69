"""How a vision-language model takes pictures in: the ids that stand for one in a prompt, the tensors beside them.

    model, tokenizer = load_model("path/to/a/vision/model")
    eyes = eyes_of(model)
    ids = eyes.tokens(image)                      # where the picture stands among the tokens of a prompt
    model(input_ids=ids_BT, **eyes.arguments(pixels, ids_BT))   # with pixels = eyes.pixels([image, …])

A picture is squeezed into the size that its model wants, without cropping, so that a point in thousandths of the
picture's width and height is the same point before and after.

| family (`model_type`) | ids of a picture | tensors |
|---|---|---|
| llava | one for each patch | pixel_values [I, 3, H, W] |
| qwen2_vl, qwen2_5_vl | start, one for each merged patch, end | pixel_values [P, D], image_grid_thw [I, 3] |
| idefics3, smolvlm | border, global mark, one for each merged patch, border | pixel_values [1, I, 3, H, W] |
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sparring.errors import InvalidConfig, need
from sparring.types import Image

FAMILIES = ("llava", "qwen2_vl", "qwen2_5_vl", "idefics3", "smolvlm")
_QWEN = ("qwen2_vl", "qwen2_5_vl")
_IDEFICS = ("idefics3", "smolvlm")
# How many features a tower of LLaVA's gives beside those of the patches.
_TOWERS = {"clip_vision_model": 1, "siglip_vision_model": 0}
_NEVER = -1e9  # finite, so that probability times logarithm is 0 and no "not a number"


class Eyes:
    """The picture side of one vision-language model.

    Args:
        config: the model's configuration. processor: its image processor. tokenizer: its tokenizer.
    Raises:
        InvalidConfig: a family of models, or of LLaVA's towers, that this module does not know, or a tokenizer without
            its picture tokens.
    """

    def __init__(self, config: Any, processor: Any, tokenizer: Any) -> None:
        self.family = str(config.model_type)
        if self.family not in FAMILIES:
            raise InvalidConfig(
                f'how a model of the type "{self.family}" takes pictures is not known here. Known: '
                f"{', '.join(FAMILIES)}; another is a few lines in sparring/agents/eyes.py"
            )
        tower = str(getattr(config.vision_config, "model_type", ""))
        if self.family == "llava" and tower not in _TOWERS:
            raise InvalidConfig(
                f'how a LLaVA with a tower of the type "{tower}" takes pictures is not known here. Known: '
                f"{', '.join(_TOWERS)}; another is a few lines in sparring/agents/eyes.py"
            )
        self.processor = processor
        self.image_id = int(config.image_token_id)
        self._config = config
        around = {**dict.fromkeys(_QWEN, _QWEN_BORDERS), **dict.fromkeys(_IDEFICS, _IDEFICS_BORDERS)}
        before, after = around.get(self.family, ((), ()))
        self._before = tuple(_control_id(tokenizer, text) for text in before)
        self._after = tuple(_control_id(tokenizer, text) for text in after)

    def tokens(self, image: Image) -> tuple[int, ...]:
        """The ids that stand for a picture in a prompt."""
        return (*self._before, *(self.image_id,) * self._patches(image), *self._after)

    def pixels(self, images: Sequence[Image]) -> dict[str, Tensor]:
        """What the model is given for some pictures, in the order in which their ids stand in a batch.

        Returns:
            Tensors by the name of the model's argument; none where there are no pictures.
        """
        if not images:
            return {}
        distinct = {image: self._processed(image) for image in dict.fromkeys(images)}
        each = [distinct[image] for image in images]
        joined = {name: torch.cat([one[name] for one in each]) for name in each[0]}
        if self.family in _IDEFICS:
            joined = {name: tensor.unsqueeze(0) for name, tensor in joined.items()}
        return joined

    def silenced(self, logits: Tensor) -> Tensor:
        """Logits [..., V] under which the model never says a picture's id, which would stand for no picture."""
        marks_V = torch.zeros(logits.shape[-1], dtype=torch.bool, device=logits.device)
        marks_V[self.image_id] = True
        return logits.masked_fill(marks_V, _NEVER)

    def save(self, folder: Path) -> None:
        """Write the image processor's settings into a model's folder."""
        self.processor.save_pretrained(folder)

    def _processed(self, image: Image) -> dict[str, Tensor]:
        found = self.processor([opened(image)], return_tensors="pt", **self._settings)
        if self.family in _QWEN:
            return {"pixel_values": found["pixel_values"], "image_grid_thw": found["image_grid_thw"]}
        height, width = found["pixel_values"].shape[-2:]
        return {"pixel_values": found["pixel_values"].reshape(1, 3, height, width)}

    @property
    def _settings(self) -> dict[str, Any]:
        """What the processor is told so that it neither crops a picture nor cuts it into several."""
        if self.family in _QWEN:
            return {}
        side = int(self._config.vision_config.image_size)
        if self.family in _IDEFICS:
            return {
                "do_image_splitting": False,
                "size": {"longest_edge": side},
                "max_image_size": {"longest_edge": side},
            }
        return {"do_center_crop": False, "size": {"height": side, "width": side}}

    def _patches(self, image: Image) -> int:
        """How many ids a picture takes."""
        vision = self._config.vision_config
        if self.family in _QWEN:
            from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

            width, height = image.size
            unit = self.processor.patch_size * self.processor.merge_size
            size = self.processor.size
            rows, columns = smart_resize(height, width, unit, size["shortest_edge"], size["longest_edge"])
            return int(rows // unit) * int(columns // unit)
        side = int(vision.image_size) // int(vision.patch_size)
        if self.family in _IDEFICS:
            return int(side * side // self._config.scale_factor**2)
        is_cut = self._config.vision_feature_select_strategy == "default"  # which drops the first feature
        return side * side + _TOWERS[str(vision.model_type)] - int(is_cut)

    def arguments(self, pixels: Mapping[str, Tensor], ids_BT: Tensor) -> dict[str, Tensor]:
        """All that the model is given beside the ids of whole sequences.

        Args:
            pixels: of the pictures whose ids stand in `ids_BT`.
        """
        arguments = dict(pixels)
        if "image_grid_thw" in arguments:  # rotary positions of these models follow the rows and columns of a picture
            arguments["mm_token_type_ids"] = (ids_BT == self.image_id).int()
        return arguments


_QWEN_BORDERS = (("<|vision_start|>",), ("<|vision_end|>",))
_IDEFICS_BORDERS = (("<fake_token_around_image>", "<global-img>"), ("<fake_token_around_image>",))


def _control_id(tokenizer: Any, text: str) -> int:
    found = tokenizer.convert_tokens_to_ids(text)
    if found is None or found == tokenizer.unk_token_id:
        raise InvalidConfig(
            f"the tokenizer has no token {text!r}, which stands beside pictures in this model's prompts"
        )
    return int(found)


def opened(image: Image) -> Any:
    """The picture as Pillow knows it, in red, green and blue.

    Raises:
        MissingExtra: Pillow is not installed.
    """
    pillow = need("PIL.Image", "gui")
    with pillow.open(io.BytesIO(image.png)) as picture:
        return picture.convert("RGB")


def eyes_of(model: Any) -> Eyes | None:
    """The eyes of a model that `load_model` gave them to; None for a model of text."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    found: Eyes | None = getattr(base, "eyes", None)
    return found


def is_vision_folder(folder: Path) -> bool:
    """Whether a model folder is that of a vision-language model."""
    transformers = need("transformers", "train")
    config = transformers.AutoConfig.from_pretrained(folder)
    return hasattr(config, "vision_config")
