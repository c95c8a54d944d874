"""The Pod: labels, identity, place and addresses of one workload instance."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.graph import Table
from controlplane.model.describe import shorten
from controlplane.model.hosts import is_address
from controlplane.model.keys import Key
from controlplane.model.kinds.kind import Kind, by_namespace, namespace_of
from controlplane.model.kinds.proxy_annotation import NOTHING_SAID, Surroundings, read_annotation
from controlplane.model.meta import Meta
from controlplane.model.reader import Reader


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
    """A pod; `pod_ips` holds every address, the first is status.podIP; `ready` is its Ready condition.

    `surroundings`: what it says of those who call it, if it is a gateway.
    """

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
    surroundings: Surroundings = NOTHING_SAID


def _ips(_key: Key, value: Pod) -> tuple[str, ...]:
    return value.pod_ips


pods = Table(
    "pods",
    indexes={"namespace": by_namespace, "ip": _ips},
    labels=lambda value: value.meta.labels,
    namespace=namespace_of,
)


def _read(r: Reader, meta: Meta) -> Pod:
    spec = r.inner("spec")
    status = r.inner("status")
    conditions = status.messages("conditions", lambda c: (c.text("type"), c.text("status")))
    return Pod(
        meta=meta,
        service_account_name=spec.text("serviceAccountName", "default"),
        node_name=spec.string("nodeName"),
        hostname=spec.string("hostname"),
        subdomain=spec.string("subdomain"),
        host_network=spec.boolean("hostNetwork"),
        containers=_read_containers(spec),
        pod_ips=_read_ips(status),
        phase=status.text("phase"),
        ready=("Ready", "True") in conditions,
        terminating=r.inner("metadata").has("deletionTimestamp"),
        surroundings=read_annotation(r, meta),
    )


def _read_containers(spec: Reader) -> tuple[Container, ...]:
    # An init container that restarts always is a sidecar: it runs, and its ports are served.
    early = spec.messages("initContainers", lambda c: (c.string("restartPolicy"), _read_container(c)))
    sidecars = tuple(container for policy, container in early if policy == "Always")
    return spec.messages("containers", _read_container) + sidecars


def _read_container(r: Reader) -> Container:
    return Container(name=r.text("name"), ports=r.messages("ports", _read_port))


def _read_port(r: Reader) -> ContainerPort:
    return ContainerPort(
        name=r.text("name"),
        container_port=r.required_port("containerPort"),
        protocol=r.enum("protocol", ("TCP", "UDP", "SCTP"), "TCP"),
    )


def _read_ips(status: Reader) -> tuple[str, ...]:
    first = status.string("podIP")
    more = status.messages("podIPs", lambda ip: ip.text("ip"))
    addresses = tuple(dict.fromkeys(ip for ip in (first, *more) if ip))
    for address in addresses:
        if not is_address(address):
            status.error("podIP", f"{shorten(address)} is no IP address", "write an IP address")
    return addresses


POD = Kind(
    name="Pod",
    group="",
    versions=("v1",),
    plural="pods",
    namespaced=True,
    table=pods,
    read=_read,
    shape="core",
)
