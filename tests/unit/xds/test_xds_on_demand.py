"""Virtual hosts on demand in the protocol: what is asked for while a request waits is always answered."""

from __future__ import annotations

import pytest

from controlplane.envoy import pb
from controlplane.envoy.types import VIRTUAL_HOST
from controlplane.xds import asking
from controlplane.xds.asking import OnDemand, tell
from controlplane.xds.names import NOBODY
from tests.unit.xds.world import SOTW, Peer, World


@pytest.fixture
def world() -> World:
    world = World()
    world.put("vhds", "80/a")
    world.put("vhds", "80/b")
    return world


@pytest.fixture
def peer(world: World) -> Peer:
    peer = Peer(world)
    peer.start(("vhds",))
    return peer


def test_everything_is_nothing(world: World) -> None:
    """Envoy begins with an empty request, and cannot but do so."""
    peer = Peer(world)
    peer.ask("vhds")
    answer = peer.one()
    assert (answer.short, answer.names, answer.removed) == ("vhds", [], ())
    peer.ack(answer)
    world.put("vhds", "80/a", "2")
    assert peer.flush() == []


def test_what_is_asked_for_comes_and_is_followed_up(world: World, peer: Peer) -> None:
    peer.ask("vhds", "80/a")
    assert peer.one().bodies == {"80/a": "1"}
    world.put("vhds", "80/b", "2")
    world.put("vhds", "80/a", "2")
    peer.now += 2
    assert peer.one().bodies == {"80/a": "2"}


def test_what_does_not_exist_is_named_without_a_body(world: World, peer: Peer) -> None:
    """Envoy lets a waiting request go on when the name is answered, and takes a removal for no answer."""
    peer.ask("vhds", "80/a", "80/nobody")
    push, data = peer.session.next(peer.now)
    message = pb.discovery.DeltaDiscoveryResponse.FromString(data)
    found = {one.name: one for one in message.resources}
    assert found.keys() == {"80/a", "80/nobody"}
    assert not found["80/nobody"].HasField("resource")
    assert found["80/nobody"].aliases == ["80/nobody"]
    assert found["80/a"].resource.type_url == VIRTUAL_HOST
    assert not message.removed_resources
    assert [change.name for change in push.news] == ["80/a"]


def test_it_comes_when_it_exists_and_goes_when_it_does_not(world: World, peer: Peer) -> None:
    peer.ask("vhds", "80/new")
    peer.ack(peer.one())
    world.put("vhds", "80/new")
    answer = peer.one()
    assert answer.bodies == {"80/new": "1"}
    peer.ack(answer)
    world.drop("vhds", "80/new")
    answer = peer.one()
    assert (answer.names, answer.removed) == ([], ("80/new",))


def test_what_is_asked_for_again_is_answered_again(world: World, peer: Peer) -> None:
    """Envoy forgets with a route configuration what it had in it, and stays subscribed."""
    peer.ask("vhds", "80/a", "80/nobody")
    peer.ack(peer.one())
    peer.ask("vhds", "80/a", "80/nobody")
    assert peer.one().bodies == {"80/a": "1", "80/nobody": ""}


def test_a_client_that_comes_back_is_told_what_it_lacks(world: World) -> None:
    first = Peer(world)
    first.ask("vhds", "80/a", "80/b", "80/c")
    versions = first.one().versions
    world.put("vhds", "80/b", "2")
    again = Peer(world)
    known = {"80/a": versions["80/a"], "80/b": versions["80/b"], "80/gone": "1234"}
    again.ask("vhds", "*", "80/a", "80/b", "80/c", "80/gone", known=known)
    answer = again.one()
    # "c" is asked for the first time, as far as this stream knows: a request may wait for it.
    assert answer.bodies == {"80/b": "2", "80/c": ""}
    assert answer.removed == ("80/gone",)
    again.ack(answer)
    assert set(again.sub("vhds").holds()) == {"80/a", "80/b"}
    world.put("vhds", "80/a", "3")
    assert again.one().bodies == {"80/a": "3"}


def test_a_rejected_virtual_host_does_not_exist_for_that_client(world: World, peer: Peer) -> None:
    peer.ask("vhds", "80/a")
    peer.nack(peer.one(), "bad regex")
    answer = peer.one()
    assert (answer.bodies, answer.removed) == ({"80/a": ""}, ()), "a request waits for an answer"
    peer.ack(answer)
    assert peer.flush() == []
    world.put("vhds", "80/a", "2")
    assert peer.one().bodies == {"80/a": "2"}


def test_a_rejected_change_goes_back_to_what_was_there(world: World, peer: Peer) -> None:
    peer.ask("vhds", "80/a")
    peer.ack(peer.one())
    world.put("vhds", "80/a", "bad")
    peer.nack(peer.one(), "bad regex")
    assert peer.one().bodies == {"80/a": "1"}


def test_what_was_told_beside_a_rejected_one_is_told_again(world: World, peer: Peer) -> None:
    """Envoy drops such a response whole: the answers in it, and the removals."""
    peer.ask("vhds", "80/a")
    peer.ack(peer.one())
    world.commit([("vhds", "80/a", None)])
    peer.ask("vhds", "80/b", "80/nobody")
    answer = peer.one()
    assert (answer.bodies, answer.removed) == ({"80/b": "1", "80/nobody": ""}, ("80/a",))
    peer.nack(answer, "bad regex")
    answer = peer.one()
    assert (answer.bodies, answer.removed) == ({"80/b": "", "80/nobody": ""}, ("80/a",))


def test_last_good_bytes_that_were_told_beside_a_rejected_one_are_told_again(
    world: World, peer: Peer
) -> None:
    peer.ask("vhds", "80/a")
    peer.ack(peer.one())
    world.put("vhds", "80/a", "bad")
    change = peer.one()
    # The client has let go of what it had, and asks for it anew, and for another one.
    world.put("vhds", "80/b", "bad")
    peer.ask("vhds", "80/a", "80/b")
    peer.nack(change, "bad regex")
    both = peer.one()
    assert both.bodies == {"80/a": "1", "80/b": "bad"}
    peer.nack(both, "bad regex")
    again = peer.one()
    assert again.names == ["80/a", "80/b"] and again.bodies["80/a"] == "1"


def test_what_goes_while_it_is_asked_for_is_taken_away_and_then_answered(world: World, peer: Peer) -> None:
    """The client asked before it had what was on its way; one response cannot hold both."""
    peer.ask("vhds", "80/a")
    answer = peer.one()
    peer.ask("vhds", "80/a")
    world.drop("vhds", "80/a")
    peer.ack(answer)
    answer = peer.one()
    assert (answer.bodies, answer.removed) == ({}, ("80/a",))
    peer.ack(answer)
    assert peer.one().bodies == {"80/a": ""}


def test_so_it_is_when_the_client_drops_the_response_that_takes_it_away(world: World, peer: Peer) -> None:
    peer.ask("vhds", "80/a")
    answer = peer.one()
    peer.ask("vhds", "80/a", "80/b")
    world.drop("vhds", "80/a")
    world.put("vhds", "80/b", "bad")
    peer.ack(answer)
    answer = peer.one()
    assert (answer.bodies, answer.removed) == ({"80/b": "bad"}, ("80/a",))
    peer.nack(answer, "bad regex")
    # It still has what is gone: an answer alone, that there is none, would leave it in force.
    answer = peer.one()
    assert (answer.bodies, answer.removed) == ({"80/b": ""}, ("80/a",))
    peer.ack(answer)
    assert peer.one().bodies == {"80/a": ""}


def test_what_is_asked_for_right_after_coming_back_is_answered(world: World) -> None:
    """Envoy claims what it had in a route configuration that is gone."""
    peer = Peer(world)
    peer.ask("vhds", "80/a")
    versions = peer.one().versions
    again = Peer(world)
    again.ask("vhds", "*", "80/a", known=versions)
    again.ask("vhds", "80/a")
    assert again.one().bodies == {"80/a": "1"}


def test_it_waits_for_the_clusters_that_it_may_point_at(world: World, peer: Peer) -> None:
    peer.start(("cds",))
    world.put("cds", "new")
    clusters = peer.one()
    peer.ask("vhds", "80/a")
    assert peer.one() is None
    peer.ack(clusters)
    assert peer.one().names == ["80/a"]


def test_clusters_go_only_when_no_virtual_host_can_use_them(world: World, peer: Peer) -> None:
    world.put("cds", "old")
    peer.start(("cds",))
    peer.ask("vhds", "80/a")
    peer.ack(peer.one())
    world.commit([("cds", "old", None), ("vhds", "80/a", world.feed("vhds").get("80/b"))])
    hosts = peer.one()
    assert hosts.short == "vhds"
    assert peer.one() is None
    peer.ack(hosts)
    assert peer.one().removed == ("old",)


def test_state_of_the_world_has_none(world: World) -> None:
    peer = Peer(world, SOTW)
    peer.ask("vhds", "*")
    assert peer.one().names == []


# -- telling the feed ---------------------------------------------------------------------------


class Told(OnDemand):
    def __init__(self) -> None:
        self.log: list[tuple[list[str], list[str]]] = []

    def ask(self, more, fewer) -> None:
        self.log.append((sorted(more), sorted(fewer)))


def test_a_feed_is_told_what_a_client_wants_and_what_no_longer() -> None:
    feed = Told()
    asked = tell(feed, NOBODY, frozenset("ab"))
    asked = tell(feed, asked, frozenset("bc"))
    assert tell(feed, asked, frozenset("bc")) == frozenset("bc")
    assert tell(feed, asked, NOBODY) == NOBODY
    assert feed.log == [(["a", "b"], []), (["c"], ["a"]), ([], ["b", "c"])]


def test_a_client_cannot_ask_for_ever_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "MAX_ASKED", 3)
    feed = Told()
    asked = tell(feed, NOBODY, frozenset("ab"))
    asked = tell(feed, asked, frozenset("abcde"))
    assert asked == frozenset("abc")
    # One that it lets go makes room.
    asked = tell(feed, asked, frozenset("bcde"))
    assert asked == frozenset("bcd")
    tell(feed, asked, NOBODY)
    more = [name for names, _ in feed.log for name in names]
    fewer = [name for _, names in feed.log for name in names]
    assert sorted(more) == sorted(fewer), "everything is given back"


def test_other_feeds_are_told_nothing() -> None:
    assert tell(World().feed("eds"), NOBODY, frozenset("a")) == NOBODY
