"""What the control plane counts, in one registry that the composition root owns.

The `pilot_*` names, label names and bucket bounds are those that Istio's dashboards and alerts ask
for; histograms have bounds below a millisecond beside them, because the stages measured here are that
short.  What Istio has no name for starts with `mini_istiod_`.  A metric is here only when
something feeds it: a constant zero would be a lie on a dashboard.

Labels are bounded.  A value that a peer chooses (a proxy, a version) has a limit after which it is
counted as "other"; an error is the name of its gRPC status code, never its text.
"""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.process_collector import ProcessCollector

from controlplane.telemetry.exposition import CONTENT_TYPE, OTHER, Count, Spread, expose
from controlplane.telemetry.trace import Spans

TYPES = ("cds", "eds", "lds", "rds", "vhds", "sds", "ecds", "nds")
"""The short names of xDS types that may be a label; anything else is "other"."""

# The union of the bounds that Istio gives its histograms of seconds, and nine that it lacks.
SECONDS = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 3.0, 5.0, 10.0, 20.0, 30.0),
)
SIZES = (1.0, 100.0, 1e3, 1e4, 1e5, 1e6, 4e6, 1e7, 4e7)

# fmt: off
_TRIGGERS = frozenset((
    "endpoint", "headlessendpoint", "config", "service", "proxy", "global", "unknown", "debug", "secret",
    "networks", "proxyrequest", "namespace", "cluster", "tag",
))
# https://grpc.io/docs/guides/status-codes/, spelled as Go prints them: so does Istio in this label.
_CODES = (
    "OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists",
    "PermissionDenied", "ResourceExhausted", "FailedPrecondition", "Aborted", "OutOfRange",
    "Unimplemented", "Internal", "Unavailable", "DataLoss", "Unauthenticated",
)
# fmt: on
_MAX_NODES = 1000
_MAX_VERSIONS = 20
_MAX_VERSION_LENGTH = 64


def short(type_name: str) -> str:
    """A type as a label: itself when it is one of `TYPES`, else "other"."""
    return type_name if type_name in TYPES else OTHER


class Metrics:
    """All metrics, as attributes named after what they measure.

    Gauges are prometheus_client's; counters are `Count`, incremented by `inc(*label_values)`;
    histograms are `Spread`, fed by `of(label_value).observe(number)`.  `version` is this program's;
    `uptime()` gives seconds since its start.
    """

    def __init__(self, version: str, uptime: Callable[[], float]) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        ProcessCollector(registry=self.registry)
        self._gauge("pilot_info", "Version of this control plane.", "version").labels(version).set(1)
        self._gauge("istiod_uptime_seconds", "Seconds since the start.").set_function(uptime)
        self._declare_pushes()
        self._declare_inputs()
        self._declare_faults()
        self._declare_engine()
        self._declare_authority()
        self._largest = 0
        self._versions: dict[str, None] = {}
        self._rejecting: dict[str, set[tuple[str, str]]] = {}
        self.on_read: Callable[[], None] = lambda: None
        """Called before the text is made: whoever counts late catches up."""

    def text(self) -> tuple[str, bytes]:
        """(content type, body) of /metrics."""
        self.on_read()
        return CONTENT_TYPE, expose(self.registry)

    # -- what is declared ---------------------------------------------------------------------

    def _declare_pushes(self) -> None:
        self.xds_clients = self._gauge("pilot_xds", "Connected proxies by their version.", "version")
        self.xds_pushes = self._count("pilot_xds_pushes", "Responses sent, by type.", "type")
        self.debounce_time = self._spread(
            "pilot_debounce_time",
            "Seconds from a batch's first change until it can be planned (waiting, commit and settle).",
        )
        self.pushcontext_init = self._spread(
            "pilot_pushcontext_init_seconds",
            "Seconds to commit a batch and settle the graph: the counterpart of building a push context.",
        )
        self.push_time = self._spread("pilot_xds_push_time", "Seconds to plan and send one response.", "type")
        self.send_time = self._spread("pilot_xds_send_time", "Seconds to send one response.")
        self.queue_time = self._spread(
            "pilot_proxy_queue_time", "Seconds from a settled change until a proxy's response is planned."
        )
        self.convergence_time = self._spread(
            "pilot_proxy_convergence_time",
            "Seconds from a settled change until a response with it is sent to a proxy (as in Istio: "
            "without debounce, and without the ACK).",
        )
        self.config_size = self._spread(
            "pilot_xds_config_size_bytes", "Bytes of one response.", "type", SIZES
        )
        self.recv_max = self._gauge("pilot_xds_recv_max", "Bytes of the largest request so far.")
        self.stage_time = self._spread(
            "mini_istiod_push_stage_seconds",
            "Seconds a change spends in one stage: debounce, compute, plan, write, ack.",
            "stage",
        )
        self.echoes = self._count(
            "mini_istiod_echoes_total",
            "Unchanged resources sent again because Envoy drops them otherwise.",
            "type",
        )

    def _declare_inputs(self) -> None:
        self.push_triggers = self._count("pilot_push_triggers", "What made a push necessary.", "type")
        self.inbound_updates = self._count(
            "pilot_inbound_updates", "Changes received: config, eds, svc, svcdelete.", "type"
        )
        self.jwks_fetched = self._count(
            "pilot_jwks_resolver_network_fetch_success_total", "Key sets fetched from their issuers."
        )
        self.jwks_failed = self._count(
            "pilot_jwks_resolver_network_fetch_fail_total", "Fetches of key sets that brought none."
        )
        self.services = self._gauge("pilot_services", "Services known.")
        self.virt_services = self._gauge("pilot_virt_services", "VirtualServices known.")
        self.rejected_configs = self._gauge(
            "pilot_total_rejected_configs", "Parts of objects left out because of others.", "type"
        )
        self.problems = self._gauge(
            "mini_istiod_problems", "Standing problems in the input, by level.", "level"
        )
        self.powerless = self._gauge(
            "mini_istiod_objects_not_in_force", "Objects without a version that is valid.", "kind"
        )

    def _declare_faults(self) -> None:
        self.rejects = {
            name: self._gauge(
                f"pilot_xds_{name}_reject",
                f"Rejections of {name} by a connected proxy since it last accepted.",
                "node",
                "err",
            )
            for name in ("cds", "eds", "lds", "rds")
        }
        self.total_rejects = self._count("pilot_total_xds_rejects", "Rejections by proxies (NACKs).", "type")
        self.write_timeout = self._count(
            "pilot_xds_write_timeout", "Responses whose sending failed or timed out."
        )
        self.internal_errors = self._count(
            "pilot_total_xds_internal_errors", "Faults of the xDS server itself."
        )
        self.push_context_errors = self._count(
            "pilot_xds_push_context_errors", "Queries that raised: bugs, not mistakes of the user."
        )
        self.refused_streams = self._count(
            "mini_istiod_refused_streams_total",
            "Streams that were not let in, or not let stay, by reason.",
            "reason",
        )
        self.handshakes = self._count(
            "mini_istiod_tls_handshakes_total", "TLS handshakes begun, those that fail among them.", "door"
        )
        self.fruitless_handshakes = self._count(
            "mini_istiod_tls_handshakes_fruitless_total", "TLS handshakes that led to no call.", "door"
        )
        self.expired_nonce = self._count(
            "pilot_xds_expired_nonce", "Requests with a nonce that is past.", "type"
        )

    def _declare_engine(self) -> None:
        self.loop_lag = self._spread(
            "mini_istiod_loop_lag_seconds", "Seconds by which the event loop woke late."
        )
        self.gc_pause = self._spread(
            "mini_istiod_gc_pause_seconds",
            "Seconds of one garbage collection.",
            "generation",
        )
        self.graph_nodes = self._gauge("mini_istiod_graph_nodes", "Nodes alive in the graph.")
        self.queries_run = self._count(
            "mini_istiod_queries_run_total", "Queries run, not served from memory."
        )

    def _declare_authority(self) -> None:
        name = "citadel_server"
        self.csr = self._count(f"{name}_csr_count", "Signing requests received.")
        self.csr_issued = self._count(f"{name}_success_cert_issuance_count", "Signing requests granted.")
        self.csr_unparsable = self._count(f"{name}_csr_parsing_err_count", "Requests that were unreadable.")
        self.csr_unsigned = self._count(f"{name}_csr_sign_err_count", "Requests refused.", "error")
        self.csr_unauthenticated = self._count(
            f"{name}_authentication_failure_count", "Signing requests whose sender proved no identity."
        )
        self.csr_nobody = self._count(
            f"{name}_id_extraction_err_count", "Signing requests of senders without an identity."
        )
        self.ca_expiry = {
            what: (
                self._gauge(f"{name}_{what}_expiry_timestamp", "When it expires, in Unix seconds."),
                self._gauge(f"{name}_{what}_expiry_seconds", "Seconds until it expires."),
            )
            for what in ("root_cert", "cert_chain")
        }
        self.certificates = self._gauge("mini_istiod_certificates", "Proxies that have a certificate.")
        self.certificate_wait = self._spread(
            "mini_istiod_certificate_wait_seconds",
            "Seconds from a proxy's first stream until its first certificate is issued.",
        )

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def _count(self, name: str, text: str, *labels: str) -> Count:
        return Count(self.registry, name, text, labels)

    def _spread(self, name: str, text: str, label: str = "", bounds: tuple[float, ...] = SECONDS) -> Spread:
        return Spread(self.registry, name, text, bounds, label)

    # -- fed by the push trace -----------------------------------------------------------------

    def spans(self) -> Spans:
        """What the trace measures, as histograms; stages for which Istio has a name share its cells."""
        stages = self.stage_time
        stages.share("compute", self.pushcontext_init.of())
        stages.share("plan", self.queue_time.of())
        stages.share("write", self.send_time.of())
        pushes = {name: self.push_time.of(name).observe for name in (*TYPES, OTHER)}
        return Spans(
            debounce=stages.of("debounce").observe,
            compute=stages.of("compute").observe,
            ready=self.debounce_time.of().observe,
            plan=stages.of("plan").observe,
            write=stages.of("write").observe,
            push=lambda type_name, seconds: pushes[short(type_name)](seconds),
            converge=self.convergence_time.of().observe,
            ack=stages.of("ack").observe,
        )

    # -- what needs more than one increment ----------------------------------------------------

    def connected(self, version: str, by: int) -> None:
        """A proxy of that version came (`by` 1) or went (-1)."""
        label = version[:_MAX_VERSION_LENGTH] or "unknown"
        if label not in self._versions and len(self._versions) >= _MAX_VERSIONS:
            label = OTHER
        self._versions[label] = None
        self.xds_clients.labels(label).inc(by)

    def trigger(self, reason: str) -> None:
        """A push happened because of `reason`; one that Istio has no word for is "unknown"."""
        self.push_triggers.inc(reason if reason in _TRIGGERS else "unknown")

    def received(self, size: int) -> None:
        """A request of `size` bytes came."""
        if size > self._largest:
            self._largest = size
            self.recv_max.set(size)

    def rejected(self, type_name: str, node: str, code: int) -> None:
        """A proxy refused a response; `code` is the gRPC status code of its error detail."""
        self.total_rejects.inc(short(type_name))
        gauge = self.rejects.get(type_name)
        if gauge is None:
            return
        if node not in self._rejecting and len(self._rejecting) >= _MAX_NODES:
            node = OTHER
        err = _CODES[code] if 0 <= code < len(_CODES) else "Unknown"
        gauge.labels(node, err).inc()
        self._rejecting.setdefault(node, set()).add((type_name, err))

    def accepted(self, type_name: str, node: str) -> None:
        """A proxy accepted a response of that type: its rejections of the type are history."""
        standing = self._rejecting.get(node)
        if standing is None:
            return
        for entry in [entry for entry in standing if entry[0] == type_name]:
            self.rejects[type_name].remove(node, entry[1])
            standing.discard(entry)
        if not standing:
            del self._rejecting[node]

    def gone(self, node: str) -> None:
        """A proxy left: nothing is held under its name any more."""
        for type_name, err in self._rejecting.pop(node, set()):
            self.rejects[type_name].remove(node, err)
