"""Renderings of WebShop for small models: wrappers that use nothing but the visible text.

Each is named in every result that used it. The usual order, innermost first, is

    wrappers=("webshop-brief", "webshop-top5", "webshop-price", "webshop-match", "webshop-index")

| name | what it does | what it spares the model |
|---|---|---|
| `webshop-brief` | drops what the conversation has shown already | tokens |
| `webshop-top5` | shows only the first five products of a results page | tokens |
| `webshop-match` | counts shared words, marks the most and options asked for, limits search words | comparing words |
| `webshop-price` | says whether a price is within the bound that the instruction states | comparing numbers |
| `webshop-index` | gives everything clickable a tag, which then is the whole action | copying names |

They read the observation modes `text` and `text_rich`.
"""

from __future__ import annotations

from sparring.envs.web.webshop.renderers.brief import NewObservationOnly
from sparring.envs.web.webshop.renderers.hits import FirstHits
from sparring.envs.web.webshop.renderers.index import IndexClicks
from sparring.envs.web.webshop.renderers.match import MatchCounts
from sparring.envs.web.webshop.renderers.price import PriceMarks
from sparring.envs.web.webshop.renderers.screen import ABOVE, ASKED, MOST, NOTES, NOTHING_NEW, PERHAPS, TAGS, WITHIN

__all__ = [
    "ABOVE", "ASKED", "MOST", "NOTHING_NEW", "PERHAPS", "TAGS", "WITHIN",
    "FirstHits", "IndexClicks", "MatchCounts", "NewObservationOnly", "PriceMarks", "special_tokens",
]  # fmt: skip


def special_tokens() -> tuple[str, ...]:
    """The texts for which a small model's tokenizer should have a token each: tags and marks."""
    return (*TAGS, *NOTES, NOTHING_NEW)
