"""`search:METHOD:AGENT` as an agent of the command line: any policy gains a search before it acts.

    sparring bench WebShop-v1 --agents runs/demo,search:mcts:runs/demo --tasks 50
    sparring bench WebShop-v1 --agents search:best-of-n@simulations=20:runs/demo,search:mcts@env_steps=300:runs/demo
    sparring bench WebShop-v1 --agents search:r-mcts@evaluator=debate@outcome=hidden:hf:smollm2 --tasks 5

METHOD is one of `sparring.search.rules.PRESETS`, with settings behind it:

| setting | what it says |
|---|---|
| `simulations`, `env_steps`, `tokens`, `seconds` | the budget of a search (50 simulations where none is given) |
| `at_once` | simulations at once in one tree, by virtual loss (4) |
| `samples`, `children`, `max_depth`, `width`, `exploration`, `stop_at` | as `Rules` has them |
| `evaluator` | what a place is worth: `playout` (default), `value`, `ahead`, `score`, `debate` or `agreement` |
| `critique` | `asked` lets the agent's own policy rank its proposals (Agent Q) |
| `outcome` | `hidden` keeps the search from seeing what the environment says of an ending |
| `states` | `merged` takes places in equal states for one |

`value` and `ahead` ask the value model of the agent's run (`rest_mcts`); all judges are the agent's own policy. Unless
its outcome is hidden, a search sees what an ending is worth before the agent commits to it, as in the published
methods: a simulator is a privilege, so compare with best-of-n at an equal budget, not with an agent that plays once.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from sparring.agents.first_hit import FirstHitPolicy
from sparring.agents.load import Agent, load_agent
from sparring.agents.scripted import ExpertPolicy, RandomPolicy
from sparring.errors import InvalidConfig, unknown
from sparring.search.asking import Judge
from sparring.search.critique import ranking
from sparring.search.debate import debate
from sparring.search.engine import Budget
from sparring.search.evaluators import Evaluator, estimate, playout
from sparring.search.greedy_rollout import greedy_rollout
from sparring.search.play import Searcher, play
from sparring.search.rules import rules_of
from sparring.search.self_consistency import scored_and_agreed
from sparring.search.verdicts import SCORES, Values, verdicts
from sparring.types import Policy

_BUDGETS = ("simulations", "env_steps", "tokens", "seconds")
_WHOLE = ("samples", "children", "max_depth", "width")
_REAL = ("exploration", "stop_at")
_NUMBERS = (*_BUDGETS, "at_once", *_WHOLE, *_REAL)
_EVALUATORS: Mapping[str, Callable[[Judge, str], Evaluator]] = {
    "playout": lambda judge, agent: playout,
    "value": lambda judge, agent: estimate(_value_model(agent)),
    "ahead": lambda judge, agent: greedy_rollout(_value_model(agent)),
    "score": lambda judge, agent: estimate(verdicts(judge, SCORES)),
    "debate": lambda judge, agent: estimate(debate(judge)),
    "agreement": lambda judge, agent: scored_and_agreed(judge),
}
_ASKING = ("score", "debate", "agreement")
_WORDS: Mapping[str, tuple[str, ...]] = {
    "evaluator": tuple(_EVALUATORS),
    "critique": ("none", "asked"),
    "outcome": ("seen", "hidden"),
    "states": ("apart", "merged"),
}


@dataclass(frozen=True, slots=True)
class SearchSpec:
    """What `search:METHOD[@NAME=VALUE]:AGENT` says.

    Attributes:
        method: its name. agent: the spec of the agent inside. numbers, words: the settings.
    """

    method: str
    agent: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, spec: str) -> SearchSpec:
        """Read it.

        Raises:
            UnknownName: no such setting or word.
            InvalidConfig: no agent, a setting that stands twice, or a value that it can't have.
        """
        _, _, rest = spec.partition(":")
        how, _, agent = rest.partition(":")
        if not agent:
            raise InvalidConfig(f'"{spec}" must be search:METHOD:AGENT, such as search:mcts:runs/demo')
        method, *given = how.split("@")
        numbers: dict[str, float] = {}
        words: dict[str, str] = {}
        for one in given:
            name, _, value = one.partition("=")
            if name in words or name in numbers:
                raise InvalidConfig(f'{name} stands twice in "{spec}"')
            if name in _WORDS:
                if value not in _WORDS[name]:
                    raise unknown(name, value, _WORDS[name], f'It stands in the agent "{spec}".')
                words[name] = value
            elif name in _NUMBERS:
                numbers[name] = _number(spec, name, value)
            else:
                raise unknown("setting", name, (*_NUMBERS, *_WORDS), f'It stands in the agent "{spec}".')
        return cls(method, agent, numbers, words)

    def searcher(self, policy: Policy) -> Searcher:
        """The search, judged by `policy` where it is judged.

        Raises:
            UnknownName: no such method. InvalidConfig: settings that don't fit together.
            InvalidData: the agent's run has no value model, which is asked for.
        """
        whole = {name: int(self.numbers[name]) for name in _WHOLE if name in self.numbers}
        rest = {name: self.numbers[name] for name in _REAL if name in self.numbers}
        hidden = self.words.get("outcome") == "hidden"
        merged = self.words.get("states") == "merged"
        evaluator = self.words.get("evaluator", "playout")
        if hidden and evaluator == "playout":
            raise InvalidConfig(
                "a playout is worth what the environment says at its end: outcome=hidden needs an evaluator that "
                f"judges for itself, one of {', '.join(name for name in _EVALUATORS if name != 'playout')}"
            )
        self._check_judge(policy, evaluator)
        limits = {
            name: self.numbers[name] if name == "seconds" else int(self.numbers[name])
            for name in _BUDGETS
            if name in self.numbers
        }
        judge = Judge(policy)
        return Searcher(
            rules_of(self.method, **whole, **rest, sees_outcome=not hidden, merge_states=merged),
            Budget(**({"simulations": None} | limits)) if limits else Budget(),  # type: ignore[arg-type]
            _EVALUATORS[evaluator](judge, self.agent),
            critic=ranking(judge) if self.words.get("critique") == "asked" else None,
            simulations_at_once=int(self.numbers.get("at_once", 4)),
            judge=judge,
        )

    def _check_judge(self, policy: Policy, evaluator: str) -> None:
        """Check that an agent that is asked questions answers some; a random one can choose, but not argue."""
        asked = [evaluator] if evaluator in _ASKING else []
        asked += ["critique"] if self.words.get("critique") == "asked" else []
        mute = (ExpertPolicy, FirstHitPolicy, *([RandomPolicy] if "debate" in asked else []))
        if asked and isinstance(policy, mute):
            raise InvalidConfig(
                f'{" and ".join(asked)} ask the agent itself, and "{self.agent}" is a script that answers no such '
                "questions: take a model"
            )


def search_agent(
    spec: str, *, wrappers: tuple[str, ...] = (), memory: str = "full_history", system: str | None = None
) -> Agent:
    """Make the agent that `search:METHOD[@NAME=VALUE]:AGENT` stands for.

    Args:
        wrappers, memory, system: for the agent inside, as for `load_agent`.
    Raises:
        UnknownName: no such method, setting or agent.
        InvalidConfig: a value that a setting can't have, or an agent that searches itself.
    """
    found = SearchSpec.parse(spec)
    agent = load_inner(found, wrappers=wrappers, memory=memory, system=system)
    searcher = found.searcher(agent.policy)
    return replace(agent, name=spec, greedy=None, play=functools.partial(play, searcher))


def load_inner(
    spec: SearchSpec, *, wrappers: tuple[str, ...] = (), memory: str = "full_history", system: str | None = None
) -> Agent:
    """Load the agent that a search asks.

    Raises:
        UnknownName: no such agent. InvalidConfig: it searches itself.
    """
    agent = load_agent(spec.agent, wrappers=wrappers, memory=memory, system=system)
    if agent.play is not None:
        raise InvalidConfig(
            f'"{spec.agent}" searches itself, and a search asks an agent that does not: name that alone'
        )
    return agent


def _value_model(agent: str) -> Values:
    if not Path(agent).is_dir():
        raise InvalidConfig(
            f'the evaluators value and ahead ask the value model of a run, and "{agent}" is no folder: take that of a '
            "run of rest_mcts"
        )
    # Only where it is asked for, since it needs torch.
    from sparring.agents.models.value import load_value_model

    return load_value_model(agent)


def _number(spec: str, name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    low = "at least 0" if name in _REAL else "above 0"
    if not math.isfinite(value) or value < 0 or (value == 0 and name not in _REAL):
        raise InvalidConfig(f'{name} in "{spec}" must be a number {low}, got "{text}"')
    if name not in (*_REAL, "seconds") and not value.is_integer():
        raise InvalidConfig(f'{name} in "{spec}" must be a whole number, got "{text}"')
    return value
