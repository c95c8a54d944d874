"""What the push trace keeps: changes, the batches they were committed in, and the waves they made.

A batch is what one commit took in; a wave is what one settle gave out.  Usually they are one to one;
when settling is behind, several batches share a wave.  Everything about proxies is counted per wave.
All times are seconds of one monotonic clock.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import NamedTuple

NAMED = 20
"""How many proxies a trace lists by name; beyond that only their number is kept."""


class Seen(NamedTuple):
    """A change as the trace shows it.

    `at` is when its source saw it, `received` when the debouncer got it (None: not measured).
    """

    id: int
    kind: str
    namespace: str
    name: str
    origin: str
    at: float
    received: float | None = None


class Response(NamedTuple):
    """A planned response; `took` is the seconds the plan took, `at` when it was done."""

    type: str
    revision: int
    at: float
    bytes: int
    names: int
    echoes: int
    took: float = 0.0


@dataclass(slots=True)
class TypeTotals:
    """What one wave sent of one type, and when each stage was last left."""

    responses: int = 0
    bytes: int = 0
    names: int = 0
    echoes: int = 0
    plan: float | None = None
    write: float | None = None
    ack: float | None = None

    def add(self, response: Response) -> None:
        self.responses += 1
        self.bytes += response.bytes
        self.names += response.names
        self.echoes += response.echoes
        self.plan = response.at


@dataclass(slots=True, eq=False)
class Wave:
    """One settle as the proxies see it: who was woken, what was sent, when it was ACKed.

    `waiting` proxies are woken and neither done nor gone; `delays` holds seconds from settled to done;
    `held` counts the batches that still have a change in the ring.
    """

    revision: int
    settled: float
    held: int = 0
    types: dict[str, TypeTotals] = field(default_factory=dict)
    waiting: int = 0
    touched: int = 0
    untouched: int = 0
    acked: int = 0
    nacked: int = 0
    gone: int = 0
    nacked_by: list[str] = field(default_factory=list)
    delays: array[float] = field(default_factory=lambda: array("f"))

    def sent(self, response: Response) -> None:
        """A response that carries this wave was planned."""
        totals = self.types.get(response.type)
        if totals is None:
            totals = self.types[response.type] = TypeTotals()
        totals.add(response)

    def finish(self, proxy: str, at: float, *, failed: bool) -> None:
        """A proxy has answered everything that carried this wave."""
        self.waiting -= 1
        if not failed:
            self.acked += 1
            self.delays.append(at - self.settled)
            return
        self.nacked += 1
        if len(self.nacked_by) < NAMED:
            self.nacked_by.append(proxy)

    def release(self) -> bool:
        """One of its batches left the ring; True when it was the last.

        A stalled proxy may keep the wave itself alive, so what is big is dropped here.
        """
        self.held -= 1
        if self.held > 0:
            return False
        self.delays = array("f")
        return True


@dataclass(slots=True, eq=False)
class Batch:
    """Changes that were committed as one revision.

    `count` includes changes that were more than the ring keeps; `held` counts those still in it.
    """

    revision: int
    changes: tuple[Seen, ...]
    count: int
    opened: float
    committed: float
    held: int
    wave: Wave | None = None
