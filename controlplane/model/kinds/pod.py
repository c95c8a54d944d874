"""The Pod: labels, identity, place and addresses of one workload instance."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.graph import Table
from controlplane.model.keys import Key
from controlplane.model.kinds.kind import by_namespace, namespace_of
from controlplane.model.meta import Meta


@dataclass(frozen=True, slots=True)
class ContainerPort:
    """A declared port; its name is what a Service's targetPort may refer to."""

    name: str
    container_port: int
    protocol: str = "TCP"


@dataclass(frozen=True, slots=True)
class Container:
    """A container that runs as long as the pod does (native sidecars included)."""

    name: str
    ports: tuple[ContainerPort, ...] = ()


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod; `pod_ips` holds every address, the first is status.podIP; `ready` is its Ready condition."""

    meta: Meta
    service_account_name: str = "default"
    node_name: str | None = None
    hostname: str | None = None
    subdomain: str | None = None
    host_network: bool = False
    containers: tuple[Container, ...] = ()
    pod_ips: tuple[str, ...] = ()
    phase: str = ""
    ready: bool = False
    terminating: bool = False


def _ips(_key: Key, value: Pod) -> tuple[str, ...]:
    return value.pod_ips


pods = Table(
    "pods",
    indexes={"namespace": by_namespace, "ip": _ips},
    labels=lambda value: value.meta.labels,
    namespace=namespace_of,
)
