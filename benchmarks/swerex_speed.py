"""How fast SWE-ReX's runtimes are, for `sandbox_speed.py`, which runs this with a Python that has `swe-rex`.

python -m venv /tmp/rex && /tmp/rex/bin/pip install swe-rex aiohttp
/tmp/rex/bin/python benchmarks/swerex_speed.py

The Docker runtime starts the image of `sparring sandbox image`, into which this very environment and its Python are
mounted, on the engine's own network: that is all that SWE-ReX needs in a container.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from swerex.deployment.docker import DockerDeployment
from swerex.deployment.local import LocalDeployment
from swerex.runtime.abstract import BashAction, CreateBashSessionRequest

_BATCH = 25
_TRIES = 3  # it gives its own shell 0.1 s to answer, which a busy machine does not always meet


async def commands(deployment: Any, batches: int) -> dict[str, Any]:
    """Start a deployment, and run commands in one persistent shell of it."""
    began = time.perf_counter()
    await deployment.start()
    try:
        await deployment.runtime.create_session(CreateBashSessionRequest(startup_timeout=30.0))
        started = time.perf_counter() - began
        await deployment.runtime.run_in_session(BashAction(command="x=3"))
        rates = []
        for _ in range(batches):
            began = time.perf_counter()
            for _ in range(_BATCH):
                said = await deployment.runtime.run_in_session(BashAction(command="echo $x"))
                assert said.output.strip() == "3", said
            rates.append(_BATCH / (time.perf_counter() - began))
    finally:
        await deployment.stop()
    return {
        "start_ms": round(1000 * started),
        "commands_per_s": {"median": round(statistics.median(rates), 1), "best": round(max(rates), 1)},
    }


def docker() -> DockerDeployment:
    """SWE-ReX in a container of our image."""
    mounts = [part for path in (sys.prefix, sys.base_prefix) for part in ("--volume", f"{path}:{path}:ro")]
    arguments = ["--network", "host", "--env", f"PATH={Path(sys.prefix, 'bin')}:/usr/local/bin:/usr/bin:/bin", *mounts]
    return DockerDeployment(image="sparring-sandbox", pull="never", port=8000, docker_args=arguments)


def main() -> None:
    """Measure both and print JSON."""
    figures: dict[str, Any] = {"version": version("swe-rex")}
    for name, make in (("docker", docker), ("local", LocalDeployment)):
        for _ in range(_TRIES):
            try:
                figures[name] = asyncio.run(commands(make(), 8))
                break
            except Exception as error:  # if it fails every time, it is not there to be compared with
                figures[name] = {"failed": f"{type(error).__name__}: {error}"[:300]}
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
