"""What patches add beside everything that is there already."""

from __future__ import annotations

from typing import Any

from controlplane.envoy.maps import Maps
from controlplane.envoy.patches.values import MESSAGES, patch_value
from controlplane.graph import Q, query
from controlplane.mesh.patches import PatchRef


@query
def added(q: Q, maps: Maps, ref: PatchRef) -> bytes | None:
    """The serialized message that a patch adds; None where one of these maps has that name already."""
    body: bytes | None = q(patch_value, ref)
    if body is None:
        return None
    message: Any = MESSAGES[ref.apply_to].FromString(body)
    taken = not message.name or any(q.at(base, args, message.name) is not None for base, args in maps)
    return None if taken else body
