"""The debouncer against the plainest statement of its rules, under any sequence of writes and pauses."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from controlplane.base.clock import FakeClock
from controlplane.graph import Table
from controlplane.model.keys import Key
from controlplane.store.debounce import Batch, Debouncer, Timing, Write

TABLE = Table("rows")


@dataclass
class Model:
    """The rules, one unit of time after the other."""

    after: int
    max: int
    takes: int
    now: int = 0
    committed: dict[str, int | None] = field(default_factory=dict)
    waiting: dict[str, int | None] = field(default_factory=dict)
    opened: int = 0
    last: int = 0
    busy_until: int = 0
    batches: list[tuple[int, dict[str, int | None]]] = field(default_factory=list)

    def write(self, rows: dict[str, int | None]) -> None:
        if not rows:
            return
        if not self.waiting:
            self.opened = self.now
        self.last = self.now
        self.waiting.update(rows)
        for name, value in rows.items():
            if value == self.committed.get(name):
                del self.waiting[name]

    def commit_if_due(self) -> None:
        due = min(self.last + self.after, self.opened + self.max)
        if self.waiting and self.now >= max(due, self.busy_until):
            self.batches.append((self.now, dict(self.waiting)))
            self.committed.update(self.waiting)
            self.waiting.clear()
            self.busy_until = self.now + self.takes

    def advance(self, units: int) -> None:
        for _ in range(units):
            self.now += 1
            self.commit_if_due()


class Debouncing(RuleBasedStateMachine):
    """The same steps for the real one and for the model."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = FakeClock(0)
        self.batches: list[Batch] = []
        self.current: dict[str, int | None] = {}

    @initialize(after=st.integers(1, 20), longest=st.integers(1, 60), takes=st.sampled_from([0, 1, 15, 50]))
    def begin(self, after: int, longest: int, takes: int) -> None:
        self.model = Model(after, longest, takes)

        async def commit(batch: Batch) -> None:
            self.batches.append(batch)
            await self.clock.sleep(takes)

        timing = Timing(after, longest)

        async def start() -> asyncio.Task[None]:
            self.debouncer = Debouncer(self.clock, commit, timing)
            return asyncio.create_task(self.debouncer.run())

        self.task = self.loop.run_until_complete(start())

    @rule(
        writes=st.lists(
            st.tuples(st.sampled_from("abc"), st.none() | st.integers(1, 2)), min_size=1, max_size=3
        )
    )
    def write(self, writes: list[tuple[str, int | None]]) -> None:
        found: dict[str, Write] = {}
        for name, value in writes:
            before = self.current.get(name)
            if value != before and name not in found:
                found[name] = Write(TABLE, Key("", name), value, before)
                self.current[name] = value
        self.model.write({name: write.value for name, write in found.items()})

        async def add() -> None:
            self.debouncer.add(list(found.values()))
            await asyncio.sleep(0)

        self.loop.run_until_complete(add())

    @rule(units=st.sampled_from([1, 2, 5, 10, 19, 40]))
    def wait(self, units: int) -> None:
        async def advance() -> None:
            await self.clock.advance(units)
            self.model.advance(units)

        self.loop.run_until_complete(advance())

    @rule()
    def rest(self) -> None:
        self.wait(200)
        assert not self.model.waiting
        committed: dict[str, Any] = {}
        for batch in self.batches:
            committed.update({key.name: value for _, key, value in batch.writes})
        mine = {name: value for name, value in committed.items() if value is not None}
        assert mine == {name: value for name, value in self.current.items() if value is not None}

    @invariant()
    def batches_are_the_same(self) -> None:
        mine = [(batch.closed, {key.name: value for _, key, value in batch.writes}) for batch in self.batches]
        assert mine == self.model.batches

    def teardown(self) -> None:
        if hasattr(self, "task"):
            self.task.cancel()
            self.loop.run_until_complete(asyncio.wait([self.task]))
        self.loop.close()


TestDebouncing = Debouncing.TestCase
TestDebouncing.settings = settings(max_examples=200, stateful_step_count=25, deadline=None)
