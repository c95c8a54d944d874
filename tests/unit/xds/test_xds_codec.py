"""Bytes in and out, and what a thousand streams share of them."""

from __future__ import annotations

import gc
import json
import sys
from itertools import pairwise

import pytest

from controlplane.base.errors import ProtocolError
from controlplane.envoy import pb
from controlplane.envoy.types import CLUSTER, ENDPOINT
from controlplane.xds.codec import Codec, identifier
from controlplane.xds.names import intern_names
from tests.unit.xds.world import DELTA, SOTW, Peer, World, read, resource

both = pytest.mark.parametrize("variant", [SOTW, DELTA], ids=["sotw", "delta"])


@pytest.fixture
def codec() -> Codec:
    return Codec(identifier("mini-istiod", "host-1", "0.1"), 2**20)


@pytest.fixture
def world() -> World:
    world = World()
    world.commit(("eds", f"c{number}", resource("eds", f"c{number}", "1")) for number in range(100))
    return world


NAMES = tuple(f"c{number}" for number in range(100))


def peers(world: World, variant, count: int, codec: Codec) -> list[Peer]:
    """Clients of one server that have everything."""
    first = Peer(world, variant, codec=codec)
    found = [first, *(Peer(world, variant, ledgers=first.ledgers, codec=codec) for _ in range(count - 1))]
    for peer in found:
        peer.start(("eds", *NAMES))
    return found


# -- requests ---------------------------------------------------------------------------------------


def test_a_state_of_the_world_request_is_read(codec: Codec) -> None:
    message = pb.discovery.DiscoveryRequest(
        type_url=CLUSTER, version_info="v", response_nonce="n", resource_names=["a", "b"]
    )
    message.error_detail.message = "no"
    request, node = codec.decode(SOTW, message.SerializeToString())
    assert node is None
    assert (request.type_url, request.version, request.nonce) == (CLUSTER, "v", "n")
    assert (request.names, request.error) == (frozenset("ab"), "no")


def test_an_incremental_request_is_read(codec: Codec) -> None:
    message = pb.discovery.DeltaDiscoveryRequest(
        type_url=CLUSTER,
        response_nonce="n",
        resource_names_subscribe=["a"],
        resource_names_unsubscribe=["b"],
        initial_resource_versions={"c": "1"},
    )
    request, _ = codec.decode(DELTA, message.SerializeToString())
    assert (request.names, request.unsubscribe, request.known) == (frozenset("a"), frozenset("b"), {"c": "1"})
    assert request.error is None


@both
def test_a_node_is_read_as_plain_values(codec: Codec, variant) -> None:
    make = pb.discovery.DiscoveryRequest if variant is SOTW else pb.discovery.DeltaDiscoveryRequest
    message = make(type_url=CLUSTER)
    message.node.id = "sidecar~..."
    message.node.metadata.update({"LABELS": {"a": "b"}, "PORT": 1})
    message.node.locality.zone = "z"
    for _ in range(2):
        _, node = codec.decode(variant, message.SerializeToString())
        assert node is not None
        assert node.id == "sidecar~..."
        assert node.metadata == {"LABELS": {"a": "b"}, "PORT": 1.0}
        assert node.locality.zone == "z"


@both
@pytest.mark.parametrize("garbage", [b"\xff", b"\x0a\xff\x01", b"\x12\x03\xff\xff\xff"])
def test_what_is_no_request_is_a_protocol_error(codec: Codec, variant, garbage: bytes) -> None:
    for _ in range(2):
        with pytest.raises(ProtocolError):
            codec.decode(variant, garbage)


@both
def test_the_same_bytes_are_decoded_once(codec: Codec, variant) -> None:
    make = pb.discovery.DiscoveryRequest if variant is SOTW else pb.discovery.DeltaDiscoveryRequest
    data = make(type_url=CLUSTER, response_nonce="n").SerializeToString()
    first, _ = codec.decode(variant, data)
    assert codec.decode(variant, bytes(bytearray(data)))[0] is first
    for number in range(10):
        codec.decode(variant, make(type_url=CLUSTER, response_nonce=str(number)).SerializeToString())
    again, _ = codec.decode(variant, data)
    assert again == first
    assert again is not first


# -- responses ----------------------------------------------------------------------------------------


def test_the_control_plane_names_itself_in_the_form_of_istio() -> None:
    assert json.loads(identifier("istiod", "pod", "1.2")) == {
        "Component": "istiod",
        "ID": "pod",
        "Info": {"version": "1.2"},
    }


@both
def test_a_response_is_a_message_of_its_type(world: World, codec: Codec, variant) -> None:
    peer = Peer(world, variant, codec=codec)
    peer.ask("eds", "c1", "c2", "zzz")
    push, data = peer.session.next(0.0)
    if variant is SOTW:
        message = pb.discovery.DiscoveryResponse.FromString(data)
        assert message.version_info == push.plan.version
        assert [one.type_url for one in message.resources] == [ENDPOINT, ENDPOINT]
    else:
        message = pb.discovery.DeltaDiscoveryResponse.FromString(data)
        assert message.system_version_info == push.plan.version
        assert [(one.name, one.version) for one in message.resources] == [
            (name, world.feed("eds").content[name].version) for name in ("c1", "c2")
        ]
        assert list(message.removed_resources) == ["zzz"]
    assert message.type_url == ENDPOINT
    assert message.nonce == push.nonce
    assert json.loads(message.control_plane.identifier)["Component"] == "mini-istiod"
    assert push.size == len(data)


@both
def test_equal_responses_of_all_streams_are_the_same_bytes(world: World, codec: Codec, variant) -> None:
    ten = peers(world, variant, 10, codec)
    world.put("eds", "c5", "2")
    made = [peer.session.next(peer.now) for peer in ten]
    assert len({id(push.plan) for push, _ in made}) == 1
    assert len({id(data) for _, data in made}) == 1


@both
def test_scopes_with_equal_results_share_the_bytes(codec: Codec, variant) -> None:
    one, two = World(), World()
    for world in (one, two):
        world.put("eds", "a", "1")
    (first,), (second,) = (peers_of(world, variant, codec) for world in (one, two))
    for world in (one, two):
        world.put("eds", "a", "2")
    made = [peer.session.next(peer.now) for peer in (first, second)]
    assert made[0][0].plan is not made[1][0].plan
    assert made[0][1] is made[1][1]


def peers_of(world: World, variant, codec: Codec) -> list[Peer]:
    peer = Peer(world, variant, codec=codec)
    peer.start(("eds", "a"))
    return [peer]


@both
def test_a_response_has_another_nonce_than_those_that_may_still_be_answered(
    world: World, codec: Codec, variant
) -> None:
    world.put("cds", "c1", "1", ["c1"])
    peer = Peer(world, variant, codec=codec)
    peer.start(("cds",), ("eds", "c1"))
    nonces = [peer.sub("eds").nonce]
    for content in "2345":
        world.put("cds", "c1", content, ["c1"])
        _, echo = peer.flush(ack=True)
        assert echo.bodies == {"c1": "1"}
        nonces.append(echo.nonce)
    assert all(one != other for one, other in pairwise(nonces))
    assert peer.sub("eds").pending == []


@both
def test_first_responses_say_who_we_are_and_are_shared_too(world: World, codec: Codec, variant) -> None:
    first = Peer(world, variant, codec=codec)
    clients = [first, Peer(world, variant, ledgers=first.ledgers, codec=codec)]
    for content, introduced in (("1", True), ("2", False)):
        world.put("eds", "c1", content)
        if introduced:
            for client in clients:
                client.ask("eds", "c1")
        sent = [client.session.next(client.now)[1] for client in clients]
        assert sent[0] is sent[1]
        assert (b"mini-istiod" in sent[0]) is introduced
        for client in clients:
            client.ack(read(variant, sent[0]), "c1")


@both
def test_remembered_responses_are_bounded(world: World, variant) -> None:
    codec = Codec("{}", 10_000)
    peer = Peer(world, variant, codec=codec)
    peer.start(("eds", *NAMES))
    for number in range(20):
        world.put("eds", "c1", f"{number}" * 1000)
        peer.flush(ack=True)
        assert codec.held <= 10_000
    assert codec.held > 5_000


def test_a_response_larger_than_the_memory_is_not_remembered(world: World) -> None:
    codec = Codec("{}", 100)
    peer = Peer(world, DELTA, codec=codec)
    peer.ask("eds", *NAMES)
    assert len(peer.one().bodies) == 100
    assert codec.held == 0


# -- what a stream holds ------------------------------------------------------------------------------


@both
def test_a_stream_that_is_up_to_date_holds_nothing_per_resource(world: World, codec: Codec, variant) -> None:
    peer, other = peers(world, variant, 2, codec)
    sub = peer.sub("eds")
    assert sub.interest.names is other.sub("eds").interest.names
    assert sub.point is other.sub("eds").point is sub.ledger.head
    own = [sub.pending, sub.rejected, sub.leaving, sub.retry, sub.owed, sub.fresh, sub.echo, sub.known]
    assert all(len(one) == 0 for one in own)
    assert sum(map(sys.getsizeof, [sub, *own])) < 2000


def test_equal_sets_of_names_are_one_object_and_go_with_their_last_user() -> None:
    first = intern_names(["pool-test-a", "pool-test-b"])
    again = intern_names(["".join(["pool-test-", letter]) for letter in "ba"])
    assert again is first
    del first, again
    gc.collect()
    fresh = intern_names(["pool-test-a", "pool-test-b", "pool-test-c"])
    assert fresh == {"pool-test-a", "pool-test-b", "pool-test-c"}
