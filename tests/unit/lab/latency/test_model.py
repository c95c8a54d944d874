"""The join against a server that knows the truth: whatever happens in whatever order, both agree.

The model is one server, three proxies and three objects.  Hypothesis chooses what happens next: somebody
edits an object, the server takes up what has changed, plans for a proxy, a response arrives, is accepted,
rejected or lost with its stream.  The model notes who has what since when; the join has to find it
out from the three logs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.lab.latency.dataset import Latency
from tests.unit.lab.latency.logs import Run

PROXIES = ("a.n", "b.n", "c.n")
OBJECTS = {
    ("VirtualService", "n", "v"): ("rds", ("a.n", "b.n")),
    ("EndpointSlice", "n", "e"): ("eds", ("b.n", "c.n")),
    ("VirtualService", "n", "w"): ("rds", ("a.n",)),
}
TYPES = ("eds", "rds")


class Truth(NamedTuple):
    """What is so for one change at one proxy, in seconds of the model's clock."""

    planned: float
    received: float
    shown: int
    response: int


@dataclass
class Flying:
    """A response on its way."""

    stream: str
    type: str
    revision: int
    planned: float
    states: dict[tuple[str, str, str], int]
    id: int
    received: float | None = None


@dataclass
class Model:
    """Server, proxies and the truth; every step takes a second."""

    run: Run = field(default_factory=Run)
    now: float = 100.0
    number: int = 0
    revision: int = 0
    files: dict[tuple[str, str, str], list[tuple[int, float]]] = field(default_factory=dict)
    dirty: set[tuple[str, str, str]] = field(default_factory=set)
    served: dict[tuple[str, str, str], int] = field(default_factory=dict)
    streams: dict[str, str] = field(default_factory=dict)
    opened: int = 0
    owed: set[tuple[str, str]] = field(default_factory=set)
    flying: dict[tuple[str, str], Flying] = field(default_factory=dict)
    seen: set[tuple[str, int]] = field(default_factory=set)
    truth: dict[tuple[int, str], Truth] = field(default_factory=dict)
    answers: dict[int, tuple[float, bool]] = field(default_factory=dict)
    unanswered: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    there: dict[tuple[int, str], bool] = field(default_factory=dict)
    sent: int = 0
    left: set[str] = field(default_factory=set)

    def tick(self) -> float:
        self.now += 1.0
        return self.now

    def edit(self, at: int) -> None:
        of = list(OBJECTS)[at % len(OBJECTS)]
        self.number += 1
        moment = self.tick()
        self.run.change(self.number, moment, of)
        self.files.setdefault(of, []).append((self.number, moment))
        self.dirty.add(of)
        for proxy in PROXIES:
            self.there[self.number, proxy] = proxy in self.streams

    def commit(self) -> None:
        if not self.dirty:
            return
        self.revision += 1
        self.run.batch(
            self.revision, self.tick(), *((of, self.files[of][-1][1]) for of in sorted(self.dirty))
        )
        self.now += 1.0
        for of in sorted(self.dirty):
            self.served[of] = self.files[of][-1][0]
            kind, proxies = OBJECTS[of]
            self.owed.update((proxy, kind) for proxy in proxies if proxy in self.streams)
        woken = {proxy for of in self.dirty for proxy in OBJECTS[of][1]}
        for proxy in sorted(woken & set(self.streams)):
            self.run.woken(self.streams[proxy], self.revision, self.tick())
        self.dirty.clear()

    def plan(self, proxy: str, kind: str) -> None:
        if (proxy, kind) not in self.owed or (proxy, kind) in self.flying:
            return
        self.owed.discard((proxy, kind))
        states = {
            of: number
            for of, number in self.served.items()
            if OBJECTS[of][0] == kind and proxy in OBJECTS[of][1]
        }
        self.sent += 1
        made = Flying(self.streams[proxy], kind, self.revision, self.tick(), states, self.sent)
        self.flying[proxy, kind] = made
        self.tick()

    def receive(self, proxy: str, kind: str) -> None:
        one = self.flying.get((proxy, kind))
        if one is None or one.received is not None:
            return
        one.received = self.tick()
        fresh = sorted(n for n in one.states.values() if (proxy, n) not in self.seen)
        self.seen.update((proxy, number) for number in fresh)
        self.run.receipt(proxy, one.received, *fresh, kind=kind)
        self.tick()
        for of, state in one.states.items():
            for number, _ in self.files[of]:
                if number <= state:
                    truth = Truth(one.planned, one.received, state, one.id)
                    self.truth.setdefault((number, proxy), truth)

    def answer(self, proxy: str, kind: str, ok: bool) -> None:
        one = self.flying.get((proxy, kind))
        if one is None or one.received is None:
            return
        at = self.tick()
        self.run.response(one.stream, one.revision, one.planned, kind, answered=at, ok=ok)
        for earlier in (*self.unanswered.pop((proxy, kind), ()), one.id):
            self.answers[earlier] = at, ok
        del self.flying[proxy, kind]

    def drop(self, proxy: str) -> None:
        if proxy not in self.streams:
            return
        for kind in TYPES:
            one = self.flying.pop((proxy, kind), None)
            if one is not None:
                self.run.response(one.stream, one.revision, one.planned, kind, answered=None)
                self.unanswered.setdefault((proxy, kind), []).append(one.id)
            self.owed.discard((proxy, kind))
        self.run.event("gone", proxy=self.streams.pop(proxy), at=self.tick())
        self.left.add(proxy)

    def connect(self, proxy: str) -> None:
        if proxy in self.streams:
            return
        self.opened += 1
        self.streams[proxy] = f"{proxy}-{self.opened}"
        self.run.connected(self.streams[proxy], self.tick())
        self.owed.update((proxy, kind) for kind in TYPES)

    def finish(self) -> None:
        """Nothing is left open with those who are there."""
        self.commit()
        for _ in range(2):
            for proxy in PROXIES:
                for kind in TYPES:
                    self.plan(proxy, kind)
                    self.receive(proxy, kind)
                    self.answer(proxy, kind, True)


def play(steps: list[tuple[str, int]]) -> Model:
    model = Model()
    for proxy in PROXIES:
        model.connect(proxy)
    model.finish()
    for name, at in steps:
        proxy, kind = PROXIES[at % 3], TYPES[at % 2]
        match name:
            case "edit":
                model.edit(at)
            case "commit":
                model.commit()
            case "plan" | "receive":
                getattr(model, name)(proxy, kind)
            case "ack" | "nack":
                model.answer(proxy, kind, name == "ack")
            case _:
                getattr(model, name)(proxy)
    model.finish()
    return model


NAMES = (
    "edit",
    "edit",
    "commit",
    "plan",
    "plan",
    "receive",
    "receive",
    "ack",
    "ack",
    "nack",
    "drop",
    "connect",
)
STEPS = st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, 5)), max_size=60)


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_the_join_finds_the_truth(steps: list[tuple[str, int]]) -> None:
    model = play(steps)
    joined = model.run.joined()
    assert joined.strays == []
    shown = {number for (_, _), truth in model.truth.items() for number in (truth.shown,)}
    for row in joined.rows:
        compare(model, row, shown)


def compare(model: Model, row: Latency, shown: set[int]) -> None:
    change = next(one for one in model.run.changes if one.number == row.number)
    if not model.there[row.number, row.proxy]:
        assert row.status == "absent"
        return
    truth = model.truth.get((row.number, row.proxy))
    if truth is None:
        concerns = row.proxy in OBJECTS[change.object][1]
        newest = [n for n, _ in model.files[change.object] if n >= row.number]
        if not concerns and not shown & set(newest):
            # Nobody has it who could tell: a response to another change of the batch counts.
            return
        assert row.outside is None
        # What a proxy was woken for that left before it was told is not known.
        assert row.status in (("gone", "untouched") if row.proxy in model.left else ("untouched",))
        return
    assert (row.outside, row.plan) == (truth.received - change.at, truth.planned - change.at)
    assert row.has("coalesced") == (truth.shown != row.number)
    answer = model.answers.get(truth.response)
    if answer is None:
        assert row.status == "unanswered"
    else:
        assert row.status == ("acked" if answer[1] else "nacked")
        assert row.ack == (answer[0] - change.at if answer[1] else None)
