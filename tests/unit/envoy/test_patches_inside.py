"""What a patch does to one resource: lists, merges, chains, routes."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import json_format

from controlplane.envoy import pb
from controlplane.envoy.patches.chains import patch_chain
from controlplane.envoy.patches.hosts import patch_host
from controlplane.envoy.patches.lists import change_list, same_name
from controlplane.envoy.patches.merge import merge, merge_extension, merge_holding_socket
from controlplane.envoy.patches.todo import Patch
from controlplane.envoy.patches.values import MESSAGES
from controlplane.model.kinds.envoy_filter_match import (
    ANYTHING,
    FilterChainMatch,
    ListenerMatch,
    Match,
    RouteConfigurationMatch,
    RouteMatch,
    VirtualHostMatch,
)
from tests.support.envoy_filters import TYPES
from tests.unit.envoy.patching import value

MANAGER = "envoy.filters.network.http_connection_manager"
components = pb.listener_components


def patch(
    what: str, operation: str, content: Any = None, match: Match = ANYTHING, kind: str = "UNSPECIFIED"
) -> Patch:
    made = MESSAGES[what]() if content is None else value(what, content, operation)
    return Patch(what, operation, match, kind, made)


def shown(message: Any) -> Any:
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def in_listener(port: int = 0, **chain: Any) -> Match:
    return Match(listener=ListenerMatch(port=port, chain=FilterChainMatch(**chain)))


# -- lists --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "named", "expected"),
    [
        ("ADD", "b", "abcx"),
        ("INSERT_FIRST", "b", "xabc"),
        ("INSERT_BEFORE", "b", "axbc"),
        ("INSERT_AFTER", "b", "abxc"),
        ("INSERT_BEFORE", "", "xabc"),
        ("INSERT_AFTER", "", "abcx"),
        ("INSERT_BEFORE", "z", "abc"),
        ("REPLACE", "b", "axc"),
        ("REPLACE", "", "abc"),
        ("REMOVE", "b", "ac"),
        ("REMOVE", "", "abc"),
        ("REMOVE", "z", "abc"),
    ],
)
def test_lists(operation: str, named: str, expected: str) -> None:
    chain = components.FilterChain(filters=[components.Filter(name=name) for name in "abc"])
    change_list(chain.filters, operation, components.Filter(name="x"), same_name(named))
    assert "".join(one.name for one in chain.filters) == expected


def test_several_of_a_name_are_removed_together_and_passed_as_one() -> None:
    names = ("envoy.filters.http.rbac.deny", "envoy.filters.http.rbac.allow", "envoy.filters.http.router")
    chain = components.FilterChain(filters=[components.Filter(name=name) for name in names])
    rbac = same_name("envoy.filters.http.rbac")
    change_list(chain.filters, "INSERT_AFTER", components.Filter(name="x"), rbac)
    assert [one.name for one in chain.filters] == [*names[:2], "x", names[2]]
    change_list(chain.filters, "REMOVE", None, rbac)
    assert [one.name for one in chain.filters] == ["x", names[2]]


@pytest.mark.parametrize(
    ("wanted", "name", "expected"),
    [
        ("envoy.router", "envoy.filters.http.router", True),
        ("envoy.http_connection_manager", MANAGER, True),
        ("envoy.rate_limit", "envoy.filters.http.ratelimit", True),
        ("envoy.listener.tls_inspector", "envoy.filters.listener.tls_inspector", True),
        ("envoy.router", "my.router", False),
        ("my.router", "envoy.filters.http.router", False),
        ("envoy.filters.http.rbac", "envoy.filters.http.rbacs", False),
    ],
)
def test_old_names_mean_what_they_meant(wanted: str, name: str, expected: bool) -> None:
    same = same_name(wanted)
    assert same is not None and same(components.Filter(name=name)) is expected


# -- merges -------------------------------------------------------------------------------------------


def test_merging_as_protobuf_does_but_for_durations() -> None:
    target = value(
        "CLUSTER",
        {
            "name": "a",
            "connect_timeout": "1.5s",
            "circuit_breakers": {"thresholds": [{"max_retries": 1}]},
            "metadata": {"filter_metadata": {"x": {"a": 1}, "y": {"b": 1}}},
            "common_lb_config": {"healthy_panic_threshold": {"value": 7}},
        },
    )
    change = {
        "connect_timeout": "2s",
        "circuit_breakers": {"thresholds": [{"max_retries": 2}]},
        "metadata": {"filter_metadata": {"x": {"c": 1}}},
        "common_lb_config": {"close_connections_on_host_set_change": True},
    }
    merge(target, value("CLUSTER", change, "MERGE"))
    assert shown(target) == {
        "name": "a",
        "connect_timeout": "2s",
        "circuit_breakers": {"thresholds": [{"max_retries": 1}, {"max_retries": 2}]},
        "metadata": {"filter_metadata": {"x": {"c": 1}, "y": {"b": 1}}},
        "common_lb_config": {
            "healthy_panic_threshold": {"value": 7},
            "close_connections_on_host_set_change": True,
        },
    }
    merge(target, value("CLUSTER", change, "MERGE"), replace_lists=True)
    assert [one.max_retries.value for one in target.circuit_breakers.thresholds] == [2]


def test_filters_are_merged_inside_what_they_pack() -> None:
    config = {"@type": f"{TYPES}.network.tcp_proxy.v3.TcpProxy", "stat_prefix": "a", "cluster": "c"}
    target = value("NETWORK_FILTER", {"name": "t", "typed_config": config})
    more = {"@type": config["@type"], "idle_timeout": "5s", "cluster": "d"}
    merge_extension(target, value("NETWORK_FILTER", {"name": "renamed", "typed_config": more}, "MERGE"))
    assert target.name == "renamed"
    assert shown(target)["typed_config"] == {**config, **more}
    # Of another type it takes the other's place; without a configuration it leaves that alone.
    other = {"@type": f"{TYPES}.network.echo.v3.Echo"}
    merge_extension(target, value("NETWORK_FILTER", {"typed_config": other}, "MERGE"))
    merge_extension(target, value("NETWORK_FILTER", {"name": "n"}, "MERGE"))
    assert shown(target) == {"name": "n", "typed_config": other}


def test_a_transport_socket_of_the_same_name_is_merged_wherever_it_is() -> None:
    url = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
    tls = {"name": "tls", "typed_config": {"@type": url, "sni": "a"}}
    matches = [{"name": "m", "transport_socket": tls}]
    target = value("CLUSTER", {"name": "c", "transport_socket_matches": matches})
    change = {
        "transport_socket": {"name": "tls", "typed_config": {"@type": url, "allow_renegotiation": True}}
    }
    merge_holding_socket(target, value("CLUSTER", change, "MERGE"), replace_lists=False)
    (match,) = shown(target)["transport_socket_matches"]
    assert match["transport_socket"]["typed_config"] == {
        "@type": url,
        "sni": "a",
        "allow_renegotiation": True,
    }
    assert not target.HasField("transport_socket")
    merge_holding_socket(
        target, value("CLUSTER", {"transport_socket": {"name": "raw"}}, "MERGE"), replace_lists=False
    )
    assert target.transport_socket.name == "raw"


# -- chains -------------------------------------------------------------------------------------------


def http_chain(*filters: str, **match: Any) -> Any:
    inner = [pb.hcm.HttpFilter(name=f"envoy.filters.http.{name}") for name in filters]
    manager = components.Filter(
        name=MANAGER, typed_config=pb.pack(pb.hcm.HttpConnectionManager(http_filters=inner))
    )
    chain = components.FilterChain(name="c", filters=[components.Filter(name="first"), manager])
    chain.filter_chain_match.CopyFrom(value("FILTER_CHAIN", {"filter_chain_match": match}).filter_chain_match)
    return chain


def http_filters(chain: Any) -> list[str]:
    manager = pb.hcm.HttpConnectionManager.FromString(chain.filters[1].typed_config.value)
    return [one.name.rpartition(".")[2] for one in manager.http_filters]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("UNSPECIFIED", "jwt_authn rbac.deny rbac.allow grpc_stats fault x router"),
        ("AUTHN", "jwt_authn x rbac.deny rbac.allow grpc_stats fault router"),
        ("AUTHZ", "jwt_authn rbac.deny rbac.allow x grpc_stats fault router"),
        ("STATS", "jwt_authn rbac.deny rbac.allow x grpc_stats fault router"),
    ],
)
def test_an_http_filter_is_added_as_its_class_says(kind: str, expected: str) -> None:
    chain = http_chain("jwt_authn", "rbac.deny", "rbac.allow", "grpc_stats", "fault", "router")
    assert patch_chain("l", chain, [patch("HTTP_FILTER", "ADD", {"name": "x"}, kind=kind)])
    assert http_filters(chain) == [name.rpartition(".")[2] for name in expected.split()]


def test_what_is_put_in_is_merged_into() -> None:
    chain = http_chain("router")
    url = f"{TYPES}.http.cors.v3.Cors"
    merging = patch("HTTP_FILTER", "MERGE", {"disabled": True}, in_listener(filter=MANAGER, sub_filter="x"))
    adding = patch("HTTP_FILTER", "INSERT_FIRST", {"name": "x", "typed_config": {"@type": url}})
    patch_chain("l", chain, [merging, adding])
    manager = pb.hcm.HttpConnectionManager.FromString(chain.filters[1].typed_config.value)
    assert [(one.name, one.disabled) for one in manager.http_filters] == [
        ("x", True),
        ("envoy.filters.http.router", False),
    ]


def test_a_network_filter_is_added_before_the_one_that_takes_the_connection() -> None:
    chain = http_chain()
    patch_chain("l", chain, [patch("NETWORK_FILTER", "ADD", {"name": "x"})])
    assert [one.name for one in chain.filters] == ["first", "x", MANAGER]
    removing = patch("NETWORK_FILTER", "REMOVE", match=in_listener(filter=MANAGER))
    ending = patch("NETWORK_FILTER", "ADD", {"name": "envoy.filters.network.redis_proxy"})
    patch_chain("l", chain, [removing, ending])
    assert [one.name for one in chain.filters] == ["first", "x", "envoy.filters.network.redis_proxy"]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"name": "c"}, True),
        ({"name": "d"}, False),
        ({"sni": "a.com"}, True),
        ({"sni": "b.com"}, False),
        ({"transport_protocol": "tls"}, True),
        ({"transport_protocol": "raw_buffer"}, False),
        ({"application_protocols": ("h2",)}, True),
        ({"application_protocols": ("h2", "h3")}, False),
        ({"destination_port": 80}, True),
        ({"destination_port": 81}, False),
        ({"transport_socket": "tls"}, False),
        ({"port": 80}, True),
        ({"port": 81}, False),
    ],
)
def test_chains_are_told_apart(wanted: dict[str, Any], expected: bool) -> None:
    chain = http_chain(
        server_names=["a.com"],
        transport_protocol="tls",
        application_protocols=["h2", "x"],
        destination_port=80,
    )
    removing = patch("FILTER_CHAIN", "REMOVE", match=in_listener(**wanted))
    assert patch_chain("virtualInbound", chain, [removing]) is not expected
    if "port" in wanted:
        # The port of any other listener is the listener's own.
        assert patch_chain("0.0.0.0_80", chain, [removing]) is False


# -- virtual hosts ------------------------------------------------------------------------------------


def named_route(name: str = "", action: str = "ANY") -> Match:
    return Match(route=RouteConfigurationMatch(host=VirtualHostMatch(route=RouteMatch(name, action))))


def test_routes() -> None:
    host = value(
        "VIRTUAL_HOST",
        {
            "name": "h",
            "routes": [
                {"name": "a", "match": {"prefix": "/a"}, "redirect": {}},
                {"name": "b", "match": {"prefix": "/b"}, "route": {"cluster": "b"}},
                {"name": "c", "match": {"prefix": "/c"}, "direct_response": {"status": 200}},
            ],
        },
    )
    changes = [
        patch("HTTP_ROUTE", "ADD", {"name": "last"}),
        patch("HTTP_ROUTE", "INSERT_BEFORE", {"name": "x"}, named_route("b")),
        patch("HTTP_ROUTE", "INSERT_AFTER", {"name": "y"}, named_route(action="ROUTE")),
        patch("HTTP_ROUTE", "INSERT_FIRST", {"name": "first"}),
        patch("HTTP_ROUTE", "REMOVE", match=named_route(action="REDIRECT")),
        patch("HTTP_ROUTE", "MERGE", {"route": {"timeout": "5s"}}, named_route("b")),
        patch("HTTP_ROUTE", "MERGE", {"stat_prefix": "s"}),
    ]
    assert patch_host(host, changes)
    assert [one.name for one in host.routes] == ["first", "x", "b", "y", "c", "last"]
    assert [one.route.timeout.seconds for one in host.routes if one.name == "b"] == [5]
    # What is added is not merged into.
    assert [one.name for one in host.routes if one.stat_prefix] == ["b", "c"]
