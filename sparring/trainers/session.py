"""What surrounds a training loop: budget, clock, progress bar, metrics, interrupts, checkpoints, curve.

    with Session("sft", run, loop) as session:
        for step in session.steps():
            with session.timed("update"):
                ...
            session.log({"loss": loss})
            session.save_if_due(learner.write)
        session.finish(learner.write)

All randomness of a trainer is a function of its seed and the step (`entropy`), so the generators have no state to
save: a checkpoint is the weights, the optimiser, and the counters kept here.
"""

from __future__ import annotations

import json
import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from sparring.agents.threads import cpu_threads as cpu_threads  # of the loop, as far as trainers are concerned
from sparring.errors import InvalidConfig, InvalidData, need
from sparring.runs import RunFolder, write_atomic

STATE_FILE = "trainer.json"


@dataclass(frozen=True, slots=True)
class LoopConfig:
    """How long to train, and what to do on the way."""

    steps: int = 200
    """Optimiser steps (sft), or rollouts with the updates on them (grpo)."""
    max_seconds: float | None = None
    """Stop after this many seconds of training, if the steps don't end it before; evaluation is not counted. A run
    that ends or decays by time can't be repeated bit by bit."""
    max_env_turns: int | None = None
    """Stop after the step in which the run has played this many turns of the environment: for comparisons at equal
    experience."""
    eval_every: int = 20
    """Steps between evaluations; 0 for none."""
    eval_episodes: int = 64
    """Episodes of an evaluation, played once greedily and once sampled."""
    eval_split: str | None = None
    """Split to evaluate on; by default `dev` where the environment has one, else its first (training) split."""
    checkpoint_every: int = 50
    """Steps between checkpoints; the end of a run is always one."""
    keep_checkpoints: int = 2
    """Newest checkpoints to keep; 0 keeps them all."""
    threads: int = 0
    """CPU threads. 0 takes one for a model of less than a million weights, whose threads would mostly wait for each
    other (on a busy machine at twenty times the cost), and torch's own choice for a larger one."""
    tensorboard: bool = False
    """Also write the metrics for TensorBoard, into the run folder (extra: tensorboard)."""

    def __post_init__(self) -> None:
        for name, low in (
            ("steps", 1),
            ("eval_every", 0),
            ("eval_episodes", 1),
            ("checkpoint_every", 1),
            ("keep_checkpoints", 0),
            ("threads", 0),
        ):
            if getattr(self, name) < low:
                raise InvalidConfig(f"{name} must be at least {low}, got {getattr(self, name)}")
        for name in ("max_seconds", "max_env_turns"):
            budget = getattr(self, name)
            if budget is not None and budget <= 0:
                raise InvalidConfig(f"{name} must be above 0, got {budget}")


@contextmanager
def claim(path: Path, trainer: str, config: object, *, resume: bool) -> Iterator[RunFolder]:
    """Begin or continue a run in a folder (`RunFolder.create`).

    Where a new run fails before its first step, say over a misspelt model, the folder is free for another attempt.
    """
    run = RunFolder.create(path, trainer, config, resume=resume)
    try:
        yield run
    except BaseException:
        if not run.metrics_path.exists() and run.latest_checkpoint() is None:
            run.config_path.unlink(missing_ok=True)
        raise


class Session:
    """One stretch of a training run, from its start or from its last checkpoint.

    Args:
        trainer: its name, for the command that continues the run.
        run: the run folder; metrics after its last checkpoint are dropped, since they will be written again.
        loop: the budget and the intervals.

    Attributes:
        step: the step under way, or the last one done. totals: counters summed over the run.
    """

    def __init__(self, trainer: str, run: RunFolder, loop: LoopConfig) -> None:
        self.run, self.loop, self._trainer = run, loop, trainer
        self.step = 0
        self.totals: dict[str, int] = {}
        self._seconds_before = 0.0
        self._restore()
        self._saved_step = self.step
        self._started = time.monotonic()
        self._uncounted = 0.0
        self._timers: dict[str, float] = {}
        self._stop_asked = threading.Event()
        self._handlers: dict[int, Any] = {}
        self._writer: Any = None
        if loop.tensorboard:
            self._writer = need("torch.utils.tensorboard", "tensorboard").SummaryWriter(str(run.path / "tensorboard"))
        self._progress = Progress(
            TextColumn("{task.description}, step {task.fields[step]}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[status]}"),
            console=Console(),
        )
        self._bar = self._progress.add_task(run.path.name, total=1.0, step=self.step, status="")
        self._progress.update(self._bar, completed=min(self._used(self.step), 1.0))  # of a resumed run: not nothing

    def _restore(self) -> None:
        latest = self.run.latest_checkpoint()
        if self.run.metrics_path.exists():
            self.run.rewind_metrics(latest[0] if latest else 0)
        if latest is None:
            return
        try:
            state = json.loads((latest[1] / STATE_FILE).read_text())
            self.step = int(state["step"])
            self._seconds_before = float(state["seconds"])
            self.totals.update({name: int(value) for name, value in state["totals"].items()})
        except (OSError, ValueError, KeyError) as error:
            raise InvalidData(f"{latest[1] / STATE_FILE} can't be read, so the run can't go on: {error}") from error

    # The clock

    @property
    def seconds(self) -> float:
        """Seconds of training in all stretches so far, without evaluation."""
        return self._seconds_before + time.monotonic() - self._started - self._uncounted

    @property
    def progress(self) -> float:
        """Share of the budget used before this step, by steps, time or turns, whichever is further."""
        return self._used(self.step - 1)

    def _used(self, steps: int) -> float:
        by_time = self.seconds / self.loop.max_seconds if self.loop.max_seconds else 0.0
        turns = self.totals.get("env_turns", 0)
        by_turns = turns / self.loop.max_env_turns if self.loop.max_env_turns else 0.0
        return max(steps / self.loop.steps, by_time, by_turns)

    @contextmanager
    def timed(self, name: str, *, counted: bool = True) -> Iterator[None]:
        """Add the time of this block to `<name>_seconds` of the step; `counted=False` keeps it out of the budget."""
        begin = time.monotonic()
        yield
        spent = time.monotonic() - begin
        self._timers[name] = self._timers.get(name, 0.0) + spent
        if not counted:
            self._uncounted += spent

    # The loop

    def steps(self) -> Iterator[int]:
        """Yield step numbers, from 1 or from the one after the checkpoint, until a budget or the user ends it."""
        while self._used(self.step) < 1 and not self._stop_asked.is_set():
            self._timers = {}
            self.step += 1
            yield self.step

    @property
    def is_evaluation_due(self) -> bool:
        """Whether to evaluate after this step: every `eval_every` steps."""
        return self.loop.eval_every > 0 and self.step % self.loop.eval_every == 0

    def count(self, **amounts: int) -> None:
        """Add to the run's counters."""
        for name, amount in amounts.items():
            self.totals[name] = self.totals.get(name, 0) + amount

    def log(self, row: Mapping[str, float | None], status: str = "") -> None:
        """Write a row of metrics: `step`, `seconds`, the counters, the timers, and `row`. Not a number becomes null."""
        timers = {f"{name}_seconds": round(spent, 4) for name, spent in self._timers.items()}
        whole = {"step": self.step, "seconds": round(self.seconds, 3), **self.totals, **row, **timers}
        clean = {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in whole.items()
        }
        self.run.log(clean)
        self._progress.update(self._bar, completed=min(self._used(self.step), 1.0), step=self.step, status=status)
        if self._writer is not None:
            for name, value in clean.items():
                if value is not None and name != "step":
                    self._writer.add_scalar(name, value, self.step)

    def show(self, status: str) -> None:
        """Say beside the progress bar what is going on, until the step is logged."""
        self._progress.update(self._bar, step=self.step, status=status)

    def say(self, text: str) -> None:
        """Print a line above the progress bar."""
        self._progress.console.print(text, highlight=False, markup=False, soft_wrap=True)

    # Checkpoints

    def save_if_due(self, write: Callable[[Path], None]) -> None:
        """Write a checkpoint every `checkpoint_every` steps."""
        if self.step % self.loop.checkpoint_every == 0:
            self._save(write)

    def _save(self, write: Callable[[Path], None]) -> None:
        with self.run.checkpoint(self.step, keep=self.loop.keep_checkpoints or None) as folder:
            write(folder)
            state = {"step": self.step, "seconds": self.seconds, "totals": self.totals}
            write_atomic(folder / STATE_FILE, json.dumps(state))
        self._saved_step = self.step

    def finish(self, write: Callable[[Path], None]) -> None:
        """Write the last checkpoint and the learning curve, and say how to go on."""
        from sparring.trainers.curve import save_curve

        if self.step > self._saved_step:
            self._save(write)
        save_curve(self.run)
        if self._writer is not None:
            self._writer.close()
        if self._stop_asked.is_set():
            why, more = "Stopped on request", ""
        elif self.step >= self.loop.steps:
            why, more = "Finished", f" --steps {2 * self.loop.steps}"
        elif self.loop.max_env_turns and self.totals.get("env_turns", 0) >= self.loop.max_env_turns:
            why, more = "Out of turns", f" --max-env-turns {2 * self.loop.max_env_turns}"
        else:
            why, more = "Out of time", f" --max-seconds {2 * (self.loop.max_seconds or 0):g}"
        self.say(f"{why} after step {self.step} ({self.seconds:.0f} s of training): {self.run.path}")
        self.say(f"Go on with: {command_of(self._trainer)} --run {self.run.path} --resume{more}")

    # Interrupts

    def __enter__(self) -> Session:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._handlers[number] = signal.signal(number, self._ask_to_stop)
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _ask_to_stop(self, number: int, frame: FrameType | None) -> None:
        if self._stop_asked.is_set():
            raise KeyboardInterrupt
        self._stop_asked.set()
        self.say("Finishing this step, then saving. Once more to quit at once.")


def command_of(trainer: str) -> str:
    """What a shell is told to run a trainer: ours are `sparring train NAME`, one in a file of its own is that file."""
    script = Path(sys.argv[0])
    if script.suffix == ".py" and script.stem == trainer and script.resolve().parent != Path(__file__).resolve().parent:
        return f"python {script}"
    return f"sparring train {trainer}"


def entropy(seed: int, step: int, purpose: str) -> list[int]:
    """Entropy for one use of randomness (`numpy.random.default_rng(entropy(…))`), a function of its arguments."""
    return [seed, step, int.from_bytes(purpose.encode()[:8], "big")]
