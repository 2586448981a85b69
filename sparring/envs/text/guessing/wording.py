"""English questions brought into a form in which they can be looked up.

Everything is done with tables of words and phrases: time grows linearly with the text, of which at most
`MOST_CHARACTERS` are looked at.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import product

MOST_CHARACTERS = 300
_MOST_WORDS = 40

_WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")
_END_OF_SENTENCE = re.compile(r"[!:;\n]|(?<!\bst)\.(?=\s|$)")

# Different words for the same: persons who ask, subjects, forms of verbs, sizes.
_SAME = {
    **dict.fromkeys(("i", "we", "people", "person", "someone", "somebody", "humans", "human", "anyone", "man"), "you"),
    **dict.fromkeys(("they", "them", "he", "she", "him", "this"), "it"),
    **dict.fromkeys(("could", "would", "will", "might", "may", "should", "shall"), "can"),
    **dict.fromkeys(("are", "was", "were"), "is"),
    **dict.fromkeys(("larger", "greater"), "bigger"),
    **dict.fromkeys(("colour", "colored", "coloured"), "color"),
    **dict.fromkeys(("ocean", "seas", "oceans"), "sea"),
    "do": "does",
    "did": "does",
    "require": "need",
    "requires": "need",
    "had": "have",
    "automobile": "car",
    "st": "saint",
    "wooden": "wood",
}
_SPELLED_OUT = {
    "it's": "it is",
    "they're": "it is",
    "i'm": "you is",
    "you're": "you is",
    "can't": "can not",
    "what's": "what is",
}


def _set_of(words: str) -> frozenset[str]:
    return frozenset(words.split())


_LEFT_OUT = _set_of(
    "a an the any some your my his its their our that which who usually typically commonly normally often generally "
    "mostly mainly primarily really actually ever also just maybe perhaps possibly please currently considered "
    "classified regarded likely sometimes frequently traditionally still always definitely by chance there here"
)
_BEFORE_A_QUESTION = _set_of(
    "ok okay so well hmm hm then now and alright all right great good yes q question let me ask next first"
)
_REFUSED = _set_of("not no never without neither nor non except or either unless")

# Phrases that add nothing, and subjects that stand for "it". Spaces keep whole words apart.
_SUBJECTS = ("object", "thing", "item", "answer", "word", "city", "place", "town", "secret", "one")
_AUXILIARIES = ("is", "does", "can", "has", "find", "use", "keep", "eat", "wear", "guess is")
_PHRASES = (
    *((f" {word} of ", " ") for word in ("kind", "type", "sort", "piece", "item", "article", "form", "member")),
    *((f" it {thing} ", " it ") for thing in _SUBJECTS),
    *((f" {thing} you is thinking {of} ", " it ") for thing, of in product((*_SUBJECTS, "it"), ("of", "about"))),
    *((f" {verb} {thing} ", f" {verb} it ") for verb, thing in product(_AUXILIARIES, _SUBJECTS)),
    (" thing is ", " something is "),
    (" to be ", " "),
)


def plain(text: str) -> str | None:
    """The words that matter of a question, separated by single spaces, in a form shared by its variants.

    Articles, adverbs and courtesies are dropped, words of one meaning become one, plurals lose their s. Of several
    sentences the question counts.

    Returns:
        The words; None where the text is too long, asks two things, denies something (an answer to "Isn't it …?"
        would be ambiguous) or has no words.
    """
    if len(text) > MOST_CHARACTERS:
        return None
    sentence = _question_in(text)
    words = _words(sentence) if sentence is not None else []
    if not words or len(words) > _MOST_WORDS or not _REFUSED.isdisjoint(words):
        return None
    while len(words) > 1 and words[0] in _BEFORE_A_QUESTION:
        words = words[1:]
    line = f" {' '.join(_singular(_SAME.get(word, word)) for word in words if word not in _LEFT_OUT)} "
    for phrase, instead in _PHRASES:
        line = line.replace(phrase, instead)
    return line.strip() or None


def _question_in(text: str) -> str | None:
    """The last sentence, up to its question mark; None if two sentences have one."""
    letters = unicodedata.normalize("NFKD", text.replace("’", "'")).casefold()
    asked = [part for part in letters.split("?")[:-1] if part.strip()]
    if len(asked) > 1:
        return None
    sentences = [part for part in _END_OF_SENTENCE.split(asked[0] if asked else letters) if part.strip()]
    return sentences[-1] if sentences else None


def _words(sentence: str) -> list[str]:
    unaccented = "".join(letter for letter in sentence if not unicodedata.combining(letter))
    unaccented = unaccented.replace("is that", "is it", 1) if unaccented.lstrip().startswith("is that ") else unaccented
    words: list[str] = []
    for word in _WORD.findall(unaccented):
        if word.endswith("n't"):
            words += [word[:-3], "not"]
        else:
            words += _SPELLED_OUT.get(word, word.partition("'")[0]).split()
    return words


def _singular(word: str) -> str:
    """Without the s of a plural or of the third person. Not always English, but the same for both forms."""
    if len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "does")):
        return word
    if word.endswith(("xes", "ches", "shes")):
        return word[:-2]
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    return word[:-1]
