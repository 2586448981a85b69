"""A tool: its name, its schema, and the function that carries it out.

    def move(world, file, folder):
        if folder not in world["folders"]:
            raise ToolError(f"no folder {folder}")
        world["place"][file] = folder
        return {"moved": file}

    tool = Tool("move", "Move a file to a folder.", parameters(file=text(), folder=text("docs", "work")), move)
    assert tool.problem({"file": "a"}) == "'folder' is a required property"

Schemas are JSON Schema (draft 2020-12) as every maker of models asks for them; `jsonschema` checks arguments by them.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sparring.envs.tools.calls import Call, Style, write_calls
from sparring.types import ActionSet

Schema = Mapping[str, Any]

_LONGEST_PROBLEM = 200


class ToolError(Exception):
    """What a tool's function raises where it can't do what it was asked for: the message is what the agent reads."""


def parameters(**properties: Schema) -> Schema:
    """The schema of a tool whose arguments are all required."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def text(*choices: str) -> Schema:
    """The schema of a string, one of `choices` where they are given."""
    return {"type": "string", "enum": list(choices)} if choices else {"type": "string"}


def number(*choices: int) -> Schema:
    """The schema of an integer, one of `choices` where they are given."""
    return {"type": "integer", "enum": list(choices)} if choices else {"type": "integer"}


@dataclass(frozen=True)
class Tool:
    """Something an agent may call.

    Attributes:
        name, description: for the agent. schema: JSON Schema of the arguments, an object.
        function: called with the world, which it may change, and the arguments by name. It returns a JSON value, or
            raises `ToolError`.
    """

    name: str
    description: str
    schema: Schema
    function: Callable[..., Any]

    @property
    def order(self) -> tuple[str, ...]:
        """The names of the arguments in their order."""
        return tuple(self.schema.get("properties") or {})  # a server's schema may say null

    @property
    def signature(self) -> str:
        """The tool in one short line: `move(file, folder): Move a file to a folder.`"""
        return f"{self.name}({', '.join(self.order)}): {self.description}"

    @property
    def document(self) -> dict[str, Any]:
        """The tool as makers of models have it in prompts."""
        function = {"name": self.name, "description": self.description, "parameters": self.schema}
        return {"type": "function", "function": function}

    def problem(self, arguments: Mapping[str, Any]) -> str | None:
        """What is wrong with arguments by the schema, None if nothing is."""
        from jsonschema.exceptions import best_match

        try:
            error = best_match(self._validator.iter_errors(dict(arguments)))
        except Exception as broken:  # a schema may be anyone's, and refer to what is not there
            return f"the tool's schema is broken: {broken}"[:_LONGEST_PROBLEM]
        if error is None:
            return None
        where = "".join(f"[{json.dumps(part)}]" for part in error.absolute_path)
        said = f"{where}: {error.message}" if where else str(error.message)
        return said[:_LONGEST_PROBLEM]

    @cached_property
    def _validator(self) -> Any:
        from jsonschema import Draft202012Validator
        from referencing import Registry

        # An empty registry: a reference to elsewhere is an error, where the library would fetch it.
        return Draft202012Validator(self.schema, registry=Registry())


def every_call(tools: Iterable[Tool], style: Style, most: int = 10_000) -> ActionSet | None:
    """All single calls that the schemas admit, where each argument is one of an enumeration.

    Returns:
        The calls in the order of tools and enumerations; None where an argument is open, or there are more than `most`.
    """
    tools = list(tools)
    if any(_count(tool) is None for tool in tools) or sum(_count(tool) or 0 for tool in tools) > most:
        return None
    return ActionSet(tuple(write_calls([call], style) for tool in tools for call in _calls(tool)))


def _enumerations(tool: Tool) -> list[Sequence[Any]] | None:
    found = [one.get("enum") for one in tool.schema.get("properties", {}).values()]
    return None if None in found else [one for one in found if one is not None]


def _count(tool: Tool) -> int | None:
    found = _enumerations(tool)
    return None if found is None else math.prod(len(one) for one in found)


def _calls(tool: Tool) -> Iterator[Call]:
    for values in itertools.product(*(_enumerations(tool) or [])):
        yield Call(tool.name, dict(zip(tool.order, values, strict=True)))
