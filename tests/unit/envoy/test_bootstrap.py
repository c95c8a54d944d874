"""The bootstrap of a sidecar: pure data in, a JSON-able dict out."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from google.protobuf import json_format

from controlplane.envoy import pb
from controlplane.envoy.bootstrap import ControlPlane, Node, Ports, bootstrap
from controlplane.model.proxy import parse_node

NODE = Node("10.0.0.1", "reviews-1", "prod", labels={"app": "reviews"})


def made(address: str = "unix:/run/x.sock", **fields: Any) -> Any:
    found = bootstrap(NODE, ControlPlane(address, **fields))
    assert json.loads(json.dumps(found)) == found
    return found


def cluster(found: Any, name: str) -> Any:
    (one,) = (c for c in found["static_resources"]["clusters"] if c["name"] == name)
    return json_format.ParseDict(one, pb.cluster.Cluster())


def test_the_node_is_one_that_the_control_plane_understands() -> None:
    node = Node(
        "10.0.0.1",
        "reviews-1",
        "prod",
        labels={"b": "2", "app": "reviews"},
        service_account="sa",
        locality="eu/eu-1",
        metadata={"ISTIO_VERSION": "1.2", "NAME": "other"},
    ).as_json()
    assert node["id"] == "sidecar~10.0.0.1~reviews-1.prod~prod.svc.cluster.local"
    assert (node["cluster"], node["locality"]) == ("reviews.prod", {"region": "eu", "zone": "eu-1"})
    metadata: Any = node["metadata"]
    assert (metadata["NAME"], metadata["ISTIO_VERSION"], metadata["SERVICE_ACCOUNT"]) == (
        "other",
        "1.2",
        "sa",
    )
    proxy = parse_node(str(node["id"]), metadata)
    assert (proxy.ip, proxy.namespace, dict(proxy.labels)) == (
        "10.0.0.1",
        "prod",
        {"b": "2", "app": "reviews"},
    )


@pytest.mark.parametrize("protocol", ["GRPC", "DELTA_GRPC"])
def test_discovery_over_one_stream_that_is_waited_for(protocol: str) -> None:
    dynamic = made(protocol=protocol)["dynamic_resources"]
    ads = dynamic["ads_config"]
    assert (ads["api_type"], ads["transport_api_version"], ads["set_node_on_first_message_only"]) == (
        protocol,
        "V3",
        True,
    )
    assert ads["grpc_services"] == [{"envoy_grpc": {"cluster_name": "xds-grpc"}}]
    for config in (dynamic["cds_config"], dynamic["lds_config"]):
        assert config == {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}


@pytest.mark.parametrize(
    ("address", "kind", "host", "port"),
    [
        ("127.0.0.1:15010", "STATIC", "127.0.0.1", 15010),
        ("[::1]:15010", "STATIC", "::1", 15010),
        ("istiod.istio-system.svc:15012", "STRICT_DNS", "istiod.istio-system.svc", 15012),
    ],
)
def test_the_control_plane_by_address(address: str, kind: str, host: str, port: int) -> None:
    found = cluster(made(address), "xds-grpc")
    assert pb.cluster.Cluster.DiscoveryType.Name(found.type) == kind
    at = found.load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address
    assert (at.address, at.port_value) == (host, port)


@pytest.mark.parametrize("address", ["unix:/run/x.sock", "unix:///run/x.sock"])
def test_the_control_plane_by_socket(address: str) -> None:
    found = cluster(made(address), "xds-grpc")
    assert found.load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.pipe.path == "/run/x.sock"


@pytest.mark.parametrize("address", ["", "host", "host:", "host:port"])
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(ValueError, match="host:port"):
        made(address)


def test_a_vanished_control_plane_is_noticed() -> None:
    options = cluster(made(), "xds-grpc").typed_extension_protocol_options
    (packed,) = options.values()
    found = pb.http_protocol_options.HttpProtocolOptions.FromString(packed.value)
    keepalive = found.explicit_http_config.http2_protocol_options.connection_keepalive
    assert (keepalive.interval.seconds, keepalive.timeout.seconds) == (30, 10)
    assert keepalive.interval_jitter.value == 5


def test_every_stream_has_a_connection_of_its_own() -> None:
    (packed,) = cluster(made(), "xds-grpc").typed_extension_protocol_options.values()
    found = pb.http_protocol_options.HttpProtocolOptions.FromString(packed.value)
    assert found.common_http_protocol_options.max_requests_per_connection.value == 1


def test_its_own_listeners_and_admin() -> None:
    found = bootstrap(NODE, ControlPlane("unix:/x"), ports=Ports(admin=1, health=2, prometheus=3))
    assert found["admin"] == {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 1}}}
    static: Any = found["static_resources"]
    health, prometheus = (json_format.ParseDict(one, pb.listener.Listener()) for one in static["listeners"])
    assert [one.address.socket_address.port_value for one in (health, prometheus)] == [2, 3]
    (route,) = hcm(prometheus).route_config.virtual_hosts[0].routes
    assert (route.match.path, route.route.cluster) == ("/stats/prometheus", "prometheus_stats")
    check = pb.health_check_filter.HealthCheck.FromString(hcm(health).http_filters[0].typed_config.value)
    assert check.headers[0].string_match.exact == "/healthz/ready"
    assert not check.pass_through_mode.value
    assert cluster(found, "prometheus_stats").type == pb.cluster.Cluster.STATIC


def hcm(listener: Any) -> Any:
    return pb.hcm.HttpConnectionManager.FromString(listener.filter_chains[0].filters[0].typed_config.value)


def test_few_statistics_are_kept_and_more_on_request() -> None:
    def patterns(*prefixes: str) -> list[dict[str, str]]:
        found: Any = bootstrap(NODE, ControlPlane("unix:/x"), stats_prefixes=prefixes)
        return found["stats_config"]["stats_matcher"]["inclusion_list"]["patterns"]  # type: ignore[no-any-return]

    assert {"suffix": "update_rejected"} in patterns()
    assert {"prefix": "cluster.xds-grpc"} in patterns()
    assert {"prefix": "http."} not in patterns()
    assert {"prefix": "http."} in patterns("http.")


@pytest.mark.parametrize(
    ("statistic", "tag", "value", "rest"),
    [
        (
            "cluster.outbound|9080|v1|reviews.default.svc.cluster.local;.upstream_rq_2xx",
            "cluster_name",
            "outbound|9080|v1|reviews.default.svc.cluster.local",
            "cluster.upstream_rq_2xx",
        ),
        ("cluster.inbound|9080||;.ssl.handshake", "cluster_name", "inbound|9080||", "cluster.ssl.handshake"),
        (
            "http.inbound_0.0.0.0_9080.downstream_rq_2xx",
            "http_conn_manager",
            "inbound_0.0.0.0_9080",
            "http.downstream_rq_2xx",
        ),
        ("http.outbound_[__]_80.rbac.denied", "http_conn_manager", "outbound_[__]_80", "http.rbac.denied"),
        (
            "listener.0.0.0.0_15006.http.inbound_0.0.0.0_9080.downstream_rq_2xx",
            "http_conn_manager",
            "inbound_0.0.0.0_9080",
            "listener.0.0.0.0_15006.http.downstream_rq_2xx",
        ),
        ("http.prometheus.downstream_rq_2xx", "http_conn_manager", "", "http.prometheus.downstream_rq_2xx"),
    ],
)
def test_names_with_dots_become_labels(statistic: str, tag: str, value: str, rest: str) -> None:
    found: Any = made()["stats_config"]["stats_tags"]
    (regex,) = (one["regex"] for one in found if one["tag_name"] == tag)
    match = re.search(regex, statistic)
    # As Envoy does it: the first group leaves the name, the second is the value.
    assert (match[2] if match else "") == value
    assert (statistic[: match.start(1)] + statistic[match.end(1) :] if match else statistic) == rest


def test_statistics_of_clusters_are_made_when_they_are_used() -> None:
    assert made()["deferred_stat_options"] == {"enable_deferred_creation_stats": True}
