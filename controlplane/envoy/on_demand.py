"""Virtual hosts on demand (VHDS): a proxy is given the virtual hosts that it asks for, one by one.

Its route configurations name no host; what is not there Envoy asks for by `<route configuration>/<Host
header>` and holds the request meanwhile.  Each name is a virtual host of its own, with that one domain:
two names of a service never meet in one configuration, and whatever a name would have led to in a whole
configuration (a service, a pattern that covers it, the virtual host of last resort) is what it is given.
A `*` of last resort could not be inline: with it Envoy would find a route for everything, and ask for
nothing.

What was asked for is an input like any other, a row of `asked`.  So nothing is computed for names that
nobody uses, and what an answer depends on is recorded, down to the names that nobody has yet
(https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/vhds).
"""

from __future__ import annotations

from typing import NamedTuple

from controlplane.base import wire
from controlplane.envoy import pb
from controlplane.envoy.listeners_binds import Bind
from controlplane.envoy.listeners_claims import l4_scope, shared_binds, shared_claims
from controlplane.envoy.resource import Resource, resource
from controlplane.envoy.routes import fallback_message, route_tail
from controlplane.envoy.routes_hosts import virtual_host_message
from controlplane.envoy.types import ROUTE, VIRTUAL_HOST
from controlplane.graph import Plan, Q, Table, flat, keyed, query
from controlplane.mesh.projections import RouteScope
from controlplane.mesh.routing_fallback import Fallback, fallback
from controlplane.mesh.routing_hosts import HostSpec, virtual_host
from controlplane.mesh.routing_lookup import spec_for
from controlplane.mesh.settings import route_headers

_NAME, _DOMAINS = 1, 2
_LONGEST = 255 + len(":65535")
"""Characters of a Host header that can be a name of DNS with a port."""
_AT_ONCE = 1_000_000
"""Nanoseconds for which Envoy waits for first virtual hosts before it takes a route configuration into
use.  It asks for none by name then, so there is nothing to wait for; by default it would wait 15 s."""


class Ask(NamedTuple):
    """A virtual host that some proxy of a scope has asked for, by its resource name."""

    scope: RouteScope
    name: str


asked = Table("asked", indexes={"scope": lambda key, value: (key.scope,)})
"""Ask -> True."""


def is_askable(name: str) -> bool:
    """Whether a resource name can stand for one host.

    A Host header may be anything that an application sends: `*` would become the virtual host of last
    resort of that Envoy, which would ask for nothing from then on.  Envoy asks in lower case; names that
    differ in case only would be one domain twice.
    """
    port, slash, host = name.partition("/")
    if not slash or not port.isdigit() or not host or len(host) > _LONGEST:
        return False
    return host.isascii() and host.isprintable() and host == host.lower() and not set(host) & set("*/ ")


@keyed
def on_demand_routes(q: Q, scope: RouteScope) -> Plan:
    """Route configuration name -> Resource, for each port of the wildcard address that may carry HTTP."""
    listeners = l4_scope(q, scope)
    return flat(shared_binds(q, listeners), _on_demand_routes, listeners)


@query
def _on_demand_routes(q: Q, scope: RouteScope, bind: Bind) -> tuple[tuple[str, Resource], ...]:
    if bind.proxy or not any(claim.http for claim in shared_claims(q, scope, bind)):
        return ()
    return ((str(bind.port), q(empty_routes, bind.port)),)


@query
def empty_routes(_q: Q, port: int) -> Resource:
    """The route configuration of a port without any host: the same for everybody, whatever the mesh."""
    message = pb.route.RouteConfiguration(name=str(port))
    message.MergeFrom(route_tail())
    # A name with a port is another name: each has a virtual host of its own, and no two may meet.
    message.ignore_port_in_host_matching = False
    source = message.vhds.config_source
    source.ads.SetInParent()
    source.resource_api_version = pb.config_source.ApiVersion.V3
    source.initial_fetch_timeout.CopyFrom(pb.duration(_AT_ONCE))
    return resource(ROUTE, message.name, message)


@keyed
def on_demand_hosts(q: Q, scope: RouteScope) -> Plan:
    """`<route configuration>/<Host header>` -> Resource, for what proxies of the scope asked for."""
    return flat(q.bucket(asked, "scope", scope), _on_demand_host)


@query
def _on_demand_host(q: Q, ask: Ask) -> tuple[tuple[str, Resource], ...]:
    scope, name = ask
    if not is_askable(name):
        return ()
    port, _, host = name.partition("/")
    if q.at(on_demand_routes, (scope,), port) is None:
        return ()
    spec = spec_for(q, scope, int(port), host)
    rest = q(_rest_of_fallback, q(fallback, scope.scope)) if spec is None else q(rest_of_host, spec)
    body = b"".join((wire.string(_NAME, name), wire.string(_DOMAINS, host), rest))
    return ((name, Resource(VIRTUAL_HOST, name, body)),)


@query
def rest_of_host(q: Q, spec: HostSpec) -> bytes:
    """The bytes of a virtual host without its names, shared by all names and scopes that lead to it."""
    return _without_names(virtual_host_message(q(virtual_host, spec), q(route_headers)))


@query
def _rest_of_fallback(q: Q, rest: Fallback) -> bytes:
    return _without_names(fallback_message(rest, q(route_headers)))


def _without_names(message: pb.Message) -> bytes:
    message.ClearField("name")
    message.ClearField("domains")
    return pb.deterministic(message)
