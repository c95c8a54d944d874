"""The table of names that a proxy answers: what is in it, for whom, and what a change of it costs."""

from __future__ import annotations

from typing import Any

from controlplane.envoy import pb
from controlplane.envoy.dns import dns_listeners
from controlplane.mesh.projections import Scope
from tests.unit.envoy.traffic import Traffic
from tests.unit.mesh.world import service


def config(world: Traffic, namespace: str) -> Any:
    """The filter's configuration; it must be what serializing it whole would give."""
    resource = world.map(dns_listeners, Scope(namespace))["dns"]
    listener = pb.listener.Listener.FromString(resource.body)
    packed = listener.listener_filters[0].typed_config
    found = pb.dns_filter.DnsFilterConfig.FromString(packed.value)
    assert pb.deterministic(found) == packed.value
    return found


def table(world: Traffic, namespace: str = "default") -> dict[str, list[str]]:
    """Name -> addresses without those that are mapped; no name may come twice."""
    domains = config(world, namespace).server_config.inline_dns_table.virtual_domains
    assert len({one.name for one in domains}) == len(domains)
    return {
        one.name: [a for a in one.endpoint.address_list.address if not a.startswith("::ffff:")]
        for one in domains
    }


def entry(host: str, addresses: str, *, namespace: str = "default", export_to: str = "'*'") -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: "{host.replace("*", "all")}", namespace: {namespace}}}
spec:
  hosts: ["{host}"]
  addresses: {addresses}
  exportTo: [{export_to}]
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  resolution: DNS
---
""".replace("resolution: DNS", "resolution: NONE" if host.startswith("*") else "resolution: DNS")


def test_a_service_has_its_short_name_at_home_alone() -> None:
    world = Traffic(service("reviews", "http=80", ip="10.96.0.1"))
    everywhere = {
        "reviews.default": ["10.96.0.1"],
        "reviews.default.svc": ["10.96.0.1"],
        "reviews.default.svc.cluster.local": ["10.96.0.1"],
    }
    assert table(world, "other") == everywhere
    assert table(world, "default") == {"reviews": ["10.96.0.1"], **everywhere}


def test_wildcards_of_whole_labels_and_addresses_that_are_no_networks() -> None:
    world = Traffic(
        entry("*.a.com", "[10.0.0.1, 10.0.0.2]")
        + entry("*-x.b.com", "[10.0.0.3]")
        + entry("*.c.com", "[10.0.0.0/8]")
    )
    assert table(world) == {"*.a.com": ["10.0.0.1", "10.0.0.2"]}


def test_what_only_one_namespace_sees_is_answered_there_and_wins_a_name() -> None:
    world = Traffic(
        service("cart", "http=80", ip="10.96.0.2", namespace="shop")
        + entry("cart.shop", "[10.0.0.9]", export_to="'.'")
        + entry("own.com", "[10.0.0.8]", export_to="'.'")
    )
    assert table(world, "default")["cart.shop"] == ["10.0.0.9"]
    assert table(world, "default")["own.com"] == ["10.0.0.8"]
    assert table(world, "shop")["cart.shop"] == ["10.96.0.2"]
    assert "own.com" not in table(world, "shop")


def test_ipv4_is_given_in_mapped_form_too_where_there_is_no_ipv6() -> None:
    world = Traffic(entry("four.com", "[10.0.0.1]") + entry("both.com", "[10.0.0.2, 'fd00::1']"))
    domains = config(world, "default").server_config.inline_dns_table.virtual_domains
    assert {one.name: list(one.endpoint.address_list.address) for one in domains} == {
        "four.com": ["10.0.0.1", "::ffff:10.0.0.1"],
        "both.com": ["10.0.0.2", "fd00::1"],
    }


def test_a_new_host_serializes_one_name_and_who_answers_none_computes_none() -> None:
    hosts = "".join(entry(f"h{n}.com", f"[10.0.{n}.1]") for n in range(50))
    world = Traffic(hosts)
    before = table(world)
    world.listeners()
    with world.counting() as runs:
        world.apply(entry("new.com", "[10.1.0.1]"))
    assert (runs["dns._domain"], runs["dns._dns_listener"]) == (1, 1)
    assert table(world) == {**before, "new.com": ["10.1.0.1"]}
    with world.counting() as runs:
        world.apply(service("x", "http=80").replace("clusterIP: 10.96.0.10", "clusterIP: None"))
    assert runs["dns._dns_listener"] == 0

    idle = Traffic(hosts)
    with idle.counting() as runs:
        idle.listeners()
    assert not [name for name in runs if name.startswith("dns.")]
