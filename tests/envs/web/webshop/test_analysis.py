"""Tokens, stems and length codes against rules worked out by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparring.envs.web.webshop import analysis
from sparring.envs.web.webshop.analysis import analyse, tokenize
from sparring.envs.web.webshop.index import decode_length, encode_length
from sparring.envs.web.webshop.porter import stem


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("wi-fi usb_c 4k", ["wi", "fi", "usb_c", "4k"]),  # a hyphen parts, an underscore joins
        ("3.5mm 1,000 4:30 a:b", ["3.5mm", "1,000", "4", "30", "a:b"]),  # ':' joins letters, ',' digits, '.' both
        ("u.s.a. it's rock'n'roll", ["u.s.a", "it's", "rock'n'roll"]),
        ("café 黑色 カメラ のり", ["café", "黑", "色", "カメラ", "の", "り"]),  # ideographs and hiragana stand alone
        ("great ★★ 👍🏽 ™ © ok", ["great", "★", "★", "👍🏽", "™", "©", "ok"]),  # pictographs are tokens
        ("e\u0301te\u0301 👨\u200d👩", ["e\u0301te\u0301", "👨\u200d👩"]),  # marks and joined emoji stay whole
        ('28" x 28" — (new) & {x}', ["28", "x", "28", "new", "x"]),
    ],
)
def test_tokens_follow_word_boundaries(text: str, tokens: list[str]) -> None:
    assert tokenize(text) == tokens


def test_tokens_are_cut_at_255_characters() -> None:
    assert [len(token) for token in tokenize("a" * 600)] == [255, 255, 90]


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_the_ascii_pattern_agrees_with_the_one_for_all_of_unicode(text: str) -> None:
    assert tokenize(text) == [token for token in analysis._UNICODE.findall(text) if len(token) <= 255]


def test_possessives_and_stop_words_go() -> None:
    assert analyse("the women's shoes' and men’s hats") == ["women", "shoe", "men", "hat"]
    assert analyse("the of and") == []


@pytest.mark.parametrize(
    ("word", "stemmed"),
    # Examples from Porter's paper, step by step, then the two departures that Lucene carries.
    [
        ("caresses", "caress"), ("ponies", "poni"), ("cats", "cat"), ("feed", "feed"), ("agreed", "agre"),
        ("plastered", "plaster"), ("motoring", "motor"), ("sing", "sing"), ("hopping", "hop"), ("filing", "file"),
        ("happy", "happi"), ("sky", "sky"), ("relational", "relat"), ("vietnamization", "vietnam"),
        ("triplicate", "triplic"), ("hopefulness", "hope"), ("revival", "reviv"), ("adjustment", "adjust"),
        ("adoption", "adopt"), ("probate", "probat"), ("rate", "rate"), ("controlling", "control"), ("roll", "roll"),
        ("assembly", "assembl"), ("assemble", "assembl"), ("apology", "apolog"), ("is", "is"),
    ],
)  # fmt: skip
def test_stems(word: str, stemmed: str) -> None:
    assert stem(word) == stemmed


def test_length_codes_are_exact_below_40_and_then_round_down_to_four_bits() -> None:
    assert [decode_length(encode_length(length)) for length in range(40)] == list(range(40))
    # 24 + 0b10000 = 40 is exact; 41 = 24 + 0b10001 loses its last bit; 107 = 24 + 0b1010011 keeps 0b1010000.
    assert [decode_length(encode_length(length)) for length in (40, 41, 107)] == [40, 40, 24 + 0b1010000]


@given(st.integers(0, 1 << 24))
def test_a_length_code_never_rounds_up_and_loses_less_than_an_eighth(length: int) -> None:
    decoded = decode_length(encode_length(length))
    assert decoded <= length < decoded + max(1, decoded / 8 + 1)
    assert 0 <= encode_length(length) < 256
