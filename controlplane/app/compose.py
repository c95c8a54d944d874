"""`build(settings) -> App`: every part is made here, once, and handed what it needs."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any, NamedTuple, get_args

from controlplane import __version__
from controlplane.app import debug
from controlplane.app.addresses import WantedAddresses
from controlplane.app.authority import serving_requests, show_expiry
from controlplane.app.ca_routes import ca_routes
from controlplane.app.deferred import Deferred
from controlplane.app.entrance import Entrance, build_entrance, visitors
from controlplane.app.features import settle_features
from controlplane.app.findings import Findings
from controlplane.app.key_sets import WantedKeySets, settle_who_fetches
from controlplane.app.observe import Observer
from controlplane.app.registrations import Joining, KnownGroups
from controlplane.app.rejections import Rejections
from controlplane.app.scrape import scrape_route
from controlplane.app.sources import Sources, all_sources
from controlplane.app.spine import Spine, spine
from controlplane.app.trust import Trust, build_trust, supply_certificates
from controlplane.app.watchers import LoggedPushes, RecordedProxies, Watcher, together
from controlplane.base.clock import SystemClock
from controlplane.graph import Graph
from controlplane.mesh.checks import checks
from controlplane.mesh.checks_gateways import is_refusal
from controlplane.mesh.key_sets import wanted_key_sets
from controlplane.model.kinds import KINDS
from controlplane.model.problem import Level
from controlplane.settings import Settings
from controlplane.sources.change import Sink, Source
from controlplane.sources.recording import Header, Recorder
from controlplane.store.debounce import Debouncer, Timing
from controlplane.store.ingest import Ingest
from controlplane.telemetry.http import Base, Monitoring
from controlplane.telemetry.journal import Journal
from controlplane.telemetry.metrics import Metrics
from controlplane.telemetry.push_log import PushLog, Start
from controlplane.telemetry.runtime import GcPauses, watch_loop
from controlplane.telemetry.trace import Trace
from controlplane.telemetry.trace_report import traces
from controlplane.xds.options import Pace, XdsOptions
from controlplane.xds.server import XdsServer
from controlplane.xds.settle import Settler
from controlplane.xds.view import GraphViews


@dataclass(slots=True)
class App:
    """A control plane, made but not started; see `controlplane.app.serve`."""

    settings: Settings
    clock: SystemClock
    metrics: Metrics
    trace: Trace
    graph: Graph
    settler: Settler
    views: GraphViews
    ingest: Ingest
    debouncer: Debouncer
    sources: tuple[Source, ...]
    xds: XdsServer
    trust: Trust
    entrance: Entrance
    key_sets: WantedKeySets
    addresses: WantedAddresses
    groups: KnownGroups
    monitoring: Monitoring
    gc_pauses: GcPauses
    mesh: debug.Mesh
    push_log: PushLog | None
    recorder: Recorder | None
    draining: bool = field(default=False)

    @property
    def journals(self) -> tuple[Journal, ...]:
        """The files that are written beside the work."""
        return tuple(one.journal for one in (self.push_log, self.recorder) if one is not None)

    def sink(self, source: Source) -> Sink:
        """Where a source delivers."""
        return self.ingest if self.recorder is None else self.recorder.sink(source.name, self.ingest)

    def watch_loop(self) -> Coroutine[Any, Any, None]:
        """Measure how late the event loop wakes, until cancelled."""
        return watch_loop(self.clock, self._late)

    def _late(self, seconds: float) -> None:
        self.metrics.loop_lag.of().observe(seconds)
        if self.push_log is not None:
            self.push_log.lag(seconds)

    def unready(self) -> str:
        """Why proxies may not be served now; "" when they may."""
        if self.draining:
            return "draining"
        waiting = ", ".join(self.ingest.waiting_for)
        if waiting:
            return f"waiting for {waiting}"
        return "" if self.views.ready else "computing the first configuration"

    def close(self) -> None:
        """Let all leases go."""
        self.views.close()
        self.key_sets.close()
        self.addresses.close()
        self.groups.close()
        self.mesh.findings.close()
        for shelf in self.mesh.shelves:
            shelf.release()


def build(settings: Settings) -> App:
    """Make all parts of a control plane; nothing runs and no port is open yet."""
    clock = SystemClock()
    started = clock.monotonic()
    metrics = Metrics(__version__, lambda: clock.monotonic() - started)
    trust = build_trust(settings, clock)
    sources = all_sources(settings, clock, metrics)
    core = _core(settings, clock, sources)
    watching = _watch(settings, core, clock, metrics, sources)

    entrance = build_entrance(settings, trust, core.graph, clock, metrics)
    access = serving_requests(entrance.access, trust, metrics, clock)
    observer, options = watching.observer, _xds_options(settings)
    xds = XdsServer(core.views, settings.grpc_addr, options, observer=observer, clock=clock, access=access)
    supply = supply_certificates(trust, core.views, xds, clock)
    metrics.certificates.set_function(supply.__len__)
    supply.on_issued = metrics.certificate_wait.of().observe
    findings = Findings(core.graph.lease(checks), core.ingest)
    rejections = Rejections(core.graph, core.ingest, lambda: xds.streams)
    shelves = debug.shelf_leases(core.graph)
    mesh = debug.Mesh(core.graph, core.ingest, core.views, findings, rejections, shelves)
    app = App(
        settings=settings,
        clock=clock,
        metrics=metrics,
        trace=watching.trace,
        graph=core.graph,
        settler=core.settler,
        views=core.views,
        ingest=core.ingest,
        debouncer=core.debouncer,
        sources=sources.every,
        xds=xds,
        trust=trust,
        entrance=entrance,
        key_sets=WantedKeySets(core.graph.lease(wanted_key_sets), sources.key_sets),
        addresses=WantedAddresses(core.graph, sources.addresses),
        groups=KnownGroups(core.graph, sources.joined),
        monitoring=Monitoring(Base(lambda: "", metrics.text, _version)),
        gc_pauses=_gc_pauses(metrics, watching.push_log),
        mesh=mesh,
        push_log=watching.push_log,
        recorder=watching.recorder,
    )
    _count_when_asked(metrics, mesh)
    show_expiry(metrics, trust.authority, clock)
    if trust.rotation is not None:
        trust.rotation.held = app.unready
    app.monitoring = _monitoring(app)
    return app


def _core(settings: Settings, clock: SystemClock, sources: Sources) -> Spine:
    """Everything between the sources and the streams."""
    core = spine(
        clock,
        timing(settings),
        [source.name for source in sources.every],
        paranoid=settings.paranoid,
        on_demand=settings.on_demand_virtual_hosts,
        keeper=sources.kept,
    )
    settle_who_fetches(core.graph, settings.jwt_enable_remote_jwks)
    settle_features(core.graph, {name.name: getattr(settings, name.name) for name in fields(settings)})
    return core


class _Watching(NamedTuple):
    """Who is told what the server does; `observer` is all of them."""

    observer: Watcher
    trace: Trace
    push_log: PushLog | None
    recorder: Recorder | None


def _watch(
    settings: Settings, core: Spine, clock: SystemClock, metrics: Metrics, sources: Sources
) -> _Watching:
    """Make those who are told, and have them told of commits and settles."""
    trace = Trace(epoch=clock.wall() - clock.monotonic(), spans=metrics.spans())
    push_log = _push_log(settings, clock)
    deferred = Deferred(Observer(clock, metrics, trace, core.settler, core.views))
    metrics.on_read = trace.on_read = deferred.catch_up
    watchers: list[Watcher] = [deferred]
    if push_log is not None:
        # First, because the other one's last act is to tell the streams.
        watchers.insert(0, LoggedPushes(push_log, clock))
    recorder = _recorder(settings, clock, sources.every)
    if recorder is not None:
        watchers.append(RecordedProxies(recorder))
    watchers.append(Joining(sources.joined))
    observer = together(watchers)
    core.watch(observer)
    return _Watching(observer, trace, push_log, recorder)


def _monitoring(app: App) -> Monitoring:
    """The monitoring port, for an App that is whole but for it."""
    routes = (
        *debug.routes(app.mesh, lambda query: traces(app.trace, query)),
        *debug.xds_routes(app.xds, app.trace.epoch),
        *ca_routes(app.trust),
        scrape_route(app.graph, lambda: (one.connection.proxy for one in app.xds.streams), app.unready),
    )
    judge = visitors(app.entrance, app.graph, app.xds, app.metrics).judge
    base = Base(app.unready, app.metrics.text, _version)
    return Monitoring(base, routes, remote_debug=app.settings.debug_allow_remote, judge=judge)


def _push_log(settings: Settings, clock: SystemClock) -> PushLog | None:
    if settings.push_log is None:
        return None
    now = clock.monotonic()
    return PushLog(settings.push_log, Start(now, clock.wall() - now, __version__))


def _recorder(settings: Settings, clock: SystemClock, sources: Sequence[Source]) -> Recorder | None:
    if settings.record is None:
        return None
    # Paths and addresses are the machine's; what is plain may shape the output, now or one day.
    values = {one.name: getattr(settings, one.name) for one in fields(settings)}
    plain = {name: value for name, value in values.items() if isinstance(value, str | int | float)}
    header = Header(__version__, clock.wall(), tuple(source.name for source in sources), plain)
    return Recorder(settings.record, header, clock)


def _gc_pauses(metrics: Metrics, push_log: PushLog | None) -> GcPauses:
    def collected(generation: str, seconds: float) -> None:
        metrics.gc_pause.of(generation).observe(seconds)
        if push_log is not None:
            push_log.collected(generation, seconds)

    return GcPauses(collected)


def timing(settings: Settings) -> Timing:
    """When batches are committed."""
    return Timing(
        after=settings.debounce_after,
        max=settings.debounce_max,
        endpoints_wait=settings.eds_debounce,
        adaptive=settings.debounce_adaptive,
    )


def _count_when_asked(metrics: Metrics, mesh: debug.Mesh) -> None:
    metrics.graph_nodes.set_function(mesh.graph.size)
    for level in get_args(Level):
        metrics.problems.labels(level).set_function(partial(_standing, mesh, level))
    metrics.rejected_configs.labels("gateway").set_function(partial(_left_out, mesh))
    for kind in KINDS:
        metrics.powerless.labels(kind.name).set_function(partial(mesh.ingest.powerless, kind.name))


def _standing(mesh: debug.Mesh, level: str) -> int:
    return sum(problem.level == level for problem in debug.problems(mesh))


def _left_out(mesh: debug.Mesh) -> int:
    return sum(is_refusal(problem) for problem in mesh.findings.problems())


def _xds_options(settings: Settings) -> XdsOptions:
    return XdsOptions(
        pace=Pace(ack_deadline=settings.ack_deadline),
        push_throttle=settings.push_throttle,
        streams_per_second=settings.max_requests_per_second,
        max_receive=settings.max_request_bytes,
        max_connection_age=settings.max_connection_age,
        streams_per_identity=settings.max_streams_per_identity,
    )


def _version() -> dict[str, str]:
    return {"version": __version__, "component": "mini-istiod"}
