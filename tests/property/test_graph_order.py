"""Maps that read each other in an order which changes all the time, and now and then in a circle.

Each layer is a keyed map whose entries follow links to entries of other layers; links are rows, so
what reads what is decided by the input.  An allowed order of the layers is a row, too: a link that
leads upwards by it is not followed.  Turning the order round turns recorded edges round, which must
neither look like a circle nor show anybody half of a commit.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from controlplane.graph import Graph, Lease, Plan, Q, Table, each, group, keyed, query
from controlplane.graph.verify import compare_with_fresh

LAYERS = 4
NAMES = ("x", "y")


class Where(NamedTuple):
    layer: int
    name: str


class Link(NamedTuple):
    """Where an entry leads: to an entry, to all entries or to the keys of another layer."""

    to: Where
    how: str


links = Table("links", indexes={"layer": lambda key, value: (key.layer,)})
facts = Table("facts")


@query
def stamp(q: Q) -> int:
    return q.get(facts, "stamp") or 0


@query
def stamped(q: Q, name: str) -> int:
    return q(stamp)


@keyed
def stamps(q: Q) -> Plan:
    """The stamp by way of a map, so that a reader of both would see half of a commit."""
    return each(q.fixed(*NAMES), stamped)


@query
def follow(q: Q, layer: int, key: Where) -> tuple[object, ...]:
    """What the link leads to, and the stamp as it is seen from here."""
    link = q.get(links, key)
    order = q.get(facts, "order") or tuple(range(LAYERS))
    if link is None:
        return ("nothing",)
    to = link.to.layer
    if order.index(to) >= order.index(layer) and not q.get(facts, "circles"):
        return ("upwards", q(stamp))
    if link.how == "entry":
        found = q.at(layers, (to,), link.to)
    elif link.how == "values":
        found = tuple(q.values(layers, to))
    else:
        found = q.keys(q.map(layers, to))
    seen = q.at(stamps, (), link.to.name)
    if seen != q(stamp):
        HALVES.append((key, seen))
    return (link.how, seen, found)


HALVES: list[object] = []
"""Entries that have seen half of a commit."""


@keyed
def layers(q: Q, layer: int) -> Plan:
    return each(q.bucket(links, "layer", layer), follow, layer)


@query
def depth(q: Q, layer: int, key: Where) -> tuple[tuple[int, Where], ...]:
    return ((len(str(q.at(layers, (layer,), key))), key),)


@keyed
def depths(q: Q, layer: int) -> Plan:
    """Sources above a map whose rank goes up and down."""
    return group(q.map(layers, layer), depth, layer)


@query
def either(q: Q, key: str) -> tuple[object, ...]:
    """A root that reads some layers, the first by choice."""
    order = q.get(facts, "order") or tuple(range(LAYERS))
    return tuple(tuple(q.values(layers, layer)) for layer in order[:2])


WHERES = st.builds(Where, st.integers(0, LAYERS - 1), st.sampled_from(NAMES))
LINKS = st.builds(Link, WHERES, st.sampled_from(["entry", "values", "keys"]))
ORDERS = st.permutations(range(LAYERS)).map(tuple)
WRITES = (
    st.tuples(st.just(links), WHERES, st.none() | LINKS)
    | st.tuples(st.just(facts), st.just("order"), ORDERS)
    | st.tuples(st.just(facts), st.just("stamp"), st.integers(0, 3))
)
LEASES = (
    *((layers, (n,)) for n in range(LAYERS)),
    *((depths, (n,)) for n in range(LAYERS)),
    (either, ("",)),
)


class Reordered(RuleBasedStateMachine):
    """Orders without circles: everything equals from-scratch, nothing fails, nobody sees halves."""

    def __init__(self) -> None:
        super().__init__()
        self.graph = Graph()
        self.leases: dict[int, Lease] = {}
        self.settled = True
        self.ticking = itertools.count()
        HALVES.clear()

    @rule(writes=st.lists(WRITES, min_size=1, max_size=5))
    def commit(self, writes):
        self.graph.commit(writes)
        self.settled = False

    @rule(which=st.integers(0, len(LEASES) - 1))
    def lease(self, which):
        if which not in self.leases:
            what, args = LEASES[which]
            self.leases[which] = self.graph.lease(what, *args)
            self.settled = False

    @rule(which=st.integers(0, len(LEASES) - 1))
    def release(self, which):
        if which in self.leases:
            self.leases.pop(which).release()

    @rule()
    def settle(self):
        self.settled = self.graph.settle()

    @rule(budget=st.integers(1, 12))
    def settle_in_slices(self, budget):
        self.settled = self.graph.settle(budget, lambda: next(self.ticking))

    @rule(limit=st.integers(1, 10))
    def sweep(self, limit):
        self.graph.sweep(limit)

    @invariant()
    def equals_from_scratch(self):
        if self.settled:
            compare_with_fresh(self.graph, self.leases.values())
            assert not self.graph.counters.failed
            assert not HALVES

    def teardown(self):
        self.graph.settle()
        self.settled = True
        self.equals_from_scratch()
        for lease in self.leases.values():
            lease.release()
        self.graph.sweep()
        assert self.graph.size() == 0


TestReordered = Reordered.TestCase
TestReordered.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


class Circles(Reordered):
    """With circles: it always comes to rest, and once they are gone everything is as from scratch."""

    @rule(on=st.booleans())
    def circles(self, on):
        self.graph.commit([(facts, "circles", on or None)])
        self.settled = False

    @invariant()
    def equals_from_scratch(self):
        if self.settled and not self.graph.rows(facts).values.get("circles"):
            compare_with_fresh(self.graph, self.leases.values())

    def teardown(self):
        self.graph.settle()
        self.graph.commit([(facts, "circles", None)])
        super().teardown()


TestCircles = Circles.TestCase
TestCircles.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
