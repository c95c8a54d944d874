"""The Kubernetes Service: a name, its ports and who answers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from controlplane.graph import Table
from controlplane.model.checks import is_dns_label
from controlplane.model.describe import shorten
from controlplane.model.hosts import fqdn, is_address
from controlplane.model.keys import Key, Labels
from controlplane.model.kinds.kind import Kind, by_namespace, namespace_of
from controlplane.model.meta import Meta
from controlplane.model.reader import Reader


@dataclass(frozen=True, slots=True)
class ServicePort:
    """A port that clients dial; `target_port` is a number, a container port's name or None (= port)."""

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
    `selector` None: somebody else writes the endpoints.  `external_addresses` are what the world outside
    dials: IPs, and names of load balancers.
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
    external_addresses: tuple[str, ...] = ()

    @property
    def headless(self) -> bool:
        """Whether the service has no address of its own on purpose (clusterIP: None)."""
        return "None" in self.cluster_ips

    @property
    def addresses(self) -> tuple[str, ...]:
        """The service's virtual IPs; empty when headless, external or not assigned."""
        return () if self.headless else self.cluster_ips

    @property
    def distribution(self) -> str:
        """Which endpoints callers prefer: PreferSameZone, PreferSameNode, or "" for no preference."""
        return distribution_of(self.traffic_distribution, self.meta.annotations)


DISTRIBUTION = "networking.istio.io/traffic-distribution"
"""The annotation that says it where the field does not."""
# PreferClose is what Kubernetes called it first.
_DISTRIBUTIONS = {
    "prefersamezone": "PreferSameZone",
    "preferclose": "PreferSameZone",
    "prefersamenode": "PreferSameNode",
}


def distribution_of(said: str | None, annotations: Labels) -> str:
    """What a field, or else an annotation, says of the endpoints that callers prefer; "" for other words."""
    text = said or dict(annotations).get(DISTRIBUTION, "")
    return _DISTRIBUTIONS.get(text.lower(), "")


def _external_name(key: Key, value: Service) -> tuple[str, ...]:
    return (fqdn(value.external_name, key.namespace),) if value.external_name else ()


def noted_on_node(annotations: Labels) -> tuple[bool, ...]:
    """An index of what prefers the caller's machine by an annotation: (True,) or ()."""
    return (True,) if distribution_of(None, annotations) == "PreferSameNode" else ()


def _on_node(key: Key, value: Service) -> Iterable[bool]:
    return (
        (True,) if value.internal_traffic_policy == "Local" or value.distribution == "PreferSameNode" else ()
    )


NETWORK = "topology.istio.io/network"
"""The label of a workload that stands in a network, and of a Service that is the door to one."""


def _is_door(_key: Key, value: Service) -> Iterable[bool]:
    return (True,) if dict(value.meta.labels).get(NETWORK) else ()


services = Table(
    "services",
    indexes={
        "namespace": by_namespace,
        "external_name": _external_name,
        "on_node": _on_node,
        "is_door": _is_door,
    },
    labels=lambda value: value.meta.labels,
    selector=lambda value: value.selector,
    namespace=namespace_of,
)


TYPES = ("ClusterIP", "NodePort", "LoadBalancer", "ExternalName")
PROTOCOLS = ("TCP", "UDP", "SCTP")


def _read(r: Reader, meta: Meta) -> Service:
    spec = r.inner("spec")
    if meta.name and not is_dns_label(meta.name):
        r.error("metadata.name", f"{shorten(meta.name)} cannot name a service", "leave out the dots")
    type = spec.enum("type", TYPES, "ClusterIP")
    external_name = spec.string("externalName")
    if type == "ExternalName" and external_name is None:
        spec.error("externalName", "is missing", "name the host that this service stands for")
    _check_distribution(r, spec, meta)
    return Service(
        meta=meta,
        type=type,
        cluster_ips=_read_cluster_ips(spec),
        ports=_read_ports(spec),
        selector=spec.labels("selector") or None,
        external_name=external_name if type == "ExternalName" else None,
        internal_traffic_policy=spec.enum("internalTrafficPolicy", ("Cluster", "Local"), "Cluster"),
        traffic_distribution=spec.string("trafficDistribution"),
        publish_not_ready_addresses=spec.boolean("publishNotReadyAddresses"),
        external_addresses=(*spec.strings("externalIPs"), *_read_ingress(r)),
    )


def _check_distribution(r: Reader, spec: Reader, meta: Meta) -> None:
    said = spec.string("trafficDistribution")
    if said and not distribution_of(said, ()):
        spec.warn("trafficDistribution", f"{shorten(said)} means nothing here", _DISTRIBUTION_REMEDY)
    noted = dict(meta.annotations).get(DISTRIBUTION, "")
    if noted and not said and not distribution_of(None, meta.annotations):
        path = f"metadata.annotations[{DISTRIBUTION}]"
        r.warn(path, f"{shorten(noted)} means nothing here", _DISTRIBUTION_REMEDY)


_DISTRIBUTION_REMEDY = "say PreferSameZone or PreferSameNode, or remove it"


def _read_ingress(r: Reader) -> tuple[str, ...]:
    """Where the load balancer answers, as its controller has written it."""
    balancer = r.inner("status").message("loadBalancer", lambda b: b.messages("ingress", _read_entrance))
    return tuple(address for address in balancer or () if address)


def _read_entrance(r: Reader) -> str:
    return r.text("ip") or r.text("hostname")


def _read_cluster_ips(spec: Reader) -> tuple[str, ...]:
    one = spec.string("clusterIP")
    addresses = spec.strings("clusterIPs") or ((one,) if one else ())
    for address in addresses:
        if address != "None" and not is_address(address):
            spec.error("clusterIP", f"{shorten(address)} is no IP address", 'write an address or "None"')
    return addresses


def _read_ports(spec: Reader) -> tuple[ServicePort, ...]:
    ports = spec.messages("ports", _read_port)
    seen: set[str | tuple[int, str]] = set()
    for index, port in enumerate(ports):
        at = f"ports[{index}]"
        if not port.name and len(ports) > 1:
            spec.error(f"{at}.name", "is missing", "a service of several ports names each of them")
        elif port.name in seen:
            spec.error(f"{at}.name", f"{shorten(port.name)} is given twice", "use another name")
        if (port.port, port.protocol) in seen:
            spec.error(f"{at}.port", f"{port.port} is given twice", "use another port")
        seen.update((port.name, (port.port, port.protocol)))
    return ports


def _read_port(r: Reader) -> ServicePort:
    return ServicePort(
        name=r.text("name"),
        port=r.required_port("port"),
        protocol=r.enum("protocol", PROTOCOLS, "TCP"),
        target_port=_read_target(r),
        node_port=r.port("nodePort"),
        app_protocol=r.string("appProtocol"),
    )


def _read_target(r: Reader) -> int | str | None:
    # An integer or the name of a container's port; 0 and "" stand for `port` itself.
    if isinstance(r.value("targetPort"), str):
        return r.string("targetPort")
    return r.port("targetPort")


SERVICE = Kind(
    name="Service",
    group="",
    versions=("v1",),
    plural="services",
    namespaced=True,
    table=services,
    read=_read,
    shape="core",
)
