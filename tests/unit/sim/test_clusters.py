"""The hosts of a cluster: by health, priority, weight and place, and how they are spoken to."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.sim import Call, End, Http, Served, Tls, simulate
from tests.unit.sim.messages import cluster, edge, endpoints, host, manager, route_configuration, tcp

ALL = {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "c"}}]}
_TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"


def ask(found: Any, assignment: Any = None, *, address: str = "10.0.0.1") -> End:
    configuration = route_configuration(virtual_hosts=[ALL])
    served = Served(
        {"l": edge(manager())},
        {"r": configuration},
        {"c": found},
        {} if assignment is None else {"c": assignment},
    )
    return simulate(served, Call(address, 80, Http("/", "a.test"), way="direct")).end


def shares(end: End) -> dict[str, float]:
    return {one.address.partition(":")[0]: round(one.share, 3) for one in end.hosts}


EDS = {"type": "EDS", "common_lb_config": {"healthy_panic_threshold": {}}}


def test_weights() -> None:
    group = {"lb_endpoints": [host("10.1.0.1", load_balancing_weight=3), host("10.1.0.2")]}
    assert shares(ask(cluster("c", **EDS), endpoints("c", group))) == {"10.1.0.1": 0.75, "10.1.0.2": 0.25}


def test_only_the_healthy() -> None:
    group = {"lb_endpoints": [host("10.1.0.1", health_status="UNHEALTHY"), host("10.1.0.2")]}
    assert shares(ask(cluster("c", **EDS), endpoints("c", group))) == {"10.1.0.2": 1.0}


def test_panic() -> None:
    ill = [host(f"10.1.0.{n}", health_status="UNHEALTHY") for n in (1, 2, 3)]
    group = {"lb_endpoints": [*ill, host("10.1.0.4")]}
    assert len(ask(cluster("c", type="EDS"), endpoints("c", group)).hosts) == 4
    assert len(ask(cluster("c", **EDS), endpoints("c", group)).hosts) == 1


@pytest.mark.parametrize("assignment", [None, endpoints("c"), endpoints("c", {"lb_endpoints": []})])
def test_nobody(assignment: Any) -> None:
    end = ask(cluster("c", **EDS), assignment)
    assert (end.kind, end.status, end.flags) == ("answer", 503, "UH")


def test_priorities_spill_over() -> None:
    def groups(ill: int) -> list[dict[str, Any]]:
        near = [host(f"10.1.0.{n}", health_status="UNHEALTHY" if n <= ill else "HEALTHY") for n in (1, 2)]
        return [{"lb_endpoints": near}, {"priority": 1, "lb_endpoints": [host("10.2.0.1")]}]

    found = cluster("c", **EDS)
    assert shares(ask(found, endpoints("c", *groups(0)))) == {"10.1.0.1": 0.5, "10.1.0.2": 0.5}
    assert shares(ask(found, endpoints("c", *groups(1)))) == {"10.1.0.2": 0.7, "10.2.0.1": 0.3}
    assert shares(ask(found, endpoints("c", *groups(2)))) == {"10.2.0.1": 1.0}


def test_localities_with_weights() -> None:
    groups = [
        {
            "locality": {"region": "r", "zone": zone},
            "load_balancing_weight": weight,
            "lb_endpoints": [host(ip)],
        }
        for zone, weight, ip in (("a", 80, "10.1.0.1"), ("b", 20, "10.1.0.2"))
    ]
    assert shares(ask(cluster("c", **EDS), endpoints("c", *groups))) == {"10.1.0.1": 0.5, "10.1.0.2": 0.5}
    config: dict[str, Any] = {"healthy_panic_threshold": {}, "locality_weighted_lb_config": {}}
    end = ask(cluster("c", type="EDS", common_lb_config=config), endpoints("c", *groups))
    assert shares(end) == {"10.1.0.1": 0.8, "10.1.0.2": 0.2}
    assert end.hosts[0].locality == "r/a"


def test_where_it_was_sent() -> None:
    found = cluster("c", type="ORIGINAL_DST", lb_policy="CLUSTER_PROVIDED")
    assert [one.address for one in ask(found).hosts] == ["10.0.0.1:80"]
    override = {"upstream_port_override": 8080}
    found = cluster("c", type="ORIGINAL_DST", lb_policy="CLUSTER_PROVIDED", original_dst_lb_config=override)
    assert [one.address for one in ask(found).hosts] == ["10.0.0.1:8080"]


def test_each_host_has_its_transport() -> None:
    secret = {"name": "default", "sds_config": {"ads": {}}}
    common = {"alpn_protocols": ["istio"], "tls_certificate_sds_secret_configs": [secret]}
    secured = {
        "name": "tls",
        "typed_config": {"@type": _TLS, "sni": "outbound", "common_tls_context": common},
    }
    matches = [
        {"name": "mtls", "match": {"tlsMode": "istio"}, "transport_socket": secured},
        {"name": "plain", "match": {}},
    ]
    metadata = {"filter_metadata": {"envoy.transport_socket_match": {"tlsMode": "istio"}}}
    group = {"lb_endpoints": [host("10.1.0.1", metadata=metadata), host("10.1.0.2")]}
    end = ask(cluster("c", **EDS, transport_socket_matches=matches), endpoints("c", group))
    assert [one.tls for one in end.hosts] == [Tls("outbound", ("istio",), "default"), None]


def test_connections() -> None:
    listener = edge(tcp("c"))
    clusters = {"c": cluster("c", **EDS)}
    group = {"lb_endpoints": [host("10.1.0.1")]}
    there = Served({"l": listener}, {}, clusters, {"c": endpoints("c", group)})
    call = Call("10.0.0.1", 80, way="direct")
    assert simulate(there, call).end.kind == "tcp"
    for served, flags in ((Served({"l": listener}, {}, clusters), "UH"), (Served({"l": listener}), "NC")):
        end = simulate(served, call).end
        assert (end.kind, end.status, end.flags) == ("closed", None, flags)
