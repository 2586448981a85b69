"""The game around the knowledge: rewards, modes, the expert, answerers of one's own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from sparring.agents.grammar import Grammar
from sparring.agents.load import load_agent
from sparring.agents.models.tiny import train_tokenizer
from sparring.bench import BenchConfig, bench
from sparring.envs.text.guessing.answerers import PolicyAnswerer, as_reply
from sparring.envs.text.guessing.game import GuessingGame
from sparring.envs.text.twenty_questions import TwentyQuestions
from sparring.errors import InvalidConfig, UnknownName
from sparring.registration import make
from sparring.settings import EnvConfig
from sparring.testing import check_env, report
from sparring.types import Action, Prompt
from tests.envs.text.guessing.record_golden import EPISODES, GOLDEN, play
from tests.envs.text.guessing.worlds import GAMES, least_mean_questions, play_expert

SMALL: dict[str, Any] = {"actions": "listed", "show": "summary", "objects": 32, "attributes": 24}


@pytest.mark.parametrize("id", ["TwentyQuestions-v1", "GuessMyCity-v1"])
@pytest.mark.parametrize("options", [{}, {"actions": "listed"}, {"actions": "listed", "show": "summary"}])
def test_it_keeps_the_contract(id: str, options: dict[str, Any]) -> None:
    check_env(lambda: make(id, **options))


def test_no_check_is_skipped_where_random_guesses_are_right_at_times() -> None:
    tiny: dict[str, Any] = {"actions": "listed", "objects": 5, "attributes": 4}
    skipped = [one.check for one in report(lambda: make("TwentyQuestions-v1", **tiny)) if one.outcome != "passed"]
    assert skipped == []


@pytest.mark.parametrize("id", EPISODES)
def test_episodes_are_as_recorded(id: str) -> None:
    recorded = json.loads((GOLDEN / f"{id}.json").read_text(encoding="utf-8"))
    assert [play(id, episode) for episode in EPISODES[id]] == recorded


def test_an_episode_by_hand() -> None:
    env = TwentyQuestions(max_questions=4)
    text, info = env.reset(options={"task": "train/cat"})
    assert (text, info["task"]) == ("question 1 of 4", "train/cat")
    assert info["instruction"] == (
        "I am thinking of a common object. Find out which by yes-no questions, at most 4, such as: "
        "Is it alive? Is it a dog?"
    )
    assert env.step("Does it bark?")[:4] == ("I don't know\nquestion 2 of 4", -1.0, False, False)
    assert env.step("Is it a dog?")[:4] == ("no\nquestion 3 of 4", -1.0, False, False)
    text, reward, terminated, truncated, info = env.step("Is it a kitty?")
    assert (text, reward, terminated, truncated) == ("yes\nsolved", 0.0, True, False)
    assert (info["score"], info["success"], info["reply"]) == (0.5, True, "yes")  # 1 - 2 / 4


def test_running_out_of_questions_scores_nothing_and_nonsense_is_not_free() -> None:
    env = TwentyQuestions(max_questions=3)
    env.reset(options={"task": "train/cat"})
    text, reward, terminated, truncated, info = env.step("")
    assert (text, reward, info["no_op"]) == ("I don't know\nquestion 2 of 3", -1.0, "nothing was asked")
    env.step("Is it a pet?")
    text, reward, terminated, truncated, info = env.step("Is it alive?")
    assert (text, reward, terminated, truncated) == ("yes\nno questions left", -1.0, False, True)
    assert (info["score"], info["success"]) == (0.0, False)


def test_a_yes_that_names_the_object_without_asking_for_it_does_not_solve() -> None:
    env = TwentyQuestions(answerer=lambda object, question: "Yes!")
    env.reset(options={"task": "train/cat"})
    assert not env.step("Is it bigger than a cat?")[2]
    assert not env.step("Is it a dog?")[2]
    assert env.step("Is it a cat?")[2]


def test_a_summary_depends_on_what_was_learned_and_not_on_the_order() -> None:
    env = TwentyQuestions(show="summary")
    questions = ["Is it a dog?", "Is it a mammal?", "Is it inanimate?", "Is it metal?", "What is it?"]
    texts = []
    for order in (questions, questions[::-1], [*questions[:3], "Is it alive?", questions[3]]):
        env.reset(options={"task": "train/cat"})
        texts += [[env.step(question)[0] for question in order][-1]]
    assert set(texts) == {"yes: alive, mammal\nno: metal, dog\nquestion 6 of 20"}


def test_listed_actions_are_all_questions_and_nothing_else() -> None:
    env = TwentyQuestions(**SMALL)
    _, info = env.reset(options={"task": "train/cat"})
    choices = info["actions"].choices
    assert len(choices) == 32 + 24 and info["actions"].forms == ()
    assert "Is it a cat?" in choices and "Is it an animal?" in choices
    text, reward, _, _, info = env.step("is it a cat")
    assert (text, reward) == ("question 2 of 20", -1.0)
    assert info["no_op"] == "'is it a cat' is no question of the list"


def test_without_a_holdout_each_split_has_all_objects() -> None:
    env = TwentyQuestions(objects=32, attributes=24, holdout=False)
    names = [[id.partition("/")[2] for id in env.task_ids(split)] for split in env.splits]
    assert names[0] == names[1] == names[2] and len(names[0]) == 32
    assert env.reset(options={"task": "test/cat"})[1]["task"] == "test/cat"
    with pytest.raises(UnknownName):
        TwentyQuestions().reset(options={"task": "test/cat"})


@pytest.mark.parametrize("options", [{"actions": "open"}, {"show": "all"}, {"max_questions": 0}, {"objects": 3}])
def test_unknown_modes_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidConfig):
        TwentyQuestions(**options)


@pytest.mark.parametrize("game", GAMES)
def test_the_expert_solves_every_task_almost_as_fast_as_any_player_could(game: type[GuessingGame]) -> None:
    env = game()
    lengths = []
    for split in env.splits:
        for task in env.task_ids(split):
            asked, total, success = play_expert(env, task)
            assert success and len(set(asked)) == len(asked) and total == 1 - len(asked)
            lengths.append(len(asked))
    bound = least_mean_questions(len(lengths))
    assert bound <= np.mean(lengths) + 1e-9 < bound + 0.2
    assert max(lengths) <= 12


def test_the_expert_is_optimal_in_the_small_game() -> None:
    env = TwentyQuestions(**SMALL, holdout=False)
    assert (
        np.mean([len(play_expert(env, task)[0]) for task in env.task_ids("train")]) == least_mean_questions(32) == 5.5
    )


def test_the_expert_reckons_with_an_answerer_that_errs_or_does_not_know() -> None:
    truth = TwentyQuestions(actions="listed")

    def shaky(object: str, question: str) -> str:
        if question == "Is it an animal?":
            return "I don't know"
        truth.reset(options={"task": "train/cat"})
        reply = truth.step(question)[4]["reply"]
        return "no" if question == "Is it a mammal?" else reply

    asked, _, success = play_expert(TwentyQuestions(answerer=shaky), "train/cat")
    assert success and len(set(asked)) == len(asked)


@pytest.mark.parametrize(
    ("answer", "reply"),
    [
        ("yes", "yes"), ("Yes, it is.", "yes"), (" \n**No**, not at all", "no"), ("NO", "no"), ("", "I don't know"),
        ("Not that I know", "I don't know"), ("Yesterday", "I don't know"), ("12", "I don't know"),
        (" " * 10**6 + "yes", "I don't know"),
    ],
)  # fmt: skip
def test_free_answers_are_cut_to_three_replies(answer: str, reply: str) -> None:
    assert as_reply(answer) == reply


class Knows:
    """A policy that says yes to whatever mentions a word, and keeps what it was asked."""

    version = 0

    def __init__(self) -> None:
        self.prompts: list[Prompt] = []
        self.forgotten: list[str] = []

    def act(self, prompts: Sequence[Prompt]) -> list[Action]:
        self.prompts += prompts
        return [Action("Yes." if "purr" in prompt.messages[-1].content else "No.") for prompt in prompts]

    def forget(self, episode: str) -> None:
        self.forgotten.append(episode)


def test_a_policy_can_answer() -> None:
    policy = Knows()
    env = TwentyQuestions(show="summary", answerer=PolicyAnswerer(policy))
    env.reset(options={"task": "train/cat"})
    assert env.step("Does it\npurr \ud800?")[0] == "yes: Does it purr ??\nquestion 2 of 20"
    assert env.step("Is it {question}?")[4]["reply"] == "no"
    first, second = policy.prompts
    assert first.messages[0].content.endswith("about a cat with yes or no, or with I don't know.\nQuestion: "
                                              "Does it\npurr ??")  # fmt: skip
    assert second.messages[0].content.endswith("Question: Is it {question}?")
    assert first.observation.actions is not None
    assert first.observation.actions.choices == ("yes", "no", "I don't know")
    assert first.seed != second.seed and policy.forgotten == [first.episode, second.episode]
    env.reset(options={"task": "train/cat"})
    env.step("Is it {question}?")
    assert policy.prompts[-1] == second


def test_an_answerer_is_never_given_more_than_a_question() -> None:
    lengths: list[int] = []

    def measure(object: str, question: str) -> str:
        lengths.append(len(question))
        return "no"

    env = TwentyQuestions(answerer=measure)
    env.reset(seed=0)
    env.step("x" * 10**6)
    assert lengths == [300]


def test_a_decoder_can_say_every_listed_question() -> None:
    actions = TwentyQuestions(**SMALL).reset(seed=0)[1]["actions"]
    tokenizer = train_tokenizer(list(actions.choices), vocabulary=300, special_tokens=())
    grammar = Grammar(tokenizer, tokenizer.eos_token_id)
    for choice in actions.choices:
        assert grammar.text(actions, grammar.encode(choice, actions)) == choice


def test_errors_at_a_rate_cost_the_expert_questions(tmp_path: Any) -> None:
    names = ("expert", "expert:0.5", "random")
    env = EnvConfig("TwentyQuestions-v1", {"actions": "listed", "objects": "32", "attributes": "24"})
    config = BenchConfig(env, split="test", seeds=(0, 1, 2))
    done = bench([load_agent(name) for name in names], config, tmp_path / "bench")
    scores = [score.estimate for name in names if (score := done.row(name).score) is not None]
    assert len(scores) == 3 and scores[0] > scores[1] > scores[2]
