"""DestinationRule: all of its fields, and what Istio's validation refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from controlplane.model.kinds import destination_rules
from controlplane.model.kinds.connection_pool import (
    ConnectionPoolSettings,
    HTTPSettings,
    KeepaliveSettings,
    TcpKeepalive,
    TCPSettings,
)
from controlplane.model.kinds.destination_rule import (
    PortTrafficPolicy,
    RetryBudget,
    Subset,
    TrafficPolicy,
    TunnelSettings,
)
from controlplane.model.kinds.load_balancing import (
    ConsistentHashLB,
    HTTPCookie,
    LoadBalancerSettings,
    MagLev,
    OutlierDetection,
    RingHash,
    WarmupConfiguration,
)
from controlplane.model.kinds.locality_setting import (
    Distribute,
    Failover,
    LocalityLoadBalancerSetting,
    ZoneAwareLoadBalancerSetting,
)
from controlplane.model.kinds.tls import ClientTLSSettings

Values = Callable[..., Any]
Fields = Callable[..., dict[str, str]]
SECOND = 1_000_000_000


def policy(**settings: Any) -> dict[str, Any]:
    return {"host": "a", "trafficPolicy": settings}


def balancer(**settings: Any) -> dict[str, Any]:
    return policy(loadBalancer=settings)


POOL = {
    "tcp": {
        "maxConnections": 100,
        "connectTimeout": "30ms",
        "tcpKeepalive": {"probes": 3, "time": "7200s", "interval": "75s"},
        "maxConnectionDuration": "1h",
        "idleTimeout": "0s",
    },
    "http": {
        "http1MaxPendingRequests": 1,
        "http2MaxRequests": 2,
        "maxRequestsPerConnection": 3,
        "maxRetries": 4,
        "idleTimeout": "1m",
        "h2UpgradePolicy": "UPGRADE",
        "maxConcurrentStreams": 5,
        "http2KeepAlive": {"interval": "30s", "timeout": "10s"},
    },
}
POOLED = ConnectionPoolSettings(
    TCPSettings(100, SECOND * 3 // 100, TcpKeepalive(3, 7200 * SECOND, 75 * SECOND), 3600 * SECOND, 0),
    HTTPSettings(1, 2, 3, 4, 60 * SECOND, "UPGRADE", False, 5, KeepaliveSettings(30 * SECOND, 10 * SECOND)),
)
OUTLIER = {
    "consecutive5xxErrors": 0,
    "consecutiveGatewayErrors": 7,
    "splitExternalLocalOriginErrors": True,
    "consecutiveLocalOriginFailures": 2,
    "interval": "5m",
    "baseEjectionTime": "15m",
    "maxEjectionPercent": 50,
    "minHealthPercent": 10,
    "outlierDetectionHttpErrorCodes": [500, 503],
}
OUTLYING = OutlierDetection(0, 7, True, 2, 300 * SECOND, 900 * SECOND, 50, 10, (500, 503))
TLS = {
    "mode": "MUTUAL",
    "clientCertificate": "/c",
    "privateKey": "/k",
    "caCertificates": "/ca",
    "caCrl": "/crl",
    "subjectAltNames": ["a", "b"],
    "sni": "s",
    "insecureSkipVerify": False,
}
SECURE = ClientTLSSettings("MUTUAL", "/c", "/k", "/ca", None, ("a", "b"), "s", False, "/crl")


def test_everything(value: Values) -> None:
    rule = value(
        "DestinationRule",
        {
            "host": "reviews",
            "exportTo": ["."],
            "workloadSelector": {"matchLabels": {"app": "web"}},
            "trafficPolicy": {
                "loadBalancer": {"simple": "ROUND_ROBIN"},
                "connectionPool": POOL,
                "outlierDetection": OUTLIER,
                "tls": TLS,
                "portLevelSettings": [
                    {"port": {"number": 80}, "loadBalancer": {"simple": "RANDOM"}},
                    {"port": {"number": 81}, "connectionPool": POOL, "outlierDetection": OUTLIER, "tls": TLS},
                ],
                "tunnel": {"targetHost": "t.example.com", "targetPort": 8443, "protocol": "POST"},
                "retryBudget": {"percent": 20, "minRetryConcurrency": 3, "budgetInterval": "1s"},
            },
            "subsets": [
                {"name": "v1", "labels": {"version": "v1"}},
                {"name": "v2", "labels": {"version": "v2"}, "trafficPolicy": {"outlierDetection": OUTLIER}},
            ],
        },
    )
    assert rule.traffic_policy == TrafficPolicy(
        load_balancer=LoadBalancerSettings("ROUND_ROBIN"),
        connection_pool=POOLED,
        outlier_detection=OUTLYING,
        tls=SECURE,
        port_level_settings=(
            PortTrafficPolicy(80, LoadBalancerSettings("RANDOM")),
            PortTrafficPolicy(81, None, POOLED, OUTLYING, SECURE),
        ),
        tunnel=TunnelSettings("t.example.com", 8443, "POST"),
        retry_budget=RetryBudget(20.0, 3, SECOND),
    )
    assert rule.subsets == (
        Subset("v1", (("version", "v1"),)),
        Subset("v2", (("version", "v2"),), TrafficPolicy(outlier_detection=OUTLYING)),
    )
    assert rule.workload_selector == (("app", "web"),)
    assert rule.export_to == (".",)
    assert tuple(destination_rules.indexes["host"](rule.meta.key, rule)) == (
        "reviews.shop.svc.cluster.local",
    )
    assert destination_rules.selector is not None
    assert destination_rules.selector(rule) == (("app", "web"),)


def test_a_rule_without_selector_is_found_by_its_host_only(value: Values) -> None:
    assert destination_rules.selector is not None
    assert destination_rules.selector(value("DestinationRule", {"host": "a"})) is None


@pytest.mark.parametrize(
    ("raw", "settings"),
    [
        ({"httpHeaderName": "h"}, ConsistentHashLB(http_header_name="h")),
        ({"useSourceIp": True}, ConsistentHashLB(use_source_ip=True)),
        ({"httpQueryParameterName": "q"}, ConsistentHashLB(http_query_parameter_name="q")),
        (
            {
                "httpCookie": {
                    "name": "c",
                    "path": "/",
                    "ttl": "0s",
                    "attributes": [{"name": "SameSite", "value": "Lax"}],
                }
            },
            ConsistentHashLB(http_cookie=HTTPCookie("c", "/", 0, (("SameSite", "Lax"),))),
        ),
        (
            {"useSourceIp": True, "ringHash": {"minimumRingSize": 64}},
            ConsistentHashLB(use_source_ip=True, ring_hash=RingHash(64)),
        ),
        (
            {"useSourceIp": True, "minimumRingSize": 32},
            ConsistentHashLB(use_source_ip=True, ring_hash=RingHash(32)),
        ),
        (
            {"useSourceIp": True, "maglev": {"tableSize": 65537}},
            ConsistentHashLB(use_source_ip=True, maglev=MagLev(65537)),
        ),
    ],
)
def test_consistent_hashes(value: Values, raw: dict[str, Any], settings: ConsistentHashLB) -> None:
    rule = value("DestinationRule", balancer(consistentHash=raw))
    assert rule.traffic_policy.load_balancer == LoadBalancerSettings(consistent_hash=settings)


def test_localities_and_warmup(value: Values) -> None:
    failover = [{"from": "a", "to": "b"}]
    both = ((Failover("a", "b"),), ("shard",))
    rule = value(
        "DestinationRule",
        balancer(
            localityLbSetting={"enabled": False, "failover": failover, "failoverPriority": [both[1][0]]},
            warmup={"duration": "60s", "minimumPercent": 20, "aggression": 1.5},
        ),
    )
    assert rule.traffic_policy.load_balancer == LoadBalancerSettings(
        locality_lb_setting=LocalityLoadBalancerSetting((), *both, False),
        warmup=WarmupConfiguration(60 * SECOND, 20.0, 1.5),
    )
    rule = value(
        "DestinationRule",
        balancer(
            zoneAwareLbSetting={
                "enabled": True,
                "failover": failover,
                "failoverPriority": [both[1][0]],
                "minClusterSize": 6,
            },
            warmupDurationSecs="30s",
        ),
    )
    assert rule.traffic_policy.load_balancer == LoadBalancerSettings(
        zone_aware_lb_setting=ZoneAwareLoadBalancerSetting(*both, True, 6),
        warmup=WarmupConfiguration(30 * SECOND),
    )
    distribute = [{"from": "r/z/*", "to": {"r/z/*": 80, "r/y/*": 20}}]
    rule = value("DestinationRule", balancer(localityLbSetting={"distribute": distribute}))
    assert rule.traffic_policy.load_balancer.locality_lb_setting.distribute == (
        Distribute("r/z/*", (("r/y/*", 20), ("r/z/*", 80))),
    )


@pytest.mark.parametrize(
    ("spec", "field", "message"),
    [
        ({}, "spec.host", "is missing"),
        ({"host": ""}, "spec.host", "is missing"),
        ({"host": "a b"}, "spec.host", "not a DNS name"),
        ({"host": "a", "exportTo": ["a b"]}, "spec.exportTo[0]", "no namespace"),
        ({"host": "a", "subsets": [{"labels": {"a": "b"}}]}, "spec.subsets[0].name", "is missing"),
        ({"host": "a", "subsets": [{"name": "v|1"}]}, "spec.subsets[0].name", "cannot be the name"),
        (
            {"host": "a", "subsets": [{"name": "v", "labels": {"a": 1}}]},
            "spec.subsets[0].labels[a]",
            "expected a string",
        ),
        (
            {"host": "a", "subsets": [{"name": "v", "labels": {"a": "b*"}}]},
            "spec.subsets[0].labels[a]",
            "value of a label",
        ),
        (
            {"host": "a", "subsets": [{"name": "v", "labels": {"": "b"}}]},
            "spec.subsets[0].labels",
            "name of a label",
        ),
        (
            {"host": "a", "subsets": [{"name": "v", "trafficPolicy": {"tls": {"mode": "X"}}}]},
            "spec.subsets[0].trafficPolicy.tls.mode",
            "not allowed",
        ),
        (
            {"host": "a", "workloadSelector": {"matchLabels": {"a": "*"}}},
            "spec.workloadSelector.matchLabels[a]",
            "value of a label",
        ),
        (policy(portLevelSettings=[{}]), "spec.trafficPolicy.portLevelSettings[0].port", "is missing"),
        (
            policy(portLevelSettings=[{"port": {}}]),
            "spec.trafficPolicy.portLevelSettings[0].port.number",
            "is missing",
        ),
        (policy(tunnel={}), "spec.trafficPolicy.tunnel.targetHost", "is missing"),
        (policy(tunnel={"targetHost": "a"}), "spec.trafficPolicy.tunnel.targetPort", "is missing"),
        (
            policy(tunnel={"targetHost": "*.a", "targetPort": 1}),
            "spec.trafficPolicy.tunnel.targetHost",
            "is a wildcard",
        ),
        (policy(proxyProtocol={"version": "V3"}), "spec.trafficPolicy.proxyProtocol.version", "not allowed"),
        (policy(retryBudget={"percent": 101}), "spec.trafficPolicy.retryBudget.percent", "from 0 to 100"),
        (balancer(simple="FASTEST"), "spec.trafficPolicy.loadBalancer.simple", "not allowed"),
        (
            balancer(simple="RANDOM", consistentHash={"useSourceIp": True}),
            "spec.trafficPolicy.loadBalancer.consistentHash",
            "excludes simple",
        ),
        (balancer(consistentHash={}), "spec.trafficPolicy.loadBalancer.consistentHash", "names nothing"),
        (
            balancer(consistentHash={"useSourceIp": True, "httpHeaderName": "h"}),
            "spec.trafficPolicy.loadBalancer.consistentHash.useSourceIp",
            "excludes httpHeaderName",
        ),
        (
            balancer(consistentHash={"useSourceIp": True, "ringHash": {}, "maglev": {}}),
            "spec.trafficPolicy.loadBalancer.consistentHash.maglev",
            "excludes ringHash",
        ),
        (
            balancer(consistentHash={"useSourceIp": True, "maglev": {"tableSize": 1000}}),
            "spec.trafficPolicy.loadBalancer.consistentHash.maglev.tableSize",
            "not a prime",
        ),
        (
            balancer(consistentHash={"httpCookie": {}}),
            "spec.trafficPolicy.loadBalancer.consistentHash.httpCookie.name",
            "is missing",
        ),
        (balancer(warmup={}), "spec.trafficPolicy.loadBalancer.warmup.duration", "is missing"),
        (
            balancer(localityLbSetting={"distribute": [{"from": "a", "to": {"b": 50}}]}),
            "spec.trafficPolicy.loadBalancer.localityLbSetting.distribute[0].to",
            "add up to 50",
        ),
        (
            balancer(localityLbSetting={"distribute": [{"from": "a", "to": {"b": 100}}] * 2}),
            "spec.trafficPolicy.loadBalancer.localityLbSetting.distribute[1].from",
            "given twice",
        ),
        *(
            (
                balancer(localityLbSetting={"distribute": distribute}),
                f"spec.trafficPolicy.loadBalancer.localityLbSetting.{field}",
                message,
            )
            for distribute, field, message in (
                ([{"from": "a", "to": {"b": 60, "b/*": 40}}], "distribute[0].to", "overlaps 'b'"),
                ([{"from": "a", "to": {"*": 60, "b": 40}}], "distribute[0].to", "overlaps '*'"),
                ([{"from": "a/*/c", "to": {"b": 100}}], "distribute[0].from", "not its last part"),
                ([{"from": "a", "to": {"b*": 100}}], "distribute[0].to", "not its last part"),
                ([{"from": "a//c", "to": {"b": 100}}], "distribute[0].from", "is no locality"),
                (
                    [{"from": "a/b", "to": {"b": 100}}, {"from": "a", "to": {"b": 100}}],
                    "distribute",
                    "overlaps 'a/b'",
                ),
            )
        ),
        (policy(), "spec.trafficPolicy", "says nothing"),
        (policy(connectionPool={}), "spec.trafficPolicy.connectionPool", "says nothing"),
        *(
            (policy(tls={"insecureSkipVerify": True, **tls}), f"spec.trafficPolicy.tls.{field}", "excludes")
            for tls, field in (
                ({"mode": "SIMPLE", "caCertificates": "/ca.pem"}, "caCertificates"),
                ({"mode": "SIMPLE", "credentialName": "c"}, "credentialName"),
                ({"mode": "MUTUAL", "credentialName": "c", "subjectAltNames": ["a"]}, "subjectAltNames"),
            )
        ),
        (
            balancer(
                localityLbSetting={
                    "distribute": [{"from": "a", "to": {"b": 100}}],
                    "failover": [{"from": "a", "to": "b"}],
                }
            ),
            "spec.trafficPolicy.loadBalancer.localityLbSetting.failover",
            "excludes distribute",
        ),
        (
            balancer(localityLbSetting={"failover": [{"from": "a", "to": "a"}]}),
            "spec.trafficPolicy.loadBalancer.localityLbSetting.failover[0].to",
            "region that fails",
        ),
        (
            balancer(localityLbSetting={"failover": [{"from": "*", "to": "a"}]}),
            "spec.trafficPolicy.loadBalancer.localityLbSetting.failover[0].from",
            "wildcard",
        ),
        (
            policy(connectionPool={"tcp": {"maxConnections": -1}}),
            "spec.trafficPolicy.connectionPool.tcp.maxConnections",
            "got the number -1",
        ),
        (
            policy(connectionPool={"tcp": {"connectTimeout": "0s"}}),
            "spec.trafficPolicy.connectionPool.tcp.connectTimeout",
            "too short",
        ),
        (
            policy(connectionPool={"http": {"h2UpgradePolicy": "MAYBE"}}),
            "spec.trafficPolicy.connectionPool.http.h2UpgradePolicy",
            "not allowed",
        ),
        (
            policy(connectionPool={"http": {"h2UpgradePolicy": "UPGRADE", "useClientProtocol": True}}),
            "spec.trafficPolicy.connectionPool.http.useClientProtocol",
            "excludes",
        ),
        (
            policy(outlierDetection={"maxEjectionPercent": 101}),
            "spec.trafficPolicy.outlierDetection.maxEjectionPercent",
            "from 0 to 100",
        ),
        (
            policy(outlierDetection={"consecutiveLocalOriginFailures": 1}),
            "spec.trafficPolicy.outlierDetection.consecutiveLocalOriginFailures",
            "needs splitExternal",
        ),
        (
            policy(outlierDetection={"outlierDetectionHttpErrorCodes": [99]}),
            "spec.trafficPolicy.outlierDetection.outlierDetectionHttpErrorCodes[0]",
            "from 100 to 599",
        ),
        (
            policy(tls={"mode": "MUTUAL", "privateKey": "k"}),
            "spec.trafficPolicy.tls.clientCertificate",
            "is missing",
        ),
        (
            policy(tls={"mode": "SIMPLE", "credentialName": "c", "caCertificates": "f"}),
            "spec.trafficPolicy.tls.caCertificates",
            "excludes",
        ),
    ],
)
def test_destination_rules_that_are_refused(
    refused: Fields, spec: dict[str, Any], field: str, message: str
) -> None:
    assert message in refused("DestinationRule", spec)[field]


@pytest.mark.parametrize(
    ("spec", "field", "message"),
    [
        ({"host": "a", "subset": []}, "spec.subset", "did you mean subsets?"),
        (
            policy(loadbalancer={}, retryBudget={}),
            "spec.trafficPolicy.loadbalancer",
            "did you mean loadBalancer?",
        ),
        ({"host": "a", "workloadSelector": {}}, "spec.workloadSelector.matchLabels", "is empty"),
        (
            balancer(backendUtilization={"weightUpdatePeriod": "1s"}),
            "spec.trafficPolicy.loadBalancer.backendUtilization",
            "not supported",
        ),
        (
            balancer(simple="RANDOM", warmup={"duration": "1s"}),
            "spec.trafficPolicy.loadBalancer.warmup",
            "has no effect with RANDOM",
        ),
        (
            balancer(consistentHash={"useSourceIp": True}, warmupDurationSecs="1s"),
            "spec.trafficPolicy.loadBalancer.warmupDurationSecs",
            "has no effect with consistentHash",
        ),
        (
            policy(outlierDetection={"consecutiveErrors": 5}),
            "spec.trafficPolicy.outlierDetection.consecutiveErrors",
            "use consecutive5xxErrors",
        ),
        (
            policy(tls={"mode": "ISTIO_MUTUAL", "privateKey": "k"}),
            "spec.trafficPolicy.tls.privateKey",
            "has no effect",
        ),
    ],
)
def test_destination_rules_with_a_warning(
    warned: Fields, spec: dict[str, Any], field: str, message: str
) -> None:
    warnings = warned("DestinationRule", spec)
    assert list(warnings) == [field]
    assert message in warnings[field]


def test_two_subsets_of_one_name_are_refused(refused: Fields) -> None:
    subsets = [{"name": "v", "labels": {"a": "1"}}, {"name": "v", "labels": {"a": "2"}}]
    found = refused("DestinationRule", {"host": "a", "subsets": subsets})
    assert found == {"spec.subsets[1].name": "'v' is given twice"}


def test_of_two_policies_of_one_port_the_first_stays(read: Values) -> None:
    pool = {"tcp": {"maxConnections": 1}}
    levels = [{"port": {"number": 80}, "connectionPool": pool}, {"port": {"number": 80}, "tls": {}}]
    parsed = read("DestinationRule", policy(portLevelSettings=levels))
    assert parsed.value.traffic_policy.port_level_settings == (
        PortTrafficPolicy(80, connection_pool=ConnectionPoolSettings(TCPSettings(max_connections=1))),
    )
    assert [p.field for p in parsed.problems] == ["spec.trafficPolicy.portLevelSettings[1].port"]
