"""Search as an agent of benchmarks."""

from dataclasses import replace

import pytest

from sparring.agents.load import load_agent
from sparring.agents.scripted import RandomPolicy
from sparring.bench import BenchConfig, bench
from sparring.envs.pool import EnvPool
from sparring.episode import Setting, Start
from sparring.errors import InvalidConfig, UnknownName
from sparring.search.agent import SearchSpec
from sparring.search.engine import Budget
from sparring.search.play import Searcher, play
from sparring.search.rules import rules_of
from sparring.settings import EnvConfig
from sparring.summary import EpisodeRecord


def test_search_lifts_a_random_policy_and_says_what_it_cost(tmp_path):
    agents = [load_agent("random"), load_agent("search:mcts@simulations=20:random")]
    config = BenchConfig(EnvConfig("NumberSearch-v1"), tasks=6)
    report = bench(agents, config, tmp_path)
    plain, searched = report.rows
    assert searched.errors == 0 and searched.score.estimate > plain.score.estimate


def test_a_table_counts_all_tokens_that_a_search_sampled(tmp_path):
    class OneToken:
        version = 0

        def act(self, prompts):
            return [replace(action, token_ids=(1,), logprobs=(0.0,)) for action in RandomPolicy().act(prompts)]

    searcher = Searcher(rules_of("best-of-n"), Budget(simulations=5))
    with EnvPool(EnvConfig("NumberSearch-v1").maker(), 2) as pool:
        [played] = play(searcher, OneToken(), pool, [Start(3)], Setting("NumberSearch-v1"))
    assert played.info["search_tokens"] == played.info["search_env_steps"] > len(played.turns)
    assert EpisodeRecord.of(played, "a", 0, 1.0).sampled_tokens == played.info["search_tokens"]


@pytest.mark.parametrize("spec", ["search:mcts", "search:mcts@simulations=x:random"])
def test_an_impossible_search_teaches(spec):
    with pytest.raises(InvalidConfig, match="search:mcts"):
        load_agent(spec)


@pytest.mark.parametrize("spec", ["search:mtcs:random", "search:mcts@steps=3:random"])
def test_an_unknown_search_names_what_there_is(spec):
    with pytest.raises(UnknownName):
        load_agent(spec)


def test_a_table_counts_the_steps_of_the_search_and_of_the_episode():
    searcher = Searcher(rules_of("best-of-n"), Budget(simulations=5))
    with EnvPool(EnvConfig("NumberSearch-v1").maker(), 2) as pool:
        [played] = play(searcher, RandomPolicy(), pool, [Start(3)], Setting("NumberSearch-v1"))
    found = EpisodeRecord.of(played, "a", 0, 1.0)
    assert found.env_steps == len(played.turns) + played.info["search_env_steps"] > 5


def test_what_a_judge_says_is_part_of_the_cost():
    class Talkative:
        version = 0

        def act(self, prompts):
            return [replace(action, token_ids=(1,), logprobs=(0.0,)) for action in RandomPolicy().act(prompts)]

    spent = {}
    for evaluator in ("score", "agreement"):
        searcher = SearchSpec.parse(f"search:mcts@simulations=5@outcome=hidden@evaluator={evaluator}:random").searcher(
            Talkative()
        )
        with EnvPool(EnvConfig("NumberSearch-v1").maker(), 2) as pool:
            [played] = play(searcher, Talkative(), pool, [Start(3)], Setting("NumberSearch-v1"))
        assert searcher.judge is not None and searcher.judge.tokens > 0
        spent[evaluator] = played.info["search_tokens"] - searcher.judge.tokens
    assert min(spent.values()) > 0
