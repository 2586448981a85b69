"""Comparing this shop with what the original answered, one recorded entry at a time (docs/webshop.md, section 12).

Every `check_…` function reads one format and yields a `Check` for each thing compared, or `OTHER_DATA` for an
entry that was recorded on other products and so says nothing about these. `sections.py` finds the formats in a file.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sparring.envs.web.webshop.recordings.episodes import hash_episodes
from sparring.envs.web.webshop.recordings.sections import sections
from sparring.envs.web.webshop.recordings.subject import OTHER_DATA, Check, Result, Subject, short_hash

__all__ = ["OTHER_DATA", "Check", "Subject", "check_file", "hash_episodes", "short_hash"]


def check_file(data: Any, subject: Subject) -> Iterator[Result]:
    """Compare every entry of one file of vectors, whichever its formats and however they are nested.

    Raises:
        InvalidData: a part of the file has none of the known formats, or there is nothing to compare.
    """
    for section in list(sections(data)):
        yield from section.check(section.data, subject)
