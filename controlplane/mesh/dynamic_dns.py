"""Whether there are hosts that proxies resolve themselves; a gateway may be asked for any of them."""

from __future__ import annotations

from controlplane.graph import Plan, Q, group, keyed, query
from controlplane.model.keys import Key
from controlplane.model.kinds import service_entries
from controlplane.model.kinds.service_entry import ServiceEntry


@keyed
def _dynamic_entries(q: Q) -> Plan:
    """True -> ServiceEntries with resolution DYNAMIC_DNS."""
    return group(q.members(service_entries), _dynamic)


@query
def _dynamic(q: Q, key: Key) -> tuple[tuple[bool, Key], ...]:
    entry: ServiceEntry = q.get(service_entries, key)
    return ((True, key),) if entry.resolution == "DYNAMIC_DNS" else ()


@query
def resolves_hosts(q: Q) -> bool:
    """Whether some ServiceEntry of the mesh has hosts that are resolved when they are asked for."""
    return bool(q.keys(q.part(_dynamic_entries, (), True)))
