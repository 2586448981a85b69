"""The error tree, and messages that say what to do."""

from __future__ import annotations

import pickle

import pytest

from sparring import errors
from sparring.errors import MissingExtra, SparringError, UnknownName, need, unknown

KINDS = [
    (errors.UnknownName, LookupError),
    (errors.InvalidConfig, ValueError),
    (errors.InvalidData, ValueError),
    (errors.MissingExtra, ImportError),
    (errors.EnvFailed, RuntimeError),
    (errors.EnvNotSearchable, RuntimeError),
    (errors.ReplayDiverged, RuntimeError),
    (errors.PolicyFailed, RuntimeError),
    (errors.ContextFull, RuntimeError),
    (errors.CheckFailed, AssertionError),
]


@pytest.mark.parametrize(("ours", "standard"), KINDS)
def test_each_error_is_ours_and_a_standard_one_and_travels(ours: type[Exception], standard: type[Exception]) -> None:
    assert issubclass(ours, SparringError) and issubclass(ours, standard)
    back = pickle.loads(pickle.dumps(ours("what was wrong")))  # noqa: S301 - our own bytes
    assert type(back) is ours and str(back) == "what was wrong"
    assert errors.__doc__ is not None and f"{ours.__name__} (also {standard.__name__})" in errors.__doc__


def test_the_drawn_tree_is_complete() -> None:
    defined = {value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, SparringError)}
    assert defined == {ours for ours, _ in KINDS} | {SparringError}


def test_an_unknown_name_gets_the_nearest_or_what_there_is() -> None:
    assert str(unknown("split", "tset", ["train", "test"])) == 'no split "tset". Did you mean "test"?'
    assert str(unknown("split", "zzz", ["b", "a"])) == 'no split "zzz". Known: a, b.'
    assert str(unknown("split", "zzz", map(str, range(20)))).endswith("18, 19, ….")
    assert str(unknown("expert", "Maze", (), "It has none.")) == (
        'no expert "Maze". No expert is known here. It has none.'
    )
    ids = ["sparring/WebShop-v1", "sparring/Gem-v1", "acme/Maze-v1"]
    assert 'Did you mean "sparring/WebShop-v1"?' in str(unknown("environment", "webshop", ids))
    # What all ids share makes none of them near.
    assert "Did you mean" not in str(unknown("environment", "sparring/Nope-v1", ids))
    assert "Did you mean" not in str(unknown("command", "nonsense", ["envs", "bench"]))
    assert isinstance(unknown("task", 7, ["one"]), UnknownName)


def test_a_missing_package_names_its_extra() -> None:
    assert need("json", "train").__name__ == "json"
    with pytest.raises(MissingExtra, match=r'"nowhere_at_all" is needed here: pip install "sparring\[train\]"'):
        need("nowhere_at_all", "train")
