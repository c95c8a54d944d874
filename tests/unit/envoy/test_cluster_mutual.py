"""Clusters of clients with a certificate: when they speak mutual TLS, with whom, and what a change costs."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.envoy import pb
from controlplane.envoy.clusters import common_clusters
from controlplane.envoy.endpoints import SOCKET_MATCH
from controlplane.mesh.projections import ProxyView, Scope
from tests.unit.mesh.test_peer_authentication import policy
from tests.unit.mesh.world import World, pod, service

APP = "outbound|80||app.default.svc.cluster.local"
MESH = "security.istio.io/tlsMode: istio"
SERVICE = service("app", "http=80:8080")
PODS = pod("app-1", "10.0.0.1", f"app: app, {MESH}") + pod("next-1", "10.0.0.2", f"app: app, {MESH}")
CERTIFIED = ProxyView(Scope("default"), None, mutual=True)


def rule(said: str) -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: app, namespace: default}}
spec: {{host: app, {said}}}
---
"""


def clusters(text: str) -> dict[str, Any]:
    return World(text).clusters(CERTIFIED)


def one(text: str = "", name: str = APP) -> Any:
    return clusters(SERVICE + PODS + text)[name]


def context(socket: Any) -> Any:
    found = pb.tls.UpstreamTlsContext()
    assert socket.typed_config.Unpack(found)
    return found


def by_endpoint(cluster: Any) -> Any:
    """The TLS context for endpoints that take mutual TLS; None where none are told apart."""
    if not cluster.transport_socket_matches:
        return None
    assert not cluster.HasField("transport_socket")
    first, second = cluster.transport_socket_matches
    assert (first.name, dict(first.match)) == ("tlsMode-istio", {"tlsMode": "istio"})
    assert (second.name, dict(second.match)) == ("tlsMode-disabled", {})
    assert second.transport_socket.name == "envoy.transport_sockets.raw_buffer"
    return context(first.transport_socket)


def peers(found: Any) -> list[str]:
    combined = found.common_tls_context.combined_validation_context
    names = combined.default_validation_context.match_typed_subject_alt_names
    assert all(name.san_type == pb.tls_common.SubjectAltNameMatcher.URI for name in names)
    return [name.matcher.exact for name in names]


def test_unasked_it_is_spoken_with_endpoints_that_take_it() -> None:
    found = by_endpoint(one())
    assert found.sni == "outbound_.80_._.app.default.svc.cluster.local"
    assert peers(found) == [f"spiffe://cluster.local/ns/default/sa/{name}" for name in ("app", "next")]
    common = found.common_tls_context
    assert [secret.name for secret in common.tls_certificate_sds_secret_configs] == ["default"]
    assert common.combined_validation_context.validation_context_sds_secret_config.name == "ROOTCA"
    # Envoy's clients would stop at 1.2 by themselves.
    assert common.tls_params.tls_maximum_protocol_version == pb.tls_common.TlsParameters.TLSv1_3


def test_without_a_certificate_nobody_speaks_it() -> None:
    for said in ("", rule("trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}")):
        cluster = World(SERVICE + PODS + said).outbound()[APP]
        assert not cluster.transport_socket_matches
        assert not cluster.HasField("transport_socket")


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        (policy("default/p", "STRICT"), True),
        (policy("default/p", "DISABLE"), False),
        (policy("istio-system/p", "DISABLE"), False),
        (policy("istio-system/p", "DISABLE") + policy("default/p", "PERMISSIVE"), True),
        # That of some workloads is a matter of endpoints.
        (policy("default/p", "DISABLE", selector="app: app"), True),
        ("kind: MeshConfig\nenableAutoMtls: false\n", False),
        (rule("trafficPolicy: {tls: {mode: DISABLE}}"), False),
        (rule("trafficPolicy: {connectionPool: {tcp: {maxConnections: 1}}}"), True),
    ],
)
def test_when_it_is_spoken_unasked(text: str, spoken: bool) -> None:
    assert (by_endpoint(one(text)) is not None) == spoken
    assert not one(text).HasField("transport_socket")


def test_services_outside_the_mesh_are_called_as_they_are() -> None:
    entry = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: e, namespace: default}
spec:
  hosts: [vm.example.org]
  location: LOCATION
  resolution: STATIC
  subjectAltNames: ["spiffe://cluster.local/ns/default/sa/old"]
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: 10.2.0.1, serviceAccount: vm}]
"""
    name = "outbound|80||vm.example.org"
    assert by_endpoint(clusters(entry.replace("LOCATION", "MESH_EXTERNAL"))[name]) is None
    inside = by_endpoint(clusters(entry.replace("LOCATION", "MESH_INTERNAL"))[name])
    assert peers(inside) == [f"spiffe://cluster.local/ns/default/sa/{name}" for name in ("old", "vm")]


class TestByName:
    def test_every_endpoint_is_meant(self) -> None:
        text = rule("trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}, subsets: [{name: v1}]")
        for extra in ("", policy("default/p", "DISABLE"), "kind: MeshConfig\nenableAutoMtls: false\n"):
            cluster = one(text + extra)
            assert not cluster.transport_socket_matches
            assert len(peers(context(cluster.transport_socket))) == 2
        subset = one(text, "outbound|80|v1|app.default.svc.cluster.local")
        found = context(subset.transport_socket)
        assert found.sni == "outbound_.80_.v1_.app.default.svc.cluster.local"

    def test_names_may_be_given(self) -> None:
        said = "sni: a.b, subjectAltNames: [spiffe://other/ns/a/sa/b]"
        found = context(one(rule(f"trafficPolicy: {{tls: {{mode: ISTIO_MUTUAL, {said}}}}}")).transport_socket)
        assert (found.sni, peers(found)) == ("a.b", ["spiffe://other/ns/a/sa/b"])

    def test_the_proxy_protocol_goes_before_it(self) -> None:
        cluster = one(rule("trafficPolicy: {proxyProtocol: {version: V1}}"))
        sockets = [match.transport_socket for match in cluster.transport_socket_matches]
        inner = []
        for socket in sockets:
            outer = pb.upstream_proxy_protocol.ProxyProtocolUpstreamTransport()
            assert socket.typed_config.Unpack(outer)
            inner.append(outer.transport_socket.name.rpartition(".")[2])
        assert inner == ["tls", "raw_buffer"]


def test_who_a_server_may_be_in_a_mesh_that_moves() -> None:
    """The trust domain was another one: its certificates are believed as long as it is an alias."""
    found = by_endpoint(one("kind: MeshConfig\ntrustDomain: new.org\ntrustDomainAliases: [old.org]\n"))
    assert peers(found) == [
        f"spiffe://{domain}/ns/default/sa/{name}"
        for domain in ("new.org", "old.org")
        for name in ("app", "next")
    ]


@pytest.mark.parametrize(
    ("port", "offered"),
    [
        ("http", ["istio-http/1.1", "istio"]),
        ("grpc", ["istio-h2", "istio", "h2"]),
        ("http2", ["istio-h2", "istio", "h2"]),
        ("found-out", ["istio-http/1.1", "istio"]),
        ("tcp", ["istio"]),
        ("mysql", ["istio"]),
        ("https", ["istio"]),
    ],
)
def test_what_is_offered_by_alpn(port: str, offered: list[str]) -> None:
    found = by_endpoint(clusters(service("app", f"{port}=80") + PODS)[APP])
    assert list(found.common_tls_context.alpn_protocols) == offered


def test_an_upgrade_to_http2_is_offered_too() -> None:
    pool = "trafficPolicy: {connectionPool: {http: {h2UpgradePolicy: UPGRADE}}}"
    found = by_endpoint(one(rule(pool)))
    assert list(found.common_tls_context.alpn_protocols) == ["istio-h2", "istio", "h2"]


HEADLESS = service("app", "tcp=80:8080", ip="None")


@pytest.mark.parametrize(
    ("pods", "spoken"),
    [("", False), (PODS, True), (PODS + pod("app-3", "10.0.0.3", "app: app"), False)],
    ids=["nobody", "all", "not all"],
)
def test_where_envoy_finds_endpoints_by_itself_all_have_to_take_it(pods: str, spoken: bool) -> None:
    cluster = clusters(HEADLESS + pods)[APP]
    assert cluster.type == pb.cluster.Cluster.ORIGINAL_DST
    assert not cluster.transport_socket_matches
    assert cluster.HasField("transport_socket") == spoken


# Endpoints.


def told(world: World) -> list[str]:
    """The addresses of those that are said to take mutual TLS."""
    (assignment,) = (a for name, a in world.assignments().items() if name == APP)
    return [
        e.endpoint.address.socket_address.address
        for places in assignment.endpoints
        for e in places.lb_endpoints
        if e.metadata.filter_metadata["envoy.transport_socket_match"].fields["tlsMode"].string_value
        == "istio"
    ]


PLAIN = pod("app-3", "10.0.0.3", "app: app, version: plain")
OFF = pod("app-4", "10.0.0.4", "app: app, security.istio.io/tlsMode: disabled")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["10.0.0.1", "10.0.0.2"]),
        (policy("default/p", "STRICT"), ["10.0.0.1", "10.0.0.2"]),
        (policy("default/p", "DISABLE"), []),
        (policy("default/p", "DISABLE", selector="app: app"), []),
        (policy("default/p", "DISABLE", selector="app: other"), ["10.0.0.1", "10.0.0.2"]),
        (policy("default/p", "STRICT", selector="app: app", ports="8080: {mode: DISABLE}"), []),
        # The workload's port counts, not the service's.
        (
            policy("default/p", "STRICT", selector="app: app", ports="80: {mode: DISABLE}"),
            ["10.0.0.1", "10.0.0.2"],
        ),
        (
            policy("default/q", "DISABLE")
            + policy("default/p", selector="app: app", ports="8080: {mode: STRICT}"),
            ["10.0.0.1", "10.0.0.2"],
        ),
    ],
)
def test_which_endpoints_take_it(text: str, expected: list[str]) -> None:
    assert told(World(SERVICE + PODS + PLAIN + OFF + text)) == expected


def test_workload_entries_with_an_account_take_it_if_they_do_not_say_no() -> None:
    entries = "".join(
        f"""
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: w{n}, namespace: default}}
spec: {{address: 10.1.0.{n}, {said}}}
---
"""
        for n, said in enumerate(
            (
                "labels: {app: app}",
                "labels: {app: app}, serviceAccount: vm",
                "labels: {app: app, security.istio.io/tlsMode: disabled}, serviceAccount: vm",
                "labels: {app: app, security.istio.io/tlsMode: istio}",
            )
        )
    )
    world = World(SERVICE + entries)
    assert told(world) == ["10.1.0.1", "10.1.0.3"]


# What a change costs.


@pytest.fixture
def world() -> World:
    made = World(SERVICE + service("other", "http=80", ip="10.96.0.11") + PODS)
    made.map(common_clusters, True), made.assignments()
    return made


def test_an_endpoint_of_a_known_account_serializes_one_assignment_and_no_cluster(world: World) -> None:
    with world.counting() as runs:
        world.apply(pod("app-9", "10.0.0.9", f"app: app, {MESH}"))
        world.map(common_clusters, True), world.assignments()
    assert runs["endpoints.load_assignment"] == 1
    assert not runs["clusters.cluster"]
    assert runs["endpoints.server_identities"] == 1


def test_an_endpoint_of_another_account_serializes_its_cluster(world: World) -> None:
    with world.counting() as runs:
        world.apply(pod("new-9", "10.0.0.9", f"app: app, {MESH}"))
        found = world.map(common_clusters, True)
        world.assignments()
    assert (runs["clusters.cluster"], runs["endpoints.load_assignment"]) == (1, 1)
    assert world.changed(common_clusters, True) == ({APP}, set())
    assert b"/sa/new" in found[APP].body


def test_strict_changes_nothing_for_clients(world: World) -> None:
    with world.counting() as runs:
        world.apply(policy("istio-system/p", "STRICT"))
        world.map(common_clusters, True), world.assignments()
    assert not runs["clusters.cluster"]
    assert not runs["endpoints.endpoints"]


def test_a_policy_for_a_workload_re_serializes_assignments_of_its_namespace_alone(world: World) -> None:
    world.apply(service("far", "http=80", namespace="far", ip="10.96.0.12"))
    world.map(common_clusters, True), world.assignments()
    with world.counting() as runs:
        world.apply(policy("default/p", "DISABLE", selector="app: app"))
        world.map(common_clusters, True), world.assignments()
    assert (runs["clusters.cluster"], runs["endpoints.load_assignment"]) == (0, 1)
    assert runs["endpoints.endpoints"] == 2


def test_clients_with_and_without_a_certificate_share_everything_else(world: World) -> None:
    with world.counting() as runs:
        world.map(common_clusters, False)
    assert runs["clusters.cluster"] == 2
    assert all(name.startswith("clusters.") for name in runs)
    with world.counting() as runs:
        world.clusters(ProxyView(Scope("elsewhere"), None, mutual=True))
    assert not runs["clusters.cluster"]


# -- what is commonly got wrong ---------------------------------------------------------------------------


def test_a_port_of_a_rule_replaces_all_that_the_rule_says() -> None:
    level = "portLevelSettings: [{port: {number: 80}, loadBalancer: {simple: RANDOM}}]"
    plain = one(rule("trafficPolicy: {tls: {mode: DISABLE}}"))
    assert by_endpoint(plain) is None and not plain.HasField("transport_socket")
    # Of TLS the port says nothing, so that nothing is said of it.
    assert by_endpoint(one(rule(f"trafficPolicy: {{tls: {{mode: DISABLE}}, {level}}}"))) is not None


def test_a_subset_speaks_for_itself() -> None:
    said = "name: v1, labels: {app: app}, trafficPolicy: {tls: {mode: DISABLE}}"
    found = clusters(SERVICE + PODS + rule(f"subsets: [{{{said}}}, {{name: v2, labels: {{app: app}}}}]"))
    spoken = {name: by_endpoint(cluster) is not None for name, cluster in found.items() if "|80|" in name}
    host = "app.default.svc.cluster.local"
    assert spoken == {APP: True, f"outbound|80|v1|{host}": False, f"outbound|80|v2|{host}": True}


@pytest.mark.parametrize("resolution", ["DNS", "DNS_ROUND_ROBIN"])
def test_names_of_the_mesh_say_for_themselves_whether_they_take_it(resolution: str) -> None:
    entry = f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: e, namespace: default}}
spec:
  hosts: [vm.example.org]
  location: MESH_INTERNAL
  resolution: {resolution}
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  endpoints: [{{address: a.example.org, serviceAccount: vm}}]
"""
    if resolution == "DNS":
        entry = entry.replace("vm}]", "vm}, {address: b.example.org}]")
    cluster = clusters(entry)["outbound|80||vm.example.org"]
    tls = by_endpoint(cluster)
    assert (tls.sni, peers(tls)) == (
        "outbound_.80_._.vm.example.org",
        ["spiffe://cluster.local/ns/default/sa/vm"],
    )
    taking = {
        endpoint.endpoint.address.socket_address.address: dict(
            endpoint.metadata.filter_metadata[SOCKET_MATCH].items()
        )
        for place in cluster.load_assignment.endpoints
        for endpoint in place.lb_endpoints
    }
    others: dict[str, Any] = {"b.example.org": {}} if resolution == "DNS" else {}
    assert taking == {"a.example.org": {"tlsMode": "istio"}, **others}
