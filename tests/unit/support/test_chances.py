"""A bound that is too wide finds nothing; one that is too narrow cries wolf."""

from __future__ import annotations

import random

import pytest

from tests.support.chances import likely


@pytest.mark.parametrize(
    ("count", "draws", "share"), [(500, 1000, 0.5), (90, 1000, 0.1), (10, 10, 0.5), (0, 50, 0.3)]
)
def test_what_may_be(count: int, draws: int, share: float) -> None:
    assert likely(count, draws, share)


@pytest.mark.parametrize(
    ("count", "draws", "share"),
    [(600, 1000, 0.5), (200, 1000, 0.1), (100, 100, 0.5), (0, 100, 0.3), (0, 600, 0.1)],
)
def test_what_is_no_chance(count: int, draws: int, share: float) -> None:
    assert not likely(count, draws, share)


def test_of_fair_draws_none_is_unlikely() -> None:
    rng = random.Random(1)
    counts = [sum(rng.random() < 0.3 for _ in range(500)) for _ in range(200)]
    assert all(likely(count, 500, 0.3) for count in counts)
    # Another share would be found nine times out of ten.
    assert sum(likely(count, 500, 0.5) for count in counts) < 20


def test_all_or_nothing() -> None:
    assert likely(20, 20, 1) and likely(0, 20, 0)
    assert not likely(19, 20, 1) and not likely(1, 20, 0)
