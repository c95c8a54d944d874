"""The WorkloadGroups, for the source that registers machines."""

from __future__ import annotations

from controlplane.graph import Plan, Q, each, keyed, query
from controlplane.model.keys import Key
from controlplane.model.kinds import workload_groups
from controlplane.model.kinds.workload_group import WorkloadGroup


@keyed
def groups(q: Q) -> Plan:
    """Key -> WorkloadGroup."""
    return each(q.members(workload_groups), _group)


@query
def _group(q: Q, key: Key) -> WorkloadGroup | None:
    found: WorkloadGroup | None = q.get(workload_groups, key)
    return found
