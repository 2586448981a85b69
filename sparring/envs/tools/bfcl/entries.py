"""The entries of the package bfcl-eval: what the user says, the tools, and the answers.

The extra brings what the entries need. The package itself is installed without its dependencies, which are the clients
of every maker of models: `pip install --no-deps bfcl-eval`.
"""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any
from zlib import crc32

from sparring.envs.tools.schema import Tool
from sparring.errors import MissingExtra, unknown

MULTI_TURN = ("multi_turn_base", "multi_turn_miss_func", "multi_turn_miss_param", "multi_turn_long_context")
RELEVANCE = ("irrelevance", "live_irrelevance", "live_relevance")
SINGLE_TURN = (
    "simple_python", "multiple", "parallel", "parallel_multiple",
    "live_simple", "live_multiple", "live_parallel", "live_parallel_multiple",
    *RELEVANCE,
)  # fmt: skip
GROUPS: Mapping[str, tuple[str, ...]] = {
    **{one: (one,) for one in (*MULTI_TURN, *SINGLE_TURN)},
    "multi_turn": MULTI_TURN,
    "single_turn": SINGLE_TURN,
}

# What is said at the turn that gives the tools which were missing; the leaderboard's own words.
MORE_TOOLS = "I have updated some more functions you can choose from. What about now?"

_JSON_TYPES = {"dict": "object", "float": "number", "tuple": "array", "any": None}
_SPLIT_OF_FIFTH = {0: "test", 1: "dev"}


@dataclass(frozen=True)
class Entry:
    """One entry.

    Attributes:
        id, category: such as `multi_turn_base_17` and `multi_turn_base`.
        number: what variants of it share: the scenario of a multi-turn entry, the tools of a live one.
        says: what the user says in each turn. documents: the tools as the data describe them.
        missing: the names of the tools that are given only from a turn on, by its number.
        answers: the calls of each turn, or, where there is one turn, the values that each call may have.
        classes: the simulators of a multi-turn entry. start: their state.
    """

    id: str
    category: str
    number: str
    says: tuple[str, ...]
    documents: tuple[Mapping[str, Any], ...]
    missing: Mapping[int, tuple[str, ...]]
    answers: Sequence[Any]
    classes: tuple[str, ...] = ()
    start: Mapping[str, Any] | None = None

    @property
    def split(self) -> str:
        """The split that all variants of the entry belong to."""
        family = "multi_turn" if self.classes else self.category
        return _SPLIT_OF_FIFTH.get(crc32(f"{family} {self.number}".encode()) % 5, "train")

    @cached_property
    def tools(self) -> tuple[Tool, ...]:
        """The tools of all turns. Of two with one name the later counts, as in the leaderboard."""
        found = {one["name"]: _tool(one["name"], one["description"], one["parameters"]) for one in self.documents}
        return tuple(found.values())

    @property
    def order(self) -> dict[str, tuple[str, ...]]:
        """The names of each tool's arguments in their order."""
        return {tool.name: tool.order for tool in self.tools}


@cache
def entries(category: str) -> Mapping[str, Entry]:
    """The entries of a category by their ids, in the data's order.

    Raises:
        UnknownName: no such category. MissingExtra: the package is not installed.
    """
    if category not in (*MULTI_TURN, *SINGLE_TURN):
        raise unknown("category of BFCL", category, GROUPS)
    rows = _rows(f"BFCL_v4_{category}.json")
    known = [] if category in RELEVANCE else _rows(f"possible_answer/BFCL_v4_{category}.json")
    answers = {row["id"]: row["ground_truth"] for row in known}
    read = _multi_turn if category in MULTI_TURN else _single_turn
    return {row["id"]: read(row, category, answers.get(row["id"], [])) for row in rows}


def _rows(path: str) -> list[dict[str, Any]]:
    try:
        file = importlib.resources.files("bfcl_eval") / "data" / path
    except ModuleNotFoundError as error:
        raise MissingExtra(
            'the package "bfcl_eval" is needed here: pip install "sparring[bfcl]" and then '
            f"pip install --no-deps bfcl-eval ({error})"
        ) from error
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]


def _single_turn(row: dict[str, Any], category: str, answers: Sequence[Any]) -> Entry:
    number = row["id"].removeprefix(f"{category}_").partition("-")[0]
    documents = tuple(row["function"])
    return Entry(row["id"], category, number, (_said(row["question"][0]),), documents, {}, answers)


def _multi_turn(row: dict[str, Any], category: str, answers: Sequence[Any]) -> Entry:
    missing = {int(turn): tuple(names) for turn, names in row.get("missed_function", {}).items()}
    return Entry(
        row["id"],
        category,
        row["id"].rpartition("_")[2],
        tuple(_said(messages) or MORE_TOOLS for messages in row["question"]),
        tuple(document for name in row["involved_classes"] for document in class_documents(name)),
        missing,
        answers,
        tuple(row["involved_classes"]),
        row["initial_config"],
    )


@cache
def class_documents(name: str) -> tuple[Mapping[str, Any], ...]:
    """How the data describe the tools of a simulator."""
    from bfcl_eval.constants.executable_backend_config import MULTI_TURN_FUNC_DOC_FILE_MAPPING

    return tuple(_rows(f"multi_turn_func_doc/{MULTI_TURN_FUNC_DOC_FILE_MAPPING[name]}"))


def _said(messages: Sequence[Mapping[str, str]]) -> str:
    if len(messages) == 1:
        return messages[0]["content"]
    return "\n".join(f"{one['role']}: {one['content']}" for one in messages)


def _tool(name: str, description: str, schema: Any) -> Tool:
    return Tool(name, description, json_schema(schema), _never_called)


def _never_called(world: Any, **arguments: Any) -> Any:
    raise AssertionError("simulators are called by their own methods, and single turns call nothing")


def json_schema(node: Any) -> Any:
    """A schema of the data, whose types are Python's, as JSON Schema."""
    if isinstance(node, list):
        return [json_schema(one) for one in node]
    if not isinstance(node, dict):
        return node
    found = {key: json_schema(value) for key, value in node.items() if key != "type" or not isinstance(value, str)}
    kind = node.get("type")
    if isinstance(kind, str) and _JSON_TYPES.get(kind, kind) is not None:
        found["type"] = _JSON_TYPES.get(kind, kind)
    return found
