"""Sidecars as HTTP proxies: requests name host and port, whatever address they were sent to.

    MeshConfig.proxyHttpPort, HTTP_PROXY_PORT    127.0.0.1, all that the scope sees, RDS "http_proxy"
    Sidecar.egress of protocol HTTP_PROXY        where it says, the hosts of that listener, RDS by port
    Sidecar.egress with bind: unix://…           the same, RDS by socket

A host is found under each of its ports ("reviews:9080"), and by its bare name under port 80, else under
the first HTTP port that it has.  Services of different ports meet here that otherwise never do, so a name
that two of them derive goes to the first, and hosts go before derived names: Envoy refuses a
configuration in which a name occurs twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

from controlplane.base import wire
from controlplane.envoy import pb
from controlplane.envoy.accesslog import access_log, refusal_logs
from controlplane.envoy.filters.chain import Chain
from controlplane.envoy.listeners_binds import Bind
from controlplane.envoy.listeners_claims import l4_scope, shared_binds, shared_claims
from controlplane.envoy.listeners_parts import chain, http_manager, limit_buffer, socket, speaking
from controlplane.envoy.resource import Resource, resource
from controlplane.envoy.routes import fallback_message, route_tail
from controlplane.envoy.routes_hosts import virtual_host_message
from controlplane.envoy.types import LISTENER, ROUTE
from controlplane.graph import Plan, Q, each, flat, group, keyed, query
from controlplane.mesh.imports import offer
from controlplane.mesh.listening import Stance
from controlplane.mesh.projections import RouteScope, Scope
from controlplane.mesh.routing_fallback import fallback
from controlplane.mesh.routing_hosts import HostSpec, domains, host_spec, unregistered_spec, virtual_host
from controlplane.mesh.routing_names import ROUTED
from controlplane.mesh.routing_unregistered import Unregistered, unregistered
from controlplane.mesh.scope import particular_services, visible
from controlplane.mesh.service import ServiceId, service_ports
from controlplane.mesh.settings import http_manners, listener_ports, path_normalization, route_headers

ROUTES = "http_proxy"
_WEB = 80
_VIRTUAL_HOSTS = 2


@keyed
def http_proxies(q: Q, port: int, stance: Stance) -> Plan:
    """Listener name -> Resource: the port on which an application may use its sidecar as an HTTP proxy."""
    return flat(q.fixed(port), _http_proxy, stance)


@query
def _http_proxy(q: Q, stance: Stance, port: int) -> tuple[tuple[str, Resource], ...]:
    bind = Bind(stance.loopback, port, bound=True)
    if not bind.free or not bind.allowed(stance) or port in q(listener_ports):
        return ()
    log = q(access_log)
    manners = q(http_manners)
    where = speaking(Chain("outbound", proxy=True, paths=q(path_normalization), manners=manners), stance)
    message = pb.listener.Listener(
        name=bind.name,
        address=socket(bind.address, bind.port),
        traffic_direction=pb.base.TrafficDirection.OUTBOUND,
        access_log=refusal_logs(log),
    )
    limit_buffer(message, manners)
    message.filter_chains.append(chain(ROUTES, [http_manager(f"outbound_{bind.name}", ROUTES, where, log)]))
    return ((bind.name, resource(LISTENER, bind.name, message, (ROUTES,))),)


class Proxied(NamedTuple):
    """A virtual host of a proxy; `bare`: a request that names no port means this one."""

    spec: HostSpec
    bare: bool


@keyed
def proxy_routes(q: Q, scope: RouteScope) -> Plan:
    """Route configuration name -> Resource: "http_proxy"."""
    return each(q.fixed(ROUTES), _proxy_routes, scope)


@query
def _proxy_routes(q: Q, scope: RouteScope, name: str) -> Resource:
    return _join(q, scope, name, q.values(proxied_hosts, scope))


@keyed
def proxied_hosts(q: Q, scope: RouteScope) -> Plan:
    """ServiceId or Unregistered -> Proxieds, for everything that a scope sees."""
    return each((q.map(visible, scope.scope), q.part(unregistered, (), _WEB)), _proxied, scope)


@query
def _proxied(q: Q, scope: RouteScope, member: ServiceId | Unregistered) -> tuple[Proxied, ...] | None:
    if isinstance(member, Unregistered):
        spec = unregistered_spec(q, scope, _WEB, member)
        return None if spec is None else (Proxied(spec, bare=True),)
    listed = None if scope.scope.sidecar is None else q(offer, scope.scope, member).listed
    return _of_service(q, scope, member, listed)


def _of_service(
    q: Q, scope: RouteScope, id: ServiceId, listed: tuple[int, ...] | None
) -> tuple[Proxied, ...] | None:
    """The virtual hosts of a service's ports; `listed` None is all of them."""
    numbers = [port.number for port in q(service_ports, id) if port.protocol in ROUTED]
    numbers = [number for number in numbers if listed is None or number in listed]
    bare = _WEB if _WEB in numbers else min(numbers, default=0)
    specs = ((number, host_spec(q, scope, number, id)) for number in numbers)
    return tuple(Proxied(spec, number == bare) for number, spec in specs if spec is not None) or None


@keyed
def placed_routes(q: Q, scope: RouteScope) -> Plan:
    """Route configuration name -> Resource, for the egress listeners of a Sidecar that are HTTP proxies."""
    return flat(shared_binds(q, l4_scope(q, scope)), _placed_routes, scope)


@query
def _placed_routes(q: Q, scope: RouteScope, bind: Bind) -> tuple[tuple[str, Resource], ...]:
    if not bind.proxy or not any(claim.http for claim in shared_claims(q, l4_scope(q, scope), bind)):
        return ()
    return ((bind.routes, _join(q, scope, bind.routes, q.values(placed_hosts, scope, bind.routes))),)


@keyed
def placed_hosts(q: Q, scope: RouteScope, routes: str) -> Plan:
    """ServiceId -> Proxieds, for the services of one of these listeners."""
    return each(q.part(_placed_services, (scope.scope,), routes), _placed, scope)


@query
def _placed(q: Q, scope: RouteScope, id: ServiceId) -> tuple[Proxied, ...] | None:
    return _of_service(q, scope, id, None)


@keyed
def _placed_services(q: Q, scope: Scope) -> Plan:
    """Route configuration name -> ServiceIds of the Sidecar's listener that is such a proxy."""
    return group(q.map(particular_services, scope), _placed_service, scope)


@query
def _placed_service(q: Q, scope: Scope, id: ServiceId) -> tuple[tuple[str, ServiceId], ...]:
    places = (one for one in q(offer, scope, id).placed if one.proxy)
    return tuple((one, id) for one in sorted({Bind(at.address, at.port).routes for at in places}))


def _join(q: Q, scope: RouteScope, name: str, found: Iterable[tuple[Proxied, ...]]) -> Resource:
    """A route configuration of these hosts, in which no name occurs twice."""
    hosts = [one for several in found for one in several]
    own = {name for one in hosts for name in _forms(one, one.spec.service.host)}
    taken: set[str] = set()
    frames = [wire.string(1, name)]
    for one in hosts:
        host = one.spec.service.host
        forms = {form: other == host for other in q(host_names, one.spec) for form in _forms(one, other)}
        free = tuple(form for form, mine in forms.items() if form not in taken and (mine or form not in own))
        taken.update(free)
        frames.append(q(proxied_frame, one.spec, free))
    rest = fallback_message(q(fallback, scope.scope), q(route_headers))
    frames.append(wire.length_delimited(_VIRTUAL_HOSTS, pb.deterministic(rest)))
    tail = route_tail()
    # Here the port says which of a host's services is meant.
    tail.ignore_port_in_host_matching = False
    return Resource(ROUTE, name, b"".join((*frames, pb.deterministic(tail))))


def _forms(one: Proxied, name: str) -> tuple[str, ...]:
    """How requests spell a name of a host."""
    full = f"{name}:{one.spec.port}"
    return (name, full) if one.bare else (full,)


@query
def host_names(q: Q, spec: HostSpec) -> tuple[str, ...]:
    """The names and patterns of a host, without ports."""
    return domains(q, spec)


@query
def proxied_frame(q: Q, spec: HostSpec, names: tuple[str, ...]) -> bytes:
    """The bytes of a virtual host that answers to these names."""
    message = virtual_host_message(replace(q(virtual_host, spec), domains=names), q(route_headers))
    return wire.length_delimited(_VIRTUAL_HOSTS, pb.deterministic(message))
