"""Where callers stand, told to real Envoys: who is asked first, who when machines die, and shares by zone.

client (north/a), visitor (south/c) ──► pool.shop:80 ──► near (north/a), next (north/b), far (south/c)

The servers have no sidecars: the caller's Envoy decides all.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

import pytest

from controlplane.lab.pod_spec import App
from controlplane.lab.pods import Lab
from tests.support.chances import likely
from tests.support.envoys import MARKS, scenes
from tests.support.residents import ECHO, outside, pem_file, pod, web
from tests.support.servers import Issuer
from tests.support.town import Town

pytestmark = MARKS

HOST = "pool.shop"
ISSUER = Issuer()
NODES = {"node-1": ("north", "a"), "node-2": ("north", "b"), "node-3": ("south", "c")}
SERVERS = {"near": "node-1", "next": "node-2", "far": "node-3"}
SECURE = "secure.example.com"


def node(name: str, region: str, zone: str) -> str:
    return f"""---
apiVersion: v1
kind: Node
metadata:
  name: {name}
  labels: {{topology.kubernetes.io/region: {region}, topology.kubernetes.io/zone: {zone}}}
"""


def service(**more: str) -> str:
    said = "".join(f", {name}: {value}" for name, value in more.items())
    return f"""---
apiVersion: v1
kind: Service
metadata: {{name: pool, namespace: shop}}
spec: {{clusterIP: 10.96.0.10, selector: {{app: pool}}, ports: [{{name: http, port: 80}}]{said}}}
"""


OBJECTS = service() + "".join(node(name, *place) for name, place in NODES.items())


def build(lab: Lab) -> Town:
    pair = ISSUER.issue(SECURE)
    pem = pem_file(lab, "secure", pair)
    residents = [
        pod("client", "shop", 10, app="client", shard="blue"),
        pod("visitor", "shop", 20, node="node-3", app="visitor", shard="red"),
        *(
            pod(name, "shop", number, web(name, 80), meshed=False, node=at, app="pool", **labels)
            for number, (name, at, labels) in enumerate(
                (
                    ("near", "node-1", {"shard": "red"}),
                    ("next", "node-2", {"shard": "blue"}),
                    ("far", "node-3", {"shard": "blue", "tier": "gold"}),
                ),
                11,
            )
        ),
        outside("secure", 10, web("secure", 443, pem=pem)),
        outside("forward", 11, App(ECHO / "forward.py", ("3128",), port=3128)),
        outside("hidden", 12, web("hidden", 8081)),
    ]
    return Town(lab, residents, OBJECTS)


town = scenes(build)


@pytest.fixture(autouse=True)
def peaceful(town: Town) -> Iterator[None]:
    yield
    town.accepted()
    town.apply()


QUICK = "connectionPool: {tcp: {connectTimeout: 0.3s}, http: {maxRequestsPerConnection: 1}}"
COUNTED = (
    "outlierDetection: {consecutiveGatewayErrors: 1, consecutive5xxErrors: 1, interval: 1s,"
    " baseEjectionTime: 3s, maxEjectionPercent: 100}"
)


def answered(town: Town, who: str = "client") -> set[str]:
    """Who answers, of those whom chance might choose."""
    return set(town.servers(12, who, HOST))


def test_the_near_ones_are_asked_and_others_when_a_zone_dies(town: Town) -> None:
    town.policy(HOST, f"{{{QUICK}, {COUNTED}}}")
    assert town.servers(30, "client", HOST) == {"near": 30}
    assert town.servers(30, "visitor", HOST) == {"far": 30}
    with town.gone("near"):
        town.becomes({"next"}, lambda: answered(town))
        # Retried at the others, so that nobody noticed.
        assert town.servers(30, "client", HOST, at_once=2) == {"next": 30}
        with town.gone("next"):
            town.becomes({"far"}, lambda: answered(town))
    town.becomes({"near"}, lambda: answered(town))


def test_without_counted_failures_all_are_alike(town: Town) -> None:
    town.policy(HOST, "{loadBalancer: {simple: ROUND_ROBIN}}")
    assert town.servers(90, "client", HOST, at_once=1) == dict.fromkeys(SERVERS, 30)


def test_shares_by_the_zone_of_the_caller(town: Town) -> None:
    shares = (
        "distribute: [{from: north/a/*, to: {north/a: 70, north/b: 30}}, {from: south, to: {north: 100}}]"
    )
    town.policy(HOST, f"{{loadBalancer: {{localityLbSetting: {{{shares}}}}}}}")
    found = town.servers(300, "client", HOST)
    assert sum(found.values()) == 300 and found["far"] == 0
    assert likely(found["near"], 300, 0.7), found
    assert set(town.servers(40, "visitor", HOST)) == {"near", "next"}


def test_by_labels_of_the_caller(town: Town) -> None:
    by = "localityLbSetting: {failoverPriority: [shard, tier=gold]}"
    town.policy(HOST, f"{{{QUICK}, {COUNTED}, loadBalancer: {{{by}}}}}")
    assert town.servers(20, "client", HOST) == {"far": 20}
    assert town.servers(20, "visitor", HOST) == {"near": 20}
    with town.gone("far"):
        town.becomes({"next"}, lambda: answered(town))


def test_what_services_say_themselves(town: Town) -> None:
    rest = [one for one in town.standing if one["kind"] != "Service"]
    pool = next(one for one in town.standing if one["kind"] == "Service")

    def says(**more: str) -> None:
        town.stand([{**pool, "spec": {**pool["spec"], **more}}, *rest])

    try:
        says(trafficDistribution="PreferSameZone")
        assert answered(town) == {"near"} and answered(town, "visitor") == {"far"}
        says(trafficDistribution="PreferSameNode")
        assert answered(town) == {"near"}
        says(internalTrafficPolicy="Local")
        assert answered(town, "visitor") == {"far"}
        # Nobody on that machine is ready: there is nobody to call, however many are elsewhere.
        town.relabel("near", app="nobody")
        town.becomes({503: 5}, lambda: Counter(one.status for one in town.calls(5, "client", HOST)))
    finally:
        town.relabel("near", app="pool")
        says()


def test_what_is_taken_for_granted_by_no_stub(town: Town) -> None:
    zones = "zoneAwareLbSetting: {enabled: true, minClusterSize: 3}"
    town.policy(
        HOST,
        f"{{{COUNTED}, retryBudget: {{percent: 10, budgetInterval: 3s}}, loadBalancer: {{{zones}}}}}",
    )
    dump = town.lab.pods["client"].admin.config_dump()
    (cluster,) = (
        found["cluster"]
        for part in dump["configs"]
        for found in part.get("dynamic_active_clusters", ())
        if found["cluster"]["name"] == "outbound|80||pool.shop.svc.cluster.local"
    )
    budget = cluster["circuit_breakers"]["thresholds"][0]["retry_budget"]
    assert budget == {"budget_percent": {"value": 10}, "budget_interval": "3s"}
    assert cluster["common_lb_config"]["zone_aware_lb_config"] == {"min_cluster_size": "3"}
    # The region comes first; within it Envoy chooses.
    assert answered(town) == {"near", "next"}


ORIGINATES = f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: secure, namespace: shop}}
spec:
  hosts: [{SECURE}]
  addresses: [203.0.113.10]
  ports: [{{number: 80, name: http, protocol: HTTP, targetPort: 443}}]
  resolution: STATIC
  endpoints: [{{address: 203.0.113.10}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: secure, namespace: shop}}
spec:
  host: {SECURE}
  workloadSelector: {{matchLabels: {{app: client}}}}
  trafficPolicy:
    tls: {{mode: SIMPLE, credentialName: trusted}}
    connectionPool: {{http: {{maxRequestsPerConnection: 1}}}}
"""


def test_a_sidecar_trusts_whom_a_secret_names(town: Town) -> None:
    at = "203.0.113.10"
    town.apply(ORIGINATES + ISSUER.issue("unused").secret("trusted", "shop", ISSUER.certificate))
    town.becomes(200, lambda: town.call("client", at, host=SECURE).status)
    # Another authority's word counts for nothing.
    other = Issuer("others")
    town.apply(ORIGINATES + other.issue("unused").secret("trusted", "shop", other.certificate))
    town.becomes(503, lambda: town.call("client", at, host=SECURE).status)
    # Who is not chosen speaks plaintext, which the server does not take.
    assert town.call("visitor", at, host=SECURE).status in (400, 502, 503)
    assert json.dumps(town.problems()).count("secure") == 0


BEHIND = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: forward, namespace: shop}
spec:
  hosts: [forward.example.com]
  addresses: [240.0.0.8]
  ports: [{number: 3128, name: http-connect, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 203.0.113.11}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: hidden, namespace: shop}
spec:
  hosts: [hidden.example.com]
  addresses: [240.0.0.9]
  ports: [{number: 9000, name: tcp, protocol: TCP}]
  resolution: STATIC
  endpoints: [{address: 240.0.0.9}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: hidden, namespace: shop}
spec:
  hosts: [hidden.example.com]
  tcp: [{route: [{destination: {host: forward.example.com, port: {number: 3128}}}]}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: forward, namespace: shop}
spec:
  host: forward.example.com
  trafficPolicy: {tunnel: {targetHost: 203.0.113.12, targetPort: 8081}}
"""


def test_connections_go_through_a_forward_proxy(town: Town) -> None:
    town.apply(BEHIND)
    assert town.servers(6, "client", "240.0.0.9", port=9000) == {"hidden": 6}
    assert town.stat("client", r"outbound\|3128\|\|forward.example.com.*upstream_cx_total$") == 6
