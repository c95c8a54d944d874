"""Patches of clusters: CDS.

A cluster is found by its name, which says direction, port, subset and service; only one that some patch is
for is read at all.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from controlplane.envoy import pb
from controlplane.envoy.maps import Map, Maps, Pairs
from controlplane.envoy.patches.added import added
from controlplane.envoy.patches.directions import Directions, is_inbound, number_in
from controlplane.envoy.patches.merge import merge_holding_socket
from controlplane.envoy.patches.todo import todo
from controlplane.envoy.resource import Resource, resource
from controlplane.envoy.types import CLUSTER
from controlplane.graph import Plan, Q, each, flat, keyed, query
from controlplane.mesh.patches import Head, PatchRef, Refs, heads
from controlplane.model.kinds.envoy_filter_match import ClusterMatch

Cluster = pb.cluster.Cluster


@keyed
def patched_clusters(q: Q, source: Map, directions: Directions) -> Plan:
    """Cluster name -> Resource, of those that a map of clusters holds."""
    base, args = source
    return each(q.map(base, *args), _patched_cluster, source, directions)


@query
def _patched_cluster(q: Q, source: Map, directions: Directions, name: str) -> Resource | None:
    base, args = source
    found: Resource | None = q.at(base, args, name)
    refs = directions.of(name)
    return found if found is None or not refs else q(patched_cluster, found, refs)


@query
def patched_cluster(q: Q, found: Resource, refs: Refs) -> Resource | None:
    """A cluster under these patches; itself where none is for it."""
    named = _parts(found.name)
    mine = [head for head in q(heads, refs) if _may_match(head, named)]
    if not mine:
        return found
    message = Cluster.FromString(found.body)
    if named.inbound:
        hosts = _hosts(message)
        mine = [head for head in mine if _is_of_service(head, hosts)]
    if any(head.operation == "REMOVE" for head in mine):
        return None
    patches = todo(q, mine)
    for patch in patches:
        merge_holding_socket(message, patch.value, replace_lists=patch.replaces_lists)
    if not patches:
        return found
    message.name = found.name
    return _written(message)


class _Parts(NamedTuple):
    """What a cluster's name says."""

    name: str
    inbound: bool
    port: int
    subset: str
    host: str


def _parts(name: str) -> _Parts:
    parts = name.split("|") if "|" in name else name.split("_.")
    if len(parts) != 4:
        return _Parts(name, is_inbound(name), 0, "", "")
    return _Parts(name, is_inbound(name), number_in(parts[1]), parts[2], parts[3])


def _may_match(head: Head, named: _Parts) -> bool:
    wanted = head.match.cluster
    if wanted is None:
        return True
    if wanted.name:
        return wanted.name == named.name
    if wanted.subset and wanted.subset != named.subset:
        return False
    if wanted.service and not named.inbound and wanted.service != named.host:
        return False
    return not wanted.port or wanted.port == named.port


def _is_of_service(head: Head, hosts: tuple[str, ...]) -> bool:
    wanted = head.match.cluster or ClusterMatch()
    return bool(wanted.name) or not wanted.service or wanted.service in hosts


def _hosts(message: Any) -> tuple[str, ...]:
    """The services that an inbound cluster is of, which its name does not say."""
    if "istio" not in message.metadata.filter_metadata:
        return ()
    services = message.metadata.filter_metadata["istio"].fields["services"].list_value.values
    return tuple(one.struct_value.fields["host"].string_value for one in services)


def _written(message: Any) -> Resource:
    by_name = message.type in (Cluster.STRICT_DNS, Cluster.LOGICAL_DNS)
    if by_name and not message.HasField("wait_for_warm_on_init"):
        # As of all others: a name that nobody knows would hold back every answer about clusters.
        message.wait_for_warm_on_init.value = False
    return resource(CLUSTER, message.name, message, _endpoints_of(message))


def _endpoints_of(message: Any) -> tuple[str, ...]:
    """The name by which a cluster asks for its endpoints."""
    if message.WhichOneof("cluster_discovery_type") != "type" or message.type != Cluster.EDS:
        return ()
    return (message.eds_cluster_config.service_name or message.name,)


@keyed
def added_clusters(q: Q, maps: Maps, refs: Refs) -> Plan:
    """Cluster name -> Resource, of those that patches add and that none of `maps` has."""
    return flat(q.fixed(*refs), _added_cluster, maps)


@query
def _added_cluster(q: Q, maps: Maps, ref: PatchRef) -> Pairs:
    body = q(added, maps, ref)
    if body is None:
        return ()
    message = Cluster.FromString(body)
    return ((message.name, _written(message)),)
