"""What is said about Gateways that select nobody, show nothing or come too late."""

from __future__ import annotations

from pathlib import Path

import pytest

from controlplane.mesh.checks import checks
from controlplane.mesh.checks_gateways import is_refusal
from tests.support.servers import Issuer
from tests.unit.envoy.edges import gateway, http, https
from tests.unit.envoy.traffic import virtual_service
from tests.unit.mesh.world import World, pod

ALL = "['*']"
SHOP = "{mode: SIMPLE, credentialName: shop}"
OLD, NEW = "2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z"
EDGE = pod("gw-1", "10.0.0.9", "istio: gw", namespace="edge")
ISSUER = Issuer()
UNKNOWN = (
    "Gateway/web spec.selector: no Pod or WorkloadEntry is known with the labels istio=gw: "
    "a gateway that connects with them in its metadata is served all the same"
)


def found(world: World) -> list[str]:
    """Every Problem as "Kind/name field: message"; each has a remedy."""
    every = [problem for problems in world.map(checks).values() for problem in problems]
    assert all(problem.level == "warning" and problem.remedy for problem in every)
    return [f"{one.kind}/{one.name} {one.field}: {one.message}" for one in every]


def test_a_gateway_that_is_all_right() -> None:
    secret = ISSUER.issue("a.com").secret("shop")
    bound = virtual_service("v", "[a.com]", "[{directResponse: {status: 200}}]", gateways="[edge/web]")
    assert (
        found(World(gateway("web", f"[{http(ALL)}, {https('[a.com]', SHOP)}]") + EDGE + secret + bound)) == []
    )


def test_nobody_has_the_labels() -> None:
    world = World(gateway("web", f"[{http(ALL)}]"))
    assert found(world) == [UNKNOWN]
    world.apply(EDGE)
    assert found(world) == []


def test_a_credential_is_looked_for_where_the_pods_are() -> None:
    tls = "{mode: MUTUAL, credentialName: shop}"
    elsewhere = ISSUER.issue("a.com").secret("shop", namespace="shop")
    world = World(gateway("web", f"[{https('[a.com]', tls)}]", namespace="shop") + EDGE + elsewhere)
    at = "Gateway/web spec.servers[0].tls.credentialName"
    pair = f"{at}: there is no Secret edge/shop with a certificate and its key"
    clients = f"{at}: there is no Secret edge/shop-cacert with a ca.crt, and clients are checked by it"
    assert found(world) == [pair, clients]
    world.apply(ISSUER.issue("a.com").secret("shop"))
    assert found(world) == [clients]
    world.apply(ISSUER.issue("a.com").secret("shop", authorities=ISSUER.certificate))
    assert found(world) == []


def test_a_credential_is_looked_for_though_no_workload_is_known() -> None:
    tls = "{mode: MUTUAL, credentialName: shop}"
    world = World(gateway("web", f"[{https('[a.com]', tls)}]"))
    at = "Gateway/web spec.servers[0].tls.credentialName"
    pair = f"{at}: there is no Secret shop in any namespace with a certificate and its key"
    clients = (
        f"{at}: there is no Secret shop-cacert in any namespace with a ca.crt, and clients are checked by it"
    )
    assert found(world) == [UNKNOWN, pair, clients]
    # It may be where the gateway is, which only the gateway knows.
    world.apply(ISSUER.issue("a.com").secret("shop", namespace="somewhere"))
    assert found(world) == [UNKNOWN, clients]
    world.apply(ISSUER.issue("a.com").secret("shop", namespace="somewhere", authorities=ISSUER.certificate))
    assert found(world) == [UNKNOWN]
    world.delete("Secret", "shop", "somewhere")
    assert found(world) == [UNKNOWN, pair, clients]


def test_a_credential_is_looked_for_where_workload_entries_are() -> None:
    entry = """
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: gw, namespace: edge}
spec: {address: 10.0.0.9, labels: {istio: gw}}
---
"""
    world = World(gateway("web", f"[{https('[a.com]', SHOP)}]", namespace="shop") + entry)
    (line,) = found(world)
    assert "there is no Secret edge/shop with a certificate" in line
    world.apply(ISSUER.issue("a.com").secret("shop"))
    assert found(world) == []


def test_a_credential_of_another_place_is_none() -> None:
    for name in ("shop/cert", "kubernetes://shop/cert"):
        tls = f"{{mode: SIMPLE, credentialName: '{name}'}}"
        (line,) = found(World(gateway("web", f"[{https('[a.com]', tls)}]") + EDGE))
        assert line.startswith(
            f"Gateway/web spec.servers[0].tls.credentialName: '{name}' names a Secret of another place"
        )


def test_who_comes_too_late_is_told() -> None:
    secret = ISSUER.issue("a.com").secret("shop")
    world = World(
        gateway("first", f"[{http(ALL)}, {https('[a.com]', SHOP)}]", created=OLD)
        + gateway("late", f"[{https('[b.com]', SHOP, 80)}, {https('[a.com]', SHOP, name='b')}]", created=NEW)
        + EDGE
        + pod("gw-2", "10.0.0.8", "istio: gw", namespace="edge")
        + secret
    )
    left_out = "this server is left out: Gateway edge/first"
    late = "Gateway edge/late"
    speaks, serves = "speaks plaintext HTTP on this port", "serves a.com on this port"
    # Both are told: who wins may not have meant to.
    assert found(world) == [
        f"Gateway/first spec.servers[0]: keeps out server 0 of {late}: Gateway edge/first {speaks}",
        f"Gateway/first spec.servers[1]: keeps out server 1 of {late}: Gateway edge/first {serves}",
        f"Gateway/late spec.servers[0]: {left_out} {speaks}",
        f"Gateway/late spec.servers[1]: {left_out} {serves}",
    ]
    assert sum(is_refusal(problem) for problems in world.map(checks).values() for problem in problems) == 2
    world.delete("Gateway", "first", "edge")
    assert found(world) == []


@pytest.mark.parametrize(
    ("server", "problem"),
    [
        (http(ALL, 15021), "port.number: port 15021 is the proxy's own"),
        (
            https("[a.com]", "{mode: SIMPLE, credentialName: shop, cipherSuites: [X]}"),
            "tls.cipherSuites: X is unknown to proxies and left out",
        ),
    ],
)
def test_servers_that_do_not_do_what_they_say(server: str, problem: str) -> None:
    world = World(gateway("web", f"[{server}]") + EDGE + ISSUER.issue("a.com").secret("shop"))
    (said,) = found(world)
    assert said.startswith(f"Gateway/web spec.servers[0].{problem}")


def test_virtual_services_and_their_gateways_find_each_other() -> None:
    def bound(gateways: str, hosts: str = "[a.com]") -> str:
        return virtual_service("v", hosts, "[{directResponse: {status: 200}}]", gateways=gateways)

    world = World(EDGE + gateway("web", f"[{http('[./b.com, a.com]')}]") + bound("[mesh, web]"))
    assert found(world) == ["VirtualService/v spec.gateways[1]: there is no Gateway default/web"]
    world.apply(bound("[edge/web]"))
    assert found(world) == []
    world.apply(bound("[edge/web]", "[b.com]"))
    nothing = "Gateway edge/web serves none of the hosts for namespace default"
    assert found(world) == [f"VirtualService/v spec.gateways[0]: {nothing}"]


def test_an_edit_of_a_certificate_checks_nothing_again() -> None:
    world = World(
        "".join(gateway(f"g{n}", f"[{https(f'[h{n}.com]', SHOP)}]") for n in range(9))
        + EDGE
        + ISSUER.issue("a.com").secret("shop")
    )
    assert found(world) == []
    with world.counting() as runs:
        world.apply(ISSUER.issue("a.com").secret("shop"))
        assert found(world) == []
    assert not runs["checks_gateways.gateway_problems"]


# -- what Istio ships as samples ------------------------------------------------------------------------

SAMPLES = Path(__file__).parents[4] / "shared" / "data" / "istio-samples"


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="Istio's samples are not beside this repository")
@pytest.mark.parametrize(
    "file",
    ["httpbin/httpbin-gateway", "bookinfo/networking/bookinfo-gateway", "helloworld/helloworld-gateway"],
)
def test_istios_samples_find_nothing_wrong_but_missing_services(file: str) -> None:
    world = World((SAMPLES / f"{file}.yaml").read_text() + EDGE.replace("istio: gw", "istio: ingressgateway"))
    assert [one for one in found(world) if "there is no service" not in one] == []


def test_authorities_of_their_own_are_looked_for_by_their_name() -> None:
    secret = ISSUER.issue("a.com").secret("shop")
    at = "Gateway/web spec.servers[0].tls.caCertCredentialName"

    def world(named: str) -> World:
        tls = f"{{mode: MUTUAL, credentialName: shop, caCertCredentialName: '{named}'}}"
        return World(gateway("web", f"[{https('[a.com]', tls)}]") + EDGE + secret)

    missing = world("partners")
    said = "there is no Secret edge/partners with a ca.crt, and clients are checked by it"
    assert found(missing) == [f"{at}: {said}"]
    missing.apply(ISSUER.issue("x").secret("partners", authorities=ISSUER.certificate))
    assert found(missing) == []
    (line,) = found(world("configmap://edge/partners"))
    assert line.startswith(f"{at}: 'configmap://edge/partners' names something else than a Secret")
