"""The leaderboard's stateful simulators, driven directly: own instances for each episode, calls by `getattr`.

The package runs calls by `eval` on instances that it keeps in a module's globals for ever. Here the instances belong to
whoever made them, and only public methods of theirs are called, with arguments that were parsed.
"""

from __future__ import annotations

import copy
import decimal
import importlib
import inspect
import json
import threading
from collections.abc import Mapping
from typing import Any

from sparring.envs.tools.bfcl.entries import Entry
from sparring.envs.tools.calls import Call
from sparring.errors import EnvFailed, MissingExtra

Instances = dict[str, Any]

# What one call may cost. The largest number, precision and file tree of the data are far below.
_MOST_BITS = 4096
_MOST_DIGITS = 1000
_MOST_FILES = 20_000
_DEEPEST = 64
_precision = threading.Lock()


def load(entry: Entry) -> Instances:
    """Fresh simulators in the state that an entry starts from.

    Raises:
        MissingExtra: a package that a simulator needs is not installed.
    """
    from bfcl_eval.constants.executable_backend_config import CLASS_FILE_PATH_MAPPING, STATELESS_CLASSES

    found: Instances = {}
    for name in entry.classes:
        try:
            instance = getattr(importlib.import_module(CLASS_FILE_PATH_MAPPING[name]), name)()
        except ModuleNotFoundError as error:
            raise MissingExtra(f'{name} needs a package: pip install "sparring[bfcl]" ({error})') from error
        if name not in STATELESS_CLASSES:
            start = copy.deepcopy((entry.start or {}).get(name, {}))
            instance._load_scenario(start, long_context="long_context" in entry.category)
        found[name] = instance
    return found


def run(instances: Instances, call: Call) -> Any:
    """Carry out a call.

    Returns:
        What the simulator returned; an exception as the leaderboard words it.
    Raises:
        EnvFailed: the simulator's state outgrew what an episode may have.
    """
    owner = next((one for one in reversed(instances.values()) if _offers(one, call.name)), None)
    if owner is None:
        return f"Error during execution: name {call.name!r} is not defined"
    try:
        _require_modest(call)
        with _precision, decimal.localcontext():
            result = getattr(owner, call.name)(**copy.deepcopy(dict(call.arguments)))
    except Exception as error:  # a simulator's mistake is an answer, as in the leaderboard
        return f"Error during execution: {error}"
    if call.name in ("cp", "mv", "mkdir") and hasattr(owner, "root"):
        _require_small(owner.root)
    return result


def written(result: Any) -> str:
    """A result as the leaderboard compares it."""
    if isinstance(result, str):
        return result
    if isinstance(result, dict):
        try:
            return json.dumps(result)
        except (TypeError, ValueError):
            return str(result)
    return str(result)


def shown(result: Any) -> Any:
    """A result as a JSON value, for the agent."""
    try:
        return json.loads(json.dumps(result, allow_nan=False))
    except (TypeError, ValueError):
        return written(result)


def is_error(result: Any) -> bool:
    """Whether a result tells of an error."""
    if isinstance(result, Mapping):
        return "error" in result
    return isinstance(result, str) and result.startswith("Error during execution")


def _offers(instance: Any, name: str) -> bool:
    return not name.startswith("_") and inspect.ismethod(getattr(instance, name, None))


def _require_modest(call: Call) -> None:
    """Refuse the calls that would take for ever: powers of whole numbers, and endless precision or rounding."""
    given = call.arguments
    base, exponent = given.get("base"), given.get("exponent")
    if call.name == "power" and isinstance(base, int) and isinstance(exponent, int):
        bits = abs(exponent) * base.bit_length()
        if bits > _MOST_BITS:
            raise OverflowError("Result too large")
    for digits in (given.get("precision"), given.get("decimal_places")):
        if isinstance(digits, (int, float)) and abs(digits) > _MOST_DIGITS:
            raise OverflowError("Precision too large")


def _require_small(root: Any) -> None:
    """Refuse trees that take for ever to walk, or that nothing can copy.

    Copies of a directory share their contents, so that few calls make a tree of millions of files.
    """
    waiting, seen = [(root, 0)], 0
    while waiting:
        place, depth = waiting.pop()
        seen += 1
        if seen > _MOST_FILES or depth > _DEEPEST:
            raise EnvFailed(f"the file system has grown beyond {_MOST_FILES:,} files, or {_DEEPEST} directories deep")
        waiting.extend((one, depth + 1) for one in getattr(place, "contents", {}).values())
