"""Every error that sparring raises on purpose.

SparringError
├── UnknownName (also LookupError)         an id, task, split, wrapper or agent that does not exist
├── InvalidConfig (also ValueError)        a setting outside what is allowed
├── InvalidData (also ValueError)          a file, row or record that can't be read
├── MissingExtra (also ImportError)        an optional package that is not installed
├── EnvFailed (also RuntimeError)          an environment raised, hung or broke its contract
├── EnvNotSearchable (also RuntimeError)   no exact snapshot, so no search
├── ReplayDiverged (also RuntimeError)     re-applied actions led elsewhere
├── PolicyFailed (also RuntimeError)       an inference engine or server failed
├── ContextFull (also RuntimeError)        a prompt no longer fits the model's context
└── CheckFailed (also AssertionError)      an environment or policy fails a conformance check

Messages say what was wrong, what was expected, and how to mend it.
"""

from __future__ import annotations

import difflib
import importlib
import re
from collections.abc import Iterable
from types import ModuleType


class SparringError(Exception):
    """The root of the tree: `except SparringError` catches all of it."""


class UnknownName(SparringError, LookupError):
    """A name that nothing answers to; the message offers the nearest ones."""


class InvalidConfig(SparringError, ValueError):
    """A setting that is outside what is allowed."""


class InvalidData(SparringError, ValueError):
    """A file, row or record that can't be read as what it should be."""


class MissingExtra(SparringError, ImportError):
    """An optional package is missing; the message names the extra that brings it."""


class EnvFailed(SparringError, RuntimeError):
    """An environment raised, hung, or returned something outside its contract."""


class EnvNotSearchable(SparringError, RuntimeError):
    """The environment can't be saved and restored exactly, so it can't be searched."""


class ReplayDiverged(SparringError, RuntimeError):
    """Re-applied actions led to another observation than the recorded one."""


class PolicyFailed(SparringError, RuntimeError):
    """The engine or server behind a policy failed; unlike a failed environment this stops a rollout."""


class CheckFailed(SparringError, AssertionError):
    """An environment or a policy fails a check of `sparring.testing`."""


class ContextFull(SparringError, RuntimeError):
    """A prompt and its answer no longer fit into the model's context."""


def unknown(kind: str, name: object, known: Iterable[str], hint: str = "") -> UnknownName:
    """Build the error for a `kind` called `name` that is not among `known`, naming the nearest ones."""
    names = sorted(known)
    near = _nearest(str(name), names)
    if near:
        advice = "Did you mean " + " or ".join(f'"{candidate}"' for candidate in near) + "?"
    elif names:
        advice = "Known: " + ", ".join(names[:12]) + (", …" if len(names) > 12 else "") + "."
    else:
        advice = f"No {kind} is known here."
    return UnknownName(" ".join(part for part in (f'no {kind} "{name}".', advice, hint) if part))


def _nearest(name: str, names: list[str]) -> list[str]:
    """Those at most three that a slip of the keyboard could have meant, the nearest first."""
    cores: dict[str, list[str]] = {}
    for candidate in names:
        cores.setdefault(_core(candidate), []).append(candidate)
    near = difflib.get_close_matches(_core(name), cores, n=3, cutoff=0.6)
    return [candidate for core in near for candidate in cores[core]][:3]


def _core(name: str) -> str:
    """An id without namespace and version, which many share, so that they would make any two look near."""
    id = re.fullmatch(r"(?:[\w.-]+/)?([\w.-]+)-v\d+", name)
    return (id[1] if id else name).casefold()


def need(module: str, extra: str) -> ModuleType:
    """Import an optional `module`, or raise `MissingExtra` with the command that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(
            f'the package "{module.partition(".")[0]}" is needed here: pip install "sparring[{extra}]" ({error})'
        ) from error
