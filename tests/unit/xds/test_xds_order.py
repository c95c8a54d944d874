"""Which response comes when: order, echoes, one in flight, make before break."""

from __future__ import annotations

import pytest

from controlplane.envoy import pb
from tests.unit.xds.world import DELTA, SOTW, Peer, Response, World, resource

both = pytest.mark.parametrize("variant", [SOTW, DELTA], ids=["sotw", "delta"])


@pytest.fixture
def world() -> World:
    """Cluster a with endpoints, a listener with a route."""
    world = World()
    world.commit(
        [
            ("cds", "a", resource("cds", "a", "1", ["a"])),
            ("eds", "a", resource("eds", "a", "1")),
            ("lds", "l", resource("lds", "l", "1", ["r"])),
            ("rds", "r", resource("rds", "r", "1")),
        ]
    )
    return world


def connected(world: World, variant=DELTA) -> Peer:
    """A peer that has all of `world`, and asked for endpoints of b too."""
    peer = Peer(world, variant)
    peer.start(("cds",), ("eds", "a", "b"), ("lds",), ("rds", "r"))
    assert peer.flush() == []
    return peer


def shorts(responses: list[Response]) -> list[str]:
    return [response.short for response in responses]


# -- order and echoes -------------------------------------------------------------------------------


@both
def test_one_flush_goes_from_clusters_to_routes(world: World, variant) -> None:
    peer = connected(world, variant)
    world.commit(
        (short, name, resource(short, name, "2"))
        for short, name in [("rds", "r"), ("lds", "l"), ("eds", "a"), ("cds", "a")]
    )
    assert shorts(peer.flush(ack=True)) == ["cds", "eds", "lds", "rds"]


@both
def test_a_changed_cluster_gets_its_endpoints_again(world: World, variant) -> None:
    peer = connected(world, variant)
    world.put("cds", "a", "2", ["a"])
    clusters, endpoints = peer.flush()
    assert (endpoints.short, endpoints.bodies) == ("eds", {"a": "1"})
    assert (clusters.push.plan.echoes, endpoints.push.plan.echoes) == (0, 1)


@both
def test_a_changed_listener_gets_its_routes_again(world: World, variant) -> None:
    peer = connected(world, variant)
    world.put("lds", "l", "2", ["r"])
    assert shorts(peer.flush()) == ["lds", "rds"]


@both
def test_changed_endpoints_of_a_changed_cluster_are_no_echo(world: World, variant) -> None:
    peer = connected(world, variant)
    world.commit([("cds", "a", resource("cds", "a", "2", ["a"])), ("eds", "a", resource("eds", "a", "2"))])
    _, endpoints = peer.flush()
    assert endpoints.bodies == {"a": "2"}
    assert endpoints.push.plan.echoes == 0


@both
def test_unchanged_clusters_are_not_echoed(world: World, variant) -> None:
    world.commit([("cds", "b", resource("cds", "b", "1", ["b"])), ("eds", "b", resource("eds", "b", "1"))])
    peer = connected(world, variant)
    world.put("cds", "b", "2", ["b"])
    _, endpoints = peer.flush()
    assert endpoints.names == ["b"]


@both
def test_endpoints_that_nobody_asked_for_are_not_echoed(world: World, variant) -> None:
    peer = connected(world, variant)
    world.commit([("cds", "c", resource("cds", "c", "1", ["c"])), ("eds", "c", resource("eds", "c", "1"))])
    assert shorts(peer.flush()) == ["cds"]


@both
def test_echoes_that_have_to_wait_add_up(world: World, variant) -> None:
    world.commit([("cds", "b", resource("cds", "b", "1", ["b"])), ("eds", "b", resource("eds", "b", "1"))])
    peer = connected(world, variant)
    world.put("eds", "a", "2")
    (endpoints,) = peer.flush()
    for name in "ab":
        world.put("cds", name, "2", [name])
        (clusters,) = peer.flush()
        peer.ack(clusters)
    peer.ack(endpoints, "a", "b")
    assert peer.one().bodies == {"a": "2", "b": "1"}


@both
def test_endpoints_do_not_wait_for_the_clusters_ack(world: World, variant) -> None:
    peer = connected(world, variant)
    world.commit([("cds", "b", resource("cds", "b", "1", ["b"])), ("eds", "b", resource("eds", "b", "1"))])
    assert shorts(peer.flush()) == ["cds", "eds"]


# -- one in flight, latest wins ---------------------------------------------------------------------


@both
def test_one_response_of_a_type_is_in_flight(world: World, variant) -> None:
    peer = connected(world, variant)
    world.put("eds", "a", "2")
    (first,) = peer.flush()
    world.put("eds", "a", "3")
    assert peer.flush() == []
    peer.ack(first, "a", "b")
    assert peer.one().bodies == {"a": "3"}


@both
def test_what_came_in_between_is_skipped(world: World, variant) -> None:
    peer = connected(world, variant)
    world.put("eds", "a", "2")
    (first,) = peer.flush()
    for content in ("3", "4", "5"):
        world.put("eds", "a", content)
    peer.ack(first, "a", "b")
    assert [response.bodies for response in peer.flush(ack=True)] == [{"a": "5"}]


@both
def test_a_change_and_its_reversal_in_between_send_nothing(world: World, variant) -> None:
    peer = connected(world, variant)
    world.put("eds", "a", "2")
    (first,) = peer.flush()
    world.put("eds", "a", "3")
    world.put("eds", "a", "2")
    peer.ack(first, "a", "b")
    assert peer.flush() == []


@both
def test_other_types_go_on_while_one_waits(world: World, variant) -> None:
    peer = connected(world, variant)
    world.put("eds", "a", "2")
    peer.flush()
    world.put("rds", "r", "2")
    assert shorts(peer.flush()) == ["rds"]


@both
def test_after_the_ack_deadline_newer_state_goes_out(world: World, variant) -> None:
    peer = connected(world, variant)
    world.put("eds", "a", "2")
    peer.flush()
    world.put("eds", "a", "3")
    assert peer.flush() == []
    assert peer.session.deadline(peer.now) == pytest.approx(peer.now + 1.0)
    peer.now += 1.0
    assert peer.one().bodies == {"a": "3"}


@both
def test_after_the_ack_deadline_nothing_is_sent_twice(world: World, variant) -> None:
    peer = connected(world, variant)
    world.put("eds", "a", "2")
    peer.flush()
    peer.now += 100
    assert peer.flush() == []
    assert peer.session.deadline(peer.now) is None


@both
def test_the_ack_deadline_runs_from_the_end_of_the_write(world: World, variant) -> None:
    peer = connected(world, variant)
    world.put("eds", "a", "2")
    push, _ = peer.session.next(peer.now)
    peer.now += 30
    peer.session.written(push, peer.now)
    world.put("eds", "a", "3")
    assert peer.flush() == []


@both
def test_a_late_ack_of_an_older_response_counts_for_it(world: World, variant) -> None:
    peer = connected(world, variant)
    world.put("eds", "a", "2")
    (first,) = peer.flush()
    peer.now += 1
    world.put("eds", "a", "3")
    (second,) = peer.flush()
    verdict = peer.ack(first, "a", "b").verdict
    assert not verdict.newest
    assert verdict.push is first.push
    assert peer.ack(second, "a", "b").verdict.newest


def test_a_client_that_never_answers_costs_a_bounded_memory(world: World) -> None:
    peer = connected(world)
    for number in range(100):
        world.put("eds", "a", f"n{number}")
        peer.now += 1
        assert peer.one() is not None
    assert len(peer.sub("eds").pending) <= 8


# -- make -------------------------------------------------------------------------------------------


@both
def test_routes_wait_until_new_clusters_are_acknowledged(world: World, variant) -> None:
    peer = connected(world, variant)
    world.commit([("cds", "b", resource("cds", "b", "1", ["b"])), ("rds", "r", resource("rds", "r", "to b"))])
    (clusters,) = peer.flush()
    assert clusters.short == "cds"
    peer.ack(clusters)
    assert shorts(peer.flush()) == ["rds"]


@both
def test_routes_do_not_wait_for_changed_clusters(world: World, variant) -> None:
    peer = connected(world, variant)
    world.commit([("cds", "a", resource("cds", "a", "2", ["a"])), ("rds", "r", resource("rds", "r", "2"))])
    assert shorts(peer.flush()) == ["cds", "eds", "rds"]


@both
def test_routes_wait_for_new_clusters_that_cannot_be_sent_yet(world: World, variant) -> None:
    peer = connected(world, variant)
    world.put("cds", "a", "2")
    (first,) = peer.flush()
    world.commit([("cds", "b", resource("cds", "b", "1")), ("rds", "r", resource("rds", "r", "to b"))])
    assert peer.flush() == []
    peer.ack(first)
    assert shorts(peer.flush(ack=True)) == ["cds", "rds"]


@both
def test_routes_wait_no_longer_than_the_ack_deadline(world: World, variant) -> None:
    peer = connected(world, variant)
    world.commit([("cds", "b", resource("cds", "b", "1")), ("rds", "r", resource("rds", "r", "to b"))])
    assert shorts(peer.flush()) == ["cds"]
    assert peer.session.deadline(peer.now) == pytest.approx(peer.now + 1.0)
    peer.now += 1.0
    assert shorts(peer.flush()) == ["rds"]


@both
def test_routes_are_not_starved_by_ever_new_clusters(world: World, variant) -> None:
    peer = connected(world, variant)
    sent = []
    for number in range(12):
        world.commit(
            [
                ("cds", f"n{number}", resource("cds", f"n{number}", "1")),
                ("rds", "r", resource("rds", "r", f"{number}")),
            ]
        )
        sent += shorts(peer.flush())
        peer.now += 0.5
    assert sent.count("rds") >= 3


# -- break ------------------------------------------------------------------------------------------


def gone(world: World) -> None:
    """The route leaves cluster a, and the cluster goes, in one revision."""
    world.commit([("cds", "a", None), ("eds", "a", None), ("rds", "r", resource("rds", "r", "away"))])


def test_delta_a_cluster_is_removed_after_the_route_is_acknowledged(world: World) -> None:
    peer = connected(world)
    gone(world)
    (route,) = peer.flush()
    assert route.short == "rds"
    peer.ack(route)
    (clusters,) = peer.flush()
    assert (clusters.short, clusters.names, clusters.removed) == ("cds", [], ("a",))


def test_sotw_a_cluster_is_left_out_after_the_route_is_acknowledged(world: World) -> None:
    peer = connected(world, SOTW)
    gone(world)
    world.put("cds", "b", "1")
    (clusters,) = peer.flush()
    assert clusters.names == ["a", "b"]
    peer.ack(clusters)
    (route,) = peer.flush()
    peer.ack(route, "r")
    (clusters,) = peer.flush()
    assert clusters.names == ["b"]
    peer.ack(clusters)
    assert peer.flush() == []


@both
def test_a_cluster_that_no_route_change_concerns_is_removed_at_once(world: World, variant) -> None:
    world.put("cds", "b", "1")
    peer = connected(world, variant)
    world.drop("cds", "b")
    (clusters,) = peer.flush()
    assert clusters.short == "cds"
    assert clusters.removed == (("b",) if variant is DELTA else ())
    assert peer.flush() == []


@both
def test_a_cluster_is_removed_at_the_latest_at_the_deadline(world: World, variant) -> None:
    peer = connected(world, variant)
    gone(world)
    assert shorts(peer.flush()) == ["rds"]
    assert peer.session.deadline(peer.now) == pytest.approx(peer.now + 10.0)
    peer.now += 10.0
    assert shorts(peer.flush()) == ["cds"]


@both
def test_a_cluster_stays_while_a_rejected_route_may_use_it(world: World, variant) -> None:
    peer = connected(world, variant)
    gone(world)
    (route,) = peer.flush()
    peer.nack(route, "bad regex", "r")
    peer.flush(ack=True)
    peer.now += 100
    assert peer.flush() == []
    world.put("rds", "r", "good again")
    assert shorts(peer.flush(ack=True)) == ["rds", "cds"]


@both
def test_a_cluster_that_comes_back_unchanged_was_never_gone(world: World, variant) -> None:
    peer = connected(world, variant)
    gone(world)
    (route,) = peer.flush()
    world.commit([("cds", "a", resource("cds", "a", "1", ["a"])), ("eds", "a", resource("eds", "a", "1"))])
    peer.ack(route, "r")
    assert "cds" not in shorts(peer.flush(ack=True))


def test_delta_a_cluster_that_comes_back_changed_is_sent(world: World) -> None:
    peer = connected(world)
    gone(world)
    peer.flush()
    world.put("cds", "a", "2", ["a"])
    clusters = peer.one()
    assert (clusters.bodies, clusters.removed) == ({"a": "2"}, ())


def test_delta_a_client_without_routes_loses_clusters_at_once(world: World) -> None:
    peer = Peer(world)
    peer.start(("cds",))
    world.drop("cds", "a")
    assert peer.one().removed == ("a",)


def test_delta_after_a_reconnect_gone_clusters_wait_for_the_routes(world: World) -> None:
    peer = Peer(world)
    peer.ask("cds", known={"a": "old", "gone": "1234"})
    (clusters,) = peer.flush()
    assert (clusters.names, clusters.removed) == (["a"], ())
    peer.ack(clusters)
    peer.ask("lds", known={"l": world.feed("lds").content["l"].version})
    assert [response.removed for response in peer.flush(ack=True)] == [()]
    peer.ask("rds", "r")
    assert [(one.short, one.removed) for one in peer.flush(ack=True)] == [("rds", ()), ("cds", ("gone",))]


@both
def test_a_listener_is_removed_at_once(world: World, variant) -> None:
    peer = connected(world, variant)
    world.drop("lds", "l")
    (listeners,) = peer.flush()
    assert (listeners.short, listeners.names) == ("lds", [])
    assert listeners.removed == (("l",) if variant is DELTA else ())


@both
def test_endpoints_of_a_living_cluster_become_empty(world: World, variant) -> None:
    peer = connected(world, variant)
    world.drop("eds", "a")
    push, _ = peer.session.next(peer.now)
    (empty,) = push.plan.upserts
    assert empty.name == "a"
    assert pb.endpoint.ClusterLoadAssignment.FromString(empty.body) == pb.endpoint.ClusterLoadAssignment(
        cluster_name="a"
    )
    assert push.plan.removed == ()
    peer.now += 100
    assert peer.flush() == []


@both
def test_emptied_endpoints_are_echoed_when_their_cluster_changes(world: World, variant) -> None:
    peer = connected(world, variant)
    world.drop("eds", "a")
    peer.session.next(peer.now)
    peer.now += 5
    world.put("cds", "a", "2", ["a"])
    sent = [push.spec.short for push, _ in iter(lambda: peer.session.next(peer.now), None)]
    assert sent == ["cds", "eds"]


def test_delta_endpoints_are_not_removed_before_their_cluster(world: World) -> None:
    peer = connected(world)
    gone(world)
    responses = peer.flush(ack=True)
    assert shorts(responses) == ["rds", "cds"]
    # Envoy unsubscribes now; a client that does not is told after a while.
    peer.now += 10
    (endpoints,) = peer.flush()
    assert (endpoints.short, endpoints.removed) == ("eds", ("a",))


def test_delta_endpoints_unsubscribed_from_are_not_mentioned(world: World) -> None:
    peer = connected(world)
    gone(world)
    peer.flush(ack=True)
    peer.ask("eds", unsubscribe=["a"])
    peer.now += 100
    assert peer.flush() == []


@both
def test_secrets_are_never_removed(world: World, variant) -> None:
    world.put("sds", "default", "key")
    peer = Peer(world, variant)
    peer.start(("sds", "default"))
    world.drop("sds", "default")
    peer.now += 100
    assert peer.flush() == []


# -- a proxy moves to another scope -----------------------------------------------------------------


@both
def test_another_feed_sends_the_difference(world: World, variant) -> None:
    world.commit([("eds", "b", resource("eds", "b", "1"))])
    peer = connected(world, variant)
    other = World()
    other.commit(
        [
            ("cds", "a", resource("cds", "a", "1", ["a"])),
            ("eds", "a", resource("eds", "a", "1")),
            ("eds", "b", resource("eds", "b", "elsewhere")),
            ("lds", "l", resource("lds", "l", "1", ["r"])),
            ("rds", "r", resource("rds", "r", "2")),
        ]
    )
    peer.session.rebind(other.feeds)
    assert [response.bodies for response in peer.flush(ack=True)] == [{"b": "elsewhere"}, {"r": "2"}]
    assert len(peer.ledgers) == 4
    peer.session.close()
    assert len(peer.ledgers) == 0


def test_another_feed_takes_what_it_does_not_have(world: World) -> None:
    peer = connected(world)
    other = World()
    other.put("lds", "l", "1", ["r"])
    peer.session.rebind(other.feeds)
    assert [(one.short, one.removed) for one in peer.flush(ack=True)] == [("cds", ("a",))]


def test_passing_through_a_feed_that_was_never_ready_loses_nothing(world: World) -> None:
    peer = connected(world)
    between, other = World(), World()
    other.put("lds", "l", "1", ["r"])
    world.unsettle()
    peer.session.rebind(between.feeds)
    assert peer.flush() == []
    peer.session.rebind(other.feeds)
    world.settle()
    # It was never told that the cluster is gone, so it must be now.
    assert [(one.short, one.removed) for one in peer.flush(ack=True)] == [("cds", ("a",))]
