"""Each check is passed by a good environment and failed by one with just its defect."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest

import sparring
from sparring.agents.scripted import ExpertPolicy, RandomPolicy
from sparring.envs.base import Info, TextWrapper
from sparring.errors import CheckFailed, InvalidConfig, UnknownName
from sparring.testing import Check, check_env, check_policy, report
from sparring.testing.environment import CHECKS, run_check
from sparring.testing.subject import Seen, Subject, difference, require_equal
from sparring.types import Action, ActionSet, Observation, Prompt
from tests.worlds import WORDS, Copy


def outcome(make: Any, check: str, max_turns: int = 50) -> Check:
    """The outcome of one check, alone."""
    return run_check(check, dict(CHECKS)[check], Subject(make, 0, max_turns))


def test_a_good_environment_passes_everything() -> None:
    assert report(Copy) == [Check(name, "passed") for name, _ in CHECKS]
    check_env(Copy)


def test_a_registered_id_and_a_wrapped_environment_pass() -> None:
    sparring.register("tests/Copy-v1", "tests.worlds:Copy", max_turns=10, words=3)
    check_env("tests/Copy-v1")

    class Shout(TextWrapper):
        def action(self, text: str) -> str:
            return text.lower()

        def view(self, text: str, info: Info) -> tuple[str, Info]:
            loud = ActionSet(tuple(word.upper() for word in info["actions"].choices))
            return text.upper(), {**info, "actions": loud}

    check_env(lambda: Shout(sparring.make("tests/Copy-v1")))


class Unknown(gymnasium.Env[str, str]):
    """No `TextEnv`, and no actions listed: only what applies is checked."""

    observation_space = action_space = Copy.observation_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        super().reset(seed=seed)
        self.left = 3
        return "go", {"instruction": "Say anything.", "task": "only"}

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        self.left -= 1
        return (
            f"{self.left} left",
            0.0,
            self.left <= 0,
            False,
            {"score": 0.0, "success": False} if not self.left else {},
        )


def test_a_plain_gymnasium_environment_is_checked_where_it_can_be() -> None:
    outcomes = {one.check: one.outcome for one in report(Unknown)}
    skipped = {"snapshots", "snapshots travel", "splits and tasks", "expert", "admissible actions"}
    assert {check for check, found in outcomes.items() if found == "skipped"} == skipped
    assert "failed" not in outcomes.values()


# One defect each


class WarnsGymnasium(Copy):
    """`terminated` is a number, which Gymnasium warns of and nobody sees."""

    def step(self, action: str) -> tuple[str, float, Any, bool, Info]:
        text, reward, terminated, truncated, info = super().step(action)
        return text, reward, int(terminated), truncated, info


class Crashes(Copy):
    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        if self.at == 1:
            raise ZeroDivisionError("somewhere inside")
        return super().step(action)


class Clockwork(Copy):
    """Depends on how many environments were made before."""

    made = 0

    def __init__(self) -> None:
        super().__init__()
        type(self).made += 1
        self.number = self.made

    def observe(self) -> tuple[str, Info]:
        text, info = super().observe()
        return f"{text} {self.number}", info


class Remembers(Copy):
    """The second episode differs from the first."""

    episodes = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        self.episodes += 1
        text, info = super().reset(seed=seed, options=options)
        return f"{text} ({self.episodes})", info


class ForgetsState(Copy):
    """`right` changes during an episode and is not saved."""

    state: ClassVar[tuple[str, ...]] = ("secret", "at")

    def observe(self) -> tuple[str, Info]:
        text, info = super().observe()
        return f"{text} {self.right}", info

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        self.right += 1
        return super().step(action)


class ForgetsGenerator(Copy):
    def restore(self, snapshot: sparring.Snapshot) -> tuple[str, Info]:
        generator = self._np_random
        result = super().restore(snapshot)
        self._np_random = generator
        return result


class NoState(Copy):
    state: ClassVar[tuple[str, ...]] = ()


class HiddenPart(Copy):
    """What a restored fresh environment needs was set in reset, outside of `state`."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        self.prefix = f"{seed}:"
        return super().reset(seed=seed, options=options)

    def observe(self) -> tuple[str, Info]:
        text, info = super().observe()
        return f"{self.prefix}{text}", info


class OnTheClass(Copy):
    """Keeps its position on the class, so that environments share it."""

    position = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        OnTheClass.position = 0
        return super().reset(seed=seed, options=options)

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        OnTheClass.position += 1
        text, *rest = super().step(action)
        return f"{text} {OnTheClass.position}", *rest


class SeedsGlobally(Copy):
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        random.seed(seed)
        return super().reset(seed=seed, options=options)


class ReadsGlobally(Copy):
    """Leaves the global generator as it was, but its episodes depend on it."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        text, info = super().reset(seed=seed, options=options)
        return f"{text} {random.getstate()[1][1]}", info


class ResetsItself(Copy):
    """As in gem's default: the last observation is thrown away for the next episode's first."""

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        text, reward, terminated, truncated, info = super().step(action)
        if terminated:
            text, _ = self.reset(seed=0)
        return text, reward, terminated, truncated, info


class EndsWithResetInfo(Copy):
    def observe(self) -> tuple[str, Info]:
        text, info = super().observe()
        del info["instruction"]
        return text, info

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        text, info = super().reset(seed=seed, options=options)
        return text, {**info, "instruction": "Say the word."}

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        text, reward, terminated, truncated, info = super().step(action)
        return text, reward, terminated, truncated, {**info, "instruction": "Say the word."} if terminated else info


class Edited(Copy):
    """Changes info on its way out; the subclasses say how."""

    def edit(self, info: Info) -> None:
        raise NotImplementedError

    def observe(self) -> tuple[str, Info]:
        text, info = super().observe()
        self.edit(info)
        return text, info


class NoInstruction(Edited):
    def edit(self, info: Info) -> None:
        info["instruction"] = " "


class NoTask(Copy):
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        text, info = super().reset(seed=seed, options=options)
        del info["task"]
        return text, info


class ActionsAreAList(Edited):
    def edit(self, info: Info) -> None:
        info["actions"] = list(WORDS)


class SaysTwice(Edited):
    def edit(self, info: Info) -> None:
        info["actions"] = ActionSet((*WORDS, WORDS[0]))


class AdmitsNothing(Edited):
    def edit(self, info: Info) -> None:
        info["actions"] = ActionSet()


class GivesAway(Edited):
    def edit(self, info: Info) -> None:
        info["expert"] = WORDS[0]


class ScoreOfTwo(Edited):
    def edit(self, info: Info) -> None:
        if "score" in info:
            info["score"] = 2.0


class SuccessIsANumber(Edited):
    def edit(self, info: Info) -> None:
        if "success" in info:
            info["success"] = np.bool_(info["success"])


class ListsADeadAction(Edited):
    def edit(self, info: Info) -> None:
        info["actions"] = ActionSet(("wait",))


class RaisesOnNonsense(Copy):
    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        action.encode()
        return super().step(action)


class SilentOnNonsense(Copy):
    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        text, reward, terminated, truncated, info = super().step(action)
        info.pop("no_op", None)
        return text, reward, terminated, truncated, info


class MovesOnNonsense(Copy):
    """Reports a no-op and yet offers other actions afterwards."""

    def observe(self) -> tuple[str, Info]:
        text, info = super().observe()
        return text, {**info, "actions": ActionSet(WORDS[self.at % 4 :])}

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        return super().step(action)


class EmptySplit(Copy):
    def task_ids(self, split: str) -> Sequence[str]:
        return [] if split == "test" else super().task_ids(split)


class SharedSplits(Copy):
    def task_ids(self, split: str) -> Sequence[str]:
        return ["one", "two"]


class TwiceInASplit(Copy):
    def task_ids(self, split: str) -> Sequence[str]:
        return [*super().task_ids(split), f"{split}-0"]


class IgnoresTheTask(Copy):
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        return super().reset(seed=seed)


class TakesAnyTask(Copy):
    def choose_task(self, options: dict[str, Any] | None) -> str:
        return str((options or {}).get("task") or super().choose_task(options))


class RaisesKeyError(Copy):
    def choose_task(self, options: dict[str, Any] | None) -> str:
        try:
            return super().choose_task(options)
        except UnknownName as error:
            raise KeyError("task") from error


class ExpertSaysNonsense(Copy):
    def expert_action(self) -> str:
        return "abracadabra"


class ExpertMoves(Copy):
    def expert_action(self) -> str:
        word = super().expert_action()
        self.at = min(self.at + 1, self.words - 1)
        return word


class LeaksThreads(Copy):
    stop: ClassVar[threading.Event] = threading.Event()

    def __init__(self) -> None:
        super().__init__()
        threading.Thread(target=self.stop.wait, daemon=True).start()


class LeaksFiles(Copy):
    held: ClassVar[list[Any]] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        self.held.append(Path(__file__).open())  # noqa: SIM115 - leaking it is the point
        return super().reset(seed=seed, options=options)


class LeaksHistory(Copy):
    """As in TextArena: the text of past games is kept across reset."""

    def __init__(self) -> None:
        super().__init__()
        self.history: list[str] = []

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        self.history.append(f"turn {len(self.history)}: the agent said {action}" * 4)
        return super().step(action)


@pytest.mark.parametrize(
    ("broken", "check", "says"),
    [
        (WarnsGymnasium, "gymnasium check_env", "`terminated` signal to be a boolean"),
        (Crashes, "smoke run", "ZeroDivisionError in step"),
        (Clockwork, "determinism", "a fresh environment: at reset observation"),
        (Remembers, "determinism", "the same environment: at reset observation"),
        (ForgetsState, "snapshots", "`state`"),
        (ForgetsGenerator, "snapshots", "random generator belongs to the state"),
        (NoState, "snapshots", "declare snapshot_kind = None"),
        (HiddenPart, "snapshots travel", "restored into a fresh environment"),
        (OnTheClass, "isolation", "another environment of its kind played in between: after step 1"),
        (SeedsGlobally, "global generators", "moved the global generator of random"),
        (ReadsGlobally, "global generators", "two states of the global generators"),
        (ResetsItself, "final observation", "the first observation of an episode"),
        (EndsWithResetInfo, "final observation", "the info of a reset"),
        (NoInstruction, "info conventions", 'info["instruction"]'),
        (NoTask, "info conventions", 'info["task"], the id of the task, got None'),
        (ActionsAreAList, "info conventions", "must be a sparring.ActionSet, got ['red'"),
        (SaysTwice, "info conventions", "'red' is listed twice"),
        (AdmitsNothing, "info conventions", "no action is admitted"),
        (GivesAway, "info conventions", "gives the solution away"),
        (ScoreOfTwo, "info conventions", "a number in [0, 1], got 2.0"),
        (SuccessIsANumber, "info conventions", 'info["success"], a bool'),
        (ListsADeadAction, "admissible actions", "'wait' was listed as admissible"),
        (RaisesOnNonsense, "nonsense actions", "raised UnicodeEncodeError"),
        (SilentOnNonsense, "nonsense actions", 'info["no_op"] is not set'),
        (MovesOnNonsense, "nonsense actions", "the admissible actions changed"),
        (EmptySplit, "splits and tasks", 'the split "test" has no tasks'),
        (SharedSplits, "splits and tasks", "share 2 tasks, such as 'one'"),
        (TwiceInASplit, "splits and tasks", "names a task twice"),
        (IgnoresTheTask, "splits and tasks", "played info"),
        (TakesAnyTask, "splits and tasks", "was accepted"),
        (RaisesKeyError, "splits and tasks", "raised KeyError"),
        (ExpertSaysNonsense, "expert", "'abracadabra' in turn 0"),
        (ExpertMoves, "expert", "changed the state"),
        (LeaksThreads, "leaks", "the number of threads"),
        (LeaksFiles, "leaks", "the number of open files"),
        (LeaksHistory, "leaks", "bytes more each time"),
    ],
)
def test_each_defect_is_found_and_named(broken: type[Copy], check: str, says: str) -> None:
    LeaksThreads.stop.clear()
    try:
        found = outcome(broken, check)
    finally:
        LeaksThreads.stop.set()
        for file in LeaksFiles.held:
            file.close()
        LeaksFiles.held.clear()
    assert found.outcome == "failed"
    assert says in found.message


def test_check_env_lists_all_that_failed() -> None:
    with pytest.raises(CheckFailed, match=r"(?s)of 14 checks failed:.*- info conventions: .*listed twice") as caught:
        check_env(SaysTwice)
    assert isinstance(caught.value, AssertionError)


def test_what_is_declared_is_skipped() -> None:
    class Dice(Clockwork):
        deterministic: ClassVar[bool] = False

    class Forgetful(NoState):
        snapshot_kind = None

    assert outcome(Dice, "determinism") == Check("determinism", "skipped", "Dice declares deterministic = False")
    assert outcome(Forgetful, "snapshots").outcome == "skipped"
    assert outcome(lambda: Copy(words=9), "final observation", max_turns=3).outcome == "skipped"


def test_an_environment_itself_and_an_unknown_id_are_refused() -> None:
    with pytest.raises(InvalidConfig, match="such as lambda: Copy"):
        report(Copy())  # type: ignore[arg-type]
    with pytest.raises(UnknownName):
        report("tests/Nowhere-v1")


def test_the_global_generators_are_left_alone() -> None:
    random.seed(5)
    expected = random.random()
    random.seed(5)
    report(Copy)
    assert random.random() == expected


def test_a_difference_in_long_texts_is_shown_where_it_is() -> None:
    first, second = (Seen("a" * 500 + end, 0.0, False, False, {}) for end in ("end", "End"))
    found = difference(first, second)
    assert found is not None
    assert "from character 470" in found and "end" in found and "End" in found
    with pytest.raises(CheckFailed, match="the play: 1 steps against 0"):
        require_equal([first, second], [first], "the play", "Mend it.")


# Policies

PROMPTS = [
    Prompt((), Observation("red", ActionSet(WORDS), expert="red"), "Say the word.", f"episode-{n}", 0, (n,))
    for n in range(4)
]


class Stub:
    """Answers with what it is given."""

    version: Any = 0

    def __init__(self, *answers: Any) -> None:
        self.answers = answers

    def act(self, prompts: Sequence[Prompt]) -> list[Action]:
        return [*self.answers] * len(prompts)


class Moody(Stub):
    calls = 0

    def act(self, prompts: Sequence[Prompt]) -> list[Action]:
        self.calls += 1
        return [Action(f"call {self.calls}") for _ in prompts]


class Versionless(Stub):
    version: Any = "first"


def test_scripted_policies_keep_the_contract() -> None:
    check_policy(RandomPolicy(), PROMPTS)
    check_policy(ExpertPolicy(0.3), PROMPTS)


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        (Stub(Action("red"), Action("red")), "was given 4 prompts and returned 8"),
        (Stub("red"), "must return sparring.Action"),
        (Stub(Action("red", (1, 2), (-0.1,))), "2 token ids and 1 log-probabilities"),
        (Stub(Action("red", (1,), (0.5,))), "log-probability 0.5"),
        (Stub(Action("purple", (1,), (-1.0,), constrained=True)), "does not admit"),
        (Moody(), "to the same prompt with the same seed"),
        (Versionless(Action("red")), "version must be an int"),
    ],
)
def test_a_policy_that_breaks_the_contract_is_told_how(policy: Any, says: str) -> None:
    with pytest.raises(CheckFailed, match=says):
        check_policy(policy, PROMPTS)
