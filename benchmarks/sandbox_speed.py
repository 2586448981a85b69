"""How fast sandboxes are: start-up, commands in a shell, forks of a workspace, graded programs per CPU second.

python benchmarks/sandbox_speed.py
python benchmarks/sandbox_speed.py --swe-rex /tmp/rex/bin/python    # beside SWE-ReX (benchmarks/swerex_speed.py)

Docker is measured where an engine answers that has the image of `sparring sandbox image`.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from record import record

from sparring.envs.sandbox import probe
from sparring.envs.sandbox.bubblewrap import BubblewrapSandbox
from sparring.envs.sandbox.docker import DockerSandbox
from sparring.envs.sandbox.forkserver import ForkServer
from sparring.envs.sandbox.protocol import FileTree, Limits, Sandbox, SandboxRefused
from sparring.errors import MissingExtra

SOLUTION = """
def has_close_elements(numbers, threshold):
    ordered = sorted(numbers)
    return any(b - a < threshold for a, b in zip(ordered, ordered[1:]))
"""
TESTS = [
    "assert has_close_elements([1.0, 2.0, 3.9, 4.0, 5.0, 2.2], 0.3) == True",
    "assert has_close_elements([1.0, 2.0, 3.9, 4.0, 5.0, 2.2], 0.05) == False",
    "assert has_close_elements([1.0, 2.0, 5.9, 4.0, 5.0], 0.95) == True",
    "assert has_close_elements([1.1, 2.2, 3.1, 4.1, 5.1], 0.5) == False",
]


_BATCH = 50  # repetitions for one rate


@dataclass(frozen=True)
class Config:
    """How often each thing is done."""

    graded: int = 500
    """Programs to grade."""
    commands: int = 3000
    """Shell commands."""
    starts: int = 20
    """Sandboxes to open."""
    forks: int = 30
    """Forks of the workspace."""
    files: int = 300
    """Files in the workspace that is forked, of 2 kB each in 30 folders."""
    swe_rex: Path | None = None
    """A Python that has swe-rex, to measure that beside ours."""


def milliseconds(do: Callable[[], Any], times: int) -> dict[str, float]:
    """Wall time of `do`: least, median and 90th percentile."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        do()
        taken.append(1000 * (time.perf_counter() - began))
    cuts = statistics.quantiles(taken, n=10)
    return {"least": round(min(taken), 2), "median": round(statistics.median(taken), 2), "p90": round(cuts[-1], 2)}


def used_s(sandbox: BubblewrapSandbox) -> float:
    """CPU seconds of this process, and of process 1 of the sandbox with all that has ended in it."""
    return time.process_time() + _used_inside_s(sandbox)


def _used_inside_s(sandbox: BubblewrapSandbox) -> float:
    fields = Path(f"/proc/{sandbox.keeper.process_id}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / 100  # in ticks of the kernel's interface, 100 a second everywhere


def starting(make: Callable[[], Sandbox], config: Config) -> dict[str, Any]:
    """Opening a sandbox until a first command has run, and closing it."""

    def once() -> None:
        with make() as sandbox:
            assert sandbox.run(["/bin/true"]).ok

    return {"open_run_close_ms": milliseconds(once, config.starts)}


def shell_commands(make: Callable[[], Sandbox], config: Config) -> dict[str, Any]:
    """Commands in one persistent shell."""
    with make() as sandbox:
        shell = sandbox.shell()
        shell.run("x=3")
        used, rates = time.process_time(), []
        for _ in range(config.commands // _BATCH):
            began = time.perf_counter()
            for _ in range(_BATCH):
                assert shell.run("echo $x").stdout == b"3\n"
            rates.append(_BATCH / (time.perf_counter() - began))
        ours = time.process_time() - used
        inside = float(shell.run("times").stdout.split()[0].decode().partition("m")[2].rstrip("s"))
        inside += float(shell.run("times").stdout.split()[1].decode().partition("m")[2].rstrip("s"))
        single = milliseconds(lambda: sandbox.run("echo 3"), 100)
    return {
        "commands_per_s": {"median": round(statistics.median(rates)), "best": round(max(rates))},
        "commands_per_cpu_s_of_owner_and_shell": round(len(rates) * _BATCH / (ours + inside)),
        "new_process_each_ms": single,
    }


def forking(make: Callable[[], Sandbox], config: Config) -> dict[str, Any]:
    """Saving a workspace and restoring it in another sandbox."""
    with make() as sandbox, make() as other:
        for number in range(config.files):
            sandbox.write(f"folder{number % 30}/file{number}.py", bytes([65 + number % 26]) * 2048)
        saved = sandbox.snapshot()

        def fork() -> None:
            other.restore(sandbox.snapshot())

        total = milliseconds(fork, config.forks)
        assert other.snapshot() == saved
        used = time.process_time()
        for _ in range(config.forks):
            fork()
        cpu = 1000 * (time.process_time() - used) / config.forks
        return {
            "files": config.files,
            "fork_ms": total,
            "fork_own_cpu_ms": round(cpu, 2),
            "snapshot_ms": milliseconds(sandbox.snapshot, config.forks),
            "empty_ms": milliseconds(lambda: other.restore(FileTree()), config.forks),
        }


def grading(config: Config) -> dict[str, Any]:
    """Graded programs of four tests each."""
    with ForkServer(Limits(wall_s=30)) as server:
        sandbox = server._sandbox

        def grade() -> None:
            assert server.grade(SOLUTION, TESTS, ["has_close_elements"]).passed

        for _ in range(20):
            grade()
        rates = []
        for _ in range(config.graded // _BATCH):
            used = used_s(sandbox)
            for _ in range(_BATCH):
                grade()
            rates.append(_BATCH / (used_s(sandbox) - used))
        wall = milliseconds(grade, _BATCH)
    per_cpu_s = {"median": round(statistics.median(rates), 1), "best": round(max(rates), 1)}
    return {"tests": len(TESTS), "graded_per_cpu_s": per_cpu_s, "graded_ms": wall}


def checking(backend: str) -> dict[str, Any]:
    """The attacks before a process's first sandbox."""
    began = time.perf_counter()
    probe.verify(backend)
    return {"start_up_attacks_s": round(time.perf_counter() - began, 2)}


def measured(backend: str, make: Callable[[], Sandbox], config: Config) -> dict[str, Any]:
    """Everything that both backends do."""
    try:
        check = checking(backend)
    except (MissingExtra, SandboxRefused) as error:
        return {"not_measured": str(error)}
    return {
        "check": check,
        "start": starting(make, config),
        "shell": shell_commands(make, config),
        "fork": forking(make, config),
    }


def swe_rex(python: Path) -> dict[str, Any]:
    """SWE-ReX's runtimes."""
    script = Path(__file__).with_name("swerex_speed.py")
    done = subprocess.run([python, script], capture_output=True, text=True, timeout=400, check=True)
    line = next(line for line in done.stdout.splitlines() if line.startswith("{"))  # among its log
    found: dict[str, Any] = json.loads(line)
    return found


def main(config: Config) -> None:
    """Measure, print and record."""
    with BubblewrapSandbox() as sandbox:
        memory_limit = sandbox.memory_limit
    figures: dict[str, Any] = {
        "machine_load": {"load_average": round(os.getloadavg()[0], 1), "own_niceness": os.nice(0)},
        "bubblewrap": {"memory_limit": memory_limit, **measured("bubblewrap", BubblewrapSandbox, config)},
        "docker": measured("docker", DockerSandbox, config),
        "grading": grading(config),
    }
    if config.swe_rex is not None:
        figures["swe_rex"] = swe_rex(config.swe_rex)
    print(json.dumps(figures, indent=2))
    record(
        "sandbox_speed",
        figures,
        notes="machine_load says how busy the machine was, from which wall times and, by shared caches, CPU times "
        "suffer: least times and best rates (of batches of 50, SWE-ReX's of 25) are nearest to a quiet one. SWE-ReX "
        "contains nothing in its local runtime, and with the network of the engine's machine in the Docker runtime.",
    )


if __name__ == "__main__":
    main(tyro.cli(Config))
