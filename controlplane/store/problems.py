"""Everything that users did wrong at the moment, by the place that found it.

A place replaces all it said before, so that a mended mistake disappears by itself.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Sequence
from typing import Any

from controlplane.model.problem import Problem

_LEVELS = {"error": logging.ERROR, "warning": logging.WARNING, "info": logging.INFO}

_log = logging.getLogger(__name__)


class ProblemBook:
    """Problems by place.  New and solved ones are logged once, with their JSON fields as `extra`."""

    def __init__(self) -> None:
        self._places: dict[Hashable, tuple[Problem, ...]] = {}

    def report(self, where: Hashable, problems: Sequence[Problem]) -> None:
        """Replace what this place said; nothing clears it."""
        before = self._places.get(where, ())
        now = tuple(problems)
        if now == before:
            return
        if now:
            self._places[where] = now
        else:
            del self._places[where]
        for problem in now:
            if problem not in before:
                _log.log(_LEVELS[problem.level], "%s", text(problem), extra={"problem": problem.as_json()})
        for problem in before:
            if problem not in now:
                _log.info("solved: %s", text(problem), extra={"problem": problem.as_json()})

    def problems(self) -> list[Problem]:
        """All problems, each once, by file, line, object and field."""
        found = {problem for problems in self._places.values() for problem in problems}
        return sorted(found, key=_order)

    def __len__(self) -> int:
        return sum(map(len, self._places.values()))


def text(problem: Problem) -> str:
    """A problem as one line: `mesh/reviews.yaml:12: VirtualService default/reviews: spec.hosts: ...`."""
    place = problem.file if problem.line is None else f"{problem.file}:{problem.line}"
    name = f"{problem.namespace}/{problem.name}" if problem.namespace else problem.name
    what = f"{problem.kind} {name}".strip()
    remedy = f" ({problem.remedy})" if problem.remedy else ""
    return ": ".join(part for part in (place, what, problem.field, problem.message) if part) + remedy


def _order(problem: Problem) -> tuple[Any, ...]:
    line = 0 if problem.line is None else problem.line
    name = (problem.kind, problem.namespace, problem.name)
    return (problem.file, line, *name, problem.field, problem.level, problem.message, problem.remedy)
