"""Patches of route configurations: RDS.

A configuration may hold a thousand virtual hosts that were serialized one by one.  It is cut into them again,
and only those that a patch is for are read and written: each by itself, so that the next edit of one of them
leaves the others alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from controlplane.base import wire
from controlplane.envoy import pb
from controlplane.envoy.maps import Map
from controlplane.envoy.patches.directions import Directions, number_in
from controlplane.envoy.patches.hosts import patch_host
from controlplane.envoy.patches.merge import merge
from controlplane.envoy.patches.todo import of, todo
from controlplane.envoy.resource import Resource
from controlplane.envoy.types import ROUTE
from controlplane.graph import Plan, Q, each, keyed, query
from controlplane.mesh.patches import Head, Refs, heads
from controlplane.model.kinds.envoy_filter_match import VirtualHostMatch

_NAME, _VIRTUAL_HOSTS = 1, 2
_HOST_NAME = 1
_HOST_LEVEL = ("VIRTUAL_HOST", "HTTP_ROUTE")
_ANY_HOST = VirtualHostMatch()


@keyed
def patched_routes(q: Q, source: Map, directions: Directions) -> Plan:
    """Route configuration name -> Resource, of those that a map of route configurations holds."""
    base, args = source
    return each(q.map(base, *args), _patched_routes, source, directions)


@query
def _patched_routes(q: Q, source: Map, directions: Directions, name: str) -> Resource | None:
    base, args = source
    found: Resource | None = q.at(base, args, name)
    refs = q(_refs_for, directions, name)
    return found if found is None or not refs else q(patched_configuration, found, refs)


@query
def _refs_for(q: Q, directions: Directions, name: str) -> Refs:
    """The patches that are for a configuration, or for something in it."""
    place = _place(name)
    found = q(heads, directions.of(name))
    return tuple(head.ref for head in found if _matches(head, name, place, directions.ports))


@query
def patched_configuration(q: Q, found: Resource, refs: Refs) -> Resource:
    """A route configuration under these patches, which are all for it; itself where none does anything."""
    mine = q(heads, refs)
    wanted = _Wanted(
        head
        for head in mine
        if head.apply_to in _HOST_LEVEL and (head.apply_to, head.operation) != ("VIRTUAL_HOST", "ADD")
    )
    cut = _cut(found.body)
    hosts = [q(patched_host, frame, refs) if (refs := wanted.by(frame)) else frame for frame in cut.hosts]
    added, rest = _merged(q, mine, cut.rest)
    frames = [frame for frame in (*hosts, *added) if frame is not None]
    parts = [wire.length_delimited(_VIRTUAL_HOSTS, frame) for frame in frames]
    body = b"".join((wire.string(_NAME, found.name), *parts, rest))
    return found if body == found.body else Resource(ROUTE, found.name, body)


class _Cut(NamedTuple):
    """A configuration in pieces: its virtual hosts, and the fields after them."""

    hosts: list[bytes]
    rest: bytes


def _cut(body: bytes) -> _Cut:
    hosts: list[bytes] = []
    rest: list[bytes] = []
    for number, begin, payload, end in wire.spans(body):
        if number == _VIRTUAL_HOSTS:
            hosts.append(body[payload:end])
        elif number != _NAME:
            rest.append(body[begin:end])
    return _Cut(hosts, b"".join(rest))


def _merged(q: Q, mine: tuple[Head, ...], rest: bytes) -> tuple[list[bytes], bytes]:
    """The virtual hosts that patches add, and what they make of the configuration's other fields."""
    patches = todo(q, (head for head in mine if head.apply_to != "HTTP_ROUTE"))
    added = [pb.deterministic(one.value) for one in of(patches, "VIRTUAL_HOST") if one.operation == "ADD"]
    whole = of(patches, "ROUTE_CONFIGURATION")
    if not whole:
        return added, rest
    message = pb.route.RouteConfiguration.FromString(rest)
    for patch in whole:
        merge(message, patch.value, replace_lists=patch.replaces_lists)
    more = [pb.deterministic(host) for host in message.virtual_hosts]
    message.ClearField("virtual_hosts")
    message.ClearField("name")
    return [*more, *added], pb.deterministic(message)


class _Wanted:
    """Which virtual hosts patches are for: asked a thousand times, and nearly always by the name."""

    def __init__(self, found: Iterable[Head]) -> None:
        self._heads = tuple(found)
        asked = [_host_of(head) for head in self._heads]
        self._names = {one.name.encode() for one in asked if one.name}
        self._by_domain = any(one.domain for one in asked)
        self._known: dict[bytes, Refs] = {}

    def by(self, frame: bytes) -> Refs:
        """The patches for a serialized virtual host."""
        if not self._heads:
            return ()
        name = _name_of(frame)
        if self._by_domain:
            return self._refs(name, _domains_of(frame))
        # All that no patch names are alike.
        key = name if name in self._names else b""
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._refs(key, ())
        return found

    def _refs(self, name: bytes, domains: tuple[str, ...]) -> Refs:
        return tuple(head.ref for head in self._heads if _is_for_host(head, name.decode(), domains))


@query
def patched_host(q: Q, frame: bytes, refs: Refs) -> bytes | None:
    """A serialized virtual host under these patches, which are all for it."""
    message = pb.route_components.VirtualHost.FromString(frame)
    found: tuple[Head, ...] = q(heads, refs)
    kept = patch_host(message, todo(q, found))
    return pb.deterministic(message) if kept else None


def _name_of(frame: bytes) -> bytes:
    """The name of a serialized virtual host, which is its first field."""
    number, _, payload, end = next(wire.spans(frame), (0, 0, 0, 0))
    return frame[payload:end] if number == _HOST_NAME else b""


def _domains_of(frame: bytes) -> tuple[str, ...]:
    return tuple(pb.route_components.VirtualHost.FromString(frame).domains)


def _host_of(head: Head) -> VirtualHostMatch:
    route = head.match.route
    return _ANY_HOST if route is None or route.host is None else route.host


def _is_for_host(head: Head, name: str, domains: tuple[str, ...]) -> bool:
    wanted = _host_of(head)
    if wanted.name and wanted.name != name:
        return False
    return not wanted.domain or wanted.domain in domains


class _Place(NamedTuple):
    """What a configuration's name says: its port, and at a gateway the server, if it is of one."""

    port: int = 0
    at_gateway: bool = False
    port_name: str = ""
    gateway: str = ""


def _place(name: str) -> _Place:
    """ "9080", "host:9080", "inbound|9080||", "http.8080", "https.443.https.gateway.namespace"."""
    parts = name.split(".")
    if parts[0] == "https" and len(parts) >= 5:
        return _Place(number_in(parts[1]), True, parts[2], f"{parts[4]}/{parts[3]}")
    if parts[0] == "http" and len(parts) >= 2 and parts[1].isdigit():
        return _Place(number_in(parts[1]), True)
    if name.startswith("inbound|"):
        return _Place(number_in(name.split("|")[1]))
    return _Place(number_in(name.rpartition(":")[2]))


def _matches(head: Head, name: str, place: _Place, ports: tuple[tuple[int, int], ...]) -> bool:
    wanted = head.match.route
    if wanted is None:
        return True
    if wanted.name and wanted.name != name:
        return False
    # A gateway's plaintext routes are named by its own port, which clients may know as another one.
    if wanted.port and wanted.port != place.port and (wanted.port, place.port) not in ports:
        return False
    # Sidecars have no servers: what is said of those does not count.
    if not place.at_gateway:
        return True
    return wanted.gateway in ("", place.gateway) and wanted.port_name in ("", place.port_name)
