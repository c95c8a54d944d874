"""Where a proxy stands: the part of it that may decide which endpoints it is given, and in which order.

A label counts only if some policy compares it, and a machine only if some service keeps to it.  So a mesh
that asks for neither has one place per locality and network, however many machines it has.
"""

from __future__ import annotations

from controlplane.graph import Plan, Q, group, keyed, query
from controlplane.mesh.endpoint import NOWHERE
from controlplane.mesh.inbound import Workload
from controlplane.mesh.locality import NODE, Place, split_label
from controlplane.mesh.settings import mesh_config
from controlplane.mesh.workload import pod_facts
from controlplane.model.keys import Key
from controlplane.model.kinds import destination_rules, service_entries, services, workload_entries
from controlplane.model.kinds.destination_rule import DestinationRule, compared_labels
from controlplane.model.kinds.workload_entry import WorkloadEntry
from controlplane.model.locality import Locality, parse_locality
from controlplane.model.proxy import Proxy

__all__ = ["Place", "asked_labels", "place_of"]


def place_of(q: Q, proxy: Proxy, workload: Workload) -> Place:
    """Where a proxy stands.

    What the control plane knows of the workload comes before what its Envoy says of itself.
    """
    asked = q(asked_labels)
    locality, network, node = _known(q, proxy, workload)
    return Place(
        locality=locality,
        network=network or proxy.metadata.network,
        node=node if NODE in asked else "",
        labels=tuple((name, value) for name, value in workload.labels if name in asked),
    )


def _known(q: Q, proxy: Proxy, workload: Workload) -> tuple[Locality, str, str]:
    """Locality, network and machine."""
    facts = None if workload.pod is None else q(pod_facts, workload.pod)
    if facts is not None:
        locality = proxy.locality if facts.locality == NOWHERE else facts.locality
        return locality, facts.network, facts.node or proxy.metadata.node_name
    if workload.entry is not None:
        entry: WorkloadEntry = q.get(workload_entries, workload.entry)
        said = parse_locality(entry.spec.locality or "")
        return proxy.locality if said == NOWHERE else said, entry.spec.network or "", ""
    return proxy.locality, "", proxy.metadata.node_name


@query
def asked_labels(q: Q) -> frozenset[str]:
    """The labels that a preference of the mesh compares with the caller's."""
    config = q(mesh_config)
    said = [
        one.failover_priority for one in (config.locality_lb_setting, config.zone_aware_lb_setting) if one
    ]
    own = {name for labels in said for name, value in map(split_label, labels) if value is None}
    return frozenset({*own, *q.keys(q.part(_asked_by_rules, (), True)), *q(asked_by_services)})


@keyed
def _asked_by_rules(q: Q) -> Plan:
    """True -> the labels that failoverPriority names, of the few rules that have one."""
    return group(q.bucket(destination_rules, "compares", True), _asked_by_rule)


@query
def _asked_by_rule(q: Q, key: Key) -> tuple[tuple[bool, str], ...]:
    rule: DestinationRule = q.get(destination_rules, key)
    pairs = map(split_label, compared_labels(rule))
    return tuple((True, name) for name in sorted({name for name, value in pairs if value is None}))


@query
def asked_by_services(q: Q) -> tuple[str, ...]:
    """The machine's label, if some service keeps to the caller's machine, or prefers it."""
    tables = (services, service_entries)
    return (NODE,) if any(q.index(table, "on_node", True) for table in tables) else ()
