"""Secrets that DestinationRules name for gateways: whether a gateway calls the host, and has them."""

from __future__ import annotations

from tests.unit.mesh.findings import HOST, REVIEWS, found, route, rule
from tests.unit.mesh.world import World

AT = "DestinationRule/a spec.trafficPolicy.tls.credentialName"
RULE = rule("a", "trafficPolicy: {tls: {mode: MUTUAL, credentialName: client}}")
GATEWAY = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: egress, namespace: default}
spec: {selector: {istio: egress}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: egress, namespace: edge, labels: {istio: egress}}
spec: {containers: [{name: proxy}]}
status: {podIP: 10.1.0.1, phase: Running}
---
"""
BOUND = route("web", "  gateways: [mesh, egress]\n  http: [{route: [{destination: {host: reviews}}]}]")
DIRECT = route("web", "  http: [{route: [{destination: {host: reviews}}]}]")
UNUSED = (
    f"{AT}: counts at gateways alone, and no route of a gateway leads to {HOST}: "
    "sidecars speak TLS without this Secret"
)
MISSING = f"{AT}: there is no Secret 'client' in a namespace of a gateway that sees this rule: calls fail"


def secret(namespace: str) -> str:
    return f"""
apiVersion: v1
kind: Secret
metadata: {{name: client, namespace: {namespace}}}
---
"""


def test_a_rule_that_no_gateway_uses_is_told_that_sidecars_do_not_either() -> None:
    assert found(World(REVIEWS + RULE + DIRECT)) == [UNUSED]
    assert UNUSED in found(World(REVIEWS + RULE + DIRECT + GATEWAY + secret("edge")))


def test_a_rule_for_an_egress_gateway_is_as_it_should_be() -> None:
    world = World(REVIEWS + RULE + BOUND + GATEWAY + secret("edge"))
    assert found(world) == []
    world.apply(DIRECT)
    assert found(world) == [UNUSED]


def test_the_secret_has_to_be_where_a_gateway_is() -> None:
    world = World(REVIEWS + RULE + BOUND + GATEWAY + secret("default"))
    assert found(world) == [MISSING]
    world.apply(secret("edge"))
    assert found(world) == []
    # A rule that the gateway does not see does not count there.
    world.apply(RULE.replace("host: reviews,", "host: reviews, exportTo: [.],"))
    assert found(world) == [MISSING]


def test_where_gateways_are_unknown_any_namespace_may_have_it() -> None:
    bare = GATEWAY.partition("apiVersion: v1")[0]
    lines = [line for line in found(World(REVIEWS + RULE + BOUND + bare)) if line.startswith("Dest")]
    assert lines == [MISSING]
    lines = found(World(REVIEWS + RULE + BOUND + bare + secret("anywhere")))
    assert not [line for line in lines if line.startswith("Dest")]


def test_hosts_with_wildcards_are_those_that_they_cover() -> None:
    wide = RULE.replace("host: reviews,", 'host: "*.default.svc.cluster.local",')
    assert found(World(REVIEWS + wide + BOUND + GATEWAY + secret("edge"))) == []
    (line,) = found(World(REVIEWS + wide + DIRECT))
    assert "no route of a gateway leads to *.default" in line
