"""Comparing this shop with what the original answered, one recorded entry at a time (WEBSHOP_SPEC.md, section 12).

Every `check_…` function reads one format and yields a `Check` for each thing compared, or `OTHER_DATA` for an
entry that was recorded on other products and so says nothing about these.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sparring.envs.web.webshop.analysis import analyse
from sparring.envs.web.webshop.catalogue import Catalogue
from sparring.envs.web.webshop.goals import Goal, GoalBook
from sparring.envs.web.webshop.products import Product, document_text
from sparring.envs.web.webshop.reward import normalize_colour, purchase_reward, token_set_ratio
from sparring.envs.web.webshop.session import Shop
from sparring.envs.web.webshop.simulator import Simulator
from sparring.errors import InvalidData

SCORE_DIGITS = 4  # recorded search scores are rounded to this
_HASH_DIGITS = 16
_EDGE = "edge"
_ABSENT = object()


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison: what was compared, what the original gave, what we give."""

    what: str
    expected: object
    got: object
    same: bool

    @staticmethod
    def equal(what: str, expected: object, got: object) -> Check:
        """A comparison by equality."""
        return Check(what, expected, got, bool(expected == got))


class OtherData:
    """The entry belongs to another catalogue."""


OTHER_DATA = OtherData()
Result = Check | OtherData


def short_hash(text: str) -> str:
    """The first 16 hex digits of the SHA-256 of a text, as the hashed formats give it."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_DIGITS]


class Subject:
    """The catalogue under test, with goal books and shops made when first needed.

    Args:
        catalogue: compiled from the files that the vectors were recorded on.
        dataset: the vectors' name for it. None to tell by its ASINs: the original's awkward products, whose ASINs
            begin alike, are "edge", and any other catalogue answers to every other name.
    """

    def __init__(self, catalogue: Catalogue, dataset: str | None = None) -> None:
        self.catalogue = catalogue
        self.dataset = dataset or (_EDGE if catalogue.product(0).asin.startswith("B0EDGE") else None)
        self._shops: dict[tuple[bool, int, bool], Shop] = {}

    def shop(self, human: bool, seed: int = 0, show_attrs: bool = False) -> Shop:
        """The shop with these goals."""
        key = (human, seed, show_attrs)
        if key not in self._shops:
            book = GoalBook(self.catalogue, "human" if human else "synthetic", seed)
            self._shops[key] = Shop(book, show_attrs)
        return self._shops[key]

    def owns(self, label: object, asins: set[str]) -> bool:
        """Whether an entry was recorded on this catalogue: by its products where it names any, else by its label."""
        if asins:
            return any(self.catalogue.row_of(asin) is not None for asin in asins)
        if self.dataset is None:
            return label != _EDGE
        return label is None or label == self.dataset


def check_file(data: Any, subject: Subject) -> Iterator[Result]:
    """Compare every entry of one file of vectors, whichever its format.

    Raises:
        InvalidData: the format is none of those known.
    """
    reader = _reader(data)
    if reader is None:
        keys = list(data)[:6] if isinstance(data, dict) else type(data).__name__
        raise InvalidData(f"no known format of vectors (it has {keys})")
    yield from reader(data, subject)


def _reader(data: Any) -> Callable[[Any, Subject], Iterator[Result]] | None:
    sample = data
    if isinstance(data, dict) and data and all(isinstance(value, dict) for value in data.values()):
        sample = next(iter(data.values()))
        if "queries" in sample:
            return check_search
        if all(isinstance(value, list) for value in sample.values()):
            return check_nouns
        return check_goals if _is_goal_list(sample) else None
    if isinstance(data, list) and data:
        sample = data[0]
        if isinstance(sample, dict) and "steps" in sample:
            return lambda data, subject: check_episodes({"episodes": data}, subject)
        if isinstance(sample, dict) and ("input" in sample or "input_tuple" in sample):
            return check_colours
        if isinstance(sample, dict) and ("options" in sample and "price" in sample):
            return lambda data, subject: check_rewards({"cases": data}, subject)
        if isinstance(sample, dict) and _is_goal_list(sample):
            return lambda data, subject: check_goals({str(at): one for at, one in enumerate(data)}, subject)
        return None
    if isinstance(data, dict):
        for key, reader in (
            ("episodes", check_episodes), ("cases", check_rewards), ("pairs", check_ratios),
            ("prefix", check_prefix), ("queries", lambda data, subject: check_search({"": data}, subject)),
        ):  # fmt: skip
            if key in data:
                return reader
        if _is_goal_list(data):
            return lambda data, subject: check_goals({"": data}, subject)
    return None


def _is_goal_list(entry: Mapping[str, Any]) -> bool:
    return "n_goals" in entry or ("n" in entry and "goals" in entry)


# --- episodes -------------------------------------------------------------------------------------------------


def check_episodes(data: Mapping[str, Any], subject: Subject) -> Iterator[Result]:
    """Episodes, plain or hashed: one check for each step, over all that the step records.

    Episodes of equal settings share one simulator, as they were recorded, so that sessions and draws go on.
    """
    simulators: dict[tuple[Any, ...], Simulator] = {}
    counted = "num_goals" not in data
    all_asins = set[str]().union(*map(_episode_asins, data["episodes"]))
    for episode in data["episodes"]:
        given = {**data, **episode}
        if not subject.owns(given.get("dataset"), _episode_asins(episode) or all_asins):
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
    if episode["steps"][0]["action"] != "<reset>":
        simulator.reset(episode["reset_arg"], **(episode.get("reset_kw") or {}))
    for number, step in enumerate(episode["steps"]):
        if step["action"] == "<reset>":
            returned, _ = simulator.reset(episode["reset_arg"], **(episode.get("reset_kw") or {}))
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


# --- goals and products ---------------------------------------------------------------------------------------


def check_goals(data: Mapping[str, Mapping[str, Any]], subject: Subject) -> Iterator[Result]:
    """Goal lists, whole or hashed, with the prices, products and draws recorded beside them."""
    for name, entry in data.items():
        label = entry.get("dataset", name.split("/")[0] if "/" in name else None)
        goals = [goal for goal in entry.get("first_goals", ()) if isinstance(goal, dict)]
        products = entry.get("loaded_products", ())
        asins = {one["asin"] for one in (*goals, *products)} | set(entry.get("product_prices_with_two", ()))
        if not subject.owns(label, asins):
            yield OTHER_DATA
        elif "n_goals" in entry:
            yield from _check_goal_list(name, entry, subject)
        else:
            yield from _check_selection(name, entry, subject)


def _check_goal_list(name: str, entry: Mapping[str, Any], subject: Subject) -> Iterator[Check]:
    human = bool(entry.get("human_goals", "human=True" in name))
    shop = subject.shop(human, entry.get("seed_before_construction", entry.get("seed", _number("seed", name) or 0)))
    book = shop.book
    goals = [book.goal(index).as_original() for index in range(len(book))]
    digest = hashlib.sha256(json.dumps(goals, sort_keys=True).encode()).hexdigest()
    yield Check.equal(f"{name}: number of goals", entry["n_goals"], len(goals))
    if "sha256_of_json_dumps_sort_keys" in entry:
        yield Check.equal(f"{name}: hash of all goals", entry["sha256_of_json_dumps_sort_keys"], digest)
    if "sum_weights" in entry:
        got_sum = float(book.weight_sums[-1])
        same = math.isclose(got_sum, entry["sum_weights"], rel_tol=1e-9)
        yield Check(f"{name}: sum of weights", entry["sum_weights"], got_sum, same)
    for index, goal in enumerate(entry.get("first_goals", ())):
        yield Check.equal(f"{name}: goal {index}", goal, goals[index] if index < len(goals) else _ABSENT)
    for asin, price in entry.get("product_prices_with_two", {}).items():
        row = subject.catalogue.row_of(asin)
        yield Check.equal(f"{name}: price of {asin}", price, None if row is None else float(book.prices[row]))
    for row, product in enumerate(entry.get("loaded_products", ())):
        got_product = as_loaded(subject.catalogue.product(row)) if row < len(subject.catalogue) else _ABSENT
        yield Check.equal(f"{name}: product {product['asin']}", product, got_product)
    yield from _check_draws(name, entry, book)


def _check_draws(name: str, entry: Mapping[str, Any], book: GoalBook) -> Iterator[Check]:
    """Session ids and goals that the constructor's reset and the next ones drew."""
    if "session_after_ctor" not in entry:
        return
    simulator = Simulator(Shop(book))
    goal = book.goal(simulator.visit.goal).instruction_text
    yield Check.equal(
        f"{name}: first session", [entry["session_after_ctor"], entry.get("goal_after_ctor")],
        [simulator.visit.session_id, goal],
    )  # fmt: skip
    for number, expected in enumerate(entry.get("next_resets", ())):
        text, _ = simulator.reset()
        got = [simulator.visit.session_id, simulator.visit.goal, text]
        yield Check.equal(f"{name}: reset {number}", list(expected), got)


def _check_selection(name: str, entry: Mapping[str, Any], subject: Subject) -> Iterator[Check]:
    """Goals left by `limit_goals` or a filter; the entry's name says which, and the seed."""
    limit = _number("limit_goals", name)
    modulus = re.search(r"filter i%(\d+)==(\d+)", name)
    keep: Callable[[int, Mapping[str, Any]], bool] | None = None
    if modulus:
        divisor, rest = int(modulus[1]), int(modulus[2])
        keep = lambda index, goal: index % divisor == rest  # noqa: E731 - two numbers, used once
    book = GoalBook(
        subject.catalogue, "human" if "human" in name else "synthetic",
        _number("seed", name) or 0, keep, -1 if limit is None else limit,
    )  # fmt: skip
    yield Check.equal(f"{name}: number of goals", entry["n"], len(book))
    for index, text in enumerate(entry["goals"]):
        got = book.goal(index).instruction_text if index < len(book) else _ABSENT
        yield Check.equal(f"{name}: goal {index}", text, got)


def _number(key: str, name: str) -> int | None:
    """The number behind `key=` in an entry's name."""
    found = re.search(rf"{key}=(\d+)", name)
    return int(found[1]) if found else None


def as_loaded(product: Product) -> dict[str, Any]:
    """A product as the original's loader leaves it, apart from instructions."""
    images = {value: product.option_images.get(value) for values in product.options.values() for value in values}
    return {
        "name": product.name,
        "pricing": list(product.pricing),
        "product_category": product.product_category,
        "asin": product.asin,
        "category": product.category,
        "query": product.query,
        "Title": product.name,
        "Description": product.description,
        "Reviews": [],
        "Rating": "N.A.",
        "BulletPoints": list(product.bullets),
        "Price": product.price_tag,
        "options": {name: list(values) for name, values in product.options.items()},
        "option_to_image": images,
        "Attributes": list(product.attributes),
        "MainImage": product.main_image,
    }


# --- search ---------------------------------------------------------------------------------------------------


def check_search(data: Mapping[str, Mapping[str, Any]], subject: Subject) -> Iterator[Result]:
    """Analysed tokens, hits, scores, document lengths and frequencies, by data set."""
    catalogue = subject.catalogue
    for name, entry in data.items():
        asins = set(entry.get("doc_lengths", ())) | {asin for query in entry["queries"] for asin in query["ids"][:1]}
        if not subject.owns(entry.get("dataset", name or None), asins):
            yield from (OTHER_DATA for _ in entry["queries"])
            continue
        counts = catalogue.manifest["index"]
        if "n_docs" in entry:
            yield Check.equal(f"{name}: documents", entry["n_docs"], counts["documents"])
        if "avgdl" in entry:
            average = float(np.float32(counts["total_tokens"] / counts["filled_documents"]))
            yield Check.equal(f"{name}: average length", entry["avgdl"], average)
        for query in entry["queries"]:
            yield _check_query(name, query, catalogue)
        if "doc_lengths" in entry or "term_df" in entry:
            yield from _check_documents(name, entry, catalogue)


def _check_query(name: str, query: Mapping[str, Any], catalogue: Catalogue) -> Check:
    text = query["query"]
    if _is_title(text):
        text = catalogue.find(text["search_title"]).name.strip().lower()
    terms = analyse(text)
    numbers, found = catalogue.index.search(terms)
    ids = [catalogue.product(row).asin for row in catalogue.document_rows[numbers].tolist()]
    scores = [round(score, SCORE_DIGITS) for score in found.tolist()][: len(query.get("scores", ()))]
    expected = [query.get("tokens", terms), query["ids"], query.get("scores", [])]
    near = len(scores) == len(expected[2]) and np.allclose(scores, expected[2], rtol=0, atol=1.5 * 10**-SCORE_DIGITS)
    same = bool(near) and expected[:2] == [terms, ids]
    return Check(f"{name}: search {text!r:.80} (terms, ids, scores)", expected, [terms, ids, scores], same)


def _check_documents(name: str, entry: Mapping[str, Any], catalogue: Catalogue) -> Iterator[Check]:
    lengths: dict[str, int] = {}
    frequencies: Counter[str] = Counter()
    for row in range(len(catalogue)):
        product = catalogue.product(row)
        terms = analyse(document_text(product))
        lengths[product.asin] = len(terms)
        frequencies.update(set(terms))
    for asin, length in entry.get("doc_lengths", {}).items():
        yield Check.equal(f"{name}: length of {asin}", length, lengths.get(asin))
    for term, frequency in entry.get("term_df", {}).items():
        yield Check.equal(f"{name}: documents with {term!r}", frequency, frequencies[term])


# --- rewards --------------------------------------------------------------------------------------------------


def check_rewards(data: Mapping[str, Any], subject: Subject) -> Iterator[Result]:
    """Rewards of purchases, with product and goal carried along or named."""
    for number, case in enumerate(data["cases"]):
        where = f"reward case {case.get('id', number)} ({case.get('tag', '')})"
        product = _purchased(case, subject)
        found = _wanted(case, subject)
        if product is None or found is None:
            if subject.owns(case.get("dataset"), _case_asins(case)):
                missing = "product" if product is None else "goal"
                yield Check(where, "an entry that names our products", f"no such {missing} here", False)
            else:
                yield OTHER_DATA
            continue
        goal, nouns = found
        price = case.get("price")
        if price is None:
            row = subject.catalogue.row_of(product.asin)
            price = float(subject.shop(goal.human).book.prices[row]) if row is not None else 0.0
        try:
            reward, parts = purchase_reward(product, goal, nouns, price, case["options"])
            got: object = {"reward": reward, "info": parts}
        except InvalidData as error:
            got = f"raises InvalidData: {error}"
        if "raises" in case:
            yield Check(where, f"raises {case['raises']}", got, isinstance(got, str))
        else:
            expected = case["expected"]
            if not isinstance(expected, dict):
                expected = {"reward": expected}
            compared = {key: got[key] for key in expected if key in got} if isinstance(got, dict) else got
            yield Check.equal(where, expected, compared)


def _case_asins(case: Mapping[str, Any]) -> set[str]:
    return {case[key] for key in ("purchased_asin", "goal_asin") if isinstance(case.get(key), str)}


def _purchased(case: Mapping[str, Any], subject: Subject) -> Product | None:
    raw = case.get("purchased")
    if raw is None:
        row = subject.catalogue.row_of(case["purchased_asin"])
        if row is None:
            return None
        return replace(subject.catalogue.product(row), nouns=_nouns(case, "purchased", case["purchased_asin"], subject))
    return Product(
        asin=raw["asin"], name=raw["name"], description=raw["Description"], bullets=tuple(raw["BulletPoints"]),
        category="", query=raw["query"], product_category=raw["product_category"], options={}, pricing=(0.0,),
        price_tag="", attributes=tuple(raw["Attributes"]), main_image="",
        nouns=_nouns(case, "purchased", raw["asin"], subject),
        option_images={}, instruction=None, instruction_attributes=(),
    )  # fmt: skip


def _nouns(case: Mapping[str, Any], side: str, asin: str, subject: Subject) -> tuple[str, ...]:
    """The nouns recorded with a case, else those of our product of that ASIN."""
    recorded = case.get(f"{side}_nouns")
    return tuple(recorded) if recorded is not None else subject.catalogue.find(asin).nouns


def _wanted(case: Mapping[str, Any], subject: Subject) -> tuple[Goal, Sequence[str]] | None:
    """The goal of a case and the nouns of its title."""
    raw = case.get("goal")
    if raw is None:
        goal = _goal_by_hash(case["goal_asin"], case["goal_text_sha"], subject)
        if goal is None:
            return None
        return goal, _nouns(case, "goal", goal.asin, subject)
    options = raw["goal_options"]
    human = not isinstance(options, dict)
    goal = Goal(
        0, raw["asin"], raw["category"], raw["query"], raw["name"], raw["product_category"], raw["instruction_text"],
        tuple(raw["attributes"]), raw["price_upper"], tuple(options) if human else tuple(options.items()),
        raw["weight"], human,
    )  # fmt: skip
    return goal, _nouns(case, "goal", goal.asin, subject)


def _goal_by_hash(asin: str, text_hash: str, subject: Subject) -> Goal | None:
    """The goal of seed 0, synthetic or human, for this product with this instruction."""
    row = subject.catalogue.row_of(asin)
    if row is None:
        return None
    for human in (False, True):
        if human and not subject.catalogue.manifest["human_goals"]:
            continue
        if not human and not subject.catalogue.manifest["synthetic_goals"]:
            continue
        book = subject.shop(human).book
        for index in np.flatnonzero(book.goal_rows == row).tolist():
            goal = book.goal(index)
            if short_hash(goal.instruction_text) == text_hash:
                return goal
    return None


def check_ratios(data: Mapping[str, Any], subject: Subject) -> Iterator[Result]:
    """Values of `token_set_ratio` on difflib."""
    for pair in data["pairs"]:
        first, second = (tuple(pair[side]) if pair.get(f"{side}_is_tuple") else pair[side] for side in ("a", "b"))
        ratio = token_set_ratio(first, second)
        yield Check.equal(f"ratio of {first!r} and {second!r}", pair["thefuzz0.19+difflib"], ratio)


def check_colours(data: Sequence[Mapping[str, Any]], subject: Subject) -> Iterator[Result]:
    """Normalised colours."""
    for entry in data:
        option = tuple(entry["input_tuple"]) if "input_tuple" in entry else entry["input"]
        expected = tuple(entry["output"]) if isinstance(entry["output"], list) else entry["output"]
        yield Check.equal(f"colour of {option!r}", expected, normalize_colour(option))


# --- the rest -------------------------------------------------------------------------------------------------


def check_nouns(data: Mapping[str, Mapping[str, list[str]]], subject: Subject) -> Iterator[Result]:
    """Nouns of titles, by data set and ASIN: those that the catalogue was built with."""
    for table in data.values():
        for asin, nouns in table.items():
            row = subject.catalogue.row_of(asin)
            if row is None:
                yield OTHER_DATA
            else:
                yield Check.equal(f"nouns of {asin}", nouns, list(subject.catalogue.product(row).nouns))


def check_prefix(data: Mapping[str, Any], subject: Subject) -> Iterator[Result]:
    """A session prefix goes in front of the id and changes nothing else."""
    simulator = Simulator(subject.shop(bool(data.get("human_goals"))), session_prefix=data["prefix"])
    simulator.reset(data["reset_arg"])
    got = {"session": simulator.visit.session_id, "url": simulator.visit.url, "goal_index": simulator.visit.goal}
    yield Check.equal("session prefix", {key: data[key] for key in got}, got)


__all__ = ["OTHER_DATA", "Check", "Subject", "as_loaded", "check_file", "hash_episodes", "short_hash"]
