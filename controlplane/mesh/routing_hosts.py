"""Virtual hosts: which names are served on a port, and by which routes.

The work is cut in two.  What is the same for every client is known per service port (`HostFacts`).
A scope adds a few decisions, nearly always none, and arrives at a `HostSpec`: the projection that the
virtual host is made for.  Scopes with equal specs share its routes and its bytes.
"""

from __future__ import annotations

from typing import NamedTuple

from controlplane.graph import Q, query
from controlplane.mesh.features import absolute_names
from controlplane.mesh.projections import Binding, RouteScope, Scope
from controlplane.mesh.protocols import AUTO
from controlplane.mesh.routing import candidates, routed_alike, selectors_of, virtual_service
from controlplane.mesh.routing_delegates import http_rules
from controlplane.mesh.routing_effects import INBOUND_RETRIES
from controlplane.mesh.routing_hash import affinity_of, hash_keys, hashed_alike, may_hash
from controlplane.mesh.routing_http import DEFAULT_ROUTE, default_retries, http_routes, without_avoidance
from controlplane.mesh.routing_ir import Destination, Forward, Match, Route, Target, VirtualHost
from controlplane.mesh.routing_match import ANYONE, Client
from controlplane.mesh.routing_names import (
    ROUTED,
    Contest,
    contests,
    derived_names,
    home_namespaces,
    own_addresses,
)
from controlplane.mesh.routing_unregistered import Unregistered, is_served, routed_in, unregistered
from controlplane.mesh.service import Service, ServiceId, service
from controlplane.model.hosts import fqdn
from controlplane.model.keys import Key, Labels
from controlplane.model.kinds import virtual_services
from controlplane.model.kinds.virtual_service import VirtualService

ANYWHERE = RouteScope(Scope(""))
"""The scope of a client of whom nothing is known: what it gets, every client without a Sidecar gets."""


class HostFacts(NamedTuple):
    """What every client has to know before it can tell its own virtual host from others'.

    `homes` are the namespaces that have short names of their own; `routed`: some VirtualService covers
    the host; `hashed`: some DestinationRule asks for affinity.
    """

    homes: tuple[str, ...]
    routed: bool
    hashed: bool
    contests: tuple[Contest, ...]


class HostSpec(NamedTuple):
    """The projection of a virtual host: equal specs are one virtual host, whoever asks.

    `home` is the client's namespace where short names depend on it, else ""; `lost` are derived names
    that went to others; `alone`: it is the only one of its route configuration and answers to any name.
    A `service` without namespace is a host that only a VirtualService knows.
    """

    service: ServiceId
    port: int
    rules: Key | None = None
    client: Client = ANYONE
    home: str = ""
    lost: tuple[str, ...] = ()
    alone: bool = False


class _Needs(NamedTuple):
    """What the HTTP rules of a VirtualService ask of the client."""

    namespace: bool
    selectors: tuple[Labels, ...]
    hosts: tuple[str, ...]


@query
def host_facts(q: Q, id: ServiceId, port: int) -> HostFacts | None:
    """The facts about a service's port; None where it has no virtual host."""
    found = q(service, id)
    declared = None if found is None else found.port(port)
    if found is None or declared is None or declared.protocol not in ROUTED:
        return None
    return HostFacts(
        homes=home_namespaces(found),
        routed=bool(q(candidates, id.host)),
        hashed=q(may_hash, id.host),
        contests=q(contests, id, port),
    )


@query
def is_uniform(q: Q, id: ServiceId, port: int) -> bool:
    """Whether the virtual host of a common service's port is one for all clients without a Sidecar.

    But for short names, that is, which the clients of its home namespaces have besides.
    """
    facts = q(host_facts, id, port)
    if facts is None or facts.contests or not q(routed_alike, id.host):
        return False
    rules = virtual_service(q, ANYWHERE.scope, id.host, "http") if facts.routed else None
    if rules is None:
        return hashed_alike(q, id.host)
    needs = q(_needs, rules)
    hosts = (id.host, *needs.hosts)
    return not needs.namespace and not needs.selectors and all(hashed_alike(q, host) for host in hosts)


@query
def _needs(q: Q, key: Key) -> _Needs:
    found: VirtualService | None = q.get(virtual_services, key)
    if found is None:
        return _Needs(False, (), ())
    rules = http_rules(q, found)
    hosts = {fqdn(share.destination.host, key.namespace) for rule in rules for share in rule.route}
    return _Needs(
        namespace=any(match.source_namespace for rule in rules for match in rule.match),
        selectors=selectors_of(rules),
        hosts=tuple(sorted(host for host in hosts if q(may_hash, host))),
    )


def host_spec(q: Q, scope: RouteScope, port: int, id: ServiceId, *, alone: bool = False) -> HostSpec | None:
    """The projection of a service's virtual host for a scope; None where it has none."""
    facts = q(host_facts, id, port)
    if facts is None:
        return None
    rules = virtual_service(q, scope.scope, id.host, "http") if facts.routed else None
    client = ANYONE if rules is None else client_of(q, scope, rules)
    if rules is None or not q(http_routes, rules, port, client):
        # Rules that are all meant for others leave the service as it is without them.
        rules = None
        client = Client(affinity=affinity_of(q, scope.scope, (id.host,))) if facts.hashed else ANYONE
    if alone:
        return HostSpec(id, port, rules, client, alone=True)
    namespace = scope.scope.namespace
    return HostSpec(
        service=id,
        port=port,
        rules=rules,
        client=client,
        home=namespace if namespace in facts.homes else "",
        lost=tuple(one.name for one in facts.contests if _is_lost(q, scope, port, one)),
    )


def unregistered_spec(q: Q, scope: RouteScope, port: int, item: Unregistered) -> HostSpec | None:
    """The projection of a host that only a VirtualService knows; None where somebody else serves it."""
    if not is_served(q, scope.scope, port, item):
        return None
    client = client_of(q, scope, item.key)
    if not q(http_routes, item.key, port, client):
        return None
    return HostSpec(ServiceId(item.host, ""), port, item.key, client)


def client_of(q: Q, scope: RouteScope, rules: Key) -> Client:
    """The clients of a scope, as far as the HTTP rules of a VirtualService tell them apart."""
    needs = q(_needs, rules)
    return Client(
        namespace=scope.scope.namespace if needs.namespace else "",
        matched=tuple(labels for labels in scope.matched if labels in needs.selectors),
        affinity=affinity_of(q, scope.scope, needs.hosts),
    )


def _is_lost(q: Q, scope: RouteScope, port: int, one: Contest) -> bool:
    if any(routed_in(q, scope.scope, id, port) for id in (*one.hosts, *one.older)):
        return True
    if not one.routed:
        return False
    rivals = (item for item in q.keys(q.part(unregistered, (), port)) if item.host == one.name)
    return any(unregistered_spec(q, scope, port, item) is not None for item in rivals)


@query
def virtual_host(q: Q, spec: HostSpec) -> VirtualHost:
    """The virtual host of a projection."""
    host = spec.service.host
    return VirtualHost(
        name=f"{host}:{spec.port}",
        domains=("*",) if spec.alone else domains(q, spec),
        routes=_routes(q, spec),
    )


def domains(q: Q, spec: HostSpec) -> tuple[str, ...]:
    """The names and patterns that a virtual host answers to, where it is not alone."""
    found = q(service, spec.service) if spec.service.namespace else None
    derived = () if found is None else derived_names(found, spec.home)
    lost = spec.lost if found is None else (*spec.lost, *_elsewhere(found, spec.port))
    if found is not None and not q(absolute_names):
        derived = tuple(name for name in derived if not name.endswith("."))
    names = (spec.service.host, *(name for name in derived if name not in lost))
    # In a Host header an IPv6 address stands in brackets.
    return tuple(f"[{name}]" if ":" in name else name for name in names)


def _elsewhere(found: Service, number: int) -> tuple[str, ...]:
    """The addresses of workloads at which the port has routes of its own: they come and go, and are nobody's
    business who does not dial them."""
    port = found.port(number)
    sniffed = port is not None and port.protocol == AUTO
    return own_addresses(found) if found.direct and sniffed else ()


def _routes(q: Q, spec: HostSpec) -> tuple[Route, ...]:
    if spec.rules is not None:
        return q(http_routes, spec.rules, spec.port, spec.client)
    target = Target(spec.service.host, spec.port)
    keys = hash_keys(q, spec.client.affinity, target)
    retries = q(default_retries)
    action = Forward(
        destinations=(Destination(target),),
        retries=without_avoidance(retries) if keys else retries,
        hash_keys=keys,
    )
    return (Route(DEFAULT_ROUTE, Match(), action, operation=f"{target.host}:{target.port}/*"),)


def inbound_virtual_host(binding: Binding, *, retried: bool = True) -> VirtualHost:
    """The virtual host of a workload's own port: everything goes to the application.

    The target's host is the cluster's, which sidecars name by the workload's port alone.
    """
    host = binding.service.host
    action = Forward(
        destinations=(Destination(Target("", binding.target)),),
        retries=INBOUND_RETRIES if retried and not binding.protocol.startswith("GRPC") else None,
    )
    route = Route(DEFAULT_ROUTE, Match(), action, operation=f"{host}:{binding.port}/*")
    return VirtualHost(f"inbound|http|{binding.port}", ("*",), (route,))
