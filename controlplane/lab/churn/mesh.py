"""Synthetic meshes: plain objects as a source would deliver them, and the proxies that live in them.

Service number i lives in namespace i mod `namespaces`, listens on port 9080 and has `endpoints`
pods; the proxy number i is one of the pods of service i.  So every namespace is a scope of its own for
routes, and every proxy has its own inbound listener, as in a real mesh.

A mesh is told in one of two dialects.  "kubernetes" has Services, EndpointSlices and, where labels
matter, Pods.  "serviceentry" has only Istio's own kinds in the version that every istiod reads from
files, so that servers without a Kubernetes API can be given the same mesh.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from controlplane.envoy.bootstrap import Node
from controlplane.lab.churn import markers
from controlplane.lab.churn.objects import (
    DOMAIN,
    OLD_VERSION,
    PORT,
    Pod,
    Raw,
    endpoint_slice,
    machine,
    service,
    service_entry,
    vip,
)

__all__ = ["DOMAIN", "PORT", "Dialect", "Mesh", "Pod", "Raw", "unrelated"]


Dialect: TypeAlias = Literal["kubernetes", "serviceentry"]
_SLOTS = 128
_VERSIONS = {"kubernetes": "networking.istio.io/v1", "serviceentry": OLD_VERSION}


@dataclass(frozen=True, slots=True)
class Mesh:
    """The size of a mesh.

    Every `virtual_services`th service has a VirtualService, every `destination_rules`th a
    DestinationRule (0 = none).  With `versions` above 1 the pods of a service are spread over as many
    Deployments, and the DestinationRules have subsets for them.  With `nodes` they are spread over
    machines.  `scoped`: a Sidecar in each namespace limits what is seen to that namespace.
    """

    services: int = 1000
    endpoints: int = 10
    namespaces: int = 100
    dialect: Dialect = "kubernetes"
    virtual_services: int = 10
    destination_rules: int = 5
    versions: int = 1
    nodes: int = 0
    standing: int = 1
    """The first pods of each service, on which proxies may stand: churn leaves them alone."""
    scoped: bool = False
    protocol: str = "HTTP"
    """Of the services' port: HTTP, TCP, TLS, or "" to be detected."""

    def namespace(self, i: int) -> str:
        return f"ns{i % self.namespaces}"

    def host(self, i: int) -> str:
        return f"s{i}.{self.namespace(i)}.{DOMAIN}"

    def has_virtual_service(self, i: int) -> bool:
        return self.virtual_services > 0 and i % self.virtual_services == 0

    def has_destination_rule(self, i: int) -> bool:
        return self.destination_rules > 0 and i % self.destination_rules == 0

    def objects(self) -> Iterator[Raw]:
        """Everything in it."""
        if self.dialect == "kubernetes":
            for n in range(self.namespaces):
                yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"ns{n}"}}
            yield from (machine(n) for n in range(self.nodes))
        if self.scoped:
            yield from (self.sidecar(n) for n in range(self.namespaces))
        for i in range(self.services):
            pods = self.pods(i)
            if self.dialect == "kubernetes":
                yield self.service(i)
            if self.has_pod_objects:
                yield from (self.pod(i, pod) for pod in pods)
            yield self.members(i, pods)
            if self.has_virtual_service(i):
                yield self.virtual_service(i, 90)
            if self.has_destination_rule(i):
                yield self.destination_rule(i, 100)

    # -- services and who serves them -----------------------------------------------------------

    def service(self, i: int) -> Raw:
        return service(f"s{i}", self.namespace(i), vip(i), self.protocol)

    def pods(self, i: int) -> tuple[Pod, ...]:
        """The pods of service i before anything changes."""
        return tuple(self._pod(i, n) for n in range(self.endpoints))

    def spare(self, i: int, moved: int) -> Pod:
        """A pod of service i that the mesh does not have, one for each `moved`."""
        return self._pod(i, self.endpoints + moved % (_slots(self.endpoints) - self.endpoints))

    def node_of(self, i: int, n: int) -> str:
        """Where pod n of service i runs: standing pods on a machine that does not fail."""
        if self.nodes < 2:
            return f"node-{self.nodes - 1}" if self.nodes else ""
        return f"node-{0 if n < self.standing else 1 + (i * 7 + n) % (self.nodes - 1)}"

    @property
    def has_pod_objects(self) -> bool:
        """An EndpointSlice has no labels: subsets need the Pods themselves."""
        return self.dialect == "kubernetes" and self.versions > 1

    def members(self, i: int, pods: Sequence[Pod]) -> Raw:
        """The object that says which pods serve service i: EndpointSlice or ServiceEntry."""
        if self.dialect == "serviceentry":
            return self.service_entry(i, pods)
        made = endpoint_slice(f"s{i}", self.namespace(i), pods, self.protocol)
        if self.has_pod_objects:
            for entry, pod in zip(made["endpoints"], pods, strict=True):
                entry["targetRef"] = {"kind": "Pod", "name": pod.name, "namespace": self.namespace(i)}
        return made

    def slice(self, i: int, moved: int = 0) -> Raw:
        """The endpoints of a service; `moved` gives the last of them another address."""
        pods = list(self.pods(i))
        if moved:
            pods[-1] = self._pod(i, self.endpoints + moved % 100)
        return endpoint_slice(f"s{i}", self.namespace(i), pods, self.protocol)

    def service_entry(self, i: int, pods: Sequence[Pod]) -> Raw:
        return service_entry(f"s{i}", self.namespace(i), vip(i), pods, self.protocol)

    def pod(self, i: int, pod: Pod) -> Raw:
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": pod.name,
                "namespace": self.namespace(i),
                "labels": {"app": f"s{i}", "version": pod.version},
            },
            "spec": {"nodeName": pod.node, "serviceAccountName": f"s{i}"},
            "status": {"phase": "Running", "podIP": pod.address, "podIPs": [{"ip": pod.address}]},
        }

    # -- rules ----------------------------------------------------------------------------------

    def virtual_service(self, i: int, weight: int, number: int = 0) -> Raw:
        """Splits the calls to service i: between its versions, else with the next of its namespace.

        With `number` its route sets a header that says so.
        """
        here = f"s{i}" if self.dialect == "kubernetes" else self.host(i)
        if self.versions > 1 and self.has_destination_rule(i):
            first, second = {"host": here, "subset": "v1"}, {"host": here, "subset": "v2"}
        else:
            other = (i + self.namespaces) % self.services
            there = f"s{other}" if self.dialect == "kubernetes" else self.host(other)
            first, second = {"host": here}, {"host": there}
        route: Raw = {
            "route": [
                {"destination": first, "weight": weight},
                {"destination": second, "weight": 100 - weight},
            ]
        }
        if number:
            route["headers"] = {"request": {"set": {"x-change": markers.word(number)}}}
        return self._rule("VirtualService", f"v{i}", i, {"hosts": [here], "http": [route]})

    def destination_rule(self, i: int, connections: int, number: int = 0) -> Raw:
        """A pool limit for service i; with `number` also hashing by a header of that name."""
        here = f"s{i}" if self.dialect == "kubernetes" else self.host(i)
        policy: Raw = {"connectionPool": {"tcp": {"maxConnections": connections}}}
        if number:
            policy["loadBalancer"] = {"consistentHash": {"httpHeaderName": markers.word(number)}}
        spec: Raw = {"host": here, "trafficPolicy": policy}
        if self.versions > 1:
            names = [f"v{n + 1}" for n in range(self.versions)]
            spec["subsets"] = [{"name": name, "labels": {"version": name}} for name in names]
        return self._rule("DestinationRule", f"d{i}", i, spec)

    def sidecar(self, n: int) -> Raw:
        return self._rule("Sidecar", "default", n, {"egress": [{"hosts": ["./*"]}]})

    # -- proxies --------------------------------------------------------------------------------

    def node(self, i: int) -> Node:
        """Proxy number i."""
        service, n = i % self.services, i // self.services % self.endpoints
        labels = {"app": f"s{service}", "pod-template-hash": f"{i:08x}"}
        if self.versions > 1:
            labels["version"] = self._version(n)
        return Node(
            ip=_address(service, n, _slots(self.endpoints)),
            name=f"s{service}-{i}",
            namespace=self.namespace(service),
            labels=labels,
            service_account=f"s{service}",
        )

    def _pod(self, i: int, n: int) -> Pod:
        # Named as the proxy that stands on it.
        name, address = f"s{i}-{i + n * self.services}", _address(i, n, _slots(self.endpoints))
        return Pod(name, address, self._version(n) if self.versions > 1 else "", self.node_of(i, n))

    def _version(self, n: int) -> str:
        return f"v{n % self.versions + 1}"

    def _rule(self, kind: str, name: str, i: int, spec: Raw) -> Raw:
        metadata = {"name": name, "namespace": self.namespace(i)}
        return {"apiVersion": _VERSIONS[self.dialect], "kind": kind, "metadata": metadata, "spec": spec}


def unrelated(n: int) -> Raw:
    """An object that no proxy's configuration depends on."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": f"account-{n}", "namespace": "elsewhere"},
    }


def _slots(endpoints: int) -> int:
    # 128 addresses for each service: the mesh's own, the rest to move to.
    return _SLOTS if endpoints <= 100 else 2 * endpoints


def _address(service: int, n: int, slots: int) -> str:
    number = service * slots + n
    return f"{20 + number // 2**24}.{number // 2**16 % 256}.{number // 256 % 256}.{number % 256}"
