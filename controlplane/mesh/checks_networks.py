"""Checks of networks: can anybody dial their doors, and reach through them what stands behind?"""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.graph import Q
from controlplane.mesh.checks_finding import Finding
from controlplane.mesh.networks import GATEWAY_PORT, door_network, door_port, unreachable_behind_doors
from controlplane.mesh.service import ServiceId
from controlplane.model.describe import shorten
from controlplane.model.hosts import is_address
from controlplane.model.kinds.service import NETWORK, Service


def door_findings(found: Service) -> Iterator[Finding]:
    """What is wrong with a Service as a door; nothing with one that is none."""
    if not dict(found.meta.labels).get(NETWORK):
        return
    network = door_network(found)
    if door_port(found) is None:
        said = shorten(dict(found.meta.labels)[GATEWAY_PORT])
        why = f"{said} is no port: network {network} cannot be entered here"
        yield Finding(
            f"metadata.labels[{GATEWAY_PORT}]", why, "write a number from 1 to 65535, or leave it out"
        )
    named = [address for address in found.external_addresses if not is_address(address)]
    for name in named:
        why = f"{shorten(name)} is a name, and endpoints have addresses: it is no door of network {network}"
        yield Finding(
            "status.loadBalancer.ingress", why, "list the addresses that it stands for in spec.externalIPs"
        )
    if not found.external_addresses:
        why = f"no address is known: endpoints of network {network} are dialled directly"
        yield Finding(
            f"metadata.labels[{NETWORK}]", why, "list addresses in spec.externalIPs, or remove the label"
        )


def left_behind(q: Q, field: str, id: ServiceId) -> Iterator[Finding]:
    """Endpoints of a service that nobody of another network reaches; `field` is where they are chosen."""
    for network in q(unreachable_behind_doors, id):
        yield Finding(
            field,
            f"endpoints in network {network} take no mutual TLS, and its door passes on nothing else: "
            "from other networks they are left out",
            "give them a sidecar, and WorkloadEntries a serviceAccount",
        )
