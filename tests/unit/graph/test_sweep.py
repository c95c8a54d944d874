"""Letting go: what nobody reads is freed, in slices, and nothing else is."""

from __future__ import annotations

import gc

from controlplane.graph import Graph, Plan, Q, each, flat, group, keyed, query
from controlplane.graph.node import Node
from tests.unit.graph.town import House, content, houses, numbers, put, runs


@query
def rooms(q: Q, key: str) -> int:
    return q.get(houses, key).rooms


@keyed
def plain(q: Q) -> Plan:
    return each(q.members(houses), rooms)


@query
def pair(q: Q, key: str) -> tuple[tuple[int, str], ...]:
    return ((q(rooms, key), key),)


@keyed
def joined(q: Q) -> Plan:
    return flat(q.bucket(houses, "street", "main"), pair)


@keyed
def grouped(q: Q) -> Plan:
    return group(q.map(plain), pair)


@query
def named(q: Q, size: int, key: str) -> str:
    return f"{q.at(plain, (), key)}{size}"


@keyed
def of_size(q: Q, size: int) -> Plan:
    return each(q.part(grouped, (), size), named, size)


@query
def everything(q: Q) -> tuple[object, ...]:
    return (
        q.values(plain),
        q.keys(q.map(joined)),
        q.values(of_size, 1),
        q.keys(q.part(grouped, (), 99)),
        q.at(joined, (), 99),
        q.index(houses, "street", "nowhere"),
        q.get(numbers, "absent"),
    )


LEASES = ((plain, ()), (joined, ()), (grouped, ()), (of_size, (1,)), (of_size, (7,)), (everything, ()))


def town(count: int = 10) -> Graph:
    graph = Graph()
    graph.commit([(houses, f"h{n}", House(rooms=n % 3)) for n in range(count)])
    return graph


def test_nothing_is_left_when_the_last_lease_is_released() -> None:
    graph = town()
    leases = [graph.lease(what, *args) for what, args in LEASES for _ in range(2)]  # type: ignore[arg-type]
    graph.settle()
    assert graph.size() > 50
    for lease in leases[:-1]:
        lease.release()
    graph.sweep()
    assert leases[-1].value[0] == [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]
    leases[-1].release()
    graph.sweep()
    assert graph.size() == 0


def test_what_is_still_read_stays_and_works() -> None:
    graph = town()
    kept, dropped = graph.lease(plain), graph.lease(of_size, 1)
    graph.settle()
    dropped.release()
    graph.sweep()
    before = graph.size()
    with runs(graph) as ran:
        graph.commit([(houses, "h1", House(rooms=5))])
    assert ran == {"rooms": 1}
    assert kept.get("h1") == 5
    assert graph.size() == before


def test_a_removed_member_is_swept_without_a_release() -> None:
    graph = town()
    lease = graph.lease(plain)
    graph.settle()
    before = graph.size()
    graph.commit([(houses, "new", House())])
    graph.settle()
    assert graph.size() == before + 2
    graph.commit([(houses, "new", None)])
    graph.settle()
    graph.sweep()
    assert graph.size() == before
    assert "new" not in lease


def test_a_lease_taken_again_before_the_sweep_finds_everything() -> None:
    graph = town()
    graph.lease(of_size, 1).release()
    first = graph.lease(of_size, 1)
    graph.settle()
    first.release()
    with runs(graph) as ran:
        again = graph.lease(of_size, 1)
        graph.settle()
    graph.sweep()
    assert not ran
    assert len(again) == 3


def test_a_lease_taken_again_after_the_sweep_is_built_anew() -> None:
    graph = town()
    first = graph.lease(of_size, 1)
    graph.settle()
    shown = content(first)
    first.release()
    graph.sweep()
    graph.commit([(houses, "more", House(rooms=1))])
    again = graph.lease(of_size, 1)
    graph.settle()
    assert content(again) == shown | {"more": "11"}


def test_a_lease_that_was_released_unsettled_costs_nothing() -> None:
    graph = town()
    leases = [graph.lease(plain), graph.lease(everything)]
    for lease in leases:
        lease.release()
    with runs(graph) as ran:
        graph.settle()
    assert not ran
    graph.sweep()
    assert graph.size() == 0


def test_sweeping_goes_in_slices() -> None:
    graph = town()
    lease = graph.lease(everything)
    graph.settle()
    lease.release()
    before = graph.size()
    assert not graph.sweep(3)
    assert before - 3 <= graph.size() <= before
    slices = 1
    while not graph.sweep(3):
        slices += 1
    assert slices > 5
    assert graph.size() == 0
    assert graph.counters.freed >= before


def test_a_plan_whose_sources_were_swept_is_made_anew() -> None:
    """The plan's memo is kept alive by a reader of the map's size only in the past; its sources are not."""
    graph = town()
    lease = graph.lease(of_size, 1)
    graph.settle()
    lease.release()
    graph.sweep(1)  # the map itself; what it was made of goes one by one
    again = graph.lease(of_size, 1)
    graph.sweep(4)
    graph.settle()
    graph.commit([(houses, "more", House(rooms=1))])
    graph.settle()
    assert "more" in again


def test_nodes_die_without_the_garbage_collector() -> None:
    """What gc.freeze() has put out of its sight would never be collected."""
    graph = town()
    leases = [graph.lease(what, *args) for what, args in LEASES]  # type: ignore[arg-type]
    graph.settle()
    for n in range(5):
        graph.commit([(houses, f"h{n}", None), (houses, f"h{n + 20}", House(rooms=1))])
        graph.settle()
    gc.collect()
    gc.disable()
    try:
        others = sum(isinstance(thing, Node) for thing in gc.get_objects()) - graph.size() - _extra(graph)
        for lease in leases:
            lease.release()
        del lease, leases
        graph.sweep()
        assert graph.size() == 0
        assert sum(isinstance(thing, Node) for thing in gc.get_objects()) <= others
    finally:
        gc.enable()


def _extra(graph: Graph) -> int:
    """Groups that nobody reads are nodes of which the graph's size knows nothing."""
    return sum(part.readers is None for map in graph.maps.values() for part in map.parts.values())


def test_a_failed_query_keeps_no_frames_alive() -> None:
    class Big:
        pass

    @query
    def failing(q: Q) -> int:
        local = Big()
        raise ValueError(type(local).__name__)

    graph = Graph()
    lease = graph.lease(failing)
    gc.disable()
    try:
        graph.settle()
        assert not any(isinstance(thing, Big) for thing in gc.get_objects())
    finally:
        gc.enable()
    assert lease.failure is not None


def test_reads_without_a_lease_are_swept() -> None:
    graph = town()
    graph.read(everything)
    graph.sweep()
    assert graph.size() == 0


def test_a_sweep_in_the_middle_of_building_frees_nothing_that_is_needed() -> None:
    graph = town(30)
    lease = graph.lease(everything)
    clock = iter(range(100_000))
    with runs(graph) as ran:
        while not graph.settle(2, lambda: next(clock)):
            graph.sweep()
    assert ran["rooms"] == 30
    assert lease.value[0] == [n % 3 for n in sorted(range(30), key=lambda n: f"h{n}")]
    put(graph, absent=1)
    graph.settle()
    assert lease.value[-1] == 1
