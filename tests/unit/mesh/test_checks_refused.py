"""An object that was refused is not said to be missing."""

from __future__ import annotations

from typing import Any

from controlplane.model.keys import Key
from controlplane.model.kinds.refused import refused_from, refused_key, refused_objects
from tests.unit.mesh.findings import HOST, REVIEWS, found, route, rule, to
from tests.unit.mesh.world import World

DESTINATION = "VirtualService/web spec.http[0].route[0].destination"


def refuse(world: World, kind: str, name: str, spec: Any = None) -> None:
    key = Key("default", name)
    value = refused_from(kind, key, {"kind": kind, "spec": spec})
    world.graph.commit([(refused_objects, refused_key(kind, key), value)])


def refused(kind: str, name: str) -> str:
    return f"{kind} default/{name} was refused, and no version of it is in use"


def test_a_gateway_that_was_refused() -> None:
    world = World(REVIEWS + route("web", "  gateways: [gx]\n" + to("host: reviews")))
    assert found(world) == ["VirtualService/web spec.gateways[0]: there is no Gateway default/gx"]
    refuse(world, "Gateway", "gx")
    assert found(world) == [f"VirtualService/web spec.gateways[0]: {refused('Gateway', 'gx')}"]


def test_a_rule_for_the_host_that_was_refused() -> None:
    world = World(REVIEWS + route("web", to("host: reviews, subset: v1")))
    refuse(world, "DestinationRule", "other", {"host": "ratings"})
    assert found(world) == [f"{DESTINATION}.subset: no DestinationRule defines subsets of {HOST}"]
    refuse(world, "DestinationRule", "bad", {"host": "reviews"})
    assert found(world) == [f"{DESTINATION}.subset: {refused('DestinationRule', 'bad')}"]
    world.apply(rule("good", "subsets: [{name: v1}]"))
    assert found(world) == []


def test_services_and_entries_that_were_refused() -> None:
    world = World(route("web", to("host: reviews")))
    refuse(world, "Service", "reviews")
    assert found(world) == [f"{DESTINATION}.host: {refused('Service', 'reviews')}"]
    world = World(route("web", to("host: a.test")))
    refuse(world, "ServiceEntry", "a", {"hosts": ["a.test", 3, None]})
    assert found(world) == [f"{DESTINATION}.host: {refused('ServiceEntry', 'a')}"]


def test_a_delegate_that_was_refused() -> None:
    world = World(REVIEWS + route("web", "  http: [{delegate: {name: lent}}]"))
    assert found(world)[0].startswith("VirtualService/web spec.http[0].delegate: there is no")
    refuse(world, "VirtualService", "lent")
    assert found(world) == [f"VirtualService/web spec.http[0].delegate: {refused('VirtualService', 'lent')}"]


def test_nothing_is_read_out_of_what_is_not_there() -> None:
    for spec in (None, [], "text", {"host": 3}, {"hosts": {}}):
        for kind in ("DestinationRule", "ServiceEntry", "Gateway"):
            value = refused_from(kind, Key("default", "a"), {"spec": spec})
            assert value is not None and value.hosts == ()
    assert refused_from("Gateway", Key("default", "a"), None) is not None
    assert refused_from("Pod", Key("default", "a"), {}) is None
