"""Checks of port numbers: policies name the ports of workloads, and their authors think of services.

Both are plain numbers, so a policy for port 80 where the Service leads from 80 to 8080 is about nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from controlplane.graph import Q, query
from controlplane.mesh.hosts import kubernetes_host
from controlplane.mesh.service import Port, Service, ServiceId, service
from controlplane.mesh.workload import pod_facts
from controlplane.model.keys import Key
from controlplane.model.kinds import pods


class Renamed(NamedTuple):
    """A number that is a port of this service, and where it leads to at the workloads."""

    service: Key
    targets: tuple[int, ...]

    @property
    def message(self) -> str:
        """What the author of a policy is told; to be read after the field."""
        return (
            f"is a port of Service {self.service.namespace}/{self.service.name}, which leads to the "
            f"workloads' port {self._numbers}; it is the latter that has to be named"
        )

    @property
    def remedy(self) -> str:
        """What to write instead."""
        return f"write {self._numbers}"

    @property
    def _numbers(self) -> str:
        return " and ".join(map(str, self.targets))


def renamed(q: Q, of: Iterable[Key], number: int) -> Renamed | None:
    """The first of these services with a port of this number that leads to another.

    None where a workload behind one of them may have a port of this number itself.
    """
    found: Renamed | None = None
    for key in of:
        ports = q(_ports, ServiceId(kubernetes_host(key), key.namespace))
        if any(number in targets for _, targets in ports):
            return None
        targets = dict(ports).get(number)
        if targets and found is None:
            found = Renamed(key, targets)
    return found


def targets_of(q: Q, found: Service, port: Port) -> tuple[int, ...]:
    """The numbers that a service's port leads to, sorted; those of a name are the pods' to say."""
    if not isinstance(port.target, str):
        return (port.target or port.number,)
    selected = q.select(pods, found.id.namespace, found.selector) if found.selector else ()
    facts = (q(pod_facts, key) for key in selected)
    numbers = {number for one in facts if one is not None and (number := one.port(port.target)) is not None}
    return tuple(sorted(numbers))


@query
def _ports(q: Q, id: ServiceId) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """Each port's number with the numbers that it leads to."""
    found = q(service, id)
    return () if found is None else tuple((port.number, targets_of(q, found, port)) for port in found.ports)
