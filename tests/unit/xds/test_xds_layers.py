"""Unions of feeds: what the parts know is shared, and nobody can tell that there are parts."""

from __future__ import annotations

import pytest

from controlplane.envoy.types import BY_SHORT
from controlplane.xds.difference import plan
from controlplane.xds.feed import Union
from controlplane.xds.layers import Joint, Layers, Ledgers
from controlplane.xds.ledger import Ledger
from controlplane.xds.names import NOBODY, Interest, intern_names
from controlplane.xds.plan import Ask
from controlplane.xds.variant import Variant
from tests.unit.xds.world import FakeFeed, resource

CDS = BY_SHORT["cds"]
EVERYTHING = Interest(True, NOBODY)


class Parts(Union):
    """A union of feeds that are given."""

    def __init__(self, *parts: FakeFeed) -> None:
        self.parts_given = parts

    @property
    def parts(self):
        return self.parts_given

    @property
    def revision(self) -> int:
        return max(part.revision for part in self.parts_given)

    def since(self, revision: int):
        raise AssertionError("the parts are asked")

    get = names = since


def put(feed: FakeFeed, **contents: str | None) -> None:
    """One revision of a feed; None removes."""
    feed.revision += 1
    for name, content in contents.items():
        if content is None:
            del feed.content[name]
        else:
            feed.content[name] = resource("cds", name, content)
        feed.log.append((feed.revision, name))


class Mesh:
    """What all see, and what one and two see beside it."""

    def __init__(self) -> None:
        self.common, self.own, self.other = FakeFeed(), FakeFeed(), FakeFeed()
        put(self.common, a="1", b="1")
        put(self.own, mine="1")
        put(self.other, theirs="1")
        self.ledgers = Ledgers()
        self.feeds = Parts(self.common, self.own), Parts(self.common, self.other)
        self.one, self.two = map(self.ledgers.open, self.feeds)
        assert isinstance(self.one, Layers)
        assert isinstance(self.two, Layers)
        self.one.refresh()
        self.two.refresh()


@pytest.fixture
def mesh() -> Mesh:
    return Mesh()


def brief(ledger: Layers, point) -> list[tuple[str, str, str]]:
    return [(change.name, _content(change.old), _content(change.new)) for change in ledger.changes(point)]


def _content(one) -> str:
    return "" if one is None else one.body.decode().partition("=")[2].rstrip(">")


def ask(since, owed=NOBODY, interest=EVERYTHING) -> Ask:
    return Ask(Variant.DELTA, since, interest, owed, NOBODY, NOBODY)


def test_a_union_shows_all_its_parts(mesh: Mesh) -> None:
    assert mesh.one.names() == ("a", "b", "mine")
    assert mesh.two.names() == ("a", "b", "theirs")
    assert mesh.one.get("theirs") is None
    assert mesh.one.get("a") is mesh.two.get("a")


def test_a_part_is_read_once_for_all_unions(mesh: Mesh) -> None:
    asked = []
    get = mesh.common.get
    mesh.common.get = lambda name: asked.append(name) or get(name)
    put(mesh.common, a="2")
    mesh.one.refresh()
    mesh.two.refresh()
    assert asked == ["a"]
    assert _content(mesh.two.get("a")) == "2"


def test_changes_of_all_parts_come_by_name(mesh: Mesh) -> None:
    point = mesh.one.hold(mesh.one.head)
    put(mesh.common, a=None, c="1")
    put(mesh.own, mine="2")
    mesh.one.refresh()
    assert brief(mesh.one, point) == [("a", "1", ""), ("c", "", "1"), ("mine", "1", "2")]


def test_a_resource_that_moves_to_another_part_was_never_away(mesh: Mesh) -> None:
    point = mesh.one.hold(mesh.one.head)
    put(mesh.common, a=None)
    put(mesh.own, a="2")
    mesh.one.refresh()
    assert brief(mesh.one, point) == [("a", "1", "2")]
    back = mesh.one.hold(mesh.one.head)
    put(mesh.own, a=None)
    put(mesh.common, a="2")
    mesh.one.refresh()
    assert brief(mesh.one, back) == []


def test_the_head_is_the_newest_even_when_another_union_looked_first(mesh: Mesh) -> None:
    before = mesh.one.head
    put(mesh.common, a="2")
    mesh.two.refresh()
    assert mesh.one.head is not before
    assert mesh.one.head.parts[0] is mesh.two.head.parts[0]


def test_a_union_that_did_not_change_keeps_its_head(mesh: Mesh) -> None:
    before = mesh.two.head
    put(mesh.own, mine="2")
    mesh.one.refresh()
    mesh.two.refresh()
    assert mesh.two.head is before


def test_the_past_is_kept_as_long_as_somebody_is_there(mesh: Mesh) -> None:
    points = [mesh.one.hold(mesh.one.head), mesh.two.hold(mesh.two.head)]
    put(mesh.common, a="2")
    mesh.one.refresh()
    mesh.two.refresh()
    assert mesh.one.depth == mesh.two.depth == 1
    mesh.one.release(points[0])
    assert mesh.one.depth == 1
    mesh.two.release(points[1])
    assert mesh.one.depth == 0


def test_a_client_that_differs_is_brought_to_now(mesh: Mesh) -> None:
    older = resource("cds", "a", "0")
    point = mesh.one.diverge({"a": older, "gone": older})
    assert [(name, old) for name, old, _ in brief(mesh.one, point)] == [("a", "0"), ("gone", "0")]
    put(mesh.common, b="2")
    mesh.one.refresh()
    assert brief(mesh.one, point) == [("a", "0", "1"), ("b", "1", "2"), ("gone", "0", "")]
    assert mesh.one.at(point) == {
        "a": older,
        "gone": older,
        "b": resource("cds", "b", "1"),
        "mine": mesh.own.content["mine"],
    }
    mesh.one.release(point)
    assert mesh.one.depth == 0


def test_what_changes_in_a_shared_part_is_one_response_for_all(mesh: Mesh) -> None:
    points = [mesh.one.hold(mesh.one.head), mesh.two.hold(mesh.two.head)]
    put(mesh.common, a="2")
    for ledger in (mesh.one, mesh.two):
        ledger.refresh()
    first, second = plan(mesh.one, CDS, ask(points[0])), plan(mesh.two, CDS, ask(points[1]))
    assert first is second
    assert [one.name for one in first.upserts] == ["a"]


def test_what_changes_in_several_parts_is_one_response(mesh: Mesh) -> None:
    point = mesh.one.hold(mesh.one.head)
    put(mesh.common, a="2")
    put(mesh.own, mine="2")
    mesh.one.refresh()
    assert [one.name for one in plan(mesh.one, CDS, ask(point)).upserts] == ["a", "mine"]


def test_what_is_owed_from_another_part_than_what_changed_is_in_the_same_response(mesh: Mesh) -> None:
    point = mesh.one.hold(mesh.one.head)
    put(mesh.common, a="2")
    mesh.one.refresh()
    owed = intern_names(["mine", "nowhere"])
    made = plan(mesh.one, CDS, ask(point, owed))
    assert [one.name for one in made.upserts] == ["a", "mine"]
    assert made.removed == ("nowhere",)


def test_newcomers_share_what_their_parts_have_to_say(mesh: Mesh) -> None:
    first, second = plan(mesh.one, CDS, ask(None)), plan(mesh.two, CDS, ask(None))
    assert [one.name for one in first.upserts] == ["a", "b", "mine"]
    assert [change.name for change in first.news] == ["a", "b", "mine"]
    assert first.pieces[0] is second.pieces[0]
    assert first.version != second.version
    assert b"".join(first.frames()) == b"".join(one.delta_frame for one in first.upserts)


def test_a_union_nobody_reads_lets_its_parts_go(mesh: Mesh) -> None:
    assert len(mesh.ledgers) == 5
    mesh.ledgers.close(mesh.one)
    assert len(mesh.ledgers) == 3
    mesh.ledgers.close(mesh.two)
    assert len(mesh.ledgers) == 0


def test_a_joint_moment_is_held_once_whoever_reads_it(mesh: Mesh) -> None:
    head = mesh.one.head
    assert isinstance(head, Joint)
    mesh.one.hold(head)
    mesh.one.hold(head)
    part = mesh.one.layers[0]
    assert isinstance(part, Ledger)
    assert part.head.readers == 1
    mesh.one.release(head)
    mesh.one.release(head)
    assert part.head.readers == 0


def test_a_name_that_moved_was_where_it_was_although_only_its_new_part_is_up_to_date(mesh: Mesh) -> None:
    point = mesh.one.hold(mesh.one.head)
    put(mesh.own, mine=None)
    put(mesh.common, mine="2")
    # The other union's reader came first, and brought up to date what the two share.
    mesh.two.refresh()
    assert {name: _content(found) for name, found in mesh.one.at(point).items()}["mine"] == "1"
    mesh.one.refresh()
    assert brief(mesh.one, point) == [("mine", "1", "2")]
