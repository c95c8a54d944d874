"""What a rejection leads to: last good bytes, neighbours that flow on, no repetition."""

from __future__ import annotations

import pytest

from controlplane.xds.verdict import offenders
from tests.unit.xds.world import DELTA, SOTW, Peer, World, resource

both = pytest.mark.parametrize("variant", [SOTW, DELTA], ids=["sotw", "delta"])


def named(short: str, *names: str) -> str:
    """An error text as Envoy writes it for semantic errors in clusters and listeners."""
    kind = {"cds": "cluster(s)", "lds": "listener(s)"}[short]
    return f"Error adding/updating {kind} " + ", ".join(f"{name}: it is bad" for name in names)


@pytest.fixture
def world() -> World:
    world = World()
    world.commit(
        [
            *(("lds", name, resource("lds", name, "1")) for name in "abc"),
            *(("rds", name, resource("rds", name, "1")) for name in "abc"),
        ]
    )
    return world


def listening(world: World, variant) -> Peer:
    """A peer that has everything."""
    peer = Peer(world, variant)
    peer.start(("lds",), ("rds", "a", "b", "c"))
    return peer


def change(world: World, short: str, names: str, content: str) -> None:
    world.commit((short, name, resource(short, name, content)) for name in names)


@both
def test_a_rejection_is_reported_with_its_names_and_text(world: World, variant) -> None:
    peer = listening(world, variant)
    change(world, "lds", "ab", "bad")
    verdict = peer.nack(peer.one(), named("lds", "b")).verdict
    assert verdict.blamed == ("b",)
    assert verdict.error == named("lds", "b")
    assert peer.sub("lds").error == verdict.error


def test_delta_a_named_listener_goes_back_to_its_last_good_bytes(world: World) -> None:
    peer = listening(world, DELTA)
    change(world, "lds", "ab", "bad")
    peer.nack(peer.one(), named("lds", "b"))
    replacement = peer.one()
    assert replacement.bodies == {"b": "1"}
    peer.ack(replacement)
    assert peer.flush() == []


def test_sotw_a_named_listener_is_replaced_and_its_neighbours_stay_new(world: World) -> None:
    peer = listening(world, SOTW)
    change(world, "lds", "ab", "2")
    peer.nack(peer.one(), named("lds", "b"))
    replacement = peer.one()
    assert replacement.bodies == {"a": "2", "b": "1", "c": "1"}
    peer.ack(replacement)
    assert peer.flush() == []


def converse(peer: Peer, *names: str) -> list[dict[str, str]]:
    """Answer everything, rejecting what has a bad resource without naming it; what was sent."""
    sent = []
    while (response := peer.one()) is not None:
        bad = any("bad" in content for content in response.bodies.values())
        peer.ack(response, *names, error="nobody is named" if bad else None)
        sent.append(response.bodies)
        assert len(sent) < 100
    return sent


@both
def test_without_a_name_all_that_changed_is_suspect(world: World, variant) -> None:
    peer = listening(world, variant)
    change(world, "rds", "ab", "bad")
    verdict = peer.nack(peer.one(), "missing ]: [", "a", "b", "c").verdict
    assert verdict.blamed == ("a", "b")
    assert peer.one().bodies == {"a": "1", "b": "1"}


@both
def test_suspects_are_tried_by_halves_and_the_innocent_go_through(variant) -> None:
    world = World()
    names = [f"r{number}" for number in range(8)]
    world.commit(("rds", name, resource("rds", name, "1")) for name in names)
    peer = Peer(world, variant)
    peer.start(("rds", *names))
    world.commit(("rds", name, resource("rds", name, "bad" if name == "r5" else "2")) for name in names)
    sent = converse(peer, *names)
    assert {name: content for bodies in sent for name, content in bodies.items()}["r5"] == "1"
    accepted = {}
    for bodies in sent:
        if "bad" not in bodies.values():
            accepted.update(bodies)
    assert accepted == {name: "1" if name == "r5" else "2" for name in names}
    assert peer.sub("rds").rejected.keys() == {"r5"}
    # All, back, four good, four, back, two, back, one, the other one, back, two good.
    assert len(sent) == 11


def test_sotw_listeners_of_a_new_client_are_tried_by_halves() -> None:
    world = World()
    names = [f"l{number}" for number in range(4)]
    world.commit(("lds", name, resource("lds", name, "bad" if name == "l2" else "1")) for name in names)
    peer = Peer(world, SOTW)
    peer.ask("lds")
    assert converse(peer)[-1] == {"l0": "1", "l1": "1", "l3": "1"}


@both
def test_other_changes_do_not_travel_with_suspects(world: World, variant) -> None:
    peer = listening(world, variant)
    change(world, "rds", "ab", "bad")
    peer.nack(peer.one(), "one of them", "a", "b", "c")
    change(world, "rds", "c", "2")
    assert converse(peer, "a", "b", "c")[0] == {"a": "1", "b": "1", "c": "2"}
    assert peer.sub("rds").rejected.keys() == {"a", "b"}


@both
def test_suspects_that_changed_meanwhile_are_not_tried_again(world: World, variant) -> None:
    peer = listening(world, variant)
    change(world, "rds", "ab", "bad")
    peer.nack(peer.one(), "one of them", "a", "b", "c")
    change(world, "rds", "ab", "2")
    assert converse(peer, "a", "b", "c") == [{"a": "2", "b": "2"}]


@both
def test_a_client_that_rejects_everything_is_not_asked_forever(variant) -> None:
    world = World()
    names = [f"r{number}" for number in range(8)]
    world.commit(("rds", name, resource("rds", name, "bad")) for name in names)
    peer = Peer(world, variant)
    peer.ask("rds", *names)
    assert len(converse(peer, *names)) == 15


@both
def test_suspects_are_tried_though_an_echo_of_theirs_has_nothing_to_say(variant) -> None:
    world = World()
    for name in "ab":
        world.put("cds", name, "1", [name])
        world.put("eds", name, "1")
    peer = Peer(world, variant)
    peer.start(("cds",))
    peer.ask("eds", "a", "b")
    endpoints = peer.one()
    world.put("cds", "b", "2", ["b"])
    peer.ack(peer.one())
    peer.nack(endpoints, "nobody is named", "a", "b")
    assert [response.names for response in peer.flush(ack=True)] == [["a"], ["b"]]


@both
def test_what_was_rejected_is_not_sent_again(world: World, variant) -> None:
    peer = listening(world, variant)
    change(world, "rds", "a", "bad")
    peer.nack(peer.one(), "bad", "a", "b", "c")
    peer.flush(ack=True)
    change(world, "rds", "b", "2")
    assert [response.bodies for response in peer.flush(ack=True)] == [{"b": "2"}]


def test_sotw_a_later_listing_still_has_the_last_good_bytes(world: World) -> None:
    peer = listening(world, SOTW)
    change(world, "lds", "a", "bad")
    peer.nack(peer.one(), named("lds", "a"))
    peer.flush(ack=True)
    change(world, "lds", "b", "2")
    assert peer.one().bodies == {"a": "1", "b": "2", "c": "1"}


@both
def test_new_content_of_a_rejected_resource_is_sent(world: World, variant) -> None:
    peer = listening(world, variant)
    change(world, "rds", "a", "bad")
    peer.nack(peer.one(), "bad", "a", "b", "c")
    peer.flush(ack=True)
    change(world, "rds", "a", "mended")
    assert [response.bodies for response in peer.flush(ack=True)] == [{"a": "mended"}]
    assert peer.sub("rds").rejected == {}
    assert peer.sub("rds").error == ""


@both
def test_a_mended_listener_is_accepted_though_another_is_rejected_beside_it(world: World, variant) -> None:
    peer = listening(world, variant)
    change(world, "lds", "a", "bad")
    peer.nack(peer.one(), named("lds", "a"))
    peer.flush(ack=True)
    world.commit([("lds", "a", resource("lds", "a", "mended")), ("lds", "b", resource("lds", "b", "bad"))])
    peer.nack(peer.one(), named("lds", "b"))
    assert peer.sub("lds").rejected.keys() == {"b"}


@both
def test_what_a_client_never_had_is_not_taken_for_good(world: World, variant) -> None:
    peer = Peer(world, variant, ledgers=listening(world, variant).ledgers)
    peer.ask("rds", "a")
    # Before the first answer: the client knows of no earlier version, though others do.
    change(world, "rds", "a", "bad")
    assert peer.nack(peer.one(), "bad", "a").verdict.blamed == ("a",)
    assert [response.bodies for response in peer.flush()] == []


@both
def test_after_two_rejections_the_last_good_bytes_are_those_before_both(world: World, variant) -> None:
    peer = listening(world, variant)
    change(world, "rds", "a", "bad")
    peer.nack(peer.one(), "bad", "a", "b", "c")
    peer.flush(ack=True)
    change(world, "rds", "a", "worse")
    peer.nack(peer.one(), "worse", "a", "b", "c")
    assert peer.one().bodies == {"a": "1"}


@both
def test_rejected_while_a_newer_response_is_on_its_way(world: World, variant) -> None:
    peer = listening(world, variant)
    change(world, "rds", "a", "bad")
    first = peer.one()
    peer.now += 1
    change(world, "rds", "a", "mended")
    second = peer.one()
    assert not peer.nack(first, "bad", "a", "b", "c").verdict.newest
    assert peer.flush() == []
    peer.ack(second, "a", "b", "c")
    assert peer.flush() == []
    assert peer.sub("rds").rejected == {}


@both
def test_what_was_never_answered_is_not_taken_for_good(world: World, variant) -> None:
    peer = listening(world, variant)
    change(world, "rds", "a", "unanswered")
    peer.one()
    peer.now += 1
    change(world, "rds", "a", "bad")
    peer.nack(peer.one(), "bad", "a", "b", "c")
    assert peer.one().bodies == {"a": "1"}


@both
def test_a_rejected_replacement_is_not_replaced_again(world: World, variant) -> None:
    peer = listening(world, variant)
    change(world, "rds", "a", "bad")
    peer.nack(peer.one(), "bad", "a", "b", "c")
    replacement = peer.one()
    assert peer.nack(replacement, "this too", "a", "b", "c").verdict.blamed == ()
    assert peer.flush() == []
    assert peer.sub("rds").error == "this too"


@both
def test_a_resource_that_went_back_to_the_rejected_bytes_is_tried_again(world: World, variant) -> None:
    peer = listening(world, variant)
    change(world, "rds", "a", "bad")
    peer.nack(peer.one(), "bad", "a", "b", "c")
    peer.flush(ack=True)
    change(world, "rds", "a", "mended")
    mended = peer.one()
    change(world, "rds", "a", "bad")
    peer.ack(mended, "a", "b", "c")
    assert peer.one().bodies == {"a": "bad"}


def test_delta_a_new_resource_that_is_rejected_is_left_out(world: World) -> None:
    peer = listening(world, DELTA)
    world.put("lds", "d", "bad")
    peer.nack(peer.one(), named("lds", "d"))
    assert peer.flush() == []
    change(world, "lds", "a", "2")
    assert peer.one().bodies == {"a": "2"}


def test_sotw_a_new_resource_that_is_rejected_is_left_out(world: World) -> None:
    peer = listening(world, SOTW)
    world.put("lds", "d", "bad")
    peer.nack(peer.one(), named("lds", "d"))
    assert peer.one().bodies == {"a": "1", "b": "1", "c": "1"}


def test_sotw_after_a_reconnect_a_rejected_listener_is_not_left_out(world: World) -> None:
    # Leaving it out would delete the version that the client has from an earlier stream.
    peer = Peer(world, SOTW)
    peer.ask("lds", version="of-an-earlier-stream")
    peer.nack(peer.one(), named("lds", "a"))
    assert peer.flush() == []
    change(world, "lds", "b", "2")
    again = peer.one()
    assert again.bodies == {"a": "1", "b": "2", "c": "1"}
    # The same offender again says nothing about the others.
    assert peer.nack(again, named("lds", "a")).verdict.blamed == ()
    assert peer.flush() == []


@both
def test_a_rejected_resource_that_is_deleted_is_forgotten(world: World, variant) -> None:
    peer = listening(world, variant)
    change(world, "lds", "a", "bad")
    peer.nack(peer.one(), named("lds", "a"))
    peer.flush(ack=True)
    world.drop("lds", "a")
    response = peer.one()
    assert "a" not in response.bodies
    assert response.removed == (("a",) if variant is DELTA else ())
    peer.ack(response)
    world.put("lds", "a", "anew")
    assert peer.one().bodies["a"] == "anew"


def test_sotw_what_cannot_be_taken_apart_is_tried_again_with_the_next_change(world: World) -> None:
    peer = Peer(world, SOTW)
    peer.ask("lds", version="of-an-earlier-stream")
    peer.nack(peer.one(), "constraint violation somewhere")
    assert peer.flush() == []
    assert peer.sub("lds").rejected == {}
    change(world, "lds", "a", "2")
    assert peer.one().bodies == {"a": "2", "b": "1", "c": "1"}


def test_delta_a_rejected_resource_without_a_good_version_does_not_exist(world: World) -> None:
    peer = Peer(world, DELTA)
    peer.ask("rds", "a")
    peer.nack(peer.one(), "bad")
    peer.ask("rds", "a", "b")
    response = peer.one()
    assert (response.bodies, response.removed) == ({"b": "1"}, ("a",))


@both
def test_rejected_bytes_are_not_echoed(world: World, variant) -> None:
    peer = listening(world, variant)
    change(world, "rds", "a", "bad")
    peer.nack(peer.one(), "bad", "a", "b", "c")
    peer.flush(ack=True)
    world.put("lds", "a", "2", ["a", "b"])
    assert [response.bodies for response in peer.flush() if response.short == "rds"] == [{"a": "1", "b": "1"}]


@both
def test_an_error_text_is_kept_in_bounds(world: World, variant) -> None:
    peer = listening(world, variant)
    change(world, "rds", "a", "bad")
    verdict = peer.nack(peer.one(), "x" * 1_000_000, "a", "b", "c").verdict
    assert len(verdict.error) == 2000


@both
def test_an_error_without_a_text_is_an_error(world: World, variant) -> None:
    peer = listening(world, variant)
    change(world, "rds", "a", "bad")
    assert peer.nack(peer.one(), "", "a", "b", "c").verdict.error == "status 3 without a message"


NAMES = {"outbound|80||a.b", "outbound|8080||a.b", "inbound|9080||", "0.0.0.0_80", "80"}


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (
            "Error adding/updating cluster(s) outbound|80||a.b: eds cluster type requires",
            {"outbound|80||a.b"},
        ),
        (
            "Error adding/updating cluster(s) inbound|9080||: x, outbound|8080||a.b: y",
            {"inbound|9080||", "outbound|8080||a.b"},
        ),
        (
            "Error adding/updating listener(s) 0.0.0.0_80: error adding listener '0.0.0.0_80'\n",
            {"0.0.0.0_80"},
        ),
        ("missing ]: [ near 80", set()),
        ("Proto constraint validation failed (name: 0.0.0.0_80)", set()),
        ("Error adding/updating listener(s) unheard_of: x", set()),
    ],
)
def test_offenders_are_read_only_where_envoy_names_them(error: str, found: set[str]) -> None:
    assert offenders(error, NAMES) == found


@both
def test_a_rejection_that_repeats_a_key_is_not_repeated(variant) -> None:
    world = World()
    world.put("sds", "default", "good")
    peer = Peer(world, variant)
    peer.start(("sds", "default"))
    world.put("sds", "default", "bad")
    text = 'Proto constraint validation failed: inline_bytes: "-----BEGIN EC PRIVATE KEY-----\\nMHcC"'
    verdict = peer.nack(peer.one(), text, "default").verdict
    assert verdict is not None and "MHcC" not in f"{verdict}"
    (again,) = peer.flush()
    assert again.bodies == {"default": "good"}
    assert "MHcC" not in peer.sub("sds").error
