"""Counters under Istio's exact names, and the text that /metrics answers with.

Istio's dashboards query `pilot_xds_pushes`; prometheus_client would call that counter
`pilot_xds_pushes_total`.  A `Count` keeps the name it is given: it is collected as an untyped family,
whose name the text format leaves alone, and declared a counter in the finished text.
https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

from __future__ import annotations

import re
from collections.abc import Iterator

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


class _Shown(Collector):
    """A registry without the creation times that prometheus_client adds: they double the page."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for family in self._registry.collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family


def expose(registry: CollectorRegistry) -> bytes:
    """The registry in the text format 0.0.4 (`CONTENT_TYPE`)."""
    return _UNTYPED.sub(rb"\1 counter", generate_latest(_Shown(registry)))
