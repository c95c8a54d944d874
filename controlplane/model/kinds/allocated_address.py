"""The AllocatedAddress: the virtual IP that a ServiceEntry's host was given, because it names none.

Nobody writes one; the source that gives addresses delivers them like any other object, so that they are
recorded and replayed like any other.  It is not among KINDS, which are those of the API.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from controlplane.graph import Table
from controlplane.model.hosts import is_address
from controlplane.model.keys import Key
from controlplane.model.kinds.kind import Kind
from controlplane.model.meta import Meta
from controlplane.model.reader import Reader

ALLOCATED_GROUP = "allocated.mini-istiod"


@dataclass(frozen=True, slots=True)
class AllocatedAddress:
    """`address` is the virtual IP of `host`, as defined in the namespace of `meta`."""

    meta: Meta
    host: str
    address: str


allocated_addresses = Table("allocated_addresses")


def allocated_key(host: str, namespace: str) -> Key:
    """The name of a host's address; a host may hold what a name may not."""
    return Key(namespace, hashlib.sha256(host.encode()).hexdigest()[:40])


def allocated_object(host: str, namespace: str, address: str) -> dict[str, object]:
    """The raw object."""
    return {
        "apiVersion": ALLOCATED_ADDRESS.api_versions[0],
        "kind": ALLOCATED_ADDRESS.name,
        "metadata": dict(allocated_key(host, namespace)._asdict()),
        "spec": {"host": host, "address": address},
    }


def _read(r: Reader, meta: Meta) -> AllocatedAddress:
    value = AllocatedAddress(meta, r.required("host"), r.required("address"))
    if value.address and not is_address(value.address):
        r.error("address", "is no IP address")
    return value


ALLOCATED_ADDRESS = Kind(
    name="AllocatedAddress",
    group=ALLOCATED_GROUP,
    versions=("v1",),
    plural="allocatedaddresses",
    namespaced=True,
    table=allocated_addresses,
    read=_read,
)
