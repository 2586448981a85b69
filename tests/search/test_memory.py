"""Reflections are found again by what they are about, and policies are reminded of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparring.envs.pool import EnvPool
from sparring.episode import Setting, Start
from sparring.errors import InvalidData
from sparring.rollout import rollout
from sparring.search.asking import Judge, Question
from sparring.search.memory import Memory, Reminded, read, unit, write
from sparring.search.reflection import Reflection, key_of
from sparring.types import Action, Message, Observation, Prompt
from tests.search.judges import RuleJudge, moment_at, said
from tests.search.worlds import SETTING, TreeWorld


def reflection(key: str, task: str = "train-1", text: str = "beware") -> Reflection:
    return Reflection("policy", key, f"{text} of {key}", task, "train", 0.75)


class Vectors:
    """Embeds texts that name a row of a table."""

    def __init__(self, table: np.ndarray) -> None:
        self.table = table.astype(np.float32)
        self.calls = 0

    def __call__(self, texts):
        self.calls += 1
        return self.table[[int(text) for text in texts]]


@given(
    seed=st.integers(0, 1000),
    count=st.integers(0, 4),
    least=st.floats(-1, 1),
    excluded=st.sets(st.integers(0, 2)),
)
def test_the_nearest_are_those_of_brute_force(seed, count, least, excluded):
    rng = np.random.default_rng(seed)
    table = rng.integers(-2, 3, (14, 3))  # whole numbers, so that some are equally near, and some are zeros
    memory = Memory(Vectors(table), [reflection(str(row), task=f"t{row % 3}") for row in range(10)])
    exclude = {f"t{number}" for number in excluded}
    found = memory.nearest([str(row) for row in range(10, 14)], count=count, least=least, exclude=exclude)
    for query, some in zip(table[10:], found, strict=True):
        alike = []
        for row, key in enumerate(table[:10]):
            lengths = np.linalg.norm(query) * np.linalg.norm(key)
            cosine = float(np.float32(query @ key / lengths)) if lengths else 0.0
            if abs(cosine - least) < 1e-6:
                return  # too near the limit for two ways of rounding
            if cosine >= least and f"t{row % 3}" not in exclude:
                alike.append((-round(cosine, 5), row))
        by_brute_force = [row for _, row in sorted(alike)[:count]]
        assert sorted(alike_of(table, query, some)) == sorted(alike_of(table, query, [str(r) for r in by_brute_force]))
        assert all(one.task not in exclude for one in some)


def alike_of(table, query, some) -> list[float]:
    """How like the query some rows are: of equally near ones it is all the same which are found."""
    rows = [int(one if isinstance(one, str) else one.key) for one in some]
    units = unit(np.stack([query, *table[rows]]).astype(np.float32))
    return [round(float(one @ units[0]), 4) for one in units[1:]]


def test_of_equally_near_ones_the_older_are_found_nearest_first():
    table = np.array([[1, 0], [0, 1], [1, 1], [1, 0], [2, 0]])
    memory = Memory(Vectors(table), [reflection(str(row)) for row in range(4)])
    assert [[one.key for one in some] for some in memory.nearest(["4"], count=3)] == [["0", "3", "2"]]


def test_the_threshold_is_a_quarter_and_includes_it():
    table = np.array([[1, 0], [0.25, 0.9682458], [0.24, 0.9707729]])
    memory = Memory(Vectors(table), [reflection("0")])
    found = memory.nearest(["1", "2"], least=float(unit(table)[1, 0]))
    assert [len(some) for some in found] == [1, 0]


def test_a_memory_grows_and_embeds_each_key_once():
    vectors = Vectors(np.eye(4))
    memory = Memory(vectors)
    assert memory.nearest(["0"]) == [[]] and vectors.calls == 0 and len(memory) == 0
    memory.add([reflection("0")])
    memory.add([reflection("1"), reflection("2")])
    memory.add([])
    assert vectors.calls == 2 and len(memory) == 3
    found = memory.nearest(["2", "0", "2", "3"])
    assert vectors.calls == 3
    assert [[one.key for one in some] for some in found] == [["2"], ["0"], ["2"], []]


def test_a_memory_of_excluded_tasks_alone_is_empty():
    memory = Memory(Vectors(np.eye(2)), [reflection("0", task="test-1")])
    assert memory.nearest(["0"], exclude=["test-1"]) == [[]]
    assert len(memory.nearest(["0"], exclude=["test-2"])[0]) == 1


def test_reflections_are_kept_in_files(tmp_path: Path):
    found = [
        Reflection("policy", "task\nplace", "be quick — now", "train-1", "train", 0.5625),
        Reflection("value", "", "", "t"),
    ]
    path = tmp_path / "reflections" / "step-000001.jsonl.zst"
    assert write(path, found) == 2
    assert read(path) == found == read(path.parent)
    assert list(path.parent.iterdir()) == [path]
    with pytest.raises(InvalidData, match="no reflections at"):
        read(tmp_path / "elsewhere.jsonl.zst")


def test_a_line_that_is_no_reflection_is_named(tmp_path: Path):
    from sparring import trajectories

    path = tmp_path / "broken.jsonl.zst"
    trajectories.write_lines(path, ['{"about": "policy", "key": "k", "text": "t", "task": "a"}', '{"about": "all"}'])
    with pytest.raises(InvalidData, match="line 2"):
        read(path)


# Reminding

MEMORY = Memory(
    lambda texts: np.array([[1.0, "cave" in text] for text in texts], dtype=np.float32),
    [reflection(key_of("find gold", "a cave")), reflection(key_of("find gold", "a hill"), task="test-9")],
)


def prompt_of(seen: str, *, system: str | None = None) -> Prompt:
    messages = [Message("system", system)] if system else []
    return Prompt((*messages, Message("user", f"find gold\n{seen}")), Observation(seen), "find gold", "e", 3, (1, 2))


def test_lessons_go_behind_the_system_message_or_before_the_rest():
    policy = RuleJudge(lambda prompt: "dig")
    Reminded(policy, MEMORY, count=1).act([prompt_of("a cave"), prompt_of("a hill", system="Be brief.")])
    without, with_system = policy.prompts
    assert [message.role for message in without.messages] == ["user"]
    assert without.messages[0].content.endswith("\n\nfind gold\na cave")
    assert "- beware of find gold\na cave\n" in without.messages[0].content
    assert with_system.messages[0].content.startswith("Be brief.\n\nWhat was learned")
    assert with_system.messages[1] == prompt_of("a hill").messages[0]
    for before, after in zip(
        [prompt_of("a cave"), prompt_of("a hill", system="Be brief.")], policy.prompts, strict=True
    ):
        assert replace(after, messages=before.messages) == before


def test_a_policy_is_not_reminded_of_tasks_that_are_tested_on():
    policy = RuleJudge(lambda prompt: "dig")
    Reminded(policy, MEMORY, exclude=["test-9"]).act([prompt_of("a hill")])
    assert "a cave" in said(policy.prompts[0]) and "beware of find gold\na hill" not in said(policy.prompts[0])
    Reminded(policy, MEMORY, exclude=["test-9", "train-1"]).act([prompt_of("a hill")])
    assert policy.prompts[1] == prompt_of("a hill")


def test_a_reminded_policy_is_one_to_everybody_else():
    class Keeping(RuleJudge):
        version = 7
        forgotten: tuple[str, ...] = ()

        def forget(self, episode):
            self.forgotten += (episode,)

    policy = Keeping(lambda prompt: "dig")
    reminded = Reminded(policy, MEMORY)
    reminded.forget("e")
    assert reminded.version == 7 and policy.forgotten == ("e",)
    Reminded(RuleJudge(lambda prompt: "dig"), MEMORY).forget("e")
    assert reminded.act([prompt_of("a cave")]) == [Action("dig")]


def test_a_judge_is_reminded_of_places_like_the_one_that_it_judges():
    def embed(texts):
        return np.array([[text.endswith("at left"), text.endswith("at right")] for text in texts], dtype=np.float32)

    memory = Memory(embed, [reflection(key_of("", "at left")), reflection(key_of("", "at right"))])
    policy = RuleJudge(lambda prompt: "yes")
    Judge(Reminded(policy, memory)).ask([Question(moment_at(TreeWorld(), "right"), "Done?", ("yes",))])
    assert "beware of \nat right" in said(policy.prompts[0]) and "at left" not in said(policy.prompts[0])


def test_a_lesson_changes_what_is_played():
    """The policy goes left until it is told otherwise."""
    policy = RuleJudge(lambda prompt: "right" if "go right" in said(prompt) else "left")

    def embed(texts):
        return np.array([[1.0, 0.0] if text.endswith("at left") else [0.0, 1.0] for text in texts], dtype=np.float32)

    memory = Memory(embed, [Reflection("policy", key_of("", "at left"), "go right", "only")])
    with EnvPool(TreeWorld, 1) as pool:
        [plain] = rollout(policy, pool, [Start(0)], SETTING)
        [told] = rollout(Reminded(policy, memory), pool, [Start(0)], Setting("TreeWorld", memory="last_observation"))
    assert [turn.action.text for turn in plain.turns] == ["left", "left", "left"]
    assert [turn.action.text for turn in told.turns] == ["left", "right", "left"]
