"""Train an agent on WebShop on the CPU, from poor demonstrations to reinforcement learning, and score it.

    make demo                                     # the same as: python examples/demo.py
    python examples/demo.py --rl-seconds 900 --out runs/longer
    python examples/demo.py --rl-seconds 900 --resume   # go on with a demo that has ended, and score it again
    python examples/demo.py --catalogue shop1000  # on a catalogue of your own (see docs/webshop.md)

A demonstrator that errs at two steps of five plays the training goals. A model of a few hundred thousand weights
imitates the episodes that ended well, and then learns from its own reward. Beside that run, on the other core, the same
model imitates for the whole time, so that the table can tell learning by reward from merely training longer. All of
them, a random agent and the first-hit heuristic then play the same held-out goals, of products that nobody trained on.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import tyro
from rich.progress import Progress

from sparring.agents.load import Agent, load_agent
from sparring.bench import BenchConfig, bench
from sparring.errors import SparringError
from sparring.report import Report
from sparring.runs import RunFolder
from sparring.settings import EnvConfig
from sparring.statistics import PairedDifference
from sparring.summary import Comparison

WRAPPERS = ("webshop-brief", "webshop-top5", "webshop-price", "webshop-match", "webshop-index")
# Updates a second of RL on two quiet cores: 84 to 98 in 240 s (benchmarks/results/webshop_learning.json).
QUIET_RATE = 84 / 240
RANDOM, HEURISTIC, DEMONSTRATOR = "random", "first-hit", "demonstrator"
IMITATION, LONG, RL = "imitation", "imitation, equal time", "imitation + RL"


@dataclass(frozen=True)
class Demo:
    """How the demo runs."""

    out: Path = Path("runs/demo")
    """The run folder of the trained agent; the imitation runs lie beside it."""
    seed: int = 0
    catalogue: Path | None = None
    """A compiled catalogue; by default the built-in one."""
    imitation_seconds: float = 80
    rl_seconds: float = 240
    demonstrations: int = 5000
    error_rate: float = 0.4
    """How often the demonstrator errs, each turn."""
    test_goals: int = 300
    max_turns: int = 10
    resume: bool = False
    """Go on after an interruption: whatever is finished is kept."""

    @property
    def env(self) -> tuple[str, ...]:
        """The environment, as every training command names it."""
        catalogue = ("--env.options", "catalogue", str(self.catalogue)) if self.catalogue else ()
        return ("--env.id", "sparring/WebShop-v1", *catalogue, "--env.max-turns", str(self.max_turns))

    def folder(self, name: str) -> Path:
        """The run folder of one of the trained agents."""
        ending = {RL: "", IMITATION: "-imitation", LONG: "-imitation-long"}[name]
        return self.out.with_name(self.out.name + ending)


def imitation(demo: Demo, name: str, seconds: float, data: Path) -> list[str]:
    """The command that imitates the demonstrations for some seconds."""
    return [
        "sft", "--run", str(demo.folder(name)), *demo.env, "--env.wrappers", *WRAPPERS, "--data", str(data),
        "--seed", str(demo.seed), "--min-score", "0.9", "--tiny.heads", "2", "--agent.max-action-tokens", "16",
        "--optim.lr", "4e-3", "--optim.decay", "linear", "--steps", "1000000", "--max-seconds", str(seconds),
        "--eval-every", "200", "--eval-episodes", "100", "--checkpoint-every", "500",
    ]  # fmt: skip


def reinforcement(demo: Demo) -> list[str]:
    """The command that goes on from the imitation by reward."""
    return [
        "grpo", "--run", str(demo.folder(RL)), *demo.env, "--env.wrappers", *WRAPPERS,
        "--model", str(demo.folder(IMITATION)), "--seed", str(demo.seed), "--agent.max-action-tokens", "16",
        "--advantage", "rloo", "--token-cost", "0.003", "--groups", "16", "--group-size", "8", "--optim.lr", "1.5e-3",
        "--optim.decay", "linear", "--optim.warmup-steps", "5",
        "--steps", "1000000", "--max-seconds", str(demo.rl_seconds),
        "--eval-every", "20", "--eval-episodes", "100", "--checkpoint-every", "20", "--save-episodes-every", "0",
    ]  # fmt: skip


def command(arguments: Sequence[str], resume: bool) -> list[str]:
    """A `sparring train` command line for this interpreter; a run that is continued has its settings, but for its end.

    Given more seconds than it had, it goes on; given fewer, it stays as it is.
    """
    trainer, flag, folder, *settings = arguments
    if resume and (Path(folder) / "config.toml").exists():
        settings = ["--resume", "--max-seconds", settings[settings.index("--max-seconds") + 1]]
    return [sys.executable, "-m", "sparring", "train", trainer, flag, folder, *settings]


def train(demo: Demo, data: Path) -> None:
    """Imitate, then learn by reward; beside it imitate for the same time. Each has one core to itself."""
    one_core = {**os.environ, "OMP_NUM_THREADS": "1"}
    total = demo.imitation_seconds + demo.rl_seconds
    log = demo.folder(LONG).with_suffix(".log")
    with log.open("w") as output:
        long = subprocess.Popen(
            command(imitation(demo, LONG, total, data), demo.resume), env=one_core, stdout=output, stderr=output
        )
        try:
            for arguments in (imitation(demo, IMITATION, demo.imitation_seconds, data), reinforcement(demo)):
                print("\n$ sparring train " + " ".join(arguments), flush=True)
                if finish(subprocess.Popen(command(arguments, demo.resume), env=one_core)):
                    raise SystemExit("the run above failed")
            print("\nWaiting for the run that only imitates …", flush=True)
            if finish(long):
                raise SystemExit(f"the run that only imitates failed; see {log}")
        except KeyboardInterrupt:
            long.wait()
            raise
        finally:
            if long.poll() is None:
                long.terminate()


def finish(run: subprocess.Popen[bytes]) -> int:
    """Wait for a run. Ctrl-C reaches it as well, and it is given the time to save what it has."""
    try:
        return run.wait()
    except KeyboardInterrupt:
        run.wait()
        raise


def demonstrate(demo: Demo) -> Path:
    """Play the demonstrations (kept for a resumed demo), and return their file."""
    from sparring import trajectories
    from sparring.rollout import Setting
    from sparring.trainers import collect

    path = demo.folder(IMITATION).with_name(demo.out.name + "-demonstrations.jsonl.zst")
    if not (demo.resume and path.exists()):
        options = {"catalogue": str(demo.catalogue)} if demo.catalogue else {}
        env = EnvConfig(options=options, wrappers=WRAPPERS, max_turns=demo.max_turns)
        with Progress() as progress:
            bar = progress.add_task("demonstrations on training goals", total=demo.demonstrations)
            played = collect.demonstrate(
                env,
                f"expert:{demo.error_rate}",
                Setting(env.full_id, WRAPPERS),
                episodes=demo.demonstrations,
                split="train",
                seed=demo.seed,
                on_finish=lambda _: progress.advance(bar),
            )
        trajectories.write(path, played)
    return path


def agents(demo: Demo) -> list[Agent]:
    """Everyone who plays the held-out goals."""
    named = {
        RANDOM: load_agent("random"),
        HEURISTIC: load_agent("first-hit"),
        DEMONSTRATOR: load_agent(f"expert:{demo.error_rate}", wrappers=WRAPPERS),
        **{name: load_agent(str(demo.folder(name))) for name in (IMITATION, LONG, RL)},
    }
    return [replace(agent, name=name) for name, agent in named.items()]


def score(demo: Demo) -> tuple[Report, list[Comparison]]:
    """Let everyone play the same held-out goals; return the report and the comparisons that the demo is about."""
    options = {"catalogue": str(demo.catalogue)} if demo.catalogue else {}
    config = BenchConfig(EnvConfig(options=options, max_turns=demo.max_turns), "test", demo.test_goals)
    players = agents(demo)
    # A folder for the checkpoints that were reached: after training further all is played afresh.
    reached = "-".join(player.source.rpartition("/")[2] for player in players if player.name in (IMITATION, LONG, RL))
    folder = demo.out / "bench" / reached
    report, found = None, []
    for rival in (f"{LONG} (sampled)", f"{LONG} (greedy)", DEMONSTRATOR, HEURISTIC):
        # Only the first of these calls plays; the others compare the same episodes with another rival.
        resume = demo.resume or report is not None
        report = bench(players, config, folder, baseline=rival, resume=resume, show_progress=True)
        found += [one for one in report.comparisons if one.agent in (f"{RL} (sampled)", f"{RL} (greedy)")]
    assert report is not None
    return report, found


def draw(demo: Demo, report: Report) -> Path:
    """Draw the score on dev goals over the time trained, with the scores on test goals of those who do not learn."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, after, colour in ((IMITATION, 0.0, "C0"), (LONG, 0.0, "C1"), (RL, demo.imitation_seconds, "C2")):
        for column, style in (("eval_sampled_score", "-"), ("eval_greedy_score", "--")):
            rows = [row for row in RunFolder.open(demo.folder(name)).metrics() if row.get(column) is not None]
            label = f"{name}, {column.split('_')[1]}"
            axes.plot(
                [row["seconds"] + after for row in rows],
                [row[column] for row in rows],
                style,
                marker=".",
                color=colour,
                label=label,
            )
    for name, colour in ((RANDOM, "0.6"), (HEURISTIC, "0.3"), (DEMONSTRATOR, "C4")):
        found = report.row(name).score
        if found is not None:
            axes.axhline(found.estimate, color=colour, linestyle=":", label=f"{name} (test goals)")
    axes.set(
        xlabel="seconds of training, one core", ylabel="score on 100 dev goals", title="WebShop from scratch on a CPU"
    )
    axes.set_ylim(0, 1)
    axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    path = demo.out / "demo.png"
    figure.savefig(path, dpi=120)
    return path


def interval(found: PairedDifference) -> str:
    """A difference and its interval in words."""
    one = found.difference
    return f"{one.estimate:+.3f} [{one.low:+.3f}, {one.high:+.3f}]"


def main(demo: Demo) -> tuple[Report, list[Comparison]]:
    """Run the whole demo."""
    began = time.monotonic()
    demo.out.parent.mkdir(parents=True, exist_ok=True)
    train(demo, demonstrate(demo))
    report, comparisons = score(demo)
    picture = draw(demo, report)
    report.show(compared=False)
    print()
    row = report.rows[0]
    print("Difference in score and in success, goal by goal, with 95 % intervals")
    print(f"over the {row.clusters} {report.clusters} that the {row.tasks} goals are about:\n")
    for rival in dict.fromkeys(one.baseline for one in comparisons):
        print(f"  {RL} − {rival}:")
        for one in comparisons:
            if one.baseline == rival:
                way = "sampled" if one.agent == f"{RL} (sampled)" else "greedy"
                print(f"    {way:<7}  {interval(one.score)} score, {interval(one.success)} success")
    updates, usual = RunFolder.open(demo.out).metrics()[-1]["step"], QUIET_RATE * demo.rl_seconds
    if updates < usual / 2:
        print("\nThis machine was too busy or too slow for the table to say much: RL got to")
        print(f"{updates} updates in its {demo.rl_seconds:.0f} s, where two quiet cores get to {usual:.0f} or more.")
        print("The command below goes on.")
    print(f"\nLearning curve: {picture}. It took {time.monotonic() - began:.0f} s in all.")
    # Whatever else was chosen must be named again, or it would score the same models otherwise.
    chosen = "".join(
        f" --{name.replace('_', '-')} {getattr(demo, name)}"
        for name in ("out", "seed", "catalogue", "imitation_seconds", "error_rate", "test_goals", "max_turns")
        if getattr(demo, name) != getattr(Demo, name)
    )
    print(f"Train on and score again: python examples/demo.py --resume --rl-seconds {2 * demo.rl_seconds:.0f}{chosen}")
    return report, comparisons


if __name__ == "__main__":
    try:
        main(tyro.cli(Demo, description=__doc__))
    except SparringError as error:
        raise SystemExit(f"error: {error}") from error
    except KeyboardInterrupt:
        print("\nStopped. `make demo` goes on from here.")
        sys.exit(130)
