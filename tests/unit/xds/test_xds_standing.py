"""The rejections that hold now, as they are read off the sessions."""

from __future__ import annotations

import pytest

from controlplane.xds.standing import refusals
from tests.unit.xds.test_xds_status import served
from tests.unit.xds.world import DELTA, SOTW, Peer, World, resource

NAMES = ("a", "b", "c")
both = pytest.mark.parametrize("variant", [SOTW, DELTA], ids=["sotw", "delta"])


def found(peer: Peer) -> list[tuple[str, str, str, bool]]:
    return [(one.spec.short, one.name, one.error, one.bare) for one in refusals([served(peer)])]


@pytest.fixture
def world() -> World:
    world = World()
    world.commit(("rds", name, resource("rds", name, "1")) for name in "abc")
    return world


@both
def test_a_rejection_holds_until_its_content_changes(world: World, variant) -> None:
    peer = Peer(world, variant)
    peer.start(("rds", *NAMES))
    assert found(peer) == []
    world.put("rds", "a", "bad")
    peer.nack(peer.one(), "missing ]", *NAMES)
    peer.flush(ack=True)
    assert found(peer) == [("rds", "a", "missing ]", False)]
    (one,) = refusals([served(peer)])
    assert (one.proxy, one.version) == ("web-1.default", world.feed("rds").get("a").version)
    since = one.since

    world.put("rds", "a", "bad as before")
    peer.nack(peer.one(), "missing }", *NAMES)
    peer.flush(ack=True)
    assert found(peer) == [("rds", "a", "missing }", False)]
    # It began with the first of them, and the next one begins anew.
    assert [one.since for one in refusals([served(peer)])] == [since]
    world.put("rds", "a", "2")
    peer.flush(ack=True)
    assert found(peer) == []
    world.put("rds", "b", "bad")
    peer.nack(peer.one(), "missing ]", *NAMES)
    assert [one.since > since for one in refusals([served(peer)])] == [True]


@both
def test_what_was_only_rejected_together_with_it_is_not_told(world: World, variant) -> None:
    peer = Peer(world, variant)
    peer.start(("rds", *NAMES))
    world.commit([("rds", name, resource("rds", name, "bad" if name == "b" else "2")) for name in "abc"])
    while (response := peer.one()) is not None:
        assert {name for _, name, _, _ in found(peer)} <= {"b"}
        if "bad" in response.bodies.values():
            peer.nack(response, "missing ]", *NAMES)
        else:
            peer.ack(response, *NAMES)
    assert found(peer) == [("rds", "b", "missing ]", False)]


@both
def test_a_proxy_that_never_had_it_has_nothing(world: World, variant) -> None:
    world.put("rds", "a", "bad")
    peer = Peer(world, variant)
    peer.ask("rds", "a")
    peer.nack(peer.one(), "missing ]", "a")
    peer.flush(ack=True)
    assert found(peer) == [("rds", "a", "missing ]", True)]


def test_a_listing_that_nobody_can_take_apart_is_told_without_a_name(world: World) -> None:
    world.commit(("cds", name, resource("cds", name, "bad")) for name in "ab")
    peer = Peer(world, SOTW)
    peer.ask("cds", version="from an earlier stream")
    peer.nack(peer.one(), "it cannot be")
    peer.flush()
    assert found(peer) == [("cds", "", "it cannot be", False)]
