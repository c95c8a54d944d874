"""The observer: what sources, graph and xDS server do becomes traces, metrics and log lines."""

from __future__ import annotations

import logging
import random

from controlplane.app.watchers import Watcher
from controlplane.base.clock import Clock
from controlplane.graph.verify import compare_with_fresh
from controlplane.model.kinds import services, virtual_services
from controlplane.store.debounce import ENDPOINT_TABLES, Batch
from controlplane.telemetry.metrics import Metrics
from controlplane.telemetry.trace import Trace
from controlplane.telemetry.wave import Response
from controlplane.xds.caller import Denial
from controlplane.xds.observer import Connection
from controlplane.xds.protocol import Push
from controlplane.xds.settle import Settled, Settler
from controlplane.xds.verdict import Verdict
from controlplane.xds.view import GraphViews

_log = logging.getLogger(__name__)

_SAMPLED = 3
"""Leases that a paranoid control plane compares with a fresh graph after every commit."""


class Observer(Watcher):
    """One for the whole process.  What happens to streams it may learn late: see `deferred`."""

    def __init__(
        self, clock: Clock, metrics: Metrics, trace: Trace, settler: Settler, views: GraphViews
    ) -> None:
        self._clock = clock
        self._metrics = metrics
        self._trace = trace
        self._settler = settler
        self._views = views
        self._failed = 0
        self._runs = 0

    # -- the graph ------------------------------------------------------------------------------

    def committed(self, revision: int, batch: Batch) -> None:
        """A batch was committed."""
        self._trace.batch(revision, batch.changes, batch.opened, self._clock.monotonic())
        metrics = self._metrics
        tables = {table for table, _, _ in batch.writes}
        for table, _, value in batch.writes:
            if table is services:
                metrics.inbound_updates.inc("svcdelete" if value is None else "svc")
            else:
                metrics.inbound_updates.inc("eds" if table in ENDPOINT_TABLES else "config")
        if services in tables:
            metrics.trigger("service")
        if tables <= ENDPOINT_TABLES:
            metrics.trigger("endpoint")
        elif tables - {services}:
            metrics.trigger("config")
        graph = self._settler.graph
        metrics.services.set(len(graph.rows(services).values))
        metrics.virt_services.set(len(graph.rows(virtual_services).values))

    def settled(self, outcome: Settled) -> None:
        """The graph is up to date: the trace knows it before any stream does, then they are told."""
        if outcome.sliced:
            # While it took several turns, streams may have asked and been put off.
            self._views.stir_all()
        if outcome.committed:
            self._trace.settled(outcome.revision, self._clock.monotonic())
            self._count()
        self._views.tell()

    def _count(self) -> None:
        graph = self._settler.graph
        counters = graph.counters
        self._metrics.queries_run.inc(by=counters.runs - self._runs)
        self._runs = counters.runs
        if counters.failed > self._failed:
            self._metrics.push_context_errors.inc(by=counters.failed - self._failed)
            _log.error("queries raised", extra={"count": counters.failed - self._failed})
            self._failed = counters.failed
        if graph.paranoid:
            # A feed that this very settle brought up has leases that the next one settles.
            leases = [lease for feed in self._views.feeds() for lease in feed.leases() if lease.ready]
            compare_with_fresh(graph, random.sample(leases, min(_SAMPLED, len(leases))))

    # -- the streams ----------------------------------------------------------------------------

    def connected(self, connection: Connection) -> None:
        proxy = connection.proxy
        self._metrics.connected(proxy.metadata.istio_version, 1)
        _log.info(
            "a proxy connected",
            extra={
                "proxy": connection.id,
                "peer": connection.peer,
                "variant": connection.variant.name,
                "identity": "" if proxy.identity is None else proxy.identity.spiffe,
            },
        )

    def woken(self, connection: Connection, revision: int, at: float) -> None:
        self._trace.woken(revision, (connection.id,))

    def planned(self, connection: Connection, push: Push, took: float, at: float) -> None:
        plan, short = push.plan, push.spec.short
        names = len(plan.upserts) + len(plan.removed)
        response = Response(short, push.revision, at, push.size, names, plan.echoes, took)
        self._trace.planned(connection.id, response)
        self._metrics.xds_pushes.inc(short)
        self._metrics.config_size.of(short).observe(push.size)
        if plan.echoes:
            self._metrics.echoes.inc(short, by=plan.echoes)

    def written(self, connection: Connection, push: Push, at: float) -> None:
        self._trace.written(connection.id, push.spec.short, at)

    def stalled(self, connection: Connection, push: Push) -> None:
        self._metrics.write_timeout.inc()
        _log.warning("a proxy does not read", extra={"proxy": connection.id, "type": push.spec.short})

    def untouched(self, connection: Connection, revision: int, at: float) -> None:
        self._trace.untouched(connection.id, revision)

    def acked(self, connection: Connection, verdict: Verdict, at: float) -> None:
        short = verdict.push.spec.short
        self._trace.acked(connection.id, short, at)
        self._metrics.accepted(short, connection.proxy.id)

    def nacked(self, connection: Connection, verdict: Verdict, at: float) -> None:
        short = verdict.push.spec.short
        self._trace.nacked(connection.id, short, at)
        self._metrics.rejected(short, connection.proxy.id, 13)
        _log.warning(
            "a proxy rejected a response",
            extra={
                "proxy": connection.id,
                "type": short,
                "error": verdict.error,
                "held_back": sorted(verdict.blamed),
            },
        )

    def expired(self, connection: Connection, type_name: str) -> None:
        self._metrics.expired_nonce.inc(type_name)

    def received(self, size: int) -> None:
        self._metrics.received(size)

    def denied(self, denial: Denial) -> None:
        self._metrics.refused_streams.inc(denial.cause)
        # That we are not ready yet is nothing that a client could do better.
        level = logging.INFO if denial.cause == "unavailable" else logging.WARNING
        _log.log(
            level,
            "a caller was turned away",
            extra={
                "reason": denial.reason,
                "cause": denial.cause,
                "door": denial.door.value,
                "peer": denial.peer,
                "identity": "" if denial.identity is None else denial.identity.spiffe,
                "token_id": denial.token,
            },
        )

    def failed(self) -> None:
        self._metrics.internal_errors.inc()

    def gone(self, connection: Connection, at: float) -> None:
        self._trace.gone(connection.id)
        self._metrics.connected(connection.proxy.metadata.istio_version, -1)
        self._metrics.gone(connection.proxy.id)
        _log.info("a proxy is gone", extra={"proxy": connection.id})
