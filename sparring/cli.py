"""The `sparring` command. Each command imports what it needs when it runs, so that `--help` is instant."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from sparring.errors import SparringError, unknown

EnvId = Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="ENV")]

TRAINERS = {
    "sft": "imitation of trajectories",
    "grpo": "group policy gradient (GRPO, RLOO, Dr. GRPO, REINFORCE++, GSPO, GiGPO, DAPO)",
    "ppo": "proximal policy optimisation with a critic of tokens or turns",
    "archer": "off-policy critic over turns, policy gradient over tokens (ArCHer)",
    "filtered_bc": "imitation of one's own best episodes (filtered BC, RAFT, rejection fine-tuning)",
    "digirl": "imitation of the turns that made progress, as critics of success see it (DigiRL)",
    "offline_archer": "ArCHer without playing: critic and policy from a file of episodes (IQL, AWR)",
    "dpo": "the better of two trajectories against the worse (DPO, cDPO, IPO, RPO, SimPO)",
    "agent_q": "in each place of a search tree the action that came to more (Agent Q)",
    "agent_r": "noticing a mistake and recovering from it, out of one's own search trees (Agent-R)",
    "rest_mcts": "a policy and a value model that teach each other by searching (ReST-MCTS*)",
    "exploratory": "exploring and going back, as searches did (exploratory learning, R-MCTS)",
    "iterated": "rounds of exploring and imitating or preferring: RFT, EEF, ETO, IPR",
    "off_policy": "learning from what older weights or others played (TOPR, CoPG)",
    "score": "correcting one's own answers, by two stages of policy gradient over attempts (SCoRe)",
    "self_debug": "explaining what was wrong, then trying again, each with a reward of its own (Self-Debug, LeDex)",
    "itool": "tool use: imitation from easy to hard, then preferring the better fragments of calls (iTool)",
    "leti": "one's own answers, each imitated behind the word on it (LeTI)",
    "rise": "correcting one's own answers, by imitating better attempts in each place (RISE)",
}

USAGE = """\
sparring: a gym in which LLM agents learn by acting over many turns

  sparring envs                                           what is registered
  sparring play WebShop-v1                                play it yourself
  sparring check WebShop-v1                               run every conformance check on an environment
  sparring bench WebShop-v1 --agents random,oracle        score agents, with intervals and a table
  sparring search WebShop-v1 --agent runs/demo            search a task, and look at the tree
  sparring trees runs/agent-q                             look at the trees of a run
  sparring sandbox check                                  attack a sandbox here, and see what holds
  sparring train sft --run runs/first                     train an agent (trainers: {trainers})
  sparring webshop generate --products 1000 --seed 0 --out DIR
  sparring webshop build --items F --attributes F --out DIR
  sparring webshop serve                                  the shop as a web site, for people

Each command has --help with examples.
"""


def _envs() -> None:
    """List the registered environments: their splits, determinism, snapshots and limit of turns.

    Example:
        sparring envs
    """
    from sparring.registration import PluginWarning, describe, env_ids, load_plugins, wrapper_names

    # Without frames, so that each environment has one line in a terminal of 80 columns.
    table = Table(
        *(Column(name, no_wrap=True) for name in ("id", "splits", "deterministic", "snapshots", "turns")),
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
    broken: list[str] = []
    with warnings.catch_warnings():  # said below the table instead
        warnings.simplefilter("ignore", PluginWarning)
        ids = env_ids()
    for id in ids:
        try:
            found = describe(id)
        except Exception as error:  # one that does not import must not hide the others
            broken.append(f"{id} does not import: {type(error).__name__}: {error}")
            continue
        kind = getattr(found.cls, "snapshot_kind", None)
        table.add_row(
            id,
            ", ".join(getattr(found.cls, "splits", ())) or "–",
            "yes" if getattr(found.cls, "deterministic", False) else "no",
            str(kind) if kind else "none",
            str(found.max_turns or "none"),
        )
    console = Console()
    console.print(table)
    console.print("\nWrappers: " + ", ".join(wrapper_names()))
    for name, reason in load_plugins().items():
        broken.append(f"plug-in {name} failed to load: {reason}")
    for what in broken:
        console.print(escape(what), style="red", highlight=False)


def _play(
    env: EnvId,
    /,
    seed: int = 0,
    split: str | None = None,
    task: str | None = None,
    options: dict[str, str] | None = None,
) -> None:
    """Play one episode in the terminal.

    Examples:
        sparring play WebShop-v1
        sparring play WebShop-v1 --split test --seed 3
        sparring play WebShop-v1 --options observation_mode text_rich

    Args:
        env: A registered id, such as WebShop-v1; `sparring envs` lists them.
        seed: Seed of the episode.
        split: Draw the task from this split.
        task: Play this task.
        options: Keyword arguments of the environment, as name value pairs.
    """
    from sparring.play import play
    from sparring.settings import EnvConfig

    where = {name: value for name, value in (("split", split), ("task", task)) if value is not None}
    made = EnvConfig(env, options or {}).make()
    try:
        play(made, seed=seed, options=where)
    finally:
        made.close()


def _bench(
    env: EnvId,
    /,
    agents: str = "random,oracle",
    split: str = "test",
    tasks: int | None = None,
    seeds: tuple[int, ...] = (0,),
    baseline: str | None = None,
    out: Path | None = None,
    resume: bool = False,
    options: dict[str, str] | None = None,
    max_turns: int | None = None,
    wrappers: tuple[str, ...] = (),
    memory: str = "full_history",
    system: str | None = None,
    concurrent_episodes: int = 16,
    step_timeout_s: float | None = None,
) -> None:
    """Score agents on the same tasks, with 95 % intervals, paired comparisons and a table to publish.

    Examples:
        sparring bench WebShop-v1 --agents random,oracle,runs/demo --split test
        sparring bench WebShop-v1 --agents first-hit,hf:smollm2+webshop-match --tasks 100 --max-turns 15
        sparring bench WebShop-v1 --agents runs/demo,search:mcts@simulations=50:runs/demo --tasks 20
        sparring bench WebShop-v1 --agents openai:qwen3@http://localhost:8000/v1 --tasks 50 --out runs/qwen3

    Args:
        env: A registered id, such as WebShop-v1; `sparring envs` lists them.
        agents: Names separated by commas: random, oracle, expert:RATE, first-hit, a run folder,
            search:METHOD:AGENT, hf:FOLDER,
            openai:MODEL@URL, or module:attribute of your own; each may name wrappers: random+webshop-index.
        split: The split whose tasks are played.
        tasks: How many of its tasks; by default all.
        seeds: Every task is played once under each.
        baseline: The agent that the others are compared with; by default the first.
        out: Folder for the report and the episodes; by default a new one under runs/.
        resume: Keep the episodes that the folder already holds and play only what is missing.
        options: Keyword arguments of the environment, as name value pairs.
        max_turns: Cut an episode after this many turns; by default the environment's own limit.
        wrappers: Named wrappers, innermost first, for the agents that bring none of their own. A run folder
            brings those it was trained with.
        memory: Memory style of their prompts: full_history, window(k) or last_observation.
        system: A system message for their prompts.
        concurrent_episodes: Environments played side by side.
        step_timeout_s: Give up on an environment that takes longer over one step.
    """
    from sparring.agents.load import load_agent
    from sparring.bench import BenchConfig, bench
    from sparring.settings import EnvConfig

    config = BenchConfig(
        EnvConfig(env, options or {}, max_turns=max_turns),
        split,
        tasks,
        seeds,
        concurrent_episodes,
        step_timeout_s,
    )
    folder = out or Path("runs") / f"bench-{env.rpartition('/')[2]}-{time.strftime('%Y%m%d-%H%M%S')}"
    names = [name.strip() for name in agents.split(",") if name.strip()]
    chosen = [load_agent(name, wrappers=wrappers, memory=memory, system=system) for name in names]
    try:
        report = bench(chosen, config, folder, baseline=baseline, resume=resume, show_progress=True)
    except KeyboardInterrupt:
        print(f"\nStopped. What ended is kept: add --out {folder} --resume to the same command to go on.")
        raise
    report.show()
    print(f"\nThe report, with all figures and how to read them, and all episodes are in {folder}")


def _search(
    env: EnvId,
    /,
    agent: str = "random",
    method: str = "mcts",
    split: str | None = None,
    task: str | None = None,
    episodes: int = 1,
    seed: int = 0,
    depth: int | None = None,
    out: Path | None = None,
    options: dict[str, str] | None = None,
    max_turns: int | None = None,
    wrappers: tuple[str, ...] = (),
    memory: str = "full_history",
    system: str | None = None,
    environments: int = 16,
) -> None:
    """Let an agent search before it acts, and show the tree that it acted by.

    Examples:
        sparring search NumberSearch-v1
        sparring search WebShop-v1 --agent runs/demo --method mcts@simulations=50 --split test --seed 3
        sparring search WebShop-v1 --agent runs/demo --method best-first@env_steps=200 --episodes 8 --out runs/trees
        sparring search WebShop-v1 --agent hf:smollm2 --method r-mcts@evaluator=debate@outcome=hidden

    Args:
        env: A registered id, such as WebShop-v1; `sparring envs` lists them.
        agent: What proposes the actions, named as for `sparring bench`.
        method: mcts, agent-q, agent-r, lats, r-mcts, rest-mcts, best-first, beam or best-of-n, and settings behind it:
            budgets (@simulations=50, @env_steps=, @tokens=, @seconds=), @samples=, @children=, @max_depth=, @width=,
            @exploration=, @stop_at=, @at_once=, @evaluator=playout|value|ahead|score|debate|agreement,
            @critique=asked, @outcome=hidden, @states=merged.
        split: Draw the tasks from this split.
        task: Search this task.
        episodes: How many, with seeds from --seed on.
        seed: Seed of the first episode.
        depth: Show so many turns below a tree's root; by default all.
        out: Folder for the trees (also as text) and the episodes.
        options: Keyword arguments of the environment, as name value pairs.
        max_turns: Cut an episode after this many turns; by default the environment's own limit.
        wrappers: Named wrappers, innermost first, for an agent that brings none of its own.
        memory: Memory style of its prompts: full_history, window(k) or last_observation.
        system: A system message for its prompts.
        environments: How many to search in at once.
    """
    from sparring.search import command
    from sparring.settings import EnvConfig

    searched = command.search_tasks(
        EnvConfig(env, options or {}, wrappers, max_turns),
        agent,
        method,
        split=split,
        task=task,
        episodes=episodes,
        seed=seed,
        memory=memory,
        system=system,
        environments=environments,
    )
    console = Console()
    for text in command.show_episodes(searched, width=console.width, colours=console.is_terminal, max_depth=depth):
        print(text)
    if out is not None:
        command.write(searched, out)
        print(f"Trees and episodes are in {out}")


def _trees(
    path: tyro.conf.Positional[Path],
    /,
    number: int | None = None,
    json: bool = False,
    depth: int | None = None,
) -> None:
    """Show the search trees of a file, or of a run's folder of them.

    Examples:
        sparring trees runs/agent-q --number 0 --depth 3
        sparring trees runs/agent-q/trees/step-000010.jsonl.zst --number 0 --json > tree.json

    Args:
        path: A run folder, or a .jsonl.zst file of trees, or a folder of such files.
        number: Show this one alone, counted from 0.
        json: As JSON, a line a tree.
        depth: Show so many turns below a tree's root; by default all.
    """
    from sparring.search import command

    for text in command.show_file(path, number=number, json=json, max_depth=depth, width=Console().width):
        print(text)


def _check(env: EnvId, /, options: dict[str, str] | None = None) -> None:
    """Run every conformance check on an environment; exits 1 if one fails.

    Examples:
        sparring check WebShop-v1
        sparring check acme/Maze-v1 --options size 5

    Args:
        env: A registered id, such as WebShop-v1; `sparring envs` lists them.
        options: Keyword arguments of the environment, as name value pairs.
    """
    from sparring.settings import EnvConfig
    from sparring.testing import report

    make = EnvConfig(env, options or {}).make
    try:
        make().close()
    except SparringError:  # an unknown id or option is a mistake in the command, and no outcome of a check
        raise
    except Exception:  # what else goes wrong is for the checks to tell
        pass
    results = report(make)
    table = Table("check", "result", "what went wrong", title=env)
    for result in results:
        colour = {"passed": "green", "failed": "red"}.get(result.outcome, "yellow")
        table.add_row(result.check, f"[{colour}]{result.outcome}[/{colour}]", escape(result.message))
    Console().print(table)
    if any(result.outcome == "failed" for result in results):
        sys.exit(1)


def _sandbox(do: tyro.conf.Positional[Literal["check", "list", "reap", "image"]], /) -> None:
    """Attack sandboxes in every known way (check), list the open ones, end orphans (reap), or build Docker's image.

    Examples:
        sparring sandbox check
        sparring sandbox list
        sparring sandbox reap
        sparring sandbox image

    Args:
        do: What to do.
    """
    from sparring.envs.sandbox.check import run

    run(do)


def _train(arguments: Sequence[str]) -> None:
    names = ", ".join(TRAINERS)
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: sparring train TRAINER [options]\n")
        width = max(map(len, TRAINERS))
        for name, what in TRAINERS.items():
            print(f"  {name:<{width}} {what}")
        print("\nExamples:\n  sparring train sft --help\n  sparring train grpo --model runs/first --run runs/second")
        return
    trainer, *rest = arguments
    if trainer not in TRAINERS:
        raise unknown("trainer", trainer, TRAINERS, f"Trainers: {names}.")
    try:
        module: Any = importlib.import_module(f"sparring.trainers.{trainer}")
    except ModuleNotFoundError as error:
        from sparring.errors import MissingExtra

        raise MissingExtra(f'training needs {error.name}: pip install "sparring[train]"') from error
    module.main(rest)


def _call(function: Callable[..., None], name: str, arguments: Sequence[str]) -> None:
    # Given explicitly, because tyro's own reading of a docstring drops the examples.
    description = (inspect.getdoc(function) or "").split("\nArgs:")[0].strip()
    tyro.cli(function, args=list(arguments), prog=f"sparring {name}", description=description)


def _webshop(arguments: Sequence[str]) -> None:
    from sparring.envs.web.webshop.command import COMMANDS, OVERVIEW

    if not arguments or arguments[0] in ("-h", "--help"):
        print(OVERVIEW)
        return
    if arguments[0] not in COMMANDS:
        raise unknown("webshop command", arguments[0], COMMANDS)
    _call(COMMANDS[arguments[0]], f"webshop {arguments[0]}", arguments[1:])


def run(arguments: Sequence[str]) -> None:
    """Carry out one command line (without the program's name).

    Raises:
        SparringError: what `main` prints in one line.
    """
    simple: dict[str, Callable[..., None]] = {
        "envs": _envs,
        "play": _play,
        "bench": _bench,
        "check": _check,
        "sandbox": _sandbox,
        "search": _search,
        "trees": _trees,
    }
    nested: dict[str, Callable[[Sequence[str]], None]] = {"train": _train, "webshop": _webshop}
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(USAGE.format(trainers=", ".join(TRAINERS)))
        return
    command, *rest = arguments
    if command == "--version":
        from sparring import __version__

        print(__version__)
    elif command in simple:
        _call(simple[command], command, rest)
    elif command in nested:
        nested[command](rest)
    else:
        raise unknown("command", command, (*simple, *nested), "`sparring --help` lists them.")


def _format_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """A plug-in that fails is for its user to mend: where in our code we noticed says nothing."""
    from sparring.registration import PluginWarning

    if issubclass(category, PluginWarning):
        return f"warning: {message}\n"
    return _usual_format(message, category, filename, lineno, line)


_usual_format = warnings.formatwarning


def main() -> None:
    """Entry point of the `sparring` command: errors are one line on standard error, exit status 2."""
    warnings.formatwarning = _format_warning
    try:
        run(sys.argv[1:])
    except SparringError as error:
        Console(stderr=True).print(f"[red]error:[/red] {escape(str(error))}", highlight=False)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # whoever read the output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
