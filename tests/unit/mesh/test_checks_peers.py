"""Checks of mutual TLS: policies that nobody hears, and clients that do not speak what servers take."""

from __future__ import annotations

import pytest

from tests.unit.mesh.findings import found, rule
from tests.unit.mesh.test_peer_authentication import policy
from tests.unit.mesh.world import World, pod, service

MESH = "security.istio.io/tlsMode: istio"
REVIEWS = service("reviews", "http=80:9080, tcp=81")
CERTIFIED = pod("reviews-1", "10.0.0.1", f"app: reviews, {MESH}")
BARE = pod("reviews-2", "10.0.0.2", "app: reviews")
STRICT = policy("default/p", "STRICT")


def test_what_is_in_order() -> None:
    text = STRICT + policy("istio-system/m", "PERMISSIVE")
    text += policy("default/w", "DISABLE", selector="app: a", ports="9080: {mode: STRICT}")
    assert found(World(text)) == []


def test_the_younger_of_two_is_told() -> None:
    old = policy("default/z", "STRICT", created="2024-01-01T00:00:00Z")
    young = policy("default/a", "DISABLE", created="2024-02-01T00:00:00Z")
    assert found(World(old + young)) == [
        "PeerAuthentication/a spec.selector: PeerAuthentication default/z is older and for the same "
        "workloads: this one is not used"
    ]
    own = [
        policy(f"default/{name}", "STRICT", selector=f"app: {app}")
        for name, app in (("m", "a"), ("n", "b"), ("o", "b"))
    ]
    assert [line.split()[0] for line in found(World(old + "".join(own)))] == ["PeerAuthentication/o"]


def test_the_root_namespace_chooses_nobody() -> None:
    (line,) = found(World(policy("istio-system/p", "STRICT", selector="app: a")))
    assert line.startswith("PeerAuthentication/p spec.selector: chooses workloads in the root namespace")


def test_a_selector_that_selects_nobody() -> None:
    (line,) = found(World(CERTIFIED + policy("default/p", "STRICT", selector="app: review")))
    assert line == (
        "PeerAuthentication/p spec.selector.matchLabels: no workload of namespace default has the labels "
        "app=review: the policy holds for nobody"
    )
    assert found(World(CERTIFIED + policy("default/p", "STRICT", selector="app: reviews"))) == []


@pytest.mark.parametrize(
    ("port", "expected"), [("9080", []), ("81", []), ("5555", []), ("80", ["spec.portLevelMtls[80]"])]
)
def test_ports_are_those_of_workloads(port: str, expected: list[str]) -> None:
    text = policy("default/p", "STRICT", selector="app: reviews", ports=f"{port}: {{mode: DISABLE}}")
    lines = found(World(REVIEWS + text))
    assert [line.split()[1].rstrip(":") for line in lines] == expected
    for line in lines:
        assert line.endswith("the workloads' port 9080; it is the latter that has to be named")


def test_a_port_by_name_is_what_the_pods_call_it() -> None:
    text = policy("default/p", "STRICT", selector="app: reviews", ports="80: {mode: DISABLE}")
    world = World(service("reviews", "http=80:web") + text)
    assert found(world) == []  # as long as nobody knows where the name leads to
    ports = ", containers: [{name: c, ports: [{name: web, containerPort: %d}]}]"

    def called(number: int) -> str:
        return f"""
apiVersion: v1
kind: Pod
metadata: {{name: reviews-1, namespace: default, labels: {{app: reviews}}}}
spec: {{serviceAccountName: reviews{ports % number}}}
status: {{podIP: 10.0.0.1, phase: Running}}
---
"""

    world.apply(called(9080))
    (line,) = found(world)
    assert line.endswith("the workloads' port 9080; it is the latter that has to be named")
    world.apply(called(80))
    assert found(world) == []


def tls(mode: str) -> str:
    return f"trafficPolicy: {{tls: {{mode: {mode}}}}}"


REFUSED = (
    "DestinationRule/r spec.trafficPolicy.tls.mode: the servers of port 80 take mutual TLS alone: "
    "calls in plaintext are refused"
)
FAILS = "DestinationRule/r spec.trafficPolicy.tls.mode: no endpoint of port 80 takes mutual TLS: calls fail"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (STRICT + CERTIFIED + rule("r", tls("DISABLE")), [REFUSED]),
        (STRICT + CERTIFIED + BARE + rule("r", tls("DISABLE")), []),
        (STRICT + BARE + rule("r", tls("DISABLE")), []),
        (CERTIFIED + rule("r", tls("DISABLE")), []),
        (
            policy("default/p", "STRICT", selector="app: reviews") + CERTIFIED + rule("r", tls("DISABLE")),
            [REFUSED],
        ),
        (
            policy("default/p", "STRICT", selector="app: other")
            + pod("other-1", "10.0.0.9", "app: other")
            + CERTIFIED
            + rule("r", tls("DISABLE")),
            [],
        ),
        (BARE + rule("r", tls("ISTIO_MUTUAL")), [FAILS]),
        (policy("default/p", "DISABLE") + CERTIFIED + rule("r", tls("ISTIO_MUTUAL")), [FAILS]),
        (CERTIFIED + rule("r", tls("ISTIO_MUTUAL")), []),
        (rule("r", tls("ISTIO_MUTUAL")), []),
    ],
)
def test_clients_and_servers_agree(text: str, expected: list[str]) -> None:
    assert found(World(REVIEWS + text)) == expected


def test_a_port_or_a_subset_may_be_meant() -> None:
    spec = """trafficPolicy:
    tls: {mode: DISABLE}
    portLevelSettings: [{port: {number: 80}, tls: {mode: ISTIO_MUTUAL}}]
  subsets: [{name: v1, trafficPolicy: {tls: {mode: DISABLE}}}]"""
    text = rule("r", "").replace("spec: {host: reviews, }", f"spec:\n  host: reviews\n  {spec}")
    assert [line.split(": ")[:2] for line in found(World(REVIEWS + STRICT + CERTIFIED + text))] == [
        ["DestinationRule/r spec.trafficPolicy.tls.mode", "the servers of port 81 take mutual TLS alone"],
        [
            "DestinationRule/r spec.subsets[0].trafficPolicy.tls.mode",
            "the servers of port 80 take mutual TLS alone",
        ],
    ]
