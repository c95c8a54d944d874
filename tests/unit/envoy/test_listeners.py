"""Outbound listeners: which there are, and what a connection meets on each."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.envoy import pb
from controlplane.mesh.scope import Scope
from controlplane.model.keys import Key
from tests.unit.envoy.traffic import Traffic, virtual_service
from tests.unit.mesh.world import ProxyView, pod, service, slice_of

DB = "outbound|5432||db.default.svc.cluster.local"


def entry(name: str, hosts: str, ports: str, **spec: str) -> str:
    more = "".join(f", {field}: {value}" for field, value in spec.items() if field != "created")
    return (
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\n"
        f"metadata: {{name: {name}, namespace: default, creationTimestamp: {spec.get('created', '')!r}}}\n"
        f"spec: {{hosts: {hosts}, ports: {ports}{more}}}\n---\n"
    )


def manager(chain: Any) -> Any:
    """The HTTP connection manager of a chain."""
    (only,) = chain.filters
    assert only.name == "envoy.filters.network.http_connection_manager"
    return pb.hcm.HttpConnectionManager.FromString(only.typed_config.value)


def proxy(chain: Any) -> Any:
    """The TCP proxy of a chain."""
    last = chain.filters[-1]
    assert last.name == "envoy.filters.network.tcp_proxy"
    return pb.tcp_proxy.TcpProxy.FromString(last.typed_config.value)


def offers(chain: Any) -> str:
    """What the connections of a chain offer by ALPN, if it is not what their cluster says."""
    *before, _ = chain.filters
    if not before:
        return ""
    (value,) = pb.set_filter_state.Config.FromString(before[0].typed_config.value).on_new_connection
    assert value.object_key == "envoy.network.application_protocols"
    return str(value.format_string.text_format_source.inline_string)


def to(chain: Any) -> Any:
    """Where a chain leads: the route name, the cluster, or the shares."""
    if chain.filters[0].name.endswith("http_connection_manager"):
        return "rds " + manager(chain).rds.route_config_name
    found = proxy(chain)
    return found.cluster or [(one.name, one.weight) for one in found.weighted_clusters.clusters]


def inspectors(listener: Any) -> list[str]:
    return [one.name.rpartition(".")[2] for one in listener.listener_filters]


class TestHttp:
    def listener(self, world: Traffic) -> Any:
        return world.listeners()["0.0.0.0_9080"]

    def test_one_for_all_services_of_a_port(self) -> None:
        world = Traffic(
            service("a", "http=9080", ip="10.96.0.1")
            + service("b", "grpc=9080", ip="10.96.0.2", namespace="prod")
        )
        assert set(world.listeners()) == {"0.0.0.0_9080", "virtualOutbound"}
        found = self.listener(world)
        assert found.traffic_direction == pb.base.TrafficDirection.OUTBOUND
        assert found.HasField("bind_to_port") and not found.bind_to_port.value
        address = found.address.socket_address
        assert (address.address, address.port_value) == ("0.0.0.0", 9080)
        (http,) = found.filter_chains
        assert http.filter_chain_match.transport_protocol == "raw_buffer"
        assert list(http.filter_chain_match.application_protocols) == ["http/1.1", "h2c"]
        assert inspectors(found) == ["http_inspector"]
        assert found.continue_on_listener_filters_timeout and found.HasField("listener_filters_timeout")
        assert world.listener_resources()["0.0.0.0_9080"].refs == ("9080",)

    def test_the_connection_manager(self) -> None:
        found = manager(self.listener(Traffic(service("a", "http=9080"))).filter_chains[0])
        assert found.stat_prefix == "outbound_0.0.0.0_9080"
        assert found.rds.route_config_name == "9080"
        assert found.rds.config_source.HasField("ads")
        assert found.rds.config_source.resource_api_version == pb.config_source.ApiVersion.V3
        assert found.rds.config_source.HasField("initial_fetch_timeout")
        assert [one.name.rpartition(".")[2] for one in found.http_filters] == [
            "grpc_stats",
            "fault",
            "cors",
            "router",
        ]
        assert [one.upgrade_type for one in found.upgrade_configs] == ["websocket"]
        assert found.HasField("stream_idle_timeout") and found.stream_idle_timeout.seconds == 0
        assert found.normalize_path.value

    def test_grpc_web_is_translated_where_a_port_speaks_it(self) -> None:
        found = manager(self.listener(Traffic(service("a", "grpc-web=9080"))).filter_chains[0])
        assert found.http_filters[0].name == "envoy.filters.http.grpc_web"

    @pytest.mark.parametrize(
        ("mode", "cluster"), [("ALLOW_ANY", "PassthroughCluster"), ("REGISTRY_ONLY", "BlackHoleCluster")]
    )
    def test_what_is_no_http_goes_where_strangers_go(self, mode: str, cluster: str) -> None:
        world = Traffic(
            service("a", "http=9080") + f"kind: MeshConfig\noutboundTrafficPolicy: {{mode: {mode}}}\n"
        )
        found = self.listener(world).default_filter_chain
        assert (found.name, to(found)) == ("PassthroughFilterChain", cluster)

    def test_envoys_own_ports_are_left_alone(self) -> None:
        world = Traffic(service("a", "http=15021, http-b=15090, http-c=15001, http-d=15006, tcp=15022"))
        assert set(world.listeners()) == {"10.96.0.10_15022", "virtualOutbound"}


class TestTcp:
    def test_a_service_has_its_own_address(self) -> None:
        found = Traffic(service("db", "tcp=5432", ip="10.96.0.1")).listeners()["10.96.0.1_5432"]
        assert found.address.socket_address.address == "10.96.0.1"
        assert not found.filter_chains and not found.listener_filters
        assert to(found.default_filter_chain) == DB
        assert proxy(found.default_filter_chain).stat_prefix == DB

    def test_without_an_address_it_has_the_port(self) -> None:
        world = Traffic(
            entry("e", "[a.example.com]", "[{number: 5432, name: tcp, protocol: TCP}]", resolution="DNS")
        )
        assert to(world.listeners()["0.0.0.0_5432"].default_filter_chain) == "outbound|5432||a.example.com"

    def test_any_address_is_no_address(self) -> None:
        port = "[{number: 5432, name: tcp, protocol: TCP}, {number: 80, name: http, protocol: HTTP}]"
        world = Traffic(entry("e", "[a.example.com]", port, resolution="NONE", addresses="[0.0.0.0, '::']"))
        assert set(world.listeners()) == {"0.0.0.0_5432", "0.0.0.0_80", "virtualOutbound"}
        assert to(world.listeners()["0.0.0.0_5432"].default_filter_chain) == "outbound|5432||a.example.com"
        assert list(world.host("80", "a.example.com").domains) == ["a.example.com", "a.example.com."]

    def test_the_oldest_without_an_address_has_the_port(self) -> None:
        port = "[{number: 5432, name: tcp, protocol: TCP}]"
        world = Traffic(
            entry("young", "[a.example.com]", port, resolution="DNS", created="2024-01-02T00:00:00Z")
            + entry("old", "[b.example.com]", port, resolution="DNS", created="2024-01-01T00:00:00Z")
        )
        assert to(world.listeners()["0.0.0.0_5432"].default_filter_chain) == "outbound|5432||b.example.com"
        world.delete("ServiceEntry", "old")
        assert to(world.listeners()["0.0.0.0_5432"].default_filter_chain) == "outbound|5432||a.example.com"

    def test_it_shares_the_port_with_http(self) -> None:
        world = Traffic(
            service("web", "http=5432")
            + entry("e", "[a.example.com]", "[{number: 5432, name: tcp, protocol: TCP}]", resolution="DNS")
        )
        found = world.listeners()["0.0.0.0_5432"]
        assert [to(chain) for chain in found.filter_chains] == ["rds 5432"]
        assert to(found.default_filter_chain) == "outbound|5432||a.example.com"

    def test_networks_are_conditions(self) -> None:
        world = Traffic(
            entry(
                "e",
                "[a.example.com]",
                "[{number: 5432, name: tcp, protocol: TCP}]",
                resolution="NONE",
                addresses="[172.16.0.0/12, 192.0.2.1, 192.0.2.2/32]",
            )
        )
        found = world.listeners()
        assert set(found) == {"0.0.0.0_5432", "192.0.2.1_5432", "192.0.2.2_5432", "virtualOutbound"}
        (chain,) = found["0.0.0.0_5432"].filter_chains
        (prefix,) = chain.filter_chain_match.prefix_ranges
        assert (prefix.address_prefix, prefix.prefix_len.value) == ("172.16.0.0", 12)
        assert found["0.0.0.0_5432"].default_filter_chain.name == "PassthroughFilterChain"

    def test_a_virtual_service_shares_connections_out(self) -> None:
        tcp = (
            "[{route: [{destination: {host: db}, weight: 4}, "
            "{destination: {host: new, port: {number: 1}}, weight: 1}]}]"
        )
        world = Traffic(service("db", "tcp=5432", ip="10.96.0.1") + virtual_service("v", "[db]", "", tcp=tcp))
        chain = world.listeners()["10.96.0.1_5432"].default_filter_chain
        assert to(chain) == [(DB, 4), ("outbound|1||new.default.svc.cluster.local", 1)]
        assert proxy(chain).stat_prefix == "v.default"

    def test_what_its_subnets_leave_over_goes_to_the_service(self) -> None:
        tcp = (
            "[{match: [{destinationSubnets: [10.1.2.3/16]}], route: [{destination: {host: db, subset: v1}}]}]"
        )
        world = Traffic(service("db", "tcp=5432", ip="10.96.0.1") + virtual_service("v", "[db]", "", tcp=tcp))
        found = world.listeners()["10.96.0.1_5432"]
        (chain,) = found.filter_chains
        assert chain.filter_chain_match.prefix_ranges[0].address_prefix == "10.1.0.0"
        assert to(chain) == DB.replace("||", "|v1|")
        assert to(found.default_filter_chain) == DB

    def test_rules_for_other_clients(self) -> None:
        tcp = (
            "[{match: [{sourceLabels: {app: a}}], route: [{destination: {host: x, port: {number: 1}}}]}, "
            "{match: [{sourceNamespace: prod}], route: [{destination: {host: y, port: {number: 1}}}]}, "
            "{match: [{port: 1}], route: [{destination: {host: z, port: {number: 1}}}]}]"
        )
        world = Traffic(
            service("db", "tcp=5432", ip="10.96.0.1")
            + virtual_service("v", "[db]", "", tcp=tcp)
            + pod("a-1", "10.0.0.1", "app: a")
        )
        a = world.view("sidecar~10.0.0.1~a-1.default~default.svc.cluster.local")

        def goes(who: str | ProxyView) -> Any:
            return to(world.listeners(who)["10.96.0.1_5432"].default_filter_chain)

        assert goes("default") == DB
        assert goes(a) == "outbound|1||x.default.svc.cluster.local"
        assert goes("prod") == "outbound|1||y.default.svc.cluster.local"

    def test_its_destination_rule(self) -> None:
        world = Traffic(
            service("db", "tcp=5432", ip="10.96.0.1")
            + """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: db, namespace: default}
spec:
  host: db
  trafficPolicy:
    loadBalancer: {consistentHash: {useSourceIp: true}}
    connectionPool: {tcp: {idleTimeout: 30s, maxConnectionDuration: 1h}}
"""
        )
        found = proxy(world.listeners()["10.96.0.1_5432"].default_filter_chain)
        assert (found.idle_timeout.seconds, found.max_downstream_connection_duration.seconds) == (30, 3600)
        assert found.hash_policy[0].HasField("source_ip")

    def test_pods_of_headless_services_have_listeners(self) -> None:
        world = Traffic(
            service("db", "tcp=5432, http=80, web=81", ip="None")
            + slice_of("db", "10.0.0.1, 10.0.0.2, !10.0.0.3", port="tcp=5432")
            + slice_of("db", "10.0.0.1", port="web=81", suffix="b")
        )
        found = world.listeners()
        assert set(found) == {
            "10.0.0.1_5432",
            "10.0.0.2_5432",
            "10.0.0.1_81",
            "0.0.0.0_80",
            "virtualOutbound",
        }
        assert to(found["10.0.0.2_5432"].default_filter_chain) == DB
        assert to(found["10.0.0.1_81"].filter_chains[0]) == "rds db.default.svc.cluster.local:81"
        world.apply(slice_of("db", "10.0.0.2", port="tcp=5432"))
        assert "10.0.0.1_5432" not in world.listeners()


class TestTls:
    PORT = "[{number: 443, name: tls, protocol: TLS}]"

    def test_a_service_with_an_address_needs_no_name(self) -> None:
        found = Traffic(service("db", "https=443", ip="10.96.0.1")).listeners()["10.96.0.1_443"]
        assert not found.filter_chains and not found.listener_filters
        assert to(found.default_filter_chain) == "outbound|443||db.default.svc.cluster.local"

    def test_others_are_told_apart_by_the_name_asked_for(self) -> None:
        world = Traffic(entry("e", "[a.example.com, '*.b.com']", self.PORT, resolution="NONE"))
        found = world.listeners()["0.0.0.0_443"]
        assert {tuple(c.filter_chain_match.server_names): to(c) for c in found.filter_chains} == {
            ("*.b.com",): "outbound|443||*.b.com",
            ("a.example.com",): "outbound|443||a.example.com",
        }
        assert inspectors(found) == ["tls_inspector"]
        assert found.default_filter_chain.name == "PassthroughFilterChain"

    def test_rules_by_name(self) -> None:
        tls = (
            "[{match: [{sniHosts: [A.example.com, b.example.com], port: 443}], "
            "route: [{destination: {host: x.com}}]}, "
            "{match: [{sniHosts: [a.example.com]}], route: [{destination: {host: y.com}}]}, "
            "{match: [{sniHosts: [a.example.com], port: 1}], route: [{destination: {host: z.com}}]}]"
        )
        world = Traffic(
            entry("e", "[a.example.com, b.example.com]", self.PORT, resolution="NONE")
            + virtual_service("v", "[a.example.com, b.example.com]", "", tls=tls)
        )
        (chain,) = world.listeners()["0.0.0.0_443"].filter_chains
        # The first rule for a name has it; Envoy would refuse a second chain for it.
        assert list(chain.filter_chain_match.server_names) == ["a.example.com", "b.example.com"]
        assert to(chain) == "outbound|443||x.com"

    def test_where_rules_name_no_name_they_take_all(self) -> None:
        tls = (
            "[{match: [{sniHosts: ['*.svc.cluster.local']}], route: [{destination: {host: db, subset: v1}}]}]"
        )
        world = Traffic(
            service("db", "https=443", ip="10.96.0.1")
            + virtual_service("v", "['*.svc.cluster.local']", "", tls=tls)
        )
        found = world.listeners()["10.96.0.1_443"]
        assert [list(c.filter_chain_match.server_names) for c in found.filter_chains] == [
            ["*.svc.cluster.local"]
        ]
        assert not found.HasField("default_filter_chain")

    def test_http_beside_it(self) -> None:
        world = Traffic(
            entry("e", "[a.example.com]", self.PORT, resolution="NONE")
            + service("web", "http=443", ip="10.96.0.1")
        )
        found = world.listeners()["0.0.0.0_443"]
        assert [to(chain) for chain in found.filter_chains] == ["rds 443", "outbound|443||a.example.com"]
        assert inspectors(found) == ["tls_inspector", "http_inspector"]


class TestSniffed:
    def test_on_its_own_address(self) -> None:
        world = Traffic(service("a", "web=84", ip="10.96.0.1"))
        found = world.listeners()["10.96.0.1_84"]
        name = "a.default.svc.cluster.local:84"
        assert [to(chain) for chain in found.filter_chains] == [f"rds {name}"]
        assert manager(found.filter_chains[0]).stat_prefix == "outbound_10.96.0.1_84"
        assert to(found.default_filter_chain) == "outbound|84||a.default.svc.cluster.local"
        assert offers(found.default_filter_chain) == "istio"
        assert world.listener_resources()["10.96.0.1_84"].refs == (name,)
        assert name in world.routes()

    @pytest.mark.parametrize(
        ("mode", "expected"), [("SIMPLE", ""), ("ISTIO_MUTUAL", "istio"), ("DISABLE", "istio")]
    )
    def test_servers_outside_the_mesh_are_not_told_of_it(self, mode: str, expected: str) -> None:
        policy = f"""
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: d, namespace: default}}
spec: {{host: a, trafficPolicy: {{tls: {{mode: {mode}}}}}}}
"""
        world = Traffic(service("a", "web=84", ip="10.96.0.1") + policy)
        assert offers(world.listeners()["10.96.0.1_84"].default_filter_chain) == expected

    def test_a_declared_port_offers_what_its_cluster_says(self) -> None:
        found = Traffic(service("a", "tcp=84", ip="10.96.0.1")).listeners()["10.96.0.1_84"]
        assert offers(found.default_filter_chain) == ""

    def test_without_an_address_it_joins_its_port(self) -> None:
        world = Traffic(entry("e", "[a.example.com]", "[{number: 84, name: web}]", resolution="DNS"))
        found = world.listeners()["0.0.0.0_84"]
        assert [to(chain) for chain in found.filter_chains] == ["rds 84"]
        assert to(found.default_filter_chain) == "outbound|84||a.example.com"

    def test_the_oldest_has_a_shared_address(self) -> None:
        port = "[{number: 84, name: web}]"
        world = Traffic(
            entry(
                "young",
                "[a.com]",
                port,
                resolution="DNS",
                addresses="[192.0.2.1]",
                created="2024-01-02T00:00:00Z",
            )
            + entry(
                "old",
                "[b.com]",
                port,
                resolution="DNS",
                addresses="[192.0.2.1]",
                created="2024-01-01T00:00:00Z",
            )
        )
        found = world.listeners()["192.0.2.1_84"]
        assert [to(chain) for chain in found.filter_chains] == ["rds b.com:84"]
        assert to(found.default_filter_chain) == "outbound|84||b.com"

    def test_the_mesh_says_how_long_to_look(self) -> None:
        world = Traffic(
            service("a", "web=84", ip="10.96.0.1") + "kind: MeshConfig\nprotocolDetectionTimeout: 5s\n"
        )
        assert world.listeners()["10.96.0.1_84"].listener_filters_timeout.seconds == 5


class TestVirtual:
    def test_it_hands_on_by_the_address_dialled(self) -> None:
        found = Traffic().listeners()["virtualOutbound"]
        assert found.use_original_dst.value
        assert found.address.socket_address.port_value == 15001
        assert not found.HasField("bind_to_port")
        loop, rest = found.filter_chains
        assert (loop.name, to(loop)) == ("virtualOutbound-blackhole", "BlackHoleCluster")
        assert loop.filter_chain_match.destination_port.value == 15001
        assert (rest.name, to(rest)) == ("virtualOutbound-catchall-tcp", "PassthroughCluster")

    def test_a_sidecar_may_refuse_strangers(self) -> None:
        world = Traffic(
            service("a", "http=80, tcp=81", ip="10.96.0.1")
            + service("b", "http=80, tcp=81", ip="10.96.0.2", namespace="prod")
            + """
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: s, namespace: default}
spec: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}, egress: [{hosts: ["./*"]}]}
"""
        )
        found = world.listeners(ProxyView(Scope("default", Key("default", "s")), None))
        assert set(found) == {"0.0.0.0_80", "10.96.0.1_81", "virtualOutbound"}
        assert to(found["virtualOutbound"].filter_chains[-1]) == "BlackHoleCluster"
        assert to(found["0.0.0.0_80"].default_filter_chain) == "BlackHoleCluster"
        assert "10.96.0.2_81" in world.listeners()

    def test_its_port_is_a_setting(self) -> None:
        found = Traffic("kind: MeshConfig\nproxyListenPort: 16001\n").listeners()["virtualOutbound"]
        assert found.address.socket_address.port_value == 16001
        assert found.filter_chains[0].filter_chain_match.destination_port.value == 16001
