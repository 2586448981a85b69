"""The engine on a world small enough to know everything about."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparring.envs.pool import EnvPool
from sparring.episode import Start
from sparring.errors import EnvNotSearchable, InvalidConfig, ReplayDiverged, UnknownName
from sparring.search.budget import IDLE
from sparring.search.engine import Budget, plant, search, search_many
from sparring.search.evaluators import estimate, playout, zero
from sparring.search.rules import PRESETS, final_score, rules_of
from sparring.search.tree import Tree, episode_along
from sparring.types import Action, ActionSet
from tests.search.worlds import (
    CHOICES,
    SETTING,
    START,
    DriftingTreeWorld,
    LeftPolicy,
    ReplayedTreeWorld,
    TreeWorld,
    uniform,
)

MANY = {"samples": 30, "children": 3}


def counts_add_up(tree: Tree) -> None:
    """Every simulation is counted once at each place that it passed, and nothing is still under way."""
    assert tree.running == 0
    assert tree.root.visits == tree.spent.simulations
    for node in tree.nodes:
        assert all(edge.in_flight == 0 for edge in node.edges)
        # Those that passed a node went on through an edge, or ended here: where it was new, over, or cut off.
        assert sum(edge.visits for edge in node.edges) <= node.visits
        for edge in node.edges:
            assert 0.0 <= edge.mean <= 1.0
            if edge.node is not None and edge.node.came_by is edge:
                assert edge.node.visits >= edge.visits
                assert edge.turn is not None and edge.turn.action is edge.action
    assert sum(edge.visits for edge in tree.root.edges) == tree.root.visits


def shape(tree: Tree) -> list[tuple[object, ...]]:
    return [
        (edge.parent.number, edge.action.text, edge.visits, round(edge.total, 9), edge.samples) for edge in tree.edges
    ]


@pytest.mark.parametrize("method", ["mcts", "agent-r", "lats", "rest-mcts", "best-first", "beam"])
def test_a_search_that_may_see_everything_finds_the_optimum_of_brute_force(method):
    env = TreeWorld(depth=3)
    changes = {"width": 99} if method == "beam" else {}
    rules = rules_of(method, **MANY, max_depth=None, stop_at=None, revisit_endings=False, **changes)
    tree = search(env, uniform(), START, SETTING, rules=rules, budget=Budget(simulations=500))
    best = tree.best_ending(final_score)
    assert best is not None
    assert tuple(edge.action.text for edge in best.path) == max(env.values, key=env.values.__getitem__)
    assert {tuple(edge.action.text for edge in node.path) for node in tree.endings()} == set(env.values)
    counts_add_up(tree)


def test_greedy_misses_the_optimum_that_search_finds():
    env = TreeWorld(depth=3)
    assert env.values[("left",) * 3] < 1.0
    greedy = search(env, LeftPolicy(), START, SETTING, rules=rules_of("best-of-n"), budget=Budget(simulations=5))
    assert final_score(greedy.best_ending(final_score).moment) < 1.0
    found = search(env, uniform(), START, SETTING, rules=rules_of("mcts", **MANY), budget=Budget(simulations=200))
    assert final_score(found.best_ending(final_score).moment) == 1.0
    assert found.stopped == "a value of 1 was found"


def test_a_search_may_begin_in_the_midst_of_an_episode():
    env = TreeWorld(3)
    whole = search(env, uniform(), START, SETTING, rules=rules_of("best-of-n"), budget=Budget(simulations=1))
    turns = episode_along(whole.best_ending(final_score).path).turns[:1]
    tree = search(env, uniform(), replace(START, prefix=turns), SETTING, rules=rules_of("mcts", **MANY, stop_at=None))
    assert tree.root.moment.turns == turns and len(tree.endings()) == 9
    over = episode_along(whole.best_ending(final_score).path).turns
    ended = search(env, uniform(), replace(START, prefix=over), SETTING)
    assert ended.stopped == "everything sampled was seen"


def test_a_policy_whose_context_is_full_ends_the_search():
    class Full:
        version = 0

        def act(self, prompts):
            return [Action("", stop="context") for _ in prompts]

    for method in ("best-of-n", "mcts"):
        budget = Budget(simulations=None, tokens=10)
        tree = search(TreeWorld(), Full(), START, SETTING, rules=rules_of(method), budget=budget)
        assert tree.stopped == "everything sampled was seen" and tree.root.edges == []


def test_an_environment_of_the_callers_is_not_closed():
    class Closing(TreeWorld):
        is_closed = False

        def close(self):
            self.is_closed = True

    env = Closing(2, breaks_on=("left",))
    tree = search(env, uniform(), START, SETTING, rules=rules_of("mcts", **MANY, stop_at=None))
    assert tree.root.edge("left").error and not env.is_closed and len(tree.endings()) == 6


def test_what_a_policy_keeps_for_a_search_is_freed():
    class Keeping(LeftPolicy):
        def __init__(self):
            self.kept = set()

        def act(self, prompts):
            self.kept |= {prompt.episode for prompt in prompts}
            return super().act(prompts)

        def forget(self, episode):
            self.kept.discard(episode)

    policy = Keeping()
    search(TreeWorld(), policy, START, SETTING)
    assert policy.kept == set()


def test_playouts_do_not_look_at_outcomes_that_the_rules_hide():
    with pytest.raises(InvalidConfig, match="sees_outcome"):
        search(TreeWorld(), uniform(), START, SETTING, rules=rules_of("mcts", sees_outcome=False))


def test_means_converge_to_the_values_of_random_play():
    env = TreeWorld(depth=2)
    rules = rules_of("best-of-n")
    tree = search(env, uniform(), START, SETTING, rules=rules, budget=Budget(simulations=3000))
    for choice in CHOICES:
        expected = sum(value for path, value in env.values.items() if path[0] == choice) / 3
        assert tree.root.edge(choice).mean == pytest.approx(expected, abs=0.04)


def test_visits_concentrate_on_the_best_branch():
    env = TreeWorld(depth=3, seed=3)
    rules = rules_of("agent-q", **MANY, exploration=0.5)
    tree = search(env, uniform(), START, SETTING, rules=rules, budget=Budget(simulations=800))
    assert tuple(edge.action.text for edge in tree.likeliest()) == max(env.values, key=env.values.__getitem__)


@settings(max_examples=20, deadline=None)
@given(
    method=st.sampled_from(sorted(PRESETS)),
    simulations=st.integers(1, 40),
    width=st.integers(1, 6),
    depth=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_counts_add_up_and_values_stay_in_range(method, simulations, width, depth, seed):
    evaluator = estimate(lambda moments: [0.5] * len(moments)) if method == "r-mcts" else playout
    with EnvPool(lambda: TreeWorld(depth), 6) as pool:
        trees = [plant(pool.envs[0], Start(seed, sampling_seed=number), SETTING) for number in range(2)]
        search_many(
            pool,
            uniform(),
            trees,
            rules=rules_of(method),
            evaluator=evaluator,
            budget=Budget(simulations=simulations),
            simulations_at_once=width,
        )
        for tree in trees:
            counts_add_up(tree)
            assert tree.spent.simulations <= simulations


def test_trees_do_not_depend_on_each_other_nor_on_how_many_are_searched_at_once():
    starts = [Start(seed, sampling_seed=seed) for seed in range(5)]
    alone = [search(TreeWorld(), uniform(), one, SETTING, budget=Budget(simulations=20)) for one in starts]
    for size in (1, 2, 5):
        with EnvPool(TreeWorld, size) as pool:
            trees = [plant(pool.envs[0], one, SETTING) for one in starts]
            search_many(pool, uniform(), trees, budget=Budget(simulations=20))
        assert [shape(tree) for tree in trees] == [shape(tree) for tree in alone]


@pytest.mark.parametrize("method", ["mcts", "lats", "best-of-n"])
@pytest.mark.parametrize("width", [2, 4])
def test_a_tree_of_simultaneous_simulations_does_not_depend_on_the_pool_nor_on_other_trees(method, width):
    def grown(size, seeds):
        with EnvPool(lambda: TreeWorld(5), size) as pool:
            trees = [plant(pool.envs[0], Start(seed, sampling_seed=seed), SETTING) for seed in seeds]
            rules = rules_of(method, stop_at=None)
            search_many(pool, uniform(), trees, rules=rules, budget=Budget(25), simulations_at_once=width)
        return [shape(tree) for tree in trees]

    alone = [*grown(width, [0]), *grown(width, [1]), *grown(width, [2])]
    for size in (width, width + 1, 2 * width, 2 * width + 1, 4 * width):
        assert grown(size, [0, 1, 2]) == alone


def test_the_same_seed_gives_the_same_tree_and_another_seed_another():
    def grown(seed):
        return shape(search(TreeWorld(4), uniform(), Start(0, sampling_seed=seed), SETTING))

    assert grown(1) == grown(1)
    assert grown(1) != grown(2)


def test_replayed_forks_give_the_very_tree_of_snapshots():
    copied = search(TreeWorld(), uniform(), START, SETTING)
    replayed = search(ReplayedTreeWorld(), uniform(), START, SETTING)
    assert shape(copied) == shape(replayed)
    assert replayed.spent.replayed_steps > copied.spent.replayed_steps


def test_a_replay_that_diverges_is_caught_at_its_turn():
    with pytest.raises(ReplayDiverged, match="diverged at turn 1"):
        search(DriftingTreeWorld(), uniform(), START, SETTING)


def test_an_environment_that_can_not_be_brought_back_is_refused():
    class Dice(ReplayedTreeWorld):
        deterministic = False

    with pytest.raises(EnvNotSearchable, match="not deterministic"):
        search(Dice(), uniform(), START, SETTING)


def test_an_interrupted_search_leaves_a_tree_that_can_be_searched_further():
    whole = search(TreeWorld(4), uniform(), START, SETTING, budget=Budget(simulations=40))

    class Interrupting:
        version = 0

        def __init__(self, after: int) -> None:
            self.inner, self.left = uniform(), after

        def act(self, prompts):
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
            return self.inner.act(prompts)

    for after in range(1, 30, 3):
        with EnvPool(lambda: TreeWorld(4), 1) as pool:
            tree = plant(pool.envs[0], START, SETTING)
            with pytest.raises(KeyboardInterrupt):
                search_many(pool, Interrupting(after), [tree], budget=Budget(simulations=40))
            assert tree.root.visits == tree.spent.simulations
            assert all(edge.in_flight == 0 for edge in tree.edges) and not tree.root.is_expanding
            search_many(pool, uniform(), [tree], budget=Budget(simulations=40))
            assert tree.spent.simulations <= 40
            counts_add_up(tree)
    assert whole.spent.simulations <= 40


def test_a_failing_action_closes_its_edge_alone():
    def make():
        return TreeWorld(2, breaks_on=("left",))

    with EnvPool(make, 1) as pool:
        tree = plant(pool.envs[0], START, SETTING)
        rules = rules_of("mcts", **MANY, stop_at=None)
        search_many(pool, uniform(), [tree], rules=rules, budget=Budget(simulations=50))
    broken = tree.root.edge("left")
    assert "out of order" in broken.error and broken.visits == 0
    assert len(tree.endings()) == 6


def test_merging_states_gives_a_place_one_node_and_counts_every_visit_once():
    class Sum(TreeWorld):
        """Only how often one went right counts, so orders of actions merge."""

        def observe(self):
            return f"right {self.taken.count('right')} of {len(self.taken)}", {"actions": ActionSetOfTwo}

        def step(self, action):
            text, reward, over, cut, info = super().step(action)
            self.taken = tuple(sorted(self.taken))
            return text, reward, over, cut, info

    ActionSetOfTwo = ActionSet(("left", "right"))
    rules = rules_of("mcts", samples=30, children=2, merge_states=True, stop_at=None)
    tree = search(Sum(4), uniform(), START, SETTING, rules=rules, budget=Budget(simulations=300))
    inner = [node for node in tree.nodes if not node.is_over]
    assert len(inner) == 1 + 2 + 3 + 4  # the places of a grid instead of 1 + 2 + 4 + 8
    arriving = {node.number: 0 for node in tree.nodes}
    for edge in tree.edges:
        if edge.node is not None:
            arriving[edge.node.number] += edge.visits
    assert all(arriving[node.number] == node.visits for node in tree.nodes[1:])


class Ladder(TreeWorld):
    """Whatever is said leads to the same next rung."""

    state = ("said",)

    def __init__(self, depth):
        super().__init__(1)
        self.depth, self.said = depth, 0

    def observe(self):
        return f"rung {self.said}", {"actions": ActionSet(CHOICES), "task": "only"}

    def reset(self, *, seed=None, options=None):
        self.said = 0
        return super().reset(seed=seed, options=options)

    def step(self, action):
        self.said += 1
        return *self.observe()[:1], 0.0, self.said == self.depth, False, self.observe()[1]


def test_a_place_that_many_ways_lead_to_is_looked_at_once_a_simulation():
    """With 3 ways from each of 30 rungs to the next there are more paths than could ever be tried."""
    rules = rules_of("mcts", **MANY, merge_states=True)
    with EnvPool(lambda: Ladder(30), 4) as pool:
        tree = plant(pool.envs[0], START, SETTING)
        search_many(pool, uniform(), [tree], rules=rules, budget=Budget(200), simulations_at_once=4)
    assert tree.stopped == "everything sampled was seen" and len([one for one in tree.nodes if not one.is_over]) == 30


def test_a_search_goes_deeper_than_python_calls():
    rules = rules_of("mcts", samples=1, children=1)
    setting = replace(SETTING, memory="last_observation")
    tree = search(Ladder(1050), uniform(), START, setting, rules=rules, evaluator=zero, budget=Budget(1100))
    assert [node.depth for node in tree.endings()] == [1050]


class Ring(Ladder):
    """The third rung is the first."""

    def step(self, action):
        result = super().step(action)
        self.said %= 3
        return *self.observe()[:1], *result[1:]


@pytest.mark.parametrize("method", ["mcts", "best-first", "beam", "agent-q", "r-mcts"])
def test_merged_places_that_lead_in_a_ring_do_not_hold_a_search(method):
    rules = rules_of(method, **MANY, merge_states=True, max_depth=None)
    tree = search(Ring(99), uniform(), START, SETTING, rules=rules, evaluator=zero, budget=Budget(50))
    assert tree.stopped in ("no place is left to look at", "everything sampled was seen") and len(tree.nodes) == 4


def test_an_episode_along_a_path_is_what_was_played():
    env = TreeWorld(3)
    tree = search(env, uniform(), START, SETTING, rules=rules_of("mcts", **MANY), budget=Budget(simulations=60))
    best = tree.best_ending(final_score)
    played = episode_along(best.path).trajectory()
    assert tuple(turn.action.text for turn in played.turns) == tuple(edge.action.text for edge in best.path)
    assert played.score == env.values[tuple(turn.action.text for turn in played.turns)]


def test_batched_search_asks_for_many_actions_at_once():
    asked = []

    class Counting:
        version = 0

        def act(self, prompts):
            asked.append(len(prompts))
            return uniform().act(prompts)

    with EnvPool(lambda: TreeWorld(5), 8) as pool:
        trees = [plant(pool.envs[0], Start(0, sampling_seed=number), SETTING) for number in range(2)]
        search_many(pool, Counting(), trees, budget=Budget(simulations=60), simulations_at_once=4)
    assert sum(asked) / len(asked) > 3


@pytest.mark.parametrize("limit", [{"env_steps": 20}, {"seconds": 0.05}])
def test_a_budget_ends_the_search(limit):
    budget = Budget(simulations=None, **limit)
    tree = search(TreeWorld(9), uniform(), START, SETTING, rules=rules_of("best-of-n"), budget=budget)
    assert tree.stopped == next(iter(limit))
    assert tree.spent.env_steps < 20 + 9 or "seconds" in limit


@pytest.mark.parametrize(
    ("method", "limit"), [("agent-q", {"env_steps": 5000}), ("lats", {"env_steps": 5000}), ("best-of-n", {"tokens": 9})]
)
def test_a_budget_that_is_never_used_up_ends_the_search_too(method, limit):
    """Known endings cost no steps to visit again, and a script reports no tokens."""
    rules = rules_of(method, stop_at=None)
    budget = Budget(simulations=None, **limit)
    tree = search(TreeWorld(2), uniform(), START, SETTING, rules=rules, budget=budget)
    assert tree.stopped == f"{IDLE} simulations in a row used none of the budget"
    counts_add_up(tree)


def test_seconds_end_a_search_whose_simulations_ask_nothing():
    rules = rules_of("agent-q", **MANY)
    tree = search(TreeWorld(1), uniform(), START, SETTING, rules=rules, budget=Budget(None, seconds=0.3))
    assert tree.stopped == "seconds" and len(tree.endings()) == 3


def test_an_evaluator_that_knows_nothing_still_finds_endings():
    tree = search(TreeWorld(2), uniform(), START, SETTING, rules=rules_of("mcts", **MANY), evaluator=zero)
    assert final_score(tree.best_ending(final_score).moment) == 1.0


def test_impossible_settings_teach():
    with pytest.raises(UnknownName, match="mcts"):
        rules_of("mtcs")
    with pytest.raises(InvalidConfig, match="budget"):
        Budget(simulations=None)
    for seconds in (float("nan"), float("inf")):
        with pytest.raises(InvalidConfig, match="finite number above 0"):
            Budget(seconds=seconds)
    with pytest.raises(InvalidConfig, match="samples"):
        rules_of("mcts", samples=0)
