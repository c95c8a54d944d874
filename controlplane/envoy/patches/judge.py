"""What is wrong with an EnvoyFilter by itself, as far as only Envoy's messages can tell.

A kind is read where nobody knows those; so the store asks here before it takes an object in.  A patch that is
no message refuses the object, and its last valid version stays.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from controlplane.envoy.patches.values import faults, oddities
from controlplane.mesh.checks_finding import Finding
from controlplane.model.kinds import Kind, Parsed
from controlplane.model.kinds.envoy_filter import ENVOY_FILTER
from controlplane.model.problem import Level, Origin
from controlplane.model.report import Report


def judged(kind: Kind, parsed: Parsed, where: Origin | None = None) -> Parsed:
    """The same, or refused, with what there is to say besides."""
    value: Any = parsed.value
    if kind is not ENVOY_FILTER or value is None:
        return parsed
    report = Report(kind.name, where, strict=True)
    report.namespace, report.name = value.meta.namespace, value.meta.name
    _tell(report, "error", faults(value))
    _tell(report, "warning", oddities(value))
    problems = (*parsed.problems, *report.problems)
    return Parsed(None if report.failed else value, problems, parsed.key)


def _tell(report: Report, level: Level, found: Iterable[Finding]) -> None:
    for finding in found:
        report.add(level, finding.field, finding.message, finding.remedy)
