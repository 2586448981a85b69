"""How promising an edge is: pure functions of its statistics, each from the paper that a search rule follows.

Arguments: `mean` of the values found through the edge, `visits` of the edge, `parent_visits` of the node that it
leaves (itself included where the paper counts so), `exploration` the constant of the paper.
"""

from __future__ import annotations

import math


def ucb1(mean: float, visits: int, parent_visits: int, exploration: float = 1.0) -> float:
    """Agent Q: mean + c sqrt(ln N / (1 + n)), finite before the first visit (arXiv:2408.07199, section 4).

    N = 10, n = 4, mean .5 gives 1.17861; n = 0, mean 0 gives 1.51743.
    """
    return mean + exploration * math.sqrt(math.log(max(parent_visits, 1)) / (1 + visits))


def ucb(mean: float, visits: int, parent_visits: int, exploration: float = 0.25) -> float:
    """Agent-R: mean + c sqrt(ln N / n), infinite before the first visit (arXiv:2501.11425 and its code).

    N = 10, n = 4, mean .5 gives .68968.
    """
    if visits == 0:
        return math.inf
    return mean + exploration * math.sqrt(math.log(max(parent_visits, 1)) / visits)


def uct(mean: float, visits: int, parent_visits: int, exploration: float = 1.0) -> float:
    """LATS: mean + c sqrt(2 ln N / n), infinite before the first visit (arXiv:2310.04406, equation 1 as coded).

    N = 10, n = 4, mean .5 gives 1.57298.
    """
    if visits == 0:
        return math.inf
    return mean + exploration * math.sqrt(2 * math.log(max(parent_visits, 1)) / visits)


def rest(mean: float, visits: int, parent_visits: int, exploration: float = 0.7) -> float:
    """ReST-MCTS*: V + c sqrt(2 ln N / n), the square root being 1 before the first visit (arXiv:2406.03816, code).

    N = 10, n = 4, V = .5 gives 1.25109.
    """
    root = math.sqrt(2 * math.log(max(parent_visits, 1)) / visits) if visits else 1.0
    return mean + exploration * root


def puct(mean: float, visits: int, parent_visits: int, prior: float, exploration: float = 1.0) -> float:
    """R-MCTS: Q + c P sqrt(N) / (1 + n), and Q + c P where the node is new (arXiv:2410.02052, code).

    N = 10, n = 4, Q = .5, P = .4 gives .75298.
    """
    root = math.sqrt(parent_visits) / (1 + visits) if parent_visits else 1.0
    return mean + exploration * prior * root
