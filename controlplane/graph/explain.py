"""Explaining: why a node has its value, and which objects it came from.

Everything is read off the recorded edges; nothing is kept for the sake of explaining.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, TypeAlias

from controlplane.graph.bucket import Bucket
from controlplane.graph.engine import Graph
from controlplane.graph.facets import Entry, Facet, Part
from controlplane.graph.lease import Lease
from controlplane.graph.map import KeyedMap
from controlplane.graph.memo import Memo
from controlplane.graph.node import Node
from controlplane.graph.table import Cell

_Cause: TypeAlias = tuple[int, Node | None]


@dataclass(frozen=True, slots=True)
class Step:
    """One link of an explanation: a node, and the revision of the newest input that changed it."""

    node: str
    revision: int


def why(graph: Graph, what: Lease | Node, key: Hashable = None) -> tuple[Step, ...]:
    """The path from a node (or one key of a map) down to the input that last changed it.

    The first step is the node itself, the last one the input.  A node that was computed anew and
    came out equal did not change, so nothing below it counts as the cause.
    """
    start = _start(what, key)
    causes = _causes(start)
    steps: list[Step] = []
    node: Node | None = start
    while node is not None:
        tick, below = causes[node]
        steps.append(Step(node.describe(), graph.revision_of(tick)))
        node = below
    return tuple(steps)


def sources(what: Lease | Node, key: Hashable = None, most: int | None = None) -> tuple[tuple[str, Any], ...]:
    """All rows that exist and that the node (or one key of a map) was computed from: (table, key).

    The members of an index or a selection that was asked for count, too: who is among them matters.
    The search ends as soon as there are `most` of them or more, if that is given.
    """
    found: set[tuple[str, Any]] = set()
    seen: set[Node] = set()
    stack = [_start(what, key)]
    while stack and (most is None or len(found) < most):
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if isinstance(node, Cell):
            if node.value is not None:
                found.add((node.rows.table.name, node.key))
        elif isinstance(node, Bucket):
            found.update((node.table, member) for member in node.members if node.table)
        else:
            stack.extend(_below(node))
    return tuple(sorted(found, key=lambda row: (row[0], str(row[1]))))


def changed_sources(
    graph: Graph, what: Lease | Node, key: Hashable, since: int
) -> frozenset[tuple[str, Any]]:
    """Of the sources, the rows whose change in that revision or later reached the node: (table, key).

    What was computed anew and came out equal lets nothing through.
    """
    found: set[tuple[str, Any]] = set()
    seen: set[Node] = set()
    stack = [_start(what, key)]
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if graph.revision_of(node.changed) < since:
            continue
        if isinstance(node, Cell):
            if node.value is not None:
                found.add((node.rows.table.name, node.key))
        elif not isinstance(node, Bucket):
            stack.extend(_below(node))
    return frozenset(found)


def _causes(start: Node) -> dict[Node, _Cause]:
    """For each node below `start`: the tick of the newest input that can have changed it, and the way there.

    A node's own tick will not do: what is computed for the first time is new, its inputs may be old.
    """
    causes: dict[Node, _Cause] = {}
    entered: set[Node] = set()
    stack = [start]
    while stack:
        node = stack[-1]
        if node in causes:
            stack.pop()
        elif node in entered:
            stack.pop()
            causes[node] = _cause(node, causes)
        else:
            entered.add(node)
            stack.extend(below for below in _below(node) if below not in entered)
    return causes


def _cause(node: Node, causes: dict[Node, _Cause]) -> _Cause:
    if isinstance(node, Cell | Bucket):
        return (node.changed, None)
    # What has no cause yet closes a circle and adds nothing.
    below = [(causes[one][0], one) for one in _below(node) if one in causes]
    return max((cause for cause in below if cause[0] <= node.changed), key=_tick, default=(0, None))


def _tick(cause: tuple[int, Node]) -> int:
    return cause[0]


def _start(what: Lease | Node, key: Hashable) -> Node:
    node = what.node if isinstance(what, Lease) else what
    if key is not None and isinstance(node, KeyedMap):
        givers = _givers(node, key)
        return givers[0] if givers else node
    return node


def _givers(node: KeyedMap, key: Hashable) -> list[Node]:
    """The children that give a map's value under `key`."""
    return [node.children[member] for member in node.shape.givers(key) if member in node.children]


def _below(node: Node) -> list[Node]:
    """What a node was computed from."""
    if isinstance(node, Memo):
        return list(node.deps)
    if isinstance(node, Entry | Part):
        return _givers(node.owner, node.key) or [node.owner]
    if isinstance(node, Facet):
        return [node.owner]
    if isinstance(node, KeyedMap):
        return [node.plan_node, *node.children.values(), *node.sources]
    return []
