"""Services that share an address, as the names of one container do: HTTP tells them apart by Host."""

from __future__ import annotations

import pytest

from controlplane.mesh.scope import Scope
from controlplane.model.keys import Key
from tests.unit.envoy.traffic import Traffic, clusters, domains, virtual_service
from tests.unit.mesh.world import ProxyView

ANY = "reviews.default.svc.cluster.local:9080"
V1 = "reviews-v1.default.svc.cluster.local:9080"
V2 = "reviews-v2.default.svc.cluster.local:9080"
FIRST, SECOND = "172.18.0.5", "172.18.0.6"


def service(name: str, addresses: str, rank: int = 0, port: str = "web") -> str:
    created = f"creationTimestamp: '1970-01-01T00:00:0{rank}Z'" if rank else ""
    return f"""
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: default, {created}}}
spec: {{clusterIPs: [{addresses}], ports: [{{name: {port}, port: 9080}}]}}
---
"""


@pytest.fixture
def world() -> Traffic:
    return Traffic(
        service("reviews", f"{FIRST}, {SECOND}")
        + service("reviews-v1", FIRST, rank=1)
        + service("reviews-v2", SECOND, rank=1)
    )


def test_the_older_one_answers_to_any_name_but_those_of_the_others(world: Traffic) -> None:
    found = domains(world.routes()[ANY])
    assert set(found) == {ANY, V1, V2}
    assert found[ANY] == ["*"]
    assert {"reviews-v1", "reviews-v1.default", V1.partition(":")[0]} <= set(found[V1])
    # Who dials an address by number means nobody in particular.
    assert not {FIRST, SECOND} & {*found[V1], *found[V2]}


def test_at_each_address_stands_the_older_one(world: Traffic) -> None:
    for address in (FIRST, SECOND):
        listener = world.listeners()[f"{address}_9080"]
        assert ANY in str(listener.filter_chains[0])
        assert f"outbound|9080||{ANY.partition(':')[0]}" in str(listener.default_filter_chain)


def test_each_name_goes_where_its_own_rules_say(world: Traffic) -> None:
    world.apply(virtual_service("v", "[reviews]", "[{route: [{destination: {host: reviews-v2}}]}]"))
    goes = {h.name: clusters(h.routes[0])[0][0] for h in world.routes()[ANY].virtual_hosts}
    assert goes == {
        ANY: "outbound|9080||reviews-v2.default.svc.cluster.local",
        V1: "outbound|9080||reviews-v1.default.svc.cluster.local",
        V2: "outbound|9080||reviews-v2.default.svc.cluster.local",
    }


def test_a_neighbour_that_comes_and_goes_is_added_and_taken_out(world: Traffic) -> None:
    world.routes()
    world.delete("Service", "reviews-v2")
    assert set(domains(world.routes()[ANY])) == {ANY, V1}
    world.apply(service("reviews-v2", "172.18.0.9", rank=1))
    assert set(domains(world.routes()[ANY])) == {ANY, V1}
    world.apply(service("reviews-v2", SECOND, rank=1))
    assert set(domains(world.routes()[ANY])) == {ANY, V1, V2}


def test_a_neighbour_that_speaks_no_http_has_no_name_there(world: Traffic) -> None:
    world.apply(service("reviews-v1", FIRST, rank=1, port="tcp"))
    assert set(domains(world.routes()[ANY])) == {ANY, V2}


def test_a_neighbour_out_of_a_sidecars_sight_is_none(world: Traffic) -> None:
    world.apply(
        """
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: s, namespace: default}
spec: {egress: [{hosts: ["./reviews.default.svc.cluster.local", "./reviews-v2.default.svc.cluster.local"]}]}
"""
    )
    seen = world.routes(ProxyView(Scope("default", Key("default", "s")), None))
    assert set(domains(seen[ANY])) == {ANY, V2}


def test_a_name_with_an_underscore_is_a_host_like_any_other() -> None:
    world = Traffic(
        """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: my-service, namespace: default}
spec:
  hosts: [my_service.default.svc.cluster.local]
  addresses: [172.18.0.7]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: 172.18.0.7}]
---
"""
        + virtual_service("v", "[my_service]", "[{timeout: 3s, route: [{destination: {host: my_service}}]}]")
    )
    host = world.host("80", "my_service.default.svc.cluster.local")
    assert {"my_service", "my_service.default", "172.18.0.7"} <= set(host.domains)
    assert host.routes[0].route.timeout.seconds == 3
    assert host.routes[0].route.cluster == "outbound|80||my_service.default.svc.cluster.local"


class TestDirect:
    """A service whose addresses are its workloads': a new one is dialled before it is known."""

    def world(self, port: str = "web", annotation: str = "true") -> Traffic:
        return Traffic(
            service("reviews", FIRST, port=port).replace(
                "namespace: default,",
                f"namespace: default, annotations: {{mini-istiod.io/direct: '{annotation}'}}",
            )
        )

    def test_http_to_an_address_that_is_not_known_yet_goes_by_host(self) -> None:
        world = self.world()
        assert {f"{FIRST}_9080", "0.0.0.0_9080"} <= set(world.listeners())
        listener = world.listeners()["0.0.0.0_9080"]
        assert [chain.name for chain in listener.filter_chains] == ["9080"]
        found = domains(world.routes()["9080"])
        assert "reviews" in found[ANY]

    def test_what_everybody_is_told_does_not_name_addresses_that_come_and_go(self) -> None:
        world = self.world()
        before = world.routes()["9080"]
        assert FIRST not in domains(before)[ANY]
        assert domains(world.routes()[ANY]) == {ANY: ["*"]}
        moved = service("reviews", SECOND).replace(
            "{name", "{annotations: {mini-istiod.io/direct: 'true'}, name", 1
        )
        world.apply(moved)
        assert f"{SECOND}_9080" in world.listeners()
        assert world.routes()["9080"] == before

    def test_where_only_everybody_is_told_the_addresses_are_there(self) -> None:
        assert FIRST in domains(self.world(port="http").routes()["9080"])[ANY]

    def test_what_is_no_http_goes_where_it_was_dialled(self) -> None:
        stranger = self.world().listeners()["0.0.0.0_9080"].default_filter_chain
        assert stranger.name == "PassthroughFilterChain"

    def test_only_ports_whose_protocol_is_found_out_have_it(self) -> None:
        assert "0.0.0.0_9080" not in self.world(port="tcp").listeners()

    def test_not_of_a_service_with_a_virtual_address(self) -> None:
        assert "0.0.0.0_9080" not in self.world(annotation="false").listeners()
