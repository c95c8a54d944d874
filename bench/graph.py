"""What the incremental graph costs: building, changing, remembering, collecting, letting go.

    python bench/graph.py [--scopes 100] [--services 1000] [--json FILE]

The queries do next to nothing, so what is measured is the graph itself.  Times are medians over
`--rounds`; memory is what tracemalloc counts beyond the input rows, in a build of its own.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from controlplane.graph import Graph, Keyed, Lease, Plan, Q, Table, each, flat, group, keyed, query


class Key(NamedTuple):
    namespace: str
    name: str


class Svc(NamedTuple):
    host: str
    ports: tuple[int, ...]
    version: int


services = Table("services", indexes={"namespace": lambda key, value: (key.namespace,)})
others = Table("others", indexes={"namespace": lambda key, value: (key.namespace,)})


@query
def cluster(q: Q, key: Key) -> tuple[str, int]:
    """Shared by all scopes, as the bytes of a cluster are."""
    found = q.get(services, key)
    return (found.host, found.version)


@query
def in_scope(q: Q, scope: str, key: Key) -> tuple[str, int]:
    return q(cluster, key)


@keyed
def clusters(q: Q, scope: str) -> Plan:
    return each(q.bucket(services, "namespace", "default"), in_scope, scope)


@query
def named(q: Q, scope: str, key: Key) -> tuple[tuple[str, Any], ...]:
    value = q(cluster, key)
    return ((value[0], value),)


@keyed
def names(q: Q, scope: str) -> Plan:
    return flat(q.bucket(services, "namespace", "default"), named, scope)


@query
def shelved(q: Q, scope: str, key: Key) -> tuple[tuple[int, Key], ...]:
    return tuple((port, key) for port in q.get(services, key).ports)


@keyed
def shelves(q: Q, scope: str) -> Plan:
    return group(q.bucket(services, "namespace", "default"), shelved, scope)


@query
def hosted(q: Q, scope: str, port: int, key: Key) -> str:
    return q(cluster, key)[0]


@keyed
def hosts(q: Q, scope: str, port: int) -> Plan:
    return each(q.part(shelves, (scope,), port), hosted, scope, port)


@query
def route(q: Q, scope: str, port: int) -> str:
    return "".join(q.values(hosts, scope, port))


@keyed
def routes(q: Q, scope: str) -> Plan:
    """Grouped, then a map per group, then a frame of all its values."""
    return each(q.map(shelves, scope), route, scope)


FORMS: dict[str, Keyed[...]] = {"each": clusters, "flat": names, "group": shelves, "values": routes}


@dataclass(frozen=True, slots=True)
class Size:
    scopes: int
    services: int
    rounds: int

    def key(self, n: int) -> Key:
        return Key("default", f"s{n % self.services}")


@dataclass(frozen=True, slots=True)
class Figure:
    """One measurement; `unit` says of what."""

    case: str
    value: float
    unit: str
    note: str = ""


def service(n: int, version: int = 0) -> Svc:
    return Svc(f"s{n}.default.svc.cluster.local", (80, 8000 + n % 10), version)


def loaded(size: Size) -> Graph:
    graph = Graph()
    graph.commit([(services, size.key(n), service(n)) for n in range(size.services)])
    return graph


def lease_all(graph: Graph, what: Keyed[...], size: Size) -> list[Lease]:
    return [graph.lease(what, f"scope{i}") for i in range(size.scopes)]


def timed(run: Callable[[], object]) -> float:
    """Seconds, without collector pauses."""
    gc.collect()
    gc.disable()
    try:
        start = time.process_time()
        run()
        return time.process_time() - start
    finally:
        gc.enable()


def built(size: Size, form: str) -> tuple[Graph, list[Lease], float]:
    graph = loaded(size)
    leases = lease_all(graph, FORMS[form], size)
    return graph, leases, timed(graph.settle)


def cold_builds(size: Size) -> Iterator[Figure]:
    for form in FORMS:
        # Only one graph at a time: a second one in memory slows the first one's allocations down.
        graph, _, seconds = built(size, form)
        nodes, runs = graph.size(), graph.counters.runs
        best = seconds
        del graph, _
        for _round in range(2):
            best = min(best, built(size, form)[2])
        yield Figure(f"cold build, {form}", best * 1e3, "ms", f"{nodes} nodes, {runs} runs, best of 3")
        yield Figure(f"cold build, {form}, per node", best * 1e6 / nodes, "µs")


def memory(size: Size) -> Iterator[Figure]:
    for form in FORMS:
        graph = loaded(size)
        gc.collect()
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        leases = lease_all(graph, FORMS[form], size)
        graph.settle()
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        yield Figure(f"memory, {form}", (after - before) / graph.size(), "B/node", f"{len(leases)} leases")


def changes(size: Size) -> Iterator[Figure]:
    graph, _leases, _ = built(size, "each")
    note = f"{graph.size()} nodes"
    versions = iter(range(1, 1 << 30))

    def unrelated() -> None:
        version = next(versions)
        graph.commit([(others, size.key(version), service(version, version))])
        graph.settle()

    def seen_by_all() -> None:
        version = next(versions)
        graph.commit([(services, size.key(7), service(7, version))])
        graph.settle()

    def cut_off() -> None:
        # The ports are not what a cluster is made of: one run, then nothing.
        version = next(versions)
        changed = Svc("s7.default.svc.cluster.local", (version,), 0)
        graph.commit([(services, size.key(7), changed)])
        graph.settle()

    def come_and_go() -> None:
        key = Key("default", "visitor")
        graph.commit([(services, key, service(1, 1))])
        graph.settle()
        graph.commit([(services, key, None)])
        graph.settle()
        graph.sweep()

    cases = (
        ("unrelated change", unrelated),
        (f"one service changes, {size.scopes} scopes see it", seen_by_all),
        ("one service changes, cut off at once", cut_off),
        (f"one service comes and goes, {size.scopes} scopes see it", come_and_go),
    )
    for case, change in cases:
        change()
        runs = graph.counters.runs
        change()
        runs = graph.counters.runs - runs
        times = [timed_without_collecting(change) * 1e6 for _ in range(size.rounds)]
        yield Figure(case, statistics.median(times), "µs", f"{note}, {runs} runs")


def timed_without_collecting(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def slices(size: Size) -> Iterator[Figure]:
    graph = loaded(size)
    _leases = lease_all(graph, routes, size)
    gc.collect()
    gc.disable()
    longest, count, begin = 0.0, 0, time.process_time()
    done = False
    while not done:
        start = time.process_time()
        done = graph.settle(0.005, time.process_time)
        longest = max(longest, time.process_time() - start)
        count += 1
    gc.enable()
    total = time.process_time() - begin
    yield Figure("cold build in slices of 5 ms, total", total * 1e3, "ms", f"{count} slices")
    yield Figure("cold build in slices of 5 ms, longest", longest * 1e3, "ms")


def collections(size: Size) -> Iterator[Figure]:
    graph, _leases, _ = built(size, "each")
    note = f"{graph.size()} nodes"
    gc.collect()
    yield Figure("full collection", timed_without_collecting(gc.collect) * 1e3, "ms", note)
    gc.freeze()
    yield Figure("full collection, frozen", timed_without_collecting(gc.collect) * 1e3, "ms", note)
    gc.unfreeze()


def sweeping(size: Size) -> Iterator[Figure]:
    graph, leases, _ = built(size, "each")
    nodes = graph.size()
    for lease in leases:
        lease.release()
    longest = 0.0
    total = 0.0
    done = False
    gc.disable()
    while not done:
        start = time.process_time()
        done = graph.sweep(1000)
        spent = time.process_time() - start
        longest, total = max(longest, spent), total + spent
    gc.enable()
    yield Figure("sweep", nodes / total / 1e3, "nodes/ms", f"{nodes} nodes, {graph.size()} left")
    yield Figure("sweep, longest slice of 1000 nodes", longest * 1e3, "ms")


CASES: dict[str, Callable[[Size], Iterator[Figure]]] = {
    "build": cold_builds,
    "memory": memory,
    "change": changes,
    "slices": slices,
    "collect": collections,
    "sweep": sweeping,
}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scopes", type=int, default=100)
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=101)
    parser.add_argument("--only", choices=CASES, action="append", help="run just this group of cases")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    args = parser.parse_args(argv)
    size = Size(args.scopes, args.services, args.rounds)
    figures: list[Figure] = []
    for name in args.only or CASES:
        for figure in CASES[name](size):
            figures.append(figure)
            print(f"{figure.case:<52} {figure.value:>10.2f} {figure.unit:<8} {figure.note}", flush=True)
    if args.json is not None:
        report = {
            "python": platform.python_version(),
            "size": asdict(size),
            "figures": [asdict(figure) for figure in figures],
        }
        args.json.write_text(json.dumps(report, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
