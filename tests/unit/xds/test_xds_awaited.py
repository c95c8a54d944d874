"""Secrets are waited for: no answer before there is one, none that it is not there, and never a removal."""

from __future__ import annotations

import pytest

from tests.unit.xds.world import DELTA, SOTW, Peer, World

both = pytest.mark.parametrize("variant", [SOTW, DELTA], ids=["sotw", "delta"])


@both
def test_what_is_being_issued_is_answered_when_it_is_there(variant) -> None:
    world = World()
    peer = Peer(world, variant)
    peer.ask("sds", "default")
    assert peer.flush() == []
    assert not peer.session.stirred
    world.put("sds", "default")
    answer = peer.one()
    assert (answer.bodies, answer.removed) == ({"default": "1"}, ())
    peer.ack(answer, "default")
    assert peer.flush() == []


@both
def test_what_is_there_does_not_wait_for_what_is_not(variant) -> None:
    world = World()
    world.put("sds", "ROOTCA")
    peer = Peer(world, variant)
    peer.ask("sds", "ROOTCA", "default")
    first = peer.one()
    assert (first.names, first.removed) == (["ROOTCA"], ())
    peer.ack(first, "ROOTCA", "default")
    assert peer.flush() == []
    world.put("sds", "default")
    assert peer.one().names == ["default"]


@both
def test_to_ask_for_one_more_that_is_not_there_is_not_answered_either(variant) -> None:
    world = World()
    world.put("sds", "ROOTCA")
    peer = Peer(world, variant)
    peer.start(("sds", "ROOTCA"))
    peer.ask("sds", *(("ROOTCA", "default") if variant is SOTW else ("default",)))
    assert peer.flush() == []
    world.put("sds", "default")
    assert peer.one().names == ["default"]


@both
def test_a_client_that_names_no_secret_is_answered(variant) -> None:
    peer = Peer(World(), variant)
    peer.ask("sds")
    assert peer.one().names == []


@both
def test_other_types_do_not_wait_for_a_secret(variant) -> None:
    world = World()
    world.put("cds", "a")
    peer = Peer(world, variant)
    peer.ask("sds", "default")
    peer.ask("cds")
    assert [response.short for response in peer.flush(ack=True)] == ["cds"]
    world.put("cds", "b")
    assert [response.short for response in peer.flush(ack=True)] == ["cds"]


@both
def test_a_secret_that_goes_stays_with_the_client_and_a_new_one_replaces_it(variant) -> None:
    world = World()
    world.put("sds", "default", "old")
    peer = Peer(world, variant)
    peer.start(("sds", "default"))
    world.drop("sds", "default")
    assert peer.flush() == []
    world.put("sds", "default", "new")
    assert peer.one().bodies == {"default": "new"}


@both
def test_a_rejected_first_secret_is_not_taken_away_and_the_next_one_is_sent(variant) -> None:
    world = World()
    world.put("sds", "default", "bad")
    peer = Peer(world, variant)
    peer.ask("sds", "default")
    peer.nack(peer.one(), "Failed to load certificate chain", "default")
    assert peer.flush() == []
    assert peer.sub("sds").holds() == {}
    world.put("sds", "default", "good")
    assert peer.one().bodies == {"default": "good"}


@both
def test_a_rejected_renewal_leaves_the_last_good_secret(variant) -> None:
    world = World()
    world.put("sds", "default", "good")
    peer = Peer(world, variant)
    peer.start(("sds", "default"))
    world.put("sds", "default", "bad")
    peer.nack(peer.one(), "Failed to load private key", "default")
    (again,) = peer.flush(ack=True)
    assert again.bodies == {"default": "good"}
    assert list(peer.sub("sds").rejected) == ["default"]
    assert b"good" in peer.sub("sds").holds()["default"].body
