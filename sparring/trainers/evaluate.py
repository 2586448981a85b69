"""Evaluation while training: the same held-out episodes again and again, played greedily and sampled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType

from sparring.correction import correction_metrics
from sparring.envs.pool import EnvPool
from sparring.rollout import Setting, Start, rollout
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers.checkpoint import Learner
from sparring.trainers.collect import evaluation_split, evaluation_starts
from sparring.trainers.session import LoopConfig, Session
from sparring.types import Policy, Stop

MAX_ENVIRONMENTS = 64


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Means over episodes.

    Attributes:
        score, success: means. episodes: how many were played to an end. failed: how many the environment lost.
        correction: how attempts went, where the environment counts attempts (`sparring.correction`); else empty.
    """

    score: float
    success: float
    episodes: int
    failed: int
    correction: Mapping[str, float] = field(default_factory=dict)


def evaluate(policy: Policy, pool: EnvPool, starts: Sequence[Start], setting: Setting) -> Evaluation:
    """Play the starts and take the means; episodes that the environment failed in are left out and counted."""
    whole = [one for one in rollout(policy, pool, starts, setting) if one.stop is not Stop.ENV_ERROR]
    count = max(len(whole), 1)
    return Evaluation(
        score=sum(one.score for one in whole) / count,
        success=sum(one.success for one in whole) / count,
        episodes=len(whole),
        failed=len(starts) - len(whole),
        correction=correction_metrics(whole),
    )


class Evaluator:
    """Plays `loop.eval_episodes` fixed episodes of the evaluation split whenever asked.

    Args:
        learner: its weights as they are at each call. env, agent, setting: how its episodes are played.
    Raises:
        UnknownName: the environment has no such split.
    """

    def __init__(
        self, learner: Learner, env: EnvConfig, agent: AgentConfig, setting: Setting, loop: LoopConfig
    ) -> None:
        self._setting = setting
        self._pool = EnvPool(env.maker(), min(loop.eval_episodes, MAX_ENVIRONMENTS))
        split = evaluation_split(self._pool, loop.eval_split)
        self._starts = evaluation_starts(self._pool, split, loop.eval_episodes)
        self._policies = {
            "greedy": learner.policy(agent, greedy=True),
            "sampled": learner.policy(agent),
        }

    def row(self, session: Session) -> dict[str, float]:
        """Evaluate now: metrics named `eval_greedy_score` and so on. Its time does not count as training."""
        row: dict[str, float] = {}
        with session.timed("eval", counted=False):
            for name, policy in self._policies.items():
                session.show(f"evaluating, {name}")
                policy.weights_changed()
                found = evaluate(policy, self._pool, self._starts, self._setting)
                row[f"eval_{name}_score"] = found.score
                row[f"eval_{name}_success"] = found.success
                row |= {f"eval_{name}_{key}": value for key, value in found.correction.items()}
                if found.failed:
                    row[f"eval_{name}_failed"] = found.failed
        shown = ", ".join(f"{name.removeprefix('eval_').replace('_', ' ')} {value:.3f}" for name, value in row.items())
        session.say(f"step {session.step}, {session.seconds:.0f} s: {shown}")
        return row

    def __enter__(self) -> Evaluator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.close()
