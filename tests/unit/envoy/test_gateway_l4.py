"""Connections that a gateway does not read: by the name they ask for, or all to one place."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.envoy import pb
from tests.unit.envoy.edges import gateway
from tests.unit.envoy.test_gateway_listeners import ALL, SHOP, Identified, pair, refused
from tests.unit.envoy.traffic import virtual_service
from tests.unit.mesh.world import service

OLD, NEW = "2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z"
EGRESS = "{port: {number: 443, name: tls, protocol: TLS}, hosts: [edition.cnn.com], tls: {mode: PASSTHROUGH}}"


def tcp(number: int = 31400, name: str = "tcp") -> str:
    return f"{{port: {{number: {number}, name: {name}, protocol: TCP}}, hosts: {ALL}}}"


def bound(name: str, hosts: str, rules: str, **spec: str) -> str:
    return virtual_service(name, hosts, "", gateways="[edge/web]", **{"tcp": rules, **spec})


def to(port: int, subset: str = "", host: str = "echo.default.svc.cluster.local") -> str:
    more = f", subset: {subset}" if subset else ""
    return f"{{destination: {{host: {host}, port: {{number: {port}}}{more}}}}}"


def ways(world: Identified, listener: str) -> dict[tuple[str, ...], list[str]]:
    """Names that are asked for -> clusters."""
    found: dict[tuple[str, ...], list[str]] = {}
    for chain in world.listeners()[listener].filter_chains if listener in world.listeners() else ():
        proxy = pb.tcp_proxy.TcpProxy.FromString(chain.filters[-1].typed_config.value)
        shares = [f"{one.name} {one.weight}" for one in proxy.weighted_clusters.clusters]
        names = tuple(chain.filter_chain_match.server_names)
        assert names not in found
        found[names] = shares or [proxy.cluster]
    return found


def test_tcp_goes_where_the_first_rule_says() -> None:
    rules = (
        f"[{{match: [{{port: 1}}], route: [{to(1)}]}}, {{match: [{{port: 31400}}], route: [{to(9, 'v1')}]}}]"
    )
    first = bound("a", ALL, rules)
    second = bound("b", ALL, f"[{{route: [{to(2)}]}}]", created=NEW)
    world = Identified(gateway("web", f"[{tcp()}]"))
    # Who leads nowhere does not listen.
    assert world.listeners() == {}
    world.apply(first + second)
    assert ways(world, "0.0.0.0_31400") == {(): ["outbound|9|v1|echo.default.svc.cluster.local"]}
    assert world.routes() == {}
    assert not world.listeners()["0.0.0.0_31400"].listener_filters
    world.delete("VirtualService", "a")
    assert ways(world, "0.0.0.0_31400") == {(): ["outbound|2||echo.default.svc.cluster.local"]}


def test_shares() -> None:
    rules = f"[{{route: [{to(1, 'v1')[:-1]}, weight: 80}}, {to(1, 'v2')[:-1]}, weight: 20}}]}}]"
    world = Identified(gateway("web", f"[{tcp()}]") + bound("a", ALL, rules))
    host = "echo.default.svc.cluster.local"
    assert ways(world, "0.0.0.0_31400") == {(): [f"outbound|1|v1|{host} 80", f"outbound|1|v2|{host} 20"]}


def test_a_port_of_connections_has_one_owner() -> None:
    rules = bound("a", ALL, f"[{{route: [{to(1)}]}}]")
    world = Identified(
        gateway("web", f"[{tcp()}]", created=OLD) + gateway("late", f"[{tcp()}]", created=NEW) + rules
    )
    assert len(ways(world, "0.0.0.0_31400")) == 1
    assert refused(world, 31400) == {"late": "Gateway edge/web has all connections to this port"}


def test_tls_is_passed_on_by_name() -> None:
    rules = (
        "[{match: [{port: 443, sniHosts: [edition.cnn.com, other.com]}], "
        f"route: [{to(443, '', 'edition.cnn.com')}]}}]"
    )
    world = Identified(
        gateway("web", f"[{EGRESS}]")
        + virtual_service("cnn", "[edition.cnn.com, other.com]", "", gateways="[mesh, edge/web]", tls=rules)
        + virtual_service(
            "again", "[edition.cnn.com, other.com]", "", gateways="[edge/web]", tls=rules, created=NEW
        )
    )
    assert ways(world, "0.0.0.0_443") == {("edition.cnn.com",): ["outbound|443||edition.cnn.com"]}
    (inspector,) = world.listeners()["0.0.0.0_443"].listener_filters
    assert inspector.name == "envoy.filters.listener.tls_inspector"
    (chain,) = world.listeners()["0.0.0.0_443"].filter_chains
    assert not chain.HasField("transport_socket")


def test_tls_of_the_mesh_and_of_others_share_a_port_by_name() -> None:
    mutual = "{port: {number: 443, name: m, protocol: HTTPS}, hosts: [in.com], tls: {mode: ISTIO_MUTUAL}}"
    ended = f"{{port: {{number: 443, name: e, protocol: TLS}}, hosts: [raw.com], tls: {SHOP}}}"
    rules = f"[{{match: [{{sniHosts: [edition.cnn.com]}}], route: [{to(443, '', 'edition.cnn.com')}]}}]"
    world = Identified(
        gateway("web", f"[{mutual}, {ended}, {EGRESS}]")
        + virtual_service("cnn", "[edition.cnn.com]", "", gateways="[edge/web]", tls=rules)
        + bound("raw", "[raw.com]", f"[{{route: [{to(9000)}]}}]")
        + pair().secret("shop")
    )
    chains = {tuple(chain.filter_chain_match.server_names): chain for chain in world.chains().values()}
    assert chains.keys() == {("in.com",), ("raw.com",), ("edition.cnn.com",)}
    own, decrypted = secrets(chains["in.com",]), secrets(chains["raw.com",])
    assert own == ["default", "ROOTCA"]
    assert decrypted == ["kubernetes://shop"]
    assert chains["raw.com",].filters[-1].name == "envoy.filters.network.tcp_proxy"
    assert world.routes().keys() == {"https.443.m.web.edge"}


def secrets(chain: Any) -> list[str]:
    """The names of the secrets of a chain's TLS context."""
    context = pb.tls.DownstreamTlsContext.FromString(chain.transport_socket.typed_config.value)
    common = context.common_tls_context
    shown = [one.name for one in common.tls_certificate_sds_secret_configs]
    roots = common.combined_validation_context.validation_context_sds_secret_config.name
    return [*shown, roots] if roots else shown


@pytest.mark.parametrize("action", ["ALLOW", "DENY"])
def test_connections_are_authorized_before_they_go_on(action: str) -> None:
    policy = f"""
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: ips, namespace: edge}}
spec: {{action: {action}, rules: [{{from: [{{source: {{ipBlocks: [10.0.0.0/8]}}}}]}}]}}
---
"""
    world = Identified(gateway("web", f"[{tcp()}]") + bound("a", ALL, f"[{{route: [{to(1)}]}}]") + policy)
    (chain,) = world.listeners()["0.0.0.0_31400"].filter_chains
    assert [one.name for one in chain.filters] == [
        f"envoy.filters.network.rbac.{action.lower()}",
        "envoy.filters.network.tcp_proxy",
    ]


def test_what_a_rule_says_of_connections_holds_at_the_gateway_too() -> None:
    said = (
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\n"
        "metadata: {name: echo, namespace: default}\nspec: {host: echo, trafficPolicy: "
        "{connectionPool: {tcp: {idleTimeout: 7s, maxConnectionDuration: 9s}}}}\n---\n"
    )
    world = Identified(gateway("web", f"[{tcp()}]") + service("echo", "tcp=9") + said)
    world.apply(bound("a", ALL, f"[{{route: [{to(9)}]}}]"))
    (chain,) = world.listeners()["0.0.0.0_31400"].filter_chains
    proxy = pb.tcp_proxy.TcpProxy.FromString(chain.filters[-1].typed_config.value)
    assert (proxy.idle_timeout.seconds, proxy.max_downstream_connection_duration.seconds) == (7, 9)
    world.delete("DestinationRule", "echo")
    (chain,) = world.listeners()["0.0.0.0_31400"].filter_chains
    assert not pb.tcp_proxy.TcpProxy.FromString(chain.filters[-1].typed_config.value).HasField("idle_timeout")
