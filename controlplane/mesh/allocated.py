"""Addresses that services are given: which ServiceEntries want one, and who has which.

A ServiceEntry without addresses has no listener of its own for opaque ports: all such services of a port
would share the wildcard address.  So each of its hosts is given a virtual IP of 240.240.0.0/16, which is
nobody's on any network.  Who dials it has asked a proxy with DNS capture for the name.

Giving needs a memory, which a query has not: `wanted_addresses` says what is wanted, a source of the control
plane remembers who was given what (`controlplane.model.allocation`), and its rows come back as an input.
"""

from __future__ import annotations

from controlplane.graph import Plan, Q, flat, keyed, query
from controlplane.mesh.features import features
from controlplane.mesh.service_id import ServiceId
from controlplane.model.allocation import is_ours
from controlplane.model.keys import Key
from controlplane.model.kinds import service_entries
from controlplane.model.kinds.allocated_address import AllocatedAddress, allocated_addresses, allocated_key
from controlplane.model.kinds.service_entry import ServiceEntry

OPT_OUT = "networking.istio.io/enable-autoallocate-ip"
"""The label of a ServiceEntry that shall be given none ("false")."""


@keyed
def wanted_addresses(q: Q) -> Plan:
    """ServiceId -> addresses of the network that are its own already; () for one that wants one."""
    return flat(q.members(service_entries), _wanted)


@query
def _wanted(q: Q, key: Key) -> tuple[tuple[ServiceId, tuple[str, ...]], ...]:
    entry: ServiceEntry = q.get(service_entries, key)
    out: list[tuple[ServiceId, tuple[str, ...]]] = []
    for host in sorted(set(entry.hosts)):
        own = tuple(one for one in (*entry.addresses, *_written(entry, host)) if is_ours(one))
        if own or (may_be_given(q, entry, host) and not _written(entry, host)):
            out.append((ServiceId(host, key.namespace), own))
    return tuple(out)


def may_be_given(q: Q, entry: ServiceEntry, host: str) -> bool:
    """Whether a host of this entry has an address that it does not name."""
    return (
        not entry.addresses
        and entry.resolution != "NONE"
        and not host.startswith("*")
        and (OPT_OUT, "false") not in entry.meta.labels
        and q(_enabled)
    )


@query
def _enabled(q: Q) -> bool:
    return q(features).ip_autoallocate


def given_addresses(q: Q, entry: ServiceEntry, host: str) -> tuple[str, ...]:
    """The virtual IPs of a host that its entry does not name: those of its status, else what it was given."""
    if not may_be_given(q, entry, host):
        return ()
    written = _written(entry, host)
    if written:
        return written
    row: AllocatedAddress | None = q.get(allocated_addresses, allocated_key(host, entry.meta.namespace))
    return () if row is None else (row.address,)


def _written(entry: ServiceEntry, host: str) -> tuple[str, ...]:
    """What the status of the object says was given to a host."""
    return tuple(address for of, address in entry.status_addresses if of == host)
