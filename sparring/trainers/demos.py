"""Episodes to learn from that were not the learner's own: read from files, or played by a demonstrator."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.progress import Progress

from sparring import trajectories
from sparring.errors import InvalidConfig
from sparring.rollout import Setting
from sparring.runs import RunFolder
from sparring.settings import EnvConfig
from sparring.trainers.collect import demonstrate
from sparring.types import Trajectory


@dataclass(frozen=True, slots=True)
class DemosConfig:
    """Whose episodes to imitate, where no data is given."""

    agent: str = "expert:0.3"
    """The demonstrator, as the benchmark names agents: expert, expert:0.3, random, a run folder …"""
    episodes: int = 2000
    """How many it plays."""
    split: str | None = None
    """Split of their tasks; by default the environment's training split."""

    def __post_init__(self) -> None:
        if self.episodes < 1:
            raise InvalidConfig(f"demos.episodes must be at least 1, got {self.episodes}")


def demonstrations(
    demos: DemosConfig, run: RunFolder, env: EnvConfig, setting: Setting, *, data: Path | None, seed: int
) -> list[Trajectory]:
    """The episodes to imitate: read from `data`, or played, and kept in the run's `trajectories/` for resuming.

    Args:
        env, setting: how they are played. seed: of their tasks and samples.
    Raises:
        InvalidData: `data` holds no trajectories.
    """
    if data is not None:
        return list(trajectories.read(data))
    path = run.trajectories_path("demos")
    if run.latest_checkpoint() is None or not path.exists():
        with Progress() as progress:
            bar = progress.add_task(f"demonstrations by {demos.agent}", total=demos.episodes)
            played = demonstrate(
                env,
                demos.agent,
                setting,
                episodes=demos.episodes,
                split=demos.split,
                seed=seed,
                on_finish=lambda _: progress.advance(bar),
            )
        trajectories.write(path, played)
    return list(trajectories.read(path))
