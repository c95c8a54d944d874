"""After any sequence of changes, leases and partial settles the graph equals one built from nothing."""

from __future__ import annotations

import itertools

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from controlplane.graph import Graph, Keyed, Lease
from controlplane.graph.verify import compare_with_fresh, snapshot
from tests.property.toy_mesh import LEASES, Key, Pod, Svc, pods, svcs

LABELS = st.lists(st.sampled_from([("app", "x"), ("app", "y"), ("v", "1"), ("v", "2")]), max_size=3).map(
    lambda pairs: tuple(sorted(dict(pairs).items()))
)
KEYS = st.builds(Key, st.sampled_from(["a", "b"]), st.sampled_from([f"s{i}" for i in range(4)]))
SERVICES = st.builds(
    Svc,
    ports=st.lists(st.sampled_from([80, 81, 82]), max_size=2, unique=True).map(tuple),
    selector=st.none() | LABELS,
    host=st.sampled_from(["h0", "h1", "h2", "private0"]),
    boom=st.sampled_from([False] * 6 + [True]),
)
PODS = st.builds(Pod, ip=st.sampled_from([f"10.0.0.{i}" for i in range(5)]), labels=LABELS)
WRITES = st.tuples(st.just(svcs), KEYS, st.none() | SERVICES) | st.tuples(
    st.just(pods), KEYS, st.none() | PODS
)


class Incremental(RuleBasedStateMachine):
    """Drives one graph; after each full settle everything is compared with from-scratch."""

    def __init__(self) -> None:
        super().__init__()
        self.graph = Graph()
        self.leases: dict[int, Lease] = {}
        # What a client holds that only ever applied `since`: lease number -> (revision, state).
        self.replicas: dict[int, tuple[int, dict[object, object]]] = {}
        self.settled = True
        self.ticking = itertools.count()

    @rule(writes=st.lists(WRITES, min_size=1, max_size=4))
    def commit(self, writes):
        self.graph.commit(writes)
        self.settled = False

    @rule(which=st.integers(0, len(LEASES) - 1))
    def open_lease(self, which):
        if which not in self.leases:
            what, args = LEASES[which]
            self.leases[which] = self.graph.lease(what, *args)
            self.settled = False

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def release(self, data):
        which = data.draw(st.sampled_from(sorted(self.leases)))
        self.leases.pop(which).release()
        self.replicas.pop(which, None)

    @rule(budget=st.integers(1, 30))
    def settle_in_slices(self, budget):
        self.settled = self.graph.settle(budget, lambda: next(self.ticking))

    @rule()
    def settle(self):
        self.settled = self.graph.settle()

    @rule(limit=st.integers(1, 20))
    def sweep(self, limit):
        self.graph.sweep(limit)

    @invariant()
    def equals_from_scratch(self):
        if self.settled:
            compare_with_fresh(self.graph, self.leases.values())

    @invariant()
    def replayed_changes_equal_the_snapshot(self):
        if not self.settled:
            return
        for which, lease in self.leases.items():
            if not isinstance(LEASES[which][0], Keyed):
                continue
            revision, state = self.replicas.get(which, (None, {}))
            delta = None if revision is None else lease.since(revision)
            if delta is None:
                state = {key: lease.get(key) for key in lease.keys()}
            else:
                for key in delta.upserts:
                    state[key] = lease.get(key)
                for key in delta.removed:
                    state.pop(key, None)  # it may have come and gone between two reads
            assert state == {key: lease.get(key) for key in lease.keys()}
            self.replicas[which] = (lease.revision, state)

    def teardown(self):
        self.graph.settle()
        self.equals_from_scratch()
        # Everything deleted and nothing leased: not one node is left.
        rows = [(t, k, None) for t, r in self.graph.tables().items() for k in r.values]
        self.graph.commit(rows)
        self.graph.settle()
        for lease in self.leases.values():
            assert snapshot(lease) in ({}, "absent 0", "None")
            lease.release()
        self.graph.sweep()
        assert self.graph.size() == 0
        for rows in self.graph.tables().values():
            assert not any(rows.sets.values())
            assert rows.selection.empty()


TestIncremental = Incremental.TestCase
TestIncremental.settings = settings(max_examples=250, stateful_step_count=50, deadline=None)


class Paranoid(Incremental):
    """The same with every query run twice."""

    def __init__(self) -> None:
        super().__init__()
        self.graph = Graph(paranoid=True)


TestParanoid = Paranoid.TestCase
TestParanoid.settings = settings(max_examples=20, stateful_step_count=30, deadline=None)
