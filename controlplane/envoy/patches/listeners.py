"""Patches of listeners: LDS.

For one listener: what merges into it, then its own filters, then its chains one by one; what adds a chain
comes last.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from controlplane.base import wire
from controlplane.envoy import pb
from controlplane.envoy.maps import Map, Maps, Pairs
from controlplane.envoy.patches.added import added
from controlplane.envoy.patches.chains import patched_chain
from controlplane.envoy.patches.directions import VIRTUAL, Directions
from controlplane.envoy.patches.lists import change_list, same_name
from controlplane.envoy.patches.merge import merge, merge_extension
from controlplane.envoy.patches.todo import Patch, merges_last, of, todo
from controlplane.envoy.resource import Resource, resource
from controlplane.envoy.types import LISTENER
from controlplane.graph import Plan, Q, each, flat, keyed, query
from controlplane.mesh.patches import Head, PatchRef, Refs, heads
from controlplane.model.kinds.envoy_filter_match import HTTP_MANAGERS

Listener = pb.listener.Listener
FilterChain = pb.listener_components.FilterChain

_KEEPS_ROUTES = ("HTTP_FILTER", "LISTENER_FILTER")
_OUTSIDE = ("LISTENER", "LISTENER_FILTER")
"""What is patched outside of chains."""
_FILTER_CHAINS = 3


@keyed
def patched_listeners(q: Q, source: Map, directions: Directions) -> Plan:
    """Listener name -> Resource, of those that a map of listeners holds."""
    base, args = source
    return each(q.map(base, *args), _patched_listener, source, directions)


@query
def _patched_listener(q: Q, source: Map, directions: Directions, name: str) -> Resource | None:
    base, args = source
    found: Resource | None = q.at(base, args, name)
    return None if found is None else q(patched_listener, found, directions.inbound, directions.outbound)


@query
def patched_listener(q: Q, found: Resource, inbound: Refs, outbound: Refs) -> Resource | None:
    """A listener under the patches of its direction; itself where none is for it."""
    if not any(_is_named(head, found.name) for refs in (inbound, outbound) for head in q(heads, refs)):
        return found
    cut = _cut(found.body)
    message = Listener.FromString(cut.rest)
    refs = inbound if message.traffic_direction == pb.base.TrafficDirection.INBOUND else outbound
    mine = [head for head in q(heads, refs) if _matches(head, message)]
    if not mine:
        return found
    if any(head.apply_to == "LISTENER" and head.operation == "REMOVE" for head in mine):
        return None
    body = _patched(q, message, cut.chains, mine)
    if body == found.body:
        return found
    keeps = all(head.apply_to in _KEEPS_ROUTES for head in mine)
    routes = found.refs if keeps else tuple(_routes_of(Listener.FromString(body)))
    return Resource(LISTENER, found.name, body, routes)


class _Cut(NamedTuple):
    """A listener in pieces: a gateway's may have a thousand chains, of which an edit changes one."""

    chains: list[bytes]
    rest: bytes


def _cut(body: bytes) -> _Cut:
    chains: list[bytes] = []
    rest: list[bytes] = []
    for number, begin, payload, end in wire.spans(body):
        if number == _FILTER_CHAINS:
            chains.append(body[payload:end])
        else:
            rest.append(body[begin:end])
    return _Cut(chains, b"".join(rest))


def _join(rest: bytes, chains: Iterable[bytes]) -> bytes:
    """The listener, its fields in the order of their numbers."""
    after = (begin for number, begin, _, _ in wire.spans(rest) if number > _FILTER_CHAINS)
    at = next(after, len(rest))
    frames = (wire.length_delimited(_FILTER_CHAINS, chain) for chain in chains)
    return b"".join((rest[:at], *frames, rest[at:]))


def _is_named(head: Head, name: str) -> bool:
    wanted = head.match.listener
    return wanted is None or not wanted.name or wanted.name == name


def _matches(head: Head, message: Any) -> bool:
    """The port of a listener for all ports is that of a chain, unless the listener is patched."""
    wanted = head.match.listener
    if wanted is None:
        return True
    if wanted.name and wanted.name != message.name:
        return False
    if not wanted.port or (message.name in VIRTUAL and head.apply_to != "LISTENER"):
        return True
    return bool(message.address.socket_address.port_value == wanted.port)


def _patched(q: Q, message: Any, chains: list[bytes], mine: list[Head]) -> bytes:
    """A listener that came without its chains, and these chains, all patched."""
    name = message.name
    patches = todo(q, (head for head in mine if head.apply_to in _OUTSIDE))
    for patch in of(patches, "LISTENER"):
        merge(message, patch.value, replace_lists=patch.replaces_lists)
        if patch.replaces_lists and patch.value.filter_chains:
            chains = []
    message.name = name
    for patch in merges_last(of(patches, "LISTENER_FILTER")):
        _patch_filters(message, patch)
    refs = tuple(
        head.ref
        for head in mine
        if head.apply_to not in _OUTSIDE and (head.apply_to, head.operation) != ("FILTER_CHAIN", "ADD")
    )
    merged = [pb.deterministic(chain) for chain in message.filter_chains]
    del message.filter_chains[:]
    if refs and message.HasField("default_filter_chain"):
        last = q(patched_chain, name, pb.deterministic(message.default_filter_chain), refs)
        if last is None:
            message.ClearField("default_filter_chain")
        else:
            message.default_filter_chain.CopyFrom(FilterChain.FromString(last))
    every = [*chains, *merged]
    kept = [q(patched_chain, name, chain, refs) for chain in every] if refs else every
    more = todo(q, (head for head in mine if (head.apply_to, head.operation) == ("FILTER_CHAIN", "ADD")))
    frames = [
        *(chain for chain in kept if chain is not None),
        *(pb.deterministic(one.value) for one in more),
    ]
    return _join(pb.deterministic(message), frames)


def _patch_filters(message: Any, patch: Patch) -> None:
    wanted = patch.match.listener
    same = same_name("" if wanted is None else wanted.listener_filter)
    if not patch.merges:
        change_list(message.listener_filters, patch.operation, patch.value, same)
        return
    for one in message.listener_filters:
        if same is None or same(one):
            merge_extension(one, patch.value)


def _routes_of(message: Any) -> Iterator[str]:
    """The route configurations that a listener asks for by name."""
    for chain in (*message.filter_chains, message.default_filter_chain):
        for one in chain.filters:
            if one.name in HTTP_MANAGERS:
                manager = pb.hcm.HttpConnectionManager.FromString(one.typed_config.value)
                if manager.HasField("rds"):
                    yield manager.rds.route_config_name


@keyed
def added_listeners(q: Q, maps: Maps, refs: Refs) -> Plan:
    """Listener name -> Resource, of those that patches add and that none of `maps` has."""
    return flat(q.fixed(*refs), _added_listener, maps)


@query
def _added_listener(q: Q, maps: Maps, ref: PatchRef) -> Pairs:
    body = q(added, maps, ref)
    if body is None:
        return ()
    message = Listener.FromString(body)
    return ((message.name, resource(LISTENER, message.name, message, tuple(_routes_of(message)))),)
