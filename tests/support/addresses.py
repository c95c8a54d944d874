"""Virtual IPs in a graph that no source feeds."""

from __future__ import annotations

from controlplane.graph import Graph
from controlplane.mesh.allocated import wanted_addresses
from controlplane.model.allocation import assign
from controlplane.model.kinds.allocated_address import ALLOCATED_ADDRESS, allocated_key, allocated_object


def settle_addresses(graph: Graph) -> None:
    """Give addresses in a graph that no source feeds, as a control plane without a memory would."""
    wanted = graph.lease(wanted_addresses)
    graph.settle()
    given = assign({id: wanted.get(id) for id in wanted.keys()}, {})
    wanted.release()
    writes = []
    for (host, namespace), address in sorted(given.items()):
        value = ALLOCATED_ADDRESS.parse(allocated_object(host, namespace, address)).value
        writes.append((ALLOCATED_ADDRESS.table, allocated_key(host, namespace), value))
    if writes:
        graph.commit(writes)
