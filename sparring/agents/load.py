"""From a short name to an agent: what `--agents` of the command line understands.

| spec | agent |
|---|---|
| `random` | a random admissible action each turn |
| `expert`, `expert:0.3` | the environment's own expert, erring at that rate each turn (`oracle` is `expert`) |
| `first-hit` | the WebShop heuristic |
| `runs/demo` | the newest checkpoint of a run, with the wrappers and the memory it was trained with |
| `chai:RUN` | 5 utterances of a run's newest checkpoint, of which its critic picks one (a run of (offline_)archer) |
| `chai:RUN:n=9:from=start` | 9, by the model that the run began with, as CHAI's frozen imitator proposes |
| `search:METHOD:AGENT` | any of these that samples, with a search before it acts (`sparring.search.agent`) |
| `hf:FOLDER` | a Hugging Face folder, or one of the models that come by name (`hf:smollm2`) |
| `vllm:FOLDER` | the same by vLLM, in this process |
| `openai:MODEL@URL` | an OpenAI-compatible server; the key is read from the environment variable OPENAI_API_KEY |
| `module:attribute` | a policy of your own, or a function or class that makes one |
| `random+webshop-index` | any of these (but runs) under named wrappers, the innermost first |
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparring.agents.first_hit import FirstHitPolicy
from sparring.agents.prompts import history_length
from sparring.agents.scripted import ExpertPolicy, RandomPolicy
from sparring.errors import InvalidConfig, unknown
from sparring.registration import wrapper_names
from sparring.runs import RunFolder, from_plain, unknown_run
from sparring.settings import AgentConfig, EnvConfig
from sparring.types import Policy, Trajectory

if TYPE_CHECKING:
    from sparring.agents.hf import HFPolicy

SPECS = (
    "random",
    "expert",
    "oracle",
    "first-hit",
    "runs/NAME",
    "chai:RUN",
    "search:METHOD:AGENT",
    "hf:FOLDER",
    "vllm:FOLDER",
    "openai:MODEL@URL",
    "module:attribute",
)


@dataclass(frozen=True, slots=True)
class Agent:
    """A policy together with what it sees: everything that a result must name.

    Attributes:
        name: unique within a benchmark. policy: what acts.
        wrappers: named wrappers around the environment, the innermost first.
        memory: the memory style of its prompts. system: a system message, or None.
        source: where its weights came from, such as a checkpoint's folder.
        greedy: for a policy that samples, one of the same weights that takes the likeliest action instead.
        play: how its episodes are collected, called like `rollout`; None for `rollout` itself.
    """

    name: str
    policy: Policy
    wrappers: tuple[str, ...] = ()
    memory: str = "full_history"
    system: str | None = None
    source: str = ""
    greedy: Policy | None = None
    play: Callable[..., list[Trajectory]] | None = None

    def __post_init__(self) -> None:
        history_length(self.memory)
        if not self.name.strip():
            raise InvalidConfig("an agent needs a name that is not empty")


def load_agent(
    spec: str, *, wrappers: tuple[str, ...] = (), memory: str = "full_history", system: str | None = None
) -> Agent:
    """Make the agent that `spec` stands for (see this module's table).

    Args:
        wrappers, memory, system: for agents that bring none of their own; a run brings those it was trained with.
    Raises:
        UnknownName: nothing answers to the spec, or to a wrapper that it names.
        InvalidConfig: the spec is of a known kind and says something impossible.
        MissingExtra: the packages of that kind of agent are not installed.
    """
    if spec.startswith("search:"):
        # Named by a string, because search stands above agents and must not be imported by them.
        made: Agent = importlib.import_module("sparring.search.agent").search_agent(
            spec, wrappers=wrappers, memory=memory, system=system
        )
        return made
    plain, *own = spec.split("+")
    for wrapper in own:
        if wrapper not in wrapper_names():
            raise unknown("wrapper", wrapper, wrapper_names(), f'It stands behind a "+" in the agent "{spec}".')
    agent = _load(plain, tuple(own) or wrappers, memory, system)
    if own and agent.source.startswith("checkpoints/"):
        raise InvalidConfig(f'"{spec}": a run is played under the wrappers that it was trained with, so name none')
    return replace(agent, name=spec.rstrip("/"))


def _load(spec: str, wrappers: tuple[str, ...], memory: str, system: str | None) -> Agent:
    name, _, rest = spec.partition(":")
    if spec == "random":
        return Agent(spec, RandomPolicy(), wrappers, memory, system)
    if spec == "first-hit":
        return Agent(spec, FirstHitPolicy(), wrappers, memory, system)
    if name in ("expert", "oracle"):
        return Agent(spec, ExpertPolicy(_rate(spec, rest)), ("expert", *wrappers), memory, system)
    if name == "openai" and rest:
        return _openai(spec, rest, wrappers=wrappers, memory=memory, system=system)
    if name == "hf" and rest:
        return _from_folder(spec, rest, wrappers=wrappers, memory=memory, system=system)
    if name == "vllm" and rest:
        return _by_vllm(spec, rest, wrappers=wrappers, memory=memory, system=system)
    if name == "chai" and rest:
        return _reranked(spec, rest)
    if RunFolder(Path(spec)).config_path.exists():
        return _from_run(spec)
    if rest:
        return Agent(spec, _own(spec), wrappers, memory, system)
    if "/" in spec:
        raise unknown_run(Path(spec))
    raise unknown("agent", spec, SPECS, "A run is named by its folder, which holds a config.toml.")


def variants(agent: Agent) -> tuple[Agent, ...]:
    """The agent as it samples and, where it has that too, as it takes the likeliest action."""
    if agent.greedy is None:
        return (agent,)
    return (
        replace(agent, name=f"{agent.name} (sampled)", greedy=None),
        replace(agent, name=f"{agent.name} (greedy)", policy=agent.greedy, greedy=None),
    )


def _rate(spec: str, text: str) -> float:
    try:
        return float(text or 0)
    except ValueError as error:
        raise InvalidConfig(f'the error rate in "{spec}" must be a number within 0 and 1') from error


def _model(folder: Path, config: AgentConfig) -> tuple[HFPolicy, HFPolicy]:
    """One model as two policies, sampled and greedy."""
    from transformers.utils import logging as transformers_logging

    from sparring.agents.vision import load_policy, policy_on  # torch, which the other agents must not need

    transformers_logging.disable_progress_bar()  # loading takes a moment, and its bars would break ours

    settings: dict[str, Any] = {
        "temperature": config.temperature,
        "max_new_tokens": config.max_action_tokens,
        "constrained": config.constrained,
        "threads": 0,
    }
    sampled = load_policy(folder, **settings)
    return sampled, policy_on(sampled.model, sampled.tokenizer, greedy=True, **settings)


def _from_folder(spec: str, folder: str, *, wrappers: tuple[str, ...], memory: str, system: str | None) -> Agent:
    sampled, greedy = _model(Path(folder), AgentConfig())
    return Agent(spec, sampled, wrappers, memory, system, source=folder, greedy=greedy)


def _by_vllm(spec: str, folder: str, *, wrappers: tuple[str, ...], memory: str, system: str | None) -> Agent:
    from sparring.agents.vllm import VLLMPolicy  # torch, and vllm is an extra

    sampled = VLLMPolicy(folder)
    greedy = VLLMPolicy(sampled.engine, sampled.tokenizer, greedy=True)
    return Agent(spec, sampled, wrappers, memory, system, source=folder, greedy=greedy)


def _newest(path: str) -> tuple[RunFolder, int, Path]:
    """A run with the step and the folder of its newest checkpoint."""
    run = RunFolder.open(Path(path))
    latest = run.latest_checkpoint()
    if latest is None:
        raise InvalidConfig(f"{path} has no checkpoint yet: checkpoints/step-N is written while it trains")
    return run, *latest


def _seen(run: RunFolder) -> tuple[AgentConfig, EnvConfig]:
    """What a run's agent was shown, and how it acted."""
    plain = run.plain_config
    config = from_plain(AgentConfig, plain.get("agent", {}), f"{run.config_path}, agent")
    return config, from_plain(EnvConfig, plain.get("env", {}), f"{run.config_path}, env")


def _from_run(spec: str) -> Agent:
    run, step, folder = _newest(spec)
    config, env = _seen(run)
    sampled, greedy = _model(folder, config)
    return Agent(spec, sampled, env.wrappers, config.memory, config.system, f"checkpoints/step-{step}", greedy)


def _reranked(spec: str, rest: str) -> Agent:
    from sparring.agents.rerank import RerankPolicy, load_critic

    path, *settings = rest.split(":")
    options = {"n": "5", "from": "checkpoint"}
    for setting in settings:
        name, _, value = setting.partition("=")
        if name not in options:
            raise unknown("option", name, options, f'It stands in the agent "{spec}".')
        options[name] = value
    if not options["n"].isdecimal() or options["from"] not in ("checkpoint", "start"):
        raise InvalidConfig(f'"{spec}" must be chai:RUN, with :n=NUMBER or :from=start or :from=checkpoint behind it')
    if not RunFolder(Path(path)).config_path.exists():
        raise unknown_run(Path(path), f'It stands in the agent "{spec}".')
    run, step, folder = _newest(path)
    config, env = _seen(run)
    policy, _ = _model(folder, config)
    written = run.plain_config
    # `archer` keeps it among the settings of its critic.
    encoder = written.get("encoder") or written.get("values", {}).get("encoder", "actor")
    critic = load_critic(folder, encoder, policy)
    if options["from"] == "start":
        began = str(written.get("model", ""))
        began_with = _newest(began)[2] if RunFolder(Path(began)).config_path.exists() else Path(began)
        policy, _ = _model(began_with, config)
    chosen = RerankPolicy(policy, critic, proposals=int(options["n"]))
    return Agent(spec, chosen, env.wrappers, config.memory, config.system, f"checkpoints/step-{step}")


def _openai(spec: str, rest: str, *, wrappers: tuple[str, ...], memory: str, system: str | None) -> Agent:
    from sparring.agents.openai import OpenAIPolicy  # httpx is an extra

    model, at, url = rest.rpartition("@")
    if not at or not model or not url:
        raise InvalidConfig(f'"{spec}" must be openai:MODEL@URL, such as openai:qwen3@http://localhost:8000/v1')
    greedy = OpenAIPolicy(url, model, temperature=0.0)
    return Agent(spec, OpenAIPolicy(url, model), wrappers, memory, system, source=model, greedy=greedy)


def _own(spec: str) -> Policy:
    module, _, attribute = spec.partition(":")
    try:
        found: Any = getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise unknown("agent", spec, SPECS, f"As module:attribute it would need the module {error.name}.") from error
    except AttributeError as error:
        raise unknown(f"attribute of {module}", attribute, vars(importlib.import_module(module))) from error
    policy: Any = found() if isinstance(found, type) or not hasattr(found, "act") else found
    if not hasattr(policy, "act") or not hasattr(policy, "version"):
        raise InvalidConfig(f"{spec} is no policy: it gave {policy!r}, which needs act(prompts) and version")
    chosen: Policy = policy
    return chosen
