"""Which questions are understood, and as what."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparring.envs.text.guess_my_city import GuessMyCity
from sparring.envs.text.guessing.game import GuessingGame
from sparring.envs.text.guessing.knowledge import Attribute, Item, Knowledge
from sparring.envs.text.guessing.questions import AsksWhether, Guesses, Reader
from sparring.envs.text.guessing.wording import MOST_CHARACTERS, plain
from sparring.envs.text.twenty_questions import TwentyQuestions
from sparring.errors import InvalidData
from tests.envs.text.guessing.worlds import GAMES

OBJECTS, CITIES = TwentyQuestions(), GuessMyCity()
READERS = {OBJECTS: Reader(OBJECTS.knowledge), CITIES: Reader(CITIES.knowledge)}


def understood(env: GuessingGame, question: str) -> str | None:
    """The attribute's key, with "!" where the opposite is asked; "= name" for a guess."""
    meaning = READERS[env].read(question)
    if isinstance(meaning, Guesses):
        return f"= {env.knowledge.items[meaning.item].name}"
    return ("!" if meaning.opposite else "") + env.knowledge.attributes[meaning.attribute].key if meaning else None


@pytest.mark.parametrize("game", GAMES)
def test_every_question_in_the_files_is_understood_as_its_own(game: type[GuessingGame]) -> None:
    env = game()
    reader = Reader(env.knowledge)
    for column, attribute in enumerate(env.knowledge.attributes):
        for question in attribute.questions:
            assert reader.read(question) == reader.read(question.lower().rstrip("?")) == AsksWhether(column), question
        for question in attribute.opposites:
            assert reader.read(question) == AsksWhether(column, opposite=True), question
    for row, item in enumerate(env.knowledge.items):
        assert reader.read(item.question) == Guesses(row)
        for name in item.names:
            for question in (f"Is it {name}?", f"is it the {name}", f"Could it be a {name}?", f"I guess it's {name}."):
                assert reader.read(question) == Guesses(row), question


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Is it alive?", "alive"),
        ("is it an animal", "animal"),
        ("Is it a kind of animal?", "animal"),
        ("Does it have four legs?", "four_legs"),
        ("DOES IT HAVE 4 LEGS", "four_legs"),
        ("can you eat it?", "eaten"),
        ("Is it something that people can eat?", "eaten"),
        ("Would I find it in a kitchen?", "kitchen"),
        ("Is this object usually found inside the kitchen?", "kitchen"),
        ("Can it be found in most kitchens?", None),
        ("Is it a cat?", "= cat"),
        ("Is the thing you are thinking of a kitten?", "= cat"),
        ("OK, next question: does it fly?", "flies"),
        ("Is it something that flies?", "flies"),
        ("Are they able to fly?", "flies"),
        ("Is it made out of metal?", "metal"),
        ("Is your object larger than a car?", "bigger_car"),
        ("Hmm. Is it inanimate?", "!alive"),
        ("Is it mostly used indoors?", "!outdoors"),
        ("Does it require electricity?", "electric"),
        ("It’s a T-shirt?", "= shirt"),
        ("Is it a hot-air balloon?", "= balloon"),
        ("scissors?", "= scissors"),
        ("Are they scissors?", "= scissors"),
        ("Is it an orange?", "= orange"),
        # two questions, denials, alternatives, no yes-no question, and what the knowledge does not hold
        ("Is it alive? Is it a cat?", None),
        ("Isn't it alive?", None),
        ("Is it not alive?", None),
        ("It has no legs?", None),
        ("Is it a cat or a dog?", None),
        ("Is it a cat and a dog?", None),
        ("What is it?", None),
        ("Does it like a cat?", None),
        ("Is it bigger than a cat?", None),
        ("Is it a unicorn?", None),
        ("", None),
        ("?", None),
        ("it", None),
    ],
)
def test_questions_about_objects(question: str, expected: str | None) -> None:
    assert understood(OBJECTS, question) == expected


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Is your city located in South America?", "south_america"),
        ("Is it a city in Asia?", "asia"),
        ("Is it in the Southern Hemisphere?", "!north"),
        ("Is the city the capital of its country?", "capital"),
        ("Is it a coastal city?", "coast"),
        ("Do people there speak Spanish?", "spanish"),
        ("Is it a Spanish city?", "spain"),
        ("Is it in the US?", "united_states"),
        ("Is it Washington, D.C.?", "= Washington"),
        ("Is it St. Petersburg?", "= Saint Petersburg"),
        ("Is it São Paulo?", "= Sao Paulo"),
        ("Is it Singapore?", "= Singapore"),
        ("Is it in Singapore?", "singapore"),
        ("Is it in Paris?", None),
        ("Is it near Paris?", None),
        ("What continent is it on?", None),
    ],
)
def test_questions_about_cities(question: str, expected: str | None) -> None:
    assert understood(CITIES, question) == expected


@given(st.text(max_size=2 * MOST_CHARACTERS))
def test_any_text_is_read_without_an_exception(text: str) -> None:
    for reader in READERS.values():
        reader.read(text)


JUMBLED = ("is", "it", "can", "you", "eat", "kind", "of", "thing", "the", "cat", "it's", "isn't", "st.", "?", "!")


@given(st.lists(st.sampled_from(JUMBLED), max_size=60))
def test_any_jumble_of_its_own_words_is_read_without_an_exception(words: list[str]) -> None:
    READERS[OBJECTS].read(" ".join(words))


def test_long_texts_are_not_looked_at() -> None:
    assert plain("is it " * 10 + "alive") == "is it " * 9 + "is it alive"
    assert plain("a" * (MOST_CHARACTERS + 1)) is None
    begin = time.perf_counter()
    for text in ("is it " * 10**6, "\u0301" * 10**6, "?" * 10**6, "'" * 10**6, "ﷺ" * MOST_CHARACTERS):
        assert READERS[OBJECTS].read(text) is None
    assert time.perf_counter() - begin < 5  # quadratic time would be minutes


def test_words_that_mean_two_things_are_refused() -> None:
    known = OBJECTS.knowledge
    with pytest.raises(InvalidData, match='asked by the words "glass"'):
        Reader(
            Knowledge(
                (Item("a glass", ("glass",), "things", "train"),),
                (Attribute("glass", ("Is it glass?",)),),
                known.truth[:1, :1],
            )
        )
    with pytest.raises(InvalidData, match="can't be understood itself"):
        Reader(Knowledge((), (Attribute("dead", ("Is it not alive?",)),), known.truth[:0, :1]))
