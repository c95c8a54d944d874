"""The hosts of a cluster: which get traffic, how much of it, and how each is spoken to.

Traffic goes to the first priority; as far as less than 1/1.4 of its hosts are healthy, it spills over to the
next.  Where localities have weights those are honoured, else all hosts of a priority are one pool
(https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/priority).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from controlplane.sim.call import Tls
from controlplane.sim.outcome import Host
from controlplane.sim.walk import Walk, unpacked

_STATIC, _STRICT_DNS, _LOGICAL_DNS, _EDS, _ORIGINAL_DST = range(5)
_ILL = frozenset({2, 3, 4})  # UNHEALTHY, DRAINING, TIMEOUT
_OVERPROVISIONING = 1.4
_PANIC = 50.0
_MATCH = "envoy.transport_socket_match"


def hosts_of(walk: Walk, cluster: Any, dialled: str) -> tuple[Host, ...]:
    """The hosts that a new request or connection may go to; `dialled` is where the client meant to go."""
    if cluster.WhichOneof("cluster_discovery_type") == "cluster_type":
        return _dynamic(walk, cluster, dialled)
    if cluster.type == _ORIGINAL_DST:
        return (Host(_original(cluster, dialled), 1.0, tls=_spoken(walk, cluster, None)),)
    assignment = _assignment(walk, cluster)
    return () if assignment is None else tuple(_spread(walk, cluster, assignment))


def _dynamic(walk: Walk, cluster: Any, dialled: str) -> tuple[Host, ...]:
    name = cluster.cluster_type.name
    if name != "envoy.clusters.dynamic_forward_proxy":
        walk.doubt("cluster", cluster.name, f"finds its hosts by {name}")
        return ()
    return (Host(walk.target or dialled, 1.0, tls=_spoken(walk, cluster, None)),)


def _original(cluster: Any, dialled: str) -> str:
    override = cluster.original_dst_lb_config.upstream_port_override
    if cluster.original_dst_lb_config.HasField("upstream_port_override") and override.value:
        return f"{dialled.rpartition(':')[0]}:{override.value}"
    return dialled


def _assignment(walk: Walk, cluster: Any) -> Any | None:
    if cluster.type != _EDS:
        return cluster.load_assignment
    name = cluster.eds_cluster_config.service_name or cluster.name
    return walk.served.endpoints.get(name)


def _spread(walk: Walk, cluster: Any, assignment: Any) -> Iterator[Host]:
    priorities: dict[int, list[Any]] = {}
    for group in assignment.endpoints:
        priorities.setdefault(group.priority, []).append(group)
    loads = _loads(cluster, assignment, [priorities[number] for number in sorted(priorities)])
    for number, (load, panic) in zip(sorted(priorities), loads, strict=True):
        for group, share in _localities(cluster, priorities[number], panic=panic):
            chosen = [one for one in group.lb_endpoints if panic or _healthy(one)]
            whole = sum(_weight(one) for one in chosen)
            for one in chosen if load and share else ():
                place = "/".join((group.locality.region, group.locality.zone, group.locality.sub_zone)).strip(
                    "/"
                )
                part = load * share * _weight(one) / whole
                yield Host(_address(one), part, number, place, _spoken(walk, cluster, one))


def _healthy(endpoint: Any) -> bool:
    return endpoint.health_status not in _ILL


def _weight(message: Any) -> int:
    return message.load_balancing_weight.value or 1


def _loads(cluster: Any, assignment: Any, priorities: list[list[Any]]) -> list[tuple[float, bool]]:
    """For each priority its share of all traffic, and whether it sends to sick hosts, too."""
    said = assignment.policy.overprovisioning_factor
    factor = said.value / 100 if assignment.policy.HasField("overprovisioning_factor") else _OVERPROVISIONING
    fit = [_fitness(groups) for groups in priorities]
    available = [min(1.0, part * factor) for part in fit]
    total = min(1.0, sum(available))
    config = cluster.common_lb_config
    panic = config.healthy_panic_threshold.value if config.HasField("healthy_panic_threshold") else _PANIC
    panics = [total < 1.0 and part * 100 < panic for part in fit]
    if any(panics) and all(one or not part for one, part in zip(panics, fit, strict=True)):
        sizes = [sum(len(group.lb_endpoints) for group in groups) for groups in priorities]
        return [(size / (sum(sizes) or 1), True) for size in sizes]
    loads: list[tuple[float, bool]] = []
    left = 1.0
    for part, one in zip(available, panics, strict=True):
        load = min(left, part / total) if total else 0.0
        left -= load
        loads.append((load, one))
    return loads


def _fitness(groups: Iterable[Any]) -> float:
    """The healthy part of the hosts of a priority."""
    states = [_healthy(one) for group in groups for one in group.lb_endpoints]
    return sum(states) / len(states) if states else 0.0


def _localities(cluster: Any, groups: list[Any], *, panic: bool) -> Iterator[tuple[Any, float]]:
    """The localities of a priority that have hosts, with their shares of it."""
    weighted = cluster.common_lb_config.HasField("locality_weighted_lb_config")
    sizes: list[tuple[Any, float]] = []
    for group in groups:
        chosen = [one for one in group.lb_endpoints if panic or _healthy(one)]
        if weighted:
            fit = min(1.0, _OVERPROVISIONING * len(chosen) / (len(group.lb_endpoints) or 1))
            sizes.append((group, group.load_balancing_weight.value * fit))
        else:
            sizes.append((group, float(sum(_weight(one) for one in chosen))))
    whole = sum(size for _, size in sizes)
    return ((group, size / whole) for group, size in sizes if size)


def _address(endpoint: Any) -> str:
    address = endpoint.endpoint.address
    if address.HasField("pipe"):
        return f"unix:{address.pipe.path}"
    if address.HasField("envoy_internal_address"):
        return f"internal:{address.envoy_internal_address.server_listener_name}"
    return f"{address.socket_address.address}:{address.socket_address.port_value}"


def _spoken(walk: Walk, cluster: Any, endpoint: Any | None) -> Tls | None:
    """The TLS to a host: the first of the cluster's transport sockets whose condition it meets."""
    said = {}
    if endpoint is not None and _MATCH in endpoint.metadata.filter_metadata:
        said = {
            name: value.string_value
            for name, value in endpoint.metadata.filter_metadata[_MATCH].fields.items()
        }
    socket = cluster.transport_socket
    for one in cluster.transport_socket_matches:
        if all(said.get(name) == value.string_value for name, value in one.match.fields.items()):
            socket = one.transport_socket
            break
    return _tls(walk, socket)


def _tls(walk: Walk, socket: Any) -> Tls | None:
    context = unpacked(socket.typed_config) if socket.typed_config.type_url else None
    if context is not None and hasattr(context, "transport_socket"):
        # One that says first who calls, around the real one.
        context = unpacked(context.transport_socket.typed_config)
    if context is None or not hasattr(context, "common_tls_context"):
        return None
    common = context.common_tls_context
    return Tls(context.sni, walk.alpn or tuple(common.alpn_protocols), _own_secret(common))


def _own_secret(common: Any) -> str:
    """What stands for the proxy's own certificate: the name of its secret, "" where it shows none."""
    names = [one.name for one in common.tls_certificate_sds_secret_configs]
    files = [one.certificate_chain.filename for one in common.tls_certificates]
    return next(filter(None, (*names, *files)), "")
