"""`search:METHOD:AGENT` as an agent of the command line: any policy gains a search before it acts.

    sparring bench WebShop-v1 --agents runs/demo,search:mcts:runs/demo --tasks 50
    sparring bench WebShop-v1 --agents search:best-of-n@simulations=20:runs/demo,search:mcts@env_steps=300:runs/demo

METHOD is one of `sparring.search.rules.PRESETS`, with settings behind it: those of `Budget` (simulations, env_steps,
tokens, seconds), `at_once`, and the numbers of `Rules` (samples, children, exploration, max_depth, width).

Places are valued by playouts, and the search sees what the environment says of an ending before the agent commits to
it, as in the published methods: a simulator is a privilege, so compare with best-of-n at an equal budget, not with an
agent that plays once.
"""

from __future__ import annotations

import functools
from dataclasses import replace

from sparring.agents.load import Agent, load_agent
from sparring.errors import InvalidConfig, unknown
from sparring.search.engine import Budget
from sparring.search.evaluators import playout
from sparring.search.play import Searcher, play
from sparring.search.rules import rules_of

_BUDGETS = ("simulations", "env_steps", "tokens", "seconds")
_WHOLE = ("samples", "children", "max_depth", "width")
_SETTINGS = (*_BUDGETS, "at_once", *_WHOLE, "exploration")


def search_agent(
    spec: str, *, wrappers: tuple[str, ...] = (), memory: str = "full_history", system: str | None = None
) -> Agent:
    """Make the agent that `search:METHOD[@NAME=VALUE]:AGENT` stands for.

    Args:
        wrappers, memory, system: for the agent inside, as for `load_agent`.
    Raises:
        UnknownName: no such method, setting or agent. InvalidConfig: a value that is no number above 0.
    """
    _, _, rest = spec.partition(":")
    how, _, inner = rest.partition(":")
    if not inner:
        raise InvalidConfig(f'"{spec}" must be search:METHOD:AGENT, such as search:mcts:runs/demo')
    method, *given = how.split("@")
    values: dict[str, float] = {}
    for one in given:
        name, _, value = one.partition("=")
        if name not in _SETTINGS:
            raise unknown("setting", name, _SETTINGS, f'It stands in the agent "{spec}".')
        values[name] = _number(spec, name, value)
    changes = {name: int(values[name]) for name in _WHOLE if name in values}
    exploration = {"exploration": values["exploration"]} if "exploration" in values else {}
    limits = {name: values[name] if name == "seconds" else int(values[name]) for name in _BUDGETS if name in values}
    searcher = Searcher(
        rules_of(method, **changes, **exploration),
        Budget(**({"simulations": None} | limits)) if limits else Budget(),  # type: ignore[arg-type]
        playout,
        simulations_at_once=int(values.get("at_once", 4)),
    )
    agent = load_agent(inner, wrappers=wrappers, memory=memory, system=system)
    return replace(agent, name=spec, greedy=None, play=functools.partial(play, searcher))


def _number(spec: str, name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if value <= 0:
        raise InvalidConfig(f'{name} in "{spec}" must be a number above 0, got "{text}"')
    return value
