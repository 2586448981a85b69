"""What the rest of `agents` needs from a tokenizer, and nothing more.

Texts of messages and actions are encoded with control tokens *split*: a page that contains `<|im_end|>` is text
about a token, not the token, so no observation can end a message or open another.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import Any

_CACHED_TEXTS = 8192


class Vocabulary:
    """A Hugging Face tokenizer, with encodings cached.

    Args:
        tokenizer: a `transformers` tokenizer.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.size = len(tokenizer)
        self.encode = lru_cache(_CACHED_TEXTS)(self._encode)

    @classmethod
    def of(cls, tokenizer: Any) -> Vocabulary:
        """Wrap a tokenizer; a `Vocabulary` comes back as it is, with its cache."""
        return tokenizer if isinstance(tokenizer, cls) else cls(tokenizer)

    def _encode(self, text: str) -> tuple[int, ...]:
        """The ids of a text, control tokens in it spelled out as text."""
        return tuple(self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])

    def encode_control(self, text: str) -> tuple[int, ...]:
        """The ids of a chat template's own text, control tokens in it taken as such."""
        return tuple(self.tokenizer(text, add_special_tokens=False, split_special_tokens=False)["input_ids"])

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, control tokens included, spaces untouched."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))

    @cached_property
    def control_ids(self) -> frozenset[int]:
        """Ids that are no text: role tags, end of turn, padding."""
        return frozenset(int(one) for one in self.tokenizer.all_special_ids)

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """The text of each id on its own; a part of a multi-byte character reads as U+FFFD."""
        return tuple(
            self.tokenizer.batch_decode(
                [[one] for one in range(self.size)], skip_special_tokens=False, clean_up_tokenization_spaces=False
            )
        )
