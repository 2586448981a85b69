"""The text analyser of the original's search: Lucene 8's `StandardTokenizer` and Anserini's English filters.

Tokens are the words of UAX #29 ("Unicode Text Segmentation", rules WB3a–WB13b) that hold a letter, digit,
ideograph, kana or emoji; then the possessive `'s` goes, stop words go, and Porter's stemmer runs
(docs/webshop.md, section 8).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

import regex

from sparring.envs.web.webshop.porter import stem

STOP_WORDS = frozenset({
    "a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it", "no",
    "not", "of", "on", "or", "such", "that", "the", "their", "then", "there", "these", "they", "this",
    "to", "was", "will", "with",
})  # fmt: skip
MAX_TOKEN_CHARS = 255  # Lucene cuts longer tokens into pieces of this length

# UAX #29 word-break classes as of Unicode 9, which Lucene 8 implements; newer tables moved the colon.
_MID_LETTER = ":\u00b7\u02d7\u0387\u05f4\u2027\ufe13\ufe55\uff1a"
_MID_NUM_LET = "'.\u2018\u2019\u2024\ufe52\uff07\uff0e"
_MID_NUM = ",;\u037e\u0589\u060c\u060d\u066c\u07f8\u2044\ufe10\ufe14\ufe50\ufe54\uff0c\uff1b"

# Extended_Pictographic as of Unicode 11–15; Unicode 16 took stars, hearts and chess pieces out of it.
_PICTOGRAPHIC = (
    "\u00a9\u00ae\u203c\u2049\u2122\u2139\u2194-\u2199\u21a9-\u21aa\u231a-\u231b\u2328\u2388\u23cf\u23e9-\u23f3"
    "\u23f8-\u23fa\u24c2\u25aa-\u25ab\u25b6\u25c0\u25fb-\u25fe\u2600-\u2605\u2607-\u2612\u2614-\u2685\u2690-\u2705"
    "\u2708-\u2712\u2714\u2716\u271d\u2721\u2728\u2733-\u2734\u2744\u2747\u274c\u274e\u2753-\u2755\u2757"
    "\u2763-\u2767\u2795-\u2797\u27a1\u27b0\u27bf\u2934-\u2935\u2b05-\u2b07\u2b1b-\u2b1c\u2b50\u2b55\u3030\u303d"
    "\u3297\u3299\U0001f000-\U0001f0ff\U0001f10d-\U0001f10f\U0001f12f\U0001f16c-\U0001f171\U0001f17e-\U0001f17f"
    "\U0001f18e\U0001f191-\U0001f19a\U0001f1ad-\U0001f1e5\U0001f201-\U0001f20f\U0001f21a\U0001f22f"
    "\U0001f232-\U0001f23a\U0001f23c-\U0001f23f\U0001f249-\U0001f3fa\U0001f400-\U0001f53d\U0001f546-\U0001f64f"
    "\U0001f680-\U0001f6ff\U0001f774-\U0001f77f\U0001f7d5-\U0001f7ff\U0001f80c-\U0001f80f\U0001f848-\U0001f84f"
    "\U0001f85a-\U0001f85f\U0001f888-\U0001f88f\U0001f8ae-\U0001f8ff\U0001f90c-\U0001f93a\U0001f93c-\U0001f945"
    "\U0001f947-\U0001fffd"
)


def _unicode_pattern() -> regex.Pattern[str]:
    """The token grammar over all of Unicode; a base character takes its combining marks along (WB4)."""
    marks = r"[\p{WB=Extend}\p{WB=Format}\p{WB=ZWJ}]*+"
    letter = rf"(?:[\p{{WB=ALetter}}\p{{WB=Hebrew_Letter}}]{marks})"
    digit = rf"(?:\p{{WB=Numeric}}{marks})"
    kana = rf"(?:\p{{WB=Katakana}}{marks})"
    joiner = rf"(?:[\p{{WB=ExtendNumLet}}]{marks})"
    mid_letter = rf"(?:[{_MID_LETTER}{_MID_NUM_LET}]{marks})"
    mid_digit = rf"(?:[{_MID_NUM}{_MID_NUM_LET}]{marks})"
    digits = rf"(?:{digit}(?:(?:{joiner}*|{mid_digit}){digit})*)"
    letters = rf"(?:{letter}(?:(?:{joiner}*|{mid_letter}){letter})*)"
    katakana = rf"(?:{kana}(?:{joiner}*{kana})*)"
    run = rf"(?:{katakana}|(?:{digits}|{letters})+)"
    word = rf"{joiner}*{run}(?:{joiner}+{run})*{joiner}*"
    complex_script = rf"(?:\p{{Line_Break=Complex_Context}}{marks})+"
    single = rf"[\p{{Script=Han}}\p{{Script=Hiragana}}]{marks}"
    emoji_one = rf"[{_PICTOGRAPHIC}]\ufe0f?\p{{Emoji_Modifier}}?\ufe0f?"
    emoji = (
        rf"{emoji_one}(?:\u200d{emoji_one})*{marks}|\p{{Regional_Indicator}}{{2}}{marks}|[0-9#*]\ufe0f?\u20e3{marks}"
    )
    return regex.compile(rf"{emoji}|{word}|{complex_script}|{single}", regex.V1)


_UNICODE = _unicode_pattern()

# The same grammar over ASCII alone, where it is many times faster.
_ASCII_DIGITS = r"[0-9](?:(?:_*|[,;'.])[0-9])*+"
_ASCII_LETTERS = r"[a-zA-Z](?:(?:_*|[:'.])[a-zA-Z])*+"
_ASCII_RUN = rf"(?:{_ASCII_DIGITS}|{_ASCII_LETTERS})+"
_ASCII = re.compile(rf"_*{_ASCII_RUN}(?:_+{_ASCII_RUN})*_*")


def tokenize(text: str) -> list[str]:
    """Split into the tokens of `StandardTokenizer`, nothing filtered yet."""
    if text.isascii():
        tokens = _ASCII.findall(text)
    else:
        tokens = _UNICODE.findall(text)
    if any(len(token) > MAX_TOKEN_CHARS for token in tokens):
        tokens = [
            token[start : start + MAX_TOKEN_CHARS]
            for token in tokens
            for start in range(0, len(token), MAX_TOKEN_CHARS)
        ]
    return tokens


def term(token: str) -> str | None:
    """The index term of one token, None for a stop word."""
    if len(token) >= 2 and token[-1] in "sS" and token[-2] in "'\u2019\uff07":
        token = token[:-2]
    token = token.lower()
    if not token or token in STOP_WORDS:
        return None
    return stem(token)


_cached_term: Callable[[str], str | None] = lru_cache(maxsize=1 << 14)(term)


def analyse(text: str) -> list[str]:
    """The index terms of a text, in order."""
    return [one for one in map(_cached_term, tokenize(text)) if one is not None]
