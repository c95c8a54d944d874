"""A graph that is driven as the program drives its own, and held against one that was built from nothing.

Objects pass the sight of discoverySelectors, addresses are given to whom wants one, and every map of every
type that a proxy is served is leased for as long as it is connected.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from controlplane.envoy.resource import Resource
from controlplane.envoy.types import LISTENER
from controlplane.graph import Failure, Graph, Lease, Table
from controlplane.graph.facets import Part
from controlplane.graph.verify import fresh_copy
from controlplane.mesh.allocated import wanted_addresses
from controlplane.mesh.checks import checks
from controlplane.mesh.features import feature_rows
from controlplane.mesh.key_sets import wanted_key_sets
from controlplane.mesh.patches import UNPATCHED
from controlplane.mesh.visibility import entry_shelves, kubernetes_shelves
from controlplane.mesh.workload_groups import groups
from controlplane.model.allocation import assign
from controlplane.model.keys import Key
from controlplane.model.kinds.allocated_address import (
    ALLOCATED_ADDRESS,
    allocated_addresses,
    allocated_key,
    allocated_object,
)
from controlplane.store.sight import Sight
from tests.support.drawn_proxies import Connected
from tests.support.soundness import faults

ROOTS = (checks, wanted_addresses, wanted_key_sets, groups, kubernetes_shelves, entry_shelves)
"""What the program leases besides what proxies are served."""


class Living:
    """One graph and the proxies that are connected; `seen` counts what it has been through."""

    def __init__(self, *, paranoid: bool = False) -> None:
        self.graph = Graph(paranoid=paranoid)
        self.sight = Sight(lambda table: self.graph.rows(table).values)
        self.seen: Counter[str] = Counter()
        self.proxies: list[Connected] = []
        self._objects: dict[tuple[Table, Key], None] = {}
        self._roots = {root: self.graph.lease(root) for root in ROOTS}

    def write(self, writes: Iterable[tuple[Table, Key, Any]]) -> None:
        """Commit objects, or that they are gone, as far as they are in sight."""
        taken = list(writes)
        for table, key, value in taken:
            if value is None:
                self._objects.pop((table, key), None)
            else:
                self._objects[table, key] = None
        self.graph.commit(self.sight.seen(taken))

    def settle(self) -> None:
        """Until nothing moves: addresses are given, proxies read what they are to read."""
        for _ in range(12):
            self.graph.settle()
            moved = [one.retarget() for one in self.proxies]
            if not any([*moved, self._give_addresses()]):
                self.seen["patched"] += any(one.view.value.patches != UNPATCHED for one in self.proxies)
                edges = [one for one in self.proxies if one.proxy.type == "router"]
                self.seen["gateway listens"] += any(one.resources()[LISTENER] for one in edges)
                return
        raise AssertionError("the mesh never comes to rest")

    def _give_addresses(self) -> bool:
        wanted = {id: self._roots[wanted_addresses].get(id) for id in self._roots[wanted_addresses].keys()}
        rows = self.graph.rows(allocated_addresses).values
        standing = {(row.host, key.namespace): row.address for key, row in rows.items()}
        given = assign(wanted, standing)
        writes: list[tuple[Table, Key, Any]] = [
            (allocated_addresses, allocated_key(*id), None) for id in standing.keys() - given.keys()
        ]
        for id, address in given.items():
            if standing.get(id) != address:
                value = ALLOCATED_ADDRESS.parse(allocated_object(*id, address)).value
                writes.append((allocated_addresses, allocated_key(*id), value))
                self.seen["AllocatedAddress"] += 1
        self.graph.commit(writes)
        return bool(writes)

    def leases(self) -> list[Lease]:
        return [*self._roots.values(), *(lease for one in self.proxies for lease in one.leases())]

    def compare(self) -> None:
        """Everything equals a fresh graph over the same rows, and nothing has failed."""
        copy_of = fresh_copy(self.graph)
        for lease in self.leases():
            found, scratch = state_of(lease), state_of(_twin(copy_of, lease))
            assert found == scratch, f"{lease.node.describe()}: {_difference(found, scratch)}"
        for one in self.proxies:
            served = one.resources()
            assert served.keys() == one.wanted().keys()
            wrong = faults(served)
            assert not wrong, f"{one.proxy.id}: {wrong[:3]}"

    def digest(self) -> str:
        """A hash of all that is served and of all that is told to users."""
        found = hashlib.sha256(repr(sorted(state_of(self._roots[checks]).items())).encode())
        for one in self.proxies:
            for url, resources in sorted(one.resources().items()):
                for name in sorted(resources):
                    found.update(f"{url} {name} {resources[name].refs}".encode() + resources[name].body)
        return found.hexdigest()

    def clear(self) -> None:
        """Delete every object; proxies stay, and nothing is left that a graph without objects has not."""
        self.write((table, key, None) for table, key in list(self._objects))
        rows = self.graph.tables().items()
        self.graph.commit(
            (t, key, None) for t, found in rows if t is not feature_rows for key in found.values
        )
        for one in self.proxies:
            one.asks.clear()
        self.settle()
        self.compare()
        self.graph.sweep()

    def release(self) -> None:
        """Disconnect everybody: not one node is left."""
        for lease in self.leases():
            lease.release()
        self.graph.sweep()
        assert self.graph.size() == 0
        for rows in self.graph.tables().values():
            assert not any(rows.sets.values())
            assert rows.selection.empty()

    def baseline(self) -> int:
        """How many nodes a graph has that was built from nothing over these rows, for the same leases."""
        fresh = fresh_copy(self.graph)
        for lease in self.leases():
            _twin(fresh, lease)
        fresh.sweep()
        return fresh.size()


def state_of(lease: Lease) -> Mapping[Any, Any]:
    """A lease's whole state, to the byte; a query that raised is a fault of the program."""
    assert lease.failure is None, f"{lease.node.describe()} failed: {lease.failure.where()}"
    if not hasattr(lease.node, "shape"):
        return {"": lease.value}
    found: dict[Any, Any] = {}
    for key in lease.keys():
        value = lease.get(key)
        assert not isinstance(value, Failure), f"{lease.node.describe()} at {key}: {value.where()}"
        if isinstance(value, Resource):
            # References are no part of a resource's equality.
            found[key] = (value.type_url, value.name, value.version, value.body, value.refs)
        else:
            found[key] = value.keys() if isinstance(value, Part) else value
        assert lease.failed(key) is None, f"{lease.node.describe()} at {key}: {lease.failed(key)}"
    return found


def _twin(graph: Graph, lease: Lease) -> Lease:
    node = lease.node
    twin = graph.lease(getattr(node, "keyed", None) or node.family.query, *node.args)
    graph.settle()
    return twin


def _difference(ours: Mapping[Any, Any], theirs: Mapping[Any, Any]) -> str:
    for key in sorted(ours.keys() | theirs.keys(), key=str):
        if ours.get(key) != theirs.get(key):
            return f"at {key}: {ours.get(key)!r}\nis not what a fresh graph says: {theirs.get(key)!r}"
    return "no difference by key"
