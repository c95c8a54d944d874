"""The dashboard "mini-istiod: mesh": what the workloads do, as their stock Envoys count it.

Everything is counted where it arrives, at the workload's own sidecar, unless a title says otherwise: there,
nobody is missed who has no sidecar of his own, and a retry is a request.
"""

from __future__ import annotations

from mesh_traffic import CLIENTS, DOOR, EDGE, IN, OUT, SERVICES, WHO, increase, rate
from panels import Choice, Dashboard, Panel, Query, Row, number

_REQUESTS = f"sum(rate(envoy_http_downstream_rq_xx{{{IN}}}[$__rate_interval]))"
_GOOD = f'sum(rate(envoy_http_downstream_rq_xx{{{IN},envoy_response_code_class!="5"}}[$__rate_interval]))'
_TIMES = f"sum by (le) (rate(envoy_http_downstream_rq_time_bucket{{{IN}}}[$__rate_interval]))"

_NOW = Row(
    "Now",
    (
        number(
            "Sidecars",
            f'sum(up{{job="sidecars",{WHO}}})',
            "Sidecars and gateways that answer Prometheus.",
        ),
        number(
            "Sidecars lost",
            f'count(up{{job="sidecars",{WHO}}} == 0) or vector(0)',
            "Known to the control plane, but not answering.",
            reds=((None, "green"), (1, "red")),
        ),
        number("Requests per second", _REQUESTS, "Of all workloads together.", unit="reqps"),
        number(
            "Success rate",
            f"{_GOOD} / {_REQUESTS}",
            "The share of requests that were not answered with 5xx.",
            unit="percentunit",
            reds=((None, "red"), (0.95, "orange"), (0.99, "green")),
        ),
        number(
            "p99",
            f"histogram_quantile(0.99, {_TIMES})",
            "Of all requests together, at the sidecar of who answers.",
            unit="ms",
        ),
        number(
            "Refused at the door",
            f"sum(increase(envoy_listener_no_filter_chain_match{{{DOOR}}}[$__range])) or vector(0)",
            "Connections in the chosen time that a workload does not take: plaintext, where mTLS is STRICT.",
        ),
    ),
)

_TLS = Row(
    "Mutual TLS and policies",
    (
        Panel(
            "Handshakes",
            (Query(increase("envoy_listener_ssl_handshake", DOOR, "app"), "{{app}}"),),
            "Mutual TLS at the doors of workloads. Connections are kept, so there are fewer than requests.",
        ),
        Panel(
            "Connections refused",
            (Query(increase("envoy_listener_no_filter_chain_match", DOOR, "app"), "{{app}}"),),
            "Where mTLS is STRICT: plaintext.",
        ),
        Panel(
            "Handshakes failed at the door",
            (
                Query(increase("envoy_listener_ssl_connection_error", DOOR, "app"), "{{app}} TLS"),
                Query(increase("envoy_listener_ssl_fail_verify_error", DOOR, "app"), "{{app}} unknown root"),
                Query(
                    increase("envoy_listener_ssl_fail_verify_no_cert", DOOR, "app"),
                    "{{app}} no certificate",
                ),
                Query(
                    increase("envoy_listener_ssl_fail_verify_san", DOOR, "app"),
                    "{{app}} other trust domain",
                ),
            ),
            "Why callers with TLS were not let in.",
        ),
        Panel(
            "Handshakes failed at the caller",
            (
                Query(increase("envoy_cluster_ssl_connection_error", OUT, "app"), "{{app}} TLS"),
                Query(increase("envoy_cluster_ssl_fail_verify_error", OUT, "app"), "{{app}} unknown root"),
                Query(
                    increase("envoy_cluster_ssl_fail_verify_san", OUT, "app"),
                    "{{app}} not who was expected",
                ),
            ),
            "Why callers did not believe a service.",
        ),
        Panel(
            "Denied by policy",
            (Query(rate("envoy_http_rbac_denied", IN, "app"), "{{app}}"),),
            "403 by AuthorizationPolicies. Empty where none holds.",
            unit="reqps",
        ),
        Panel(
            "Allowed by policy",
            (Query(rate("envoy_http_rbac_allowed", IN, "app"), "{{app}}"),),
            "Requests that AuthorizationPolicies looked at and let in. Empty where none holds.",
            unit="reqps",
        ),
    ),
)


def _updates(metric: str) -> str:
    return f"sum(increase(envoy_{metric}{{{WHO}}}[$__rate_interval]))"


_SIDECARS = Row(
    "Sidecars",
    (
        Panel(
            "Memory",
            (Query(f"envoy_server_memory_physical_size{{{WHO}}}", "{{pod}}"),),
            "What Envoy's allocator holds. The process is some 50 MB more, most of it code that all share.",
            unit="bytes",
        ),
        Panel(
            "Connected to the control plane",
            (
                Query(
                    f'envoy_cluster_upstream_cx_active{{{WHO},envoy_cluster_name="xds-grpc"}}',
                    "{{pod}}",
                ),
            ),
            "1 when the stream is open. A sidecar without one goes on with what it has.",
        ),
        Panel(
            "Updates accepted and refused",
            (
                Query(_updates("cluster_manager_cds_update_success"), "clusters"),
                Query(_updates("listener_manager_lds_update_success"), "listeners"),
                Query(_updates("cluster_manager_cds_update_rejected"), "clusters refused"),
                Query(_updates("listener_manager_lds_update_rejected"), "listeners refused"),
            ),
            "Of all sidecars together.",
        ),
        Panel(
            "Connections open",
            (
                Query(
                    f"sum by (pod) (envoy_listener_downstream_cx_active{{{DOOR}}})",
                    "{{pod}}",
                ),
            ),
            "At the doors of workloads.",
        ),
    ),
)

MESH = Dashboard(
    uid="mini-istiod-mesh",
    title="mini-istiod: mesh",
    about="What the workloads do, as their Envoys count it. Labels: deploy/prometheus/prometheus.yml.",
    rows=(_NOW, SERVICES, CLIENTS, EDGE, _TLS, _SIDECARS),
    choices=(
        Choice("namespace", "Namespace", 'label_values(up{job="sidecars"}, namespace)'),
        Choice("app", "Service", 'label_values(up{job="sidecars",namespace=~"$namespace"}, app)'),
    ),
)
