"""Namespace, Node and ServiceAccount: what a workload lives in, on and as."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.graph import Table
from controlplane.model.kinds.kind import by_namespace, namespace_of
from controlplane.model.meta import Meta


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
