"""EnvoyFilters as text."""

from __future__ import annotations

import json
from typing import Any

TYPES = "type.googleapis.com/envoy.extensions.filters"
"""What the type URLs of filters begin with."""


def envoy_filter(*patches: dict[str, Any], name: str = "it", namespace: str = "default", **spec: Any) -> str:
    """One with these patches, as a YAML document; `app` is whose workloads it selects, `created` its age."""
    meta = {"name": name, "namespace": namespace}
    if "created" in spec:
        meta["creationTimestamp"] = spec.pop("created")
    if "app" in spec:
        spec["workloadSelector"] = {"labels": {"app": spec.pop("app")}}
    found = {"kind": "EnvoyFilter", "apiVersion": "networking.istio.io/v1alpha3", "metadata": meta}
    return json.dumps({**found, "spec": {"configPatches": patches, **spec}}) + "\n---\n"


def patch(what: str, how: str, value: Any = None, **match: Any) -> dict[str, Any]:
    """An element of `configPatches`."""
    change = {"operation": how} | ({} if value is None else {"value": value})
    return {"applyTo": what, "match": match, "patch": change}
