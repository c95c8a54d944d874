"""serviceEntryVisibility of the MeshConfig: how far ServiceEntries may be seen, whatever they say."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.model.kinds.label_selector import LabelSelector, read_label_selector
from controlplane.model.reader import Reader

VISIBILITIES = ("VISIBILITY_UNSPECIFIED", "NONE", "NAMESPACE", "PUBLIC")


@dataclass(frozen=True, slots=True)
class EntryVisibility:
    """`policies` are (visibility, selectors of namespaces) pairs: the first that selects an entry's namespace
    counts, else `default`.  Visibilities are NONE, NAMESPACE or PUBLIC.
    """

    default: str = "PUBLIC"
    policies: tuple[tuple[str, tuple[LabelSelector, ...]], ...] = ()


def read_visibility(r: Reader) -> EntryVisibility | None:
    """The limits, None where they do not hold for sidecars and gateways, which are all that is served."""
    default = _read_level(r, "defaultVisibility")
    policies = r.messages("policies", _read_policy)
    if not r.boolean("applyToSidecars"):
        message = "is not true, so that the limits hold for ambient mode alone, which is not supported"
        r.warn("applyToSidecars", message, "say applyToSidecars: true")
        return None
    return EntryVisibility(default, policies)


def _read_level(r: Reader, name: str) -> str:
    found = r.enum(name, VISIBILITIES, VISIBILITIES[0])
    return "PUBLIC" if found == VISIBILITIES[0] else found


def _read_policy(r: Reader) -> tuple[str, tuple[LabelSelector, ...]]:
    r.demand("matchingRules", "say which namespaces it is for")
    rules = r.messages("matchingRules", _read_rule)
    return _read_level(r, "visibility"), tuple(rule for rule in rules if rule is not None)


def _read_rule(r: Reader) -> LabelSelector | None:
    r.demand("namespaceSelector", "select namespaces by their labels")
    return r.message("namespaceSelector", read_label_selector)
