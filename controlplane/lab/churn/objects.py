"""Services and who serves them, as Kubernetes and as Istio write them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

Raw = dict[str, Any]
PORT = 9080
DOMAIN = "svc.cluster.local"
OLD_VERSION = "networking.istio.io/v1alpha3"
"""Of Istio's kinds: the one that every version of istiod reads from files."""


class Pod(NamedTuple):
    """A workload; `version` and `node` are "" where the mesh has none."""

    name: str
    address: str
    version: str = ""
    node: str = ""


def service(name: str, namespace: str, vip: str, protocol: str = "HTTP") -> Raw:
    """A Kubernetes Service; the port's name tells its protocol."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "clusterIP": vip,
            "selector": {"app": name},
            "ports": [{"name": _port_name(protocol), "port": PORT}],
        },
    }


def endpoint_slice(service: str, namespace: str, pods: Sequence[Pod], protocol: str = "HTTP") -> Raw:
    """The EndpointSlice of a Service."""
    endpoints: list[Raw] = [{"addresses": [pod.address], "conditions": {"ready": True}} for pod in pods]
    for entry, pod in zip(endpoints, pods, strict=True):
        if pod.node:
            entry["nodeName"] = pod.node
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{service}-a",
            "namespace": namespace,
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": "IPv4",
        "ports": [{"name": _port_name(protocol), "port": PORT}],
        "endpoints": endpoints,
    }


def service_entry(name: str, namespace: str, vip: str, pods: Sequence[Pod], protocol: str = "HTTP") -> Raw:
    """A service of the mesh with the pods that serve it."""
    port: Raw = {"number": PORT, "name": _port_name(protocol)}
    if protocol:
        port["protocol"] = protocol
    return {
        "apiVersion": OLD_VERSION,
        "kind": "ServiceEntry",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "hosts": [f"{name}.{namespace}.{DOMAIN}"],
            "addresses": [vip],
            "location": "MESH_INTERNAL",
            "resolution": "STATIC",
            "ports": [port],
            "endpoints": [_entry(pod) for pod in pods],
        },
    }


def _port_name(protocol: str) -> str:
    # A name without a protocol's prefix leaves it to be detected.
    return protocol.lower() or "port"


def _entry(pod: Pod) -> Raw:
    entry: Raw = {"address": pod.address}
    if pod.version:
        entry["labels"] = {"version": pod.version}
    if pod.node:
        entry["locality"] = f"region/{zone(pod.node)}"
    return entry


def machine(n: int) -> Raw:
    """A Kubernetes Node in one of three zones."""
    name = f"node-{n}"
    labels = {"topology.kubernetes.io/region": "region", "topology.kubernetes.io/zone": zone(name)}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}


def zone(node: str) -> str:
    return f"zone-{'abc'[int(node.removeprefix('node-')) % 3]}"


def vip(i: int) -> str:
    """The address of service i itself."""
    return f"10.{96 + i // 65536}.{i // 256 % 256}.{i % 256}"
