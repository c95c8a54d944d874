"""The names by which clients call a service, and who else may claim one of them.

A service answers to its host and to names derived from it: the short forms that a resolver completes,
the hosts of ExternalName Services that point to it, and its addresses.  Envoy refuses a whole route
configuration in which a name occurs twice, so derived names can be lost: to a service or
VirtualService that has the name as its host, or, among derived ones, to the older service.

Almost no name is contested.  Hosts that could be somebody's derived name are found by their first
label and addresses by themselves, so a service asks a few indexes and passes over nobody.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from controlplane.graph import Plan, Q, group, keyed, query
from controlplane.mesh.hosts import kubernetes_host, kubernetes_key
from controlplane.mesh.protocols import AUTO, HTTP_LIKE
from controlplane.mesh.routing import attachment
from controlplane.mesh.service import Service, ServiceId, service, services_of_host
from controlplane.model.hosts import is_address
from controlplane.model.keys import Key
from controlplane.model.kinds import service_entries, services, virtual_services
from controlplane.model.kinds.service_entry import ServiceEntry

ROUTED = HTTP_LIKE | {AUTO}
"""Protocols whose ports have virtual hosts."""


_UNSPECIFIED = frozenset({"0.0.0.0", "::"})


class Contest(NamedTuple):
    """A derived name that others may have too: `hosts` are services of that very host, `older` are
    services that derive it as well; `routed`: a VirtualService names it."""

    name: str
    hosts: tuple[ServiceId, ...]
    older: tuple[ServiceId, ...]
    routed: bool


def derived_names(found: Service, namespace: str) -> tuple[str, ...]:
    """The names besides the host itself, as clients in `namespace` write them; addresses come last."""
    return tuple(_derivations(found, namespace))


def _derivations(found: Service, namespace: str) -> dict[str, str]:
    """Each derived name -> the host that it derives from: the service's own or an alias."""
    names = {} if found.id.host.startswith("*") else {found.id.host + ".": found.id.host}
    for host in (found.id.host, *found.aliases):
        forms = [host, *_short_forms(host, namespace)]
        if found.headless:
            forms += [f"*.{form}" for form in forms]
        names.update((form, host) for form in forms if form != found.id.host)
    names.update((address, found.id.host) for address in own_addresses(found))
    return names


def own_addresses(found: Service) -> tuple[str, ...]:
    """The addresses that are the service's alone to dial: no networks, and not "any address" spelled out."""
    named = tuple(one for one in found.addresses if "/" not in one and one not in _UNSPECIFIED)
    return (*named, *found.allocated)


def dialled_addresses(found: Service, *, dns: bool) -> tuple[str, ...]:
    """Those of them that a client may dial: one that was given only if the client's proxy answers names."""
    return own_addresses(found) if dns or not found.allocated else ()


def home_namespaces(found: Service) -> tuple[str, ...]:
    """The namespaces whose clients may leave the namespace out of a name of the service."""
    keys = (kubernetes_key(host) for host in (found.id.host, *found.aliases))
    return tuple(sorted({key.namespace for key in keys if key is not None}))


def _short_forms(host: str, namespace: str) -> list[str]:
    key = kubernetes_key(host)
    if key is None or key.name.startswith("*"):
        # A resolver completes names, not patterns: "*" would be everybody's.
        return []
    near = [key.name] if key.namespace == namespace else []
    return [*near, f"{key.name}.{key.namespace}", f"{key.name}.{key.namespace}.svc"]


@query
def contests(q: Q, id: ServiceId, port: int) -> tuple[Contest, ...]:
    """The derived names of a service's port that somebody else may claim; () for nearly all."""
    found = q(service, id)
    if found is None:
        return ()
    names: dict[str, str] = {}
    for home in ("", *home_namespaces(found)):
        names.update(_derivations(found, home))
    every = (_contest(q, found, name, origin, port) for name, origin in names.items())
    return tuple(contest for contest in every if contest is not None)


def _contest(q: Q, found: Service, name: str, origin: str, port: int) -> Contest | None:
    hosts: tuple[ServiceId, ...] = ()
    routed = False
    if not name.endswith("."):
        label = _label(name)
        if _is_full(name) or name in q.keys(q.part(_entry_claims, (), label)):
            hosts = tuple(id for id in q(services_of_host, name) if _routes(q, id, port))
        if _is_full(name) or name in q.keys(q.part(_route_claims, (), label)):
            routed = bool(q.index(virtual_services, "host", name))
    if origin != found.id.host:
        # Who has the alias as its host has the short forms of the alias as well.
        hosts += tuple(id for id in q(services_of_host, origin) if id not in hosts and _routes(q, id, port))
    older = tuple(_older(q, found, name, port)) if is_address(name) else ()
    return Contest(name, hosts, older, routed) if hosts or older or routed else None


@query
def neighbours(q: Q, id: ServiceId, port: int) -> tuple[ServiceId, ...]:
    """The services that share an address with one and have a virtual host on its port too; () for nearly all.

    In Kubernetes an address is one service's; a container has several names, and a service for each.
    """
    found = q(service, id)
    addresses = () if found is None else own_addresses(found)
    sharing = {other for address in addresses for other in _at(q, address)} - {id}
    return tuple(sorted(other for other in sharing if _routes(q, other, port)))


def _older(q: Q, found: Service, address: str, port: int) -> Iterator[ServiceId]:
    for id in _at(q, address):
        other = q(service, id) if id != found.id else None
        if other is not None and (other.created, id) < (found.created, found.id) and _routes(q, id, port):
            yield id


def _at(q: Q, address: str) -> Iterator[ServiceId]:
    """The services that have an address for their own."""
    for claims in (_service_addresses, _entry_addresses):
        yield from q.keys(q.part(claims, (), address))


def _routes(q: Q, id: ServiceId, number: int) -> bool:
    """Whether the service has a virtual host on this port."""
    found = q(service, id)
    port = None if found is None else found.port(number)
    return port is not None and port.protocol in ROUTED


def _label(name: str) -> str:
    """Under what a host is filed: its first label that is no wildcard; an address as it is."""
    return name if is_address(name) else name.removeprefix("*.").partition(".")[0]


def _is_full(name: str) -> bool:
    """Whether it is the host of a Kubernetes Service, or one below it, which no short form can be."""
    return kubernetes_key(name.removeprefix("*.")) is not None


def _claimed(host: str) -> tuple[tuple[str, str], ...]:
    """A host filed under its label, if it could be a derived name of some service."""
    short = host.removeprefix("*.").removesuffix(".svc")
    return ((_label(host), host),) if is_address(host) or short.count(".") < 2 else ()


@keyed
def _entry_claims(q: Q) -> Plan:
    """First label -> hosts of ServiceEntries that look like derived names."""
    return group(q.members(service_entries), _entry_claims_of)


@query
def _entry_claims_of(q: Q, key: Key) -> tuple[tuple[str, str], ...]:
    entry: ServiceEntry = q.get(service_entries, key)
    return tuple(claim for host in entry.hosts for claim in _claimed(host))


@keyed
def _route_claims(q: Q) -> Plan:
    """First label -> hosts of VirtualServices that look like derived names."""
    return group(q.members(virtual_services), _route_claims_of)


@query
def _route_claims_of(q: Q, key: Key) -> tuple[tuple[str, str], ...]:
    one = q(attachment, key)
    return () if one is None else tuple(claim for host in one.hosts for claim in _claimed(host))


@keyed
def _service_addresses(q: Q) -> Plan:
    """Address -> Kubernetes Services."""
    return group(q.members(services), _service_addresses_of)


@query
def _service_addresses_of(q: Q, key: Key) -> tuple[tuple[str, ServiceId], ...]:
    return _addresses(q(service, ServiceId(kubernetes_host(key), key.namespace)))


@keyed
def _entry_addresses(q: Q) -> Plan:
    """Address -> ServiceEntries' services."""
    return group(q.members(service_entries), _entry_addresses_of)


@query
def _entry_addresses_of(q: Q, key: Key) -> tuple[tuple[str, ServiceId], ...]:
    entry: ServiceEntry = q.get(service_entries, key)
    found = (q(service, ServiceId(host, key.namespace)) for host in sorted(set(entry.hosts)))
    return tuple(claim for one in found for claim in _addresses(one))


def _addresses(found: Service | None) -> tuple[tuple[str, ServiceId], ...]:
    return () if found is None else tuple((address, found.id) for address in own_addresses(found))
