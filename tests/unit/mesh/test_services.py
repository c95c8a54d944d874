"""Kubernetes Services and ServiceEntries as one domain value."""

from __future__ import annotations

import pytest

from controlplane.mesh.service import ServiceId, alias_target, service, services_of_host
from tests.unit.mesh.world import World
from tests.unit.mesh.world import service as service_yaml

REVIEWS = ServiceId("reviews.default.svc.cluster.local", "default")


def entry(name: str, hosts: str, *, namespace: str = "default", spec: str = "", created: str = "") -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, namespace: {namespace}, creationTimestamp: {created!r}}}
spec:
  hosts: [{hosts}]
  ports: [{{number: 443, name: tls, protocol: TLS}}]
  resolution: DNS
{spec}
---
"""


def test_a_kubernetes_service() -> None:
    found = World(service_yaml("reviews", "http=9080:web, tcp-db=3307, dns=53/UDP")).read(service, REVIEWS)
    assert [(p.number, p.name, p.protocol, p.target) for p in found.ports] == [
        (3307, "tcp-db", "TCP", 3307),
        (9080, "http", "HTTP", "web"),
    ]
    assert (found.addresses, found.resolution, found.external) == (("10.96.0.10",), "STATIC", False)
    assert found.export_to == ("*",) and found.selector == (("app", "reviews"),)
    assert found.source == ("Service", "default", "reviews")


def test_a_headless_service_has_no_address_of_its_own() -> None:
    found = World(service_yaml("reviews", "http=80", ip='"None"')).read(service, REVIEWS)
    assert found.headless and found.addresses == () and found.resolution == "NONE"


@pytest.mark.parametrize(
    ("ports", "protocol"),
    [
        ("http=80", "HTTP"),
        ("http-web=80", "HTTP"),
        ("http2=80", "HTTP2"),
        ("grpc-api=80", "GRPC"),
        ("grpc-web-api=80", "GRPC-Web"),
        ("https=443", "HTTPS"),
        ("mongo=27017", "MONGO"),
        ("db=3306", "TCP"),
        ("web=8080", "AUTO"),
        ("httpish=8080", "AUTO"),
    ],
)
def test_protocol_by_port_name(ports: str, protocol: str) -> None:
    found = World(service_yaml("reviews", ports)).read(service, REVIEWS)
    assert [port.protocol for port in found.ports] == [protocol]


@pytest.mark.parametrize(
    ("app_protocol", "protocol"),
    [("kubernetes.io/h2c", "HTTP2"), ("kubernetes.io/wss", "HTTPS"), ("grpc", "GRPC"), ("exotic", "AUTO")],
)
def test_app_protocol_decides_before_the_name(app_protocol: str, protocol: str) -> None:
    text = service_yaml("reviews", "http=80").replace(
        "protocol: TCP", f"protocol: TCP, appProtocol: {app_protocol}"
    )
    found = World(text).read(service, REVIEWS)
    assert [port.protocol for port in found.ports] == [protocol]


def test_a_service_entry_takes_its_protocol_from_the_field_alone() -> None:
    world = World(
        entry("web", "a.example.com").replace("protocol: TLS", "protocol: ''").replace("443", "3306")
    )
    found = world.read(service, ServiceId("a.example.com", "default"))
    assert [port.protocol for port in found.ports] == ["AUTO"]
    assert found.external and found.resolution == "DNS"


def test_addresses_of_one_host_lose_their_prefix() -> None:
    text = entry("web", "a.example.com", spec="  addresses: [10.1.1.1/32, 10.2.0.0/16]")
    world = World(text.replace("resolution: DNS", "resolution: NONE"))
    found = world.read(service, ServiceId("a.example.com", "default"))
    assert found.addresses == ("10.1.1.1", "10.2.0.0/16")


def test_a_kubernetes_service_beats_a_service_entry_of_its_namespace() -> None:
    world = World(service_yaml("reviews", "http=80") + entry("web", REVIEWS.host))
    assert world.read(service, REVIEWS).source.kind == "Service"
    world.delete("Service", "reviews")
    assert world.read(service, REVIEWS).source.kind == "ServiceEntry"


def test_of_several_service_entries_the_oldest_defines() -> None:
    young = entry("a", "a.example.com", created="2024-02-01T00:00:00Z")
    old = entry("b", "a.example.com", created="2024-01-01T00:00:00Z")
    world = World(young + old)
    assert world.read(service, ServiceId("a.example.com", "default")).source.name == "b"


def test_services_of_a_host_in_several_namespaces() -> None:
    world = World(service_yaml("reviews", "http=80") + entry("web", REVIEWS.host, namespace="other"))
    assert world.read(services_of_host, REVIEWS.host) == (REVIEWS, ServiceId(REVIEWS.host, "other"))
    assert world.read(services_of_host, "nobody.example.com") == ()


def test_an_external_name_is_another_name_of_its_target() -> None:
    alias = """
apiVersion: v1
kind: Service
metadata: {name: old, namespace: default}
spec: {type: ExternalName, externalName: reviews.default.svc.cluster.local}
"""
    world = World(service_yaml("reviews", "http=80") + alias)
    old = "old.default.svc.cluster.local"
    assert world.read(service, ServiceId(old, "default")) is None
    assert world.read(service, REVIEWS).aliases == (old,)
    assert world.read(alias_target, old) == REVIEWS.host
    assert world.read(alias_target, REVIEWS.host) == REVIEWS.host


def test_external_names_in_a_circle_end() -> None:
    def alias(name: str, target: str) -> str:
        return f"""
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: default}}
spec: {{type: ExternalName, externalName: {target}.default.svc.cluster.local}}
---
"""

    world = World(alias("a", "b") + alias("b", "a"))
    assert world.read(alias_target, "a.default.svc.cluster.local") == "b.default.svc.cluster.local"
    assert world.read(service, ServiceId("a.default.svc.cluster.local", "default")) is None


def test_export_to_by_annotation_and_mesh_default() -> None:
    def export(world: World) -> tuple[str, ...]:
        return world.read(service, REVIEWS).export_to

    plain = service_yaml("reviews", "http=80")
    said = plain.replace(
        "namespace: default,", "namespace: default, annotations: {networking.istio.io/exportTo: '., other'},"
    )
    world = World(plain)
    assert export(world) == ("*",)
    world.apply("kind: MeshConfig\ndefaultServiceExportTo: ['.']")
    assert export(world) == ("default",)
    world.apply(said)
    assert export(world) == ("default", "other")
    world.apply(said.replace("'., other'", "'~'"))
    assert export(world) == ()
