"""What objects say of each other: found by the graph, placed in files by the store, told to the log.

The log hears of a finding when it appears and when it is solved, like of any other Problem.
"""

from __future__ import annotations

from dataclasses import replace

from controlplane.graph import Delta, Failure, Lease
from controlplane.model.keys import Key, Ref
from controlplane.model.kinds import BY_NAME
from controlplane.model.problem import Problem
from controlplane.sources.naming import Name
from controlplane.store.ingest import Ingest
from controlplane.store.problems import ProblemBook


class Findings:
    """The Problems of a leased `mesh.checks`, with the places of their objects; owns the lease."""

    def __init__(self, checks: Lease, ingest: Ingest) -> None:
        self._checks = checks
        self._ingest = ingest
        # What was logged; where an object stands now is looked up whenever somebody asks.
        self._told = ProblemBook()
        self._known: set[Ref] = set()
        self._revision = -1
        checks.on_change = self._tell

    def problems(self) -> list[Problem]:
        """All findings as of now, by object; none before the first objects have been looked at."""
        if self._revision < 0:
            return []
        return [problem for ref in self._checks.keys() for problem in self._placed(ref)]

    def close(self) -> None:
        self._checks.release()

    def _tell(self) -> None:
        """Something was found, or solved."""
        delta = self._checks.since(self._revision)
        if delta is None:
            now = self._checks.keys()
            delta = Delta(now, tuple(sorted(self._known.difference(now))))
        self._revision = self._checks.revision
        for ref in (*delta.upserts, *delta.removed):
            self._told.report(ref, self._placed(ref))
        self._known.update(delta.upserts)
        self._known.difference_update(delta.removed)

    def _placed(self, ref: Ref) -> tuple[Problem, ...]:
        found: tuple[Problem, ...] | Failure | None = self._checks.get(ref)
        if found is None or isinstance(found, Failure):
            return ()  # solved; or a fault of ours, which the graph reports
        name = Name(BY_NAME[ref.kind].group, ref.kind, Key(ref.namespace, ref.name))
        file, line = self._ingest.origin(name) or ("", None)
        return tuple(replace(problem, file=file, line=line) for problem in found)
