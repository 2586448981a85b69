"""Iterated imitation: explore with what was learned so far, keep what shows how it is done, and learn again.

    python -m sparring.trainers.iterated --model runs/first --run runs/rft --method rft --groups 256 --steps 4
    python -m sparring.trainers.iterated --model runs/first --run runs/eef --method eef --demos.agent expert:0.5
    python -m sparring.trainers.iterated --model runs/first --run runs/eto --method eto \\
        --data runs/first/trajectories --optim.lr 1e-5
    python -m sparring.trainers.iterated --model runs/first --run runs/ipr --method ipr --tau 0.1 --optim.lr 1e-5
    python -m sparring.trainers.iterated --model runs/first --run runs/refine --method rft --mask-errors
    python -m sparring.trainers.iterated --run runs/eef --resume

A step is a round: play, and take up to `--learning.updates` optimiser steps.

| `--method` | explored | learned from | begins a round from |
|---|---|---|---|
| `rft` | tasks of the split | demonstrated successes, and all found so far | the start |
| `eef` | the same, and failed demonstrations from their middle | the same, as `expert_failures` keeps | the start |
| `eto` | the tasks of demonstrations | the better of expert's and agent's episode (DPO) | the round before |
| `ipr` | the same, from every turn of the expert's | the same, suffixes, imitation of winners | the round before |

Rejection fine-tuning (RFT): arXiv:2308.01825. Exploring Expert Failures (EEF): arXiv:2504.13145. Exploration-based
trajectory optimisation (ETO): arXiv:2403.02502. Iterative step-level process refinement (IPR): arXiv:2406.11176.
Erroneous turns shown and not learned from (`--mask-errors`): AgentRefine, arXiv:2501.01702.

Departures:
1. The start (`--model`) is a model that has imitated already; a round that begins anew begins from it, and not from the
   one that knew nothing.
2. Two successes are the same if the agent saw and said the same. Each is learned from once, demonstrations included.
3. `expert_failures` lists those of EEF.
4. IPR: steps are rated only where expert and agent acted differently and the agent ended worse, which alone can make a
   pair; expert's steps anew each round. The three losses are means over tokens (imitation) and pairs.
5. AgentRefine: the episodes are the agent's own and the demonstrator's, in which the environment finds the errors. In
   the paper a larger model writes worlds, errors and refinements alike.
6. Dropout is off while training.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from sparring.agents.hf import HFPolicy
from sparring.envs.pool import EnvPool
from sparring.errors import InvalidConfig
from sparring.rollout import Setting
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers.checkpoint import Learner, load_learner, load_reference
from sparring.trainers.collect import group_starts, is_usable, shared_setting, training_split
from sparring.trainers.command import run_command, run_module
from sparring.trainers.demos import DemosConfig, demonstrations
from sparring.trainers.expert_failures import positives, probe_turns
from sparring.trainers.expert_pairs import Fork, expert_pairs, next_actions_differ, step_pairs
from sparring.trainers.exploration import Player, distinct, drawn, sampling_seeds, summary
from sparring.trainers.mask_rules import sound_turns
from sparring.trainers.optim import OptimConfig
from sparring.trainers.rounds import Collector, Flagged, Harvest, LearningConfig, iterate, settled
from sparring.trainers.session import LoopConfig, claim
from sparring.types import Trajectory


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of a run of iterated imitation."""

    run: Path = Path("runs/iterated")
    """The run folder to write."""
    model: str = "tiny"
    """Where to start: tiny, smollm2, a model folder, or a run folder (its newest checkpoint), best one of sft."""
    env: EnvConfig = field(default_factory=EnvConfig)
    agent: AgentConfig = field(default_factory=AgentConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    loop: Annotated[LoopConfig, tyro.conf.OmitArgPrefixes] = field(
        default_factory=lambda: LoopConfig(steps=4, eval_every=1, checkpoint_every=1)
    )
    learning: LearningConfig = field(default_factory=LearningConfig)
    demos: DemosConfig = field(default_factory=lambda: DemosConfig(episodes=500))
    seed: int = 0
    """Of demonstrations, tasks, samples, and the order of learning."""
    resume: bool = False
    """Continue the run in `run` from its last checkpoint, with its own settings where none are given."""

    method: Literal["rft", "eef", "eto", "ipr"] = "rft"
    """What is explored and learned from (see the table above)."""
    data: Path | None = None
    """Demonstrations: a .jsonl.zst file or a folder of them; by default `demos` plays them."""
    split: str | None = None
    """Split to train on, and of the tasks of the demonstrations; by default the environment's training split."""
    min_score: float | None = None
    """What counts as a success is a score of at least this, instead of the environment's own word."""
    mask_errors: bool = False
    """rft, eef, and what they demonstrate: turns that the environment found fault with are context, and not imitated
    (AgentRefine)."""
    groups: int = 128
    """rft, eef: tasks played from their start in a round."""
    group_size: int = 1
    """rft, eef: episodes of each."""
    demos_per_round: int = 64
    """eef, eto, ipr: demonstrations that a round explores from, others in each as long as there are; 0 for all."""
    probes: int = 4
    """eef: states of a failed demonstration that the agent goes on from, its start among them."""
    continuations: int = 5
    """eef, ipr: episodes that go on from a state, to see what it is worth."""
    keep_per_state: int = 1
    """eef: different successes that are kept of each important state in a round."""
    extra_turns: int = 5
    """eto, ipr: a whole episode that fails is cut to the expert's turns and so many more."""
    tau: float = 0.1
    """ipr: by more than this an expert's step must be worth more than the agent's. In the paper .01 (WebShop) to .5."""
    environments: int = 64
    """How many to play in at once."""
    run_free: bool = False
    """Let each environment step in a thread of its own, and wait for no other (`grpo`)."""
    lora_rank: int = 0
    """Train a fresh LoRA adapter of this rank; 0 trains the whole model (or the adapter that it has)."""

    def __post_init__(self) -> None:
        for name, low in (
            ("groups", 1), ("group_size", 1), ("demos_per_round", 0), ("probes", 1), ("continuations", 1),
            ("keep_per_state", 1), ("extra_turns", 0), ("tau", 0), ("environments", 1), ("lora_rank", 0), ("seed", 0),
        ):  # fmt: skip
            if getattr(self, name) < low:
                raise InvalidConfig(f"{name} must be at least {low}, got {getattr(self, name)}")

    @property
    def setting(self) -> Setting:
        """What the episodes share."""
        return shared_setting(self.env, self.agent)

    def succeeded(self, episode: Trajectory) -> bool:
        """Whether an episode counts as a success."""
        return episode.success if self.min_score is None else episode.score >= self.min_score

    def masked(self, flagged: Flagged) -> Flagged:
        """What is left to imitate of an episode, without errors if so asked."""
        if not self.mask_errors:
            return flagged
        sound = sound_turns(flagged.trajectory)
        return replace(flagged, trained=sound if flagged.trained is None else sound & flagged.trained)


def train(config: Config) -> Path:
    """Train as `config` says, and return the run folder.

    Raises:
        InvalidConfig: `run` holds a run already and `resume` was not asked for, the demonstrations hold nothing that
            the method could explore from, or the settings don't fit together.
        InvalidData: `data` holds no trajectories.
        Diverged: a gradient was not finite. MissingExtra: an optional package is missing.
    """
    anew = config.method in ("rft", "eef")
    config = replace(config, learning=settled(config.learning, restart=anew, remember=anew))
    with claim(config.run, "iterated", replace(config, resume=False), resume=config.resume) as run:
        demos = replace(config.demos, split=config.demos.split or config.split)
        demonstrated = demonstrations(demos, run, config.env, config.setting, data=config.data, seed=config.seed)
        learner = load_learner(config.model, config.optim, run, lora_rank=config.lora_rank)
        base = load_reference(learner, run) if config.learning.restart or config.method == "ipr" else None
        iterate(
            "iterated",
            config,
            run,
            learner,
            collector(config, learner, base, [one for one in demonstrated if is_usable(one)]),
            [config.masked(Flagged(one)) for one in distinct(demonstrated) if is_usable(one) and config.succeeded(one)],
            base=base,
            environments=config.environments,
        )
    return config.run


def collector(config: Config, learner: Learner, base: Any | None, demonstrated: Sequence[Trajectory]) -> Collector:
    """The collector of the method.

    Args:
        base: the frozen model that the run began with (ipr). demonstrated: what experts played.
    Raises:
        InvalidConfig: there is nothing to explore from.
    """
    if config.method == "rft":
        return lambda policy, pool, round: explore_starts(config, player_of(config, policy, pool), round)
    if config.method == "eef":
        failed = [one for one in demonstrated if not config.succeeded(one)]
        if not failed:
            raise InvalidConfig(
                f"eef explores failed demonstrations, and none of the {len(demonstrated)} failed: take method rft, a "
                "weaker demonstrator (--demos.agent expert:0.5) or a higher min_score"
            )
        return lambda policy, pool, round: explore_failures(config, player_of(config, policy, pool), round, failed)
    if not demonstrated:
        raise InvalidConfig(f"{config.method} compares the agent with demonstrations, and there are none")
    if config.method == "eto":
        return lambda policy, pool, round: explore_tasks(config, player_of(config, policy, pool), round, demonstrated)
    greedy = learner.policy(config.agent, greedy=True)
    frozen = Learner(base, learner.tokenizer, learner.optimizer).policy(config.agent)

    def explore_steps_by(policy: HFPolicy, pool: EnvPool, round: int, /) -> Harvest:
        greedy.weights_changed()
        return explore_steps(config, player_of(config, policy, pool), round, demonstrated, greedy, frozen)

    return explore_steps_by


def player_of(config: Config, policy: HFPolicy, pool: EnvPool) -> Player:
    """A player of the tasks to train on."""
    split = config.split or training_split(pool)
    return Player(policy, pool, config.setting, config.agent, split, config.run_free)


# The collectors


def explore_starts(config: Config, player: Player, round: int) -> Harvest:
    """RFT: play tasks of the split, and keep the successes."""
    starts = group_starts(config.seed, round, groups=config.groups, size=config.group_size, split=player.split)
    played = present(player.play(starts))
    kept = distinct(one for one in played if is_usable(one) and config.succeeded(one))
    return harvest(player, played, flagged=[config.masked(Flagged(one)) for one in kept])


def explore_failures(config: Config, player: Player, round: int, failed: Sequence[Trajectory]) -> Harvest:
    """EEF: RFT, and probes of failed demonstrations."""
    from_starts = explore_starts(config, player, round)
    chosen = drawn(failed, config.demos_per_round, seed=config.seed, round=round)
    places = [
        (number, state, after)
        for number, one in enumerate(chosen)
        for state, after in enumerate(probe_turns(len(one.turns), config.probes))
        for _ in range(config.continuations)
    ]
    seeds = sampling_seeds(config.seed, round, "probes", len(places))
    starts = [
        player.again(chosen[number], turns=after, sampling_seed=seed)
        for (number, _, after), seed in zip(places, seeds, strict=True)
    ]
    played = player.play(starts, expected=[chosen[number] for number, _, _ in places])
    outcomes: dict[tuple[int, int], list[tuple[Trajectory, bool]]] = defaultdict(list)
    for (number, state, _), one in zip(places, played, strict=True):
        if one is not None and is_usable(one):
            outcomes[number, state].append((one, config.succeeded(one)))
    found: list[Flagged] = []
    for number, one in enumerate(chosen):
        probes = probe_turns(len(one.turns), config.probes)
        found += positives(
            probes, [outcomes[number, state] for state in range(len(probes))], keep_per_state=config.keep_per_state
        )
    return Harvest(
        (*from_starts.flagged, *map(config.masked, found)),
        counts=player.counts,
        metrics={**from_starts.metrics, "lost": float(player.lost), "from_failures": float(len(found))},
    )


def explore_tasks(config: Config, player: Player, round: int, demonstrated: Sequence[Trajectory]) -> Harvest:
    """ETO: play the tasks of demonstrations, and pair the two."""
    experts = drawn(demonstrated, config.demos_per_round, seed=config.seed, round=round)
    seeds = sampling_seeds(config.seed, round, "tasks", len(experts))
    starts = [player.again(one, sampling_seed=seed) for one, seed in zip(experts, seeds, strict=True)]
    explored = player.play(starts, expected=experts)
    both = [(expert, one) for expert, one in zip(experts, explored, strict=True) if one is not None]
    pairs = {"outcome": expert_pairs(both, extra_turns=config.extra_turns)}
    return harvest(player, [one for _, one in both], pairs=pairs)


def explore_steps(
    config: Config,
    player: Player,
    round: int,
    demonstrated: Sequence[Trajectory],
    greedy: HFPolicy,
    frozen: HFPolicy,
) -> Harvest:
    """IPR: go on greedily from every turn of demonstrations, and rate the steps where the two part.

    Args:
        greedy: the policy, which takes the likeliest action. frozen: that which the run began with, which rates.
    """
    experts = drawn(demonstrated, config.demos_per_round, seed=config.seed, round=round)
    places = [(number, turn) for number, one in enumerate(experts) for turn in range(len(one.turns))]
    explored = player.play(
        [player.again(experts[number], turns=turn) for number, turn in places],
        expected=[experts[number] for number, _ in places],
        policy=greedy,
    )
    parted = {
        place: one
        for place, one in zip(places, explored, strict=True)
        if one is not None
        and next_actions_differ(experts[place[0]], one, place[1])
        and one.score < experts[place[0]].score
    }
    sides = [side for (number, turn), one in parted.items() for side in ((experts[number], turn), (one, turn))]
    worth = iter(step_worths(config, player, round, sides, frozen))
    forks = [
        Fork(experts[number], one, turn, expert_step=next(worth), explored_step=next(worth))
        for (number, turn), one in parted.items()
    ]
    whole = [
        (experts[number], one)
        for (number, turn), one in zip(places, explored, strict=True)
        if turn == 0 and one is not None
    ]
    pairs = {
        "outcome": expert_pairs(whole, extra_turns=config.extra_turns),
        "step": step_pairs(forks, config.tau),
    }
    winners = distinct(pair.chosen for some in pairs.values() for pair in some)
    return harvest(player, [one for _, one in whole], flagged=[Flagged(one) for one in winners], pairs=pairs)


def step_worths(
    config: Config, player: Player, round: int, steps: Sequence[tuple[Trajectory, int]], frozen: HFPolicy
) -> list[float]:
    """What the actions of some turns are worth: the mean score of `continuations` episodes that go on after them.

    The last action of an episode is worth what the episode scored, and so is one that can't be gone on from.

    Args:
        steps: episodes, and the turn of each.
    """
    open_steps = [index for index, (one, turn) in enumerate(steps) if turn + 1 < len(one.turns)]
    owners = [index for index in open_steps for _ in range(config.continuations)]
    seeds = sampling_seeds(config.seed, round, "steps", len(owners))
    starts = [
        player.again(steps[index][0], turns=steps[index][1] + 1, sampling_seed=seed)
        for index, seed in zip(owners, seeds, strict=True)
    ]
    scores: dict[int, list[float]] = defaultdict(list)
    played = player.play(starts, expected=[steps[index][0] for index in owners], policy=frozen)
    for index, one in zip(owners, played, strict=True):
        if one is not None:
            scores[index].append(one.score)
    return [
        sum(scores[index]) / len(scores[index]) if scores[index] else one.score for index, (one, _) in enumerate(steps)
    ]


def present(played: Iterable[Trajectory | None]) -> list[Trajectory]:
    """The episodes that were not lost."""
    return [one for one in played if one is not None]


def harvest(
    player: Player,
    from_starts: Sequence[Trajectory],
    *,
    flagged: Sequence[Flagged] = (),
    pairs: Mapping[str, Any] | None = None,
) -> Harvest:
    """What a round brought, with what it cost and how the episodes from initial states went."""
    metrics = {**summary(from_starts), "lost": float(player.lost)}
    return Harvest(tuple(flagged), pairs or {}, player.counts, metrics)


def main(arguments: Sequence[str]) -> None:
    """The command `sparring train iterated`, given its arguments."""
    run_command(Config, "iterated", train, arguments, __doc__)


if __name__ == "__main__":
    run_module(main)
