"""Several observers in one place: who cares is told, in order, and who is alone is called directly."""

from __future__ import annotations

from typing import Any

from controlplane.app.watchers import FanOut, Watcher, together


class One(Watcher):
    def __init__(self, told: list[Any]) -> None:
        self.told = told

    def received(self, size: int) -> None:
        self.told.append(("one", size))

    def failed(self) -> None:
        self.told.append("one failed")


class Two(Watcher):
    def __init__(self, told: list[Any]) -> None:
        self.told = told

    def received(self, size: int) -> None:
        self.told.append(("two", size))

    def settled(self, outcome: Any) -> None:
        self.told.append(outcome)


def test_each_is_told_what_it_has_a_method_for() -> None:
    told: list[Any] = []
    both = together([One(told), Two(told)])
    both.received(7)
    both.failed()
    both.settled("settled")  # type: ignore[arg-type]
    both.expired(None, "cds")  # type: ignore[arg-type]
    assert told == [("one", 7), ("two", 7), "one failed", "settled"]


def test_who_is_alone_with_an_event_is_called_without_a_detour() -> None:
    one, two = One([]), Two([])
    both = FanOut([one, two])
    assert both.failed == one.failed
    assert both.settled == two.settled
    assert together([one]) is one


def test_every_event_of_an_observer_is_passed_on() -> None:
    events = {name for kind in Watcher.__mro__[:-1] for name in vars(kind) if not name.startswith("_")}
    assert events == vars(FanOut([One([]), Two([])])).keys()
    assert {"committed", "settled", "connected", "planned", "acked", "gone"} <= events
