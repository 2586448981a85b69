"""Comparing this shop with what the original answered, one recorded entry at a time (WEBSHOP_SPEC.md, section 12).

Every `check_…` function reads one format and yields a `Check` for each thing compared, or `OTHER_DATA` for an
entry that was recorded on other products and so says nothing about these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sparring.envs.web.webshop.recordings.episodes import check_episodes, hash_episodes
from sparring.envs.web.webshop.recordings.goals import check_goals
from sparring.envs.web.webshop.recordings.rewards import check_colours, check_ratios, check_rewards
from sparring.envs.web.webshop.recordings.search import check_search
from sparring.envs.web.webshop.recordings.subject import OTHER_DATA, Check, Result, Subject, short_hash
from sparring.envs.web.webshop.simulator import Simulator
from sparring.errors import InvalidData

__all__ = ["OTHER_DATA", "Check", "Subject", "check_file", "hash_episodes", "short_hash"]


def check_file(data: Any, subject: Subject) -> Iterator[Result]:
    """Compare every entry of one file of vectors, whichever its format.

    Raises:
        InvalidData: the format is none of those known.
    """
    reader = _reader(data)
    if reader is None:
        keys = list(data)[:6] if isinstance(data, dict) else type(data).__name__
        raise InvalidData(f"no known format of vectors (it has {keys})")
    yield from reader(data, subject)


def _reader(data: Any) -> Callable[[Any, Subject], Iterator[Result]] | None:
    sample = data
    if isinstance(data, dict) and data and all(isinstance(value, dict) for value in data.values()):
        sample = next(iter(data.values()))
        if "queries" in sample:
            return check_search
        if all(isinstance(value, list) for value in sample.values()):
            return check_nouns
        return check_goals if _is_goal_list(sample) else None
    if isinstance(data, list) and data:
        sample = data[0]
        if isinstance(sample, dict) and "steps" in sample:
            return lambda data, subject: check_episodes({"episodes": data}, subject)
        if isinstance(sample, dict) and ("input" in sample or "input_tuple" in sample):
            return check_colours
        if isinstance(sample, dict) and ("options" in sample and "price" in sample):
            return lambda data, subject: check_rewards({"cases": data}, subject)
        if isinstance(sample, dict) and _is_goal_list(sample):
            return lambda data, subject: check_goals({str(at): one for at, one in enumerate(data)}, subject)
        return None
    if isinstance(data, dict):
        for key, reader in (
            ("episodes", check_episodes), ("cases", check_rewards), ("pairs", check_ratios),
            ("prefix", check_prefix), ("queries", lambda data, subject: check_search({"": data}, subject)),
        ):  # fmt: skip
            if key in data:
                return reader
        if _is_goal_list(data):
            return lambda data, subject: check_goals({"": data}, subject)
    return None


def _is_goal_list(entry: Mapping[str, Any]) -> bool:
    return "n_goals" in entry or ("n" in entry and "goals" in entry)


def check_nouns(data: Mapping[str, Mapping[str, list[str]]], subject: Subject) -> Iterator[Result]:
    """Nouns of titles, by data set and ASIN: those that the catalogue was built with."""
    for table in data.values():
        for asin, nouns in table.items():
            row = subject.catalogue.row_of(asin)
            if row is None:
                yield OTHER_DATA
            else:
                yield Check.equal(f"nouns of {asin}", nouns, list(subject.catalogue.product(row).nouns))


def check_prefix(data: Mapping[str, Any], subject: Subject) -> Iterator[Result]:
    """A session prefix goes in front of the id and changes nothing else."""
    simulator = Simulator(subject.shop(bool(data.get("human_goals"))), session_prefix=data["prefix"])
    simulator.reset(data["reset_arg"])
    got = {"session": simulator.visit.session_id, "url": simulator.visit.url, "goal_index": simulator.visit.goal}
    yield Check.equal("session prefix", {key: data[key] for key in got}, got)
