"""The node of a proxy: what Istio's proxies send, and every way to get it wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.base.errors import ProtocolError
from controlplane.model.locality import Locality
from controlplane.model.proxy import ProxyMetadata, parse_node

ID = "sidecar~10.0.0.7~reviews-v1-abc.shop~shop.svc.cluster.local"


def test_a_sidecar_of_istio() -> None:
    proxy = parse_node(
        ID,
        {
            "NAMESPACE": "shop",
            "LABELS": {"version": "v1", "app": "reviews"},
            "WORKLOAD_NAME": "reviews-v1",
            "OWNER": "kubernetes://apis/apps/v1/namespaces/shop/deployments/reviews-v1",
            "SERVICE_ACCOUNT": "reviews",
            "INSTANCE_IPS": "10.0.0.7, fd00::07",
            "CLUSTER_ID": "Kubernetes",
            "NETWORK": "n1",
            "MESH_ID": "m",
            "NODE_NAME": "node",
            "ISTIO_VERSION": "1.27.0",
            "ISTIO_REVISION": "default",
            "INTERCEPTION_MODE": "TPROXY",
            "IDLE_TIMEOUT": "5s",
            "GENERATOR": "grpc",
            "HTTP10": "1",
            "DNS_CAPTURE": "true",
            "DNS_AUTO_ALLOCATE": True,
            "UNPRIVILEGED_POD": "false",
            "HTTP_PROXY_PORT": "8080",
            "ENVOY_STATUS_PORT": 15021.0,
            "ENVOY_PROMETHEUS_PORT": 15090,
            "PROXY_CONFIG": {"statusPort": 15020, "concurrency": 2},
            "SOMETHING_ELSE": ["ignored"],
        },
        Locality("r", "z"),
    )
    assert (proxy.type, proxy.ip, proxy.id) == ("sidecar", "10.0.0.7", "reviews-v1-abc.shop")
    assert (proxy.name, proxy.namespace, proxy.domain) == ("reviews-v1-abc", "shop", "cluster.local")
    assert proxy.ips == ("10.0.0.7", "fd00::7")
    assert proxy.labels == (("app", "reviews"), ("version", "v1"))
    assert proxy.locality == Locality("r", "z")
    assert proxy.metadata == ProxyMetadata(
        workload_name="reviews-v1",
        owner="kubernetes://apis/apps/v1/namespaces/shop/deployments/reviews-v1",
        service_account="reviews",
        node_name="node",
        cluster_id="Kubernetes",
        network="n1",
        mesh_id="m",
        istio_version="1.27.0",
        istio_revision="default",
        interception_mode="TPROXY",
        idle_timeout="5s",
        generator="grpc",
        http10=True,
        dns_capture=True,
        dns_auto_allocate=True,
        unprivileged_pod=False,
        http_proxy_port=8080,
        envoy_status_port=15021,
        envoy_prometheus_port=15090,
        proxy_config='{"concurrency": 2, "statusPort": 15020}',
        texts=proxy.metadata.texts,
    )
    texts = json.loads(proxy.metadata.texts)
    assert texts["ISTIO_VERSION"] == "1.27.0"
    # What is no string is nothing that could be compared with one.
    assert texts.keys().isdisjoint({"LABELS", "DNS_AUTO_ALLOCATE", "ENVOY_STATUS_PORT", "SOMETHING_ELSE"})


def test_the_metadata_may_be_missing() -> None:
    proxy = parse_node(ID, None)
    assert (proxy.namespace, proxy.ips, proxy.labels) == ("shop", ("10.0.0.7",), ())
    assert proxy.metadata == ProxyMetadata()
    assert proxy.locality == Locality()
    assert hash(proxy) == hash(parse_node(ID, {}))


def test_the_namespace_of_the_metadata_wins() -> None:
    assert parse_node("sidecar~1.1.1.1~a.b~b.svc.cluster.local", {"NAMESPACE": "c"}).namespace == "c"


def test_the_domain_is_what_follows_svc() -> None:
    assert parse_node("router~1.1.1.1~a.b~b.svc.corp.example", {}).domain == "corp.example"
    assert parse_node("router~1.1.1.1~a.b~b.example", {}).domain == "cluster.local"


def test_an_address_may_come_from_the_metadata_alone() -> None:
    proxy = parse_node("sidecar~~a.b~b.svc.cluster.local", {"INSTANCE_IPS": "10.0.0.1,10.0.0.2"})
    assert (proxy.ip, proxy.ips) == ("10.0.0.1", ("10.0.0.1", "10.0.0.2"))


def test_invalid_addresses_in_the_metadata_are_left_out_with_the_others() -> None:
    proxy = parse_node(ID, {"INSTANCE_IPS": "10.0.0.7,nonsense"})
    assert proxy.ips == ("10.0.0.7",)


@pytest.mark.parametrize(
    ("id", "part"),
    [
        ("", "no id"),
        (None, "no id"),
        ("sidecar", "1 parts"),
        ("sidecar~1.1.1.1~a.b", "3 parts"),
        (ID + "~x", "5 parts"),
        ("ztunnel~1.1.1.1~a.b~b.svc.cluster.local", "'ztunnel'"),
        ("sidecar~1.1.1~a.b~b.svc.cluster.local", "no valid IP address"),
        ("sidecar~~a.b~b.svc.cluster.local", "no valid IP address"),
        ("sidecar~1.1.1.1~~b.svc.cluster.local", "no name"),
        ("sidecar~1.1.1.1~a.b~", "no namespace"),
        ("sidecar~1.1.1.1~a\n.b~b.svc.cluster.local", "cannot be printed"),
        ("x" * 5000, "5000 characters"),
    ],
)
def test_a_malformed_id_is_refused_by_its_part(id: Any, part: str) -> None:
    with pytest.raises(ProtocolError, match=part) as caught:
        parse_node(id, {})
    assert len(str(caught.value)) < 300
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("NAMESPACE", 5),
        ("LABELS", "app=a"),
        ("LABELS", {"app": 1.0}),
        ("LABELS", {1: "a"}),
        ("INSTANCE_IPS", ["10.0.0.1"]),
        ("WORKLOAD_NAME", {}),
        ("INTERCEPTION_MODE", "MAGIC"),
        ("DNS_CAPTURE", "perhaps"),
        ("HTTP10", 3.0),
        ("ENVOY_STATUS_PORT", "http"),
        ("ENVOY_STATUS_PORT", 70000.0),
        ("ENVOY_STATUS_PORT", float("nan")),
        ("HTTP_PROXY_PORT", True),
        ("PROXY_CONFIG", "x"),
        ("PROXY_CONFIG", {"a": object()}),
    ],
)
def test_metadata_of_the_wrong_type_is_refused_by_its_key(key: str, value: Any) -> None:
    with pytest.raises(ProtocolError, match=key):
        parse_node(ID, {key: value})


def test_metadata_must_be_a_mapping() -> None:
    metadata: Any = ["NAMESPACE"]
    with pytest.raises(ProtocolError, match="node metadata is a list"):
        parse_node(ID, metadata)


def test_absurd_nesting_is_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"a": deep}
    with pytest.raises(ProtocolError, match="PROXY_CONFIG"):
        parse_node(ID, {"PROXY_CONFIG": deep})


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=8,
)
keys = st.sampled_from(
    ["NAMESPACE", "LABELS", "INSTANCE_IPS", "INTERCEPTION_MODE", "HTTP10", "HTTP_PROXY_PORT", "PROXY_CONFIG"]
)


@given(
    st.one_of(
        st.text(),
        st.lists(st.sampled_from(["sidecar", "router", "1.1.1.1", "a.b", "b.svc.x", ""])).map("~".join),
    ),
    st.dictionaries(keys, anything),
)
def test_whatever_a_peer_sends_is_a_proxy_or_a_protocol_error(id: str, metadata: dict[str, Any]) -> None:
    try:
        proxy = parse_node(id, metadata)
    except ProtocolError as error:
        assert str(error)
        return
    assert proxy.namespace
    assert proxy.ips
    hash(proxy)
