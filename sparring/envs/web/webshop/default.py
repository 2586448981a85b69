"""The catalogue that is used when none is named: a made-up one of about 1,000 products, generated on first use."""

from __future__ import annotations

from pathlib import Path

from sparring.envs.web.webshop.catalogue import VERSION, read_manifest
from sparring.errors import InvalidData
from sparring.runs import cache_folder

DEFAULT_PRODUCTS = 1_200
# A seed whose training and held-out goals are about equally hard for the first-hit policy: success .44 and .43.
DEFAULT_SEED = 12


def default_catalogue() -> Path:
    """The folder of the built-in catalogue, generated if it is not there yet (under a second).

    Processes that come at the same time may all generate it; the content is the same, and one of them wins.
    """
    from sparring.envs.web.webshop.generate import GENERATOR_VERSION, generate

    folder = cache_folder() / f"webshop-{DEFAULT_PRODUCTS}-{DEFAULT_SEED}-v{VERSION}.{GENERATOR_VERSION}"
    if not _complete(folder):
        try:
            generate(products=DEFAULT_PRODUCTS, seed=DEFAULT_SEED, out=folder)
        except OSError:
            if not _complete(folder):
                raise
    return folder


def _complete(folder: Path) -> bool:
    try:
        read_manifest(folder)
    except InvalidData:
        return False
    return True
