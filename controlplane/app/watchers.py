"""Who else watches the xDS server: the push log and the recording, and how several share one place.

A watcher that is not asked for is not made, and one that does not care for an event is not called: with
everything off, what is told of a push is `app.deferred.Deferred` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from controlplane.base.clock import Clock
from controlplane.sources.recording import Recorder
from controlplane.store.debounce import Batch
from controlplane.telemetry.push_log import PushLog
from controlplane.telemetry.wave import Response
from controlplane.xds.observer import Connection, PushObserver
from controlplane.xds.protocol import Push
from controlplane.xds.settle import Settled
from controlplane.xds.verdict import Verdict


class Watcher(PushObserver):
    """Watches the graph as well as the streams.  Override what you need."""

    def committed(self, revision: int, batch: Batch) -> None:
        """A batch was committed just now."""

    def settled(self, outcome: Settled) -> None:
        """The graph is up to date; no stream knows yet."""


_EVENTS = tuple(name for kind in (PushObserver, Watcher) for name in vars(kind) if not name.startswith("_"))


class FanOut(Watcher):
    """Tells every event to those of the observers that have a method for it, in their order."""

    def __init__(self, observers: Sequence[Watcher]) -> None:
        for event in _EVENTS:
            told = [getattr(one, event) for one in observers if _listens(one, event)]
            setattr(self, event, told[0] if len(told) == 1 else _each(told))


def together(observers: Sequence[Watcher]) -> Watcher:
    """One observer that stands for all; the only one itself."""
    return observers[0] if len(observers) == 1 else FanOut(observers)


def _listens(observer: Watcher, event: str) -> bool:
    return getattr(type(observer), event) is not getattr(Watcher, event)


def _each(told: Sequence[Callable[..., None]]) -> Callable[..., None]:
    def tell(*values: Any) -> None:
        for one in told:
            one(*values)

    return tell


class RecordedProxies(Watcher):
    """Notes in the recording who comes, asks for what is not given unasked, and goes."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def connected(self, connection: Connection) -> None:
        self._recorder.connected(connection.id, connection.variant.value, connection.proxy)

    def planned(self, connection: Connection, push: Push, took: float, at: float) -> None:
        if push.spec.on_demand:
            names = tuple(one.name for one in push.plan.upserts)
            self._recorder.asked(connection.id, push.spec.short, names)

    def nacked(self, connection: Connection, verdict: Verdict, at: float) -> None:
        short, error = verdict.push.spec.short, verdict.error or ""
        self._recorder.rejected(connection.id, short, verdict.blamed, error)

    def gone(self, connection: Connection, at: float) -> None:
        self._recorder.gone(connection.id)


class LoggedPushes(Watcher):
    """Notes in the push log what the push trace is told."""

    def __init__(self, log: PushLog, clock: Clock) -> None:
        self._log = log
        self._clock = clock

    def committed(self, revision: int, batch: Batch) -> None:
        self._log.batch(revision, batch.changes, batch.opened, self._clock.monotonic())

    def settled(self, outcome: Settled) -> None:
        if outcome.committed:
            self._log.settled(outcome.revision, self._clock.monotonic())

    def connected(self, connection: Connection) -> None:
        self._log.connected(connection.id, connection.connected_at)

    def woken(self, connection: Connection, revision: int, at: float) -> None:
        self._log.woken(connection.id, revision, at)

    def planned(self, connection: Connection, push: Push, took: float, at: float) -> None:
        plan = push.plan
        names = len(plan.upserts) + len(plan.removed)
        response = Response(push.spec.short, push.revision, at, push.size, names, plan.echoes, took)
        self._log.planned(connection.id, push.nonce, response)

    def written(self, connection: Connection, push: Push, at: float) -> None:
        self._log.written(connection.id, (push.spec.short, push.nonce), at)

    def untouched(self, connection: Connection, revision: int, at: float) -> None:
        self._log.untouched(connection.id, revision, at)

    def acked(self, connection: Connection, verdict: Verdict, at: float) -> None:
        self._answered(connection, verdict.push, at, ok=True)

    def nacked(self, connection: Connection, verdict: Verdict, at: float) -> None:
        self._answered(connection, verdict.push, at, ok=False)

    def gone(self, connection: Connection, at: float) -> None:
        self._log.gone(connection.id, at)

    def _answered(self, connection: Connection, push: Push, at: float, *, ok: bool) -> None:
        self._log.answered(connection.id, (push.spec.short, push.nonce), at, ok)
