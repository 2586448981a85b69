"""Selection scores against values worked out by hand."""

import math

import pytest

from sparring.search import scores


def test_oracles():
    # Q = .5, N = 10, n = 4 throughout.
    assert scores.ucb1(0.5, 4, 10) == pytest.approx(1.17861, abs=1e-5)  # .5 + sqrt(ln 10 / 5)
    assert scores.ucb1(0.0, 0, 10) == pytest.approx(1.51743, abs=1e-5)  # sqrt(ln 10)
    assert scores.ucb(0.5, 4, 10) == pytest.approx(0.68968, abs=1e-5)  # .5 + .25 sqrt(ln 10 / 4)
    assert scores.uct(2 / 4, 4, 10) == pytest.approx(1.57298, abs=1e-5)  # .5 + sqrt(2 ln 10 / 4)
    assert scores.rest(0.5, 4, 10) == pytest.approx(1.25109, abs=1e-5)  # .5 + .7 sqrt(2 ln 10 / 4)
    assert scores.puct(0.5, 4, 10, 0.4) == pytest.approx(0.75298, abs=1e-5)  # .5 + .4 sqrt(10) / 5


def test_new_edges():
    assert scores.ucb(0.0, 0, 10) == scores.uct(0.0, 0, 10) == math.inf
    assert scores.rest(0.2, 0, 10) == pytest.approx(0.9)
    assert scores.puct(0.5, 0, 0, 0.4) == pytest.approx(0.9)
