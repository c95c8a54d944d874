"""The dashboard "mini-istiod: control plane": is it well, and how long do changes take."""

from __future__ import annotations

from panels import Dashboard, Panel, Query, Row, number

_ME = 'job="mini-istiod"'


def _rate(metric: str, by: str = "") -> str:
    return f"sum{f' by ({by})' if by else ''} (rate({metric}{{{_ME}}}[$__rate_interval]))"


def _increase(metric: str, by: str) -> str:
    return f"sum by ({by}) (increase({metric}{{{_ME}}}[$__rate_interval]))"


def _quantiles(metric: str) -> tuple[Query, ...]:
    where = f"{metric}_bucket{{{_ME}}}"
    return tuple(
        Query(f"histogram_quantile({q}, sum by (le) (rate({where}[$__rate_interval])))", f"p{q * 100:g}")
        for q in (0.5, 0.9, 0.99)
    )


_GOOD_AT_NOUGHT = ((None, "green"), (1, "red"))

_NOW = Row(
    "Now",
    (
        number("Proxies connected", f"sum(pilot_xds{{{_ME}}})", "Envoys with an open stream (pilot_xds)."),
        number(
            "Services",
            f"sum(pilot_services{{{_ME}}})",
            "Kubernetes Services known, those made of containers among them.",
        ),
        number(
            "Updates refused",
            f"sum(increase(pilot_total_xds_rejects{{{_ME}}}[$__range])) or vector(0)",
            "NACKs in the chosen time. /debug/push_status says what Envoy had against it.",
            reds=_GOOD_AT_NOUGHT,
        ),
        number(
            "Mistakes in the input",
            f'sum(mini_istiod_problems{{{_ME},level="error"}})',
            "Standing problems of level error. /debug/problems names file, field and remedy.",
            reds=_GOOD_AT_NOUGHT,
        ),
        number(
            "Objects not in force",
            f"sum(mini_istiod_objects_not_in_force{{{_ME}}})",
            "Objects of which no version is valid. Of a policy: it does not protect.",
            reds=_GOOD_AT_NOUGHT,
        ),
        number(
            "Up for",
            f"max(istiod_uptime_seconds{{{_ME}}})",
            "Since the control plane started. Sidecars go on without it.",
            unit="s",
        ),
    ),
)

_PUSHES = Row(
    "How long changes take",
    (
        Panel(
            "Convergence",
            (
                Query(
                    f"sum by (le) (increase(pilot_proxy_convergence_time_bucket{{{_ME}}}[$__rate_interval]))",
                    "{{le}}",
                ),
            ),
            "From a settled change until a response that carries it is sent, as istiod measures it.",
            unit="short",
            kind="heatmap",
            width=12,
            height=9,
        ),
        Panel(
            "Convergence, quantiles",
            _quantiles("pilot_proxy_convergence_time"),
            "The same as lines. What a change took from its source to the last ACK is at /debug/traces.",
            unit="s",
            width=12,
            height=9,
        ),
        Panel(
            "Stages of a change, p99",
            (
                Query(
                    "histogram_quantile(0.99, sum by (le, stage) "
                    f"(rate(mini_istiod_push_stage_seconds_bucket{{{_ME}}}[$__rate_interval])))",
                    "{{stage}}",
                ),
            ),
            "debounce waits for more, compute settles the graph, plan finds what each proxy lacks, "
            "write sends, ack is Envoy's answer.",
            unit="s",
        ),
        Panel(
            "Debounce",
            _quantiles("pilot_debounce_time"),
            "From a batch's first change until it can be planned.",
            unit="s",
        ),
        Panel(
            "Waiting for a proxy's turn",
            _quantiles("pilot_proxy_queue_time"),
            "From a settled change until a proxy's response is planned.",
            unit="s",
        ),
        Panel(
            "Responses per second",
            (Query(_rate("pilot_xds_pushes", "type"), "{{type}}"),),
            "By type of resource.",
            unit="ops",
            stacked=True,
        ),
        Panel(
            "Size of a response, p99",
            (
                Query(
                    "histogram_quantile(0.99, sum by (le, type) "
                    f"(rate(pilot_xds_config_size_bytes_bucket{{{_ME}}}[$__rate_interval])))",
                    "{{type}}",
                ),
            ),
            "By type of resource. Delta xDS sends what changed.",
            unit="bytes",
        ),
        Panel(
            "What made pushes necessary",
            (Query(_rate("pilot_push_triggers", "type"), "{{type}}"),),
            "In Istio's words.",
            unit="ops",
            stacked=True,
        ),
    ),
)

_FAULTS = Row(
    "Input, refusals and faults",
    (
        Panel(
            "Changes received per second",
            (Query(_rate("pilot_inbound_updates", "type"), "{{type}}"),),
            "What the sources delivered.",
            unit="ops",
            stacked=True,
        ),
        Panel(
            "Standing problems",
            (Query(f"sum by (level) (mini_istiod_problems{{{_ME}}})", "{{level}}"),),
            "What is wrong with the input now.",
        ),
        Panel(
            "Updates refused (NACK)",
            (Query(_increase("pilot_total_xds_rejects", "type"), "{{type}}"),),
            "Empty when no Envoy has refused anything since the start. The rest of the update is applied.",
            least=0,
        ),
        Panel(
            "Who refuses now",
            (
                Query(
                    'sum by (node, err, __name__) ({__name__=~"pilot_xds_(cds|eds|lds|rds)_reject",'
                    + _ME
                    + "})",
                    "{{node}} {{__name__}} {{err}}",
                ),
            ),
            "Empty when every connected Envoy has accepted what it was last sent.",
        ),
        Panel(
            "Streams refused",
            (Query(_increase("mini_istiod_refused_streams_total", "reason"), "{{reason}}"),),
            "Empty when nobody was turned away: a bad token, another's name, too many streams.",
        ),
        Panel(
            "Faults of the control plane",
            (
                Query(_rate("pilot_total_xds_internal_errors"), "xDS server"),
                Query(_rate("pilot_xds_push_context_errors"), "queries"),
                Query(_rate("pilot_xds_write_timeout"), "writes timed out"),
            ),
            "Bugs of this program, or Envoys that do not read. Should be nought.",
            unit="ops",
        ),
    ),
)

_TRUST = Row(
    "Certificates",
    (
        Panel(
            "Proxies with a certificate",
            (Query(f"sum(mini_istiod_certificates{{{_ME}}})", "certificates"),),
            "By SDS; renewed before they expire.",
        ),
        Panel(
            "Waiting for the first certificate",
            _quantiles("mini_istiod_certificate_wait_seconds"),
            "From a proxy's first stream until its first certificate is issued.",
            unit="s",
        ),
        Panel(
            "The root expires in",
            (
                Query(f"min(citadel_server_root_cert_expiry_seconds{{{_ME}}})", "root"),
                Query(f"min(citadel_server_cert_chain_expiry_seconds{{{_ME}}})", "first of the chain"),
            ),
            "What signs. A root is rotated in stages, see docs/certificates.md.",
            unit="s",
            kind="stat",
        ),
        Panel(
            "TLS handshakes at the doors",
            (Query(_rate("mini_istiod_tls_handshakes_total", "door"), "{{door}}"),),
            "Of sidecars that connect; one connection lives long.",
            unit="ops",
        ),
        Panel(
            "Signing requests",
            (
                Query(_rate("citadel_server_csr_count"), "received"),
                Query(_rate("citadel_server_success_cert_issuance_count"), "granted"),
            ),
            "Of those who make their keys themselves (istio-agent). Sidecars here get theirs by SDS.",
            unit="ops",
        ),
    ),
)

_PROCESS = Row(
    "The process",
    (
        Panel(
            "Memory",
            (Query(f"process_resident_memory_bytes{{{_ME}}}", "resident"),),
            "Of the control plane's process.",
            unit="bytes",
        ),
        Panel(
            "CPU",
            (Query(_rate("process_cpu_seconds_total"), "cores"),),
            "One event loop: it cannot use more than about one core.",
        ),
        Panel(
            "The event loop woke late by",
            _quantiles("mini_istiod_loop_lag_seconds"),
            "What stops the loop is part of every proxy's latency.",
            unit="s",
        ),
        Panel(
            "Garbage collection per second",
            (Query(_rate("mini_istiod_gc_pause_seconds_sum", "generation"), "generation {{generation}}"),),
            "Seconds of each second in which nothing else ran.",
            unit="percentunit",
        ),
        Panel(
            "Nodes in the graph",
            (Query(f"mini_istiod_graph_nodes{{{_ME}}}", "nodes"),),
            "What is remembered of how configuration came about.",
        ),
        Panel(
            "Queries run per second",
            (Query(_rate("mini_istiod_queries_run_total"), "queries"),),
            "Computed, not answered from memory: what changes cost.",
            unit="ops",
        ),
    ),
)

CONTROL_PLANE = Dashboard(
    uid="mini-istiod-control-plane",
    title="mini-istiod: control plane",
    about="Is the control plane well, and how long do changes take? The metrics are in docs/metrics.md.",
    rows=(_NOW, _PUSHES, _FAULTS, _TRUST, _PROCESS),
)
