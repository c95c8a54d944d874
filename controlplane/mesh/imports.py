"""What a Sidecar lets its workloads see: egress hosts, and the services that imported routes lead to.

https://istio.io/latest/docs/reference/config/networking/sidecar/
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from controlplane.graph import Plan, Q, group, keyed, query
from controlplane.mesh.hosts import covers, overlap
from controlplane.mesh.listening import LOOPBACK, WILDCARD
from controlplane.mesh.projections import Scope as Scope
from controlplane.mesh.protocols import declared_protocol
from controlplane.mesh.service import Service, ServiceId, service, service_ports, services_of_host
from controlplane.mesh.settings import exported
from controlplane.mesh.visibility import COMMON, Shelf, route_shelves
from controlplane.model.checks import UNIX
from controlplane.model.hosts import canonical, fqdn
from controlplane.model.keys import Key
from controlplane.model.kinds import sidecars, virtual_services
from controlplane.model.kinds.http_route import Destination, HTTPRoute
from controlplane.model.kinds.sidecar import IstioEgressListener, Sidecar
from controlplane.model.kinds.virtual_service import VirtualService


class Import(NamedTuple):
    """One egress host: a defining namespace or "*", and a host pattern."""

    namespace: str
    host: str

    def takes(self, id: ServiceId) -> bool:
        """Whether it names this service."""
        return self.namespace in ("*", id.namespace) and covers(self.host, id.host)


@dataclass(frozen=True, slots=True)
class Egress:
    """One egress listener; `port` None serves services on their own ports.

    `address` is where it is, "" for what the services' addresses and the proxy make of it, or a socket
    "unix:///…", then with port 0; `bound`: clients dial it themselves.  `protocol` is what comes, "" for what
    the services' ports say.  `proxy`: requests name host and port, and it serves all ports of its services.
    """

    port: int | None
    include: tuple[Import, ...]
    exclude: tuple[Import, ...]
    address: str = ""
    bound: bool = False
    protocol: str = ""
    proxy: bool = False

    @property
    def usual(self) -> bool:
        """Whether services are found where they are without a Sidecar."""
        return not self.address and not self.bound and not self.protocol

    def takes(self, id: ServiceId) -> bool:
        """Whether the listener imports this service."""
        return any(i.takes(id) for i in self.include) and not any(e.takes(id) for e in self.exclude)

    def takes_route(self, namespace: str, host: str) -> bool:
        """Whether the listener imports a VirtualService of this namespace for this host.

        Either may be the wider pattern: a route for `*.example.com` matters to who imports `a.example.com`.
        """
        return any(i.namespace in ("*", namespace) and overlap(i.host, host) for i in self.include)


class Placed(NamedTuple):
    """A service's port where a Sidecar puts its listener; `port` is the listener's (see `Egress`)."""

    number: int
    port: int
    address: str
    bound: bool
    protocol: str
    proxy: bool


class Offer(NamedTuple):
    """The service ports that a scope has of one service.

    `clusters`: ports that can be routed to.  `listed`: those of them that get listeners and virtual
    hosts of their own; an egress listener with a port keeps everything else off that port.  `placed`: how a
    Sidecar's listeners serve it where that is not the usual way.
    """

    clusters: tuple[int, ...]
    listed: tuple[int, ...]
    placed: tuple[Placed, ...] = ()


@query
def egress_of(q: Q, scope: Scope) -> tuple[Egress, ...] | None:
    """The egress listeners in force; None: everything that is exported to the namespace."""
    if scope.sidecar is None:
        return None
    sidecar: Sidecar | None = q.get(sidecars, scope.sidecar)
    if sidecar is None or not sidecar.egress:
        return None
    return tuple(_egress(listener, scope.namespace) for listener in sidecar.egress)


@query
def wanted_shelves(q: Q, scope: Scope) -> tuple[Shelf, ...]:
    """The shelves that together hold everything the scope may import.

    Without a Sidecar that excludes the common services, which such scopes share.
    """
    everything = (Shelf("*"), Shelf(scope.namespace))
    if scope.sidecar is None:
        return everything
    listeners = q(egress_of, scope)
    imports = () if listeners is None else [i for listener in listeners for i in listener.include]
    if listeners is None or any(i.namespace == "*" and i.host.startswith("*") for i in imports):
        return (*everything, COMMON)
    return tuple(sorted({_shelf(to, i) for i in imports for to in ("*", scope.namespace)}))


@query
def offer(q: Q, scope: Scope, id: ServiceId) -> Offer:
    """The ports of a service that a scope with a Sidecar imports, by name or through a route."""
    numbers = tuple(port.number for port in q(service_ports, id))
    listeners = q(egress_of, scope)
    if listeners is None:
        return Offer(numbers, numbers)
    taking = [listener for listener in listeners if listener.takes(id)]
    serving = _serving(listeners, taking, numbers)
    proxies = [listener for listener in taking if listener.proxy]
    whole = any(listener.proxy or listener.port is None for listener in taking)
    clusters = set(numbers if whole else serving)
    if not whole:
        # What an imported route leads to can be reached by it, and is not there by itself.
        routed = q.keys(q.part(routed_services, (scope,), id))
        clusters.update(numbers if 0 in routed else set(routed) & set(numbers))
    placed = [_placed(number, one) for number, one in serving.items() if not one.usual]
    placed += [_placed(number, one) for one in proxies for number in numbers]
    return Offer(tuple(sorted(clusters)), tuple(serving), tuple(sorted(placed)))


def _serving(
    listeners: tuple[Egress, ...], taking: list[Egress], numbers: tuple[int, ...]
) -> dict[int, Egress]:
    """Port of a service -> the listener that serves it there: the one of that port, else the one without."""
    locked = {listener.port for listener in listeners}
    rest = next((listener for listener in taking if listener.port is None), None)
    by_port = {listener.port: listener for listener in taking if not listener.proxy}
    found = ((number, by_port.get(number) if number in locked else rest) for number in numbers)
    return {number: listener for number, listener in found if listener is not None}


def _placed(number: int, at: Egress) -> Placed:
    port = number if at.port is None else at.port
    return Placed(number, port, at.address, at.bound, at.protocol, at.proxy)


@keyed
def routed_services(q: Q, scope: Scope) -> Plan:
    """ServiceId -> destination ports (0 = all) in VirtualServices that the scope's Sidecar imports."""
    shelves = (q.part(route_shelves, (), "*"), q.part(route_shelves, (), scope.namespace))
    return group(shelves, _routed_services, scope)


@query
def _routed_services(q: Q, scope: Scope, key: Key) -> tuple[tuple[ServiceId, int], ...]:
    route: VirtualService = q.get(virtual_services, key)
    listeners = q(egress_of, scope)
    if listeners is None or (route.gateways and "mesh" not in route.gateways):
        return ()
    hosts = [fqdn(host, key.namespace) for host in route.hosts]
    if not any(listener.takes_route(key.namespace, host) for listener in listeners for host in hosts):
        return ()
    out: set[tuple[ServiceId, int]] = set()
    for namespace, destination in _destinations(q, route):
        id = q(nearest_service, scope.namespace, fqdn(destination.host, namespace))
        if id is not None:
            out.add((id, destination.port or 0))
    return tuple(sorted(out))


@query
def nearest_service(q: Q, namespace: str, host: str) -> ServiceId | None:
    """Of all services of a host that clients in `namespace` may see, the one that they mean."""
    ids = (id for id in q(services_of_host, host) if visible_to(q, namespace, id))
    return min(ids, key=lambda id: rank(q, namespace, id), default=None)


def visible_to(q: Q, namespace: str, id: ServiceId) -> bool:
    """Whether the service is exported to the namespace."""
    found = q(service, id)
    return found is not None and exported(found.export_to, namespace)


def rank(q: Q, namespace: str, id: ServiceId) -> tuple[bool, bool, str, str]:
    """Sort key among services of one host: the client's own, then Kubernetes', then the oldest."""
    found: Service | None = q(service, id)
    kind, created = ("", "") if found is None else (found.source.kind, found.created)
    return (id.namespace != namespace, kind != "Service", created, id.namespace)


def _egress(listener: IstioEgressListener, namespace: str) -> Egress:
    include: list[Import] = []
    exclude: list[Import] = []
    for text in listener.hosts:
        where, slash, host = text.partition("/")
        if not slash:
            where, host = "*", text
        if where == "~":
            continue
        side = exclude if where.startswith("~") else include
        where = where.removeprefix("~")
        side.append(Import(namespace if where == "." else where, canonical(host)))
    imports = tuple(sorted(set(include))), tuple(sorted(set(exclude)))
    bound = listener.capture_mode == "NONE"
    address = listener.bind or (LOOPBACK if bound else "")
    if listener.port is None:
        return Egress(None, *imports, address, bound)
    said = listener.port.protocol
    socket = address.startswith(UNIX)
    proxy = socket or said.lower() == "http_proxy"
    if proxy and not address:
        address = WILDCARD
    protocol = declared_protocol(said) or ""
    return Egress(0 if socket else listener.port.number, *imports, address, bound or socket, protocol, proxy)


def _shelf(to: str, i: Import) -> Shelf:
    return Shelf(to, host=i.host) if i.namespace == "*" else Shelf(to, namespace=i.namespace)


def _destinations(q: Q, route: VirtualService) -> Iterator[tuple[str, Destination]]:
    """Every destination of a VirtualService and of its delegates, with the namespace that names it."""
    yield from ((route.meta.namespace, d) for d in direct_destinations(route))
    for rule in route.http:
        if rule.delegate is not None:
            key = Key(rule.delegate.namespace or route.meta.namespace, rule.delegate.name)
            delegate: VirtualService | None = q.get(virtual_services, key)
            if delegate is not None:
                yield from ((key.namespace, d) for d in direct_destinations(delegate))


def direct_destinations(route: VirtualService) -> Iterator[Destination]:
    """The destinations that a VirtualService names itself, mirrors included."""
    for rule in route.http:
        yield from _http_destinations(rule)
    for tls in route.tls:
        yield from (share.destination for share in tls.route)
    for tcp in route.tcp:
        yield from (share.destination for share in tcp.route)


def _http_destinations(rule: HTTPRoute) -> Iterator[Destination]:
    yield from (share.destination for share in rule.route)
    yield from (mirror.destination for mirror in rule.mirrors)
