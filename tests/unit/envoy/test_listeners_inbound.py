"""virtualInbound: a chain per port of the workload, and what happens to the rest."""

from __future__ import annotations

from typing import Any

from controlplane.envoy import pb
from controlplane.envoy.listeners import inbound_listeners
from controlplane.mesh.projections import Binding, Inbound
from controlplane.mesh.service import ServiceId
from tests.unit.envoy.test_listeners import inspectors, manager, to
from tests.unit.envoy.traffic import Traffic

APP = ServiceId("app.default.svc.cluster.local", "default")


def listener(*ports: tuple[int, str], mesh: str = "") -> Any:
    bindings = tuple(Binding(APP, 80, target, protocol) for target, protocol in ports)
    world = Traffic(mesh)
    found = world.map(inbound_listeners, Inbound("default", bindings))
    assert set(found) == {"virtualInbound"}
    routes = {f"inbound|{target}||" for target, protocol in ports if protocol not in ("TCP", "MYSQL")}
    assert set(found["virtualInbound"].refs) == routes | {"InboundPassthroughCluster"}
    return pb.listener.Listener.FromString(found["virtualInbound"].body)


def chains(found: Any) -> dict[str, Any]:
    return {chain.name: chain for chain in found.filter_chains}


def test_the_listener_itself() -> None:
    found = listener((9080, "HTTP"))
    assert found.traffic_direction == pb.base.TrafficDirection.INBOUND
    assert found.address.socket_address.port_value == 15006
    assert inspectors(found) == ["original_dst", "http_inspector"]
    assert found.continue_on_listener_filters_timeout


def test_an_http_port_has_routes_by_rds() -> None:
    chain = chains(listener((9080, "HTTP")))["0.0.0.0_9080"]
    assert chain.filter_chain_match.destination_port.value == 9080
    assert to(chain) == "rds inbound|9080||"
    found = manager(chain)
    assert found.stat_prefix == "inbound_0.0.0.0_9080"
    assert found.server_name == "istio-envoy"
    assert found.forward_client_cert_details == found.APPEND_FORWARD
    assert found.set_current_client_cert_details.uri


def test_the_own_port_of_the_listener_is_nobodys() -> None:
    """Two chains for one port would make Envoy refuse the listener, and with it all calls to the workload."""
    own = listener((15006, "TCP"), (9080, "HTTP"))
    matched = [c.filter_chain_match.destination_port.value for c in own.filter_chains]
    assert (matched.count(15006), matched.count(9080)) == (1, 1)
    assert to(chains(own)["virtualInbound-blackhole"]) == "BlackHoleCluster"


def test_a_tcp_port_leads_to_its_cluster() -> None:
    chain = chains(listener((3306, "MYSQL")))["0.0.0.0_3306"]
    assert to(chain) == "inbound|3306||"


def test_an_undeclared_port_has_both_and_envoy_can_reach_both() -> None:
    found = chains(listener((7000, "AUTO")))
    http, tcp = found["0.0.0.0_7000-http"].filter_chain_match, found["0.0.0.0_7000-tcp"].filter_chain_match
    assert http.destination_port.value == tcp.destination_port.value == 7000
    # Chains are chosen level by level: both have to name the transport.
    assert http.transport_protocol == tcp.transport_protocol == "raw_buffer"
    assert (list(http.application_protocols), list(tcp.application_protocols)) == (["http/1.1", "h2c"], [])


def test_the_inspector_leaves_declared_ports_alone() -> None:
    def disabled(found: Any) -> list[tuple[int, int]]:
        predicate = found.listener_filters[1].filter_disabled
        ranges = [r.destination_port_range for r in predicate.or_match.rules] or [
            predicate.destination_port_range
        ]
        return [(r.start, r.end) for r in ranges]

    assert disabled(listener((3306, "TCP"))) == [(3306, 3307)]
    assert disabled(listener((3306, "TCP"), (7000, "AUTO"), (9080, "HTTP"))) == [(3306, 3307), (9080, 9081)]
    assert not listener((7000, "AUTO")).listener_filters[1].HasField("filter_disabled")


def test_other_ports_pass_through() -> None:
    found = listener()
    assert (found.default_filter_chain.name, to(found.default_filter_chain)) == (
        "virtualInbound",
        "InboundPassthroughCluster",
    )
    web = chains(found)["virtualInbound-catchall-http"]
    assert manager(web).rds.route_config_name == "InboundPassthroughCluster"


def test_the_listeners_own_port_leads_nowhere() -> None:
    chain = chains(listener(mesh="kind: MeshConfig\nproxyInboundListenPort: 16006\n"))[
        "virtualInbound-blackhole"
    ]
    assert chain.filter_chain_match.destination_port.value == 16006
    assert to(chain) == "BlackHoleCluster"


def test_workloads_with_equal_ports_share_one() -> None:
    world = Traffic()
    one = Inbound("default", (Binding(APP, 80, 9080, "HTTP"),))
    other = Inbound("prod", (Binding(ServiceId("b.prod.svc.cluster.local", "prod"), 81, 9080, "HTTP"),))
    assert (
        world.map(inbound_listeners, one)["virtualInbound"]
        is world.map(inbound_listeners, other)["virtualInbound"]
    )
