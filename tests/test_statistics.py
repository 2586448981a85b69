"""Intervals against closed forms, exact invariances, and coverage by simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparring.errors import InvalidData
from sparring.statistics import (
    Interval,
    effective_clusters,
    mean_interval,
    paired_difference,
    rate_interval,
    sign_test,
    spread,
    wilson,
)

Z = 1.959963984540054  # the 97.5 % point of the normal distribution


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def names(count: int) -> list[str]:
    return [f"task-{number:03d}" for number in range(count)]


def test_wilson_for_8_of_10() -> None:
    # centre = (0.8 + z²/20) / (1 + z²/10) = 0.992073 / 1.384146 = 0.716740
    # half = 1.959964 / 1.384146 · sqrt(0.016 + z²/400) = 1.416009 · sqrt(0.0256036) = 0.226577
    found = wilson(0.8, 10)
    assert found.low == pytest.approx(0.490163, abs=1e-5)
    assert found.high == pytest.approx(0.943317, abs=1e-5)


@given(st.integers(0, 60), st.integers(1, 60))
def test_wilson_bounds_solve_its_equation(successes: int, trials: int) -> None:
    # The interval holds the rates p that a score test does not reject, so at a bound |rate - p| = z·sqrt(p(1-p)/n).
    successes = min(successes, trials)
    rate = successes / trials
    found = wilson(rate, trials)
    assert 0 <= found.low <= rate <= found.high <= 1
    for bound in (found.low, found.high):
        assert abs(rate - bound) == pytest.approx(Z * math.sqrt(bound * (1 - bound) / trials), abs=1e-9)


def test_wilson_of_nothing_seen_is_the_rule_of_z_squared() -> None:
    # With no success the upper bound solves p = z·sqrt(p(1-p)/n), so p = z² / (n + z²).
    assert wilson(0.0, 50) == Interval(0.0, 0.0, pytest.approx(Z**2 / (50 + Z**2)))


def test_rate_with_one_episode_a_task_is_plain_wilson() -> None:
    assert rate_interval([1, 0, 1, 1], names(4)) == wilson(0.75, 4)


def test_rate_counts_identical_episodes_of_a_task_once() -> None:
    # Each of K tasks played m times with equal outcomes: residual sums are m·(x-p), so the clustered variance is
    # p(1-p)/K · K/(K-1), the independent one p(1-p)/(mK), and trials / (their ratio) = K - 1.
    outcomes = [1, 0, 1, 1, 0, 0, 1, 0, 1, 1]
    found = rate_interval(outcomes * 4, names(10) * 4)
    expected = wilson(0.6, 9)
    assert (found.low, found.high) == (pytest.approx(expected.low), pytest.approx(expected.high))


def test_rate_of_only_successes_counts_tasks() -> None:
    assert rate_interval([1] * 40, names(10) * 4) == wilson(1.0, 10)


def test_a_first_success_narrows_no_interval() -> None:
    # 10 tasks of 4 episodes: none succeeds, or one episode does. With one success the design effect is
    # (0.9² + 9·0.1²) · 10/9 / 40² over (1/40 · 39/40) / 40 = 1.03, which would make 39 trials of what were 10 before.
    # Fewer than five tasks saw a success, so 10 stay.
    tasks = names(10) * 4
    assert rate_interval([0] * 40, tasks) == wilson(0.0, 10)
    assert rate_interval([1] + [0] * 39, tasks) == wilson(1 / 40, 10)
    assert rate_interval([0] + [1] * 39, tasks) == wilson(39 / 40, 10)


def test_mean_interval_is_near_the_normal_one_for_many_tasks() -> None:
    values = generator(1).normal(0.5, 0.2, size=2_000)
    found = mean_interval(values, names(2_000), rng=generator())
    half = Z * values.std(ddof=1) / math.sqrt(2_000)
    assert found.estimate == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - half, abs=half / 8)
    assert found.high == pytest.approx(values.mean() + half, abs=half / 8)


def test_repeating_every_episode_narrows_nothing() -> None:
    # Sums and counts of each task are multiplied alike, so every resampled mean is the same one.
    values = generator(2).random(30)
    once = mean_interval(values, names(30), rng=generator())
    thrice = mean_interval(np.tile(values, 3), names(30) * 3, rng=generator())
    assert (thrice.low, thrice.high) == (pytest.approx(once.low), pytest.approx(once.high))


@given(st.floats(0.1, 10), st.floats(-5, 5))
def test_mean_interval_follows_scale_and_shift(scale: float, shift: float) -> None:
    values = generator(3).random(20)
    base = mean_interval(values, names(20), rng=generator(), resamples=200)
    moved = mean_interval(values * scale + shift, names(20), rng=generator(), resamples=200)
    assert moved.low == pytest.approx(base.low * scale + shift, abs=1e-6)
    assert moved.high == pytest.approx(base.high * scale + shift, abs=1e-6)


def test_same_generator_same_interval_and_order_of_episodes_is_nothing() -> None:
    values, tasks = generator(4).random(25), names(25)
    order = generator(5).permutation(25)
    first = mean_interval(values, tasks, rng=generator(7))
    assert mean_interval(values, tasks, rng=generator(7)) == first
    shuffled = mean_interval(values[order], [tasks[i] for i in order], rng=generator(7))
    assert shuffled.low == pytest.approx(first.low)


def test_many_tasks_are_resampled_in_pieces_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    values = generator(6).random(50)
    whole = mean_interval(values, names(50), rng=generator(), resamples=300)
    monkeypatch.setattr("sparring.statistics._CELLS_AT_ONCE", 50 * 7)
    assert mean_interval(values, names(50), rng=generator(), resamples=300) == whole


def test_agreeing_tasks_give_a_point() -> None:
    assert mean_interval([0.5] * 9, names(3) * 3, rng=generator()) == Interval(0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("wins", "losses", "expected"),
    [
        (5, 0, 2 / 32),  # only the one sequence of five wins, and its mirror
        (8, 1, 2 * (1 + 9) / 512),  # no loss: 1 way; one loss: 9 ways
        (3, 3, 1.0),
        (0, 0, 1.0),
    ],
)
def test_sign_test_counts_sequences(wins: int, losses: int, expected: float) -> None:
    assert sign_test(wins, losses) == pytest.approx(expected)
    assert sign_test(losses, wins) == sign_test(wins, losses)


def test_paired_difference_sees_what_two_intervals_hide() -> None:
    # Tasks differ widely (0 … 0.9) and the first agent is better by a tenth on each: the two means' intervals
    # overlap, the paired difference is exactly 0.1 on every task.
    base = {name: [0.09 * number] for number, name in enumerate(names(11))}
    better = {name: [values[0] + 0.1] for name, values in base.items()}
    means = [mean_interval([x[0] for x in scores.values()], list(scores), rng=generator()) for scores in (base, better)]
    assert means[1].low < means[0].high
    found = paired_difference(better, base, rng=generator())
    assert found.difference.estimate == pytest.approx(0.1)
    assert found.difference.excludes(0.0)
    assert (found.wins, found.losses, found.ties, found.tasks) == (11, 0, 0, 11)
    assert found.p_value == pytest.approx(2 / 2**11)


def test_paired_difference_uses_common_tasks_only() -> None:
    found = paired_difference({"a": [1, 0], "b": [1], "c": []}, {"a": [0.5], "c": [1], "d": [1]}, rng=generator())
    assert (found.wins, found.losses, found.ties) == (0, 0, 1)
    assert found.difference == Interval(0.0, 0.0, 0.0)


def test_swapping_the_agents_mirrors_the_difference() -> None:
    scores = generator(8).random((2, 40))
    first, second = ({name: [x] for name, x in zip(names(40), row, strict=True)} for row in scores)
    one = paired_difference(first, second, rng=generator()).difference
    other = paired_difference(second, first, rng=generator()).difference
    assert other.estimate == pytest.approx(-one.estimate)
    assert (other.low, other.high) == (pytest.approx(-one.high), pytest.approx(-one.low))


def test_coverage_of_the_clustered_mean() -> None:
    # 60 tasks of 3 episodes whose scores share a skewed task effect (mean 1/3 of a Beta(1, 2)) plus noise of mean 0.
    rng = generator(9)
    hits = 0
    for _ in range(300):
        effect = np.repeat(rng.beta(1, 2, size=60), 3)
        values = effect + rng.normal(0, 0.1, size=180)
        found = mean_interval(values, np.repeat(names(60), 3).tolist(), rng=rng, resamples=400)
        hits += not found.excludes(1 / 3)
    # Binomial(300, 0.95) lies within 271 and 297 but for about 1 in 1,000 at either side.
    assert 271 <= hits <= 297


def test_coverage_of_the_clustered_rate() -> None:
    # Each of 50 tasks has its own success probability (Beta(2, 2), mean 1/2) and is played 4 times.
    rng = generator(10)
    hits = 0
    for _ in range(400):
        chances = np.repeat(rng.beta(2, 2, size=50), 4)
        outcomes = (rng.random(200) < chances).astype(float)
        hits += not rate_interval(outcomes, np.repeat(names(50), 4).tolist()).excludes(0.5)
    # Binomial(400, 0.95): mean 380, deviation 4.4.
    assert 366 <= hits <= 394


@pytest.mark.parametrize("chance", [0.02, 0.05, 0.95])
def test_coverage_of_the_clustered_rate_near_its_ends(chance: float) -> None:
    # 40 tasks of 8 episodes; a task's own probability is Beta(0.43·p, 0.43·(1-p)), so that two episodes of it
    # correlate by 1 / (1 + 0.43) = 0.7.
    rng = generator(11)
    hits = 0
    for _ in range(400):
        chances = np.repeat(rng.beta(0.43 * chance, 0.43 * (1 - chance), size=40), 8)
        outcomes = (rng.random(320) < chances).astype(float)
        hits += not rate_interval(outcomes, np.repeat(names(40), 8).tolist()).excludes(chance)
    # Binomial(400, 0.95): mean 380, deviation 4.4. More is no fault: the interval is wide here by design.
    assert hits >= 366


@pytest.mark.parametrize(("wins", "losses"), [(0.3, 0.1), (0.1, 0.1)])
def test_coverage_of_the_paired_difference(wins: float, losses: float) -> None:
    # 40 tasks, one episode each, outcomes 0 and 1: a difference is 1, -1 or 0, so its mean is wins - losses.
    rng = generator(12)
    hits = 0
    for _ in range(300):
        differences = rng.choice([1.0, -1.0, 0.0], p=[wins, losses, 1 - wins - losses], size=40)
        first = {name: [float(value > 0)] for name, value in zip(names(40), differences, strict=True)}
        second = {name: [float(value < 0)] for name, value in zip(names(40), differences, strict=True)}
        found = paired_difference(first, second, rng=rng, resamples=400).difference
        hits += not found.excludes(wins - losses)
    # Binomial(300, 0.95) lies below 271 once in 1,000; the bootstrap of 40 tasks truly covers about 0.92 to 0.93.
    assert hits >= 264


def test_effective_clusters_of_equal_and_unequal_sizes() -> None:
    # (5 + 5)² / (25 + 25) = 2; (9 + 1)² / (81 + 1) = 1.2195.
    assert effective_clusters(["a"] * 5 + ["b"] * 5) == pytest.approx(2.0)
    assert effective_clusters(["a"] * 9 + ["b"]) == pytest.approx(100 / 82)


def test_a_pair_over_clusters_counts_clusters() -> None:
    # Cluster x: tasks a, b, c with differences 1, 1, -1, in sum 1. Cluster y: d with -1. Task e is its own: 0.
    first = {"a": [1.0], "b": [1.0], "c": [0.0], "d": [0.0], "e": [1.0]}
    second = {"a": [0.0], "b": [0.0], "c": [1.0], "d": [1.0], "e": [1.0]}
    clusters = {"a": "x", "b": "x", "c": "x", "d": "y"}
    found = paired_difference(first, second, clusters=clusters, rng=generator())
    assert found.difference.estimate == pytest.approx(0.0)
    assert (found.wins, found.losses, found.ties, found.tasks, found.clusters) == (1, 1, 1, 5, 3)
    assert found.p_value == 1.0


def test_a_pair_over_clusters_is_the_clustered_mean_of_its_differences() -> None:
    values, sizes = generator(14).normal(0.1, 1.0, size=60), [1, 2, 3, 4, 5, 5, 10, 30]
    clusters = dict(zip(names(60), np.repeat(names(8), sizes).tolist(), strict=True))
    first = {name: [value] for name, value in zip(names(60), values, strict=True)}
    second = {name: [0.0] for name in names(60)}
    found = paired_difference(first, second, clusters=clusters, rng=generator()).difference
    assert found == mean_interval(values, list(clusters.values()), rng=generator())


def test_tasks_that_repeat_each_other_in_a_cluster_narrow_nothing() -> None:
    # Three copies of every task are one draw a cluster: the interval is that of the tasks played once.
    values = generator(15).normal(size=25)
    once = paired_difference(
        {name: [value] for name, value in zip(names(25), values, strict=True)},
        {name: [0.0] for name in names(25)},
        rng=generator(),
    )
    copies = [(f"{name}/{copy}", value) for name, value in zip(names(25), values, strict=True) for copy in range(3)]
    thrice = paired_difference(
        {name: [value] for name, value in copies},
        {name: [0.0] for name, _ in copies},
        clusters={name: name.partition("/")[0] for name, _ in copies},
        rng=generator(),
    )
    assert thrice.difference.low == pytest.approx(once.difference.low)
    assert thrice.difference.high == pytest.approx(once.difference.high)
    assert (thrice.wins, thrice.losses, thrice.p_value) == (once.wins, once.losses, once.p_value)


def test_coverage_over_clusters_of_unequal_sizes() -> None:
    # 50 clusters of 1 to 15 tasks (they weigh like 35). A cluster has a chance of success of its own, Beta(1, 1), so
    # that two outcomes in it correlate by 1/3; another agent meets the same chances. Taken over tasks, the interval
    # of the rate covers too seldom, which is what clusters are for.
    rng = generator(16)
    hits = {"rate": 0, "rate over tasks": 0, "difference": 0}
    for _ in range(200):
        sizes = rng.integers(1, 16, size=50)
        clusters = np.repeat(names(50), sizes).tolist()
        tasks = names(len(clusters))
        chances = np.repeat(rng.random(50), sizes)
        ours, theirs = (rng.random((2, len(tasks))) < chances).astype(float)
        difference = paired_difference(
            {task: [x] for task, x in zip(tasks, ours, strict=True)},
            {task: [x] for task, x in zip(tasks, theirs, strict=True)},
            clusters=dict(zip(tasks, clusters, strict=True)),
            rng=rng,
            resamples=400,
        ).difference
        hits["rate"] += not rate_interval(ours, clusters).excludes(0.5)
        hits["rate over tasks"] += not rate_interval(ours, tasks).excludes(0.5)
        hits["difference"] += not difference.excludes(0.0)
    # Binomial(200, 0.95): mean 190, deviation 3.1.
    assert hits["rate"] >= 180 and hits["difference"] >= 180
    assert hits["rate over tasks"] < 160


def test_spread_over_seeds() -> None:
    # mean 2; squared deviations 1 + 0 + 1 over n - 1 = 2 give variance 1.
    found = spread([1.0, 2.0, 3.0])
    assert (found.mean, found.deviation, found.low, found.high, found.seeds) == (2, 1, 1, 3, 3)
    assert math.isnan(spread([1.0]).deviation)


@pytest.mark.parametrize(
    "call",
    [
        lambda: wilson(0.5, 0),
        lambda: wilson(1.2, 10),
        lambda: wilson(0.5, 10, level=1.0),
        lambda: rate_interval([0.5], ["a"]),
        lambda: mean_interval([], [], rng=generator()),
        lambda: mean_interval([1.0], ["a", "b"], rng=generator()),
        lambda: mean_interval([math.nan], ["a"], rng=generator()),
        lambda: paired_difference({"a": [1]}, {"b": [1]}, rng=generator()),
        lambda: sign_test(-1, 0),
        lambda: spread([]),
        lambda: effective_clusters([]),
    ],
)
def test_nonsense_is_refused(call: object) -> None:
    with pytest.raises(InvalidData):
        call()  # type: ignore[operator]
