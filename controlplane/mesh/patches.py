"""Patches: which of those that EnvoyFilters hold are for a proxy, and in which order they count.

A proxy's projection names patches; what they say is read by whoever applies them, so that an edit of a value
moves no proxy to another scope.  They are sorted by what they are for: a proxy whose listeners are patched
shares its clusters with everybody.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from controlplane.graph import Q, query
from controlplane.mesh.settings import root_namespace
from controlplane.model.keys import Key, Labels
from controlplane.model.kinds.envoy_filter import ConfigPatch, EnvoyFilter, envoy_filters
from controlplane.model.kinds.envoy_filter_match import LISTENER_CLASS, ROUTE_CLASS, Match, ProxyMatch
from controlplane.model.proxy import Proxy

_LONGEST_VERSION = 64
"""Characters of what a peer says of itself that an expression is tried on."""

INBOUND, OUTBOUND, GATEWAY = "SIDECAR_INBOUND", "SIDECAR_OUTBOUND", "GATEWAY"


class PatchRef(NamedTuple):
    """A patch by its place: the EnvoyFilter, and which of its `configPatches`; and what it does to what.

    So that another one, which an edit puts in its place, is not taken for it.
    """

    key: Key
    place: int
    apply_to: str
    operation: str


Refs = tuple[PatchRef, ...]


class Side(NamedTuple):
    """The patches of what is there already, for one direction of traffic, in their order."""

    listeners: Refs = ()
    routes: Refs = ()
    clusters: Refs = ()


class Patches(NamedTuple):
    """All patches that are for a proxy; a gateway has no `inbound`."""

    inbound: Side = Side()
    outbound: Side = Side()
    added_listeners: Refs = ()
    added_clusters: Refs = ()
    extensions: Refs = ()


UNPATCHED = Patches()


class Head(NamedTuple):
    """A patch without its value: what decides whether it applies."""

    ref: PatchRef
    match: Match
    filter_class: str

    @property
    def apply_to(self) -> str:
        """To what, a key of OPERATIONS."""
        return self.ref.apply_to

    @property
    def operation(self) -> str:
        """A word of OPERATIONS."""
        return self.ref.operation


def patches_of(q: Q, proxy: Proxy, labels: Labels) -> Patches:
    """The patches for a proxy whose workload has these labels."""
    found = [head for key in _in_order(q, proxy.namespace, labels) for head in q(_heads, key)]
    if not found:
        return UNPATCHED
    mine = [head for head in found if _is_for(proxy, head.match.proxy)]
    if proxy.type == "router":
        contexts: tuple[str, ...] = (GATEWAY,)
        inbound = Side()
    else:
        contexts = (INBOUND, OUTBOUND)
        inbound = _side(mine, INBOUND)
    mine = [head for head in mine if head.match.context in ("ANY", *contexts)]
    return Patches(
        inbound=inbound,
        outbound=_side(mine, contexts[-1]),
        added_listeners=_refs(_adding(mine, "LISTENER")),
        added_clusters=_refs(_adding(mine, "CLUSTER")),
        extensions=_refs(_adding(mine, "EXTENSION_CONFIG")),
    )


def _in_order(q: Q, namespace: str, labels: Labels) -> list[Key]:
    """By priority, then the mesh's before the namespace's, then by age, then by name."""
    root = q(root_namespace)
    found = [
        (*q(_priority, key), key)
        for where in sorted({root, namespace})
        for key in q.selecting(envoy_filters, where, labels)
    ]
    found.sort(key=lambda one: (one[0], one[2].namespace != root, one[1], one[2]))
    return [key for _, _, key in found]


@query
def _priority(q: Q, key: Key) -> tuple[int, str]:
    """What orders EnvoyFilters: their priority and when they were made."""
    found: EnvoyFilter | None = q.get(envoy_filters, key)
    return (0, "") if found is None else (found.priority, found.meta.created)


@query
def _heads(q: Q, key: Key) -> tuple[Head, ...]:
    """Those patches of an EnvoyFilter that can do anything at all."""
    found: EnvoyFilter | None = q.get(envoy_filters, key)
    if found is None or found.targets:
        return ()
    return tuple(
        Head(PatchRef(key, index, patch.apply_to, patch.operation), patch.match, patch.filter_class)
        for index, patch in enumerate(found.patches)
        if patch.effective
    )


@query
def heads(q: Q, refs: Refs) -> tuple[Head, ...]:
    """The patches without their values: an edit of a value is no reason to ask again what it is for."""
    wanted = dict.fromkeys(refs)
    keys = dict.fromkeys(ref.key for ref in refs)
    found = {head.ref: head for key in keys for head in q(_heads, key)}
    return tuple(found[ref] for ref in wanted if ref in found)


@query
def patch_at(q: Q, ref: PatchRef) -> ConfigPatch | None:
    """A patch; None when it is gone."""
    found: EnvoyFilter | None = q.get(envoy_filters, ref.key)
    if found is None or ref.place >= len(found.patches):
        return None
    patch = found.patches[ref.place]
    return patch if (patch.apply_to, patch.operation) == (ref.apply_to, ref.operation) else None


def _is_for(proxy: Proxy, wanted: ProxyMatch) -> bool:
    """A proxy that does not tell its version has none that is asked for."""
    version = proxy.metadata.istio_version[:_LONGEST_VERSION]
    if wanted.version and not (version and _found_in(wanted.version, version)):
        return False
    if not wanted.metadata:
        return True
    said = json.loads(proxy.metadata.texts or "{}")
    return all(said.get(name) == value for name, value in wanted.metadata)


def _found_in(pattern: str, text: str) -> bool:
    try:
        return re.search(pattern, text) is not None
    except re.error:
        return False  # refused where the object is read


def _adding(found: Iterable[Head], what: str) -> Iterator[Head]:
    return (head for head in found if head.apply_to == what and head.operation == "ADD")


def _refs(found: Iterable[Head]) -> Refs:
    return tuple(head.ref for head in found)


def _side(found: list[Head], context: str) -> Side:
    mine = [head for head in found if head.match.context in ("ANY", context)]
    changing = [
        head for head in mine if head.operation != "ADD" or head.apply_to not in ("LISTENER", "CLUSTER")
    ]
    return Side(
        listeners=_refs(head for head in changing if head.apply_to in LISTENER_CLASS),
        routes=_refs(head for head in changing if head.apply_to in ROUTE_CLASS),
        clusters=_refs(head for head in changing if head.apply_to == "CLUSTER"),
    )
