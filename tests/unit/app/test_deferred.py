"""What the push path puts off is told in order, with its own times, and before anybody reads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from types import SimpleNamespace
from typing import Any

import pytest

from controlplane.app import deferred
from controlplane.app.deferred import Deferred
from controlplane.app.watchers import Watcher
from controlplane.xds.observer import PushObserver


class Told(Watcher):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []

    def woken(self, connection: Any, revision: int, at: float) -> None:
        self.events.append(("woken", connection, revision, at))

    def planned(self, connection: Any, push: Any, took: float, at: float) -> None:
        self.events.append(("planned", connection, push, took, at))

    def written(self, connection: Any, push: Any, at: float) -> None:
        self.events.append(("written", connection, push, at))

    def untouched(self, connection: Any, revision: int, at: float) -> None:
        self.events.append(("untouched", connection, revision, at))

    def acked(self, connection: Any, verdict: Any, at: float) -> None:
        self.events.append(("acked", connection, verdict, at))

    def nacked(self, connection: Any, verdict: Any, at: float) -> None:
        self.events.append(("nacked", connection, verdict, at))

    def gone(self, connection: Any, at: float) -> None:
        self.events.append(("gone", connection, at))


A: Any = SimpleNamespace(id="a-1")
PUSH: Any = SimpleNamespace(size=500)
VERDICT: Any = SimpleNamespace(push=PUSH)
WAVE: list[tuple[Any, ...]] = [
    ("woken", A, 7, 1.0),
    ("planned", A, PUSH, 0.5, 2.0),
    ("written", A, PUSH, 3.0),
    ("acked", A, VERDICT, 4.0),
    ("untouched", A, 7, 5.0),
]


def push(observer: Watcher) -> None:
    for event, *values in WAVE:
        getattr(observer, event)(*values)


def inside(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """A test that needs a running loop."""

    @wraps(test)
    def run() -> None:
        asyncio.run(test())

    return run


@inside
async def test_frequent_events_wait_and_keep_order_and_times() -> None:
    told = Told()
    observer = Deferred(told)
    push(observer)
    assert told.events == []
    observer.catch_up()
    assert told.events == WAVE
    observer.catch_up()
    assert told.events == WAVE


@pytest.mark.parametrize("last", [("nacked", A, VERDICT, 6.0), ("gone", A, 6.0)])
def test_what_matters_at_once_is_told_after_what_came_before(last: tuple[Any, ...]) -> None:
    told = Told()

    async def test() -> None:
        observer = Deferred(told)
        push(observer)
        getattr(observer, last[0])(*last[1:])

    asyncio.run(test())
    assert told.events == [*WAVE, last]


@inside
async def test_when_it_is_quiet_everything_is_told() -> None:
    told = Told()
    observer = Deferred(told)
    for _ in range(300):
        push(observer)
    async with asyncio.timeout(5):
        while len(told.events) < 300 * len(WAVE):
            await asyncio.sleep(0.001)
    assert told.events == WAVE * 300
    push(observer)
    async with asyncio.timeout(5):
        while len(told.events) < 301 * len(WAVE):
            await asyncio.sleep(0.001)


def test_no_more_is_put_off_than_can_be_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deferred, "_MANY", 100)
    told = Told()

    async def test() -> None:
        observer = Deferred(told)
        for _ in range(1000):
            push(observer)

    asyncio.run(test())
    assert 1000 * len(WAVE) - len(told.events) <= 100
    assert told.events[: len(WAVE)] == WAVE


def test_large_responses_are_not_kept() -> None:
    told = Told()
    large: Any = SimpleNamespace(push=SimpleNamespace(size=1_500_000))

    async def test() -> None:
        observer = Deferred(told)
        for _ in range(30):
            observer.acked(A, large, 1.0)

    asyncio.run(test())
    assert len(told.events) >= 28


def test_every_event_gets_through() -> None:
    """An event that is added to observers and forgotten here would be lost for traces and metrics."""
    events = {name for kind in (PushObserver, Watcher) for name in vars(kind) if not name.startswith("_")}
    assert events - vars(Deferred).keys() == set()
