"""Matches that no request fits: gateways that are not bound, ports that nobody has."""

from __future__ import annotations

import pytest

from tests.unit.mesh.findings import REVIEWS, found, route
from tests.unit.mesh.world import World, service

TO = "route: [{destination: {host: reviews}}]"
GATEWAY = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: g, namespace: default}
spec: {servers: [{port: {number: 8080, name: http, protocol: HTTP}, hosts: ["*"]}]}
---
"""
AT = "VirtualService/web spec.http[0].match[0]"


def told(gateways: str, match: str, objects: str = "") -> list[str]:
    spec = f"  gateways: {gateways}\n  http: [{{match: [{match}], {TO}}}]"
    lines = found(World(REVIEWS + GATEWAY + service("web", "http=81") + objects + route("web", spec)))
    return [line for line in lines if line.startswith("VirtualService/web")]


def test_a_gateway_of_a_match_has_to_be_among_those_of_the_object() -> None:
    assert told("[g]", "{gateways: [default/g]}") == []
    assert told("[g]", "{gateways: [h]}") == [
        f"{AT}.gateways[0]: 'h' is not in spec.gateways: this match takes nothing of it"
    ]
    assert told("[g]", "{gateways: [g, mesh]}") == [
        f"{AT}.gateways[1]: 'mesh' is not in spec.gateways: this match takes nothing of it"
    ]
    assert told("[]", "{gateways: [mesh]}") == []


@pytest.mark.parametrize(
    ("gateways", "match", "known"),
    [
        ("[]", "{port: 81}", None),
        ("[]", "{port: 80}", "81"),
        ("[g]", "{port: 8080}", None),
        ("[g]", "{port: 81}", "8080"),
        ("[g, mesh]", "{port: 81}", None),
        ("[g, mesh]", "{port: 81, gateways: [g]}", "8080"),
        ("[g, mesh]", "{port: 9}", "81, 8080"),
    ],
)
def test_a_port_has_to_be_one_of_a_service_or_a_gateway(gateways: str, match: str, known: str | None) -> None:
    lines = told(gateways, match)
    assert len(lines) == (known is not None)
    assert all(line.startswith(f"{AT}.port: ") for line in lines)


def test_ports_of_hosts_that_no_service_has_are_not_known() -> None:
    spec = f"  http: [{{match: [{{port: 9}}], {TO}}}]"
    assert found(World(REVIEWS + route("web", spec))) == []


def test_delegates_have_the_gateways_of_whoever_delegates() -> None:
    lent = f"  http: [{{match: [{{gateways: [g], port: 9}}, {{gateways: [h]}}], {TO}}}]"
    lines = found(World(REVIEWS + GATEWAY + route("lent", lent, hosts="[]")))
    assert "VirtualService/lent spec.http[0].match[1].gateways[0]: there is no Gateway default/h" in lines
    assert not any("match[0]" in line for line in lines)
