"""Each kind of problem against another way to solve or check it."""

from __future__ import annotations

from itertools import permutations, product
from string import ascii_lowercase

import numpy as np
import pytest

from sparring.envs.text.reasoning.arithmetic import Arithmetic
from sparring.envs.text.reasoning.chain import Arrows, Chain
from sparring.envs.text.reasoning.colouring import Colouring, Graph, first_colouring
from sparring.envs.text.reasoning.equations import Equation, Equations, first_solution
from sparring.envs.text.reasoning.latin import LatinSquare, Square
from sparring.envs.text.reasoning.ordering import Constraints, Ordering, Sorting
from sparring.envs.text.reasoning.rewriting import Rewriting, System
from sparring.errors import InvalidConfig


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def value(words: list[str]) -> int:
    """An expression in brackets, read from the left."""

    def operand() -> int:
        if words[0] == "(":
            words.pop(0)
            found = calculation()
            assert words.pop(0) == ")"
            return found
        digits = ""
        while words and words[0].isdigit():
            digits += words.pop(0)
        return int(digits)

    def calculation() -> int:
        found = operand()
        while words and words[0] in "+-*":
            sign, other = words.pop(0), operand()
            found = {"+": found + other, "-": found - other, "*": found * other}[sign]
        return found

    return calculation()


@pytest.mark.parametrize("operation", ["sum", "product", "expression"])
@pytest.mark.parametrize("terms", [2, 4])
def test_calculations_come_to_what_they_show(operation: str, terms: int) -> None:
    env = Arithmetic(operation=operation, digits=2, terms=terms)  # type: ignore[arg-type]
    for seed in range(50):
        drawn = env.draw(rng(seed))
        assert str(value(env.problem(drawn).split())) == env.solve(drawn).replace(" ", "")


def test_what_is_said_of_a_wrong_sum() -> None:
    env = Arithmetic()
    drawn = env.draw(rng())
    right = env.solve(drawn).split()
    assert env.verify(drawn, " ".join(right)).is_right
    changed = [*right[:-2], str((int(right[-2]) + 1) % 10), right[-1]]
    assert env.verify(drawn, " ".join(changed)).detail == "place 2 from the right does not fit"
    assert env.verify(drawn, " ".join(["1", *right])).detail == "it is too long"
    assert env.verify(drawn, " ".join(right[1:])).detail == "it is too short"


def test_a_way_along_arrows_by_hand() -> None:
    env = Chain(places=4, steps=3)
    drawn = Arrows(((2, 0), (0, 3), (3, 1), (1, 2)), 2)
    assert env.problem(drawn) == "c>a a>d d>b b>c from c"
    assert env.solve(drawn) == "b d a"
    assert env.verify(drawn, "b d a").is_right
    assert env.verify(drawn, "c d a").detail == "no arrow leads from d to c"
    assert env.verify(drawn, "b d c").detail == "no arrow leads from c to c"
    assert env.verify(drawn, "d a").detail == "it names 2 places"


def test_arrows_are_one_cycle() -> None:
    for seed in range(20):
        drawn = Chain(places=9).draw(rng(seed))
        assert sorted(drawn.way(9)) == list(range(9)) and drawn.way(9)[-1] == drawn.start


def test_the_first_colouring_is_the_first_of_all() -> None:
    for seed in range(30):
        graph = Colouring(nodes=6, edges=10).draw(rng(seed))
        proper = [one for one in product(range(3), repeat=6) if all(one[a] != one[b] for a, b in graph.edges)]
        assert first_colouring(graph, 3) == proper[0]
    assert first_colouring(Graph(3, ((0, 1), (0, 2), (1, 2))), 2) is None


def test_colourings_are_checked_edge_by_edge() -> None:
    env = Colouring(nodes=4, edges=4)
    graph = Graph(4, ((0, 1), (0, 2), (1, 2), (2, 3)))
    verdicts = {said: env.verify(graph, " ".join(said)) for said in map("".join, product("ryz", repeat=4))}
    right = {said for said, verdict in verdicts.items() if verdict.is_right}
    assert right == {said for said in verdicts if len({*said[:3]}) == 3 and said[2] != said[3]}
    assert verdicts["ryzz"].detail == "c and d are both z"
    assert env.verify(graph, "r y z").detail == "it names 3 colours"


def test_a_first_fit_often_fails_where_colourings_are_hard() -> None:
    """Otherwise looking ahead would not be needed, and there would be nothing to correct."""
    env, stuck = Colouring(), 0
    for seed in range(100):
        graph = env.draw(rng(seed))
        chosen: list[int] = []
        for node in range(graph.nodes):
            taken = {chosen[one] for one, other in graph.edges if other == node}
            free = {0, 1, 2} - taken
            if not free:
                stuck += 1
                break
            chosen.append(min(free))
    assert stuck > 40


def test_equations_by_hand() -> None:
    env = Equations(unknowns=3, equations=2)
    drawn = (Equation(((1, 0), (-2, 1)), -3), Equation(((-1, 1), (1, 2)), 4))
    assert env.problem(drawn) == "a - 2 b = -3 ; - b + c = 4"
    assert env.solve(drawn) == "1 2 6"
    assert env.verify(drawn, "3 3 7").is_right  # any solution
    assert env.verify(drawn, "3 3 8").detail == "- b + c is 5"
    assert env.verify(drawn, "3 3").detail == "it has 2 digits for 3 unknowns"
    assert first_solution((Equation(((1, 0), (1, 1)), 30),), 2) is None


def test_solutions_of_equations_solve_them() -> None:
    for terms, unknowns in ((2, 4), (3, 3)):
        env = Equations(unknowns=unknowns, terms=terms, equations=3)
        for seed in range(20):
            drawn = env.draw(rng(seed))
            every = [
                one for one in product(range(10), repeat=unknowns) if all(e.left([*one]) == e.total for e in drawn)
            ]
            assert env.solve(drawn) == " ".join(map(str, every[0]))


def test_latin_squares_by_hand() -> None:
    env = LatinSquare(size=3, gaps=3)
    square = Square(3, (1, 0, 3, 2, 3, 0, 0, 1, 2))
    assert env.problem(square) == "1 ? 3 / 2 3 ? / ? 1 2"
    assert env.solve(square) == "2 1 3"
    assert env.verify(square, "2 1 3").is_right
    assert env.verify(square, "3 1 3").detail == "row 1 holds 3 twice"
    assert env.verify(square, "2 1 1").detail == "row 3 holds 1 twice"
    assert env.verify(square, "2 1").detail == "it has 2 digits, and there are 3 gaps"
    assert Square(3, (1, 2, 0, 0, 0, 3, 0, 0, 0)).filling() is None


def test_a_filled_square_holds_every_digit_once_a_line() -> None:
    for seed in range(20):
        square = LatinSquare().draw(rng(seed))
        cells = list(square.cells)
        for at, digit in zip(square.gaps, square.filling() or (), strict=True):
            cells[at] = digit
        assert all(sorted(cells[at] for at in line) == [1, 2, 3, 4, 5] for _, line in square.lines())


def test_sorting_is_checked_letter_by_letter() -> None:
    env = Sorting(letters=4)
    drawn = ("c", "a", "c", "b")
    assert env.solve(drawn) == "a b c c"
    assert [env.verify(drawn, said).detail for said in ("a b c c", "a c b c", "a b b c", "a b c")] == [
        "", "c stands before b", "b is there too often", "c is there too seldom",
    ]  # fmt: skip


def test_orders_are_right_exactly_where_no_constraint_is_broken() -> None:
    env = Ordering(letters=5, constraints=4)
    for seed in range(10):
        drawn = env.draw(rng(seed))
        keeps = [one for one in permutations(range(5)) if all(one.index(a) < one.index(b) for a, b in drawn.pairs)]
        said = {one: " ".join(ascii_lowercase[at] for at in one) for one in permutations(range(5))}
        assert [one for one in said if env.verify(drawn, said[one]).is_right] == keeps
        assert env.solve(drawn) == said[keeps[0]]


def test_what_is_said_of_a_wrong_order() -> None:
    env, drawn = Ordering(letters=3, constraints=2), Constraints(3, ((2, 0), (0, 1)))
    assert env.problem(drawn) == "c<a a<b"
    assert env.verify(drawn, "a c b").detail == "c stands after a"
    assert env.verify(drawn, "a a b").detail == "a is there 2 times"


def test_words_are_rewritten_by_the_first_rule_that_fits() -> None:
    system = System((("ab", "c"), ("ca", "bb")), "caba")
    assert [system.rewritten(steps) for steps in range(4)] == ["caba", "cca", "cbb", "cbb"]
    env = Rewriting(letters=4, steps=2)
    assert env.problem(system) == "a b > c ; c a > b b : c a b a"
    assert env.verify(system, "c b b").is_right
    assert env.verify(system, "c c a").detail == "letter 2 does not fit"
    assert env.verify(system, "c b").detail == "it is too short"
    assert env.verify(system, "c b b a").detail == "it is too long"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Arithmetic(operation="root"), "sum, product, expression"),  # type: ignore[arg-type]
        (lambda: Arithmetic(digits=0), "got 0 and 2"),
        (lambda: Chain(places=4, steps=4), "got 4 and 4"),
        (lambda: Colouring(nodes=6, edges=13), "1 to 12 for 6 nodes"),
        (lambda: Colouring(colours=5), "got 9 and 5"),
        (lambda: Equations(terms=5), "got 4, 4 and 5"),
        (lambda: LatinSquare(size=7), "got 7 and 8"),
        (lambda: Ordering(letters=3, constraints=4), "1 to 3 for 3 letters"),
        (lambda: Sorting(letters=1), "got 1 and 12"),
        (lambda: Rewriting(rules=10), "1 to 9"),
    ],
)
def test_sizes_out_of_range_are_refused(make: object, message: str) -> None:
    with pytest.raises(InvalidConfig, match=message):
        make()  # type: ignore[operator]
