"""The mesh in which simulator and Envoys are compared: what is always there, and the words for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.support.issuer import Issuer
from tests.support.policy_draws import ISSUER as NAME

Json = dict[str, Any]

CLIENT, SERVER, GATEWAY, ELSEWHERE = "10.244.0.21", "10.244.0.11", "10.244.0.10", "10.244.0.31"
GATE_LABELS = {"istio": "ingressgateway"}
ISSUER = Issuer(NAME)
STRANGER = Issuer("stranger@example.com")
FORGER = Issuer(NAME)
"""Has the name and a key of its own."""
NETWORKS = ("11.0.0.0/8", "10.96.2.0/24")
"""Every address of these answers, virtual ones too, which nobody should reach; at these ports."""
PORTS = (80, 443, 3306, 7000, 8000, 8080, 9999)
PASSED_BY = "11.0.99.99"
"""An address that nobody in the mesh has heard of."""
ALPHA, BETA = "alpha.shop.svc.cluster.local", "beta.shop.svc.cluster.local"
SERVED, PARTS, EXT, WILD = (
    "server.shop.svc.cluster.local",
    "parts.example.com",
    "ext.example.com",
    "*.wild.example.com",
)
VIPS = {ALPHA: "10.96.2.1", BETA: "10.96.2.2", PARTS: "10.96.2.3", SERVED: "10.96.2.4"}
ROUTED = (ALPHA, BETA, PARTS, EXT, WILD)
NAMESPACE = "shop"
VERSIONS = ("v1", "v2", "v3")
GATE_HOSTS = ("shop.example.com", "api.shop.example.com", "*.shop.example.com", "*")
PATHS = (
    "/",
    "/info",
    "/info/1",
    "/INFO/1",
    "/information",
    "/admin/users",
    "/api/v1/items/7",
    "/info?x=1",
    "/a//b/../c",
)
HEADERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("x-team", ("red", "blue", "redder")),
    ("x-version", ("1", "2", "canary-2")),
    ("cookie", ("user=jason; a=b", "a=b")),
)


def _service(name: str, vip: str, ports: Sequence[tuple[str, int]], addresses: Sequence[str]) -> list[Json]:
    listed = [{"name": called, "port": number} for called, number in ports]
    meta = {"name": name, "namespace": NAMESPACE}
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": meta,
            "spec": {"clusterIP": vip, "ports": listed},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {**meta, "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "ports": listed,
            "endpoints": [{"addresses": [one], "conditions": {"ready": True}} for one in addresses],
        },
    ]


def entry(name: str, host: str, ports: Sequence[tuple[str, int]], **spec: Any) -> Json:
    listed = [
        {"name": f"{kind.lower()}-{number}", "number": number, "protocol": kind} for kind, number in ports
    ]
    body = {"hosts": [host], "ports": listed, **spec}
    return made("ServiceEntry", name, body)


def made(kind: str, name: str, spec: Json, namespace: str = NAMESPACE, group: str = "networking") -> Json:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": f"{group}.istio.io/v1", "kind": kind, "metadata": metadata, "spec": spec}


def standing() -> list[Json]:
    """What is always there."""
    web = (("HTTP", 80), ("TLS", 443))
    versions = [
        {"address": f"11.0.3.{number}", "labels": {"version": version}}
        for number, version in enumerate(VERSIONS, 1)
    ]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "server",
            "namespace": NAMESPACE,
            "labels": {"app": "server", "security.istio.io/tlsMode": "istio"},
        },
        "spec": {"serviceAccountName": "server", "containers": [{"name": "app"}]},
        "status": {"podIP": SERVER, "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }
    served = _service("server", VIPS[SERVED], (("http", 8000), ("tcp", 3306)), ())[:1]
    served[0]["spec"]["selector"] = {"app": "server"}
    everything = (("http", 80), ("tcp", 3306), ("data", 7000))
    # A connection that is kept belongs to the chain that took it, of a configuration before this one.
    once = {"connectionPool": {"http": {"maxRequestsPerConnection": 1}}}
    return [
        made("DestinationRule", "server", {"host": SERVED, "trafficPolicy": once}),
        *_service("alpha", VIPS[ALPHA], everything, ("11.0.1.1", "11.0.1.2")),
        *_service("beta", VIPS[BETA], (("http", 80), ("http-more", 8080)), ("11.0.2.1",)),
        entry("parts", PARTS, (*web, ("TCP", 3306)), addresses=[VIPS[PARTS]], location="MESH_INTERNAL",
               resolution="STATIC", endpoints=versions),
        entry("ext", EXT, web, resolution="STATIC", endpoints=[{"address": "11.0.4.1"}]),
        entry("wild", WILD, web, resolution="NONE"),
        *served,
        pod,
    ]  # fmt: skip
