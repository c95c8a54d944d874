"""One outbound listener, from the claims that meet on it.

    HTTP among the claims    a chain for plaintext HTTP, with routes by port or of the one service
    connections              a chain per server name or subnet that somebody claims
    the rest                 the claim that asks for no name, else what the scope does with strangers

Envoy picks a chain level by level and never goes back, so whatever may take the rest has to be the
default chain: a chain without conditions would be passed over by plaintext that is not HTTP
(https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/listener/v3/listener_components.proto).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from controlplane.envoy import names, pb
from controlplane.envoy.accesslog import AccessLog, access_log, refusal_logs
from controlplane.envoy.alpn import SNIFFED_TCP
from controlplane.envoy.dynamic_dns import server_name_filter
from controlplane.envoy.filters.chain import Chain
from controlplane.envoy.listeners_binds import Bind, Claim, Style
from controlplane.envoy.listeners_parts import (
    NOTHING_SAID,
    Tcp,
    add_addresses,
    chain,
    http_inspector,
    http_manager,
    http_match,
    limit_buffer,
    mongo_proxy,
    offer_alpn,
    place,
    port_match,
    redis_proxy,
    socket,
    speaking,
    tcp_proxy,
    tcp_settings,
    tls_inspector,
    wait_for_inspection,
)
from controlplane.envoy.resource import Resource, resource
from controlplane.envoy.routes_actions import cluster_of
from controlplane.envoy.types import LISTENER
from controlplane.graph import Q, query
from controlplane.mesh.hosts import is_partial
from controlplane.mesh.listening import USUAL, WILDCARD, Stance
from controlplane.mesh.protocols import AUTO
from controlplane.mesh.routing_fallback import Fallback
from controlplane.mesh.routing_ir import Destination, Target, TcpRoute
from controlplane.mesh.routing_l4 import l4_routes
from controlplane.mesh.rules import effective_policy, merged_rule, policy_of
from controlplane.mesh.settings import http_manners, listener_ports, mesh_config, path_normalization
from controlplane.model.kinds.destination_rule import TrafficPolicy
from controlplane.model.kinds.tls import ORIGINATED

_USUAL = Style()
_CONNECTIONS = frozenset({"TLS", "TCP", "MONGO", "REDIS", AUTO})
PASSTHROUGH_CHAIN = "PassthroughFilterChain"


@dataclass(frozen=True, slots=True)
class _Way:
    """Where some connections go, under which name in the statistics.

    `sniffed`: they turned out to be no HTTP, which their cluster takes them for.  `protocol` is MONGO or
    REDIS where the proxy reads it.  `resolved`: the port at the host that the connection names, which is
    resolved; 0 where it goes to an endpoint.
    """

    route: TcpRoute
    stat_prefix: str
    tcp: Tcp = NOTHING_SAID
    sniffed: bool = False
    protocol: str = "TCP"
    resolved: int = 0

    def pairs(self, name: str) -> set[tuple[str, str]]:
        """The conditions under which it takes connections that ask for a name; "" is any or none."""
        return {(name, subnet) for subnet in self.route.subnets or ("",)}


@query
def detection_timeout(q: Q) -> int:
    """How long inspectors may wait, in nanoseconds; 0 = for ever."""
    return q(mesh_config).protocol_detection_timeout


def route_name(bind: Bind, claims: tuple[Claim, ...]) -> str | None:
    """The route configuration of a listener: by port where services meet; None where there is no HTTP."""
    first = next((claim for claim in claims if claim.http), None)
    if first is None:
        return None
    return bind.routes if bind.shared else f"{first.host}:{bind.port}"


def fallback_cluster(rest: Fallback) -> str:
    """Where connections go that nobody claims."""
    if not rest.allowed:
        return names.BLACK_HOLE
    return names.PASSTHROUGH if rest.proxy is None else cluster_of(rest.proxy)


@query
def outbound_listener(
    q: Q, bind: Bind, claims: tuple[Claim, ...], rest: Fallback, style: Style = _USUAL
) -> Resource:
    """The listener of these claims (at least one, sorted); shared by all scopes where they meet."""
    log = q(access_log)
    routes = route_name(bind, claims)
    manners = q(http_manners)
    message = limit_buffer(_listener(bind, style.stance, log), manners)
    ways = [_lasting(way, style.stance) for way in _ways(q, bind, claims)]
    # Where nothing but HTTP is expected, and nothing else would be taken, there is nothing to find out.
    sniffed = routes is not None and (bool(ways) or not bind.chosen)
    if routes is not None:
        grpc_web = any(claim.protocol == "GRPC-Web" for claim in claims)
        on_demand = style.on_demand and not bind.proxy
        where = Chain("outbound", grpc_web, on_demand, paths=q(path_normalization), proxy=bind.proxy)
        where = where._replace(manners=manners)
        if rest.dynamic or any(claim.dynamic for claim in claims):
            where = where._replace(dynamic=True)
        manager = http_manager(f"outbound_{message.name}", routes, speaking(where, style.stance), log)
        message.filter_chains.append(chain(routes, [manager], http_match(style.stance) if sniffed else None))
    final = next((way for way in ways if not way.route.sni and not way.route.subnets), None)
    message.filter_chains.extend(_chain(way, log) for way in ways if way is not final)
    if final is not None:
        message.default_filter_chain.CopyFrom(chain(final.stat_prefix, _filters(final, log)))
    elif bind.address == WILDCARD and not bind.bound:
        stranger = fallback_cluster(rest)
        proxy = tcp_proxy(stranger, stranger, log)
        message.default_filter_chain.CopyFrom(chain(PASSTHROUGH_CHAIN, [proxy]))
    if any(way.route.sni for way in ways):
        message.listener_filters.append(tls_inspector())
    if sniffed:
        message.listener_filters.append(http_inspector())
    if message.listener_filters:
        wait_for_inspection(message, q(detection_timeout))
    return resource(LISTENER, message.name, message, () if routes is None else (routes,))


def _listener(bind: Bind, stance: Stance, log: AccessLog | None) -> Any:
    here = bind.at(stance)
    message = pb.listener.Listener(
        name=here.name,
        address=place(here),
        traffic_direction=pb.base.TrafficDirection.OUTBOUND,
        access_log=refusal_logs(log),
    )
    if bind.address == WILDCARD:
        add_addresses(message, stance, bind.port)
    if not bind.bound:
        # Connections come from virtualOutbound, which knows where they were meant to go.
        message.bind_to_port.value = False
    return message


def _ways(q: Q, bind: Bind, claims: tuple[Claim, ...]) -> list[_Way]:
    """All ways; the oldest claim to a condition has it, for Envoy refuses chains that overlap."""
    ways: list[_Way] = []
    taken: set[tuple[str, str]] = set()
    for claim in claims:
        for way in _claimed(q, bind, claim) if claim.protocol in _CONNECTIONS else ():
            free = tuple(name for name in way.route.sni or ("",) if not way.pairs(name) & taken)
            for name in free:
                taken |= way.pairs(name)
            if free:
                sni = tuple(name for name in free if name)
                ways.append(replace(way, route=replace(way.route, sni=sni)))
    return ways


def _lasting(way: _Way, stance: Stance) -> _Way:
    """How long connections may be idle, where no rule says so and the node does."""
    if way.tcp.idle_timeout is not None or stance.idle_timeout is None:
        return way
    return replace(way, tcp=way.tcp._replace(idle_timeout=stance.idle_timeout))


def _claimed(q: Q, bind: Bind, claim: Claim) -> Iterator[_Way]:
    """The ways of one service: its VirtualService's, and its own cluster for what those leave over."""
    port = claim.number(bind)
    rules = l4_routes_of(q, claim, port)
    for rule in rules:
        yield _way(q, claim, bind, rule)
    if claim.protocol == "TLS":
        if not rules:
            yield from _by_name(q, bind, claim)
    elif not rules or rules[-1].subnets:
        own = TcpRoute(_own(claim, port), subnets=claim.subnets)
        yield _way(q, claim, bind, own)


def l4_routes_of(q: Q, claim: Claim, port: int) -> tuple[TcpRoute, ...]:
    """The rules of the VirtualService in force, within the subnets of the claim where they name none."""
    if not claim.rules:
        return ()
    found = q(l4_routes, claim.rules, claim.layer, port, claim.client)
    return tuple(rule if rule.subnets else replace(rule, subnets=claim.subnets) for rule in found)


def _by_name(q: Q, bind: Bind, claim: Claim) -> Iterator[_Way]:
    """A TLS service without rules: by server name where its address does not tell it from others."""
    shared = bind.shared
    if shared and is_partial(claim.host):
        # Envoy knows wildcards of whole labels only.
        return
    sni = (claim.host,) if shared and claim.host != "*" else ()
    yield _way(q, claim, bind, TcpRoute(_own(claim, claim.number(bind)), sni, claim.subnets))


def _own(claim: Claim, port: int) -> tuple[Destination, ...]:
    return (Destination(Target(claim.host, port)),)


def _way(q: Q, claim: Claim, bind: Bind, route: TcpRoute) -> _Way:
    own = [
        _policy(q, claim, claim.number(bind), d.target)
        for d in route.destinations
        if d.target.host == claim.host
    ]
    # Servers outside the mesh, to whom the proxy speaks TLS of its own, know nothing of Istio's names.
    mesh = not any(policy.tls is not None and policy.tls.mode in ORIGINATED for policy in own)
    sniffed = claim.protocol == AUTO and mesh
    if len(route.destinations) > 1 and route.source is not None:
        return _Way(route, f"{route.source.name}.{route.source.namespace}", sniffed=sniffed)
    tcp = tcp_settings(own[0]) if own else _through(q, claim, route.destinations[0].target)
    resolved = claim.number(bind) if claim.dynamic and claim.protocol == "TLS" and own else 0
    return _Way(route, cluster_of(route.destinations[0].target), tcp, sniffed, claim.protocol, resolved)


def _through(q: Q, claim: Claim, target: Target) -> Tcp:
    """What another host's DestinationRules say about connections to it: whether they go through a tunnel."""
    rules = dict(claim.tunnels).get(target.host)
    if rules is None:
        return NOTHING_SAID
    return Tcp(tunnel=effective_policy(q(merged_rule, rules), target.port, target.subset).tunnel)


def _policy(q: Q, claim: Claim, port: int, target: Target) -> TrafficPolicy:
    """What the service's own DestinationRules say about connections to it."""
    rule = q(merged_rule, claim.policy) if claim.policy else None
    return policy_of(q, rule, port, target.subset)


def _chain(way: _Way, log: AccessLog | None) -> Any:
    match = pb.listener_components.FilterChainMatch(server_names=way.route.sni)
    for subnet in way.route.subnets:
        address, _, length = subnet.partition("/")
        match.prefix_ranges.add(address_prefix=address).prefix_len.value = int(length)
    return chain(way.stat_prefix, _filters(way, log), match)


def _filters(way: _Way, log: AccessLog | None) -> list[Any]:
    if way.protocol == "REDIS":
        return [redis_proxy(way.stat_prefix)]
    proxy = tcp_proxy(way.stat_prefix, way.route.destinations, log, way.tcp)
    if way.resolved:
        return [server_name_filter(way.resolved), proxy]
    if way.protocol == "MONGO":
        return [mongo_proxy(way.stat_prefix), proxy]
    return [offer_alpn(SNIFFED_TCP), proxy] if way.sniffed else [proxy]


@query
def virtual_outbound(q: Q, rest: Fallback, stance: Stance = USUAL) -> Resource:
    """The one listener that redirected connections reach: it hands them on by the address they dialled."""
    log = q(access_log)
    port, _ = q(listener_ports)
    message = pb.listener.Listener(
        name=names.VIRTUAL_OUTBOUND,
        address=socket(stance.wildcards[0], port),
        traffic_direction=pb.base.TrafficDirection.OUTBOUND,
        access_log=refusal_logs(log),
    )
    limit_buffer(message, q(http_manners))
    add_addresses(message, stance, port)
    message.use_original_dst.value = True
    if stance.transparent:
        message.transparent.value = True
    # Whoever dials the port itself would be sent back to it for ever.
    loop = tcp_proxy(names.BLACK_HOLE, names.BLACK_HOLE, log)
    message.filter_chains.append(chain(f"{message.name}-blackhole", [loop], port_match(port)))
    stranger = fallback_cluster(rest)
    message.filter_chains.append(chain(f"{message.name}-catchall-tcp", [tcp_proxy(stranger, stranger, log)]))
    return resource(LISTENER, message.name, message)
