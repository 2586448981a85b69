"""The leaderboard's own checkers, given calls that were parsed, and nothing to evaluate.

`multi_turn_checker` is the package's function, run with another executor in place of its own, which evaluates text on
instances in a module's globals. `ast_checker` is imported without the clients of every maker of models, which the
package would import for one table of names.
"""

from __future__ import annotations

import importlib
import sys
import threading
import types
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from sparring.envs.tools.bfcl.entries import RELEVANCE, Entry
from sparring.envs.tools.bfcl.simulators import Instances, load, run, written
from sparring.envs.tools.calls import Call, parse_calls

Steps = Sequence[Sequence[Call]]

_MODEL = "sparring"
_CHECKERS = "bfcl_eval.eval_checker"


def gold_calls(entry: Entry, turn: int) -> tuple[Call, ...]:
    """The calls that answer a turn: of values that are as good as each other, the first that says something."""
    if entry.classes:
        return tuple(_gold_call(entry, text) for text in entry.answers[turn])
    required = {tool.name: tool.schema.get("required", ()) for tool in entry.tools}
    return tuple(
        Call(name, {key: _first(values) for key, values in given.items() if key in required[name] or _is_told(values)})
        for answer in entry.answers
        for name, given in answer.items()
    )


def _is_told(values: Any) -> bool:
    """Whether an argument is given; it may be left out where the empty string is the first of its values."""
    return not isinstance(values, list) or (bool(values) and values[0] != "")


def _first(values: Any) -> Any:
    """One of the values allowed. Those inside of a dictionary are lists of values, too."""
    if not isinstance(values, list) or not values:
        return values
    value = next((one for one in values if one != ""), "")
    return _inner(value)


def _inner(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _first(one) for key, one in value.items() if _is_told(one)}
    return [_inner(one) for one in value] if isinstance(value, list) else value


def multi_turn_valid(entry: Entry, turns: Sequence[Steps]) -> bool:
    """Whether the calls of every turn leave the simulators, and have shown, what the answers do.

    Args:
        turns: for each turn the actions that made calls.
    """
    kept: dict[str, Instances] = {}

    def execute(func_call_list: Sequence[Any], model_name: str, **_: Any) -> tuple[list[str], Instances]:
        if model_name not in kept:
            kept[model_name] = load(entry)
        instances = kept[model_name]
        calls = [one if isinstance(one, Call) else _gold_call(entry, one) for one in func_call_list]
        return [written(run(instances, call)) for call in calls], instances

    checker = _with_globals(_multi_turn_checker(), execute_multi_turn_func_call=execute)
    row = {"id": entry.id, "initial_config": entry.start, "involved_classes": list(entry.classes)}
    found = checker(
        [[list(step) for step in steps] for steps in turns], list(entry.answers), row, entry.category, _MODEL
    )
    return bool(found["valid"])


def _gold_call(entry: Entry, text: str) -> Call:
    return parse_calls(text, "python", entry.order).calls[0]


def single_turn_valid(entry: Entry, calls: Sequence[Call]) -> bool:
    """Whether the calls are those asked for; for the categories of relevance, whether there are any."""
    if entry.category in RELEVANCE:
        return bool(calls) == (entry.category == "live_relevance")
    checker, python = _ast_checker()
    output = [{call.name: dict(call.arguments)} for call in calls]
    try:
        return bool(
            checker(list(entry.documents), output, list(entry.answers), python, entry.category, _MODEL)["valid"]
        )
    except (AttributeError, KeyError, TypeError, ValueError, IndexError):
        # It takes some types for granted that a model may get wrong.
        return False


def _with_globals(function: types.FunctionType, **replaced: Any) -> Callable[..., Any]:
    """The same function with some names of its module replaced, for this one use."""
    return types.FunctionType(
        function.__code__, {**function.__globals__, **replaced}, function.__name__, function.__defaults__
    )


def _multi_turn_checker() -> types.FunctionType:
    module = importlib.import_module(f"{_CHECKERS}.multi_turn_eval.multi_turn_checker")
    found = module.multi_turn_checker
    assert isinstance(found, types.FunctionType)
    return found


class _ModelConfig(types.ModuleType):
    """Stands for the package's table of models: ours keeps the dots of names."""

    MODEL_CONFIG_MAPPING = {_MODEL: types.SimpleNamespace(underscore_to_dot=False)}  # noqa: RUF012 - never changed


_importing = threading.Lock()


@cache
def _ast_checker() -> tuple[Callable[..., Any], Any]:
    table = "bfcl_eval.constants.model_config"
    with _importing:
        before = sys.modules.get(table)
        sys.modules[table] = _ModelConfig(table)
        try:
            module = importlib.import_module(f"{_CHECKERS}.ast_eval.ast_checker")
        finally:
            del sys.modules[table]
            if before is not None:
                sys.modules[table] = before
    enums = importlib.import_module("bfcl_eval.constants.enums")
    checker = module.ast_checker
    return checker, enums.Language.PYTHON
