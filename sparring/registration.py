"""Ids of environments and names of wrappers, ours and those of installed plug-ins.

One line registers an environment:

    sparring.register("acme/Maze-v1", "acme_maze:Maze", max_turns=40)

A package whose entry point in the group `sparring.plugins` names a function gets that function called once,
before the first look-up, so that its environments are there as soon as it is installed:

    [project.entry-points."sparring.plugins"]
    acme = "acme_maze:register"
"""

from __future__ import annotations

import importlib
import inspect
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any

import gymnasium
from gymnasium.envs.registration import registry

from sparring.errors import InvalidConfig, unknown

PLUGIN_GROUP = "sparring.plugins"

_wrappers: dict[str, str] = {}
_ours: dict[str, str] = {}
_failed_plugins: dict[str, str] = {}
_plugins_loaded = False


class PluginWarning(UserWarning):
    """An installed plug-in could not be loaded; everything else goes on."""


@dataclass(frozen=True, slots=True)
class RegisteredEnv:
    """What the registry knows about one environment; `cls` is the class that its entry point names."""

    id: str
    cls: type[gymnasium.Env[str, str]]
    max_turns: int | None


def register(id: str, entry_point: str, *, max_turns: int | None = None, **options: Any) -> None:
    """Register an environment under a Gymnasium id.

    Args:
        id: `namespace/Name-vN`; the version goes up whenever results stop being comparable.
        entry_point: `module:Class`. A string, so that nothing is imported before the environment is made.
        max_turns: the episode is truncated after this many steps; None for no limit.
        options: keyword arguments that the class is given unless the caller overrides them.
    Raises:
        InvalidConfig: the entry point is not of the form `module:Class`.
    """
    if entry_point.count(":") != 1:
        raise InvalidConfig(f'entry_point must be "module:Class", got "{entry_point}" for {id}')
    if id in registry:
        del registry[id]
    gymnasium.register(
        id, entry_point=entry_point, max_episode_steps=max_turns, kwargs=options, disable_env_checker=True
    )
    _ours[id] = entry_point


def register_wrapper(name: str, entry_point: str) -> None:
    """Give a wrapper (a class of one argument, the environment) a name by which runs and benchmarks ask for it."""
    if entry_point.count(":") != 1:
        raise InvalidConfig(f'entry_point must be "module:Class", got "{entry_point}" for wrapper {name}')
    _wrappers[name] = entry_point


def load(entry_point: str) -> Any:
    """Import `module:attribute`."""
    module, _, attribute = entry_point.partition(":")
    return getattr(importlib.import_module(module), attribute)


def load_plugins() -> dict[str, str]:
    """Call every installed plug-in's function once, and return those that failed, with the reason, by name."""
    global _plugins_loaded
    if not _plugins_loaded:
        _plugins_loaded = True
        for point in entry_points(group=PLUGIN_GROUP):
            try:
                point.load()()
            except Exception as error:  # a broken plug-in must not take the others down
                _failed_plugins[point.name] = f"{type(error).__name__}: {error}"
                warnings.warn(
                    f"the plug-in {point.name} ({point.value}) failed: {error!r}", PluginWarning, stacklevel=2
                )
    return dict(_failed_plugins)


def env_ids() -> list[str]:
    """The ids of all environments registered through sparring, plug-ins included, sorted."""
    load_plugins()
    return sorted(_ours)


def wrapper_names() -> list[str]:
    """The names of all registered wrappers, sorted."""
    load_plugins()
    return sorted(_wrappers)


def wrapper_module(name: str) -> ModuleType:
    """The module under which a wrapper is registered.

    Raises:
        UnknownName: no such wrapper; the message names the nearest.
    """
    load_plugins()
    if name not in _wrappers:
        raise unknown("wrapper", name, _wrappers)
    return importlib.import_module(_wrappers[name].partition(":")[0])


def full_id(id: str) -> str:
    """Complete a short id: `WebShop-v1` stands for `sparring/WebShop-v1`.

    Ours come first: `FrozenLake-v1` is the one in text, not Gymnasium's of that name.

    Raises:
        UnknownName: nothing is registered under either; the message names the nearest ids.
    """
    load_plugins()
    for candidate in (f"sparring/{id}", id):
        if candidate in registry:
            return candidate
    raise unknown("environment", id, _ours, "`sparring envs` lists what is registered.")


def describe(id: str) -> RegisteredEnv:
    """Look an environment up without making it."""
    spec = registry[full_id(id)]
    entry_point = spec.entry_point
    cls = load(entry_point) if isinstance(entry_point, str) else entry_point
    return RegisteredEnv(spec.id, cls, spec.max_episode_steps)  # type: ignore[arg-type]


def make(
    id: str, *, wrappers: Sequence[str] = (), max_turns: int | None = None, **options: Any
) -> gymnasium.Env[str, str]:
    """Make an environment, with named wrappers around it (the first one innermost).

    Args:
        id: a registered id, with or without its `sparring/`.
        wrappers: names given to `register_wrapper`.
        max_turns: overrides the registered limit of steps.
        options: keyword arguments of the environment.
    Raises:
        UnknownName: no such environment, wrapper or option; the message names the nearest.
    """
    if max_turns is not None and max_turns < 1:
        raise InvalidConfig(f"max_turns must be at least 1, got {max_turns}")
    _refuse_unknown(options, id)
    env: gymnasium.Env[str, str] = gymnasium.make(full_id(id), max_episode_steps=max_turns, **options)
    for name in wrappers:
        if name not in _wrappers:
            raise unknown("wrapper", name, _wrappers)
        env = load(_wrappers[name])(env)
    return env


def _refuse_unknown(options: Mapping[str, Any], id: str) -> None:
    """Gymnasium would answer a misspelt option with a TypeError that names no other."""
    if not options:
        return
    parameters = inspect.signature(describe(id).cls).parameters
    if any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
        return
    for name in options:
        if name not in parameters:
            raise unknown(f"option of {full_id(id)}", name, parameters)


def register_builtins() -> None:
    """Register what comes with sparring. Strings only: nothing is imported here."""
    register("sparring/WebShop-v1", "sparring.envs.web.webshop.env:WebShop", max_turns=100)
    register("sparring/CodeFunctions-v1", "sparring.envs.code.env:CodeFunctions")
    register("sparring/HumanEval-v1", "sparring.envs.code.env:HumanEval")
    register("sparring/CodeTasks-v1", "sparring.envs.code.env:CodeTasks")
    register("sparring/RepositoryRepair-v1", "sparring.envs.code.repair.env:RepositoryRepair")
    register("sparring/RepositoryTasks-v1", "sparring.envs.code.repair.env:OwnRepositories")
    register("sparring/WebShopBrowser-v1", "sparring.envs.web.webshop.browser:WebShopBrowser", max_turns=100)
    register("sparring/MiniWoB-v1", "sparring.envs.web.miniwob.env:MiniWoB", max_turns=30)
    register("sparring/Browser-v1", "sparring.envs.web.browser.page:Browser", max_turns=30)
    register("sparring/Blackjack-v1", "sparring.envs.text.blackjack:Blackjack")
    register("sparring/FrozenLake-v1", "sparring.envs.text.frozen_lake:FrozenLake")
    register("sparring/NumberLine-v1", "sparring.envs.text.number_line:NumberLine")
    register("sparring/NumberSearch-v1", "sparring.envs.text.number_search:NumberSearch")
    register("sparring/Sokoban-v1", "sparring.envs.text.sokoban:Sokoban")
    register("sparring/TwentyQuestions-v1", "sparring.envs.text.twenty_questions.env:TwentyQuestions")
    register("sparring/GuessMyCity-v1", "sparring.envs.text.guess_my_city.env:GuessMyCity")
    register("sparring/TextCraft-v1", "sparring.envs.text.textcraft.env:TextCraft", max_turns=100)
    register("sparring/TextWorld-v1", "sparring.envs.text.textworld.env:TextWorld", max_turns=100)
    register("sparring/MiniGrid-v1", "sparring.envs.text.babyai.env:MiniGrid")
    register("sparring/BabyAI-v1", "sparring.envs.text.babyai.env:MiniGrid", level="BabyAI-GoToLocal-v0")
    register("sparring/ScienceWorld-v1", "sparring.envs.text.scienceworld:ScienceWorld", max_turns=400)
    register("sparring/Jericho-v1", "sparring.envs.text.jericho:Jericho", max_turns=400)
    register("sparring/ScreenGrounding-v1", "sparring.envs.gui.grounding:ScreenGrounding")
    register("sparring/Desktop-v1", "sparring.envs.gui.desktop:Desktop", max_turns=30)
    register("sparring/DesktopApplications-v1", "sparring.envs.gui.applications:DesktopApplications", max_turns=40)
    register("sparring/ScreenDataset-v1", "sparring.envs.gui.dataset:ScreenDataset")
    register("sparring/Gem-v1", "sparring.envs.text.gem:Gem", game="game:GuessTheNumber-v0-easy")
    register("sparring/TextArena-v1", "sparring.envs.text.textarena:TextArena", game="GuessTheNumber-v0")
    register("sparring/Arithmetic-v1", "sparring.envs.text.reasoning.arithmetic:Arithmetic")
    register("sparring/Chain-v1", "sparring.envs.text.reasoning.chain:Chain")
    register("sparring/Colouring-v1", "sparring.envs.text.reasoning.colouring:Colouring")
    register("sparring/Equations-v1", "sparring.envs.text.reasoning.equations:Equations")
    register("sparring/LatinSquare-v1", "sparring.envs.text.reasoning.latin:LatinSquare")
    register("sparring/Logic-v1", "sparring.envs.text.reasoning.logic.env:Logic")
    register("sparring/Ordering-v1", "sparring.envs.text.reasoning.ordering:Ordering")
    register("sparring/ReasoningGym-v1", "sparring.envs.text.reasoning.reasoning_gym:ReasoningGym")
    register("sparring/Rewriting-v1", "sparring.envs.text.reasoning.rewriting:Rewriting")
    register("sparring/Sorting-v1", "sparring.envs.text.reasoning.ordering:Sorting")
    register("sparring/ToolWorld-v1", "sparring.envs.tools.toolworld.env:ToolWorld", max_turns=30)
    register("sparring/BFCL-v1", "sparring.envs.tools.bfcl.env:BFCL")
    register("sparring/MCP-v1", "sparring.envs.tools.mcp.env:MCP", max_turns=30)
    register_wrapper("backtrack", "sparring.envs.backtrack:Backtrack")
    register_wrapper("explain", "sparring.envs.explain:Explain")
    register_wrapper("expert", "sparring.envs.wrappers:ShowExpert")
    register_wrapper("pixels", "sparring.envs.gui.pixels:Pixels")
    register_wrapper("reward-token", "sparring.envs.reward_token:RewardToken")
    register_wrapper("screen", "sparring.envs.gui.page:Screen")
    register_wrapper("second-thought", "sparring.envs.second_thought:SecondThought")
    register_wrapper("webshop-index", "sparring.envs.web.webshop.renderers:IndexClicks")
    register_wrapper("webshop-match", "sparring.envs.web.webshop.renderers:MatchCounts")
    register_wrapper("webshop-top5", "sparring.envs.web.webshop.renderers:FirstHits")
    register_wrapper("webshop-price", "sparring.envs.web.webshop.renderers:PriceMarks")
    register_wrapper("webshop-brief", "sparring.envs.web.webshop.renderers:NewObservationOnly")
