"""Trajectory files come back as they were written, and broken ones say where."""

from __future__ import annotations

from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from sparring.errors import InvalidData
from sparring.trajectories import from_json, read, to_json, write
from sparring.types import Action, ActionSet, Form, Observation, Stop, Trajectory, Turn

texts = st.text(max_size=12)
forms = st.builds(Form, texts, texts, st.none() | st.tuples(texts, texts))
action_sets = st.none() | st.builds(
    ActionSet, st.lists(texts, max_size=3).map(tuple), st.lists(forms, max_size=2).map(tuple)
)
observations = st.builds(Observation, texts, action_sets)
reals = st.floats(-10, 10)
actions = st.builds(
    Action,
    texts,
    st.lists(st.integers(0, 99), max_size=3).map(tuple),
    st.lists(reals, max_size=3).map(tuple),
    st.booleans(),
)
infos = st.dictionaries(texts, st.booleans() | st.integers(-5, 5) | reals | texts, max_size=3)
turns = st.builds(Turn, observations, actions, reals, st.booleans(), st.booleans(), infos)
trajectories = st.builds(
    Trajectory,
    env_id=texts,
    task_id=texts,
    seed=st.integers(0, 2**40),
    instruction=texts,
    turns=st.lists(turns, max_size=3).map(tuple),
    stop=st.sampled_from(Stop),
    final=st.none() | observations,
    wrappers=st.lists(texts, max_size=2).map(tuple),
    error=st.none() | texts,
    info=infos,
)


@given(trajectories)
def test_json_round_trip(trajectory: Trajectory) -> None:
    line = to_json(trajectory)
    assert "\n" not in line
    assert from_json(line) == trajectory


def make(task: str) -> Trajectory:
    observation = Observation("where?", ActionSet(("left",), (Form("say[", "]"),)))
    return Trajectory(
        "env", task, 1, "go", (Turn(observation, Action("left", (4, 2), (-0.1, -0.2)), 1.0),), Stop.TERMINATED
    )


def test_files_and_folders_of_files(tmp_path: Path) -> None:
    write(tmp_path / "t" / "b.jsonl.zst", [make("2"), make("3")])
    assert write(tmp_path / "t" / "a.jsonl.zst", [make("1")]) == 1
    assert list(read(tmp_path / "t")) == [make("1"), make("2"), make("3")]
    assert list(read(tmp_path / "t" / "a.jsonl.zst")) == [make("1")]


def test_errors_say_where(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="no trajectories at"):
        list(read(tmp_path / "nothing"))
    path = tmp_path / "x.jsonl.zst"
    path.write_bytes(zstandard.compress((to_json(make("1")) + '\n{"env_id": 3}\n').encode()))
    with pytest.raises(InvalidData, match=r"x\.jsonl\.zst, line 2: .*task_id"):
        list(read(path))
    path.write_bytes(b"plain text")
    with pytest.raises(InvalidData, match="no Zstandard file"):
        list(read(path))
