"""The DestinationRule: how clients talk to a host once routing has chosen it."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.graph import Table
from controlplane.model.hosts import fqdn
from controlplane.model.keys import Key, Labels
from controlplane.model.kinds.connection_pool import ConnectionPoolSettings
from controlplane.model.kinds.kind import by_namespace, namespace_of
from controlplane.model.kinds.load_balancing import LoadBalancerSettings, OutlierDetection
from controlplane.model.kinds.tls import ClientTLSSettings
from controlplane.model.meta import Meta


@dataclass(frozen=True, slots=True)
class PortTrafficPolicy:
    """The policy of one service port; it replaces the destination's as a whole."""

    port: int
    load_balancer: LoadBalancerSettings | None = None
    connection_pool: ConnectionPoolSettings | None = None
    outlier_detection: OutlierDetection | None = None
    tls: ClientTLSSettings | None = None


@dataclass(frozen=True, slots=True)
class TunnelSettings:
    """Tunnel TCP over HTTP; `protocol` is CONNECT (the default) or POST."""

    target_host: str
    target_port: int
    protocol: str = "CONNECT"


@dataclass(frozen=True, slots=True)
class RetryBudget:
    """Concurrent retries as a share of active requests; `percent` 0..100, `budget_interval` nanoseconds."""

    percent: float | None = None
    min_retry_concurrency: int | None = None
    budget_interval: int | None = None


@dataclass(frozen=True, slots=True)
class TrafficPolicy:
    """`proxy_protocol` is V1, V2 or None."""

    load_balancer: LoadBalancerSettings | None = None
    connection_pool: ConnectionPoolSettings | None = None
    outlier_detection: OutlierDetection | None = None
    tls: ClientTLSSettings | None = None
    port_level_settings: tuple[PortTrafficPolicy, ...] = ()
    tunnel: TunnelSettings | None = None
    proxy_protocol: str | None = None
    retry_budget: RetryBudget | None = None


@dataclass(frozen=True, slots=True)
class Subset:
    """A named part of the endpoints, by labels; its policy overrides the destination's block by block."""

    name: str
    labels: Labels = ()
    traffic_policy: TrafficPolicy | None = None


@dataclass(frozen=True, slots=True)
class DestinationRule:
    """`host` as written; no `export_to` = the mesh's default; `workload_selector` None = all clients."""

    meta: Meta
    host: str
    traffic_policy: TrafficPolicy | None = None
    subsets: tuple[Subset, ...] = ()
    export_to: tuple[str, ...] = ()
    workload_selector: Labels | None = None


def _host(key: Key, value: DestinationRule) -> tuple[str, ...]:
    return (fqdn(value.host, key.namespace),)


destination_rules = Table(
    "destination_rules",
    indexes={"namespace": by_namespace, "host": _host},
    # A rule without a selector is found by its host; asking who selects a client must not list them all.
    selector=lambda value: value.workload_selector or None,
    namespace=namespace_of,
)
