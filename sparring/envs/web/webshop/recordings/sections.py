"""Which formats a file of vectors holds, and where: recordings are told by their entries, not by their wrapping.

Entries come in a list, in an object by name, alone, or any of these inside further objects whose keys may name the
data set (`{"real1k": [episode, …]}`). What an enclosing object says (`human_goals`, `dataset`, …) holds for all
entries in it that don't say otherwise. Numbers, texts and lists of those beside the entries are remarks; a list or
object of anything else is an error, so that no entry goes unchecked because it was not understood.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sparring.envs.web.webshop.recordings.episodes import check_episodes
from sparring.envs.web.webshop.recordings.goals import check_goals
from sparring.envs.web.webshop.recordings.rewards import check_colours, check_ratios, check_rewards
from sparring.envs.web.webshop.recordings.search import check_search
from sparring.envs.web.webshop.recordings.subject import OTHER_DATA, Check, Result, Subject, data_set_named
from sparring.envs.web.webshop.simulator import Simulator
from sparring.errors import InvalidData

Reader = Callable[[Any, Subject], Iterator[Result]]
_CONTAINERS = ("episodes", "cases", "pairs")


@dataclass(frozen=True, slots=True)
class Section:
    """Entries of one format: what compares them, and the data in the form that it takes."""

    check: Reader
    data: Any


def sections(data: Any) -> Iterator[Section]:
    """Find all recordings in a file.

    Raises:
        InvalidData: a part of the file has none of the known formats, or there is none in it.
    """
    found = list(_find(data, {}, "the file"))
    if not found:
        raise InvalidData(f"there is nothing to compare: no recording in {_brief(data)}")
    yield from found


def _find(data: Any, context: Mapping[str, Any], place: str) -> Iterator[Section]:
    if _is_remark(data):
        return
    if isinstance(data, list):
        yield _listed(data, context, place)
    elif _format(data) is not None:
        yield _section(_format(data) or "", {_label(place): data}, context)
    elif _is_noun_table(data):
        yield Section(check_nouns, {place: data})
    else:
        inside = list(_find_inside(data, context, place))
        if not inside:
            raise InvalidData(f"no known format of vectors in {place}: {_brief(data)}")
        yield from inside


def _find_inside(data: Mapping[str, Any], context: Mapping[str, Any], place: str) -> Iterator[Section]:
    """The recordings of an object that is none itself: a container of entries, or entries by name."""
    said = {**context, **{key: value for key, value in data.items() if _is_remark(value)}}
    by_format: dict[str, dict[str, Any]] = {}
    for key, value in data.items():
        kind = _format(value) if isinstance(value, dict) else None
        if kind is not None:
            by_format.setdefault(kind, {})[key] = value
        elif not _is_remark(value) and value:
            dataset = data_set_named(key)
            within = said if dataset is None or key in _CONTAINERS else {**said, "dataset": dataset}
            yield from _find(value, within, key)
    for kind, entries in by_format.items():
        yield _section(kind, entries, said)


def _listed(data: Sequence[Any], context: Mapping[str, Any], place: str) -> Section:
    kinds = {_format(entry) for entry in data}
    if len(kinds) != 1 or None in kinds:
        odd = next((entry for entry in data if _format(entry) is None), data[0])
        known = ", ".join(sorted(str(kind) for kind in kinds if kind)) or "no known one"
        raise InvalidData(f"no known format of vectors in {place}: its entries are {known}, with {_brief(odd)}")
    return _section(kinds.pop() or "", {str(number): entry for number, entry in enumerate(data)}, context)


def _format(entry: Any) -> str | None:
    """The format of one entry, None if it is none."""
    if not isinstance(entry, dict):
        return None
    keys = entry.keys()
    if "steps" in keys:
        return "episode"
    if "n_goals" in keys or {"n", "goals"} <= keys:
        return "goals"
    if "queries" in keys:
        return "searches"
    if "prefix" in keys and "reset_arg" in keys:
        return "prefix"
    if "output" in keys and ("input" in keys or "input_tuple" in keys):
        return "colour"
    if {"a", "b"} <= keys:
        return "ratio"
    if "options" in keys and keys & {"purchased", "purchased_asin"} and keys & {"goal", "goal_asin"}:
        return "reward"
    return None


def _section(kind: str, entries: Mapping[str, Any], context: Mapping[str, Any]) -> Section:
    """Entries of one kind, by name, as the reader of that format takes them."""
    listed = list(entries.values())
    whole = {name or "": {**context, **entry} for name, entry in entries.items()}
    if kind == "episode":
        return Section(check_episodes, {**context, "episodes": listed})
    if kind == "reward":
        return Section(check_rewards, {"cases": [{**context, **entry} for entry in listed]})
    if kind == "ratio":
        return Section(check_ratios, {"pairs": listed})
    if kind == "colour":
        return Section(check_colours, listed)
    if kind == "prefix":
        return Section(_check_prefixes, list(whole.values()))
    return Section(check_goals if kind == "goals" else check_search, whole)


def _is_remark(value: Any) -> bool:
    """A text or a number, or a list or object of nothing else that is no recording."""
    if isinstance(value, dict):
        return _format(value) is None and all(_is_plain(one) for one in value.values())
    return all(_is_plain(one) for one in value) if isinstance(value, list) else _is_plain(value)


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float)


def _is_noun_table(data: Mapping[str, Any]) -> bool:
    return any(data.values()) and all(
        isinstance(value, list) and all(isinstance(one, str) for one in value) for value in data.values()
    )


def _label(place: str) -> str:
    return "" if place == "the file" else place


def _brief(data: Any) -> str:
    if isinstance(data, dict):
        return f"an object with {list(data)[:6]}"
    return f"a list of {len(data)}" if isinstance(data, list) else f"{data!r:.60}"


def check_nouns(data: Mapping[str, Mapping[str, list[str]]], subject: Subject) -> Iterator[Result]:
    """Nouns of titles, by data set and ASIN: those that the catalogue was built with."""
    for table in data.values():
        ours = subject.owns(None, set(table))
        for asin, nouns in table.items():
            if ours:
                row = subject.catalogue.row_of(asin)
                got = None if row is None else list(subject.catalogue.product(row).nouns)
                yield Check.equal(f"nouns of {asin}", nouns, got)
            else:
                yield OTHER_DATA


def _check_prefixes(data: Sequence[Mapping[str, Any]], subject: Subject) -> Iterator[Result]:
    """A session prefix goes in front of the id and changes nothing else."""
    for entry in data:
        simulator = Simulator(subject.shop(bool(entry.get("human_goals"))), session_prefix=entry["prefix"])
        simulator.reset(entry["reset_arg"])
        got = {"session": simulator.visit.session_id, "url": simulator.visit.url, "goal_index": simulator.visit.goal}
        yield Check.equal("session prefix", {key: entry[key] for key in got}, got)
