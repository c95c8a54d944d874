"""A service for each name that clients dial, with the endpoints behind it.

A name that Kubernetes takes becomes a Service with EndpointSlices; one that it does not (`my_service`,
`shop.example.com`) a ServiceEntry.  Either has the addresses of its containers, because those are what
clients dial: Docker's DNS knows no virtual addresses.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from controlplane.model.hosts import fqdn
from controlplane.model.problem import Problem
from controlplane.sources.docker import mistakes, names
from controlplane.sources.docker.container import PREFIX
from controlplane.sources.docker.labels import AUTO
from controlplane.sources.docker.workloads import Place, Workload

DIRECT = "mini-istiod.io/direct"
"""The annotation that says that a service's addresses are those of its workloads."""

_LONGEST_TAIL = 40


class _Port(NamedTuple):
    number: int
    protocol: str

    @property
    def name(self) -> str:
        """As Istio reads it: the protocol comes first."""
        return f"{'port' if self.protocol == AUTO else self.protocol}-{self.number}"


@dataclass(frozen=True, slots=True)
class _Service:
    """A host, its workloads by name, and their ports; `rank` counts the services to which it gives way."""

    host: str
    workloads: tuple[Workload, ...]
    ports: tuple[_Port, ...]
    rank: int

    @property
    def addresses(self) -> list[str]:
        """What clients dial; where nothing runs, an address that nobody has, lest it claim all of them."""
        found = sorted({address for workload in self.workloads for address in workload.addresses})
        return found or [_nowhere(self.host)]


def service_objects(
    workloads: Sequence[Workload], place: Place
) -> tuple[list[Mapping[str, Any]], list[Problem]]:
    """The objects of all services, by name, and where containers disagree about one."""
    objects: list[Mapping[str, Any]] = []
    problems: list[Problem] = []
    for service in _services(workloads, place, problems):
        if names.is_service_name(service.host):
            objects.append(_service(service, place))
            objects += _slices(service, place)
        else:
            objects.append(_entry(service, place))
    return objects, problems


def _services(workloads: Sequence[Workload], place: Place, problems: list[Problem]) -> Iterator[_Service]:
    by_host: dict[str, list[Workload]] = {}
    for workload in workloads:
        for host in workload.hosts if workload.ports else ():
            by_host.setdefault(host, []).append(workload)
    ranks = _ranks(by_host)
    for host in sorted(by_host):
        members = by_host[host]
        problems += _disagreements(host, members, place)
        problems += _half_meshed(host, members, place)
        yield _Service(host, tuple(members), tuple(_ports(members)), ranks[host])


def _ports(members: Sequence[Workload]) -> Iterator[_Port]:
    """All ports, sorted; of protocols the first that is said counts."""
    found: dict[int, str] = {}
    for port in (port for workload in members for port in workload.ports):
        if found.get(port.port, AUTO) == AUTO:
            found[port.port] = port.protocol
    yield from (_Port(number, found[number]) for number in sorted(found))


def _ranks(by_host: Mapping[str, Sequence[Workload]]) -> dict[str, int]:
    """How many services of the same containers go before each: those of more containers do.

    A container's address is dialled for all of its names, and bytes do not say which was meant.
    """
    ranks: dict[str, int] = {}
    before: dict[str, int] = {}
    for host in sorted(by_host, key=lambda host: (-len(by_host[host]), host)):
        ranks[host] = max(before.get(workload.name, 0) for workload in by_host[host])
        before.update((workload.name, ranks[host] + 1) for workload in by_host[host])
    return ranks


def _disagreements(host: str, members: Sequence[Workload], place: Place) -> Iterator[Problem]:
    """A warning where one container has other ports than the first one, or speaks something else there."""
    running = [one for one in members if one.addresses]
    for other in running[1:]:
        first = running[0]
        ours, theirs = ({port.port: port.protocol for port in one.ports} for one in (first, other))
        if ours.keys() == theirs.keys() and all(_agree(ours[number], theirs[number]) for number in ours):
            continue
        yield mistakes.disagreement(other.container, place.namespace, host, theirs, (first.container, ours))
        return


def _half_meshed(host: str, members: Sequence[Workload], place: Place) -> Iterator[Problem]:
    """A warning for each container without a sidecar behind a name that others serve with one."""
    running = [one for one in members if one.addresses]
    # A sidecar without its application is told of where that is looked for.
    behind = (one for one in running if one.mutual and one.container.label(PREFIX + "proxy") is None)
    meshed = next(behind, None)
    if meshed is not None:
        for one in running:
            if not one.mutual:
                yield mistakes.without_sidecar(one.container, place.namespace, host, meshed.container)


def _agree(one: str, other: str) -> bool:
    """Whether one may be the other; what is to be found out may be anything."""
    return one == other or AUTO in (one, other)


def _metadata(service: _Service, place: Place, name: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "namespace": place.namespace, "annotations": {DIRECT: "true"}}
    if service.rank:
        # No time, an order: where services share an address, the older one has what names nobody.
        minutes, seconds = divmod(min(service.rank, 3599), 60)
        metadata["creationTimestamp"] = f"1970-01-01T00:{minutes:02}:{seconds:02}Z"
    return metadata


def _service(service: _Service, place: Place) -> Mapping[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(service, place, service.host),
        "spec": {
            "type": "ClusterIP",
            "clusterIPs": service.addresses,
            "ports": [{"name": port.name, "port": port.number} for port in service.ports],
        },
    }


def _slices(service: _Service, place: Place) -> Iterator[Mapping[str, Any]]:
    """A slice for each set of target ports, as Kubernetes does it, and for each address family."""
    parts: dict[tuple[str, tuple[tuple[str, int], ...]], list[Workload]] = {}
    for workload in service.workloads:
        if workload.addresses:
            family = "IPv6" if ":" in workload.addresses[0] else "IPv4"
            parts.setdefault((family, _targets(service, workload)), []).append(workload)
    for family, targets in sorted(parts):
        tail = "-".join(str(target) for _, target in targets) + ("-ipv6" if family == "IPv6" else "")
        if len(tail) > _LONGEST_TAIL:
            tail = hashlib.sha256(tail.encode()).hexdigest()[:16]
        yield {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": f"{service.host}-{tail}",
                "namespace": place.namespace,
                "labels": {"kubernetes.io/service-name": service.host},
            },
            "addressType": family,
            "ports": [{"name": name, "port": target, "protocol": "TCP"} for name, target in targets],
            "endpoints": [_endpoint(workload, place) for workload in parts[family, targets]],
        }


def _endpoint(workload: Workload, place: Place) -> Mapping[str, Any]:
    ready = workload.ready and not workload.terminating
    return {
        "addresses": [workload.addresses[0]],
        "conditions": {"ready": ready, "serving": workload.ready, "terminating": workload.terminating},
        "targetRef": {"kind": "Pod", "name": workload.name, "namespace": place.namespace},
    }


def _targets(service: _Service, workload: Workload) -> tuple[tuple[str, int], ...]:
    """(port name, target) of the service's ports that a workload has."""
    targets = {port.port: port.target for port in workload.ports}
    return tuple((port.name, targets[port.number]) for port in service.ports if port.number in targets)


def _entry(service: _Service, place: Place) -> Mapping[str, Any]:
    ports: list[dict[str, Any]] = []
    for port in service.ports:
        said = {} if port.protocol == AUTO else {"protocol": port.protocol.upper()}
        ports.append({"number": port.number, "name": port.name, **said})
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": _metadata(service, place, _entry_name(service.host)),
        "spec": {
            "hosts": [fqdn(service.host, place.namespace)],
            "addresses": service.addresses,
            "ports": ports,
            "location": "MESH_INTERNAL",
            "resolution": "STATIC",
            "endpoints": list(_entry_endpoints(service)),
        },
    }


def _entry_endpoints(service: _Service) -> Iterator[Mapping[str, Any]]:
    """Those that are ready: a ServiceEntry cannot say that one is not."""
    for workload in service.workloads:
        if not workload.addresses or not workload.ready or workload.terminating:
            continue
        endpoint: dict[str, Any] = {
            "address": workload.addresses[0],
            "ports": dict(_targets(service, workload)),
            "labels": dict(workload.labels),
        }
        if workload.mutual:
            endpoint["serviceAccount"] = workload.account
        yield endpoint


def _entry_name(host: str) -> str:
    """A name of its own for each host: what had to be replaced is told apart by a digest."""
    name = names.object_name(host)
    return name if name == host else f"{name}-{_digest(host).hex()[:6]}"


def _nowhere(host: str) -> str:
    """An address of 241.0.0.0/8, which nobody has or dials (240.240.0.0/16 is Istio's to allocate)."""
    first, second, third, *_ = _digest(host)
    return f"241.{first}.{second}.{third}"


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
