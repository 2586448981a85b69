"""Exploratory learning: imitate how a search explores and goes back, so that the agent does without the search.

    python -m sparring.trainers.exploratory --model runs/first --run runs/exploratory --env.wrappers backtrack \\
        --search.trees 256 --search.simulations 20
    python -m sparring.trainers.exploratory --model runs/first --run runs/paths --env.wrappers backtrack \\
        --imitate best-path
    python -m sparring.trainers.exploratory --model smollm2 --run runs/debate --env.wrappers backtrack \\
        --evaluator debate --reflect
    python -m sparring.trainers.exploratory --run runs/exploratory --resume

After arXiv:2410.02052 (R-MCTS and exploratory learning). A round searches tasks by R-MCTS, and tells each search that
found a success as one episode: the agent goes to every place that the search looked at, in its order, says `go back`
where the search left it, and at last goes where the success was. Each is played in the environment under the wrapper
`backtrack` before it is learned from, and left out where that shows anything else than the search saw. At test time the
agent explores and goes back by itself, under the same wrapper.

| `--imitate` | the episode | `--trained` | learned from |
|---|---|---|---|
| `traversal` | the whole search | `all` | every turn |
| `traversal` | the whole search | `path-and-backtracks` | the way to the success, and each `go back` |
| `best-path` | the way to the success alone (the paper's imitation learning) | any | every turn |

Departures:
1. Places are valued by playouts unless `--evaluator` asks a judge; then the model under training judges, or `--judge`.
   The paper has a debate of a larger model.
2. One search a task, from its start, not one before each turn. Places are looked at to the depth of the method's rules
   (4 turns); playouts go on from there.
3. An episode that is over can't be gone back from, so of the endings a search found only the last is in its episode.
   The places that playouts passed are left out.
4. Reflections are shown to the policy and the judge under `--reflect` alone, from the round after the one that they
   come from, while a search is on. They are no part of the episodes that are learned from. They are found again by the
   model's own hidden states, not by a model of embeddings.
5. Rounds learn from all that was found so far, and begin anew from the start, unless `--learning.remember` and
   `--learning.restart` say otherwise. The paper has one round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from sparring.agents.hf import HFPolicy
from sparring.agents.load import load_agent
from sparring.agents.prompts import history_length
from sparring.envs.pool import EnvPool
from sparring.errors import InvalidConfig
from sparring.rollout import Setting
from sparring.runs import RunFolder
from sparring.search import memory as memories
from sparring.search.asking import Judge
from sparring.search.debate import debate
from sparring.search.evaluators import Evaluator, estimate, playout
from sparring.search.memory import Memory, Reminded
from sparring.search.play import commitment
from sparring.search.reflection import About, executed, reflect, surprises
from sparring.search.traversal import Walk, backtracks, lasting, traversal, turns_of
from sparring.search.tree import Node
from sparring.search.verdicts import verdicts
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers.checkpoint import Learner, load_learner
from sparring.trainers.collect import group_starts, is_usable, shared_setting, training_split
from sparring.trainers.command import run_command, run_module
from sparring.trainers.exploration import Player
from sparring.trainers.optim import OptimConfig
from sparring.trainers.rounds import Flagged, Harvest, LearningConfig, iterate, settled
from sparring.trainers.session import LoopConfig, claim
from sparring.trainers.trees import Forest, SearchConfig, grow
from sparring.types import Policy, Trajectory


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of a run of exploratory learning."""

    run: Path = Path("runs/exploratory")
    """The run folder to write."""
    model: str = "tiny"
    """Where to start: tiny, smollm2, a model folder, or a run folder (its newest checkpoint), best one of sft."""
    env: EnvConfig = field(default_factory=EnvConfig)
    agent: AgentConfig = field(default_factory=AgentConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    loop: Annotated[LoopConfig, tyro.conf.OmitArgPrefixes] = field(
        default_factory=lambda: LoopConfig(steps=2, eval_every=1, checkpoint_every=1)
    )
    learning: LearningConfig = field(default_factory=LearningConfig)
    search: SearchConfig = field(default_factory=lambda: SearchConfig(method="r-mcts", trees=64, simulations=20))
    seed: int = 0
    """Of tasks, samples, and the order of learning."""
    resume: bool = False
    """Continue the run in `run` from its last checkpoint, with its own settings where none are given."""

    imitate: Literal["traversal", "best-path"] = "traversal"
    """What of a search is imitated (see the table above)."""
    trained: Literal["all", "path-and-backtracks"] = "all"
    """Which turns of it are learned from; the others are context."""
    evaluator: Literal["playout", "verdict", "debate"] = "playout"
    """What a place is worth to the search: how a playout ends, a judge's grade, or its grade after a debate."""
    judge: str | None = None
    """Who judges and reflects, as the benchmark names agents (hf:FOLDER, openai:MODEL@URL, a run …); by default the
    model under training."""
    judge_tokens: int = 160
    """Tokens that the model under training may say as a judge."""
    reflect: bool = False
    """Show what was learned from surprises in earlier rounds to the policy and the judge, while they search."""
    min_score: float | None = None
    """What counts as a success is a score of at least this, instead of the environment's own word."""
    split: str | None = None
    """Split to train on; by default the environment's training split."""
    environments: int = 32
    """How many to search in at once, and to play in."""
    lora_rank: int = 0
    """Train a fresh LoRA adapter of this rank; 0 trains the whole model (or the adapter that it has)."""

    def __post_init__(self) -> None:
        for name, low in (("judge_tokens", 1), ("environments", 1), ("lora_rank", 0), ("seed", 0)):
            if getattr(self, name) < low:
                raise InvalidConfig(f"{name} must be at least {low}, got {getattr(self, name)}")
        if self.imitate == "traversal" and history_length(self.agent.memory) == 0:
            raise InvalidConfig(
                f"an agent that goes back must be shown what it has tried: agent.memory {self.agent.memory} shows "
                "nothing of it, so take full_history or window(k)"
            )

    @property
    def setting(self) -> Setting:
        """What the episodes share."""
        return shared_setting(self.env, self.agent)

    @property
    def plain_env(self) -> EnvConfig:
        """The environment without going back, in which it is searched.

        Raises:
            InvalidConfig: going back is not possible at all.
        """
        if self.env.wrappers[-1:] != ("backtrack",):
            raise InvalidConfig(
                "exploring needs a world in which steps can be undone: put backtrack last among --env.wrappers, which "
                f"are {self.env.wrappers}"
            )
        return replace(self.env, wrappers=self.env.wrappers[:-1])

    def succeeded(self, episode: Trajectory) -> bool:
        """Whether an episode counts as a success."""
        return episode.success if self.min_score is None else episode.score >= self.min_score


def train(config: Config) -> Path:
    """Train as `config` says, and return the run folder.

    Raises:
        InvalidConfig: `run` holds a run already and `resume` was not asked for, or the settings don't fit together.
        EnvNotSearchable: the environment can't be brought back to where it was.
        Diverged: a gradient was not finite. MissingExtra: an optional package is missing.
    """
    config = replace(config, learning=settled(config.learning, restart=True, remember=True))
    plain_env = config.plain_env
    with claim(config.run, "exploratory", replace(config, resume=False), resume=config.resume) as run:
        learner = load_learner(config.model, config.optim, run, lora_rank=config.lora_rank)
        with EnvPool(plain_env.maker(), config.environments) as plain:
            explorer = Explorer(config, run, learner, plain)
            iterate("exploratory", config, run, learner, explorer, (), environments=config.environments)
    return config.run


class Explorer:
    """Searches the tasks of a round, and makes episodes of the searches: a collector.

    Args:
        plain: environments without going back, to search in.
    """

    def __init__(self, config: Config, run: RunFolder, learner: Learner, plain: EnvPool) -> None:
        self._config, self._run, self._plain = config, run, plain
        self._own = HFPolicy(learner.model, learner.tokenizer, max_new_tokens=config.judge_tokens)
        self._judging: Policy = load_agent(config.judge).policy if config.judge else self._own

    def __call__(self, policy: HFPolicy, pool: EnvPool, round: int, /) -> Harvest:
        """Search, live the searches through, and reflect."""
        config = self._config
        self._own.weights_changed()
        split = config.split or training_split(pool)
        judge = Judge(self._judging)
        acting: Policy = policy
        if config.reflect:
            acting, judge = (
                self._reminded(policy, "policy", round),
                Judge(self._reminded(self._judging, "value", round)),
            )
        forest = grow(
            config.search,
            acting,
            self._plain,
            group_starts(config.seed, round, groups=config.search.trees, size=1, split=split),
            replace(config.setting, wrappers=config.plain_env.wrappers),
            evaluator=self._evaluator(judge),
            commit="path",
        )
        forest.save_if_due(config.search, self._run, round)
        player = Player(policy, pool, config.setting, config.agent, split)
        flagged, metrics = self._live(player, forest)
        if config.reflect:
            metrics["reflections"] = float(self._remember(forest, round, judge))
        if judge.asked:
            metrics["unanswered"] = judge.invalid / judge.asked
        counts = {name: amount + player.counts.get(name, 0) for name, amount in forest.counts().items()}
        counts |= {"judge_questions": judge.asked, "judge_tokens": judge.tokens}
        return Harvest(tuple(flagged), counts=counts, metrics={**forest.summary(), **metrics})

    def _evaluator(self, judge: Judge) -> Evaluator:
        if self._config.evaluator == "playout":
            return playout
        return estimate(debate(judge) if self._config.evaluator == "debate" else verdicts(judge))

    def _live(self, player: Player, forest: Forest) -> tuple[list[Flagged], dict[str, float]]:
        """The episodes of the searches that found a success, each played in the environment."""
        config = self._config
        solved: list[tuple[Walk, Node]] = []
        for tree in forest.trees:
            best = tree.best_ending(forest.rules.outcome)
            if best is not None and config.succeeded(best.moment.trajectory()):
                solved.append((best.path if config.imitate == "best-path" else traversal(tree, best), best))
        starts = [replace(best.moment.start, prefix=turns_of(walk)) for walk, best in solved]
        played = player.play(starts, expected=[best.moment.trajectory() for _, best in solved])
        found = [
            (walk, one)
            for (walk, _), one in zip(solved, played, strict=True)
            if one is not None and is_usable(one) and len(one.turns) == len(walk) and config.succeeded(one)
        ]
        count = len(found) or float("nan")
        metrics = {
            "solved": len(solved) / max(len(forest.trees), 1),
            "unplayable": float(len(solved) - len(found)),
            "turns_mean": sum(len(walk) for walk, _ in found) / count,
            "backtracks_mean": sum(len(backtracks(walk)) for walk, _ in found) / count,
        }
        return [Flagged(one, self._trained(walk)) for walk, one in found], metrics

    def _trained(self, walk: Walk) -> frozenset[int] | None:
        return None if self._config.trained == "all" else lasting(walk) | backtracks(walk)

    def _reminded(self, policy: Policy, about: About, round: int) -> Reminded:
        """The policy with what it learned to know in the rounds before."""
        past = [one for earlier in range(1, round) for one in memories.read(self._lessons(earlier))]
        return Reminded(policy, Memory(self._own.embed, [one for one in past if one.about == about]))

    def _remember(self, forest: Forest, round: int, judge: Judge) -> int:
        """Reflect on the surprises of a round, for the rounds after it; how many lessons there are."""
        steps = []
        for tree in forest.trees:
            path = commitment(forest.rules, tree)
            last = path[-1].node if path else None
            if last is not None:
                steps += surprises(executed(path, forest.rules.outcome(last.moment) if last.is_over else None))
        return memories.write(self._lessons(round), reflect(judge, steps))

    def _lessons(self, round: int) -> Path:
        return self._run.path / "reflections" / f"step-{round:06d}.jsonl.zst"


def main(arguments: Sequence[str]) -> None:
    """The command `sparring train exploratory`, given its arguments."""
    run_command(Config, "exploratory", train, arguments, __doc__)


if __name__ == "__main__":
    run_module(main)
