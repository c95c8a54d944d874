"""A small town for tests of the graph: houses and people, and a way to count what runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from controlplane.graph import Graph, Lease, Table


class House(NamedTuple):
    street: str = "main"
    rooms: int = 1
    paint: str = "white"


houses = Table("houses", indexes={"street": lambda key, value: (value.street,)})
numbers = Table("numbers")
by_nothing = Table("by_nothing", indexes={"none": lambda key, value: ()})


def graph_with(**numbers_by_name: Any) -> Graph:
    """A graph whose table `numbers` holds these rows."""
    graph = Graph()
    put(graph, **numbers_by_name)
    return graph


def put(graph: Graph, **numbers_by_name: Any) -> int:
    """Commit rows of `numbers`; None removes one."""
    return graph.commit([(numbers, name, value) for name, value in numbers_by_name.items()])


@contextmanager
def runs(graph: Graph) -> Iterator[Counter[str]]:
    """How often each query ran inside the block, a settle at its end included, by function name."""
    before = graph.counters.by_query
    found: Counter[str] = Counter()
    yield found
    graph.settle()
    for name, count in (graph.counters.by_query - before).items():
        found[name.rpartition(".")[2]] = count


def content(lease: Lease) -> dict[Any, Any]:
    """A leased map in full."""
    return {key: lease.get(key) for key in lease.keys()}
