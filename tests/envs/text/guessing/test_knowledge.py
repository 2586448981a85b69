"""What the knowledge files say: consistent within themselves, and never ambiguous."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from sparring.envs.text.guess_my_city import GuessMyCity
from sparring.envs.text.guessing.game import GuessingGame
from sparring.envs.text.guessing.knowledge import load_knowledge
from sparring.envs.text.twenty_questions import TwentyQuestions
from sparring.errors import InvalidConfig, InvalidData, UnknownName
from tests.envs.text.guessing.worlds import GAMES

# What holds for everything of a kind, as "this, therefore that".
OBJECTS_IMPLY = """
    animal alive; plant alive; mammal animal; bird animal; reptile animal; insect animal; fish animal; bird wings
    bird eggs; insect eggs; insect pocket; fur mammal|toy; fruit food; vegetable food; food eaten; food kitchen
    drink kitchen; sweet eaten|drink; baked food; milky eaten|drink; peel food; stone fruit; tropical fruit; tree fruit
    pet animal; farm animal|vehicle; africa animal; venom animal; horns animal; stripes animal; jumps animal
    night animal; meat animal; head clothing; feet clothing|sport; below clothing; women clothing; jewel clothing
    pocket one_hand; bigger_car bigger_person; write office; read paper; cook kitchen; screen electric; strings hit|wood
    blow instrument; on_water vehicle; goods vehicle; windows vehicle|building; cut sharp|tool
"""
CITIES_IMPLY = """
    ten_million million; eu europe; euro eu; nordic europe; england united_kingdom; scotland united_kingdom
    california united_states; texas united_states; taj_mahal india; pyramids ruins|desert; beach coast; space texas
    united_kingdom left; united_states english; soviet north; middle_east asia|africa
"""


@pytest.mark.parametrize(("game", "rules"), [(TwentyQuestions, OBJECTS_IMPLY), (GuessMyCity, CITIES_IMPLY)])
def test_facts_follow_from_one_another(game: type[GuessingGame], rules: str) -> None:
    known = game().knowledge
    for rule in rules.replace(";", "\n").split("\n"):
        if rule.strip():
            given, therefore = rule.split()
            for item in known.items:
                facts = known.facts(item.name)
                assert given not in facts or facts & set(therefore.split("|")), f"{item.name}: {rule.strip()}"


def test_kinds_of_objects_exclude_each_other() -> None:
    known = TwentyQuestions().knowledge
    kinds = ("animal", "plant", "food", "drink", "clothing", "vehicle", "furniture", "building")
    for item in known.items:
        facts = known.facts(item.name)
        assert len(facts & set(kinds)) <= 1, item.name
        assert not {"one_hand", "bigger_person"} <= facts, item.name
        assert len(facts & {"mammal", "bird", "reptile", "insect", "fish"}) <= 1, item.name


def test_every_city_has_a_continent_and_its_name_is_described_rightly() -> None:
    known = GuessMyCity().knowledge
    continents = {"europe", "asia", "africa", "north_america", "south_america", "oceania"}
    for item in known.items:
        facts = known.facts(item.name)
        assert len(facts & continents) == (2 if item.name == "Istanbul" else 1), item.name
        assert item.group in facts, item.name
        assert ("words" in facts) == (" " in item.name), item.name
        assert ("a_to_m" in facts) == (item.name[0] <= "M"), item.name


def test_there_is_at_most_one_largest_city_of_a_country() -> None:
    known = GuessMyCity().knowledge
    largest = [item.group for item in known.items if "largest" in known.facts(item.name)]
    assert len(largest) == len(set(largest))


@pytest.mark.parametrize("game", GAMES)
def test_any_two_items_differ_in_some_attribute_and_every_attribute_tells_something(game: type[GuessingGame]) -> None:
    known = game().knowledge
    for (one, row), (other, another) in combinations(zip(known.items, known.truth, strict=True), 2):
        assert (row != another).any(), f"{one.name} and {other.name}"
    for attribute, column in zip(known.attributes, known.truth.T, strict=True):
        assert 0 < column.sum() < len(known.items), attribute.key


def test_the_worlds_are_as_large_as_promised_and_a_fifth_each_is_held_out() -> None:
    for game, least in ((TwentyQuestions, 150), (GuessMyCity, 100)):
        env = game()
        sizes = [len(env.task_ids(split)) for split in env.splits]
        assert sum(sizes) == len(env.knowledge.items) >= least
        assert sizes[1] == sizes[2] == len(env.knowledge.items) // 5


@pytest.mark.parametrize("game", GAMES)
def test_a_smaller_world_keeps_splits_and_facts(game: type[GuessingGame]) -> None:
    whole = game().knowledge
    part = whole.subset(32, 24)
    assert (len(part.items), len(part.attributes)) == (32, 24)
    assert [item.split for item in part.items].count("test") == 6
    assert set(part.items) <= set(whole.items)
    keys = {attribute.key for attribute in part.attributes}
    for item in part.items:
        assert part.facts(item.name) == whole.facts(item.name) & keys
    assert np.array_equal(whole.subset(32, 24).truth, part.truth)


def test_a_world_that_is_too_small_or_can_not_be_told_apart_is_refused() -> None:
    known = TwentyQuestions().knowledge
    with pytest.raises(InvalidConfig, match="from 5 to 255 items, got 4"):
        known.subset(4, None)
    with pytest.raises(InvalidConfig, match="from 1 to 103 attributes, got 104"):
        known.subset(None, 104)
    with pytest.raises(InvalidConfig, match="4 attributes can't tell 32 items apart"):
        known.subset(32, 4)  # 4 answers have 16 outcomes
    with pytest.raises(UnknownName, match='Did you mean "giraffe"'):
        known.facts("girafe")


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ('[a]\n"a cat" = "fur"\n"a dog" = "furr"', "dog: no attribute 'furr'"),
        ('[a]\nall = "fur"\n"a cat" = "fur"\n"a dog" = ""', "a cat: 'fur' changes nothing"),
        ('[a]\n"a cat" = "fur"\n"a dog" = "-fur"', "a dog: '-fur' changes nothing"),
        ('[a]\n"a cat" = "fur"\n"a dog" = "fur"', "told apart by no attribute: .*'cat', 'dog'"),
        ('[a]\n"a cat" = "fur"\n[b]\n"a cat" = ""', "given twice: .'cat'"),
        ('[a]\n"a cat" = ', "can't be read as TOML"),
    ],
)
def test_mistakes_in_the_files_are_named(tmp_path: Path, items: str, message: str) -> None:
    (tmp_path / "items.toml").write_text(items)
    (tmp_path / "attributes.toml").write_text('fur = ["Does it have fur?"]')
    with pytest.raises(InvalidData, match=message):
        load_knowledge(tmp_path / "items.toml", tmp_path / "attributes.toml")
