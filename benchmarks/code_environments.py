"""Programming over turns: what feedback from tests is worth to a small model, and what SmolLM2 does on HumanEval.

    python benchmarks/code_environments.py generated --seeds 0 1 2
    python benchmarks/code_environments.py human-eval --problems 164

`generated`: functions of a list (`sparring/CodeFunctions-v1`) whose words leave numbers and directions open, so that
the first program is a guess and only the tests, which are not shown before they fail, tell how it was meant. A model of
some hundred thousand weights imitates an expert that errs at two turns of five, and then learns from its own successes
by filtered behaviour cloning: once with the tests' messages in view, and once with all feedback hidden, for the same
number of turns. Beside them stands an enumerator that keeps to the words, and drops what a message has ruled out.
Everyone plays the same tasks: new tests of functions that occur in training, and functions that do not.

`human-eval`: SmolLM2-135M as it comes (extra `smollm2`), greedily, over turns with the tests' messages.

Runs and episodes are kept under `--out`, and are not repeated.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

sys.path.insert(0, str(Path(__file__).parent))
from record import record

from sparring.agents.load import Agent, load_agent
from sparring.bench import BenchConfig, bench, episodes
from sparring.envs.code.steps import STEPS, Line, Program, code, run
from sparring.runs import RunFolder
from sparring.settings import EnvConfig
from sparring.statistics import rate_interval
from sparring.summary import EpisodeRecord, compare, summarise
from sparring.types import Action, Prompt

ARMS = {"with feedback": "full", "feedback hidden": "none"}
ENUMERATOR = "enumerator"


class Enumerator:
    """Writes a function that the words allow and no message has ruled out, and submits what passes its tests."""

    version = 0

    def act(self, prompts: Sequence[Prompt]) -> list[Action]:
        """One action a prompt; what is drawn is drawn by the prompt's seed."""
        return [Action(self._one(prompt)) for prompt in prompts]

    def _one(self, prompt: Prompt) -> str:
        said = [message.content for message in prompt.messages if message.role == "user"]
        if re.match(r"(\d+) of \1 tests", prompt.observation.text):
            return "submit"
        tried = {message.content for message in prompt.messages if message.role == "assistant"}
        facts = [fact for text in said for fact in re.findall(r"f\((\[.*?\])\) should be (\S.*?), got", text)]
        left = [one for one in _allowed(prompt.instruction) if code(one) not in tried and _fits(one, facts)]
        rng = np.random.default_rng(prompt.seed)
        return code(left[int(rng.integers(len(left)))]) if left else "submit"


def _allowed(instruction: str) -> list[Program]:
    words = instruction.split(": ", 1)[1].split("\n")[0].rstrip(".").split(", then ")
    kinds = [[Line(step, number) for step in STEPS if step.loose == word for number in step.numbers] for word in words]
    return list(itertools.product(*kinds))


def _fits(program: Program, facts: Sequence[tuple[str, str]]) -> bool:
    return all(str(run(program, [int(one) for one in re.findall(r"\d+", given)])) == right for given, right in facts)


@dataclass(frozen=True)
class Generated:
    """The study of feedback on generated tasks."""

    seeds: tuple[int, ...] = (0, 1, 2)
    demonstrations: int = 1500
    imitation_steps: int = 300
    env_turns: int = 12_000
    """Turns of the environment that each arm learns from after imitation."""
    depth: int = 2
    """The most steps of a function."""
    turns: int = 5
    """Of an episode."""
    tasks: int = 200
    """Tasks to play, of each of the two kinds."""
    training_tasks: int = 5000
    """The tasks of `train` that are learned from; later ones are other tests of functions that occur among them."""
    out: Path = Path("runs/code")

    def options(self, feedback: str) -> dict[str, str]:
        """Of the environment."""
        return {
            "words": "loose", "show_tests": "false", "programs": "tokens", "max_depth": str(self.depth),
            "turns": str(self.turns), "feedback": feedback,
        }  # fmt: skip

    def folder(self, seed: int, arm: str, stage: str) -> Path:
        """The folder of a stage: `imitation`, `trained` or `bench`."""
        return self.out / f"seed-{seed}-{ARMS[arm]}-{stage}"


def train(study: Generated, seed: int, arm: str) -> None:
    """Imitate, then learn from own successes, unless that was done before."""
    start, run_folder = study.folder(seed, arm, "imitation"), study.folder(seed, arm, "trained")
    given = study.options(ARMS[arm]) | {"train": str(study.training_tasks)}
    options = [text for pair in given.items() for text in pair]
    shared = ["--env.id", "sparring/CodeFunctions-v1", "--env.options", *options, "--agent.max-action-tokens", "48",
              "--seed", str(seed), "--eval-every", "0", "--keep-checkpoints", "1"]  # fmt: skip
    _run(start, ["sft", *shared, "--demos.agent", "expert:0.4", "--demos.episodes", str(study.demonstrations),
                 "--tiny.heads", "2", "--tiny.vocabulary", "512", "--optim.lr", "4e-3", "--optim.decay", "linear",
                 "--batch-episodes", "16", "--steps", str(study.imitation_steps),
                 "--checkpoint-every", "100"])  # fmt: skip
    _run(run_folder, ["filtered_bc", *shared, "--model", str(start), "--rule", "success", "--groups", "64",
                      "--learn-episodes", "128", "--minibatches", "4", "--optim.lr", "1e-3", "--steps", "100000",
                      "--max-env-turns", str(study.env_turns), "--checkpoint-every", "5"])  # fmt: skip


def _run(folder: Path, settings: Sequence[str]) -> None:
    done = folder / "done"
    if done.exists():
        return
    resume = ["--resume"] if RunFolder(folder).latest_checkpoint() is not None else []
    if not resume:  # one that was stopped before its first checkpoint begins again
        shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".log").open("a") as log:
        found = subprocess.run(
            [sys.executable, "-m", "sparring", "train", settings[0], "--run", str(folder), *settings[1:], *resume],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=log,
            stderr=log,
            check=False,
        )
    if found.returncode:
        raise SystemExit(f"a run failed, see {folder.with_suffix('.log')}")
    done.touch()


def play(study: Generated, seed: int, arm: str, tasks: Sequence[str], split: str) -> dict[str, list[EpisodeRecord]]:
    """The episodes of an arm's players, by name; feedback is hidden from those that were trained without."""
    out = study.folder(seed, arm, f"bench-{split}")
    players = [
        replace(load_agent(str(study.folder(seed, arm, stage))), name=f"{name}, {arm}")
        for stage, name in (("imitation", "imitation"), ("trained", "trained"))
    ]
    players.append(Agent(f"{ENUMERATOR}, {arm}", Enumerator()))
    env = EnvConfig("CodeFunctions-v1", options=study.options(ARMS[arm]))
    config = BenchConfig(env, split, seeds=(seed,), concurrent_episodes=32)
    bench(players, config, out, tasks=tasks, resume=True, show_progress=False)
    return episodes(out)


def by_turn(records: Sequence[EpisodeRecord], turns: int) -> list[dict[str, Any]]:
    """The share of episodes that had succeeded by each turn, with its interval; `submit` is a turn as well."""
    tasks = [one.task for one in records]
    return [
        asdict(rate_interval([one.success and one.turns <= turn for one in records], tasks))
        for turn in range(1, turns + 1)
    ]


def generated(study: Generated) -> None:
    """Train and play what is missing, and write the results."""
    for seed, arm in itertools.product(study.seeds, ARMS):
        train(study, seed, arm)
    found = {}
    for name, split, first in (
        ("functions seen in training, new tests", "train", study.training_tasks),
        ("functions never seen", "test", 0),
    ):
        tasks = [f"{split}/{number}" for number in range(first, first + study.tasks)]
        played: dict[str, list[EpisodeRecord]] = {}
        for seed, arm in itertools.product(study.seeds, ARMS):
            for agent, records in play(study, seed, arm, tasks, split).items():
                played.setdefault(agent, []).extend(records)
        print(name)
        found[name] = figures(played, study.turns)
    _record("code_generated", study, study.seeds, found)


def _record(name: str, study: Any, seeds: Sequence[int], found: Mapping[str, Any]) -> None:
    settings = {name: value for name, value in asdict(study).items() if not isinstance(value, Path)}
    notes = "success_by_turn counts submit as a turn; intervals are over tasks."
    record(name, {"study": settings, **found}, seeds=seeds, notes=notes)


def figures(played: Mapping[str, Sequence[EpisodeRecord]], turns: int) -> dict[str, Any]:
    """Everyone's figures, printed as a table of success by turn as well."""
    rng = np.random.default_rng(0)
    found: dict[str, Any] = {"agents": {}}
    for agent, records in played.items():
        row, curve = summarise(records, agent=agent, rng=rng), by_turn(records, turns)
        found["agents"][agent] = {
            "success": asdict(row.success) if row.success else None,
            "score": asdict(row.score) if row.score else None,
            "success_by_turn": curve,
            "turns": row.turns,
            "sampled_tokens": row.sampled_tokens,
            "errors": row.errors,
        }
        print(f"  {agent:<42}" + "  ".join(f"{one['estimate']:.3f}" for one in curve))
    found["minus"] = {
        rival: {one.agent: asdict(one.success.difference) for one in compare(played, rival, rng=rng)}
        for rival in played
        if rival.startswith("trained, feedback hidden")
    }
    return found


SYSTEM = "You write Python. Answer with the word write and the whole program. When all tests pass, answer submit."


@dataclass(frozen=True)
class Humans:
    """SmolLM2 on HumanEval."""

    problems: int = 164
    turns: int = 3
    max_action_tokens: int = 256
    """Tokens of one answer."""
    out: Path = Path("runs/code-human-eval")


def human_eval(study: Humans) -> None:
    """Play what is missing, and write the results."""
    from sparring.agents.hf import HFPolicy
    from sparring.agents.models import load_model

    model, tokenizer = load_model("smollm2")
    policy = HFPolicy(model, tokenizer, greedy=True, max_new_tokens=study.max_action_tokens, threads=0)
    config = BenchConfig(
        EnvConfig("HumanEval-v1", options={"turns": str(study.turns)}), "test", study.problems, concurrent_episodes=32
    )
    bench([Agent("SmolLM2-135M, greedy", policy, system=SYSTEM)], config, study.out, resume=True, show_progress=True)
    _record("code_human_eval", study, (0,), figures(episodes(study.out), study.turns))


if __name__ == "__main__":
    chosen = tyro.cli(
        Annotated[Generated, tyro.conf.subcommand("generated")] | Annotated[Humans, tyro.conf.subcommand("human-eval")],
        description=__doc__,
    )
    generated(chosen) if isinstance(chosen, Generated) else human_eval(chosen)
