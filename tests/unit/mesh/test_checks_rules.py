"""What is wrong with DestinationRules: between each other, and with what they are for."""

from __future__ import annotations

from controlplane.mesh.checks import checks
from tests.unit.mesh.findings import HOST, REVIEWS, found, rule
from tests.unit.mesh.world import World, pod


def test_a_destination_rule_for_nobody() -> None:
    assert found(World(rule("reviews", "subsets: []"))) == [
        f"DestinationRule/reviews spec.host: there is no service {HOST}"
    ]


def test_a_destination_rule_that_an_older_one_overrules() -> None:
    world = World(
        REVIEWS
        + rule("a", "subsets: [{name: v1}]", "2024-01-01T00:00:00Z")
        + rule(
            "b",
            "trafficPolicy: {loadBalancer: {simple: RANDOM}}, subsets: [{name: v1}, {name: v2}]",
            "2024-02-01T00:00:00Z",
        )
    )
    assert [line.split(": ")[0] for line in found(world)] == [
        # Both are told: who wins may not have meant to.
        "DestinationRule/a spec.host",
        "DestinationRule/a spec.subsets[0].name",
        "DestinationRule/b spec.trafficPolicy",
        "DestinationRule/b spec.subsets[0].name",
    ]


def test_a_destination_rule_that_cannot_be_joined() -> None:
    policy = "trafficPolicy: {loadBalancer: {simple: RANDOM}}"
    world = World(
        REVIEWS
        + rule("a", policy, "2024-01-01T00:00:00Z")
        + rule("b", policy + ", exportTo: [.]", "2024-02-01T00:00:00Z")
    )
    assert found(world) == [
        "DestinationRule/b spec.exportTo: DestinationRule default/a is for the same host and exported "
        "elsewhere, so that the two are not joined: in namespace default this one is not used",
    ]


def test_a_subset_that_chooses_nothing() -> None:
    world = World(REVIEWS + rule("a", "subsets: [{name: v1, labels: {version: v1}}, {name: all}]"))
    # Nobody is there at all: that is no fault of the rule.
    assert found(world) == []
    world.apply(pod("one", "10.0.0.1", "app: reviews, version: v2"))
    none = "choose none of the endpoints of"
    assert found(world) == [
        f"DestinationRule/a spec.subsets[0].labels: {none} {HOST}: calls to subset v1 fail",
    ]
    world.apply(pod("two", "10.0.0.2", "app: reviews, version: v1"))
    assert found(world) == []


IDLE = "has no effect without outlierDetection: nobody would know that those first in line have failed"


def test_an_order_of_endpoints_that_nothing_puts_into_force() -> None:
    by = "loadBalancer: {localityLbSetting: {failoverPriority: [a]}}"
    shares = "loadBalancer: {localityLbSetting: {distribute: [{from: a, to: {b: 100}}]}}"
    off = "loadBalancer: {localityLbSetting: {enabled: false}}"
    counts = "outlierDetection: {consecutive5xxErrors: 1}"
    level = f"portLevelSettings: [{{port: {{number: 80}}, {by}}}]"
    for policy, fields in (
        (f"trafficPolicy: {{{by}}}", ["trafficPolicy"]),
        (f"trafficPolicy: {{{by}, {counts}}}", []),
        (f"trafficPolicy: {{{shares}}}", []),
        (f"trafficPolicy: {{{off}}}", []),
        (f"trafficPolicy: {{{counts}, {level}}}", ["trafficPolicy.portLevelSettings[0]"]),
        (f"subsets: [{{name: a, trafficPolicy: {{{by}}}}}]", ["subsets[0].trafficPolicy"]),
        (f"trafficPolicy: {{{counts}}}, subsets: [{{name: a, trafficPolicy: {{{by}}}}}]", []),
    ):
        wanted = [f"DestinationRule/a spec.{at}.loadBalancer.localityLbSetting: {IDLE}" for at in fields]
        assert found(World(REVIEWS + rule("a", policy))) == wanted, policy
    mesh = "apiVersion: mesh.istio.io/v1alpha1\nkind: MeshConfig\ndefaultTrafficPolicy: {" + counts + "}\n"
    assert found(World(REVIEWS + rule("a", f"trafficPolicy: {{{by}}}") + mesh)) == []


def test_zones_between_which_envoy_cannot_choose() -> None:
    policy = "trafficPolicy: {outlierDetection: {}, loadBalancer: {zoneAwareLbSetting: {enabled: true}}}"
    (line,) = found(World(REVIEWS + rule("a", policy)))
    assert line.startswith(
        "DestinationRule/a spec.trafficPolicy.loadBalancer.zoneAwareLbSetting: orders regions"
    )


def test_credentials_that_are_not_there() -> None:
    tls = "trafficPolicy: {tls: {mode: SIMPLE, credentialName: %s}}, "
    chosen = tls % "missing" + "workloadSelector: {matchLabels: {app: a}}"
    at = "DestinationRule/a spec.trafficPolicy.tls.credentialName"
    assert found(World(REVIEWS + rule("a", chosen))) == [
        f"{at}: there is no Secret default/missing: calls fail until there is one"
    ]
    assert found(World(REVIEWS + rule("a", tls % '"configmap://c"'))) == [
        f"{at}: names a ConfigMap, which is not supported: ConfigMaps are not read"
    ]
    # Without a selector gateways alone have it.
    assert found(World(REVIEWS + rule("a", tls % "missing"))) == [
        f"{at}: counts at gateways alone, and no route of a gateway leads to {HOST}: "
        "sidecars speak TLS without this Secret"
    ]


def test_port_levels_of_ports_that_do_not_exist() -> None:
    policy = (
        "trafficPolicy: {tunnel: {targetHost: a.b, targetPort: 1}, "
        "portLevelSettings: [{port: {number: 81}, tls: {}}]}"
    )
    assert found(World(REVIEWS + rule("a", policy))) == [
        "DestinationRule/a spec.trafficPolicy.portLevelSettings[0].port.number: "
        f"service {HOST} has no port 81",
    ]


def test_a_host_that_lacks_its_end_is_offered_whole() -> None:
    world = World(REVIEWS + rule("short", "subsets: []").replace("host: reviews", "host: reviews.default"))
    (problem,) = [one for problems in world.map(checks).values() for one in problems]
    assert problem.message == "there is no service reviews.default"
    assert problem.remedy == f"write {HOST}: only a name without a dot is completed"
