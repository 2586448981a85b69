"""Films of episodes in a browser, as animated GIFs.

env = Film(sparring.make("MiniWoB-v1"))
…                             # play an episode
env.save(Path("episode.gif"))
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from sparring.envs.base import EnvType, Info, TextWrapper
from sparring.envs.web.browser.env import PageEnv
from sparring.errors import InvalidConfig, need


class Film(TextWrapper):
    """Keep a screenshot of the view after reset and after each step, with the marks of what can be acted on.

    Args:
        env: an environment in a browser, or wrappers around one. marks: whether elements are marked.
    Attributes:
        frames: PNG images of the current episode.
    Raises:
        InvalidConfig: the innermost environment is in no browser.
    """

    def __init__(self, env: EnvType, marks: bool = True) -> None:
        super().__init__(env)
        if not isinstance(env.unwrapped, PageEnv):
            raise InvalidConfig(f"{type(env.unwrapped).__name__} is in no browser, so there is nothing to film")
        self._page, self._marks = env.unwrapped, marks
        self.frames: list[bytes] = []

    def begin(self, info: Info) -> None:
        """A new episode is a new film."""
        self.frames = []

    def view(self, text: str, info: Info) -> tuple[str, Info]:
        """Take a picture; what is seen stays as it is."""
        self.frames.append(self._page.screenshot(marks=self._marks))
        return text, info

    def save(self, path: Path, frame_ms: int = 1_000) -> None:
        """Write the episode so far as an animated GIF that shows each picture for `frame_ms`.

        Raises:
            InvalidConfig: nothing was filmed yet.
        """
        if not self.frames:
            raise InvalidConfig("there is no picture yet: reset the environment first")
        image_module: Any = need("PIL.Image", "web")
        first, *rest = (image_module.open(io.BytesIO(frame)).convert("RGB") for frame in self.frames)
        first.save(path, format="GIF", save_all=True, append_images=rest, duration=frame_ms, loop=0)
