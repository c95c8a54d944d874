"""Virtual IPs that are given: who wants one, who gets which, and what counts more."""

from __future__ import annotations

import pytest

from controlplane.mesh.allocated import wanted_addresses
from controlplane.mesh.features import FEATURES, Features, feature_rows
from controlplane.mesh.projections import Capture, ProxyView, Scope
from controlplane.mesh.routing_names import dialled_addresses, own_addresses
from controlplane.mesh.service import ServiceId, service
from controlplane.model.allocation import NETWORK, assign, is_ours
from tests.support.addresses import settle_addresses
from tests.unit.envoy.traffic import Traffic
from tests.unit.mesh.world import World

DB = ServiceId("db.example.com", "default")


def entry(spec: str = "", *, host: str = "db.example.com", meta: str = "", status: str = "") -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {host.replace("*", "all")}, namespace: default{meta}}}
spec: {{hosts: ["{host}"], ports: [{{number: 5432, name: tcp, protocol: TCP}}]{spec or ", resolution: DNS"}}}
{status}
---
"""


def wanted(text: str) -> dict[ServiceId, tuple[str, ...]]:
    return World(text).map(wanted_addresses)


def test_who_names_no_address_wants_one() -> None:
    assert wanted(entry()) == {DB: ()}


@pytest.mark.parametrize(
    ("spec", "meta"),
    [
        (", resolution: NONE", ""),
        (", resolution: DNS, addresses: [10.1.1.1]", ""),
        ("", ", labels: {networking.istio.io/enable-autoallocate-ip: 'false'}"),
    ],
)
def test_who_wants_none(spec: str, meta: str) -> None:
    assert wanted(entry(spec, meta=meta)) == {}


def test_a_wildcard_host_wants_none() -> None:
    assert wanted(entry(", resolution: STATIC", host="*.example.com")) == {}


def test_nobody_wants_one_where_it_is_switched_off() -> None:
    world = World(entry())
    world.graph.commit([(feature_rows, FEATURES, Features(ip_autoallocate=False))])
    assert world.map(wanted_addresses) == {}


def test_addresses_of_the_network_that_somebody_names_are_told_so_that_nobody_else_gets_them() -> None:
    assert wanted(entry(", resolution: DNS, addresses: [240.240.9.9, 10.1.1.1]")) == {DB: ("240.240.9.9",)}


def test_what_the_status_of_the_object_says_counts_more() -> None:
    written = "status: {addresses: [{host: db.example.com, value: 240.240.7.7}, {host: x}, 5]}"
    world = World(entry(status=written))
    assert world.map(wanted_addresses) == {DB: ("240.240.7.7",)}
    settle_addresses(world.graph)
    assert world.read(service, DB).allocated == ("240.240.7.7",)


def test_a_service_has_what_it_was_given() -> None:
    world = World(entry())
    assert world.read(service, DB).allocated == ()
    settle_addresses(world.graph)
    found = world.read(service, DB)
    assert len(found.allocated) == 1 and is_ours(found.allocated[0])
    assert found.addresses == ()
    assert own_addresses(found) == found.allocated
    assert dialled_addresses(found, dns=False) == ()
    assert dialled_addresses(found, dns=True) == found.allocated
    world.apply(entry(", resolution: DNS, addresses: [10.1.1.1]"))
    assert world.read(service, DB).allocated == ()


def test_an_address_outlives_who_comes_and_goes() -> None:
    hosts = [(f"h{n}.example.com", "default") for n in range(2000)]
    given = assign(dict.fromkeys(hosts, ()), {})
    assert len(set(given.values())) == 2000
    assert all(is_ours(address) for address in given.values())
    assert not {str(NETWORK.network_address), str(NETWORK.broadcast_address)} & set(given.values())
    more = [*((f"a{n}.example.com", "default") for n in range(2000)), *hosts[::2]]
    later = assign(dict.fromkeys(more, ()), given)
    assert {id: later[id] for id in hosts[::2]} == {id: given[id] for id in hosts[::2]}


def test_without_a_memory_nearly_all_get_the_same_again() -> None:
    hosts = [(f"h{n}.example.com", "default") for n in range(1000)]
    first = assign(dict.fromkeys(hosts, ()), {})
    second = assign(dict.fromkeys(hosts[1:], ()), {})
    assert sum(first[id] != second[id] for id in hosts[1:]) <= 2


def test_who_names_an_address_has_it() -> None:
    asking, owner = ("a.example.com", "default"), ("b.example.com", "default")
    before = assign({asking: ()}, {})
    after = assign({asking: (), owner: (before[asking],)}, before)
    assert after.keys() == {asking}
    assert after[asking] != before[asking]


def test_a_full_network_gives_none() -> None:
    hosts = [(f"h{n}", "default") for n in range(3)]
    taken = tuple(str(address) for address in NETWORK.hosts())
    given = assign({**dict.fromkeys(hosts, ()), ("owner", "default"): taken[2:]}, {})
    assert sorted(given) == hosts[:2]
    assert set(given.values()) == set(taken[:2])


def test_listeners_are_at_given_addresses_where_the_proxy_answers_names() -> None:
    world = Traffic(entry())
    settle_addresses(world.graph)
    (address,) = world.read(service, DB).allocated
    plain = world.listeners("default")
    assert "0.0.0.0_5432" in plain and f"{address}_5432" not in plain
    asked = world.listeners(ProxyView(Scope("default"), None, capture=Capture(dns=True)))
    assert f"{address}_5432" in asked and "0.0.0.0_5432" not in asked
