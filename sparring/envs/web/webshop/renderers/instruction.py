"""What renderers that compare with the instruction share."""

from __future__ import annotations

from typing import ClassVar

import gymnasium

from sparring.envs.base import EnvType, Info, TextWrapper
from sparring.envs.web.webshop.renderers.index import IndexClicks
from sparring.errors import InvalidConfig


class ReadsInstruction(TextWrapper):
    """A wrapper that compares what is shown with the instruction."""

    state: ClassVar[tuple[str, ...]] = ("_instruction",)

    def __init__(self, env: EnvType) -> None:
        layer = env
        while isinstance(layer, gymnasium.Wrapper):
            if isinstance(layer, IndexClicks):
                raise InvalidConfig(f"webshop-index goes outside of {type(self).__name__}: name it after the others")
            layer = layer.env
        super().__init__(env)
        self._instruction = ""

    def begin(self, info: Info) -> None:
        """Keep the new episode's instruction."""
        self._instruction = str(info.get("instruction", ""))
