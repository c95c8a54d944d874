"""RDS: the route configurations of a sidecar.

Outbound there is one per HTTP port ("9080"), and one for each service whose protocol is found out on
its own address ("reviews.default.svc.cluster.local:9080").  A port may have a thousand virtual hosts
and a mesh a hundred scopes, so a configuration is never built: virtual hosts are serialized once per
projection, shared, and joined as bytes.  An edit of one VirtualService serializes one virtual host.

Inbound there is one per port of the workload ("inbound|9080||") and one for all others, so that what
guards them can change without touching the listener, which would drain connections.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from controlplane.base import wire
from controlplane.envoy import names, pb
from controlplane.envoy.authorization_routes import route_guard
from controlplane.envoy.listeners_binds import Bind
from controlplane.envoy.listeners_claims import l4_scope, shared_binds, shared_claims
from controlplane.envoy.maps import Maps
from controlplane.envoy.resource import Resource
from controlplane.envoy.routes_actions import cluster_of
from controlplane.envoy.routes_hosts import virtual_host_message
from controlplane.envoy.types import ROUTE
from controlplane.graph import Keyed, Plan, Q, each, flat, keyed, query
from controlplane.mesh.features import inbound_retries
from controlplane.mesh.projections import Binding, Inbound, ProxyView, RouteScope, Security
from controlplane.mesh.protocols import AUTO, HTTP_LIKE
from controlplane.mesh.routing_fallback import Fallback, fallback
from controlplane.mesh.routing_hosts import (
    ANYWHERE,
    HostSpec,
    host_facts,
    host_spec,
    inbound_virtual_host,
    virtual_host,
)
from controlplane.mesh.routing_lookup import member_spec
from controlplane.mesh.routing_members import (
    SniffedPort,
    far_members,
    particular_members,
    sniffed,
    sniffed_ports,
)
from controlplane.mesh.routing_names import neighbours
from controlplane.mesh.routing_unregistered import Unregistered, routed_in
from controlplane.mesh.scope import particular_services
from controlplane.mesh.service import ServiceId
from controlplane.mesh.settings import RouteHeaders, route_headers

_VIRTUAL_HOSTS = 2
_MAX_BODY = 1 << 20


def route_tail() -> Any:
    """What every route configuration has in common: the fields after the virtual hosts."""
    tail = pb.route.RouteConfiguration(ignore_port_in_host_matching=True)
    # Clusters are not checked: they come on another stream position.
    tail.validate_clusters.value = False
    tail.max_direct_response_body_size_bytes.value = _MAX_BODY
    return tail


_TAIL_BYTES = pb.deterministic(route_tail())


def route_maps(view: ProxyView, shared: Keyed[[RouteScope]] | None = None) -> Maps:
    """The maps that hold a sidecar's route configurations between them: no name is in two of them.

    `shared` makes those of the ports of the wildcard address, in place of whole ones.
    """
    common = ((common_routes, ()),) if view.scope.sidecar is None else ()
    inbound = () if view.inbound is None else inbound_maps(view.inbound)
    ports = ((shared or shared_routes, (view.routes,)),)
    return (*common, *ports, (particular_routes, (view.routes,)), *inbound)


def inbound_maps(inbound: Inbound) -> Maps:
    """The maps of what comes in."""
    # Of all that guards a workload the routes hold what authorizes its requests.
    policies = Security(authorization=inbound.security.authorization)
    passthrough = (passthrough_routes, (inbound.namespace, policies))
    return (inbound_routes, (inbound.under(policies),)), passthrough


@keyed
def shared_routes(q: Q, scope: RouteScope) -> Plan:
    """Route configuration name -> Resource, for each port of the wildcard address that may carry HTTP."""
    listeners = l4_scope(q, scope)
    return flat(shared_binds(q, listeners), _shared_routes, scope, listeners)


@query
def _shared_routes(
    q: Q, scope: RouteScope, listeners: RouteScope, bind: Bind
) -> tuple[tuple[str, Resource], ...]:
    if bind.proxy or not any(claim.http for claim in shared_claims(q, listeners, bind)):
        return ()
    return ((str(bind.port), q(port_routes, scope, bind.port)),)


@query
def port_routes(q: Q, scope: RouteScope, port: int) -> Resource:
    """The route configuration of a port: everything that the scope sees there, and the rest."""
    frames: list[bytes] = []
    if scope.scope.sidecar is None:
        frames += (frame for homes, frame in q(far_frames, port) if scope.scope.namespace not in homes)
    frames += q.values(particular_frames, scope, port)
    frames.append(q(_fallback_frame, q(fallback, scope.scope)))
    return _join(str(port), frames)


class FarHost(NamedTuple):
    """A virtual host for clients outside its home namespaces, which know more names of it."""

    homes: tuple[str, ...]
    frame: bytes


@keyed
def far_hosts(q: Q, port: int) -> Plan:
    """ServiceId -> FarHost, for the services that look the same to all clients elsewhere."""
    return each(far_members(q, port), _far_host, port)


@query
def _far_host(q: Q, port: int, id: ServiceId) -> FarHost | None:
    facts = q(host_facts, id, port)
    spec = host_spec(q, ANYWHERE, port, id)
    return None if facts is None or spec is None else FarHost(facts.homes, q(virtual_host_frame, spec))


@query
def far_frames(q: Q, port: int) -> tuple[FarHost, ...]:
    """The far hosts of a port joined by home, so that a scope joins tens of parts and not thousands."""
    joined: dict[tuple[str, ...], list[bytes]] = {}
    for homes, frame in q.values(far_hosts, port):
        joined.setdefault(homes, []).append(frame)
    return tuple(FarHost(homes, b"".join(joined[homes])) for homes in sorted(joined))


@keyed
def particular_frames(q: Q, scope: RouteScope, port: int) -> Plan:
    """ServiceId or Unregistered -> virtual host, for what only the scope has, or has in another form."""
    return each(particular_members(q, scope.scope, port), _virtual_host_in_scope, scope, port)


@query
def _virtual_host_in_scope(
    q: Q, scope: RouteScope, port: int, member: ServiceId | Unregistered
) -> bytes | None:
    spec = member_spec(q, scope, port, member)
    return None if spec is None else q(virtual_host_frame, spec)


@keyed
def common_routes(q: Q) -> Plan:
    """ "host:port" -> Resource, for common services whose protocol is found out on their own address."""
    return flat(q.part(sniffed, (), "far"), _sniffed_routes, ANYWHERE)


@keyed
def particular_routes(q: Q, scope: RouteScope) -> Plan:
    """ "host:port" -> Resource, for the other services whose protocol is found out."""
    particular = q.map(particular_services, scope.scope)
    odd = () if scope.scope.sidecar else (q.part(sniffed, (), "odd"),)
    return flat((particular, *odd), _sniffed_routes, scope)


@query
def _sniffed_routes(
    q: Q, scope: RouteScope, member: ServiceId | SniffedPort
) -> tuple[tuple[str, Resource], ...]:
    if isinstance(member, SniffedPort):
        return _own(q, scope, ServiceId(member.host, member.namespace), member.port)
    return tuple(pair for port in sniffed_ports(q, member) for pair in _own(q, scope, member, port))


def _own(q: Q, scope: RouteScope, id: ServiceId, port: int) -> tuple[tuple[str, Resource], ...]:
    """The route configuration at a service's own address; who shares that answers to its own names there."""
    spec = host_spec(q, scope, port, id, alone=True)
    if spec is None:
        return ()
    near = (other for other in q(neighbours, id, port) if routed_in(q, scope.scope, other, port))
    specs = (host_spec(q, scope, port, other) for other in near)
    others = tuple(other for other in specs if other is not None)
    return ((f"{id.host}:{port}", q(own_routes, spec, others)),)


@query
def own_routes(q: Q, spec: HostSpec, others: tuple[HostSpec, ...] = ()) -> Resource:
    """The route configuration of a projection that answers to any name but those of `others`."""
    frames = [q(virtual_host_frame, one) for one in (spec, *others)]
    return _join(f"{spec.service.host}:{spec.port}", frames)


@query
def virtual_host_frame(q: Q, spec: HostSpec) -> bytes:
    """The bytes of a virtual host, shared by all scopes with this projection."""
    message = virtual_host_message(q(virtual_host, spec), q(route_headers))
    return wire.length_delimited(_VIRTUAL_HOSTS, pb.deterministic(message))


@query
def _fallback_frame(q: Q, rest: Fallback) -> bytes:
    return wire.length_delimited(_VIRTUAL_HOSTS, pb.deterministic(fallback_message(rest, q(route_headers))))


def fallback_message(rest: Fallback, headers: RouteHeaders) -> Any:
    """The virtual host of last resort."""
    message = pb.route_components.VirtualHost(name="allow_any" if rest.allowed else "block_all")
    message.domains.append("*")
    message.include_request_attempt_count = headers.attempt_count
    route = message.routes.add(name=message.name)
    route.match.prefix = "/"
    if rest.allowed:
        stranger = names.DYNAMIC if rest.dynamic else names.PASSTHROUGH
        route.route.cluster = stranger if rest.proxy is None else cluster_of(rest.proxy)
        route.route.timeout.SetInParent()
    else:
        route.direct_response.status = 502
    return message


@keyed
def inbound_routes(q: Q, inbound: Inbound) -> Plan:
    """Route configuration name -> Resource, one per port of the workload that may carry HTTP."""
    return flat(q.fixed(*inbound.bindings), _inbound_routes, inbound.namespace, inbound.security)


@query
def _inbound_routes(
    q: Q, namespace: str, security: Security, binding: Binding
) -> tuple[tuple[str, Resource], ...]:
    if binding.protocol != AUTO and binding.protocol not in HTTP_LIKE:
        return ()
    name = names.inbound_cluster(binding.target)
    return ((name, _join(name, [q(_inbound_frame, binding)], q(route_guard, namespace, security))),)


@query
def _inbound_frame(q: Q, binding: Binding) -> bytes:
    """By itself, so that an edit of a policy for the whole mesh serializes no virtual host."""
    host = inbound_virtual_host(binding, retried=q(inbound_retries))
    message = virtual_host_message(host, q(route_headers))
    return wire.length_delimited(_VIRTUAL_HOSTS, pb.deterministic(message))


@keyed
def passthrough_routes(q: Q, namespace: str, security: Security) -> Plan:
    """Route configuration name -> Resource: HTTP to ports that no service names, under the same guard."""
    return each(q.fixed(names.INBOUND_PASSTHROUGH), _passthrough_route, namespace, security)


@query
def _passthrough_route(q: Q, namespace: str, security: Security, name: str) -> Resource:
    return _join(name, [_PASSTHROUGH_FRAME], q(route_guard, namespace, security))


def _passthrough_frame(name: str) -> bytes:
    message = pb.route_components.VirtualHost(name="inbound|http|0", domains=["*"])
    route = message.routes.add(name="default")
    route.match.prefix = "/"
    route.route.cluster = name
    route.route.timeout.SetInParent()
    route.decorator.operation = f"{name}:80/*"
    return wire.length_delimited(_VIRTUAL_HOSTS, pb.deterministic(message))


_PASSTHROUGH_FRAME = _passthrough_frame(names.INBOUND_PASSTHROUGH)


def _join(name: str, frames: list[bytes], guard: bytes = b"") -> Resource:
    """A route configuration from parts, byte by byte what serializing it whole would give.

    `guard` is what authorizes its requests; the fields of it come last.
    """
    return Resource(ROUTE, name, b"".join((wire.string(1, name), *frames, _TAIL_BYTES, guard)))
