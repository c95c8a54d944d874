"""Sorted keys of a collection that changes by few."""

from __future__ import annotations

import random

import pytest

from controlplane.graph.ordered import Ordered


@pytest.mark.parametrize("moves", [1, 2, 5, 40])
def test_the_keys_are_sorted_whatever_moves(moves: int) -> None:
    rng = random.Random(moves)
    present = set(range(0, 100, 2))
    ordered = Ordered()
    for _ in range(50):
        assert ordered.keys(present) == tuple(sorted(present))
        for _ in range(moves):
            key = rng.randrange(-5, 105)
            present ^= {key}
            ordered.move(key)
    assert ordered.keys(present) == tuple(sorted(present))


def test_unchanged_keys_are_the_same_object() -> None:
    ordered = Ordered()
    present = {3, 1, 2}
    before = ordered.keys(present)
    assert ordered.keys(present) is before
    ordered.move(2)  # away and back
    assert ordered.keys(present) == before


def test_moves_before_the_first_question_cost_nothing() -> None:
    ordered = Ordered()
    for key in range(1000):
        ordered.move(key)
    assert ordered.keys({2, 1}) == (1, 2)


class Counted(int):
    """An integer that counts how often it is compared."""

    compared = 0

    def __lt__(self, other: int) -> bool:
        Counted.compared += 1
        return int(self) < int(other)


def test_a_single_move_does_not_compare_everything() -> None:
    present = {Counted(n) for n in range(0, 2000, 2)}
    ordered = Ordered()
    ordered.keys(present)
    Counted.compared = 0
    new = Counted(777)
    present.add(new)
    ordered.move(new)
    assert len(ordered.keys(present)) == 1001
    assert Counted.compared < 30
