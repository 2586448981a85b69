"""The commands under `sparring webshop`: compile or make up a catalogue, and open the shop in a browser."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

OVERVIEW = """\
usage: sparring webshop build|generate|serve [options]

  build     compile the original's files
  generate  make a catalogue up
  serve     open the shop in a browser

Each has --help with an example."""


def build(
    items: Path,
    attributes: Path,
    out: Path,
    human: Path | None = None,
    nouns: Path | None = None,
    num_products: int | None = None,
) -> None:
    """Compile the original's files into a catalogue folder.

    Example:
        sparring webshop build --items items_shuffle_1000.json --attributes items_ins_v2_1000.json --out shop1000

    Args:
        items: The original's items_shuffle*.json.
        attributes: The original's items_ins_v2*.json.
        out: The folder to write.
        human: items_human_ins.json, for human goals.
        nouns: JSON of the nouns of each title; without it spaCy finds them (extra: spacy).
        num_products: Take only the first rows of the items.
    """
    from sparring.envs.web.webshop import build as compiler

    compiler.build(items=items, attributes=attributes, human=human, nouns=nouns, out=out, num_products=num_products)
    print(f"Wrote {out}. Use it with: sparring play WebShop-v1 --options catalogue {out}")


def generate(products: int, out: Path, seed: int = 0) -> None:
    """Make a catalogue up: our own words, deterministic, of any size.

    Example:
        sparring webshop generate --products 100000 --seed 1 --out shop100k

    Args:
        products: How many products.
        out: The folder to write.
        seed: Equal seeds give equal catalogues.
    """
    from sparring.envs.web.webshop import generate as generator

    generator.generate(products=products, seed=seed, out=out)
    print(f"Wrote {out}. Use it with: sparring play WebShop-v1 --options catalogue {out}")


def serve(
    catalogue: Path | None = None, goals: Literal["synthetic", "human"] = "synthetic", port: int = 3000, seed: int = 0
) -> None:
    """Open the shop as a web site on this machine, to be used in a browser.

    Examples:
        sparring webshop serve
        sparring webshop serve --catalogue shop1000 --port 8080

    Args:
        catalogue: A compiled catalogue; by default the built-in one.
        goals: What is asked for.
        port: 0 for any that is free.
        seed: Of the tasks that are offered.
    """
    from sparring.envs.web.webshop.site import serve as site

    site.serve(catalogue, goals, port, seed)


COMMANDS: Mapping[str, Callable[..., None]] = {"build": build, "generate": generate, "serve": serve}
