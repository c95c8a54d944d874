"""The rows of the mesh's dashboard that are about requests: where they arrive and leave, and at the edge."""

from __future__ import annotations

from panels import Panel, Query, Row

WHO = 'namespace=~"$namespace",app=~"$app"'
IN = f'{WHO},direction="inbound"'
OUT = f'{WHO},direction="outbound"'
DOOR = f'{WHO},envoy_listener_address=~".+_15006"'
"""The listener for everything that is redirected to a sidecar."""
_WAY = "app, service, subset"
_EJECTED = "envoy_cluster_outlier_detection_ejections_active"


def _short(expr: str) -> str:
    """With "reviews.default" for the host of a Kubernetes Service."""
    return f'label_replace({expr}, "service", "$1", "service", "(.+)[.]svc[.].+")'


def rate(metric: str, where: str, by: str) -> str:
    return f"sum by ({by}) (rate({metric}{{{where}}}[$__rate_interval]))"


def increase(metric: str, where: str, by: str) -> str:
    return f"sum by ({by}) (increase({metric}{{{where}}}[$__rate_interval]))"


def _share_of_success(by: str, more: str = "") -> str:
    good = rate("envoy_http_downstream_rq_xx", f'{IN}{more},envoy_response_code_class!="5"', by)
    return f"{good} / {rate('envoy_http_downstream_rq_xx', f'{IN}{more}', by)}"


def _latency(quantile: float, by: str, where: str = IN) -> str:
    rates = rate("envoy_http_downstream_rq_time_bucket", where, f"le, {by}")
    return f"histogram_quantile({quantile}, {rates})"


SERVICES = Row(
    "Services, where requests arrive",
    (
        Panel(
            "Requests per second",
            (Query(rate("envoy_http_downstream_rq_xx", IN, "app"), "{{app}}"),),
            "By service.",
            unit="reqps",
        ),
        Panel(
            "Success rate",
            (Query(_share_of_success("app"), "{{app}}"),),
            "The share of requests that were not answered with 5xx.",
            unit="percentunit",
            most=1,
        ),
        Panel(
            "Answers by class",
            (
                Query(
                    rate("envoy_http_downstream_rq_xx", IN, "envoy_response_code_class"),
                    "{{envoy_response_code_class}}xx",
                ),
            ),
            "All services together. What a policy denies is 403, and counts.",
            unit="reqps",
            stacked=True,
        ),
        Panel(
            "p50",
            (Query(_latency(0.5, "app"), "{{app}}"),),
            "By service; Envoy counts whole milliseconds.",
            unit="ms",
        ),
        Panel("p90", (Query(_latency(0.9, "app"), "{{app}}"),), "By service.", unit="ms"),
        Panel("p99", (Query(_latency(0.99, "app"), "{{app}}"),), "By service.", unit="ms"),
        Panel(
            "Requests per second by version",
            (Query(rate("envoy_http_downstream_rq_xx", IN, "app, version"), "{{app}} {{version}}"),),
            "A canary: how the requests of a service are split.",
            unit="reqps",
            width=12,
            stacked=True,
        ),
        Panel(
            "Success rate by version",
            (Query(_share_of_success("app, version"), "{{app}} {{version}}"),),
            "A canary: whether the new one does well.",
            unit="percentunit",
            width=12,
            most=1,
        ),
    ),
)

CLIENTS = Row(
    "Who calls whom, where requests leave",
    (
        Panel(
            "Requests per second",
            (
                Query(
                    _short(rate("envoy_cluster_upstream_rq_xx", OUT, _WAY)),
                    "{{app}} → {{service}} {{subset}}",
                ),
            ),
            "By caller, service and subset, from gateways and sidecars.",
            unit="reqps",
            width=12,
        ),
        Panel(
            "p99",
            (
                Query(
                    _short(
                        "histogram_quantile(0.99, "
                        f"{rate('envoy_cluster_upstream_rq_time_bucket', OUT, f'le, {_WAY}')})"
                    ),
                    "{{app}} → {{service}} {{subset}}",
                ),
            ),
            "As the caller waits for it.",
            unit="ms",
            width=12,
        ),
        Panel(
            "Resets and time-outs",
            (
                Query(
                    rate("envoy_cluster_upstream_rq_rx_reset", OUT, "app"),
                    "{{app}} reset by the other side",
                ),
                Query(rate("envoy_cluster_upstream_rq_tx_reset", OUT, "app"), "{{app}} reset by itself"),
                Query(rate("envoy_cluster_upstream_rq_timeout", OUT, "app"), "{{app}} timed out"),
            ),
            "Requests that got no answer, by caller.",
            unit="reqps",
        ),
        Panel(
            "Connections failed, requests turned away",
            (
                Query(rate("envoy_cluster_upstream_cx_connect_fail", OUT, "app"), "{{app}} no connection"),
                Query(
                    rate("envoy_cluster_upstream_rq_pending_overflow", OUT, "app"),
                    "{{app}} circuit breaker",
                ),
            ),
            "By caller.",
            unit="ops",
        ),
        Panel(
            "Retries",
            (Query(rate("envoy_cluster_upstream_rq_retry", OUT, "app"), "{{app}}"),),
            "By caller.",
            unit="reqps",
        ),
        Panel(
            "Healthy endpoints",
            (
                Query(
                    _short(f"min by (service, subset) (envoy_cluster_membership_healthy{{{OUT}}})"),
                    "{{service}} {{subset}}",
                ),
            ),
            "Of each service and subset, as seen by whoever sees the fewest.",
        ),
        Panel(
            "Ejected",
            (
                Query(
                    _short(f"max by (service, subset) ({_EJECTED}{{{OUT}}})"),
                    "{{service}} {{subset}}",
                ),
            ),
            "Endpoints left out by outlierDetection. Empty where no DestinationRule asks for it.",
        ),
        Panel(
            "Bytes per second, by workload",
            (
                Query(rate("envoy_cluster_upstream_cx_tx_bytes_total", IN, "app"), "{{app}} in"),
                Query(rate("envoy_cluster_upstream_cx_rx_bytes_total", IN, "app"), "{{app}} out"),
            ),
            "Between a sidecar and its application; TCP services too.",
            unit="Bps",
        ),
    ),
)

EDGE = Row(
    "Gateways",
    (
        Panel(
            "Requests per second",
            (
                Query(
                    f"sum by (app, envoy_response_code_class) (rate(envoy_http_downstream_rq_xx{{{OUT}}}"
                    "[$__rate_interval]) unless on (namespace, pod) "
                    'envoy_listener_downstream_cx_active{envoy_listener_address=~".+_15006"})',
                    "{{app}} {{envoy_response_code_class}}xx",
                ),
            ),
            "At proxies to which nothing is redirected, by class. 4xx: often a host without a route.",
            unit="reqps",
            width=12,
        ),
        Panel(
            "Latency",
            tuple(
                Query(
                    f"histogram_quantile({quantile}, sum by (le, app) "
                    f"(rate(envoy_http_downstream_rq_time_bucket{{{OUT}}}[$__rate_interval]) "
                    "unless on (namespace, pod) "
                    'envoy_listener_downstream_cx_active{envoy_listener_address=~".+_15006"}))',
                    f"{{{{app}}}} p{quantile * 100:g}",
                )
                for quantile in (0.5, 0.9, 0.99)
            ),
            "As somebody outside waits for it.",
            unit="ms",
            width=12,
        ),
    ),
)
