"""A page in Chromium as its picture alone (wrapper `pixels`), for policies that see.

    env = sparring.make("MiniWoB-v1", task="click-test", wrappers=("pixels",))

As the wrapper `screen`, but nothing is listed and nothing is said about how actions are written, as
`ScreenGrounding-v1` does with `described False` and `hint False`: what the picture does not show is not seen.
"""

from __future__ import annotations

from sparring.envs.base import Info
from sparring.envs.gui.grounding import special_tokens
from sparring.envs.gui.page import Screen

__all__ = ["Pixels", "special_tokens"]


class Pixels(Screen):
    """Show a page as a picture without words (registered as `pixels`; before it only `expert`).

    Args:
        env: an environment in a browser, possibly with wrappers around it.
    Raises:
        InvalidConfig: it is none.
    """

    def view(self, text: str, info: Info) -> tuple[str, Info]:
        """The picture."""
        _, shown = super().view(text, info)
        if "instruction" in info:
            shown["instruction"] = info["instruction"]
        return "a screen", shown
