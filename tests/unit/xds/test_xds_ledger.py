"""The shared past of a feed: exact, and no longer than somebody needs it."""

from __future__ import annotations

from controlplane.graph import Failure
from controlplane.xds.feed import UNSETTLED
from controlplane.xds.layers import Ledgers
from controlplane.xds.ledger import Ledger
from tests.unit.xds.world import FakeFeed, World, resource


def ledger_of(world: World, **more) -> Ledger:
    ledger = Ledger(world.feed("cds"), **more)
    ledger.refresh()
    return ledger


def brief(ledger: Ledger, point) -> list[tuple[str, bytes | None, bytes | None]]:
    return [
        (change.name, change.old and change.old.body, change.new and change.new.body)
        for change in ledger.changes(point)
    ]


def test_changes_have_the_former_and_the_present_value() -> None:
    world = World()
    world.put("cds", "a", "1")
    world.put("cds", "b", "1")
    ledger = ledger_of(world)
    point = ledger.hold(ledger.head)
    world.commit(
        [("cds", "a", resource("cds", "a", "2")), ("cds", "b", None), ("cds", "c", resource("cds", "c", "1"))]
    )
    ledger.refresh()
    assert brief(ledger, point) == [
        ("a", b"a=1>", b"a=2>"),
        ("b", b"b=1>", None),
        ("c", None, b"c=1>"),
    ]


def test_the_value_at_a_checkpoint_is_the_one_of_that_time() -> None:
    world = World()
    world.put("cds", "a", "1")
    ledger = ledger_of(world)
    points = []
    for content in "234":
        points.append(ledger.hold(ledger.head))
        world.put("cds", "a", content)
        ledger.refresh()
    assert [brief(ledger, point)[0][1] for point in points] == [b"a=1>", b"a=2>", b"a=3>"]
    assert [ledger.at(point)["a"].body for point in points] == [b"a=1>", b"a=2>", b"a=3>"]


def test_what_went_back_is_no_change() -> None:
    world = World()
    world.put("cds", "a", "1")
    ledger = ledger_of(world)
    point = ledger.hold(ledger.head)
    world.put("cds", "a", "2")
    ledger.refresh()
    world.put("cds", "a", "1")
    ledger.refresh()
    assert ledger.changes(point) == ()


def test_an_equal_rewrite_is_no_change_at_all() -> None:
    world = World()
    world.put("cds", "a", "1")
    ledger = ledger_of(world)
    head = ledger.head
    world.put("cds", "a", "1")
    ledger.refresh()
    assert ledger.head is head
    assert ledger.revision == world.revision


def test_the_past_is_forgotten_when_nobody_needs_it() -> None:
    world = World()
    ledger = ledger_of(world)
    for number in range(50):
        world.put("cds", "a", str(number))
        ledger.refresh()
    assert ledger.depth == 0


def test_a_slow_reader_keeps_one_former_value_per_name() -> None:
    world = World()
    world.put("cds", "a", "0")
    ledger = ledger_of(world)
    slow = ledger.hold(ledger.head)
    fast = ledger.hold(ledger.head)
    for number in range(1, 50):
        world.put("cds", "a", str(number))
        ledger.refresh()
        ledger.hold(ledger.head)
        ledger.release(fast)
        fast = ledger.head
    assert ledger.depth == 1
    assert brief(ledger, slow) == [("a", b"a=0>", b"a=49>")]
    assert slow.before == {"a": resource("cds", "a", "0")}
    ledger.release(slow)
    assert ledger.depth == 0


def test_a_reader_in_the_middle_leaves_the_others_exact() -> None:
    world = World()
    world.put("cds", "a", "1")
    ledger = ledger_of(world)
    first = ledger.hold(ledger.head)
    world.put("cds", "b", "1")
    ledger.refresh()
    second = ledger.hold(ledger.head)
    world.put("cds", "a", "2")
    ledger.refresh()
    third = ledger.hold(ledger.head)
    world.put("cds", "b", "2")
    ledger.refresh()
    ledger.release(second)
    assert brief(ledger, first) == [("a", b"a=1>", b"a=2>"), ("b", None, b"b=2>")]
    assert brief(ledger, third) == [("b", b"b=1>", b"b=2>")]


def test_a_diverging_client_has_its_own_past() -> None:
    world = World()
    world.put("cds", "a", "1")
    world.put("cds", "b", "1")
    ledger = ledger_of(world)
    point = ledger.diverge({"a": None, "gone": resource("cds", "gone", "1")})
    world.put("cds", "b", "2")
    ledger.refresh()
    assert brief(ledger, point) == [
        ("a", None, b"a=1>"),
        ("b", b"b=1>", b"b=2>"),
        ("gone", b"gone=1>", None),
    ]
    ledger.release(point)
    assert ledger.depth == 0


def test_a_feed_without_history_is_compared_in_full() -> None:
    world = World(keep=0)
    world.put("cds", "a", "1")
    world.put("cds", "b", "1")
    ledger = ledger_of(world)
    point = ledger.hold(ledger.head)
    world.put("cds", "a", "2")
    world.drop("cds", "b")
    world.put("cds", "c", "1")
    ledger.refresh()
    assert [change.name for change in ledger.changes(point)] == ["a", "b", "c"]
    assert ledger.names() == ("a", "c")


def test_an_unsettled_feed_is_not_read() -> None:
    feed = FakeFeed(revision=UNSETTLED)
    feed.content["a"] = resource("cds", "a", "1")
    ledger = Ledger(feed)
    assert not ledger.refresh()
    assert ledger.names() == ()
    feed.revision = 3
    ledger.refresh()
    assert ledger.names() == ("a",)


def test_a_query_that_fails_keeps_the_last_good_resource() -> None:
    world = World()
    world.put("cds", "a", "1")
    ledger = ledger_of(world)
    world.feed("cds").failing["a"] = Failure("cluster(a)", ValueError("ours"))
    world.put("cds", "a", "2")
    ledger.refresh()
    assert ledger.get("a").body == b"a=1>"
    world.feed("cds").failing.clear()
    world.put("cds", "a", "3")
    ledger.refresh()
    assert ledger.get("a").body == b"a=3>"


def test_a_stand_in_is_served_to_everybody_and_can_be_withdrawn() -> None:
    world = World()
    world.put("cds", "a", "poison")
    world.put("cds", "b", "1")
    quarantined = {"a": resource("cds", "a", "good"), "b": None}
    ledger = ledger_of(world, stand_in=lambda found: quarantined.get(found.name, found))
    assert ledger.get("a").body == b"a=good>"
    assert ledger.names() == ("a",)
    point = ledger.hold(ledger.head)
    quarantined.clear()
    ledger.reconsider(["a", "b"])
    assert brief(ledger, point) == [("a", b"a=good>", b"a=poison>"), ("b", None, b"b=1>")]


def test_ledgers_are_shared_by_feed_and_closed_with_the_last_reader() -> None:
    world = World()
    ledgers = Ledgers()
    one, two = ledgers.open(world.feed("cds")), ledgers.open(world.feed("cds"))
    other = ledgers.open(world.feed("eds"))
    assert one is two is not other
    ledgers.close(one)
    assert ledgers.open(world.feed("cds")) is two
    ledgers.close(two)
    ledgers.close(two)
    ledgers.close(other)
    assert len(ledgers) == 0
