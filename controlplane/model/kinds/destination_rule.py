"""The DestinationRule: how clients talk to a host once routing has chosen it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from controlplane.graph import Table
from controlplane.model.checks import (
    check_export_to,
    check_host,
    check_selector,
    check_short_name,
    repeated,
)
from controlplane.model.describe import shorten
from controlplane.model.hosts import fqdn, is_address
from controlplane.model.keys import Key, Labels
from controlplane.model.kinds.connection_pool import ConnectionPoolSettings, read_connection_pool
from controlplane.model.kinds.http_route import read_port_selector
from controlplane.model.kinds.kind import Kind, by_namespace, namespace_of
from controlplane.model.kinds.load_balancing import (
    LoadBalancerSettings,
    OutlierDetection,
    read_load_balancer,
    read_outlier_detection,
)
from controlplane.model.kinds.tls import ORIGINATED, ClientTLSSettings, read_client_tls
from controlplane.model.meta import Meta
from controlplane.model.reader import UINT32, Reader


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


def blocks(rule: DestinationRule) -> Iterator[tuple[str, TrafficPolicy | PortTrafficPolicy]]:
    """(path below spec, policy) of all traffic policies of a rule, port levels included."""
    policies = [("trafficPolicy", rule.traffic_policy)]
    policies += [(f"subsets[{n}].trafficPolicy", s.traffic_policy) for n, s in enumerate(rule.subsets)]
    for path, policy in policies:
        if policy is not None:
            yield path, policy
            for n, level in enumerate(policy.port_level_settings):
                yield f"{path}.portLevelSettings[{n}]", level


def compared_labels(rule: DestinationRule) -> tuple[str, ...]:
    """All entries of failoverPriority in a rule."""
    found: list[str] = []
    for _, policy in blocks(rule):
        if policy.load_balancer is not None:
            both = (policy.load_balancer.locality_lb_setting, policy.load_balancer.zone_aware_lb_setting)
            found += [label for said in both if said is not None for label in said.failover_priority]
    return tuple(found)


def credentials(rule: DestinationRule) -> Iterator[tuple[str, ClientTLSSettings]]:
    """(path below spec, settings) wherever a rule speaks TLS with a Secret's certificates."""
    for path, policy in blocks(rule):
        tls = policy.tls
        if tls is not None and tls.mode in ORIGINATED and tls.credential_name:
            yield f"{path}.tls", tls


def _tunnel(key: Key, value: DestinationRule) -> tuple[bool, ...]:
    found = (policy for _, policy in blocks(value) if isinstance(policy, TrafficPolicy))
    return (True,) if any(policy.tunnel is not None for policy in found) else ()


def _credential(key: Key, value: DestinationRule) -> tuple[bool, ...]:
    return (True,) if any(True for _ in credentials(value)) else ()


def _compares(key: Key, value: DestinationRule) -> tuple[bool, ...]:
    return (True,) if compared_labels(value) else ()


destination_rules = Table(
    "destination_rules",
    indexes={
        "namespace": by_namespace,
        "host": _host,
        "compares": _compares,
        "credential": _credential,
        "tunnel": _tunnel,
    },
    # A rule without a selector is found by its host; asking who selects a client must not list them all.
    selector=lambda value: value.workload_selector or None,
    namespace=namespace_of,
)


def _read(r: Reader, meta: Meta) -> DestinationRule:
    value = DestinationRule(
        meta=meta,
        host=r.required("host", "name the service"),
        traffic_policy=r.message("trafficPolicy", _read_traffic_policy),
        subsets=_read_subsets(r),
        export_to=r.strings("exportTo"),
        workload_selector=r.message("workloadSelector", _read_selector) or None,
    )
    check_host(r, "host", value.host)
    check_export_to(r, "exportTo", value.export_to)
    if value.workload_selector and value.export_to not in ((), (".",), (meta.namespace,)):
        r.error("exportTo", 'does not go with workloadSelector, which means "."', 'say exportTo: ["."]')
    return value


def _read_selector(r: Reader) -> Labels:
    labels = r.labels("matchLabels")
    check_selector(r, "matchLabels", labels)
    if not labels:
        r.warn("matchLabels", "is empty, so that the rule holds for all clients", "name labels")
    return labels


def _read_subsets(r: Reader) -> tuple[Subset, ...]:
    subsets = r.messages("subsets", _read_subset)
    for index, name in repeated(subset.name for subset in subsets if subset.name):
        r.error(f"subsets[{index}].name", f"{shorten(name)} is given twice", "use another name")
    return subsets


def _read_subset(r: Reader) -> Subset:
    subset = Subset(
        name=r.required("name", "name the subset"),
        labels=r.labels("labels"),
        traffic_policy=r.message("trafficPolicy", _read_traffic_policy),
    )
    check_short_name(r, "name", subset.name, "subset")
    check_selector(r, "labels", subset.labels)
    return subset


_BLOCKS = (
    *("loadBalancer", "connectionPool", "outlierDetection", "tls", "portLevelSettings"),
    *("tunnel", "proxyProtocol", "retryBudget"),
)


def _read_traffic_policy(r: Reader) -> TrafficPolicy:
    if not any(map(r.has, _BLOCKS)):
        r.error("", "says nothing", "say one of " + ", ".join(_BLOCKS) + ", or remove it")
    if r.has("tunnel") and r.has("proxyProtocol"):
        r.error("proxyProtocol", "excludes tunnel", "keep one of them")
    return TrafficPolicy(
        load_balancer=r.message("loadBalancer", read_load_balancer),
        connection_pool=r.message("connectionPool", read_connection_pool),
        outlier_detection=r.message("outlierDetection", read_outlier_detection),
        tls=r.message("tls", read_client_tls),
        port_level_settings=_read_port_levels(r),
        tunnel=r.message("tunnel", _read_tunnel),
        proxy_protocol=r.message("proxyProtocol", lambda p: p.enum("version", ("V1", "V2"), "V1")),
        retry_budget=r.message("retryBudget", _read_retry_budget),
    )


def _read_port_levels(r: Reader) -> tuple[PortTrafficPolicy, ...]:
    levels: dict[int, PortTrafficPolicy] = {}
    for index, level in enumerate(r.messages("portLevelSettings", _read_port_level)):
        if level.port in levels:
            at = f"portLevelSettings[{index}].port"
            r.warn(at, f"{level.port} is given twice; this one is dropped", "merge the two entries")
        levels.setdefault(level.port, level)
    return tuple(levels.values())


def _read_port_level(r: Reader) -> PortTrafficPolicy:
    port = r.message("port", read_port_selector)
    r.demand("port", "say port: {number: …}")
    if not any(map(r.has, _BLOCKS[:4])):
        r.error("", "says nothing", "say one of " + ", ".join(_BLOCKS[:4]) + ", or remove it")
    return PortTrafficPolicy(
        port=port or 0,
        load_balancer=r.message("loadBalancer", read_load_balancer),
        connection_pool=r.message("connectionPool", read_connection_pool),
        outlier_detection=r.message("outlierDetection", read_outlier_detection),
        tls=r.message("tls", read_client_tls),
    )


def _read_tunnel(r: Reader) -> TunnelSettings:
    host = r.required("targetHost", "name the host to reach")
    if not is_address(host):
        check_host(r, "targetHost", host, wildcard=False)
    return TunnelSettings(
        host, r.required_port("targetPort"), r.enum("protocol", ("CONNECT", "POST"), "CONNECT")
    )


def _read_retry_budget(r: Reader) -> RetryBudget:
    return RetryBudget(
        percent=r.number("percent", 0, 100),
        min_retry_concurrency=r.integer("minRetryConcurrency", 0, UINT32),
        budget_interval=r.duration("budgetInterval"),
    )


DESTINATION_RULE = Kind(
    name="DestinationRule",
    group="networking.istio.io",
    versions=("v1", "v1beta1", "v1alpha3"),
    plural="destinationrules",
    namespaced=True,
    table=destination_rules,
    read=_read,
)
