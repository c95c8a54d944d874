"""The rows of Istio's feature switches, under Istio's names; what they mean is in `mesh.features`."""

from __future__ import annotations

from controlplane.base import parse
from controlplane.settings.option import BOOLEAN, Option

FEATURES: tuple[Option, ...] = (
    Option(
        "tls_on_sidecar_ingress",
        parse.boolean,
        "false",
        BOOLEAN,
        "whether the `tls` of a Sidecar's ingress listener counts",
        "ENABLE_TLS_ON_SIDECAR_INGRESS",
    ),
    Option(
        "ip_autoallocate",
        parse.boolean,
        "true",
        BOOLEAN,
        "whether ServiceEntries without addresses are given one of 240.240.0.0/16",
        "PILOT_ENABLE_IP_AUTOALLOCATE",
    ),
    Option(
        "scope_gateway_to_namespace",
        parse.boolean,
        "false",
        BOOLEAN,
        "whether a Gateway counts for proxies of its own namespace only",
        "PILOT_SCOPE_GATEWAY_TO_NAMESPACE",
    ),
    Option(
        "filter_gateway_cluster_config",
        parse.boolean,
        "false",
        BOOLEAN,
        "whether gateways are given the clusters that their routes lead to, and no others",
        "PILOT_FILTER_GATEWAY_CLUSTER_CONFIG",
    ),
    Option(
        "http10",
        parse.boolean,
        "false",
        BOOLEAN,
        "whether proxies understand HTTP/1.0",
        "PILOT_HTTP10",
    ),
    Option(
        "dual_stack",
        parse.boolean,
        "false",
        BOOLEAN,
        "whether proxies with IPv4 and IPv6 addresses listen with both",
        "ISTIO_DUAL_STACK",
    ),
    Option(
        "mongo_filter",
        parse.boolean,
        "true",
        BOOLEAN,
        "whether proxies read connections to ports of protocol Mongo, for statistics",
        "PILOT_ENABLE_MONGO_FILTER",
    ),
    Option(
        "redis_filter",
        parse.boolean,
        "false",
        BOOLEAN,
        "whether proxies speak Redis to ports of protocol Redis, request by request",
        "PILOT_ENABLE_REDIS_FILTER",
    ),
    Option(
        "absolute_names",
        parse.boolean,
        "true",
        BOOLEAN,
        "whether virtual hosts answer to their name with a final dot, too",
        "PILOT_ENABLE_ABSOLUTE_FQDN_VHOST_DOMAIN",
    ),
    Option(
        "inbound_retries",
        parse.boolean,
        "true",
        BOOLEAN,
        "whether sidecars send a request again that was reset before it reached the application",
        "ENABLE_INBOUND_RETRY_POLICY",
    ),
)
