"""A host has one spelling: case and a final dot make no other name."""

from __future__ import annotations

import pytest

from controlplane.mesh.service import ServiceId, service
from controlplane.model.hosts import canonical, fqdn
from tests.unit.mesh.world import World


@pytest.mark.parametrize(
    ("written", "known"),
    [
        ("Reviews", "reviews.default.svc.cluster.local"),
        ("reviews.", "reviews"),
        ("WWW.Example.com.", "www.example.com"),
        ("*.Example.com", "*.example.com"),
        ("2001:DB8::1", "2001:db8::1"),
        ("", ""),
    ],
)
def test_fqdn_is_canonical(written: str, known: str) -> None:
    assert fqdn(written, "default") == known
    assert canonical(known) == known


def test_a_service_entry_is_known_by_the_canonical_host() -> None:
    world = World(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: a, namespace: default}\n"
        "spec: {hosts: [WWW.Example.com.], resolution: DNS, "
        "ports: [{number: 80, name: http, protocol: HTTP}]}"
    )
    assert world.read(service, ServiceId("www.example.com", "default")) is not None
