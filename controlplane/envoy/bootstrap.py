"""The configuration a proxy starts with: who it is, and where the control plane is.

It is the one thing that no xDS stream can deliver.  It is a pure function to a JSON-able dict,
because it travels in different ways: as container arguments, as a file that a job writes, or in the
hands of the lab.  No agent stands beside Envoy, so the bootstrap also carries the two listeners that
an agent would have served: readiness on 15021 and Prometheus on 15090.  Envoy opens static listeners
only when the first LDS answer is in (initial_fetch_timeout 0s), so readiness tells the truth.

Sources: the bootstrap, core and metrics protos at https://www.envoyproxy.io/docs/envoy/latest/api-v3.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from controlplane.envoy import names
from controlplane.envoy.bootstrap_trust import Json, Trust, http_filters, transport_socket

_TYPE = "type.googleapis.com/"
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_HCM = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_ROUTER = "envoy.extensions.filters.http.router.v3.Router"
_HEALTH_CHECK = "envoy.extensions.filters.http.health_check.v3.HealthCheck"

KEPT_STATS_PREFIXES = ("cluster_manager", "listener_manager", "server", "cluster.xds-grpc", "wasmcustom")
"""Statistics that are kept; a thousand clusters' worth of others costs 50 MB in every Envoy."""
KEPT_STATS_SUFFIXES = (
    "update_rejected",
    "update_success",
    "downstream_cx_active",
    "rbac.allowed",
    "rbac.denied",
    "shadow_allowed",
    "shadow_denied",
    # Of every connection manager: requests by class of the answer, and their time.
    *(f".downstream_rq_{number}xx" for number in range(1, 6)),
    ".downstream_rq_time",
    # Of every cluster of the mesh, whose statistics' names have a semicolon.  Most of them are not there
    # before their first use.
    *(f";.upstream_rq_{number}xx" for number in range(1, 6)),
    ";.upstream_rq_time",
    ";.upstream_rq_retry",
    ";.upstream_rq_timeout",
    ";.upstream_rq_rx_reset",
    ";.upstream_rq_tx_reset",
    ";.upstream_rq_pending_overflow",
    ";.upstream_cx_total",
    ";.upstream_cx_connect_fail",
    ";.upstream_cx_rx_bytes_total",
    ";.upstream_cx_tx_bytes_total",
    ";.membership_healthy",
    ";.outlier_detection.ejections_active",
    # Mutual TLS on both sides, and what the door of a workload that insists on it turned away.
    ".ssl.handshake",
    ".ssl.connection_error",
    ".ssl.fail_verify_error",
    ".ssl.fail_verify_no_cert",
    ".ssl.fail_verify_san",
    ".no_filter_chain_match",
)
"""What the dashboards in deploy/grafana show."""
_STATS_TAGS = {
    # Names of outbound clusters hold dots, which the default expression takes for the end.
    "cluster_name": r"^cluster\.((.+?);\.)",
    # So do the addresses in the names of connection managers: "inbound_0.0.0.0_9080".
    "http_conn_manager": r"^(?:listener\..+?\.)?http\.(((?:in|out)bound_.+?_\d+)\.)",
}


@dataclass(frozen=True, slots=True)
class Node:
    """Who the proxy is; `metadata` is what Istio's proxies send (NAMESPACE, LABELS, …)."""

    ip: str
    name: str
    namespace: str
    domain: str = "cluster.local"
    kind: Literal["sidecar", "router"] = "sidecar"
    labels: Mapping[str, str] = field(default_factory=dict)
    service_account: str = "default"
    workload: str = ""
    locality: str = ""
    """"region/zone/subzone", shorter forms allowed."""
    metadata: Mapping[str, object] = field(default_factory=dict)
    """Merged over the generated keys."""

    @property
    def id(self) -> str:
        """Istio's node id: "sidecar~10.0.0.7~reviews-v1.default~default.svc.cluster.local"."""
        return f"{self.kind}~{self.ip}~{self.name}.{self.namespace}~{self.namespace}.svc.{self.domain}"

    def as_json(self) -> Json:
        """The `node` of a bootstrap, or of a discovery request."""
        app = self.labels.get("app") or self.workload or self.name
        metadata: Json = {
            "NAME": self.name,
            "NAMESPACE": self.namespace,
            "INSTANCE_IPS": self.ip,
            "LABELS": dict(sorted(self.labels.items())),
            "SERVICE_ACCOUNT": self.service_account,
            "WORKLOAD_NAME": self.workload or self.name,
            "CLUSTER_ID": "Kubernetes",
            "MESH_ID": self.domain,
            "INTERCEPTION_MODE": "REDIRECT",
        }
        metadata.update(self.metadata)
        node: Json = {"id": self.id, "cluster": f"{app}.{self.namespace}", "metadata": metadata}
        if self.locality:
            parts = zip(("region", "zone", "sub_zone"), self.locality.split("/"), strict=False)
            node["locality"] = dict(parts)
        return node


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """Where discovery is served and how to speak to it.

    `address` is "unix:/path", "host:port" or "ip:port".  `trust` is how the two know each other; None
    is plaintext from a proxy that nobody knows.
    """

    address: str
    protocol: Literal["GRPC", "DELTA_GRPC"] = "DELTA_GRPC"
    trust: Trust | None = None


@dataclass(frozen=True, slots=True)
class Ports:
    """Where Envoy itself listens; the admin interface stays on the loopback."""

    admin: int = names.ADMIN_PORT
    health: int = names.HEALTH_PORT
    prometheus: int = names.PROMETHEUS_PORT


def bootstrap(
    node: Node,
    control_plane: ControlPlane,
    *,
    ports: Ports = Ports(),
    stats_prefixes: tuple[str, ...] = (),
) -> Json:
    """A proxy's bootstrap; `stats_prefixes` keeps statistics beyond the small default set."""
    return {
        "node": node.as_json(),
        "admin": {"address": _socket("127.0.0.1", ports.admin)},
        "stats_config": _stats(stats_prefixes),
        # A workload uses few of the mesh's clusters: the statistics of the others would all be nought.
        "deferred_stat_options": {"enable_deferred_creation_stats": True},
        "layered_runtime": {
            "layers": [
                # Envoy's default of 100 refuses regular expressions that people do write.
                {"name": "static", "static_layer": {"re2.max_program_size.error_level": 32768}},
                {"name": "admin", "admin_layer": {}},
            ]
        },
        "dynamic_resources": {
            "ads_config": {
                "api_type": control_plane.protocol,
                "transport_api_version": "V3",
                "set_node_on_first_message_only": True,
                "grpc_services": [{"envoy_grpc": {"cluster_name": names.XDS_CLUSTER}}],
            },
            "cds_config": _ads(),
            "lds_config": _ads(),
        },
        "static_resources": {
            "clusters": [_xds_cluster(control_plane), _admin_cluster(ports.admin)],
            "listeners": [
                _listener("health", ports.health, [_health_filter()], []),
                _listener("prometheus", ports.prometheus, [], [_stats_route()]),
            ],
        },
    }


def _ads() -> Json:
    # 0s waits for ever: an Envoy without configuration must not open for business.
    return {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}


def _socket(address: str, port: int) -> Json:
    return {"socket_address": {"address": address, "port_value": port}}


def _stats(prefixes: tuple[str, ...]) -> Json:
    patterns = [{"prefix": prefix} for prefix in (*KEPT_STATS_PREFIXES, *prefixes)]
    patterns += [{"suffix": suffix} for suffix in KEPT_STATS_SUFFIXES]
    return {
        "stats_tags": [{"tag_name": name, "regex": regex} for name, regex in _STATS_TAGS.items()],
        "stats_matcher": {"inclusion_list": {"patterns": patterns}},
    }


def _xds_cluster(control_plane: ControlPlane) -> Json:
    endpoint, discovery_type = _endpoint(control_plane.address)
    options: Json = {
        "@type": _TYPE + _HTTP_OPTIONS,
        # A stream that follows another gets a connection of its own: it may find another replica, and it
        # is judged by the certificate and the roots of now.
        "common_http_protocol_options": {"max_requests_per_connection": 1},
        "explicit_http_config": {
            # Without pings a control plane that vanished silently is never noticed.
            # Envoy adds up to 15 % to the interval by default: 5 % keeps noticing well below 45 s.
            "http2_protocol_options": {
                "connection_keepalive": {
                    "interval": "30s",
                    "timeout": "10s",
                    "interval_jitter": {"value": 5},
                }
            }
        },
    }
    cluster = _cluster(names.XDS_CLUSTER, discovery_type, endpoint)
    cluster["typed_extension_protocol_options"] = {_HTTP_OPTIONS: options}
    if control_plane.trust is not None:
        filters, tls = http_filters(control_plane.trust), transport_socket(control_plane.trust)
        if filters:
            options["http_filters"] = filters
        if tls is not None:
            cluster["transport_socket"] = tls
    return cluster


def _endpoint(address: str) -> tuple[Json, str]:
    """The address of an endpoint and the discovery type that suits it."""
    if address.startswith("unix:"):
        # As gRPC has it, unix:///path is unix:/path.
        return {"pipe": {"path": address.removeprefix("unix:").removeprefix("//")}}, "STATIC"
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit():
        raise ValueError(f"the control plane's address is unix:/path or host:port, not {address!r}")
    host = host.removeprefix("[").removesuffix("]")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return _socket(host, int(port)), "STRICT_DNS"
    return _socket(host, int(port)), "STATIC"


def _admin_cluster(port: int) -> Json:
    return _cluster(names.PROMETHEUS_CLUSTER, "STATIC", _socket("127.0.0.1", port))


def _cluster(name: str, discovery_type: str, address: Json) -> Json:
    return {
        "name": name,
        "type": discovery_type,
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }


def _listener(name: str, port: int, http_filters: list[Json], routes: list[Json]) -> Json:
    """A listener of the sidecar itself: a few HTTP filters, a few routes and 404 for the rest."""
    router: Json = {"name": "envoy.filters.http.router", "typed_config": {"@type": _TYPE + _ROUTER}}
    hcm: Json = {
        "@type": _TYPE + _HCM,
        "stat_prefix": name,
        "route_config": {
            "name": name,
            "virtual_hosts": [{"name": name, "domains": ["*"], "routes": routes}],
        },
        "http_filters": [*http_filters, router],
    }
    return {
        "name": name,
        "address": _socket("0.0.0.0", port),
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": hcm}]}
        ],
    }


def _health_filter() -> Json:
    return {
        "name": "envoy.filters.http.health_check",
        "typed_config": {
            "@type": _TYPE + _HEALTH_CHECK,
            "pass_through_mode": False,
            "headers": [{"name": ":path", "string_match": {"exact": "/healthz/ready"}}],
        },
    }


def _stats_route() -> Json:
    return {
        "match": {"path": "/stats/prometheus"},
        "route": {"cluster": names.PROMETHEUS_CLUSTER, "timeout": "0s"},
    }
