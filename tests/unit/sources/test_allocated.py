"""The source of addresses: what it delivers, what it remembers, and when all are given."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from controlplane.base.clock import FakeClock
from controlplane.model.problem import Problem
from controlplane.sources.allocated import AllocatedAddresses
from controlplane.sources.change import Change

A, B = ("a.example.com", "default"), ("b.example.com", "default")


class Store:
    """Host -> address, as delivered."""

    def __init__(self) -> None:
        self.rows: dict[Any, Any] = {}
        self.batches: list[int] = []
        self.first: dict[Any, Any] | None = None

    async def apply(self, changes: Sequence[Change]) -> None:
        await asyncio.sleep(0)
        self.batches.append(len(changes))
        for change in changes:
            if change.raw is None:
                del self.rows[change.key]
            else:
                self.rows[change.key] = (change.raw["spec"]["host"], change.raw["spec"]["address"])

    def report(self, where: str, problems: Sequence[Problem]) -> None:
        raise AssertionError(where)

    def synced(self, source: str) -> None:
        assert source == "addresses"
        self.first = dict(self.rows)

    @property
    def given(self) -> dict[str, str]:
        return dict(self.rows.values())


async def play(file: Path | None, *wants: dict[Any, tuple[str, ...]]) -> Store:
    store = Store()
    source = AllocatedAddresses(file, clock=FakeClock(), ids=itertools.count())
    task = asyncio.create_task(source.run(store))
    await asyncio.sleep(0)
    for want in wants:
        source.want(want)
        await asyncio.wait_for(source.given(), 5)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return store


def test_each_gets_one_in_one_batch_and_gives_it_back() -> None:
    store = asyncio.run(play(None, {A: (), B: ()}, {B: ()}))
    assert store.batches == [2, 1]
    assert store.given.keys() == {"b.example.com"}


def test_what_was_given_is_there_again_before_anybody_asks(tmp_path: Path) -> None:
    file = tmp_path / "state" / "addresses.json"
    before = asyncio.run(play(file, {A: (), B: ()})).given
    listed = json.loads(file.read_text())
    listed[0][2] = "240.240.1.1"  # not what the hash says: the memory counts
    file.write_text(json.dumps(listed))
    after = asyncio.run(play(file, {A: (), B: ()}))
    assert after.first is not None and len(after.first) == 2
    assert after.given == {**before, "a.example.com": "240.240.1.1"}
    assert after.batches == [2]


def test_a_file_that_cannot_be_read_costs_nothing_but_the_memory(tmp_path: Path) -> None:
    for text in ("{", "5", "[[1]]", '[["a.example.com", "default", "10.0.0.1"]]'):
        file = tmp_path / "addresses.json"
        file.write_text(text)
        assert asyncio.run(play(file, {A: ()})).given.keys() == {"a.example.com"}
