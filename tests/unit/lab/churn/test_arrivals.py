"""When changes happen."""

from __future__ import annotations

import statistics
from itertools import pairwise

import pytest

from controlplane.lab.churn.arrivals import ArrivalsError, Chance, every, parse, poisson, trace, until


def test_fixed_intervals_do_not_drift() -> None:
    times = until(1000.0, every(0.1), Chance(1, "t"))
    assert times == [round(0.1 * n, 6) for n in range(1, 10_000)]
    assert until(10.0, parse("every:4:1"), Chance(1, "t")) == [1.0, 5.0, 9.0]


def test_poisson_has_its_rate_and_no_memory() -> None:
    times = until(20_000.0, poisson(0.5), Chance(1, "t"))
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert statistics.mean(gaps) == pytest.approx(2.0, rel=0.05)
    # Of an exponential distribution the deviation is the mean.
    assert statistics.stdev(gaps) == pytest.approx(2.0, rel=0.05)
    assert times == sorted(times)
    assert times != until(20_000.0, poisson(0.5), Chance(2, "t"))


def test_a_trace_is_a_column_of_times(tmp_path) -> None:
    assert until(9.0, trace("0.5\n3\n1\n10\n"), Chance(1, "t")) == [0.5, 1.0, 3.0]
    file = tmp_path / "trace.csv"
    file.write_text("number,at\n1,0.25\n2,0.75\n")
    assert until(9.0, parse(f"trace:{file}"), Chance(1, "t")) == [0.25, 0.75]


def test_a_trace_that_is_not_there_is_named(tmp_path) -> None:
    with pytest.raises(ArrivalsError, match=r"cannot be read: .*nowhere\.csv"):
        parse(f"trace:{tmp_path}/nowhere.csv")


@pytest.mark.parametrize("text", ["a\nb\n", "1\n-2\n", "at\nnan\n"])
def test_a_bad_trace_is_refused(text: str) -> None:
    with pytest.raises(ArrivalsError, match="trace"):
        trace(text)


@pytest.mark.parametrize(
    "text", ["", "5", "every:", "every:x", "every:1:2:3", "poisson:1:2", "often:1", "every:0", "poisson:-1"]
)
def test_bad_arrivals_are_refused(text: str) -> None:
    with pytest.raises(ArrivalsError):
        parse(text)


def test_chance() -> None:
    chance = Chance(7, "t")
    assert {chance.number(3) for _ in range(100)} == {0, 1, 2}
    assert sorted(chance.some("abcd", 9)) == list("abcd")
    assert len(set(chance.some(range(100), 10))) == 10
    assert Chance(7, "t").number(10**6) != Chance(7, "u").number(10**6)
