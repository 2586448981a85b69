"""ArCHer: a critic that learns over turns from replayed experience, and a policy that learns tokens under it.

    python -m sparring.trainers.archer --model runs/first --run runs/archer --steps 300
    python -m sparring.trainers.archer --model runs/first --run runs/baseline --token-baseline
    python -m sparring.trainers.archer --run runs/archer --resume

Actor-Critic with a Hierarchical Structure (arXiv:2402.19446). The high level acts in whole utterances: twin Q and V,
with slowly following targets, are regressed on transitions of any age,

    Q_i(h, a) -> r + gamma (1 - terminated) V'_i(h'),     V_i(h) -> mean over fresh a ~ policy of Q'_i(h, a),

so that V is the value of the *current* policy and no importance weights are needed. The low level acts in tokens: in
replayed states the policy says something fresh, and all its tokens are made likelier by min_i Q_i(h, a) - min_i V_i(h).

Departures from the released code (read at 7c771a7; its defects are those that the project's notes list) and the paper:
1. Gradients are averaged over a batch, never summed over its parts, so that a learning rate means what it says.
2. Log-probabilities are log-softmax, over the admissible tokens where decoding is constrained, and an utterance keeps
   its end-of-turn token: when to stop is learned.
3. Sequences are padded on the right only; nothing stands between a state and an utterance.
4. A limit on turns is no end: the critic bootstraps through it, unless `--no-bootstrap`.
5. Policy, critic and token baseline have optimisers, learning rates and clips of their own.
6. The critic's encoder begins as a copy of the policy's decoder and reads state and utterance in one pass, so that an
   utterance is understood in its state; `--encoder FOLDER` takes any encoder, which reads the two apart (the paper's).
7. Fresh utterances of the critic's regression are drawn once a step, before its first update: the policy stands still
   meanwhile. `--fresh-actions` of them are averaged in each state.
8. `--advantage-scale running` divides advantages by the largest spread seen so far: unlike a division by the batch's
   own (`batch`), it never blows up the noise of a policy that has nothing left to learn.
9. `--baseline fresh` compares an utterance with the mean Q of its siblings in the same state in place of V, which
   cancels the critic's error about the state.
10. `--foresight` adds a loss to the critic: to foresee what the environment answers. From a few hundred turns a small
    critic learns little about utterances by returns alone, and the policy follows its errors.
11. `--on-policy` adds the turns just played, credited by generalised advantages with V: noisy, but right where Q is
    not.
12. The policy's optimiser never forgets its largest gradients (`--optim.amsgrad`). Adam does, and once a policy had
    converged, it blew up what noise was left until one odd episode threw the policy far.
ArCHer as published is `--on-policy 0 --foresight 0 --baseline value --advantage-scale none --fresh-actions 1
--optim.no-amsgrad`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import tyro
from torch import Tensor

from sparring import trajectories
from sparring.agents.hf import HFPolicy
from sparring.agents.models.critic import TokenCritic, UtteranceCritic, build_utterance_critic, trunk_of
from sparring.envs.pool import EnvPool
from sparring.errors import InvalidConfig
from sparring.rollout import Setting
from sparring.runs import RunFolder
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers.batch import Floats, Sample, micro_batches, pad
from sparring.trainers.checkpoint import Learner, load_learner
from sparring.trainers.collect import collect_groups, group_starts, past_episodes, shared_setting, training_split
from sparring.trainers.command import run_command, run_module
from sparring.trainers.critic import CriticLearner, load_critic, utterance_values
from sparring.trainers.evaluate import Evaluator
from sparring.trainers.optim import OptimConfig
from sparring.trainers.policy_update import Lesson, ObjectiveConfig, update_policy
from sparring.trainers.replay import Replay, Transition, as_sample, draw, ids_of, transitions_of
from sparring.trainers.session import LoopConfig, Session, claim, cpu_threads, entropy
from sparring.trainers.turn_critic import TurnCriticConfig, begin, critic_fit, fit_critic, turn_advantages
from sparring.types import Action, Trajectory


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of an ArCHer run."""

    run: Path = Path("runs/archer")
    """The run folder to write."""
    model: str = "tiny"
    """Where to start: tiny, smollm2, a model folder, or a run folder (its newest checkpoint)."""
    env: EnvConfig = field(default_factory=EnvConfig)
    agent: AgentConfig = field(default_factory=AgentConfig)
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(lr=3e-4, amsgrad=True))
    critic: OptimConfig = field(default_factory=lambda: OptimConfig(lr=1e-3))
    loop: Annotated[LoopConfig, tyro.conf.OmitArgPrefixes] = field(default_factory=LoopConfig)
    objective: Annotated[ObjectiveConfig, tyro.conf.OmitArgPrefixes] = field(
        default_factory=lambda: ObjectiveConfig(aggregation="seq-mean-token-sum", epochs=2, minibatches=3)
    )
    """Of the policy. What is drawn for a step is fresh in its first minibatch, and clipped in later ones."""
    values: Annotated[TurnCriticConfig, tyro.conf.OmitArgPrefixes] = field(default_factory=TurnCriticConfig)
    seed: int = 0
    """Of tasks, samples, replay and the critic's heads."""
    resume: bool = False
    """Continue the run in `run` from its last checkpoint, with its own settings where none are given."""

    episodes: int = 8
    """Episodes in a step."""
    split: str | None = None
    """Split to train on; by default the environment's training split."""
    run_free: bool = False
    """Let each environment step in a thread of its own, and wait for no other (`grpo`)."""
    capacity: int = 100_000
    """Turns that are kept for replay."""
    warmup_steps: int = 10
    """First steps in which the critic alone learns, from the policy as it began (as in WSRL, arXiv:2412.07762)."""
    actor_states: int = 48
    """Replayed states in which the policy learns in a step."""
    recent: int = 0
    """The policy learns in the newest so many turns only; 0 for all that are kept."""
    baseline: Literal["value", "fresh"] = "fresh"
    """What Q is compared with: V, or the mean Q of the other fresh utterances in the same state."""
    advantage_scale: Literal["none", "batch", "running"] = "running"
    """What advantages are divided by (departure 8)."""
    on_policy: float = 1.0
    """Weight of a second source of advantages beside Q: the turns just played, credited by generalised advantages over
    turns with the critic's V. They are noisy, but right where the critic is wrong (interpolated policy gradient,
    arXiv:1706.00387)."""
    lam: float = 0.95
    """How far those advantages trust rewards over V."""
    token_baseline: bool = False
    """Learn what each token was expected to be worth, and credit it with the rest alone (the paper's equation for
    the low level; a third model)."""
    lora_rank: int = 0
    """Train a fresh LoRA adapter of this rank; 0 trains the whole model (or the adapter that it has)."""

    def __post_init__(self) -> None:
        for name, low in (
            ("episodes", 1), ("capacity", 1), ("warmup_steps", 0), ("actor_states", 1), ("on_policy", 0), ("recent", 0),
            ("lora_rank", 0), ("seed", 0),
        ):  # fmt: skip
            if getattr(self, name) < low:
                raise InvalidConfig(f"{name} must be at least {low}, got {getattr(self, name)}")
        if not 0 <= self.lam <= 1:
            raise InvalidConfig(f"lam must lie within 0 and 1, got {self.lam}")
        if self.baseline == "fresh" and self.values.fresh_actions < 2:
            raise InvalidConfig("the baseline fresh compares siblings: it needs fresh_actions of at least 2")
        if self.objective.kl_coef:
            raise InvalidConfig("archer holds on to no reference: kl_coef must be 0")

    @property
    def setting(self) -> Setting:
        """What the episodes share."""
        return shared_setting(self.env, self.agent)


@dataclass(frozen=True, slots=True)
class Critics:
    """Attributes: utterances: twin Q and V. tokens: the token baseline, or None."""

    utterances: CriticLearner[UtteranceCritic]
    tokens: CriticLearner[TokenCritic] | None


def train(config: Config) -> Path:
    """Train as `config` says, and return the run folder.

    Raises:
        InvalidConfig: `run` holds a run already and `resume` was not asked for, or the settings don't fit together.
        Diverged: a gradient was not finite. MissingExtra: an optional package is missing.
    """
    with claim(config.run, "archer", replace(config, resume=False), resume=config.resume) as run:
        learner = load_learner(config.model, config.optim, run, lora_rank=config.lora_rank)
        policy = learner.policy(config.agent)
        critics = load_critics(config, run, learner, policy)
        _train(config, run, learner, policy, critics)
    return config.run


def load_critics(config: Config, run: RunFolder, learner: Learner, policy: HFPolicy) -> Critics:
    """The critics of the run's newest checkpoint, or new ones on the policy's decoder."""

    def build_utterances() -> UtteranceCritic:
        return build_utterance_critic(config.values.encoder, learner.model, policy.vocabulary.decode)

    def build_tokens() -> TokenCritic:
        return TokenCritic(trunk_of(learner.model)).to(learner.model.device)

    return Critics(
        load_critic(
            build_utterances,
            config.critic,
            run,
            seed=config.seed,
            has_target=True,
            start_from=config.values.critic_from,
        ),
        load_critic(build_tokens, config.critic, run, seed=config.seed, file="token_critic.pt")
        if config.token_baseline
        else None,
    )


def _train(config: Config, run: RunFolder, learner: Learner, policy: HFPolicy, critics: Critics) -> None:
    """The loop."""

    def write(folder: Path) -> None:
        learner.write(folder)
        critics.utterances.write(folder)
        if critics.tokens is not None:
            critics.tokens.write(folder)

    with (
        cpu_threads(learner.model, config.loop.threads),
        Evaluator(learner, config.env, config.agent, config.setting, config.loop) as evaluator,
        EnvPool(config.env.maker(), config.episodes) as pool,
        Session("archer", run, config.loop) as session,
    ):
        split = config.split or training_split(pool)
        replay = refill(config, run, policy, session.step)
        for step in session.steps():
            with session.timed("rollout"):
                starts = group_starts(config.seed, step, groups=config.episodes, size=1, split=split)
                collection = collect_groups(policy, pool, starts, config.setting, 1, run_free=config.run_free)
            episodes = collection.trajectories
            # Kept as files, from which a resumed run fills its replay again.
            trajectories.write(run.trajectories_path(f"step-{step:06d}"), episodes)
            played = [_turns(config, episode, policy) for episode in episodes]
            fresh = [one for turns in played for one in turns]
            replay.add(fresh)
            session.count(**collection.counts())
            row = dict(collection.summary())
            if len(replay):
                with session.timed("critic"):
                    begin(config.values, critics.utterances, replay)
                    row |= fit_critic(
                        config.values,
                        critics.utterances,
                        policy,
                        replay,
                        seed=config.seed,
                        step=step,
                        progress=session.progress,
                    )
                    row |= critic_fit(critics.utterances, fresh)
            if len(replay) and step > config.warmup_steps:
                with session.timed("update"):
                    row |= improve(config, learner, policy, critics, replay, played, step, session.progress)
                    policy.weights_changed()
            if session.is_evaluation_due:
                row |= evaluator.row(session)
            session.log(row, status=f"return {row['return_mean']:.3f}")
            session.save_if_due(write)
        session.finish(write)


def refill(config: Config, run: RunFolder, policy: HFPolicy, last_step: int) -> Replay:
    """The replay as it stood after `last_step`, from the run's files of episodes."""
    replay = Replay(config.capacity)
    for episode in past_episodes(run, last_step):
        replay.add(_turns(config, episode, policy))
    return replay


def _turns(config: Config, episode: Trajectory, policy: HFPolicy) -> list[Transition]:
    return transitions_of(
        episode, policy, gamma=config.values.gamma, system=config.agent.system, bootstrap=config.values.bootstrap
    )


def improve(
    config: Config,
    learner: Learner,
    policy: HFPolicy,
    critics: Critics,
    replay: Replay,
    played: Sequence[Sequence[Transition]],
    step: int,
    progress: float,
) -> dict[str, float]:
    """Let the policy say something fresh in replayed states, and follow the critic's opinion of it.

    Args:
        played: the turns of each of the step's own episodes, for `on_policy`.
    Raises:
        Diverged: a gradient was not finite.
    """
    rng = np.random.default_rng(entropy(config.seed, step, "actor"))
    window = min(config.recent or len(replay), len(replay))
    indices = len(replay) - window + rng.permutation(window)[: config.actor_states]
    chosen = [replay[int(index)] for index in indices for _ in range(config.values.fresh_actions)]
    actions = draw(policy, chosen, config.seed, step, "a-fresh")
    advantages_S = advantages_of(config, critics.utterances, chosen, actions)
    scale = _scale(config, critics.utterances.module, advantages_S)
    samples = [as_sample(policy, one.state_T, one, action) for one, action in zip(chosen, actions, strict=True)]
    credit: list[Floats] = [
        np.full(len(sample.sampled_n), value, dtype=np.float32)
        for sample, value in zip(samples, (advantages_S / scale).tolist(), strict=True)
    ]
    if config.on_policy:
        turns = [one for episode in played for one in episode]
        weight = config.on_policy * len(samples) / max(len(turns), 1)
        samples += [as_sample(policy, one.state_T, one, one.action) for one in turns]
        values = turn_advantages(config.values, critics.utterances, played, config.lam) * weight / scale
        credit += [
            np.full(len(one.utterance_T), value, dtype=np.float32)
            for one, value in zip(turns, values.tolist(), strict=True)
        ]
    row = {
        "advantage_mean": float(advantages_S.mean()),
        "advantage_std": float(advantages_S.std(correction=0)),
        "advantage_scale": scale,
    }
    if critics.tokens is not None:
        credit, row["token_loss"] = _less_expected(config, critics.tokens, samples, credit, progress)
    lessons = [
        Lesson(sample, at // config.values.fresh_actions, part)
        for at, (sample, part) in enumerate(zip(samples, credit, strict=True))
    ]
    return row | update_policy(
        config.objective,
        config.optim,
        learner,
        lessons,
        temperature=config.agent.temperature,
        seed=config.seed,
        step=step,
        progress=progress,
    )


def advantages_of(
    config: Config,
    critic: CriticLearner[UtteranceCritic],
    chosen: Sequence[Transition],
    actions: Sequence[Action],
) -> Tensor:
    """By how much each utterance beats what was to be expected in its state, float32 [S]."""
    q_2S, v_2S = utterance_values(
        critic.module, [one.state_T for one in chosen], ids_of(actions), config.critic.micro_batch_tokens
    )
    q_S, v_S = q_2S.amin(0).cpu(), v_2S.amin(0).cpu()
    if config.baseline == "value":
        return q_S - v_S
    q_BK = q_S.view(-1, config.values.fresh_actions)
    others_BK = (q_BK.sum(1, keepdim=True) - q_BK) / (config.values.fresh_actions - 1)
    return (q_BK - others_BK).flatten()


def _scale(config: Config, critic: UtteranceCritic, advantages_S: Tensor) -> float:
    spread = float(advantages_S.std(correction=0))
    if config.advantage_scale == "none":
        return 1.0
    if config.advantage_scale == "running":
        critic.spread.fill_(max(float(critic.spread), spread))
        spread = float(critic.spread)
    return spread or 1.0


def _less_expected(
    config: Config,
    baseline: CriticLearner[TokenCritic],
    samples: Sequence[Sample],
    credit: Sequence[Floats],
    progress: float,
) -> tuple[list[Floats], float]:
    """Take off each token's advantage what was expected before it, and teach the baseline better; its loss too."""
    left: list[Floats] = list(credit)
    total, count = 0.0, sum(len(part) for part in credit)
    for rows in micro_batches(samples, config.critic.micro_batch_tokens):
        tokens_BT, mask_BT = pad([samples[row] for row in rows])
        reads_BT = torch.zeros_like(mask_BT)
        reads_BT[:, :-1] = mask_BT[:, 1:]
        device = next(baseline.module.parameters()).device
        values_N = baseline.module(tokens_BT.to(device), reads_BT.to(device))
        wanted_N = torch.from_numpy(np.concatenate([credit[row] for row in rows])).to(device)
        loss = ((wanted_N - values_N) ** 2).sum() / count
        loss.backward()
        total += loss.item()
        parts = (wanted_N - values_N.detach()).cpu().split([len(credit[row]) for row in rows])
        for row, part in zip(rows, parts, strict=True):
            left[row] = part.numpy()
    baseline.take_step(progress)
    return left, total


def main(arguments: Sequence[str]) -> None:
    """The command `sparring train archer`, given its arguments."""
    run_command(Config, "archer", train, arguments, __doc__)


if __name__ == "__main__":
    run_module(main)
