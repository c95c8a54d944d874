"""Explaining: why a node has its value, and which objects it came from.

Everything is read off the recorded edges; nothing is kept for the sake of explaining.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from controlplane.graph.engine import Graph
from controlplane.graph.keyed import KeyedMap, Watch
from controlplane.graph.lease import Lease
from controlplane.graph.memo import Memo
from controlplane.graph.node import Node
from controlplane.graph.table import Bucket, Cell


@dataclass(frozen=True, slots=True)
class Step:
    """One link of an explanation: a node and the revision in which it last changed."""

    node: str
    revision: int


def why(graph: Graph, what: Lease | Node, key: Hashable = None) -> tuple[Step, ...]:
    """The path from a node (or one key of a map) down to the input that last changed it.

    The first step is the node itself, the last one the input.
    """
    node: Node | None = _start(what, key)
    steps: list[Step] = []
    seen: set[Node] = set()
    while node is not None and node not in seen:
        seen.add(node)
        steps.append(Step(node.describe(), graph.revision_of(node.changed)))
        node = max(_below(node), key=lambda n: n.changed, default=None)
    return tuple(steps)


def sources(what: Lease | Node, key: Hashable = None) -> tuple[tuple[str, Any], ...]:
    """All rows that exist and that the node (or one key of a map) was computed from: (table, key)."""
    found: set[tuple[str, Any]] = set()
    seen: set[Node] = set()
    stack = [_start(what, key)]
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if isinstance(node, Cell):
            if node.value is not None:
                found.add((node.rows.table.name, node.key))
        else:
            stack.extend(_below(node))
    return tuple(sorted(found, key=lambda row: (row[0], str(row[1]))))


def _start(what: Lease | Node, key: Hashable) -> Node:
    node = what.node if isinstance(what, Lease) else what
    if key is not None and isinstance(node, KeyedMap):
        return _giver(node, key) or node
    return node


def _giver(node: KeyedMap, key: Hashable) -> Node | None:
    """The child that gives a map's value under `key`."""
    child = node.children.get(key)
    if child is not None:
        return child
    claims = getattr(node.shape, "claims", {}).get(key)
    return node.children.get(min(claims)) if claims else None


def _below(node: Node) -> list[Node]:
    """What a node was computed from."""
    if isinstance(node, Memo):
        return list(node.deps)
    if isinstance(node, Watch):
        inner = getattr(node, "key", None)
        child = _giver(node.owner, inner) if inner is not None else None
        return [child] if child is not None else [node.owner]
    if isinstance(node, KeyedMap):
        below: list[Node] = [node.plan_node, *node.children.values()]
        return below + list(node.sources)
    assert isinstance(node, Cell | Bucket)
    return []
