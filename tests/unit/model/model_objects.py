"""Raw objects to parse."""

from __future__ import annotations

from typing import Any

from controlplane.model.kinds import BY_NAME
from controlplane.model.problem import Origin

WHERE = Origin("mesh/rules.yaml", 7)


def build(kind: str, body: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    """A raw object; `body` is the spec of a custom kind, and the rest of the object otherwise."""
    declared = BY_NAME[kind]
    if declared.shape == "bare":
        return body
    raw = {
        "apiVersion": declared.api_versions[0],
        "kind": kind,
        "metadata": {"name": "it", "namespace": "shop", **metadata},
    }
    return {**raw, "spec": body} if declared.shape == "custom" else {**raw, **body}
