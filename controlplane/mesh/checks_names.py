"""WorkloadEntries whose address is a name, where those who select them need addresses."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.graph import Q, query
from controlplane.mesh.checks_finding import Finding
from controlplane.mesh.endpoint import Endpoint
from controlplane.mesh.selected_endpoints import has_address
from controlplane.model.describe import shorten
from controlplane.model.keys import Key, Labels
from controlplane.model.kinds import workload_entries
from controlplane.model.kinds.workload_entry import WorkloadEntry


def left_out(q: Q, field: str, namespace: str, selector: Labels, remedy: str) -> Iterator[Finding]:
    """The WorkloadEntries that `field` selects and that are no endpoints, for nobody resolves their names."""
    for key in sorted(q.select(workload_entries, namespace, selector)):
        name = q(_name_of, key)
        if name:
            why = (
                f"WorkloadEntry {key.namespace}/{key.name} is left out: its address {shorten(name)} is a name"
            )
            yield Finding(field, why, remedy)


@query
def _name_of(q: Q, key: Key) -> str:
    """The address of a WorkloadEntry that is a name, "" of others."""
    entry: WorkloadEntry = q.get(workload_entries, key)
    address = entry.spec.address
    return "" if not address or has_address(Endpoint(address, 0)) else address
