"""Screenshots with known right answers, from files: one screenshot, one action."""

from __future__ import annotations

import io
from functools import lru_cache
from pathlib import Path
from typing import Any

from sparring.envs.base import Info, TextEnv
from sparring.envs.gui.actions import parse, write
from sparring.envs.gui.dataset_rows import Row, read_rows
from sparring.envs.gui.screens import png_of
from sparring.errors import InvalidConfig, InvalidData, need, unknown
from sparring.types import Image

ENDINGS = (".jsonl", ".json", ".parquet")
_MOST_PIXELS = 50_000_000
_LARGEST_FILE = 50_000_000
_MOST_RATIO = 200  # Qwen's models refuse more, and a policy that can't read its prompt would end the whole run
_HOW = 'answer with JSON such as {"action": "click", "point": [500, 250]}, in thousandths of width and height'


class ScreenDataset(TextEnv):
    """One screenshot, one action: the reward, and the score, is 1 where the action is right (`dataset_rows`).

    Task files are untrusted: a screenshot must lie in the folder of its file, links followed, and is decoded by Pillow
    alone, up to 50 million bytes and pixels. The text of an observation says only that there is a screenshot: it takes
    eyes.

    Args:
        path: a folder with files named after splits (`train.jsonl`, `test.parquet` …), or one file, whose rows then
            are the split `test`.
        longest_side: larger screenshots are made smaller, to so many pixels; 0 leaves them. Points are not changed.
        hint: whether the instruction says how an action is written.
    Raises:
        InvalidConfig: nothing to read at `path`, or two files for a split. InvalidData: a file that can't be read.
        MissingExtra: Pillow or pyarrow is not installed.
    """

    state = ("_task",)

    def __init__(self, path: str | Path, longest_side: int = 0, hint: bool = True) -> None:
        root = Path(path)
        files: dict[str, Path] = {}
        if root.is_dir():
            for file in sorted(root.iterdir()):
                if file.suffix in ENDINGS and file.stem in files:
                    raise InvalidConfig(
                        f"{file} and {files[file.stem]} are both the split {file.stem}: leave one there"
                    )
                if file.suffix in ENDINGS:
                    files[file.stem] = file
        elif root.suffix in ENDINGS and root.is_file():
            files["test"] = root
        if not files:
            raise InvalidConfig(f"{root} is no file ({', '.join(ENDINGS)}) and no folder of some, named after splits")
        if longest_side < 0:
            raise InvalidConfig(f"longest_side must be at least 0, got {longest_side}")
        order = {"train": 0, "dev": 1, "test": 2}
        self.splits = tuple(sorted(files, key=lambda name: (order.get(name, 3), name)))  # type: ignore[misc]
        self._files, self._longest, self._hint = files, longest_side, hint
        self._task = ""

    def task_ids(self, split: str) -> list[str]:
        """`split/number`, in the order of the file.

        Raises:
            UnknownName: no such split. InvalidData: its file can't be read.
        """
        if split not in self._files:
            raise unknown("split", split, self._files)
        return [f"{split}/{number}" for number in range(len(_rows(self._files[split])))]

    @property
    def row(self) -> Row:
        """The task, with its places in shares of the screenshot.

        Raises:
            InvalidData: there is no place on the screenshot to click.
        """
        split, _, number = self._task.partition("/")
        file = self._files[split]
        try:
            return _rows(file)[int(number)].sized(self._seen()[1])
        except InvalidData as error:
            raise InvalidData(f"{file}, row {int(number) + 1}: {error}") from error

    def _seen(self) -> tuple[Image, tuple[int, int]]:
        split, _, number = self._task.partition("/")
        file = self._files[split]
        return _screenshot(file.parent, _rows(file)[int(number)].picture, self._longest)

    def observe(self) -> tuple[str, Info]:
        """The screenshot."""
        return "a screenshot", {"image": self._seen()[0]}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        """Show a screenshot.

        Raises:
            InvalidData: it is not there, lies outside the folder, or is no picture, or shows no right answer.
        """
        super().reset(seed=seed)
        self._task = self.choose_task(options)
        text, info = self.observe()
        asked = self.row.instruction
        return text, info | {"task": self._task, "instruction": f"{asked}\n{_HOW}" if self._hint else asked}

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        """Answer, which ends the episode."""
        text, info = self.observe()
        row, right = self.row, False
        try:
            right = row.accepts(parse(action))
        except InvalidData as error:
            info["no_op"] = str(error)
        return text, float(right), True, False, info | {"score": float(right), "success": right}

    def expert_action(self) -> str:
        """The right answer."""
        return write(self.row.answer)


@lru_cache(maxsize=16)
def _rows(path: Path) -> list[Row]:
    return read_rows(path)


@lru_cache(maxsize=64)
def _screenshot(folder: Path, picture: str | bytes, longest_side: int) -> tuple[Image, tuple[int, int]]:
    """A screenshot as PNG, and the size that it has in its file.

    Raises:
        InvalidData: it lies outside the folder, is not there, too large or no picture.
    """
    pillow = need("PIL.Image", "gui")
    source = picture if isinstance(picture, bytes) else _inside(folder, picture)
    length = len(source) if isinstance(source, bytes) else source.stat().st_size
    if length > _LARGEST_FILE:
        raise InvalidData(f"a screenshot has at most {_LARGEST_FILE:,} bytes, got {length:,}")
    data = source if isinstance(source, bytes) else source.read_bytes()
    try:
        with pillow.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as opened:
            size = opened.size
            if size[0] * size[1] > _MOST_PIXELS:
                raise InvalidData(f"a screenshot has at most {_MOST_PIXELS:,} pixels, got {size[0]} × {size[1]}")
            if max(size) > _MOST_RATIO * min(size):
                raise InvalidData(f"a screenshot's sides are in a ratio of at most {_MOST_RATIO}, got {size}")
            whole = opened.convert("RGB")
    except InvalidData:
        raise
    except Exception as error:  # a broken file makes Pillow raise a dozen kinds
        raise InvalidData(f"{picture[:80]!r} is no picture: {error}") from error
    if longest_side and max(size) > longest_side:
        share = longest_side / max(size)
        whole = whole.resize((max(1, round(size[0] * share)), max(1, round(size[1] * share))))
    return png_of(whole), size


def _inside(folder: Path, name: str) -> Path:
    """The file of that name in the folder.

    Raises:
        InvalidData: it is not there, or the name or a link leads out of the folder.
    """
    try:
        path = (folder / name).resolve()
        is_inside = path.is_relative_to(folder.resolve()) and path.is_file()
    except (OSError, ValueError, RuntimeError) as error:
        raise InvalidData(f"{name[:80]!r} is no path: {error}") from error
    if not is_inside:
        raise InvalidData(
            f"{name[:80]!r} is no file in {folder}: screenshots lie in the folder of the file that names them"
        )
    return path
