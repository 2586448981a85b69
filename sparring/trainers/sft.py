"""Imitation: make likelier what good episodes did.

    python -m sparring.trainers.sft --run runs/first --demos.agent expert:0.3 --demos.episodes 2000 --steps 500
    python -m sparring.trainers.sft --run runs/second --data runs/first/trajectories --min-score 0.9
    python -m sparring.trainers.sft --run runs/lora --model smollm2 --lora-rank 16 --optim.lr 1e-4 \\
        --optim.micro-batch-tokens 1024
    python -m sparring.trainers.sft --run runs/first --resume

Behaviour cloning (Pomerleau 1991) on episodes of many turns, with the loss on action tokens only. Fed with an
agent's own best episodes (`--data`, `--top-fraction`) it is rejection fine-tuning.

Departures from the usual recipe:
1. Nothing is re-tokenised: episodes of a language model keep the ids that it sampled. Scripted actions are spelled
   along the path that constrained decoding would take.
2. Where decoding is constrained, so is the loss: probabilities are renormalised over the admissible tokens, and
   a token without alternative costs nothing. `--agent.no-constrained` trains and acts freely.
3. The loss of a step is its mean over all action tokens; `--aggregation` has the other ways.
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro

from sparring.agents.hf import HFPolicy
from sparring.agents.models.tiny import build_tiny
from sparring.agents.models.tiny_vision import build_tiny_vision
from sparring.errors import InvalidConfig
from sparring.rollout import Setting
from sparring.runs import RunFolder
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers.batch import Sample, collate, micro_batches, samples_of, score_tokens, vocabulary_size
from sparring.trainers.checkpoint import Learner, load_learner
from sparring.trainers.collect import epoch_indices, shared_setting, special_tokens
from sparring.trainers.command import run_command, run_module
from sparring.trainers.demos import DemosConfig, demonstrations
from sparring.trainers.evaluate import Evaluator
from sparring.trainers.losses import Aggregation, aggregate, negative_log_likelihood, token_weights
from sparring.trainers.optim import OptimConfig, learning_rate, take_step
from sparring.trainers.session import LoopConfig, Session, claim, cpu_threads, entropy
from sparring.trainers.tally import Tally
from sparring.types import Trajectory

# More text than this adds nothing to the vocabulary of a tokenizer, and training it would take long.
TOKENIZER_EPISODES = 2000


@dataclass(frozen=True, slots=True)
class TinyConfig:
    """Shape of the model `tiny`, and of its tokenizer.

    The tokenizer is trained on the demonstrations, and has a token for each text that the environment's wrappers name
    for it, such as index tags (`collect.special_tokens`).
    """

    vocabulary: int = 2048
    """Tokens at most."""
    hidden: int = 64
    """Width; an even multiple of `heads`."""
    layers: int = 3
    heads: int = 4
    """Attention heads; on a CPU fewer are faster."""
    max_context: int = 2048
    """Longest sequence, in tokens."""
    picture: int = 64
    """tiny-vision: side of the picture that it sees, in pixels."""
    patch: int = 8
    """tiny-vision: side of the patches that the picture is cut into; each is a token."""
    vision_layers: int = 1
    """tiny-vision: layers that the patches go through before they stand among the tokens."""


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of an imitation run."""

    run: Path = Path("runs/sft")
    """The run folder to write."""
    model: str = "tiny"
    """Where to start: tiny, tiny-vision (which sees pictures), smollm2, a model folder, or a run folder (its newest
    checkpoint)."""
    env: EnvConfig = field(default_factory=EnvConfig)
    agent: AgentConfig = field(default_factory=AgentConfig)
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(lr=4e-3))
    loop: Annotated[LoopConfig, tyro.conf.OmitArgPrefixes] = field(default_factory=LoopConfig)
    demos: DemosConfig = field(default_factory=DemosConfig)
    tiny: TinyConfig = field(default_factory=TinyConfig)
    seed: int = 0
    """Of demonstrations, their order, the weights of `tiny`, and dropout."""
    resume: bool = False
    """Continue the run in `run` from its last checkpoint, with its own settings where none are given."""

    data: Path | None = None
    """Trajectories to imitate: a .jsonl.zst file or a folder of them; by default `demos` plays them."""
    min_score: float | None = None
    """Leave out episodes of a lower score."""
    top_fraction: float = 1.0
    """Of the rest, keep this share of the best by score."""
    batch_episodes: int = 8
    """Episodes in an optimiser step."""
    aggregation: Aggregation = "token-mean"
    """How the losses of tokens become one number (`losses.aggregation`)."""
    max_episode_tokens: int = 512
    """The constant that seq-mean-token-sum-norm divides by."""
    lora_rank: int = 0
    """Train a fresh LoRA adapter of this rank; 0 trains the whole model (or the adapter that it has)."""

    def __post_init__(self) -> None:
        for name, low in (("batch_episodes", 1), ("max_episode_tokens", 1), ("lora_rank", 0), ("seed", 0)):
            if getattr(self, name) < low:
                raise InvalidConfig(f"{name} must be at least {low}, got {getattr(self, name)}")
        if not 0 < self.top_fraction <= 1:
            raise InvalidConfig(f"top_fraction must be above 0 and at most 1, got {self.top_fraction}")

    @property
    def setting(self) -> Setting:
        """What the episodes share."""
        return shared_setting(self.env, self.agent)


def train(config: Config) -> Path:
    """Train as `config` says, and return the run folder.

    Raises:
        InvalidConfig: `run` holds a run already and `resume` was not asked for, no episode passes the filter, or
            the settings don't fit together.
        Diverged: a gradient was not finite. MissingExtra: an optional package is missing.
    """
    with claim(config.run, "sft", replace(config, resume=False), resume=config.resume) as run:
        played = demonstrations(config.demos, run, config.env, config.setting, data=config.data, seed=config.seed)
        chosen = select(played, config.min_score, config.top_fraction)
        model = tiny_folder(config, run, played) if config.model in ("tiny", "tiny-vision") else config.model
        learner = load_learner(model, config.optim, run, lora_rank=config.lora_rank)
        _train(config, run, learner, Lessons(config, learner.policy(config.agent), chosen))
    return config.run


def _train(config: Config, run: RunFolder, learner: Learner, lessons: Lessons) -> None:
    """The loop."""
    with (
        cpu_threads(learner.model, config.loop.threads),
        Evaluator(learner, config.env, config.agent, config.setting, config.loop) as evaluator,
        Session("sft", run, config.loop) as session,
    ):
        for step in session.steps():
            with session.timed("update"):
                part = [one for index in batch_indices(config, len(lessons), step) for one in lessons[index]]
                row = update(config, learner, part, step, session.progress)
            session.count(sequences=len(part), tokens=sum(len(sample.ids_T) for sample in part))
            row["epoch"] = step * config.batch_episodes / len(lessons)
            if session.is_evaluation_due:
                row |= evaluator.row(session)
            session.log(row, status=f"loss {row['loss']:.3f}")
            session.save_if_due(learner.write)
        session.finish(learner.write)


def select(played: Sequence[Trajectory], min_score: float | None, top_fraction: float) -> list[Trajectory]:
    """Keep episodes of at least `min_score`, and of those the best `top_fraction`; the order stays.

    Raises:
        InvalidConfig: none is left.
    """
    passed = [one for one in played if one.turns and (min_score is None or one.score >= min_score)]
    if not passed:
        best = max((one.score for one in played), default=0.0)
        raise InvalidConfig(f"no episode passes the filter: of {len(played)} the best scores {best}. Lower min_score")
    best_first = sorted(range(len(passed)), key=lambda index: -passed[index].score)
    kept = set(best_first[: max(1, round(top_fraction * len(passed)))])
    return [one for index, one in enumerate(passed) if index in kept]


def tiny_folder(config: Config, run: RunFolder, played: Sequence[Trajectory]) -> str:
    """Build the model `tiny` or `tiny-vision` in the run's `start/`, with a tokenizer trained on the episodes.

    Returns:
        Its folder.
    """
    shape = config.tiny
    if run.latest_checkpoint() is None:  # what an attempt without a step left there may have another shape
        shutil.rmtree(run.path / "start", ignore_errors=True)
    texts, folder = texts_of(played[:TOKENIZER_EPISODES]), run.path / "start"
    settings: dict[str, Any] = {
        "vocabulary": shape.vocabulary,
        "hidden": shape.hidden,
        "layers": shape.layers,
        "heads": shape.heads,
        "special_tokens": special_tokens(config.env),
        "max_context": shape.max_context,
        "seed": config.seed,
    }
    if config.model == "tiny":
        return str(build_tiny(texts, folder, **settings))
    settings |= {"picture": shape.picture, "patch": shape.patch, "vision_layers": shape.vision_layers}
    return str(build_tiny_vision(texts, folder, **settings))


def texts_of(played: Iterable[Trajectory]) -> list[str]:
    """The texts of some episodes, in order: instructions, observations, actions and admissible actions.

    A text that comes again stands there twice, however often it comes, so that a tokenizer takes its words for worth
    a token and yet is not ruled by what every page says.
    """

    def texts() -> Iterator[str]:
        for one in played:
            yield one.instruction
            for turn in one.turns:
                yield turn.observation.text
                yield turn.action.text
                if turn.observation.actions is not None:
                    yield from turn.observation.actions.choices
                    yield from (form.prefix + form.suffix for form in turn.observation.actions.forms)

    counts: Counter[str] = Counter()
    found = []
    for text in texts():
        counts[text] += 1
        if counts[text] <= 2:
            found.append(text)
    return found


class Lessons:
    """Episodes as token sequences, encoded when they are first needed: a short run may never get to most of them."""

    def __init__(self, config: Config, policy: HFPolicy, episodes: Sequence[Trajectory]) -> None:
        self._episodes, self._policy, self._system = episodes, policy, config.agent.system
        self._grammar = policy.grammar if config.agent.constrained else None
        self._encoded: dict[int, list[Sample]] = {}

    def __len__(self) -> int:
        return len(self._episodes)

    def __getitem__(self, index: int) -> list[Sample]:
        """The sequences of an episode, without those that overrun the model's context."""
        if index not in self._encoded:
            episode = self._episodes[index]
            samples = samples_of(episode, self._policy.chat, self._grammar, system=self._system)
            self._encoded[index] = [one for one in samples if len(one.ids_T) <= self._policy.max_context]
        return self._encoded[index]


def batch_indices(config: Config, count: int, step: int) -> list[int]:
    """Which of `count` episodes a step learns from: each epoch goes through all of them in an order of its own."""
    return epoch_indices(config.seed, step, size=config.batch_episodes, count=count)


def update(config: Config, learner: Learner, samples: Sequence[Sample], step: int, progress: float) -> dict[str, float]:
    """Take one optimiser step on some samples, and return what to log about it.

    Raises:
        InvalidConfig: there are no samples: all episodes of the step overran the model's context.
    """
    if not samples:
        raise InvalidConfig(
            f"no episode of step {step} fits the model's context: show less (--agent.memory, --env.wrappers), "
            "raise batch_episodes, or take a model with a longer context"
        )
    began = time.monotonic()
    lengths_B = torch.tensor([len(sample.sampled_n) for sample in samples])
    weights_B = token_weights(lengths_B, config.aggregation, max_tokens=config.max_episode_tokens)
    tally, total = Tally(), 0.0
    # Dropout draws from torch's global generator: it is seeded by the step, and put back afterwards.
    with torch.random.fork_rng():
        torch.manual_seed(int(np.random.default_rng(entropy(config.seed, step, "dropout")).integers(2**62)))
        learner.model.train()
        for rows in micro_batches(samples, config.optim.micro_batch_tokens):
            batch = collate(
                [samples[row] for row in rows], vocabulary_size(learner.model), weights_B=weights_B[rows]
            ).to(learner.model.device)
            scores = score_tokens(learner.model, batch, config.agent.temperature)
            loss = aggregate(negative_log_likelihood(scores.logprobs_N), batch.weights_N)
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
            tally.add(entropy=scores.entropy_N)
        learner.model.eval()
    lr = learning_rate(config.optim, step, progress)
    norm = take_step(learner.optimizer, config.optim, lr)
    tokens = sum(len(sample.ids_T) for sample in samples)
    speed = tokens / (time.monotonic() - began)
    return {"loss": total, "grad_norm": norm, "lr": lr, **tally.means(), "tokens_per_second": speed}


def main(arguments: Sequence[str]) -> None:
    """The command `sparring train sft`, given its arguments."""
    run_command(Config, "sft", train, arguments, __doc__)


if __name__ == "__main__":
    run_module(main)
