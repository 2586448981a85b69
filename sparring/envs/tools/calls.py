"""Tool calls in four styles of writing, through one parser.

| style | a call of `move` |
|---|---|
| `hermes` | `<tool_call>{"name": "move", "arguments": {"file": "a"}}</tool_call>` |
| `react` | `Action: move`, and in the next line `Action Input: {"file": "a"}` |
| `openai` | `{"tool_calls": [{"function": {"name": "move", "arguments": "{\\"file\\": \\"a\\"}"}}]}` |
| `python` | `[move(file='a')]`, or `move(file='a')` alone |

    said = parse_calls("<tool_call>{\\"name\\": \\"now\\", \\"arguments\\": {}}</tool_call>", "hermes")
    assert said.calls == (Call("now", {}),)

What a model writes is read and never run: JSON by the standard library, Python by `ast`, of which only literals count.
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from sparring.errors import InvalidConfig

Style = Literal["hermes", "react", "openai", "python"]

# Longer texts are no calls: reading nested brackets costs time and memory.
MOST_CHARACTERS = 100_000
_DEEPEST = 64
_MOST_BITS = 4096  # of a whole number; Python refuses to write out those beyond some 14,000


@dataclass(frozen=True, slots=True)
class Call:
    """A tool's name and its arguments, which are JSON values (the style `python` knows tuples as well)."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Said:
    """What an action says: calls in their order, and the text beside them, which is for the user."""

    calls: tuple[Call, ...]
    text: str = ""


class Unreadable(Exception):
    """An action that tries to call and fails to, with the reason; it never leaves the environment."""


def require_style(style: str) -> None:
    """Refuse a style that does not exist.

    Raises:
        InvalidConfig: it is none of the module's table.
    """
    if style not in get_args(Style):
        raise InvalidConfig(f"style must be one of {', '.join(get_args(Style))}, got {style!r}")


def parse_calls(text: str, style: Style, order: Mapping[str, Sequence[str]] | None = None) -> Said:
    """Read the calls of an action.

    Args:
        text: the action. style: how calls are written.
        order: the names of each tool's arguments in their order, for arguments that Python calls give by place.
    Returns:
        The calls and the text beside them; no calls where the text does not try to call.
    Raises:
        Unreadable: it tries to and is malformed.
    """
    if len(text) > MOST_CHARACTERS:
        raise Unreadable(f"an action may have {MOST_CHARACTERS:,} characters, this one has {len(text):,}")
    _require_characters(text)
    try:
        if style == "python":
            return _parse_python(text, order or {})
        return {"hermes": _parse_hermes, "react": _parse_react, "openai": _parse_openai}[style](text)
    except RecursionError as error:
        raise Unreadable("the action is nested too deeply") from error


def write_calls(calls: Iterable[Call], style: Style) -> str:
    """Write calls as `parse_calls` reads them: an action without text."""
    return _WRITERS[style](list(calls))


def write_results(results: Sequence[tuple[str, Any]], style: Style) -> str:
    """Write what tools returned, as models of a style are used to read it.

    Args:
        results: the name of each tool called and the JSON value that it returned.
    Returns:
        A line or block a result. What a tool returns can't forge the marks around it: in JSON strings a line break is
        an escape, and so is `<`.
    """
    written = [(name, _json(value).replace("<", "\\u003c")) for name, value in results]
    if style == "hermes":
        return "\n".join(f"<tool_response>{value}</tool_response>" for _, value in written)
    if style == "react":
        return "\n".join(f"Observation: {value}" for _, value in written)
    if style == "openai":
        return "\n".join(f'{{"role": "tool", "name": {_json(name)}, "content": {value}}}' for name, value in written)
    return "\n".join(value for _, value in written)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


# JSON, as three styles hold it


def _load(text: str) -> Any:
    try:
        value = _DECODER.decode(text)
    except ValueError as error:  # JSONDecodeError is one
        raise Unreadable(f"no valid JSON: {error}") from error
    _require_plain(value)
    return value


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is too large a number")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON value")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object gives a key twice")
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_refuse_constant, parse_float=_number)


def _require_plain(value: Any, depth: int = 0) -> None:
    """Refuse what JSON reads and others choke on: deep nesting, half surrogate pairs from escapes, giant numbers."""
    if depth > _DEEPEST:
        raise Unreadable(f"arguments may be nested {_DEEPEST} deep")
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        raise Unreadable("a number is too large")
    if isinstance(value, str):
        _require_characters(value)
    elif isinstance(value, Mapping):
        for key, one in value.items():
            _require_plain(key, depth)
            _require_plain(one, depth + 1)
    elif isinstance(value, (list, tuple)):
        for one in value:
            _require_plain(one, depth + 1)


def _require_characters(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Unreadable("there is half a surrogate pair in it, which is no character") from error


def _call(found: Any) -> Call:
    if not isinstance(found, dict) or not isinstance(found.get("name"), str) or not found["name"]:
        raise Unreadable('a call must be an object with a "name"')
    if extra := found.keys() - {"name", "arguments", "id"}:
        raise Unreadable(f'a call has "name" and "arguments", not {sorted(extra)[0]!r}')
    return Call(found["name"], _arguments(found.get("arguments", {})))


def _arguments(found: Any) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise Unreadable(f"arguments must be an object, got {_json(found)[:40]}")
    return found


_OPEN, _CLOSE = "<tool_call>", "</tool_call>"


def _parse_hermes(text: str) -> Said:
    calls, beside, at = [], [], 0
    # An expression with a gap in it would take minutes where a text opens thousands of calls and closes none.
    while (start := text.find(_OPEN, at)) >= 0 and (end := text.find(_CLOSE, start)) >= 0:
        calls.append(_call(_load(text[start + len(_OPEN) : end])))
        beside.append(text[at:start])
        at = end + len(_CLOSE)
    rest = "".join([*beside, text[at:]])
    if _OPEN in rest or _CLOSE in rest:
        raise Unreadable("a <tool_call> must be closed by </tool_call>, and each holds one JSON object")
    return Said(tuple(calls), rest.strip())


def _write_hermes(calls: list[Call]) -> str:
    # `<` is escaped, so that no argument closes the tag.
    bodies = [_json({"name": one.name, "arguments": one.arguments}).replace("<", "\\u003c") for one in calls]
    return "\n".join(f"<tool_call>{body}</tool_call>" for body in bodies)


_ANSWER = re.compile(r"^Final Answer:[ \t]*(.*)\Z", re.MULTILINE | re.DOTALL)


def _parse_react(text: str) -> Said:
    before, *parts = re.split(r"^Action:", text, flags=re.MULTILINE)
    calls = []
    for part in parts:
        name, mark, given = part.partition("\nAction Input:")
        if not mark or not name.strip():
            raise Unreadable('"Action: tool" must be followed by a line "Action Input: {…}"')
        calls.append(Call(name.strip(), _arguments(_load(given.strip() or "{}"))))
    if not parts and re.search(r"^Action Input:", text, re.MULTILINE):
        raise Unreadable('"Action Input:" without a line "Action:" before it')
    if not calls and (answer := _ANSWER.search(text)):
        return Said((), answer[1].strip())
    return Said(tuple(calls), before.strip())


def _write_react(calls: list[Call]) -> str:
    return "\n".join(f"Action: {one.name}\nAction Input: {_json(one.arguments)}" for one in calls)


def _parse_openai(text: str) -> Said:
    if not text.lstrip().startswith(("{", "[")):
        return Said((), text.strip())
    found = _load(text)
    content = ""
    if isinstance(found, dict) and "tool_calls" in found:
        content = found.get("content") or ""
        found = found["tool_calls"] or []
    if not isinstance(content, str):
        raise Unreadable('"content" must be a string')
    several = found if isinstance(found, list) else [found]
    return Said(tuple(_openai_call(one) for one in several), content)


def _openai_call(found: Any) -> Call:
    if isinstance(found, dict) and isinstance(found.get("function"), dict):
        found = found["function"]
    if isinstance(found, dict) and isinstance(found.get("arguments"), str):
        found = {**found, "arguments": _load(found["arguments"] or "{}")}
    return _call(found)


def _write_openai(calls: list[Call]) -> str:
    several = [{"type": "function", "function": {"name": one.name, "arguments": _json(one.arguments)}} for one in calls]
    return _json({"tool_calls": several})


# Python calls, of which only the syntax is read

_PYTHON_CALL = re.compile(r"\[?\s*[A-Za-z_][\w.]*\s*\(")


def _parse_python(text: str, order: Mapping[str, Sequence[str]]) -> Said:
    text = text.strip()
    if text != "[]" and not _PYTHON_CALL.match(text):
        return Said((), text)
    try:
        body = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, MemoryError) as error:
        raise Unreadable(f"no Python call: {error}") from error
    found = body.elts if isinstance(body, ast.List) else [body]
    return Said(tuple(_python_call(one, order) for one in found))


def _python_call(node: ast.expr, order: Mapping[str, Sequence[str]]) -> Call:
    if not isinstance(node, ast.Call):
        raise Unreadable("expected calls such as move(file='a')")
    name = _dotted(node.func)
    names = order.get(name, ())
    if len(node.args) > len(names):
        raise Unreadable(f"give the arguments of {name} by their names")
    arguments = {known: _literal(given) for known, given in zip(names, node.args, strict=False)}
    for keyword in node.keywords:
        if keyword.arg is None or keyword.arg in arguments:
            raise Unreadable(f"an argument of {name} is given twice or without a name")
        arguments[keyword.arg] = _literal(keyword.value)
    _require_plain(arguments)
    return Call(name, arguments)


def _dotted(node: ast.expr) -> str:
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        raise Unreadable("what is called must be a name")
    return ".".join(reversed([*parts, node.id]))


def _literal(node: ast.expr) -> Any:
    """The value of a literal. `ast.literal_eval` would also take bytes, sets and complex numbers."""
    if isinstance(node, ast.Constant):
        if isinstance(node.value, float) and not math.isfinite(node.value):
            raise Unreadable("a number is too large")
        if node.value is None or isinstance(node.value, (str, bool, int, float)):
            return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        value = _literal(node.operand)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.List):
        return [_literal(one) for one in node.elts]
    if isinstance(node, ast.Tuple):
        return tuple(_literal(one) for one in node.elts)
    if isinstance(node, ast.Dict) and all(isinstance(key, ast.Constant) for key in node.keys):
        keys = [_literal(key) for key in node.keys if key is not None]
        if all(isinstance(key, str) for key in keys) and len(set(keys)) == len(keys):
            return dict(zip(keys, (_literal(one) for one in node.values), strict=True))
    raise Unreadable(f"arguments must be literals, got {ast.unparse(node)[:40]}")


def _write_python(calls: list[Call]) -> str:
    written = [
        f"{one.name}({', '.join(f'{name}={value!r}' for name, value in one.arguments.items())})" for one in calls
    ]
    return written[0] if len(written) == 1 else f"[{', '.join(written)}]"


_WRITERS: dict[Style, Callable[[list[Call]], str]] = {
    "hermes": _write_hermes,
    "react": _write_react,
    "openai": _write_openai,
    "python": _write_python,
}
