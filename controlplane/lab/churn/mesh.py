"""Synthetic meshes: plain objects as a source would deliver them, and the proxies that live in them.

Service number i lives in namespace i mod `namespaces`, listens on port 9080 and has `endpoints`
pods; the proxy number i is one of the pods of service i.  So every namespace is a scope of its own for
routes, and every proxy has its own inbound listener, as in a real mesh.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from controlplane.envoy.bootstrap import Node

Raw = dict[str, Any]
PORT = 9080


@dataclass(frozen=True, slots=True)
class Mesh:
    """The size of a mesh.  Every tenth service has a VirtualService, every fifth a DestinationRule."""

    services: int = 1000
    endpoints: int = 10
    namespaces: int = 100

    def namespace(self, i: int) -> str:
        return f"ns{i % self.namespaces}"

    def objects(self) -> Iterator[Raw]:
        """Everything in it."""
        for n in range(self.namespaces):
            yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"ns{n}"}}
        for i in range(self.services):
            yield self.service(i)
            yield self.slice(i)
            if i % 10 == 0:
                yield self.virtual_service(i, 90)
            if i % 5 == 0:
                yield self.destination_rule(i, 100)

    def service(self, i: int) -> Raw:
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": f"s{i}", "namespace": self.namespace(i)},
            "spec": {
                "clusterIP": f"10.{96 + i // 65536}.{i // 256 % 256}.{i % 256}",
                "selector": {"app": f"s{i}"},
                "ports": [{"name": "http", "port": PORT}],
            },
        }

    def slice(self, i: int, moved: int = 0) -> Raw:
        """The endpoints of a service; `moved` gives the last of them another address."""
        addresses = [_address(i, n) for n in range(self.endpoints)]
        if moved:
            addresses[-1] = _address(i, self.endpoints + moved % 100)
        return {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": f"s{i}-a",
                "namespace": self.namespace(i),
                "labels": {"kubernetes.io/service-name": f"s{i}"},
            },
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": PORT}],
            "endpoints": [{"addresses": [a], "conditions": {"ready": True}} for a in addresses],
        }

    def virtual_service(self, i: int, weight: int) -> Raw:
        """Splits the calls to service i between it and the next service of its namespace."""
        to = [
            {"destination": {"host": f"s{i}"}, "weight": weight},
            {"destination": {"host": f"s{(i + self.namespaces) % self.services}"}, "weight": 100 - weight},
        ]
        return {
            "apiVersion": "networking.istio.io/v1",
            "kind": "VirtualService",
            "metadata": {"name": f"v{i}", "namespace": self.namespace(i)},
            "spec": {"hosts": [f"s{i}"], "http": [{"route": to}]},
        }

    def destination_rule(self, i: int, connections: int) -> Raw:
        pool = {"tcp": {"maxConnections": connections}}
        return {
            "apiVersion": "networking.istio.io/v1",
            "kind": "DestinationRule",
            "metadata": {"name": f"d{i}", "namespace": self.namespace(i)},
            "spec": {"host": f"s{i}", "trafficPolicy": {"connectionPool": pool}},
        }

    def node(self, i: int) -> Node:
        """Proxy number i."""
        app = f"s{i % self.services}"
        return Node(
            ip=_address(i % self.services, i // self.services % self.endpoints),
            name=f"{app}-{i}",
            namespace=self.namespace(i % self.services),
            labels={"app": app, "pod-template-hash": f"{i:08x}"},
            service_account=app,
        )


def unrelated(n: int) -> Raw:
    """An object that no proxy's configuration depends on."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": f"account-{n}", "namespace": "elsewhere"},
    }


def _address(service: int, n: int) -> str:
    # 110 addresses for each of up to 100 000 services: 10 for the mesh, the rest to move to.
    number = service * 128 + n
    return f"{20 + number // 2**24}.{number // 2**16 % 256}.{number // 256 % 256}.{number % 256}"
