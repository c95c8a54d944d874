"""Who has the present secrets: acknowledged, not merely sent, and of the newest."""

from __future__ import annotations

import pytest

from controlplane.xds.acknowledged import behind
from tests.unit.xds.test_xds_status import served
from tests.unit.xds.world import DELTA, SOTW, Peer, World

both = pytest.mark.parametrize("variant", [SOTW, DELTA], ids=["sotw", "delta"])
NAMES = ("ROOTCA", "default")


@pytest.fixture
def world() -> World:
    world = World()
    world.put("sds", "default", "leaf 1")
    world.put("sds", "ROOTCA", "root 1")
    return world


def lagging(world: World, *peers: Peer) -> tuple[str, ...]:
    return behind([served(peer, name=f"web-{at}.default") for at, peer in enumerate(peers)], world)


@both
def test_a_proxy_is_behind_from_the_change_until_it_acknowledges(world: World, variant) -> None:
    peer = Peer(world, variant)
    peer.ask("sds", *NAMES)
    assert lagging(world, peer) == ("web-0.default",)
    first = peer.one()
    assert lagging(world, peer) == ("web-0.default",)
    peer.ack(first, *NAMES)
    assert lagging(world, peer) == ()
    world.put("sds", "ROOTCA", "root 1 and 2")
    assert lagging(world, peer) == ("web-0.default",)
    second = peer.one()
    assert lagging(world, peer) == ("web-0.default",)
    peer.ack(second, *NAMES)
    assert lagging(world, peer) == ()
    world.put("sds", "default", "leaf 2")
    assert lagging(world, peer) == ("web-0.default",)
    peer.flush(ack=True)
    assert lagging(world, peer) == ()


@both
def test_only_those_who_lack_something_are_named(world: World, variant) -> None:
    slow, quick, other = Peer(world, variant), Peer(world, variant), Peer(world, variant)
    slow.start(("sds", *NAMES))
    quick.start(("sds", *NAMES))
    other.start(("cds",))
    world.put("sds", "default", "leaf 2")
    quick.flush(ack=True)
    assert lagging(world, slow, quick, other) == ("web-0.default",)


@both
def test_who_rejects_the_new_roots_lacks_them(world: World, variant) -> None:
    peer = Peer(world, variant)
    peer.start(("sds", *NAMES))
    world.put("sds", "ROOTCA", "bad")
    peer.nack(peer.one(), "Failed to load trusted CA certificates", *NAMES)
    peer.flush(ack=True)
    assert lagging(world, peer) == ("web-0.default",)
    world.put("sds", "ROOTCA", "good")
    peer.flush(ack=True)
    assert lagging(world, peer) == ()


@both
def test_other_secrets_do_not_count(world: World, variant) -> None:
    peer = Peer(world, variant)
    peer.start(("sds", *NAMES, "kubernetes://web"))
    world.put("sds", "kubernetes://web")
    assert lagging(world, peer) == ()


@both
def test_what_is_not_there_yet_is_no_reason(world: World, variant) -> None:
    world.drop("sds", "default")
    peer = Peer(world, variant)
    peer.ask("sds", *NAMES)
    peer.flush(ack=True)
    assert lagging(world, peer) == ()


@both
def test_while_a_change_is_computed_nobody_has_it(world: World, variant) -> None:
    peer = Peer(world, variant)
    peer.start(("sds", *NAMES))
    world.unsettle()
    assert lagging(world, peer) == ("web-0.default",)
    world.settle()
    assert lagging(world, peer) == ()


def test_who_asks_again_has_let_go_of_what_it_had(world: World) -> None:
    peer = Peer(world, DELTA)
    peer.start(("sds", *NAMES))
    peer.ask("sds", "default")
    assert lagging(world, peer) == ("web-0.default",)
    peer.flush(ack=True)
    assert lagging(world, peer) == ()
