"""Namespace, Node and ServiceAccount: what a workload lives in, on and as."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.graph import Table
from controlplane.model.kinds.kind import Kind, by_namespace, namespace_of
from controlplane.model.meta import Meta
from controlplane.model.reader import Reader


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace; only its labels matter (discovery selectors)."""

    meta: Meta


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """The identity that pods run as."""

    meta: Meta


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """One address of a node; `type` is InternalIP, ExternalIP, Hostname, InternalDNS or ExternalDNS."""

    type: str
    address: str


@dataclass(frozen=True, slots=True)
class Node:
    """A machine; its labels say where it stands."""

    meta: Meta
    addresses: tuple[NodeAddress, ...] = ()
    region: str = ""
    zone: str = ""
    subzone: str = ""


namespaces = Table("namespaces", labels=lambda value: value.meta.labels)
nodes = Table("nodes")
service_accounts = Table("service_accounts", indexes={"namespace": by_namespace}, namespace=namespace_of)


def _read_node(r: Reader, meta: Meta) -> Node:
    status = r.inner("status")
    labels = dict(meta.labels)
    return Node(
        meta=meta,
        addresses=status.messages("addresses", _read_address),
        region=labels.get("topology.kubernetes.io/region", ""),
        zone=labels.get("topology.kubernetes.io/zone", ""),
        subzone=labels.get("topology.istio.io/subzone", ""),
    )


def _read_address(r: Reader) -> NodeAddress:
    return NodeAddress(type=r.text("type"), address=r.text("address"))


NAMESPACE = Kind(
    name="Namespace",
    group="",
    versions=("v1",),
    plural="namespaces",
    namespaced=False,
    table=namespaces,
    read=lambda _, meta: Namespace(meta),
    shape="core",
)
NODE = Kind(
    name="Node",
    group="",
    versions=("v1",),
    plural="nodes",
    namespaced=False,
    table=nodes,
    read=_read_node,
    shape="core",
)
SERVICE_ACCOUNT = Kind(
    name="ServiceAccount",
    group="",
    versions=("v1",),
    plural="serviceaccounts",
    namespaced=True,
    table=service_accounts,
    read=lambda _, meta: ServiceAccount(meta),
    shape="core",
)
