"""What is to be done to one resource: the patches that are for it, with their values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from controlplane.envoy.patches.values import MESSAGES, patch_value
from controlplane.graph import Q
from controlplane.mesh.patches import Head
from controlplane.model.kinds.envoy_filter_match import Match

MERGES = ("MERGE", "MERGE_AND_REPLACE_LIST")


class Patch(NamedTuple):
    """A patch with its value, which nobody may change: a message of MESSAGES[apply_to]."""

    apply_to: str
    operation: str
    match: Match
    filter_class: str
    value: Any

    @property
    def merges(self) -> bool:
        """Whether it changes what is there, and puts nothing in or out."""
        return self.operation in MERGES

    @property
    def replaces_lists(self) -> bool:
        """Whether its lists take the place of those that are there."""
        return self.operation == "MERGE_AND_REPLACE_LIST"


def todo(q: Q, found: Iterable[Head]) -> list[Patch]:
    """The patches of these heads, in their order; those whose value is no message are left out."""
    return [patch for head in found if (patch := _patch(q, head)) is not None]


def _patch(q: Q, head: Head) -> Patch | None:
    value = q(patch_value, head.ref)
    if value is None:
        return None
    message = MESSAGES[head.apply_to].FromString(value)
    return Patch(head.apply_to, head.operation, head.match, head.filter_class, message)


def merges_last(patches: list[Patch]) -> list[Patch]:
    """In the order in which filters are patched: as in Istio, what is put in is merged into."""
    return sorted(patches, key=lambda patch: patch.merges)


def of(patches: Iterable[Patch], apply_to: str) -> list[Patch]:
    """Those for one kind of target."""
    return [patch for patch in patches if patch.apply_to == apply_to]
