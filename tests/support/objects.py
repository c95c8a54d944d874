"""Objects as a user writes them, in few words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tests.support.files import Object

_GROUPS = {
    "VirtualService": "networking.istio.io/v1",
    "DestinationRule": "networking.istio.io/v1",
    "ServiceEntry": "networking.istio.io/v1",
    "Sidecar": "networking.istio.io/v1",
    "EndpointSlice": "discovery.k8s.io/v1",
    "EnvoyFilter": "networking.istio.io/v1alpha3",
}


def thing(kind: str, name: str, namespace: str, content: Mapping[str, Any], **labels: str) -> Object:
    """Any object; `content` is what stands beside its metadata."""
    meta = {"name": name, "namespace": namespace, **({"labels": labels} if labels else {})}
    return {"apiVersion": _GROUPS.get(kind, "v1"), "kind": kind, "metadata": meta, **content}


def service(
    name: str,
    namespace: str = "default",
    ports: str = "http=80:8080",
    *,
    number: int = 10,
    exported: str | None = None,
) -> Object:
    """A Service; `ports` is like "http=80:8080, tcp=9000", `exported` its exportTo; `number` its address."""
    found = []
    for part in ports.split(","):
        port, _, numbers = part.strip().partition("=")
        listed, _, target = numbers.partition(":")
        found.append(
            {"name": port, "port": int(listed), "targetPort": int(target or listed), "protocol": "TCP"}
        )
    address = f"10.96.{number // 250}.{number % 250}"
    one = thing(
        "Service",
        name,
        namespace,
        {"spec": {"selector": {"app": name}, "clusterIP": address, "ports": found}},
    )
    if exported is not None:
        one["metadata"]["annotations"] = {"networking.istio.io/exportTo": exported}
    return one


def endpoints(
    service: str, addresses: Iterable[str], namespace: str = "default", ports: str = "http=8080"
) -> Object:
    """The EndpointSlice of a Service, all its addresses ready."""
    listed = []
    for part in ports.split(","):
        port, _, number = part.strip().partition("=")
        listed.append({"name": port, "port": int(number), "protocol": "TCP"})
    content = {
        "addressType": "IPv4",
        "ports": listed,
        "endpoints": [{"addresses": [one], "conditions": {"ready": True}} for one in addresses],
    }
    labels = {"kubernetes.io/service-name": service}
    return thing("EndpointSlice", f"{service}-x", namespace, content, **labels)


def pod(name: str, address: str, namespace: str = "default", **labels: str) -> Object:
    """A ready Pod."""
    content = {
        "spec": {"serviceAccountName": "default", "containers": [{"name": "app"}]},
        "status": {
            "podIP": address,
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }
    return thing("Pod", name, namespace, content, **labels)


def virtual_service(
    name: str,
    host: str,
    namespace: str = "default",
    *,
    subset: str = "",
    timeout: str = "",
    prefix: str = "",
    export_to: tuple[str, ...] = (),
) -> Object:
    """A VirtualService with one route to its own host; with a `prefix` a second one, without."""
    destination = {"host": host, **({"subset": subset} if subset else {})}
    route: dict[str, Any] = {"route": [{"destination": destination}]}
    if timeout:
        route["timeout"] = timeout
    routes = [route]
    if prefix:
        routes = [
            {**route, "match": [{"uri": {"prefix": prefix}}]},
            {"route": [{"destination": {"host": host}}]},
        ]
    spec = {"hosts": [host], "http": routes, **({"exportTo": list(export_to)} if export_to else {})}
    return thing("VirtualService", name, namespace, {"spec": spec})


def destination_rule(
    name: str,
    host: str,
    namespace: str = "default",
    *,
    subsets: tuple[str, ...] = (),
    connections: int = 0,
    export_to: tuple[str, ...] = (),
) -> Object:
    """A DestinationRule with subsets by the label "version" and a limit of connections."""
    spec: dict[str, Any] = {"host": host}
    if subsets:
        spec["subsets"] = [{"name": one, "labels": {"version": one}} for one in subsets]
    if connections:
        spec["trafficPolicy"] = {"connectionPool": {"tcp": {"maxConnections": connections}}}
    if export_to:
        spec["exportTo"] = list(export_to)
    return thing("DestinationRule", name, namespace, {"spec": spec})


def service_entry(
    name: str,
    host: str,
    namespace: str = "default",
    *,
    resolution: str = "STATIC",
    ports: str = "http=80",
    endpoints: tuple[str, ...] = (),
    export_to: tuple[str, ...] = (),
) -> Object:
    """A ServiceEntry; the protocol of a port is its name up to "-"."""
    listed = []
    for part in ports.split(","):
        port, _, number = part.strip().partition("=")
        listed.append({"name": port, "number": int(number), "protocol": port.partition("-")[0].upper()})
    spec: dict[str, Any] = {
        "hosts": [host],
        "location": "MESH_EXTERNAL",
        "resolution": resolution,
        "ports": listed,
    }
    if endpoints:
        spec["endpoints"] = [{"address": one} for one in endpoints]
    if export_to:
        spec["exportTo"] = list(export_to)
    return thing("ServiceEntry", name, namespace, {"spec": spec})


def sidecar(
    name: str, namespace: str, hosts: tuple[str, ...], *, selector: Mapping[str, str] | None = None
) -> Object:
    """A Sidecar that imports `hosts`, for the workloads that `selector` selects, or for all."""
    spec: dict[str, Any] = {"egress": [{"hosts": list(hosts)}]}
    if selector:
        spec["workloadSelector"] = {"labels": dict(selector)}
    return thing("Sidecar", name, namespace, {"spec": spec})
