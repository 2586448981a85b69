"""Search as an agent of benchmarks."""

import pytest

from sparring.agents.load import load_agent
from sparring.bench import BenchConfig, bench
from sparring.errors import InvalidConfig, UnknownName
from sparring.settings import EnvConfig


def test_search_lifts_a_random_policy_and_says_what_it_cost(tmp_path):
    agents = [load_agent("random"), load_agent("search:mcts@simulations=20:random")]
    config = BenchConfig(EnvConfig("NumberSearch-v1"), tasks=6)
    report = bench(agents, config, tmp_path)
    plain, searched = report.rows
    assert searched.errors == 0 and searched.score.estimate > plain.score.estimate


@pytest.mark.parametrize("spec", ["search:mcts", "search:mcts@simulations=x:random"])
def test_an_impossible_search_teaches(spec):
    with pytest.raises(InvalidConfig, match="search:mcts"):
        load_agent(spec)


@pytest.mark.parametrize("spec", ["search:mtcs:random", "search:mcts@steps=3:random"])
def test_an_unknown_search_names_what_there_is(spec):
    with pytest.raises(UnknownName):
        load_agent(spec)
