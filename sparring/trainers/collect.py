"""Episodes for trainers: groups to learn from, a fixed set to evaluate on, demonstrations to imitate."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sparring import trajectories
from sparring.agents.load import load_agent
from sparring.correction import correction_metrics
from sparring.envs.base import TextEnv
from sparring.envs.pool import EnvPool
from sparring.errors import InvalidConfig, unknown
from sparring.registration import describe, wrapper_module
from sparring.rollout import Setting, Start, rollout, rollout_async
from sparring.runs import RunFolder
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers.session import entropy
from sparring.types import Policy, Stop, Trajectory


@dataclass(frozen=True, slots=True)
class Collection:
    """What came back of a number of episodes that belong together in groups.

    Attributes:
        groups: the episodes that can be learned from; failed ones are left out, so groups may be short.
        failed: how many episodes the environment failed in.
    """

    groups: tuple[tuple[Trajectory, ...], ...]
    failed: int

    @property
    def trajectories(self) -> list[Trajectory]:
        """All episodes, group after group."""
        return [trajectory for group in self.groups for trajectory in group]

    def counts(self) -> dict[str, int]:
        """What a run counts over all its steps."""
        episodes = self.trajectories
        return {
            "episodes": len(episodes),
            "env_turns": sum(len(one.turns) for one in episodes),
            "action_tokens": sum(action_tokens(one) for one in episodes),
        }

    def summary(self) -> dict[str, float]:
        """What metrics say about the episodes: means over them, how attempts went (if any), and how many were lost."""
        episodes = self.trajectories
        count = len(episodes) or math.nan
        return {
            "return_mean": sum(one.total_reward for one in episodes) / count,
            "score": sum(one.score for one in episodes) / count,
            "success": sum(one.success for one in episodes) / count,
            "turns_mean": sum(len(one.turns) for one in episodes) / count,
            "action_tokens_mean": sum(action_tokens(one) for one in episodes) / count,
            "truncated": sum(one.stop in (Stop.TRUNCATED, Stop.MAX_TURNS) for one in episodes) / count,
            "context_full": sum(one.stop is Stop.CONTEXT_FULL for one in episodes) / count,
            "failed": self.failed,
            **correction_metrics(episodes),
        }


def shared_setting(env: EnvConfig, agent: AgentConfig) -> Setting:
    """What the episodes of a trainer share."""
    return Setting(env.full_id, env.wrappers, agent.memory, agent.system, step_timeout_s=env.step_timeout_s)


def past_episodes(run: RunFolder, last_step: int) -> Iterator[Trajectory]:
    """The episodes of a run's steps up to `last_step`, in order, from its files: what a resumed run remembers."""
    for step in range(1, last_step + 1):
        yield from trajectories.read(run.trajectories_path(f"step-{step:06d}"))


def action_tokens(trajectory: Trajectory) -> int:
    """How many tokens the policy sampled in an episode."""
    return sum(len(turn.action.token_ids) for turn in trajectory.turns)


def epoch_indices(seed: int, step: int, *, size: int, count: int) -> list[int]:
    """Which `size` of `count` things a step learns from: each epoch goes through all in an order of its own."""
    first = (step - 1) * size
    places = range(first, first + size)
    orders = {
        epoch: np.random.default_rng(entropy(seed, epoch, "epoch")).permutation(count)
        for epoch in {place // count for place in places}
    }
    return [int(orders[place // count][place % count]) for place in places]


def group_starts(seed: int, step: int, *, groups: int, size: int, split: str, attempt: int = 0) -> list[Start]:
    """The starts of one step: members of a group share task and environment seed, and differ in sampling seed.

    Args:
        attempt: counts the draws within a step, where groups that teach nothing are replaced by others.
    """
    rng = np.random.default_rng([*entropy(seed, step, "starts"), attempt])
    seeds = rng.integers(2**31, size=groups)
    sampling = rng.integers(2**31, size=(groups, size))
    return [
        Start(int(seeds[group]), split=split, sampling_seed=int(sampling[group, member]))
        for group in range(groups)
        for member in range(size)
    ]


def collect_groups(
    policy: Policy, pool: EnvPool, starts: Sequence[Start], setting: Setting, size: int, *, run_free: bool = False
) -> Collection:
    """Play the starts of `group_starts`, and drop and count what the environment failed in.

    Args:
        size: of the groups that the starts come in.
        run_free: let no environment wait for another (`rollout_async`), for environments slower than the model.
    """
    played = (rollout_async if run_free else rollout)(policy, pool, starts, setting)
    groups = tuple(
        tuple(one for one in played[first : first + size] if one.stop is not Stop.ENV_ERROR)
        for first in range(0, len(played), size)
    )
    return Collection(groups, failed=len(played) - sum(len(group) for group in groups))


def evaluation_split(pool: EnvPool, wanted: str | None) -> str:
    """The split to evaluate on while training: `wanted`, or `dev` where there is one, or the first.

    Never `test` unless asked for by name: what steers a training run is no test any more.

    Raises:
        UnknownName: the environment has no split `wanted`.
    """
    splits = _splits(pool)
    if wanted is None:
        return "dev" if "dev" in splits else splits[0]
    if wanted not in splits:
        raise unknown("split", wanted, splits)
    return wanted


def training_split(pool: EnvPool) -> str:
    """The environment's training split: its first."""
    return _splits(pool)[0]


def _splits(pool: EnvPool) -> tuple[str, ...]:
    core = pool.envs[0].unwrapped
    if not isinstance(core, TextEnv):
        raise InvalidConfig(f"{type(core).__name__} is no sparring TextEnv, so it names no splits to train on")
    return core.splits


def evaluation_starts(pool: EnvPool, split: str, episodes: int, seed: int = 0) -> list[Start]:
    """The same starts at every call: different tasks of the split as far as there are enough, in random order."""
    core = pool.envs[0].unwrapped
    assert isinstance(core, TextEnv)
    tasks = core.task_ids(split)
    if not tasks:
        raise InvalidConfig(f'the split "{split}" of {type(core).__name__} has no tasks to evaluate on')
    rng = np.random.default_rng(entropy(seed, 0, "evaluate"))
    order = rng.permutation(len(tasks))
    return [
        Start(seed=index, task=tasks[int(order[index % len(order)])], split=split, sampling_seed=index)
        for index in range(episodes)
    ]


def special_tokens(env: EnvConfig) -> tuple[str, ...]:
    """Texts for which a small model's tokenizer should have a token each, as the environment and wrappers name them.

    The module of an environment, or the one under which a wrapper is registered, offers them by `special_tokens()`.
    """
    own = importlib.import_module(describe(env.id).cls.__module__)
    modules = dict.fromkeys((own, *(wrapper_module(name) for name in env.wrappers)))
    found = [text for module in modules for text in getattr(module, "special_tokens", tuple)()]
    return tuple(dict.fromkeys(found))


def demonstrate(
    env: EnvConfig,
    spec: str,
    setting: Setting,
    *,
    episodes: int,
    split: str | None,
    seed: int,
    pool_size: int = 32,
    on_finish: Callable[[Trajectory], None] | None = None,
) -> list[Trajectory]:
    """Let an agent play, and return the episodes that the environment did not fail in.

    Args:
        spec: the agent, as `sparring.agents.load.load_agent` reads it, such as `expert:0.3`.
        setting: what the learner will be shown; the agent's own wrappers go beneath those of `env`.
        split: None for the training split.
    Raises:
        UnknownName: no such agent.
    """
    agent = load_agent(spec, wrappers=env.wrappers, memory=setting.memory, system=setting.system)
    with EnvPool(replace(env, wrappers=agent.wrappers).maker(), pool_size) as pool:
        starts = group_starts(seed, 0, groups=episodes, size=1, split=split or training_split(pool))
        played = rollout(agent.policy, pool, starts, replace(setting, wrappers=agent.wrappers), on_finish=on_finish)
    return [one for one in played if one.stop is not Stop.ENV_ERROR]


def is_usable(trajectory: Trajectory) -> bool:
    """Whether a model can learn from an episode: it has turns, the environment held, and so did the context."""
    return bool(trajectory.turns) and trajectory.stop not in (Stop.CONTEXT_FULL, Stop.ENV_ERROR)


def what_happened(episode: Trajectory) -> tuple[str, ...]:
    """All that was seen and said: equal for episodes of which one teaches nothing that the other does not."""
    turns = (text for turn in episode.turns for text in (turn.observation.text, turn.action.text))
    return (episode.instruction, *turns)
