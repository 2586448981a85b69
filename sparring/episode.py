"""What an episode is: how it begins, where it stands after each turn, and when it is over.

`episode` is a generator that performs no I/O. It yields effects (`Reset`, `Act`, `Step`), is sent their results, and
returns a `Trajectory`; `sparring.rollout` drives it. A search, which goes on from one place in several ways, builds on
the same `Moment`.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from typing import Any

from sparring.agents.prompts import build, history_length
from sparring.envs.base import EnvType, Info
from sparring.errors import EnvFailed
from sparring.types import Action, ActionSet, Image, Observation, Prompt, Stop, Trajectory, Turn


@dataclass(frozen=True, slots=True)
class Start:
    """How an episode begins.

    Attributes:
        seed: given to the environment's reset. task: a task id, or None to draw one from `split`.
        sampling_seed: entropy of the policy's samples; members of a group differ only in it.
        prefix: turns of an earlier episode of this task and seed, taken again before the policy is asked. Each must be
            met by the observation that it was taken on, or the episode ends with an error.
    """

    seed: int
    task: str | None = None
    split: str | None = None
    sampling_seed: int = 0
    prefix: tuple[Turn, ...] = ()

    @property
    def options(self) -> dict[str, Any]:
        """What the environment's reset is given beside the seed."""
        return {name: value for name, value in (("task", self.task), ("split", self.split)) if value is not None}


@dataclass(frozen=True, slots=True)
class Setting:
    """What the episodes of one collection share.

    Attributes:
        env_id, wrappers: recorded in each trajectory.
        memory: the memory style of the prompts (`sparring.agents.prompts`). system: a system message.
        max_turns: the collector's own budget; None leaves the end to the environment.
        step_timeout_s: an environment that takes longer over one reset or step is abandoned (its thread can't be
            killed), replaced, and its episode ends with an error. None waits for ever.
    """

    env_id: str
    wrappers: tuple[str, ...] = ()
    memory: str = "full_history"
    system: str | None = None
    max_turns: int | None = None
    step_timeout_s: float | None = None

    def __post_init__(self) -> None:
        history_length(self.memory)
        if self.max_turns is not None and self.max_turns < 1:
            raise ValueError(f"max_turns must be at least 1, got {self.max_turns}")


@dataclass(frozen=True, slots=True)
class Reset:
    """Effect: reset the environment. Its result is `(text, info)`."""

    seed: int
    options: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Act:
    """Effect: ask the policy. Its result is an `Action`."""

    prompt: Prompt


@dataclass(frozen=True, slots=True)
class Step:
    """Effect: step the environment. Its result is Gymnasium's five-tuple."""

    action: str


Effect = Reset | Act | Step
Episode = Generator[Effect, Any, Trajectory]


@dataclass(frozen=True, slots=True)
class Moment:
    """Where an episode stands: all of it but the environment's own state.

    Attributes:
        start, setting: as the episode was begun.
        instruction, task, cluster: what the environment said at reset.
        turns: the turns so far. observation: what the policy sees now; None before a reset that worked.
        stop: why the episode is over, None while it goes on. error: what failed.
    """

    start: Start
    setting: Setting
    instruction: str = ""
    task: str = ""
    cluster: str = ""
    turns: tuple[Turn, ...] = ()
    observation: Observation | None = None
    stop: Stop | None = None
    error: str | None = None
    info: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def begin(cls, start: Start, setting: Setting, text: str, info: Info) -> Moment:
        """The moment after a reset.

        Raises:
            EnvFailed: what the environment returned is no observation.
        """
        return cls(
            start,
            setting,
            instruction=str(info.get("instruction", "")),
            task=str(info.get("task", start.task or "")),
            cluster=str(info.get("cluster", "")),
            observation=_observation(text, info),
        )

    def prompt(self, key: str = "") -> Prompt:
        """What the policy is asked now. `key` is unique among the episodes in flight."""
        assert self.observation is not None
        return Prompt(
            build(
                self.turns,
                self.observation,
                memory=self.setting.memory,
                instruction=self.instruction,
                system=self.setting.system,
            ),
            self.observation,
            self.instruction,
            key,
            len(self.turns),
            (self.start.seed, self.start.sampling_seed, len(self.turns)),
        )

    def after(self, action: Action, result: tuple[str, float, bool, bool, Info]) -> Moment:
        """The moment after an action, given what the environment's step returned.

        Raises:
            EnvFailed: it returned no observation, or a reward that is no finite number.
        """
        assert self.observation is not None
        text, reward, terminated, truncated, info = result
        following = _observation(text, info)
        if not math.isfinite(reward):
            raise EnvFailed(f"a reward must be a finite number, got {reward!r}")
        scalars = _scalars(info)
        turn = Turn(self.observation, action, float(reward), bool(terminated), bool(truncated), scalars)
        turns = (*self.turns, turn)
        stop = None
        if terminated or truncated:
            stop = Stop.TERMINATED if terminated else Stop.TRUNCATED
        elif self.setting.max_turns is not None and len(turns) >= self.setting.max_turns:
            stop = Stop.MAX_TURNS
        return replace(self, turns=turns, observation=following, stop=stop, info=scalars)

    def failed(self, error: EnvFailed) -> Moment:
        """The moment at which the environment failed."""
        return replace(self, stop=Stop.ENV_ERROR, error=str(error))

    def trajectory(self, policy_version: int = 0, *, stop: Stop = Stop.MAX_TURNS) -> Trajectory:
        """The episode up to here. `stop` says why it ended where it was not over."""
        return Trajectory(
            env_id=self.setting.env_id,
            task_id=self.task or self.start.task or "",
            seed=self.start.seed,
            instruction=self.instruction,
            turns=self.turns,
            stop=self.stop or stop,
            final=self.observation,
            wrappers=self.setting.wrappers,
            memory=self.setting.memory,
            sampling_seed=self.start.sampling_seed,
            policy_version=policy_version,
            error=self.error,
            info=self.info,
            cluster=self.cluster,
        )


def _observation(text: str, info: Info) -> Observation:
    actions, expert, image = info.get("actions"), info.get("expert"), info.get("image")
    if not isinstance(text, str):
        raise EnvFailed(f"an observation must be a string, got {type(text).__name__}")
    if actions is not None and not isinstance(actions, ActionSet):
        raise EnvFailed(f'info["actions"] must be an ActionSet, got {type(actions).__name__}')
    if image is not None and not isinstance(image, Image):
        raise EnvFailed(f'info["image"] must be an Image, got {type(image).__name__}')
    return Observation(text, actions, expert, image)


def _scalars(info: Info) -> dict[str, Any]:
    return {key: value for key, value in info.items() if isinstance(value, (str, int, float, bool)) and key != "expert"}


def episode(start: Start, setting: Setting, *, key: str = "", policy_version: int = 0) -> Episode:
    """Play one episode.

    Yields effects and is sent their results; an `EnvFailed` thrown in ends the episode with that error.
    Returns the trajectory, in which every turn that the environment completed is kept.
    """
    moment = Moment(start, setting)
    try:
        text, info = yield Reset(start.seed, start.options)
        moment = Moment.begin(start, setting, text, info)
        while moment.stop is None:
            if len(moment.turns) < len(start.prefix):
                action = replayed(moment, start.prefix)
            else:
                action = yield Act(moment.prompt(key))
            if action.stop == "context":
                return moment.trajectory(policy_version, stop=Stop.CONTEXT_FULL)
            moment = moment.after(action, (yield Step(action.text)))
    except EnvFailed as failure:
        moment = moment.failed(failure)
    return moment.trajectory(policy_version)


def replayed(moment: Moment, prefix: tuple[Turn, ...]) -> Action:
    """The action that `prefix` holds for this moment.

    Raises:
        EnvFailed: it was taken on another observation.
    """
    number = len(moment.turns)
    assert moment.observation is not None
    was, now = prefix[number].observation.text, moment.observation.text
    if was != now:
        raise EnvFailed(
            f'the replay diverged at turn {number} of task "{moment.task}" (seed {moment.start.seed}): recorded '
            f"{was!r}, now {now!r}. The environment, its options or its wrappers are not those of the recording"
        )
    return prefix[number].action


def perform(env: EnvType, effect: Reset | Step) -> Any:
    """Carry out an environment effect; whatever goes wrong in there becomes `EnvFailed`."""
    try:
        if isinstance(effect, Reset):
            text, info = env.reset(seed=effect.seed, options=dict(effect.options))
            return text, dict(info)
        text, reward, terminated, truncated, info = env.step(effect.action)
        return text, float(reward), terminated, truncated, dict(info)
    except Exception as error:
        verb = "reset" if isinstance(effect, Reset) else f"step({effect.action!r})"
        raise EnvFailed(f"{type(error).__name__} in {verb}: {error}") from error
