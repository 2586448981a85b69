"""Observations of Gymnasium spaces as short plain text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces

from sparring.errors import InvalidConfig

_MOST_NUMBERS = 256


def describer(space: spaces.Space[Any]) -> Callable[[Any], str]:
    """A function that puts the observations of a space into words.

    A number is a line; an array is a line a row, floats with three significant digits; the parts of a Tuple or Dict
    are lines that begin with their index or key and a colon; a Text is itself.

    Raises:
        InvalidConfig: the space holds something else, or more than 256 numbers, such as an image.
    """
    if isinstance(space, spaces.Discrete):
        return lambda value: str(int(value))
    if isinstance(space, spaces.Text):
        return str
    if isinstance(space, (spaces.Box, spaces.MultiBinary, spaces.MultiDiscrete)):
        if int(np.prod(space.shape)) > _MOST_NUMBERS:
            raise InvalidConfig(
                f"an observation of {space.shape} numbers makes no readable text: give describe=, a function from the "
                "observation to text"
            )
        return _array_text
    if isinstance(space, spaces.Dict):
        return _parts([(str(key), key, part) for key, part in space.spaces.items()])
    if isinstance(space, spaces.Tuple):
        return _parts([(str(at), at, part) for at, part in enumerate(space.spaces)])
    raise InvalidConfig(
        f"no text is known for observations of {type(space).__name__}: give describe=, a function from the "
        "observation to text"
    )


def _parts(parts: list[tuple[str, Any, spaces.Space[Any]]]) -> Callable[[Any], str]:
    named = [(label, key, describer(part)) for label, key, part in parts]

    def describe(value: Any) -> str:
        lines = []
        for label, key, part in named:
            text = part(value[key])
            lines.append(f"{label}:\n{text}" if "\n" in text else f"{label}: {text}")
        return "\n".join(lines)

    return describe


def _array_text(value: Any) -> str:
    array = np.asarray(value)
    rows = array.reshape(-1, array.shape[-1]) if array.ndim > 1 else array.reshape(1, -1)
    number = _float_text if np.issubdtype(array.dtype, np.floating) else _integer_text
    return "\n".join(" ".join(map(number, row.tolist())) for row in rows)


def _float_text(number: float) -> str:
    return f"{number + 0.0:.3g}"  # adding zero turns -0.0 into 0.0


def _integer_text(number: int) -> str:
    return str(int(number))  # a bool is 0 or 1
