from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

import sparring
from sparring.envs.base import restore, snapshot
from sparring.envs.text.gymnasium_text import GymnasiumText
from sparring.errors import EnvNotSearchable, InvalidConfig, ReplayDiverged
from sparring.testing import check_env
from sparring.types import SnapshotKind


class Uncopied(gymnasium.Env[int, int]):
    """Counts to three; can't be copied. Under `fickle` it does not repeat itself."""

    observation_space = spaces.Discrete(100)
    action_space = spaces.Discrete(2, start=1)

    def __init__(self, fickle: bool = False) -> None:
        self.count, self.fickle, self.resets = 0, fickle, 0

    def __deepcopy__(self, memo: dict[int, Any]) -> Uncopied:
        raise TypeError("a handle to something outside")

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        super().reset(seed=seed)
        self.resets += 1
        self.count = self.resets if self.fickle else 0
        return self.count, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        self.count += action
        return self.count, 0.25, self.count >= 30, False, {"count": self.count}


class HalfCopied(Uncopied):
    """Its deep copies share what changes."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = [0]

    def __deepcopy__(self, memo: dict[int, Any]) -> HalfCopied:
        twin = HalfCopied()
        twin.shared = self.shared
        return twin

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        self.shared[0] = 0
        return 0, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        self.shared[0] += action
        return self.shared[0], 0.0, False, False, {}


def cart_pole() -> GymnasiumText:
    return GymnasiumText("CartPole-v1", ("left", "right"), score=lambda total: total / 500)


def test_the_example_of_the_docstring() -> None:
    sparring.register(
        "test/CartPole-v1",
        "sparring.envs.text.gymnasium_text:GymnasiumText",
        env="CartPole-v1",
        action_names=("left", "right"),
        instruction="keep the pole upright\nactions: left, right",
        score=lambda total: total / 500,
    )
    try:
        env = sparring.make("test/CartPole-v1")
        text, info = env.reset(seed=0, options={"task": "dev/3"})
        assert info["instruction"].startswith("keep the pole upright")
        # Seeds pass through: the task is the seed of the inner environment.
        observation, _ = gymnasium.make("CartPole-v1").reset(seed=1_000_003)
        assert text == " ".join(f"{number:.3g}" for number in observation.tolist())
        steps, over = 0, False
        while not over:
            _, _, terminated, truncated, info = env.step("right")
            steps, over = steps + 1, terminated or truncated
        assert info["score"] == steps / 500  # 1 a step, of at most 500
        assert info["success"] is False
    finally:
        from sparring import registration

        del registration._ours["test/CartPole-v1"], gymnasium.registry["test/CartPole-v1"]


@pytest.mark.parametrize(
    "make",
    [
        cart_pole,
        lambda: GymnasiumText("Taxi-v4", no_op_reward=-1.0, score=lambda total: max(0.0, total) / 20, turn_limit=60),
        lambda: GymnasiumText(Uncopied, score=lambda total: min(1.0, total / 10)),
    ],
    ids=["CartPole", "Taxi", "replayed"],
)
def test_it_keeps_the_contract(make: Any) -> None:
    check_env(make)


def test_the_probe_finds_what_is_exact() -> None:
    assert cart_pole().snapshot_kind is SnapshotKind.COPY
    assert GymnasiumText("Blackjack-v1").snapshot_kind is SnapshotKind.COPY  # whose episodes may last one step
    assert GymnasiumText(Uncopied).snapshot_kind is SnapshotKind.REPLAY
    assert GymnasiumText(HalfCopied).snapshot_kind is SnapshotKind.REPLAY
    fickle = GymnasiumText(lambda: Uncopied(fickle=True))
    assert (fickle.snapshot_kind, fickle.deterministic) == (None, False)
    assert cart_pole().deterministic
    fickle.reset(seed=0)
    with pytest.raises(EnvNotSearchable, match="neither when copied nor"):
        fickle.snapshot()


def test_a_replay_that_leads_elsewhere_is_noticed() -> None:
    env = GymnasiumText(lambda: Uncopied(fickle=True), snapshots=SnapshotKind.REPLAY)
    env.reset(seed=0)
    env.step("1")
    saved = snapshot(env)
    with pytest.raises(ReplayDiverged, match="'1' in turn 1"):
        restore(env, saved)


def test_no_ops_take_turns_and_the_last_turn_truncates_with_a_score() -> None:
    env = GymnasiumText(Uncopied, ("one", "two"), turn_limit=3, no_op_reward=-0.5)
    first, _ = env.reset(seed=0)
    text, reward, _, truncated, info = env.step("1")
    assert (text, reward, truncated) == (first, -0.5, False)
    assert info["no_op"] == "'1' is none of: one, two"
    text, reward, _, truncated, info = env.step("two")  # the space starts at 1
    assert (text, reward, truncated, info["inner"]) == ("2", 0.25, False, {"count": 2})
    _, _, terminated, truncated, info = env.step("one")
    assert (terminated, truncated, info["score"], info["success"]) == (False, True, 0.0, False)  # clipped from 0


def test_every_kind_of_space_has_a_text() -> None:
    class Shown(Uncopied):
        observation_space = spaces.Dict(  # type: ignore[assignment]
            {
                "hand": spaces.Tuple((spaces.Discrete(5), spaces.MultiBinary(3))),
                "grid": spaces.Box(-9, 9, (2, 2), np.float32),
                "levels": spaces.MultiDiscrete([4, 4]),
                "note": spaces.Text(9),
            }
        )

    described = GymnasiumText(Shown, snapshots=None).describe(
        {
            "hand": (3, np.array([1, 0, 1], np.int8)),
            "grid": np.array([[1.23456, -0.0], [100, 2e-5]], np.float32),
            "levels": np.array([3, 0]),
            "note": "go",
        }
    )
    assert described.splitlines() == [
        "grid:", "1.23 0", "100 2e-05", "hand:", "0: 3", "1: 1 0 1", "levels: 3 0", "note: go"
    ]  # fmt: skip  # Gymnasium sorts the keys of a Dict


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InvalidConfig, match="actions must be Discrete"):
        GymnasiumText("Pendulum-v1")
    with pytest.raises(InvalidConfig, match="2 distinct names"):
        GymnasiumText("CartPole-v1", ("left", "left"))
    with pytest.raises(InvalidConfig, match="2 distinct names"):
        GymnasiumText("CartPole-v1", ("left", "right", "jump"))

    class Seen(Uncopied):
        observation_space = spaces.Box(0, 255, (64, 64, 3), np.uint8)  # type: ignore[assignment]

    with pytest.raises(InvalidConfig, match="describe="):
        GymnasiumText(Seen)
    env = GymnasiumText(Uncopied, score=lambda total: 7.0, turn_limit=1)
    env.reset(seed=0)
    with pytest.raises(InvalidConfig, match="got 7"):
        env.step("1")
