"""What a request changes, in both variants of the protocol: one rule a test."""

from __future__ import annotations

import pytest

from controlplane.envoy.types import BY_SHORT
from controlplane.xds.protocol import Request
from tests.unit.xds.world import DELTA, SOTW, Peer, World


@pytest.fixture
def world() -> World:
    world = World()
    world.put("cds", "a")
    world.put("cds", "b")
    world.put("eds", "a")
    world.put("eds", "b")
    return world


both = pytest.mark.parametrize("variant", [SOTW, DELTA], ids=["sotw", "delta"])


@both
def test_the_first_request_of_a_type_is_answered_even_when_there_is_nothing(world: World, variant) -> None:
    peer = Peer(world, variant)
    peer.ask("lds")
    (answer,) = peer.flush()
    assert (answer.short, answer.names, answer.removed) == ("lds", [], ())


@both
def test_clusters_without_names_are_a_wildcard(world: World, variant) -> None:
    peer = Peer(world, variant)
    peer.ask("cds")
    assert peer.one().bodies == {"a": "1", "b": "1"}


@both
def test_a_star_is_a_wildcard(world: World, variant) -> None:
    peer = Peer(world, variant)
    peer.ask("cds", "*")
    assert peer.one().names == ["a", "b"]


@both
def test_endpoints_without_names_are_nothing(world: World, variant) -> None:
    peer = Peer(world, variant)
    peer.ask("eds")
    assert peer.one().names == []


@both
def test_only_named_resources_are_sent(world: World, variant) -> None:
    peer = Peer(world, variant)
    peer.ask("eds", "b")
    assert peer.one().names == ["b"]
    world.put("eds", "a", "2")
    assert peer.flush() == []


@both
def test_clusters_can_be_asked_for_by_name(world: World, variant) -> None:
    peer = Peer(world, variant)
    peer.start(("cds", "a"))
    world.put("cds", "b", "2")
    assert peer.flush() == []
    world.put("cds", "a", "2")
    assert peer.one().bodies == {"a": "2"}


@both
def test_an_ack_is_not_answered(world: World, variant) -> None:
    peer = Peer(world, variant)
    peer.ask("eds", "a")
    answer = peer.one()
    heard = peer.ack(answer, "a")
    assert heard.verdict.error is None
    assert heard.verdict.newest
    assert peer.flush() == []


@both
def test_a_subscribed_name_is_sent_when_it_appears_later(world: World, variant) -> None:
    peer = Peer(world, variant)
    peer.start(("eds", "c"))
    world.put("eds", "c")
    assert peer.one().bodies == {"c": "1"}


@both
def test_an_unknown_type_is_ignored(world: World, variant) -> None:
    peer = Peer(world, variant)
    assert peer.session.receive(Request("type.googleapis.com/no.such.Type")).unknown
    peer.ask("cds")
    assert peer.one().names == ["a", "b"]


@both
def test_a_nonce_nobody_sent_changes_nothing(world: World, variant) -> None:
    peer = Peer(world, variant)
    peer.ask("eds", "a")
    first = peer.one()
    heard = peer.ask(
        "eds", "a", nonce="garbage", error="no!", **({"answering": True} if variant is DELTA else {})
    )
    assert heard.expired
    assert heard.verdict is None
    assert peer.ack(first, "a").verdict is not None


@both
def test_the_nonce_of_an_earlier_stream_does_not_matter_in_the_first_request(world: World, variant) -> None:
    peer = Peer(world, variant)
    peer.ask("eds", "a", nonce="of-an-earlier-stream", **({"answering": True} if variant is DELTA else {}))
    assert peer.one().names == ["a"]


@both
def test_only_the_first_response_of_a_type_says_who_we_are(world: World, variant) -> None:
    peer = Peer(world, variant)
    peer.ask("cds")
    assert peer.one().identifier == "{}"
    peer.now += 5
    world.put("cds", "a", "2")
    assert peer.one().identifier == ""


@both
def test_nothing_is_answered_from_a_feed_that_is_not_settled(world: World, variant) -> None:
    world.unsettle()
    peer = Peer(world, variant)
    peer.ask("cds")
    assert peer.flush() == []
    world.settle()
    assert peer.one().names == ["a", "b"]


@both
def test_a_view_without_a_type_serves_it_empty(world: World, variant) -> None:
    del world._served[BY_SHORT["rds"].url]
    peer = Peer(world, variant)
    peer.ask("rds", "80")
    assert peer.one().names == []


# -- state of the world ---------------------------------------------------------------------------


def test_sotw_a_request_with_an_old_nonce_is_ignored(world: World) -> None:
    peer = Peer(world, SOTW)
    peer.ask("eds", "a")
    peer.one()
    # Sent by the client before our answer reached it.
    assert peer.ask("eds", "a", "b", nonce="").expired
    assert peer.flush() == []
    peer.ask("eds", "a", "b")
    assert peer.one().names == ["b"]


def test_sotw_the_names_of_a_stale_request_are_ignored(world: World) -> None:
    peer = Peer(world, SOTW)
    peer.start(("eds", "a"))
    before = peer.sub("eds").nonce
    world.put("eds", "a", "2")
    response = peer.one()
    assert peer.ask("eds", "a", "b", nonce=before).expired
    peer.ack(response, "a")
    assert peer.flush() == []


def test_sotw_before_the_first_answer_a_further_request_counts(world: World) -> None:
    peer = Peer(world, SOTW)
    peer.ask("eds", "a")
    peer.ask("eds", "a", "b", nonce="")
    assert peer.one().names == ["a", "b"]


def test_sotw_more_names_are_answered_with_those(world: World) -> None:
    peer = Peer(world, SOTW)
    peer.start(("eds", "a"))
    peer.ask("eds", "a", "b")
    assert peer.one().names == ["b"]


def test_sotw_more_names_that_do_not_exist_are_answered(world: World) -> None:
    peer = Peer(world, SOTW)
    peer.start(("eds", "a"))
    peer.ask("eds", "a", "zzz")
    assert peer.one().names == []


def test_sotw_fewer_names_need_no_answer(world: World) -> None:
    peer = Peer(world, SOTW)
    peer.start(("eds", "a", "b"))
    peer.ask("eds", "a")
    assert peer.flush() == []
    world.put("eds", "b", "2")
    assert peer.flush() == []


def test_sotw_a_name_given_up_and_asked_for_again_is_sent_again(world: World) -> None:
    peer = Peer(world, SOTW)
    peer.start(("eds", "a", "b"))
    peer.ask("eds", "a")
    peer.ask("eds", "a", "b")
    assert peer.one().names == ["b"]


def test_sotw_names_changed_in_an_ack_are_answered(world: World) -> None:
    peer = Peer(world, SOTW)
    peer.ask("eds", "a")
    peer.ack(peer.one(), "a", "b")
    assert peer.one().names == ["b"]


def test_sotw_names_changed_in_a_nack_are_answered(world: World) -> None:
    peer = Peer(world, SOTW)
    peer.ask("eds", "a")
    peer.nack(peer.one(), "bad", "a", "b")
    assert peer.one().names == ["b"]


def test_sotw_a_cluster_response_lists_everything(world: World) -> None:
    peer = Peer(world, SOTW)
    peer.start(("cds",))
    world.put("cds", "b", "2")
    assert peer.one().bodies == {"a": "1", "b": "2"}


def test_sotw_an_endpoint_response_lists_what_changed(world: World) -> None:
    peer = Peer(world, SOTW)
    peer.start(("eds", "a", "b"))
    world.put("eds", "b", "2")
    assert peer.one().bodies == {"b": "2"}


def test_sotw_naming_clusters_ends_the_legacy_wildcard(world: World) -> None:
    peer = Peer(world, SOTW)
    peer.start(("cds",))
    peer.ask("cds", "a")
    peer.flush(ack=True)
    world.put("cds", "b", "2")
    assert peer.flush() == []


def test_sotw_no_names_after_names_is_no_wildcard(world: World) -> None:
    peer = Peer(world, SOTW)
    peer.start(("cds",))
    peer.ask("cds", "*", "a")
    peer.ask("cds", "a")
    peer.ask("cds")
    world.put("cds", "a", "2")
    assert peer.flush() == []


def test_sotw_the_legacy_wildcard_goes_on_with_empty_requests(world: World) -> None:
    peer = Peer(world, SOTW)
    peer.start(("cds",))
    peer.ask("cds")
    world.put("cds", "b", "2")
    assert peer.one().names == ["a", "b"]


def test_sotw_a_wildcard_can_come_later(world: World) -> None:
    peer = Peer(world, SOTW)
    peer.start(("cds", "a"))
    peer.ask("cds", "*")
    assert peer.one().names == ["a", "b"]


def test_sotw_versions_are_those_of_the_content(world: World) -> None:
    peer, other = Peer(world, SOTW), Peer(world, SOTW)
    peer.ask("cds")
    other.ask("cds", "*")
    first = peer.one()
    assert first.version == other.one().version
    peer.now += 5
    world.put("cds", "a", "2")
    assert peer.one().version != first.version
    peer.now += 5
    world.put("cds", "a", "1")
    assert peer.one().version == first.version


# -- incremental ----------------------------------------------------------------------------------


def test_delta_what_is_subscribed_to_again_is_sent_again(world: World) -> None:
    peer = Peer(world)
    peer.start(("eds", "a", "b"))
    peer.ask("eds", "a")
    assert peer.one().names == ["a"]


def test_delta_a_name_that_does_not_exist_is_answered_as_removed(world: World) -> None:
    peer = Peer(world)
    peer.ask("eds", "a", "zzz")
    answer = peer.one()
    assert (answer.names, answer.removed) == (["a"], ("zzz",))
    peer.ack(answer)
    peer.ask("eds", "zzz")
    assert peer.one().removed == ("zzz",)


def test_delta_an_unsubscription_is_not_answered(world: World) -> None:
    peer = Peer(world)
    peer.start(("eds", "a", "b"))
    peer.ask("eds", unsubscribe=["b", "never-subscribed"])
    assert peer.flush() == []
    world.put("eds", "b", "2")
    assert peer.flush() == []


def test_delta_subscriptions_count_in_a_nack(world: World) -> None:
    peer = Peer(world)
    peer.ask("eds", "a")
    first = peer.one()
    peer.ask("eds", "b", nonce=first.nonce, answering=True, error="bad", unsubscribe=["a"])
    assert peer.one().names == ["b"]
    world.put("eds", "a", "2")
    peer.now += 5
    assert peer.flush() == []


def test_delta_subscriptions_count_with_a_stale_nonce(world: World) -> None:
    peer = Peer(world)
    peer.start(("eds", "a"))
    assert peer.ask("eds", "b", nonce="stale", answering=True).expired
    assert peer.one().names == ["b"]


def test_delta_a_change_is_sent_alone(world: World) -> None:
    peer = Peer(world)
    peer.start(("cds",))
    world.put("cds", "b", "2")
    answer = peer.one()
    assert (answer.bodies, answer.removed) == ({"b": "2"}, ())


def test_delta_a_legacy_wildcard_goes_on_beside_names(world: World) -> None:
    peer = Peer(world)
    peer.start(("cds",))
    peer.ask("cds", "a")
    assert peer.one().names == ["a"]
    peer.now += 5
    world.put("cds", "b", "2")
    assert peer.one().names == ["b"]


def test_delta_unsubscribing_from_the_wildcard_leaves_the_names(world: World) -> None:
    peer = Peer(world)
    peer.start(("cds",))
    peer.ask("cds", "a")
    peer.flush(ack=True)
    peer.ask("cds", unsubscribe=["*"])
    assert peer.flush() == []
    world.commit([("cds", "b", None)])
    world.put("cds", "a", "2")
    answer = peer.one()
    assert (answer.bodies, answer.removed) == ({"a": "2"}, ())


def test_delta_giving_up_a_name_under_a_wildcard_is_answered_with_its_state(world: World) -> None:
    peer = Peer(world)
    peer.start(("cds",))
    peer.ask("cds", "a", "zzz")
    peer.flush(ack=True)
    peer.ask("cds", unsubscribe=["a", "zzz"])
    answer = peer.one()
    assert (answer.names, answer.removed) == (["a"], ("zzz",))


def test_delta_subscribing_to_the_wildcard_sends_everything(world: World) -> None:
    peer = Peer(world)
    peer.start(("cds", "a"))
    peer.ask("cds", "*")
    assert peer.one().names == ["a", "b"]
    peer.now += 5
    peer.ask("cds", "*")
    assert peer.one().names == ["a", "b"]


def test_delta_a_reconnecting_client_keeps_clusters_that_did_not_change(world: World) -> None:
    peer = Peer(world)
    peer.ask("cds")
    known = peer.one().versions
    world.put("cds", "b", "2")
    again = Peer(world)
    again.ask("cds", known=known)
    assert again.one().bodies == {"b": "2"}


def test_delta_a_reconnecting_client_with_everything_gets_an_empty_answer(world: World) -> None:
    peer = Peer(world)
    peer.ask("cds")
    again = Peer(world)
    again.ask("cds", known=peer.one().versions)
    answer = again.one()
    assert (answer.names, answer.removed) == ([], ())
    assert again.flush() == []


def test_delta_a_reconnecting_client_learns_of_removed_listeners(world: World) -> None:
    world.put("lds", "x")
    peer = Peer(world)
    peer.ask("lds", known={"gone": "1234", "x": "old"})
    answer = peer.one()
    assert (answer.names, answer.removed) == (["x"], ("gone",))


def test_delta_a_reconnecting_client_gets_its_endpoints_again(world: World) -> None:
    peer = Peer(world)
    peer.ask("eds", "a", "b")
    known = peer.one().versions
    again = Peer(world)
    again.ask("eds", "a", "b", "zzz", known=known)
    answer = again.one()
    assert (answer.names, answer.removed) == (["a", "b"], ("zzz",))


def test_delta_what_a_client_knows_is_compared_once_the_feed_is_settled(world: World) -> None:
    peer = Peer(world)
    peer.ask("cds")
    known = peer.one().versions
    world.unsettle()
    again = Peer(world)
    again.ask("cds", known=known)
    assert again.flush() == []
    world.settle()
    assert again.one().names == []
