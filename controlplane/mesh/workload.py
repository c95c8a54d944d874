"""Workloads: the small facts about Pods and Nodes that endpoints and proxies need.

Pods change often and mostly in ways that matter to nobody here; everything above reads these
extracts, so that such a change ends in this file.
"""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.graph import Q, query
from controlplane.model.keys import Key, Labels
from controlplane.model.kinds import nodes, pods
from controlplane.model.kinds.cluster import Node
from controlplane.model.kinds.pod import Pod
from controlplane.model.kinds.proxy_annotation import NOTHING_SAID, Surroundings
from controlplane.model.kinds.service import NETWORK
from controlplane.model.locality import Locality, parse_locality

_LOCALITY_LABEL = "istio-locality"


@dataclass(frozen=True, slots=True)
class PodFacts:
    """What a Pod is to the mesh.  `ports` are the (name, number) pairs of its TCP container ports;
    `node` is the machine that it runs on, "" where unknown."""

    labels: Labels
    service_account: str
    locality: Locality
    network: str
    ports: tuple[tuple[str, int], ...]
    host_network: bool
    node: str = ""

    def port(self, name: str) -> int | None:
        """The container port of this name."""
        return next((number for known, number in self.ports if known == name), None)


@dataclass(frozen=True, slots=True)
class PodState:
    """Whether and where a Pod can be reached; `ips` hold every address, the first is the main one."""

    ips: tuple[str, ...]
    ready: bool
    terminating: bool


@query
def pod_facts(q: Q, key: Key) -> PodFacts | None:
    """The facts about a Pod; None where there is no such Pod."""
    pod: Pod | None = q.get(pods, key)
    if pod is None:
        return None
    labels = dict(pod.meta.labels)
    ports = {
        port.name: port.container_port
        for container in reversed(pod.containers)
        for port in reversed(container.ports)
        if port.name and port.protocol == "TCP"
    }
    # The label wins over the machine; it uses dots because labels may not hold slashes.
    said = labels.get(_LOCALITY_LABEL, "").replace(".", "/")
    return PodFacts(
        labels=pod.meta.labels,
        service_account=pod.service_account_name,
        locality=parse_locality(said) if said else q(node_locality, pod.node_name or ""),
        network=labels.get(NETWORK, ""),
        ports=tuple(sorted(ports.items())),
        host_network=pod.host_network,
        node=pod.node_name or "",
    )


@query
def pod_surroundings(q: Q, key: Key) -> Surroundings:
    """What a Pod says of those who call it, if it is a gateway."""
    pod: Pod | None = q.get(pods, key)
    return NOTHING_SAID if pod is None else pod.surroundings


@query
def pod_state(q: Q, key: Key) -> PodState | None:
    """The state of a Pod; None where there is no such Pod."""
    pod: Pod | None = q.get(pods, key)
    if pod is None:
        return None
    over = pod.phase in ("Succeeded", "Failed")
    return PodState(pod.pod_ips, pod.ready and not over, pod.terminating or over)


@query
def node_locality(q: Q, name: str) -> Locality:
    """Where a machine stands; unknown for unknown machines."""
    node: Node | None = q.get(nodes, Key("", name)) if name else None
    return Locality() if node is None else Locality(node.region, node.zone, node.subzone)
