"""Counters under Istio's exact names, histograms that are cheap to feed, and the text of /metrics.

Istio's dashboards query `pilot_xds_pushes`; prometheus_client would call that counter
`pilot_xds_pushes_total`.  A `Count` keeps the name it is given: it is collected as an untyped family,
whose name the text format leaves alone, and declared a counter in the finished text.
https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format

Several histograms are fed for each response to each proxy.  prometheus_client spends 1.5 us on one
observation (locks, a walk along the buckets); a `Cell` appends to a list and sorts the values into
buckets later, many at once, for a tenth of that.  Nothing here takes a lock, so a garbage-collection
callback may observe at any moment; apart from that, observe from one thread.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from itertools import pairwise

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
OTHER = "other"
"""What stands for label values beyond a metric's limit."""

_COUNT = "unknown"
_UNTYPED = re.compile(rb"^(# TYPE \S+) untyped$", re.MULTILINE)


class Count(Collector):
    """A counter whose sample is called exactly `name`.

    Label values come as positional strings in the order of `labels`.  At most `limit` combinations
    are kept; what comes after is counted under "other", so that no peer can make the series grow.
    """

    __slots__ = ("_help", "_labels", "_limit", "_name", "_values")

    def __init__(
        self,
        registry: CollectorRegistry,
        name: str,
        text: str,
        labels: tuple[str, ...] = (),
        *,
        limit: int = 64,
    ) -> None:
        self._name = name
        self._help = text
        self._labels = labels
        self._limit = limit
        self._values: dict[tuple[str, ...], float] = {} if labels else {(): 0.0}
        registry.register(self)

    def inc(self, *labels: str, by: float = 1.0) -> None:
        """Add `by`, which is not negative."""
        if by < 0 or len(labels) != len(self._labels):
            raise ValueError(f"{self._name}: {by!r} for labels {labels!r}, wanted >= 0 for {self._labels!r}")
        values = self._values
        if labels not in values and len(values) >= self._limit:
            labels = (OTHER,) * len(labels)
        values[labels] = values.get(labels, 0.0) + by

    def get(self, *labels: str) -> float:
        """The total so far; 0 for a combination that never came."""
        return self._values.get(labels, 0.0)

    def collect(self) -> Iterator[Metric]:
        family = Metric(self._name, self._help, _COUNT)
        for labels, value in sorted(self._values.items()):
            family.add_sample(self._name, dict(zip(self._labels, labels, strict=True)), value)
        yield family

    def describe(self) -> Iterator[Metric]:
        yield Metric(self._name, self._help, _COUNT)


class Cell:
    """The observations of one histogram series."""

    __slots__ = ("_waiting", "bounds", "counts", "total")

    _LIMIT = 4096

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0
        self._waiting: list[float] = []

    def observe(self, value: float) -> None:
        waiting = self._waiting
        waiting.append(value)
        if len(waiting) >= self._LIMIT:
            self.fold()

    def fold(self) -> None:
        """Sort what was observed into `counts` (not cumulative, the last is beyond all bounds)."""
        values, self._waiting = self._waiting, []
        values.sort()
        edges = [0, *(bisect_right(values, bound) for bound in self.bounds), len(values)]
        for place, (left, right) in enumerate(pairwise(edges)):
            self.counts[place] += right - left
        self.total += sum(values)


class Spread(Collector):
    """A histogram: one `Cell`, or one for each value of a single label.

    Cells may be shared by two histograms with equal bounds (`share`), where Istio's name and ours
    measure the same thing.  At most `limit` label values are kept, then "other".
    """

    __slots__ = ("_bounds", "_cells", "_help", "_label", "_limit", "_name")

    def __init__(
        self, registry: CollectorRegistry, name: str, text: str, bounds: tuple[float, ...], label: str = ""
    ) -> None:
        if list(bounds) != sorted(set(bounds)):
            raise ValueError(f"{name}: bounds must ascend, got {bounds}")
        self._name = name
        self._help = text
        self._bounds = bounds
        self._label = label
        self._limit = 64
        self._cells: dict[str, Cell] = {} if label else {"": Cell(bounds)}
        registry.register(self)

    def of(self, value: str = "") -> Cell:
        """The cell of a label value; without a label, the only cell."""
        cell = self._cells.get(value)
        if cell is None:
            if not self._label:
                raise ValueError(f"{self._name} has no label")
            if len(self._cells) >= self._limit and value != OTHER:
                return self.of(OTHER)
            cell = self._cells[value] = Cell(self._bounds)
        return cell

    def share(self, value: str, cell: Cell) -> None:
        """Show `cell`, which another histogram feeds, under this label value."""
        if cell.bounds != self._bounds:
            raise ValueError(f"{self._name}: the bounds differ")
        self._cells[value] = cell

    def collect(self) -> Iterator[Metric]:
        family = Metric(self._name, self._help, "histogram")
        for value, cell in sorted(self._cells.items()):
            cell.fold()
            labels = {self._label: value} if self._label else {}
            count = 0
            for edge, more in zip((*map(str, self._bounds), "+Inf"), cell.counts, strict=True):
                count += more
                family.add_sample(f"{self._name}_bucket", {**labels, "le": edge}, count)
            family.add_sample(f"{self._name}_count", labels, count)
            family.add_sample(f"{self._name}_sum", labels, cell.total)
        yield family

    def describe(self) -> Iterator[Metric]:
        yield Metric(self._name, self._help, "histogram")


def expose(registry: CollectorRegistry) -> bytes:
    """The registry in the text format 0.0.4 (`CONTENT_TYPE`)."""
    return _UNTYPED.sub(rb"\1 counter", generate_latest(registry))
