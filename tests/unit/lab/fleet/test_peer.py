"""What a synthetic proxy asks for and answers, in both variants."""

from __future__ import annotations

import gc
import weakref

import pytest

from controlplane.envoy import pb
from controlplane.envoy.bootstrap import Node
from controlplane.envoy.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET, VIRTUAL_HOST
from controlplane.lab.fleet.holdings import REMEMBERED
from controlplane.lab.fleet.peer import Peer, Taken
from controlplane.lab.fleet.requests import VARIANTS, names
from controlplane.lab.fleet.responses import Parser
from tests.unit.lab.fleet.answers import (
    DELTA,
    REQUEST,
    SOTW,
    cluster,
    endpoints,
    listener,
    response,
    routes,
    secret,
)

NODE = Node("10.0.0.1", "web-1", "front", labels={"app": "web"})
BODIES = {
    CLUSTER: {"a": cluster("a"), "b": cluster("b")},
    ENDPOINT: {"a": endpoints("a"), "b": endpoints("b")},
    LISTENER: {"l": listener("l", "r1", "r2")},
    ROUTE: {"r1": routes("r1"), "r2": routes("r2")},
}
both = pytest.mark.parametrize("protocol", [DELTA, SOTW])


class Wire:
    """A peer whose requests are read."""

    def __init__(self, protocol: str, parser: Parser | None = None) -> None:
        self.protocol = protocol
        variant = VARIANTS[protocol]
        self.parser = parser or Parser(delta=variant.delta)
        self.peer = Peer(variant, variant.node(NODE))
        self.nonce = 0

    def read(self, requests: list[bytes]) -> list:
        return [REQUEST[self.protocol].FromString(data) for data in requests]

    def greet(self) -> list:
        return self.read(self.peer.greet())

    def take(self, url: str, bodies: dict[str, bytes], error: str | None = None, **options) -> list:
        return self.read(self.taken(url, bodies, error, **options).requests)

    def taken(self, url: str, bodies: dict[str, bytes], error: str | None = None, **options) -> Taken:
        self.nonce += 1
        data = response(self.protocol, url, str(self.nonce), bodies, **options)
        return self.peer.take(self.parser.parse(data), error)

    def warm(self) -> None:
        self.greet()
        for url, bodies in BODIES.items():
            self.take(url, bodies)

    def has(self, url: str) -> set[str]:
        return set(self.peer.holdings[url].resources)


def asked(request, protocol: str) -> list[str]:
    return list(request.resource_names_subscribe if protocol == DELTA else request.resource_names)


@both
def test_a_new_proxy_asks_as_envoy_does(protocol: str) -> None:
    wire = Wire(protocol)
    (clusters,) = wire.greet()
    assert clusters.type_url == CLUSTER
    assert clusters.node.id == NODE.id
    # What follows is asked for before the ACK.
    follow, ack = wire.take(
        CLUSTER, {"a": cluster("a"), "b": cluster("b", eds="other"), "c": cluster("c", eds=None)}
    )
    assert (follow.type_url, asked(follow, protocol)) == (ENDPOINT, ["a", "other"])
    assert (follow.response_nonce, follow.HasField("node")) == ("", False)
    assert (ack.type_url, ack.response_nonce) == (CLUSTER, "1")
    # Listeners when endpoints are there.
    listeners, ack = wire.take(ENDPOINT, {"a": endpoints("a"), "other": endpoints("other")})
    assert (ack.type_url, ack.response_nonce) == (ENDPOINT, "2")
    assert (listeners.type_url, listeners.response_nonce) == (LISTENER, "")
    follow, ack = wire.take(LISTENER, {"l": listener("l", "r2", "r1", "r2")})
    assert (follow.type_url, asked(follow, protocol)) == (ROUTE, ["r1", "r2"])
    assert (ack.type_url, ack.response_nonce) == (LISTENER, "3")
    assert not wire.peer.warm
    (ack,) = wire.take(ROUTE, {"r1": routes("r1")})
    assert (ack.type_url, ack.response_nonce, wire.peer.warm) == (ROUTE, "4", True)


@both
def test_without_endpoints_listeners_are_asked_for_at_once(protocol: str) -> None:
    wire = Wire(protocol)
    wire.greet()
    listeners, _ = wire.take(CLUSTER, {"c": cluster("c", eds=None)})
    assert listeners.type_url == LISTENER
    wire.take(LISTENER, {})
    assert wire.peer.warm


@both
def test_listeners_do_not_wait_for_ever(protocol: str) -> None:
    wire = Wire(protocol)
    wire.greet()
    wire.take(CLUSTER, {"a": cluster("a")})
    assert [one.type_url for one in wire.read(wire.peer.listeners())] == [LISTENER]
    assert wire.peer.listeners() == []
    assert len(wire.take(ENDPOINT, {"a": endpoints("a")})) == 1


def test_in_the_incremental_variant_changes_are_asked_for() -> None:
    wire = Wire(DELTA)
    wire.warm()
    follow, ack = wire.take(CLUSTER, {"c": cluster("c")}, removed=("a",))
    assert (list(follow.resource_names_subscribe), list(follow.resource_names_unsubscribe)) == (["c"], ["a"])
    assert (ack.response_nonce, list(ack.resource_names_subscribe)) == ("5", [])
    assert (wire.has(CLUSTER), wire.has(ENDPOINT)) == ({"b", "c"}, {"b"})
    # A cluster that changes is not asked for again.
    (ack,) = wire.take(CLUSTER, {"c": cluster("c", salt=1)})
    assert ack.response_nonce == "6"


def test_in_the_state_of_the_world_all_names_are_listed() -> None:
    wire = Wire(SOTW)
    wire.warm()
    follow, ack = wire.take(CLUSTER, {"b": cluster("b"), "c": cluster("c")}, version="w")
    assert list(follow.resource_names) == ["b", "c"]
    # It repeats what was answered last; the server sees that the names are others.
    assert (follow.response_nonce, follow.version_info) == ("2", "v")
    assert (ack.response_nonce, ack.version_info, list(ack.resource_names)) == ("5", "w", [])
    assert (wire.has(CLUSTER), wire.has(ENDPOINT)) == ({"b", "c"}, {"b"})
    (ack,) = wire.take(ENDPOINT, {"c": endpoints("c")})
    assert (list(ack.resource_names), wire.has(ENDPOINT)) == (["b", "c"], {"b", "c"})
    # Envoy waits for the endpoints of a cluster that changed, and asks for them.
    again, _ = wire.take(CLUSTER, {"b": cluster("b"), "c": cluster("c", salt=1)})
    assert (again.type_url, list(again.resource_names)) == (ENDPOINT, ["b", "c"])
    (_,) = wire.take(CLUSTER, {"b": cluster("b"), "c": cluster("c", salt=1)}, version="x")
    # The same with a map in another order.
    words = [tagged("c", "x", "y"), tagged("c", "y", "x")]
    assert words[0] != words[1]
    assert len(wire.take(CLUSTER, {"b": cluster("b"), "c": words[0]})) == 2
    assert len(wire.take(CLUSTER, {"b": cluster("b"), "c": words[1]})) == 1


def tagged(name: str, *keys: str) -> bytes:
    """A cluster with a map that is written in this order."""
    body = cluster(name)
    for key in keys:
        made = pb.cluster.Cluster()
        made.metadata.filter_metadata[key].SetInParent()
        body += made.SerializeToString()
    return body


@both
def test_a_refused_response_changes_nothing(protocol: str) -> None:
    wire = Wire(protocol)
    wire.warm()
    (nack,) = wire.take(CLUSTER, {"c": cluster("c")}, "no such thing", version="bad")
    assert (nack.response_nonce, nack.error_detail.message) == ("5", "no such thing")
    assert nack.error_detail.code != 0
    assert wire.has(CLUSTER) == {"a", "b"}
    if protocol == SOTW:
        assert nack.version_info == "v"
    ack = wire.take(CLUSTER, {"a": cluster("a"), "b": cluster("b")}, version="good")[-1]
    assert (ack.response_nonce, ack.HasField("error_detail")) == ("6", False)


@both
def test_a_proxy_that_comes_back_says_what_it_has(protocol: str) -> None:
    wire = Wire(protocol)
    wire.warm()
    found = wire.greet()
    assert [one.type_url for one in found] == [CLUSTER, ENDPOINT, LISTENER, ROUTE]
    assert [one.HasField("node") for one in found] == [True, False, False, False]
    assert [asked(one, protocol) for one in found] == [[], ["a", "b"], [], ["r1", "r2"]]
    assert {one.response_nonce for one in found} == {""}
    if protocol == DELTA:
        assert [sorted(one.initial_resource_versions) for one in found] == [
            ["a", "b"],
            ["a", "b"],
            ["l"],
            ["r1", "r2"],
        ]
        assert found[1].initial_resource_versions["a"] == f"v{hash(endpoints('a'))}"
    else:
        assert {one.version_info for one in found} == {"v"}
    assert not wire.peer.warm
    for url, bodies in BODIES.items():
        assert not wire.peer.warm
        wire.take(url, bodies)
    assert wire.peer.warm


@both
def test_what_was_not_answered_is_known_to_be_there_or_not(protocol: str) -> None:
    wire = Wire(protocol)
    wire.greet()
    for url, bodies in BODIES.items():
        assert not wire.peer.complete
        wire.take(url, bodies)
    assert wire.peer.complete
    wire.greet()
    assert (wire.peer.warm, wire.peer.complete) == (False, True)
    wire.take(CLUSTER, {**BODIES[CLUSTER], "c": cluster("c")})
    assert not wire.peer.complete


def test_virtual_hosts_are_fetched_on_demand() -> None:
    wire = Wire(DELTA)
    wire.peer.hosts = names(frozenset(("80/a", "80/b")))
    wire.greet()
    for url in (CLUSTER, ENDPOINT, LISTENER):
        wire.take(url, BODIES[url])
    ack, every, some = wire.take(ROUTE, BODIES[ROUTE])
    assert [one.type_url for one in (ack, every, some)] == [ROUTE, VIRTUAL_HOST, VIRTUAL_HOST]
    assert [list(one.resource_names_subscribe) for one in (every, some)] == [[], ["80/a", "80/b"]]
    bodies = {name: host(name) for name in ("80/a", "80/c")}
    (ack,) = wire.take(VIRTUAL_HOST, bodies, removed=("80/b",))
    assert (ack.type_url, ack.response_nonce) == (VIRTUAL_HOST, "5")
    assert wire.has(VIRTUAL_HOST) == {"80/a"}
    assert wire.peer.warm
    again = wire.greet()[-1]
    assert (again.type_url, list(again.resource_names_subscribe)) == (VIRTUAL_HOST, ["*", "80/a", "80/b"])
    assert list(again.initial_resource_versions) == ["80/a"]


def host(name: str) -> bytes:
    return pb.route_components.VirtualHost(name=name, domains=[name]).SerializeToString()


def test_a_nonce_of_another_stream_is_not_repeated() -> None:
    wire = Wire(SOTW)
    wire.warm()
    wire.greet()
    follow, _ = wire.take(CLUSTER, {**BODIES[CLUSTER], "c": cluster("c")})
    assert (follow.type_url, follow.version_info, follow.response_nonce) == (ENDPOINT, "v", "")


def test_versions_that_a_server_does_not_give_are_empty() -> None:
    wire = Wire(DELTA)
    wire.greet()
    wire.take(CLUSTER, {"a": cluster("a")}, versions={})
    assert dict(wire.greet()[0].initial_resource_versions) == {"a": ""}


@both
def test_a_proxy_that_forgets_starts_anew(protocol: str) -> None:
    wire = Wire(protocol)
    wire.warm()
    wire.peer.forget()
    (clusters,) = wire.greet()
    assert (clusters.type_url, asked(clusters, protocol)) == (CLUSTER, [])
    if protocol == SOTW:
        assert clusters.version_info == ""


@both
def test_a_type_that_nobody_asked_for_is_ignored(protocol: str) -> None:
    wire = Wire(protocol)
    wire.greet()
    assert wire.take("type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig", {}) == []


@both
def test_changes_are_seen_once(protocol: str) -> None:
    wire = Wire(protocol)
    wire.warm()
    assert wire.taken(ENDPOINT, {"a": endpoints("a", "11.0.0.7", "10.0.0.1")}).markers == (7,)
    assert wire.taken(ENDPOINT, {"a": endpoints("a", "11.0.0.7")}).markers == ()
    assert wire.taken(
        ENDPOINT, {"a": endpoints("a", "11.0.0.8"), "b": endpoints("b", "11.0.0.9")}
    ).markers == (8, 9)
    # A change that was refused was not taken in.
    refused = {"r1": routes("r1", "change-00000012.example")}
    assert wire.taken(ROUTE, refused, "no").markers == ()
    assert wire.taken(ROUTE, refused).markers == (12,)
    wire.peer.forget()
    wire.greet()
    assert wire.taken(ENDPOINT, {"a": endpoints("a", "11.0.0.7")}).markers == (7,)


@both
def test_proxies_that_go_the_same_way_share_what_they_have(protocol: str) -> None:
    one = Wire(protocol)
    other = Wire(protocol, one.parser)
    for wire in (one, other):
        wire.warm()
    assert all(one.peer.holdings[url] is other.peer.holdings[url] for url in one.peer.holdings)


@both
def test_the_past_is_freed(protocol: str) -> None:
    wire = Wire(protocol)
    wire.warm()
    behind = Wire(protocol, wire.parser)
    behind.warm()
    past = []
    for n in range(REMEMBERED + 200):
        wire.take(ENDPOINT, {"a": endpoints("a", f"11.0.{n // 256}.{n % 256}")})
        past.append(weakref.ref(wire.peer.holdings[ENDPOINT]))
    gc.collect()
    # One that stands at the beginning keeps nothing of what came after.
    assert sum(one() is not None for one in past) <= REMEMBERED


# -- secrets ------------------------------------------------------------------------------------


@both
def test_secrets_are_asked_for_once_there_are_clusters(protocol: str) -> None:
    wire = Wire(protocol)
    wire.peer.secrets = names(frozenset(("default", "ROOTCA")))
    wire.greet()
    requests = wire.take(CLUSTER, BODIES[CLUSTER])
    (first,) = (one for one in requests if one.type_url == SECRET)
    assert sorted(asked(first, protocol)) == ["ROOTCA", "default"]
    # Once is enough, whatever becomes of the clusters.
    assert SECRET not in {one.type_url for one in wire.take(CLUSTER, {"c": cluster("c")})}


@both
def test_a_proxy_is_warm_when_it_has_its_secrets(protocol: str) -> None:
    wire = Wire(protocol)
    wire.peer.secrets = names(frozenset(("default", "ROOTCA")))
    wire.warm()
    assert not wire.peer.warm
    wire.take(SECRET, {"ROOTCA": secret("ROOTCA")})
    assert (wire.peer.secured, wire.peer.warm) == (False, False)
    wire.take(SECRET, {"default": secret("default"), "ROOTCA": secret("ROOTCA")})
    assert (wire.peer.secured, wire.peer.warm) == (True, True)


@both
def test_on_the_next_stream_secrets_are_asked_for_again(protocol: str) -> None:
    wire = Wire(protocol)
    wire.peer.secrets = names(frozenset(("default",)))
    wire.warm()
    wire.take(SECRET, {"default": secret("default")})
    (first,) = (one for one in wire.greet() if one.type_url == SECRET)
    assert asked(first, protocol) == ["default"]
    assert not wire.peer.secured
