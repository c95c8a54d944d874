"""Trust, but verify: the incremental state against a graph that was built from nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from controlplane.base.errors import GraphError
from controlplane.graph.engine import Graph
from controlplane.graph.facets import Part
from controlplane.graph.failure import Failure
from controlplane.graph.lease import Lease
from controlplane.graph.map import KeyedMap


def fresh_copy(graph: Graph) -> Graph:
    """A new graph with the same rows and no nodes."""
    copy = Graph(paranoid=graph.paranoid)
    copy.commit(
        (table, key, value) for table, rows in graph.tables().items() for key, value in rows.values.items()
    )
    return copy


def snapshot(lease: Lease) -> Any:
    """A lease's whole state as a plain value; failures count as absent."""
    node = lease.node
    if not isinstance(node, KeyedMap):
        return None if node.value.__class__ is Failure else node.value
    state = {}
    for key in lease.keys():
        value = lease.get(key)
        if value.__class__ is not Failure:
            state[key] = value.keys() if isinstance(value, Part) else value
    return state


def compare_with_fresh(graph: Graph, leases: Iterable[Lease]) -> None:
    """Raise GraphError, naming the first difference, unless all leases equal a fresh graph's."""
    copy = fresh_copy(graph)
    for lease in leases:
        node = lease.node
        twin = (
            copy.lease(node.keyed, *node.args)
            if isinstance(node, KeyedMap)
            else copy.lease(node.family.query, *node.args)
        )
        copy.settle()
        ours, theirs = snapshot(lease), snapshot(twin)
        if ours != theirs:
            raise GraphError(f"{node.describe()} differs from scratch: {_difference(ours, theirs)}")


def _difference(ours: Any, theirs: Any) -> str:
    if not (isinstance(ours, dict) and isinstance(theirs, dict)):
        return f"{ours!r} is not {theirs!r}"
    for key in sorted(ours.keys() | theirs.keys(), key=str):
        if ours.get(key) != theirs.get(key):
            return f"at {key}: {ours.get(key)!r} is not {theirs.get(key)!r}"
    return "no difference by key"
