"""However the copies of objects came and went, the end is that of a fresh start with what is there."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Sequence
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from controlplane.base.clock import FakeClock
from controlplane.model.keys import Key
from controlplane.model.problem import Origin
from controlplane.sources.change import Change
from controlplane.store.debounce import Write
from controlplane.store.ingest import Ingest
from controlplane.telemetry.wave import Seen

NAMES, FILES = "ab", ("1.yaml", "2.yaml", "3.yaml")
GROUPS = {"Service": "", "Sidecar": "networking.istio.io"}


def raw_object(kind: str, name: str, number: int) -> dict[str, Any]:
    """A small valid object; equal numbers give equal values."""
    spec: dict[str, Any] = (
        {"ports": [{"port": number}]} if kind == "Service" else {"egress": [{"hosts": [f"./h{number}.com"]}]}
    )
    version = "v1" if kind == "Service" else "networking.istio.io/v1"
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec}


class Rows:
    """Applies writes, and insists that each says truly what it replaces."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, Key], Any] = {}

    def add(self, writes: Sequence[Write], changes: Sequence[Seen]) -> None:
        assert changes
        for table, key, value, before in writes:
            assert self.rows.pop((table.name, key), None) == before
            assert value != before
            if value is not None:
                self.rows[table.name, key] = value

    def flush(self) -> None:
        pass


class Ingesting(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        # Hundreds of problems come and go; what is logged has its own test.
        logging.getLogger("controlplane.store.problems").setLevel(logging.CRITICAL)
        self.ids = itertools.count(1)
        self.rows = Rows()
        self.ingest = Ingest(self.rows, clock=FakeClock())
        # What is in the files: (kind, name, file) -> (line, number).
        self.files: dict[tuple[str, str, str], tuple[int, int]] = {}

    def changes(self, places: Sequence[tuple[str, str, str]]) -> list[Change]:
        found = []
        for kind, name, file in places:
            here = self.files.get((kind, name, file))
            raw = raw_object(kind, name, here[1]) if here else None
            origin = Origin(file, here[0] if here else None)
            found.append(Change(kind, Key("default", name), raw, origin, next(self.ids), 0.0, GROUPS[kind]))
        return found

    def teardown(self) -> None:
        logging.getLogger("controlplane.store.problems").setLevel(logging.NOTSET)

    @rule(
        edits=st.lists(
            st.tuples(
                st.sampled_from(sorted(GROUPS)),
                st.sampled_from(NAMES),
                st.sampled_from(FILES),
                st.none() | st.tuples(st.integers(1, 3), st.integers(1, 2)),
            ),
            min_size=1,
            max_size=4,
        )
    )
    def edit(self, edits: list[tuple[str, str, str, tuple[int, int] | None]]) -> None:
        batch: list[Change] = []
        for kind, name, file, content in edits:
            if content is None:
                self.files.pop((kind, name, file), None)
            else:
                self.files[kind, name, file] = content
            batch += self.changes([(kind, name, file)])
        asyncio.run(self.ingest.apply(batch))

    @rule()
    def read_everything_again(self) -> None:
        before = dict(self.rows.rows)
        asyncio.run(self.ingest.apply(self.changes(sorted(self.files))))
        assert self.rows.rows == before

    @invariant()
    def it_is_as_after_a_fresh_start(self) -> None:
        rows = Rows()
        fresh = Ingest(rows, clock=FakeClock())
        # In another order: the end must not depend on it.
        asyncio.run(fresh.apply(self.changes(sorted(self.files, reverse=True))))
        assert rows.rows == self.rows.rows
        assert fresh.problems() == self.ingest.problems()
        assert list(fresh.objects()) == list(self.ingest.objects())

    @invariant()
    def the_first_file_wins(self) -> None:
        for kind, name in itertools.product(GROUPS, NAMES):
            places = [(file, self.files.get((kind, name, file))) for file in FILES]
            there = [Origin(file, here[0]) for file, here in places if here]
            duplicates = [p for p in self.ingest.problems() if (p.kind, p.name) == (kind, name)]
            assert [p.file for p in duplicates] == [origin.file for origin in there[1:]]
            stored = [s for s in self.ingest.objects() if (s.name.kind, s.name.key.name) == (kind, name)]
            assert [s.origin for s in stored if s.used] == there[:1]


TestIngesting = Ingesting.TestCase
TestIngesting.settings = settings(max_examples=60, stateful_step_count=15, deadline=None)
