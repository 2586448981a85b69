"""Playing from anywhere in an earlier episode: how collectors of `rounds` explore.

    player = Player(policy, pool, setting, agent, split="train")
    episodes = player.play([player.again(demonstration, turns=3, sampling_seed=7)])

An episode is taken again by reset with its seed and by its own actions, each checked against what was seen then. It is
found again by seed and split; where that gives another task (episodes that were asked for by the name of their task),
it counts as lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from sparring.agents.hf import HFPolicy
from sparring.correction import correction_metrics
from sparring.envs.pool import EnvPool
from sparring.rollout import Setting, Start, rollout, rollout_async
from sparring.settings import AgentConfig
from sparring.trainers.collect import what_happened
from sparring.trainers.session import entropy
from sparring.types import Stop, Trajectory, Turn


@dataclass(slots=True)
class Player:
    """Plays episodes, and counts what they cost.

    Attributes:
        policy: acts. pool: environments. setting: what the episodes share. agent: how they are prompted.
        split: of the tasks. run_free: let no environment wait for another.
        counts: episodes, turns of the environment (those that were taken again included) and tokens sampled so far.
        lost: episodes that the environment failed in, or that could not be taken again.
    """

    policy: HFPolicy
    pool: EnvPool
    setting: Setting
    agent: AgentConfig
    split: str
    run_free: bool = False
    counts: dict[str, int] = field(default_factory=lambda: {"episodes": 0, "env_turns": 0, "action_tokens": 0})
    lost: int = 0

    def again(self, episode: Trajectory, *, turns: int = 0, sampling_seed: int = 0) -> Start:
        """The start of an episode of the same task and seed, of which the first `turns` turns are taken again."""
        return Start(episode.seed, split=self.split, sampling_seed=sampling_seed, prefix=episode.turns[:turns])

    def play(
        self, starts: Sequence[Start], expected: Sequence[Trajectory] | None = None, policy: HFPolicy | None = None
    ) -> list[Trajectory | None]:
        """Play the starts.

        Args:
            expected: for each start the episode that it takes again, where they do.
            policy: acts in the place of the player's own.
        Returns:
            For each start its episode, or None where that was lost. Turns taken again are those of the prefix.
        """
        acting = policy or self.policy
        spelled = [replace(start, prefix=spell(start.prefix, acting, self.agent)) for start in starts]
        played = (rollout_async if self.run_free else rollout)(acting, self.pool, spelled, self.setting)
        found: list[Trajectory | None] = []
        for index, (start, one) in enumerate(zip(starts, played, strict=True)):
            taken = len(start.prefix)
            self.counts["episodes"] += 1
            self.counts["env_turns"] += len(one.turns)
            self.counts["action_tokens"] += sum(len(turn.action.token_ids) for turn in one.turns[taken:])
            is_lost = one.stop is Stop.ENV_ERROR or (expected is not None and one.task_id != expected[index].task_id)
            self.lost += is_lost
            found.append(None if is_lost else unspell(one, start.prefix))
        return found


def spell(turns: Sequence[Turn], policy: HFPolicy, agent: AgentConfig) -> tuple[Turn, ...]:
    """The turns with the tokens of their actions as training will spell them.

    The policy must be shown a scripted action in the very tokens that it will be trained behind.
    """
    grammar = policy.grammar if agent.constrained else None
    return tuple(
        replace(
            turn,
            action=replace(
                turn.action, token_ids=policy.chat.encode_action(turn.action, turn.observation.actions, grammar)
            ),
        )
        for turn in turns
    )


def unspell(episode: Trajectory, prefix: Sequence[Turn]) -> Trajectory:
    """The episode with the actions of its prefix as they were recorded: a script's have no tokens of their own."""
    again = [replace(now, action=was.action) for now, was in zip(episode.turns, prefix, strict=False)]
    return replace(episode, turns=(*again, *episode.turns[len(again) :]))


def sampling_seeds(seed: int, round: int, purpose: str, count: int) -> list[int]:
    """Entropy for the samples of `count` episodes of a round."""
    rng = np.random.default_rng(entropy(seed, round, purpose))
    return [int(one) for one in rng.integers(2**31, size=count)]


def drawn(
    episodes: Sequence[Trajectory], count: int, *, seed: int, round: int, purpose: str = "drawn"
) -> list[Trajectory]:
    """`count` of the episodes for a round, in order, so that few come again in the rounds after; 0 for all."""
    if not count or count >= len(episodes):
        return list(episodes)
    places = range((round - 1) * count, round * count)
    passes = {
        number: np.random.default_rng(entropy(seed, number, purpose)).permutation(len(episodes))
        for number in {place // len(episodes) for place in places}
    }
    return [
        episodes[index] for index in sorted({int(passes[at // len(episodes)][at % len(episodes)]) for at in places})
    ]


def distinct(episodes: Iterable[Trajectory]) -> list[Trajectory]:
    """The episodes without those in which an earlier one's agent saw and said the same."""
    found: dict[tuple[str, ...], Trajectory] = {}
    for one in episodes:
        found.setdefault(what_happened(one), one)
    return list(found.values())


def summary(episodes: Sequence[Trajectory]) -> dict[str, float]:
    """What metrics say about episodes from an initial state."""
    count = len(episodes) or float("nan")
    return {
        "return_mean": sum(one.total_reward for one in episodes) / count,
        "score": sum(one.score for one in episodes) / count,
        "success": sum(one.success for one in episodes) / count,
        "turns_mean": sum(len(one.turns) for one in episodes) / count,
        **correction_metrics(episodes),
    }
