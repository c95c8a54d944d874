"""Several observers in one place: who cares is told, in order, and who is alone is called directly."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from controlplane.app.watchers import FanOut, RecordedProxies, Watcher, together
from controlplane.base.clock import FakeClock
from controlplane.envoy.types import BY_SHORT
from controlplane.sources.recorded import Asked, Ended, Gone, Recording, Rejected
from controlplane.sources.recording import Header, Recorder


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


def test_a_recording_hears_of_asking_and_refusing(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "r", Header("0", 0.0, (), {}), FakeClock())
    watcher: Any = RecordedProxies(recorder)
    recorder.journal.open()
    one = SimpleNamespace(id="web-1")
    for short in ("vhds", "rds"):
        push = SimpleNamespace(
            spec=BY_SHORT[short], plan=SimpleNamespace(upserts=[SimpleNamespace(name="80/a")])
        )
        watcher.planned(one, push, 0.0, 0.0)
        watcher.acked(one, SimpleNamespace(push=push), 0.0)
    watcher.nacked(one, SimpleNamespace(push=push, blamed=("80/a",), error="no"), 0.0)
    watcher.gone(one, 0.0)
    recorder.journal.close()
    with Recording(tmp_path / "r") as found:
        assert list(found.events()) == [
            Asked(0.0, "web-1", "vhds", ("80/a",)),
            Rejected(0.0, "web-1", "rds", ("80/a",), "no"),
            Gone(0.0, "web-1"),
            Ended(0.0, ""),
        ]
