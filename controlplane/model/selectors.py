"""Kubernetes' label selectors: labels that must be there, and requirements."""

from __future__ import annotations

from collections.abc import Iterable

from controlplane.model.keys import Labels
from controlplane.model.kinds.label_selector import LabelSelector, LabelSelectorRequirement

NAME = "kubernetes.io/metadata.name"
"""The label that every namespace has, by itself: its name."""


def is_discovered(name: str, labels: Labels, selectors: Iterable[LabelSelector]) -> bool:
    """Whether one of these selects a namespace; where there is none, every namespace is meant."""
    asked = tuple(selectors)
    known = {**dict(labels), NAME: name}
    return not asked or any(selects(selector, known) for selector in asked)


def selects(selector: LabelSelector, labels: dict[str, str]) -> bool:
    """Whether all labels and all requirements hold."""
    pairs = all(labels.get(name) == value for name, value in selector.match_labels)
    return pairs and all(_holds(requirement, labels) for requirement in selector.match_expressions)


def _holds(requirement: LabelSelectorRequirement, labels: dict[str, str]) -> bool:
    value = labels.get(requirement.key)
    if requirement.operator == "In":
        return value in requirement.values
    if requirement.operator == "NotIn":
        # Also where there is no such label.
        return value not in requirement.values
    return (value is not None) == (requirement.operator == "Exists")
