"""Distributions, intervals and ratios."""

import pytest

from controlplane.lab.latency import statistics


def test_a_distribution_of_known_values() -> None:
    found = statistics.distribution((n / 1000 for n in range(1, 101)), 1000)
    assert (found["n"], found["p50"], found["p90"], found["p99"], found["max"]) == (100, 51, 91, 100, 100)
    assert found["mean"] == pytest.approx(50.5)
    assert statistics.distribution([]) == {"n": 0}


def test_an_interval_needs_two_repeats_and_is_the_same_every_time() -> None:
    assert statistics.interval([1.0]) is None
    repeats = [10.0, 11.0, 9.5, 10.5, 10.2]
    first, again = statistics.interval(repeats, seed=7), statistics.interval(repeats, seed=7)
    assert first == again
    assert first is not None and min(repeats) <= first[0] < 10.24 < first[1] <= max(repeats)
    many = statistics.interval([float(n) for n in range(100)])
    # The mean's standard error is 2.9.
    assert many == pytest.approx((49.5 - 5.7, 49.5 + 5.7), abs=0.6)
    wide = statistics.interval([5.0, 15.0, 2.0, 20.0, 10.2], seed=7)
    assert wide is not None and wide[1] - wide[0] > first[1] - first[0]


def test_a_ratio_is_taken_pair_by_pair() -> None:
    # Both became slower from repeat to repeat; the ratio did not change.
    found = statistics.ratio([1.0, 2.0, 4.0], [10.0, 20.0, 40.0])
    assert found["ratio"] == pytest.approx(0.1)
    assert found["ci95"] == pytest.approx([0.1, 0.1])
    assert statistics.ratio([3.0], [1.5])["ci95"] is None
    with pytest.raises(ValueError, match="paired"):
        statistics.ratio([1.0], [])
    with pytest.raises(ValueError, match="positive"):
        statistics.ratio([1.0], [0.0])
