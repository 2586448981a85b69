"""Settings that trainers and benchmarks share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import gymnasium

from sparring.errors import InvalidConfig
from sparring.registration import full_id, make


@dataclass(frozen=True, slots=True)
class EnvConfig:
    """Which environment, made how."""

    id: str = "sparring/WebShop-v1"
    """Registered id, with or without its `sparring/`."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Keyword arguments of the environment, as `name value` pairs; numbers and true/false are recognised."""
    wrappers: tuple[str, ...] = ()
    """Names of wrappers, the innermost first."""
    max_turns: int | None = None
    """Truncate an episode after this many turns; by default the environment's registered limit."""
    step_timeout_s: float | None = None
    """Give up on an environment that takes longer over one reset or step: its episode is lost, and the run goes on.
    Environments then run free of each other, so that a run can't be repeated bit by bit."""

    def __post_init__(self) -> None:
        if self.max_turns is not None and self.max_turns < 1:
            raise InvalidConfig(f"env.max_turns must be at least 1, got {self.max_turns}")
        if self.step_timeout_s is not None and self.step_timeout_s <= 0:
            raise InvalidConfig(f"env.step_timeout_s must be above 0, got {self.step_timeout_s}")

    @property
    def full_id(self) -> str:
        """The id with its namespace."""
        return full_id(self.id)

    def make(self, extra_wrappers: tuple[str, ...] = ()) -> gymnasium.Env[str, str]:
        """Make one environment; `extra_wrappers` go innermost."""
        options = {name: _value(text) for name, text in self.options.items()}
        return make(self.id, wrappers=(*extra_wrappers, *self.wrappers), max_turns=self.max_turns, **options)

    def maker(self, extra_wrappers: tuple[str, ...] = ()) -> Callable[[], gymnasium.Env[str, str]]:
        """A function that makes one, for `EnvPool`."""
        return lambda: self.make(extra_wrappers)


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """How a language model is made to act: what it is shown, and how its tokens are drawn."""

    memory: str = "full_history"
    """Memory style of the prompts: full_history, window(k) or last_observation."""
    system: str | None = None
    """System message to open with."""
    constrained: bool = True
    """Hold decoding to the admissible actions, where the environment lists them."""
    temperature: float = 1.0
    """Sampling temperature; log-probabilities are those of the tempered distribution."""
    max_action_tokens: int = 32
    """Tokens an action may have, its end-of-turn token included."""
    engine: Literal["hf", "vllm"] = "hf"
    """What runs the model while a trainer plays: the model under training itself, or vLLM in the same process, which
    takes over the weights after every update."""
    engine_cache_gib: float = 4.0
    """vllm: memory for keys and values, in GiB."""
    engine_dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """vllm: the numbers it computes in. auto is float32 on a CPU and, on a GPU, half precision for a model whose
    files hold float32: faster, and its log-probabilities differ from the trainer's (the column `mismatch`)."""

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise InvalidConfig(f"agent.temperature must be above 0, got {self.temperature}")
        if self.max_action_tokens < 1:
            raise InvalidConfig(f"agent.max_action_tokens must be at least 1, got {self.max_action_tokens}")
        if self.engine_cache_gib <= 0:
            raise InvalidConfig(f"agent.engine_cache_gib must be above 0, got {self.engine_cache_gib}")


def _value(text: Any) -> Any:
    if not isinstance(text, str):
        return text
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
