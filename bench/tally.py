"""What the observer that the xDS server offers has seen of a push: when, how many, how large."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from controlplane.app.deferred import Deferred
from controlplane.xds.observer import Connection
from controlplane.xds.protocol import Push
from controlplane.xds.verdict import Verdict


class Tally:
    """What has happened since the last `reset`."""

    def __init__(self) -> None:
        self.sent: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()
        self.reset()

    def reset(self) -> None:
        self.sent.clear()
        self.bytes.clear()
        self.size = self.echoes = self.open = self.refused = 0
        self.planned = 0.0
        self.first_write = self.last_write = self.last_ack = self.touched = 0.0
        self.settled = self.committed = 0.0
        self.lags: list[float] = []
        self.pauses: list[float] = []
        self.serialised = 0


def instrumented(tally: Tally) -> type:
    """The application's observer, watched as things happen."""

    class Watched(Deferred):
        def committed(self, revision: int, batch: Any) -> None:
            tally.committed = time.monotonic()
            super().committed(revision, batch)

        def settled(self, outcome: Any) -> None:
            tally.settled = time.monotonic()
            super().settled(outcome)

        def planned(self, connection: Connection, push: Push, took: float, at: float) -> None:
            tally.sent[push.spec.short] += 1
            tally.bytes[push.spec.short] += push.size
            tally.size += push.size
            tally.echoes += push.plan.echoes
            tally.planned += took
            tally.open += 1
            super().planned(connection, push, took, at)

        def written(self, connection: Connection, push: Push, at: float) -> None:
            tally.last_write = at
            tally.first_write = tally.first_write or at
            super().written(connection, push, at)

        def acked(self, connection: Connection, verdict: Verdict, at: float) -> None:
            super().acked(connection, verdict, at)
            tally.open -= 1
            tally.last_ack = at

        def nacked(self, connection: Connection, verdict: Verdict, at: float) -> None:
            super().nacked(connection, verdict, at)
            tally.refused += 1
            tally.open -= 1

    return Watched
