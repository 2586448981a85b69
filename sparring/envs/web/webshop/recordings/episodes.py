"""Recorded episodes, plain and hashed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from sparring.envs.web.webshop.recordings.subject import OTHER_DATA, Check, Result, Subject, short_hash
from sparring.envs.web.webshop.simulator import Simulator
from sparring.errors import InvalidData

_RESET = ("<reset>", None)
_OBSERVATIONS = {"obs_text", "obs_text_rich", "returned_state", "text_sha", "rich_sha"}


def check_episodes(data: Mapping[str, Any], subject: Subject) -> Iterator[Result]:
    """Episodes, plain or hashed: one check for each step, over all that the step records.

    Episodes of equal settings share one simulator, as they were recorded, so that sessions and draws go on.
    """
    simulators: dict[tuple[Any, ...], Simulator] = {}
    counted = "num_goals" not in data
    owned = subject.owned([({**data, **one}.get("dataset"), _episode_asins(one)) for one in data["episodes"]])
    for episode, ours in zip(data["episodes"], owned, strict=True):
        given = {**data, **episode}
        if not ours:
            for _ in episode["steps"]:
                yield OTHER_DATA
            continue
        seed = given.get("seed", given.get("seed_before_construction", 0))
        shop = subject.shop(bool(given.get("human_goals")), seed, bool(given.get("show_attrs")))
        if not counted:
            counted = True
            yield Check.equal("number of goals", data["num_goals"], len(shop.book))
        history = (given.get("num_prev_obs", 0), given.get("num_prev_actions", 0))
        key = (id(shop), given.get("session_prefix"), *history)
        if key not in simulators:
            simulators[key] = Simulator(shop, "text", given.get("session_prefix"), *history)
        yield from _check_episode(episode, simulators[key])


def hash_episodes(data: Mapping[str, Any]) -> dict[str, Any]:
    """The hashed form of plain recordings, which gives no product text away.

    Searches for a title or for the instruction are named where `_spell` can bring them back, other actions stay as
    they are.
    """
    episodes = []
    for episode in data["episodes"]:
        steps = [
            {
                "action": step["action"], "reward": step["reward"], "done": step["done"],
                "text_sha": short_hash(step["obs_text"]), "rich_sha": short_hash(step["obs_text_rich"]),
                "actions_sha": _hash_actions(step["available_actions"]),
            }
            for step in episode["steps"]
        ]  # fmt: skip
        goal = episode["goal"]
        named = {
            f"search[{goal['name'].strip()}]": {"search_title": goal["asin"]},
            f"search[{goal['instruction_text']}]": {"search_instruction": True},
        }
        for step in steps:
            step["action"] = named.get(step["action"], step["action"])
        given = {"human_goals": data["human_goals"], "seed": data["seed_before_construction"]}
        episodes.append({key: episode[key] for key in ("name", "reset_arg", "reset_kw")} | given | {"steps": steps})
    return {"dataset": data["dataset"], "episodes": episodes}


def _hash_actions(actions: Mapping[str, Any]) -> str:
    return short_hash(json.dumps(actions, sort_keys=True, ensure_ascii=False))


def _episode_asins(episode: Mapping[str, Any]) -> set[str]:
    asins = {step["action"]["search_title"] for step in episode["steps"] if _is_title(step["action"])}
    if isinstance(episode.get("goal"), dict):
        asins.add(episode["goal"]["asin"])
    return asins


def _is_title(action: object) -> bool:
    return isinstance(action, dict) and "search_title" in action


def _spell(action: object, simulator: Simulator) -> str:
    """An action as text; the hashed format names a product's title or the instruction instead of quoting it."""
    if isinstance(action, str):
        return action
    if _is_title(action):
        asin = action["search_title"]  # type: ignore[index]
        return f"search[{simulator.shop.catalogue.find(asin).name.strip()}]"
    if isinstance(action, dict) and action.get("search_instruction"):
        return f"search[{simulator.shop.goal(simulator.visit).instruction_text}]"
    raise InvalidData(f"unknown action {action!r:.80}; expected a string, search_title or search_instruction")


def _check_episode(episode: Mapping[str, Any], simulator: Simulator) -> Iterator[Check]:
    if episode["steps"][0]["action"] not in _RESET:
        simulator.reset(episode.get("reset_arg"), **(episode.get("reset_kw") or {}))
    for number, step in enumerate(episode["steps"]):
        if not _OBSERVATIONS & step.keys():
            raise InvalidData(
                f"episode {episode.get('name')}, step {number} has {list(step)}, so there is no observation to "
                f"compare; expected one of {', '.join(sorted(_OBSERVATIONS))}"
            )
        if step["action"] in _RESET:
            returned, _ = simulator.reset(episode.get("reset_arg"), **(episode.get("reset_kw") or {}))
            reward, done = 0.0, False
        else:
            returned, reward, done, _ = simulator.step(_spell(step["action"], simulator))
        text, rich, actions = simulator.observation, simulator.observe("text_rich"), simulator.available_actions()
        ours: dict[str, Any] = {
            "reward": reward, "done": done, "info": None, "obs_text": text, "obs_text_rich": rich,
            "url": simulator.visit.url, "available_actions": actions, "session": simulator.session,
            "returned_state": returned, "text_sha": short_hash(text), "rich_sha": short_hash(rich),
            "actions_sha": _hash_actions(actions),
        }  # fmt: skip
        if number == 0:
            ours |= {
                "of the episode: session": simulator.visit.session_id,
                "of the episode: instruction_text": simulator.instruction_text,
                "of the episode: goal": simulator.shop.goal(simulator.visit).as_original(),
            }
            recorded = {f"of the episode: {key}": value for key, value in episode.items()}
            step = {**recorded, **step}
        where = f'episode "{episode.get("name")}", step {number} ({step["action"]!r:.80})'
        differing = {key: (step[key], value) for key, value in ours.items() if key in step and step[key] != value}
        expected = {key: pair[0] for key, pair in differing.items()}
        got = {key: pair[1] for key, pair in differing.items()}
        yield Check(where, expected, got, not differing)
