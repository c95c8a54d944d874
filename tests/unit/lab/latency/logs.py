"""Small logs, written by hand: one server, few proxies, times in round numbers."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from controlplane.lab.latency.dataset import Change, Receipt
from controlplane.lab.latency.join import Joined, join
from controlplane.lab.latency.pushlog import PushLog, parse

VS = ("VirtualService", "shop", "cart")
EP = ("EndpointSlice", "shop", "cart-a")


@dataclass
class Run:
    """What the three parties of a run wrote down."""

    changes: list[Change] = field(default_factory=list)
    receipts: list[Receipt] = field(default_factory=list)
    events: list[dict[str, Any]] = field(
        default_factory=lambda: [{"e": "start", "at": 0.0, "epoch": 5.0, "version": "1"}]
    )

    def change(self, number: int, at: float, of: tuple[str, str, str] = VS, action: str = "put") -> None:
        self.changes.append(Change(number, *of, action, at, at))

    def event(self, e: str, **fields: Any) -> None:
        self.events.append({"e": e, **fields})

    def connected(self, stream: str, at: float = 0.5) -> None:
        self.event("connected", proxy=stream, at=at)

    def batch(self, revision: int, at: float, *seen: tuple[tuple[str, str, str], float]) -> None:
        """Changes with their source events; in, committed and settled 0.1, 0.2 and 0.3 s after `at`."""
        changes = [
            {"id": 1, "kind": k, "namespace": s, "name": n, "at": when, "in": at + 0.1, "file": None}
            for (k, s, n), when in seen
        ]
        self.event("batch", revision=revision, opened=at + 0.1, committed=at + 0.2, changes=changes)
        self.event("settled", revision=revision, at=at + 0.3)

    def woken(self, stream: str, revision: int, at: float) -> None:
        self.event("woken", proxy=stream, revision=revision, at=at)

    def response(
        self,
        stream: str,
        revision: int,
        planned: float,
        kind: str = "rds",
        answered: float | None = -1.0,
        ok: bool = True,
    ) -> None:
        """Written 0.1 s after its plan, and answered 0.4 s after it unless said otherwise."""
        answered = planned + 0.4 if answered == -1.0 else answered
        self.event(
            "response",
            proxy=stream,
            type=kind,
            revision=revision,
            planned=planned,
            took=0.0,
            written=planned + 0.1,
            answered=answered,
            ok=ok,
            bytes=10,
            names=1,
            echoes=0,
        )

    def receipt(self, proxy: str, at: float, *markers: int, kind: str = "rds") -> None:
        self.receipts.append(Receipt(proxy, kind, at, 10, 1, 0, markers, at + 0.1))

    def log(self) -> PushLog:
        return parse(json.dumps(event) for event in self.events)

    def joined(self) -> Joined:
        return join(self.changes, self.receipts, self.log())
