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
    """One link of an explanation: a node, and the revision of the newest input below it."""

    node: str
    revision: int


def why(graph: Graph, what: Lease | Node, key: Hashable = None) -> tuple[Step, ...]:
    """The path from a node (or one key of a map) down to the input that last changed it.

    The first step is the node itself, the last one the input.
    """
    node = _start(what, key)
    newest = _newest_inputs(node)
    steps = [Step(node.describe(), graph.revision_of(newest[node]))]
    seen = {node}
    while below := [n for n in _below(node) if n not in seen]:
        node = max(below, key=lambda n: newest[n])
        seen.add(node)
        steps.append(Step(node.describe(), graph.revision_of(newest[node])))
    return tuple(steps)


def _newest_inputs(start: Node) -> dict[Node, int]:
    """For each node below `start`, the tick of the newest input that it was computed from.

    A node's own tick will not do: what is computed for the first time is new, its inputs may be old.
    """
    newest: dict[Node, int] = {}
    stack = [(start, False)]
    open_nodes: set[Node] = set()
    while stack:
        node, done = stack.pop()
        below = _below(node)
        if done:
            # What is still open here closes a circle and adds nothing.
            own = node.changed if isinstance(node, Cell | Bucket) else 0
            newest[node] = max((newest.get(n, 0) for n in below), default=own)
        elif node not in open_nodes:
            open_nodes.add(node)
            stack.append((node, True))
            stack.extend((n, False) for n in below if n not in open_nodes)
    return newest


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
