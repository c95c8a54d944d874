"""Kubernetes' label selectors, as the MeshConfig has them: what they are, and how they are read."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.model.checks import check_selector
from controlplane.model.describe import shorten
from controlplane.model.keys import Labels
from controlplane.model.reader import Reader


@dataclass(frozen=True, slots=True)
class LabelSelectorRequirement:
    """`operator` is In, NotIn, Exists or DoesNotExist."""

    key: str
    operator: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """All labels and all requirements must hold; an empty selector selects everything."""

    match_labels: Labels = ()
    match_expressions: tuple[LabelSelectorRequirement, ...] = ()


def read_label_selector(r: Reader) -> LabelSelector:
    """A selector; what Kubernetes would refuse is an error."""
    labels = r.labels("matchLabels")
    check_selector(r, "matchLabels", labels)
    return LabelSelector(
        match_labels=labels, match_expressions=r.messages("matchExpressions", _read_requirement)
    )


def _read_requirement(r: Reader) -> LabelSelectorRequirement:
    requirement = LabelSelectorRequirement(
        key=r.required("key", "name a label"),
        operator=r.required("operator", "say In, NotIn, Exists or DoesNotExist"),
        values=r.strings("values"),
    )
    if requirement.operator in ("In", "NotIn"):
        if not requirement.values:
            r.error("values", "is missing", f"{requirement.operator} compares with at least one value")
    elif requirement.operator in ("Exists", "DoesNotExist"):
        if requirement.values:
            r.error("values", f"cannot be used with {requirement.operator}", "remove it")
    elif requirement.operator:
        r.error(
            "operator",
            f"{shorten(requirement.operator)} is not allowed here",
            "use In, NotIn, Exists or DoesNotExist",
        )
    return requirement
