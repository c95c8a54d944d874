"""The Kubernetes Service: a name, its ports and who answers."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.graph import Table
from controlplane.model.hosts import fqdn
from controlplane.model.keys import Key, Labels
from controlplane.model.kinds.kind import by_namespace, namespace_of
from controlplane.model.meta import Meta


@dataclass(frozen=True, slots=True)
class ServicePort:
    """One port: `port` is what clients dial; `target_port` a number, a container port's name or None (= port)."""

    name: str
    port: int
    protocol: str = "TCP"
    target_port: int | str | None = None
    node_port: int | None = None
    app_protocol: str | None = None


@dataclass(frozen=True, slots=True)
class Service:
    """A Kubernetes Service; `type` is ClusterIP, NodePort, LoadBalancer or ExternalName.

    `cluster_ips` is clusterIPs, or clusterIP alone where only that is given; ("None",) is headless.
    `selector` None: somebody else writes the endpoints.
    """

    meta: Meta
    type: str = "ClusterIP"
    cluster_ips: tuple[str, ...] = ()
    ports: tuple[ServicePort, ...] = ()
    selector: Labels | None = None
    external_name: str | None = None
    internal_traffic_policy: str = "Cluster"
    traffic_distribution: str | None = None
    publish_not_ready_addresses: bool = False

    @property
    def headless(self) -> bool:
        """Whether the service has no address of its own on purpose (clusterIP: None)."""
        return "None" in self.cluster_ips

    @property
    def addresses(self) -> tuple[str, ...]:
        """The service's virtual IPs; empty when headless, external or not assigned."""
        return () if self.headless else self.cluster_ips


def _external_name(key: Key, value: Service) -> tuple[str, ...]:
    return (fqdn(value.external_name, key.namespace),) if value.external_name else ()


services = Table(
    "services",
    indexes={"namespace": by_namespace, "external_name": _external_name},
    labels=lambda value: value.meta.labels,
    selector=lambda value: value.selector,
    namespace=namespace_of,
)
