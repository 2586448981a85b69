"""How the made-up catalogue speaks: sellers describing products, and people asking for them."""

from __future__ import annotations

import random
from collections.abc import Sequence

from sparring.envs.web.webshop import words
from sparring.envs.web.webshop.words import Feature, Kind

ASIDE = 0.33  # share of instructions with an aside


def describe(
    generator: random.Random,
    kind: Kind,
    line: str,
    features: Sequence[Feature],
    loud: bool,
    stuffed: bool,
    goes_with: tuple[Kind, Sequence[Feature]] | None = None,
) -> tuple[str, list[str]]:
    """Write a product's description and its bullets.

    Args:
        line: name of the collection. features: all of the product's, each of which is mentioned somewhere.
        loud: whether the seller repeats what the product is.
        stuffed: whether the seller adds words that every instruction contains.
        goes_with: another kind, with features, that the product is advertised to go with.
    """
    sentence = generator.choice(words.SENTENCES).format(line=line.title(), kind=kind.name)
    praise = generator.choice(words.PRAISE).format(features=" and ".join(one.name for one in features[2:]) or "fine")
    parts = [sentence, praise]
    if goes_with:
        other, theirs = goes_with
        parts = [
            f"Goes with your {other.name}: {', '.join(one.name for one in theirs)}.",
            f"For {other.plural} of the {line.title()} range. Not sold with the {other.name}.",
        ]
    elif loud:
        parts.append(f"{kind.name.capitalize()}, {kind.plural}: {', '.join(one.name for one in features[:2])}.")
    if stuffed:
        parts.append(f"Also found under: {' '.join(generator.sample(words.STUFFING, 12))}.")
    generator.shuffle(parts)
    bullets = [f"{feature.name}: {feature.said.removeprefix('that ')}" for feature in generator.sample(features, 2)]
    return " ".join(parts), [*bullets, f"from the {line.title()} range"]


def ask_plainly(generator: random.Random, kind: Kind, features: Sequence[Feature]) -> tuple[str, list[Feature]]:
    """An instruction without options and price (the shop appends them), and the features it asks for."""
    asked = _asked(generator, features)
    return f"{generator.choice(words.OPENERS)} {_noun_phrase(generator, kind, asked)}{_aside(generator, kind)}", asked


def ask_as_human(
    generator: random.Random, kind: Kind, features: Sequence[Feature], options: dict[str, tuple[str, ...]]
) -> tuple[str, list[Feature], list[tuple[str, str]]]:
    """An instruction with its options woven in, the features it asks for, and the (name, value) pairs."""
    asked = _asked(generator, features)
    chosen = [(name, generator.choice(values)) for name, values in options.items() if generator.random() < 0.8]
    wishes = "".join(_wish(generator, name, value) for name, value in chosen)
    return (
        f"{generator.choice(words.OPENERS)} {_noun_phrase(generator, kind, asked)}{wishes}{_aside(generator, kind)}",
        asked,
        chosen,
    )


def _asked(generator: random.Random, features: Sequence[Feature]) -> list[Feature]:
    """One to three features: mostly those that the title shows, sometimes one that has to be read up."""
    asked = list(features[: generator.choice((1, 2, 2))])
    if generator.random() < 0.25:
        asked.append(generator.choice(features[2:]))
    generator.shuffle(asked)
    return asked


def _article(phrase: str) -> str:
    vowel = phrase[0] in "aeiou" and not phrase.startswith(("usb", "usda", "uv"))
    return "an" if vowel else "a"


def _noun_phrase(generator: random.Random, kind: Kind, asked: Sequence[Feature]) -> str:
    """The thing with its features, one of which may be put in other words."""
    reworded = generator.choice(asked) if len(asked) > 1 and generator.random() < 0.3 else None
    plain = [feature for feature in asked if feature is not reworded]
    before = " ".join(feature.name for feature in plain if not feature.noun)
    after = " and ".join(feature.name for feature in plain if feature.noun)
    plural = kind.name == kind.plural or generator.random() < 0.3
    core = f"{before} {kind.plural if plural else kind.name}".strip()
    phrase = core if plural else f"{_article(core)} {core}"
    if after:
        phrase += f" with {after}"
    return f"{phrase} {reworded.said}" if reworded else phrase


def _wish(generator: random.Random, name: str, value: str) -> str:
    if name == "color":
        return generator.choice(
            (f" in {value}", f" in the color {value}", f", {value} please", f" that comes in {value}")
        )
    if name == "flavor name":
        return generator.choice((f" in {value} flavor", f", {value} flavor", f" that tastes of {value}"))
    if name == "item package quantity":
        return generator.choice((f", a pack of {value}", f", {value} of them", f" ({value} pack)"))
    return generator.choice((f" in size {value}", f", {value}", f" and it should be {value}", f", i prefer {value}"))


def _aside(generator: random.Random, kind: Kind) -> str:
    """Something beside the point, in a third of the instructions, that names another kind of product."""
    if generator.random() >= ASIDE:
        return ""
    other = generator.choice(words.KINDS)
    if other is kind:
        return ""
    pool = words.FEATURES[generator.choice(other.pools)]
    feature = generator.choice([one for one in pool if not one.noun])
    return ", " + generator.choice(words.ASIDES).format(other=f"{feature.name} {other.name}")
