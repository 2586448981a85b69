"""What PPO makes of a critic's values: advantages against hand calculations, whatever the layout of an episode.

The critic of these tests is a table: the value before a token depends on that token alone. A word costs two tokens,
itself and the end of the turn, so that two turns ("red", "blue") have the values (.2, .3) and (.5, .3).
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from sparring.agents.hf import HFPolicy
from sparring.errors import InvalidConfig
from sparring.runs import RunFolder
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers import ppo
from sparring.trainers.checkpoint import load_learner
from sparring.trainers.critic import CriticLearner
from sparring.trainers.optim import OptimConfig, build_optimizer
from sparring.trainers.policy_update import ObjectiveConfig
from sparring.types import Stop, Trajectory
from tests.trainers.hand_made import episode

AFTERWARDS = 0.7


class Table(nn.Module):
    """The value before a token, read off the token; `AFTERWARDS` at the end of a prompt that nothing follows."""

    def __init__(self, values_V: Tensor) -> None:
        super().__init__()
        self.values_V = nn.Parameter(values_V)

    def forward(self, tokens_BT: Tensor, reads_BT: Tensor) -> Tensor:
        next_BT = tokens_BT.roll(-1, dims=1)
        return self.values_V[next_BT[reads_BT]]


@pytest.fixture
def config(tmp_path: Path, copy_model: Path, copy_env: EnvConfig) -> ppo.Config:
    return ppo.Config(
        run=tmp_path / "run",
        model=str(copy_model),
        env=copy_env,
        agent=AgentConfig(constrained=False),
        gamma=0.9,
        lam=0.5,
        whiten=False,
        critic_epochs=0,
    )


@pytest.fixture
def policy(config: ppo.Config) -> HFPolicy:
    return load_learner(config.model, OptimConfig(), RunFolder(config.run)).policy(config.agent)


@pytest.fixture
def critic(policy: HFPolicy) -> Table:
    values_V = torch.linspace(0, 1, 300)
    words = {word: policy.vocabulary.encode(word) for word in ("red", "blue")}
    for word, value in (("red", 0.2), ("blue", 0.5)):
        (token,) = words[word]
        values_V[token] = value
    values_V[policy.chat.end_id] = 0.3
    values_V[0] = AFTERWARDS  # what stands behind the last prompt of an episode that was cut short
    assert 0 not in (*words["red"], *words["blue"], policy.chat.end_id)
    return Table(values_V)


def two_turns(memory: str = "full_history", stop: Stop = Stop.TERMINATED) -> Trajectory:
    return episode([0, 1], ["a", "b"], said=["red", "blue"], memory=memory, stop=stop)


def held(critic: Table) -> CriticLearner[Table]:
    """The table as a critic that has learned already, so that it is not moved to the mean return."""
    return CriticLearner(critic, build_optimizer(critic, OptimConfig()), OptimConfig(), steps=1)


def advantages(config: ppo.Config, policy: HFPolicy, critic: Table, one: Trajectory) -> list[float]:
    (scored,) = ppo.score_episodes(config, policy, held(critic), [one])  # type: ignore[arg-type]
    assert scored.values_n.tolist() == pytest.approx([0.2, 0.3, 0.5, 0.3])
    assert (scored.returns_n - scored.values_n).tolist() == pytest.approx(scored.advantages_n.tolist(), abs=1e-6)
    spread = scored.spread(scored.advantages_n)
    assert [len(part) for part in spread] == [len(sample.sampled_n) for sample in scored.samples]
    return [float(value) for part in spread for value in part]


# With gamma .9 and lambda .5: the differences are .9 x .3 - .2 = .07, .9 x .5 - .3 = .15 (over the observation),
# .9 x .3 - .5 = -.23 and 1 - .3 = .7; each advantage is its difference and .45 of the advantage after it.
ENDED = [0.07 + 0.45 * 0.18825, 0.15 + 0.45 * 0.085, -0.23 + 0.45 * 0.7, 0.7]
# Cut short, .9 x .7 follows the reward: the last difference is 1 + .63 - .3 = 1.33.
CUT = [0.07 + 0.45 * 0.315825, 0.15 + 0.45 * 0.3685, -0.23 + 0.45 * 1.33, 1.33]
LAYOUTS = ["full_history", "last_observation", "window(2)"]


@pytest.mark.parametrize("memory", LAYOUTS)
def test_advantages_by_hand(config: ppo.Config, policy: HFPolicy, critic: Table, memory: str) -> None:
    assert advantages(config, policy, critic, two_turns(memory)) == pytest.approx(ENDED, abs=1e-6)
    for stop in (Stop.TRUNCATED, Stop.MAX_TURNS):
        cut = two_turns(memory, stop)
        assert advantages(config, policy, critic, cut) == pytest.approx(CUT, abs=1e-6)
        unvalued = replace(config, bootstrap=False)
        assert advantages(unvalued, policy, critic, cut) == pytest.approx(ENDED, abs=1e-6)


@pytest.mark.parametrize("memory", LAYOUTS)
def test_credit_over_turns_by_hand(config: ppo.Config, policy: HFPolicy, critic: Table, memory: str) -> None:
    """With gamma .95 and lambda 1 the turns, valued .2 and .5, have .95 - .2 = .75 and 1 - .5 = .5.

    Within a turn the return stays: .95 less .2 and .3, and 1 less .5 and .3. Cut short, .95 x .7 = .665 is added to
    the last return, and .95 of that to the first.
    """
    turns = replace(config, credit="turn", gamma=0.95, lam=1.0)
    found = advantages(turns, policy, critic, two_turns(memory))
    assert found == pytest.approx([0.75, 0.65, 0.5, 0.7], abs=1e-6)
    cut = advantages(turns, policy, critic, two_turns(memory, Stop.TRUNCATED))
    more = 0.95 * AFTERWARDS
    assert cut == pytest.approx([0.75 + 0.95 * more, 0.65 + 0.95 * more, 0.5 + more, 0.7 + more], abs=1e-6)


@pytest.mark.parametrize("memory", LAYOUTS)
def test_tokens_cost(config: ppo.Config, policy: HFPolicy, critic: Table, memory: str) -> None:
    """At 0.1 a token, four tokens and a last reward of 1, .6, .7, .8 and .9 are still to come."""
    costly = replace(config, token_cost=0.1, gamma=1.0, lam=1.0)
    found = advantages(costly, policy, critic, two_turns(memory))
    assert found == pytest.approx([0.4, 0.4, 0.3, 0.6], abs=1e-6)
    (scored,) = ppo.score_episodes(costly, policy, held(critic), [two_turns(memory)])  # type: ignore[arg-type]
    learner = held(critic)
    row = ppo.fit_critic(costly, learner, [scored], 1, 0.0)  # type: ignore[arg-type]
    # The returns have variance .0125; what the values leave of them, (.4, .4, .3, .6), has .011875.
    assert row["explained_variance"] == pytest.approx(1 - 0.011875 / 0.0125, abs=1e-4)
    assert row["value_mean"] == pytest.approx(1.3 / 4)
    assert math.isnan(ppo.fit_critic(costly, learner, [], 1, 0.0)["explained_variance"])  # type: ignore[arg-type]


def test_whitened_over_all_tokens_of_a_step(config: ppo.Config, policy: HFPolicy, critic: Table) -> None:
    episodes = [two_turns(), two_turns(stop=Stop.TRUNCATED)]
    scored = ppo.score_episodes(replace(config, whiten=True), policy, held(critic), episodes)  # type: ignore[arg-type]
    plain = np.array([*ENDED, *CUT])
    found = np.concatenate([one.advantages_n for one in scored])
    assert found == pytest.approx((plain - plain.mean()) / plain.std(ddof=1), abs=1e-5)
    # What the critic learns from is left as it is.
    assert scored[0].returns_n == pytest.approx(np.add(ENDED, [0.2, 0.3, 0.5, 0.3]), abs=1e-6)


def test_what_overran_the_context_is_left_out(config: ppo.Config, policy: HFPolicy, critic: Table) -> None:
    episodes = [two_turns(stop=Stop.CONTEXT_FULL), two_turns()]
    assert len(ppo.score_episodes(config, policy, held(critic), episodes)) == 1  # type: ignore[arg-type]
    assert ppo.score_episodes(config, policy, held(critic), episodes[:1]) == []  # type: ignore[arg-type]


WORDS = st.sampled_from(["red", "blue", "red blue", "blue blue red"])


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0, -1.0]), WORDS), min_size=1, max_size=4),
    st.sampled_from([Stop.TERMINATED, Stop.TRUNCATED]),
    st.sampled_from(["token", "turn"]),
    st.integers(1, 5),  # more would not fit the context of 128, and what doesn't fit is not valued
)
def test_neither_layout_nor_longer_observations_change_an_advantage(
    config: ppo.Config, policy: HFPolicy, critic: Table, turns: Any, stop: Stop, credit: Any, longer: int
) -> None:
    config = replace(config, credit=credit)
    found = []
    for memory in LAYOUTS:
        for tail in ("", " gold" * longer):
            one = episode(
                [reward for reward, _ in turns],
                [f"a{tail}"] * len(turns),
                said=[word for _, word in turns],
                memory=memory,
                stop=stop,
            )
            (scored,) = ppo.score_episodes(config, policy, held(critic), [one])  # type: ignore[arg-type]
            found.append(scored.advantages_n)
    for other in found[1:]:
        assert np.array_equal(other, found[0])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"gamma": 1.1}, "gamma"),
        ({"critic_minibatches": 0}, "critic_minibatches must be at least 1"),
        ({"episodes": 3, "objective": ObjectiveConfig(minibatches=4)}, "can't exceed episodes"),
    ],
)
def test_settings_that_make_no_sense(change: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidConfig, match=says):
        ppo.Config(**change)
