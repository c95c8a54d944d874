"""CDS: names, discovery, policy, protocols; and what is shared by whom."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.envoy import pb
from controlplane.envoy.cluster_protocol import HTTP_OPTIONS
from controlplane.envoy.clusters import common_clusters, particular_clusters
from controlplane.mesh.scope import Scope
from tests.unit.mesh.world import World, pod, service, slice_of

Cluster = pb.cluster.Cluster
REVIEWS = "reviews.default.svc.cluster.local"
MAX = 0xFFFFFFFF


def rule(policy: str = "{loadBalancer: {}}", *, subsets: str = "[]", namespace: str = "default") -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: reviews, namespace: {namespace}}}
spec:
  host: {REVIEWS}
  trafficPolicy: {policy}
  subsets: {subsets}
---
"""


def entry(spec: str, host: str = "db.example.com", protocol: str = "HTTP") -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: db, namespace: default}}
spec:
  hosts: ["{host}"]
  ports: [{{number: 80, name: p, protocol: {protocol}}}]
  {spec}
---
"""


def one(policy: str, port: str = "http=80") -> Any:
    """The cluster of a service of one port under a policy."""
    clusters = World(service("reviews", port) + rule(policy)).outbound()
    assert len(clusters) == 1
    return next(iter(clusters.values()))


def options(cluster: Any) -> Any | None:
    """The HttpProtocolOptions of a cluster."""
    packed = cluster.typed_extension_protocol_options
    if HTTP_OPTIONS not in packed:
        return None
    found = pb.http_protocol_options.HttpProtocolOptions()
    assert packed[HTTP_OPTIONS].Unpack(found)
    return found


def test_a_plain_service() -> None:
    world = World(service("reviews", "http=80, grpc=9000"))
    clusters = world.outbound()
    assert sorted(clusters) == [f"outbound|80||{REVIEWS}", f"outbound|9000||{REVIEWS}"]
    cluster = clusters[f"outbound|80||{REVIEWS}"]
    assert cluster.type == Cluster.EDS and cluster.lb_policy == Cluster.LEAST_REQUEST
    source = cluster.eds_cluster_config.eds_config
    assert source.HasField("ads") and source.resource_api_version == pb.config_source.ApiVersion.V3
    assert source.HasField("initial_fetch_timeout") and source.initial_fetch_timeout.ToNanoseconds() == 0
    assert cluster.connect_timeout.seconds == 10
    (limits,) = cluster.circuit_breakers.thresholds
    assert {f.name: v.value for f, v in limits.ListFields() if f.name.startswith("max_")} == dict.fromkeys(
        ("max_connections", "max_pending_requests", "max_requests", "max_retries"), MAX
    )
    assert cluster.alt_stat_name == f"outbound|80||{REVIEWS};"
    assert cluster.common_lb_config.HasField("healthy_panic_threshold")
    assert cluster.common_lb_config.healthy_panic_threshold.value == 0
    assert options(cluster) is None and not cluster.HasField("transport_socket")


def test_what_clusters_say_about_themselves() -> None:
    world = World(service("reviews", "http=80") + rule(subsets="[{name: v1}]"))
    cluster = world.outbound()[f"outbound|80|v1|{REVIEWS}"]
    fields = cluster.metadata.filter_metadata["istio"].fields
    assert fields["config"].string_value == (
        "/apis/networking.istio.io/v1/namespaces/default/destination-rule/reviews"
    )
    assert fields["subset"].string_value == "v1"
    assert fields["default_original_port"].number_value == 80
    (described,) = fields["services"].list_value.values
    assert {k: v.string_value for k, v in described.struct_value.fields.items()} == {
        "host": REVIEWS,
        "name": "reviews",
        "namespace": "default",
    }


def test_subsets_add_clusters_that_override_block_by_block() -> None:
    subsets = "[{name: v1}, {name: v2, trafficPolicy: {loadBalancer: {simple: RANDOM}}}]"
    policy = "{loadBalancer: {simple: ROUND_ROBIN}, connectionPool: {tcp: {maxConnections: 3}}}"
    clusters = World(service("reviews", "http=80") + rule(policy, subsets=subsets)).outbound()
    assert {name.split("|")[2]: c.lb_policy for name, c in clusters.items()} == {
        "": Cluster.ROUND_ROBIN,
        "v1": Cluster.ROUND_ROBIN,
        "v2": Cluster.RANDOM,
    }
    assert {c.circuit_breakers.thresholds[0].max_connections.value for c in clusters.values()} == {3}


def test_edsclusters_refer_to_their_endpoints() -> None:
    world = World(service("reviews", "http=80") + entry("resolution: DNS"))
    found = world.map(common_clusters, False)
    assert {name: resource.refs for name, resource in found.items()} == {
        "outbound|80||db.example.com": (),
        f"outbound|80||{REVIEWS}": (f"outbound|80||{REVIEWS}",),
    }


# Discovery.


@pytest.mark.parametrize(("resolution", "kind"), [("DNS", "STRICT_DNS"), ("DNS_ROUND_ROBIN", "LOGICAL_DNS")])
def test_names_that_are_resolved(resolution: str, kind: str) -> None:
    world = World(entry(f"resolution: {resolution}"))
    (cluster,) = world.outbound().values()
    assert cluster.type == Cluster.DiscoveryType.Value(kind)
    # One dead name must not keep proxies from starting.
    assert cluster.HasField("wait_for_warm_on_init") and cluster.wait_for_warm_on_init.value is False
    assert cluster.respect_dns_ttl and cluster.dns_refresh_rate.seconds == 60
    # One that is not there yet is asked for again soon.
    again = cluster.dns_failure_refresh_rate
    assert (again.base_interval.seconds, again.max_interval.seconds) == (1, 60)
    assert cluster.dns_lookup_family == Cluster.V4_PREFERRED
    (place,) = cluster.load_assignment.endpoints
    (endpoint,) = place.lb_endpoints
    assert endpoint.endpoint.address.socket_address.address == "db.example.com"
    assert cluster.load_assignment.cluster_name == cluster.name


def test_dns_endpoints_are_in_the_cluster_and_by_subset() -> None:
    spec = """resolution: DNS
  endpoints:
  - {address: a.internal, labels: {version: v1}, locality: r1}
  - {address: b.internal, labels: {version: v2}}"""
    text = rule(subsets="[{name: v1, labels: {version: v1}}, {name: v3, labels: {version: v3}}]")
    clusters = World(entry(spec) + text.replace(REVIEWS, "db.example.com")).outbound()
    # v3 has nobody to resolve, so it has no cluster.
    assert {
        name: [
            e.endpoint.address.socket_address.address
            for p in c.load_assignment.endpoints
            for e in p.lb_endpoints
        ]
        for name, c in clusters.items()
    } == {
        "outbound|80||db.example.com": ["b.internal", "a.internal"],
        "outbound|80|v1|db.example.com": ["a.internal"],
    }


def test_a_service_entry_without_resolution_goes_where_the_client_meant() -> None:
    text = entry("resolution: NONE").replace("name: p,", "name: p, targetPort: 8080,")
    (cluster,) = World(text).outbound().values()
    assert cluster.type == Cluster.ORIGINAL_DST and cluster.lb_policy == Cluster.CLUSTER_PROVIDED
    assert cluster.original_dst_lb_config.upstream_port_override.value == 8080
    assert cluster.metadata.filter_metadata["istio"].fields["external"].bool_value


def test_a_headless_service_goes_to_the_pod_that_was_dialled() -> None:
    (cluster,) = World(service("reviews", "http=80:8080", ip='"None"')).outbound().values()
    assert cluster.type == Cluster.ORIGINAL_DST
    assert not cluster.HasField("original_dst_lb_config")


def test_passthrough_goes_to_the_address_that_was_dialled() -> None:
    cluster = one("{loadBalancer: {simple: PASSTHROUGH}}", "http=80:8080")
    assert cluster.type == Cluster.ORIGINAL_DST and cluster.lb_policy == Cluster.CLUSTER_PROVIDED
    assert not cluster.HasField("original_dst_lb_config")


def test_wildcards_are_resolved_when_asked_for_or_go_where_they_were_sent() -> None:
    (dynamic,) = World(entry("resolution: DYNAMIC_DNS", "*.example.com")).outbound().values()
    assert dynamic.cluster_type.name == "envoy.clusters.dynamic_forward_proxy"
    assert dynamic.lb_policy == Cluster.CLUSTER_PROVIDED
    assert list(World(entry("resolution: NONE", "*.example.com")).outbound()) == [
        "outbound|80||*.example.com"
    ]


# Policy.


@pytest.mark.parametrize(
    ("simple", "policy"),
    [
        ("ROUND_ROBIN", Cluster.ROUND_ROBIN),
        ("RANDOM", Cluster.RANDOM),
        ("LEAST_REQUEST", Cluster.LEAST_REQUEST),
        ("LEAST_CONN", Cluster.LEAST_REQUEST),
        ("UNSPECIFIED", Cluster.LEAST_REQUEST),
    ],
)
def test_simple_balancers(simple: str, policy: int) -> None:
    assert one(f"{{loadBalancer: {{simple: {simple}}}}}").lb_policy == policy


def test_consistent_hashes() -> None:
    ring = one("{loadBalancer: {consistentHash: {useSourceIp: true}}}")
    assert ring.lb_policy == Cluster.RING_HASH
    assert ring.ring_hash_lb_config.minimum_ring_size.value == 1024
    small = one("{loadBalancer: {consistentHash: {useSourceIp: true, ringHash: {minimumRingSize: 7}}}}")
    assert small.ring_hash_lb_config.minimum_ring_size.value == 7
    maglev = one("{loadBalancer: {consistentHash: {useSourceIp: true, maglev: {tableSize: 65537}}}}")
    assert maglev.lb_policy == Cluster.MAGLEV and maglev.maglev_lb_config.table_size.value == 65537


def test_warmup() -> None:
    slow = one(
        "{loadBalancer: {simple: ROUND_ROBIN, warmup: {duration: 30s}}}"
    ).round_robin_lb_config.slow_start_config
    assert slow.slow_start_window.seconds == 30
    assert (slow.aggression.default_value, slow.min_weight_percent.value) == (1.0, 10.0)
    text = (
        "{loadBalancer: {simple: LEAST_REQUEST, warmup: {duration: 1s, minimumPercent: 50, aggression: 2}}}"
    )
    slow = one(text).least_request_lb_config.slow_start_config
    assert (slow.aggression.default_value, slow.min_weight_percent.value) == (2.0, 50.0)


def test_connection_pools() -> None:
    cluster = one("""
    connectionPool:
      tcp:
        maxConnections: 1
        connectTimeout: 250ms
        maxConnectionDuration: 60s
        tcpKeepalive: {probes: 3, time: 7200s, interval: 75s}
      http:
        http1MaxPendingRequests: 2
        http2MaxRequests: 3
        maxRetries: 4
        maxRequestsPerConnection: 5
        idleTimeout: 6s
    retryBudget: {percent: 25, minRetryConcurrency: 5}
""")
    (limits,) = cluster.circuit_breakers.thresholds
    assert limits.max_connections.value == 1
    assert limits.max_pending_requests.value == 2
    assert limits.max_requests.value == 3
    assert limits.max_retries.value == 4
    assert (limits.retry_budget.budget_percent.value, limits.retry_budget.min_retry_concurrency.value) == (
        25,
        5,
    )
    assert cluster.connect_timeout.ToMilliseconds() == 250
    keepalive = cluster.upstream_connection_options.tcp_keepalive
    assert (keepalive.keepalive_probes.value, keepalive.keepalive_time.value) == (3, 7200)
    found = options(cluster)
    assert found is not None
    common = found.common_http_protocol_options
    assert common.max_requests_per_connection.value == 5
    assert common.idle_timeout.seconds == 6 and common.max_connection_duration.seconds == 60
    assert found.explicit_http_config.HasField("http_protocol_options")


def test_the_meshs_defaults() -> None:
    world = World(
        service("reviews", "http=80")
        + entry("resolution: DNS")
        + """
kind: MeshConfig
connectTimeout: 3s
dnsRefreshRate: 5s
h2UpgradePolicy: UPGRADE
tcpKeepalive: {probes: 9}
"""
    )
    clusters = world.outbound()
    cluster = clusters[f"outbound|80||{REVIEWS}"]
    assert cluster.connect_timeout.seconds == 3
    assert cluster.upstream_connection_options.tcp_keepalive.keepalive_probes.value == 9
    found = options(cluster)
    assert found is not None and found.explicit_http_config.HasField("http2_protocol_options")
    assert clusters["outbound|80||db.example.com"].dns_refresh_rate.seconds == 5


def test_outlier_detection() -> None:
    detection = one("""
    outlierDetection:
      consecutive5xxErrors: 7
      consecutiveGatewayErrors: 0
      interval: 5s
      baseEjectionTime: 15m
      maxEjectionPercent: 100
      minHealthPercent: 40
""")
    message = detection.outlier_detection
    assert (message.consecutive_5xx.value, message.enforcing_consecutive_5xx.value) == (7, 100)
    assert message.HasField("enforcing_consecutive_gateway_failure")
    assert message.enforcing_consecutive_gateway_failure.value == 0
    assert message.HasField("enforcing_success_rate") and message.enforcing_success_rate.value == 0
    assert (message.interval.seconds, message.base_ejection_time.seconds) == (5, 900)
    assert message.max_ejection_percent.value == 100
    assert detection.common_lb_config.healthy_panic_threshold.value == 40
    split = one(
        "{outlierDetection: {splitExternalLocalOriginErrors: true, consecutiveLocalOriginFailures: 3}}"
    )
    assert split.outlier_detection.consecutive_local_origin_failure.value == 3
    assert split.outlier_detection.enforcing_consecutive_local_origin_failure.value == 100
    # Not said: Envoy's own count of five stays.
    assert not split.outlier_detection.HasField("consecutive_5xx")


def test_response_codes_that_count_as_errors() -> None:
    def codes(matcher: Any) -> list[str]:
        return [h.string_match.exact for h in matcher.http_response_headers_match.headers]

    found = options(one("{outlierDetection: {outlierDetectionHttpErrorCodes: [503, 500]}}"))
    assert found is not None
    matcher = found.outlier_detection.error_matcher
    assert [codes(rule) for rule in matcher.or_match.rules] == [["500"], ["503"]]
    # Envoy refuses an "or" of one.
    found = options(one("{outlierDetection: {outlierDetectionHttpErrorCodes: [503]}}"))
    assert found is not None
    assert codes(found.outlier_detection.error_matcher) == ["503"]


def test_port_levels() -> None:
    policy = """
    connectionPool: {tcp: {maxConnections: 1}}
    loadBalancer: {simple: RANDOM}
    portLevelSettings: [{port: {number: 81}, connectionPool: {tcp: {maxConnections: 2}}}]
"""
    clusters = World(service("reviews", "http=80, http-b=81") + rule(policy)).outbound()
    found = {
        name.split("|")[1]: (c.circuit_breakers.thresholds[0].max_connections.value, c.lb_policy)
        for name, c in clusters.items()
    }
    assert found == {"80": (1, Cluster.RANDOM), "81": (2, Cluster.LEAST_REQUEST)}


# Protocols.


def upstream(cluster: Any) -> str:
    found = options(cluster)
    if found is None:
        return "default"
    kind = found.WhichOneof("upstream_protocol_options")
    if kind == "explicit_http_config":
        return str(found.explicit_http_config.WhichOneof("protocol_config"))
    return str(kind)


@pytest.mark.parametrize(
    ("port", "policy", "expected"),
    [
        ("http=80", "{loadBalancer: {}}", "default"),
        ("tcp=80", "{loadBalancer: {}}", "default"),
        ("http2=80", "{loadBalancer: {}}", "http2_protocol_options"),
        ("grpc=80", "{loadBalancer: {}}", "http2_protocol_options"),
        ("web=80", "{loadBalancer: {}}", "use_downstream_protocol_config"),
        ("http=80", "{connectionPool: {http: {h2UpgradePolicy: UPGRADE}}}", "http2_protocol_options"),
        ("web=80", "{connectionPool: {http: {h2UpgradePolicy: UPGRADE}}}", "use_downstream_protocol_config"),
        ("http=80", "{connectionPool: {http: {useClientProtocol: true}}}", "use_downstream_protocol_config"),
    ],
)
def test_protocols(port: str, policy: str, expected: str) -> None:
    assert upstream(one(policy, port)) == expected


def test_pings_have_a_timeout_said_or_not() -> None:
    found = options(one("{connectionPool: {http: {http2KeepAlive: {interval: 30s}}}}", "grpc=80"))
    assert found is not None
    pings = found.explicit_http_config.http2_protocol_options.connection_keepalive
    assert (pings.interval.seconds, pings.timeout.seconds) == (30, 20)


def test_http2_limits() -> None:
    text = "{connectionPool: {http: {maxConcurrentStreams: 7, http2KeepAlive: {interval: 30s, timeout: 5s}}}}"
    found = options(one(text, "grpc=80"))
    assert found is not None
    http2 = found.explicit_http_config.http2_protocol_options
    assert http2.max_concurrent_streams.value == 7
    assert (http2.connection_keepalive.interval.seconds, http2.connection_keepalive.timeout.seconds) == (
        30,
        5,
    )


# TLS.


def context(cluster: Any) -> Any:
    found = pb.tls.UpstreamTlsContext()
    assert cluster.transport_socket.name == "envoy.transport_sockets.tls"
    assert cluster.transport_socket.typed_config.Unpack(found)
    return found


def test_originated_tls_checks_each_requests_host() -> None:
    cluster = one("{tls: {mode: SIMPLE}}")
    found = context(cluster)
    assert found.sni == ""
    assert (
        found.common_tls_context.validation_context.trusted_ca.filename
        == "/etc/ssl/certs/ca-certificates.crt"
    )
    settings = options(cluster)
    assert settings is not None
    assert settings.upstream_http_protocol_options.auto_sni
    assert settings.upstream_http_protocol_options.auto_san_validation


def test_mutual_tls_by_files() -> None:
    cluster = one(
        """
    tls:
      mode: MUTUAL
      clientCertificate: /c.pem
      privateKey: /k.pem
      caCertificates: /ca.pem
      sni: x.example.com
      subjectAltNames: [x.example.com, "spiffe://a/b"]
""",
        "http2=80",
    )
    found = context(cluster)
    common = found.common_tls_context
    assert found.sni == "x.example.com" and list(common.alpn_protocols) == ["h2"]
    (certificate,) = common.tls_certificates
    assert (certificate.certificate_chain.filename, certificate.private_key.filename) == ("/c.pem", "/k.pem")
    assert common.validation_context.trusted_ca.filename == "/ca.pem"
    assert [
        (pb.tls_common.SubjectAltNameMatcher.SanType.Name(m.san_type), m.matcher.exact)
        for m in common.validation_context.match_typed_subject_alt_names
    ] == [("DNS", "x.example.com"), ("URI", "spiffe://a/b")]
    settings = options(cluster)
    assert settings is not None and not settings.HasField("upstream_http_protocol_options")


def test_a_service_entrys_own_names_are_checked() -> None:
    tls = rule("{tls: {mode: SIMPLE, sni: a.b}}").replace(REVIEWS, "db.example.com")
    (cluster,) = World(entry("resolution: DNS\n  subjectAltNames: [a.b]") + tls).outbound().values()
    names = context(cluster).common_tls_context.validation_context.match_typed_subject_alt_names
    assert [matcher.matcher.exact for matcher in names] == ["a.b"]


@pytest.mark.parametrize("mode", ["DISABLE", "ISTIO_MUTUAL"])
def test_plaintext_to_clients_without_a_certificate(mode: str) -> None:
    assert not one(f"{{tls: {{mode: {mode}}}}}").HasField("transport_socket")


def test_the_proxy_protocol_wraps_what_is_inside() -> None:
    cluster = one("{proxyProtocol: {version: V2}, tls: {mode: SIMPLE}}")
    outer = pb.upstream_proxy_protocol.ProxyProtocolUpstreamTransport()
    assert cluster.transport_socket.typed_config.Unpack(outer)
    assert outer.transport_socket.name == "envoy.transport_sockets.tls"


# Sharing.


def test_equal_scopes_share_bytes_and_unequal_rules_part() -> None:
    world = World(service("reviews", "http=80") + service("ratings", "http=80"))
    world.map(common_clusters, False)
    assert world.map(particular_clusters, Scope("one"), False) == {}
    world.apply(rule("{loadBalancer: {simple: RANDOM}}", namespace="one"))
    name = f"outbound|80||{REVIEWS}"
    assert world.outbound("one")[name].lb_policy == Cluster.RANDOM
    assert world.outbound("two")[name].lb_policy == Cluster.LEAST_REQUEST
    assert (
        world.map(particular_clusters, Scope("two"), False)[name]
        is world.map(particular_clusters, Scope("three"), False)[name]
    )


def test_endpoints_change_no_cluster() -> None:
    world = World(service("reviews", "http=80") + slice_of("reviews", "10.0.0.1"))
    world.map(common_clusters, False)
    with world.counting() as runs:
        world.apply(slice_of("reviews", "10.0.0.1, 10.0.0.2") + pod("x", "10.0.0.9", "app: reviews"))
    assert not [name for name in runs if name.startswith("clusters.")]


def test_a_label_of_a_service_changes_no_bytes() -> None:
    world = World(service("reviews", "http=80"))
    before = world.map(common_clusters, False)
    world.apply(
        service("reviews", "http=80").replace("namespace: default,", "namespace: default, labels: {a: b},")
    )
    world.map(common_clusters, False)
    assert world.changed(common_clusters, False) == (set(), set())
    assert world.map(common_clusters, False) == before


def test_an_edit_of_a_rule_builds_the_clusters_of_its_host_alone() -> None:
    objects = "".join(service(f"s{n}", "http=80") for n in range(20)) + service("reviews", "http=80")
    world = World(objects + rule("{loadBalancer: {simple: RANDOM}}"))
    world.map(common_clusters, False)
    with world.counting() as runs:
        world.apply(rule("{loadBalancer: {simple: ROUND_ROBIN}}"))
    assert runs["clusters.cluster"] == 1
    world.map(common_clusters, False)
    assert world.changed(common_clusters, False) == ({f"outbound|80||{REVIEWS}"}, set())
