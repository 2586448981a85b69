"""A search may be interrupted between any two of its lines, and leaves whole trees that can be searched further."""

from __future__ import annotations

import sys

import pytest

from sparring.envs.pool import EnvPool
from sparring.episode import Start
from sparring.search import files
from sparring.search.engine import Budget, plant, search_many
from sparring.search.rules import rules_of
from tests.search.test_engine import counts_add_up
from tests.search.worlds import SETTING, TreeWorld, uniform


class Interruption:
    """Interrupts what it surrounds, before a line of the search."""

    def __init__(self, line: int) -> None:
        self.left = line

    def __enter__(self) -> Interruption:
        sys.settrace(self._call)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _call(self, frame, event, argument):
        return self._line if "sparring/search" in frame.f_code.co_filename else None

    def _line(self, frame, event, argument):
        self.left -= event == "line"
        if self.left == 0:
            self.left = -1
            raise KeyboardInterrupt
        return self._line


@pytest.mark.parametrize(("method", "width", "merges"), [("mcts", 1, False), ("agent-q", 2, False), ("mcts", 2, True)])
def test_wherever_a_search_is_interrupted_its_trees_are_whole(method, width, merges):
    rules = rules_of(method, stop_at=None, merge_states=merges)
    line, was_interrupted = 1, True
    while was_interrupted:
        with EnvPool(lambda: TreeWorld(2), 4) as pool:
            trees = [plant(pool.envs[0], Start(0, sampling_seed=number), SETTING) for number in range(2)]

            def grow(pool=pool, trees=trees):
                search_many(pool, uniform(), trees, rules=rules, budget=Budget(4), simulations_at_once=width)

            try:
                with Interruption(line):
                    grow()
                was_interrupted = False
            except KeyboardInterrupt:
                line += 11  # a step that meets all lines in time, as simulations repeat them
            for tree in trees:
                assert tree.running == 0 and tree.root.visits == tree.spent.simulations
                assert not any(node.is_expanding for node in tree.nodes)
                assert all(node.came_by.node is node for node in tree.nodes[1:])
                files.from_json(files.to_json(tree))
            grow()
            for tree in trees:
                counts_add_up(tree)
                assert tree.spent.simulations == 4 or tree.root.is_closed
    assert line > 2000
