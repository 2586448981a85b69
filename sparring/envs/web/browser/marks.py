"""Set-of-marks: a frame and a number around each element that can be acted on (Yang et al., arXiv:2310.11441).

They are drawn on the image and not into the page, which therefore can't notice them.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

from sparring.envs.web.browser.view import Node
from sparring.errors import need

_COLOURS = ("#d62728", "#1f77b4", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf")


def draw(png: bytes, nodes: Iterable[Node]) -> bytes:
    """The image with the marks of those nodes that lie in it."""
    image_module: Any = need("PIL.Image", "web")
    draw_module: Any = need("PIL.ImageDraw", "web")
    image = image_module.open(io.BytesIO(png)).convert("RGB")
    canvas = draw_module.Draw(image)
    for node in nodes:
        x, y, width, height = node.box
        if node.number is None or x + width <= 0 or y + height <= 0 or x >= image.width or y >= image.height:
            continue
        colour = _COLOURS[node.number % len(_COLOURS)]
        # No further beyond the image than it takes to keep the frame's far sides out: a page's boxes have any size.
        edges = max(x, -2.0), max(y, -2.0), min(x + width, image.width + 2.0), min(y + height, image.height + 2.0)
        canvas.rectangle(edges, outline=colour)
        left, top = max(0.0, x), max(0.0, y - 10)
        label = str(node.number)
        canvas.rectangle((left, top, left + 6 * len(label) + 2, top + 10), fill=colour)
        canvas.text((left + 1, top - 1), label, fill="white")
    output = io.BytesIO()
    image.save(output, format="PNG")
    return output.getvalue()
