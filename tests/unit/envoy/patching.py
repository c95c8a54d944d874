"""Two services, their sidecars, and the EnvoyFilters of a test."""

from __future__ import annotations

import json
from typing import Any

from controlplane.envoy.patches.values import read_value
from controlplane.mesh.projections import ProxyView
from controlplane.model.kinds.envoy_filter import ConfigPatch
from tests.support.envoy_filters import patch
from tests.unit.envoy.traffic import Traffic
from tests.unit.mesh.world import pod, service

WEB = "web.default.svc.cluster.local"
OUT = "SIDECAR_OUTBOUND"


def timeout(seconds: int, **match: Any) -> dict[str, Any]:
    return patch("CLUSTER", "MERGE", {"connect_timeout": f"{seconds}s"}, **match)


def world(*filters: str) -> Traffic:
    made = Traffic(
        service("web", "http=80:8080", ip="10.96.0.1")
        + service("api", "http=80:8080", ip="10.96.0.2")
        + pod("web-1", "10.0.0.1", "app: web")
        + pod("api-1", "10.0.0.2", "app: api")
    )
    for text in filters:
        made.apply(text)
    return made


def sidecar(made: Traffic, app: str = "web", **metadata: Any) -> ProxyView:
    address = {"web": "10.0.0.1", "api": "10.0.0.2"}[app]
    id = f"sidecar~{address}~{app}-1.default~default.svc.cluster.local"
    return made.view(id, {"NAMESPACE": "default", "LABELS": {"app": app}, **metadata})


def timeouts(made: Traffic, view: ProxyView) -> dict[str, int]:
    found = made.clusters(view)
    return {name.split("|")[-1]: one.connect_timeout.seconds for name, one in found.items() if "|80|" in name}


def value(what: str, content: Any, operation: str = "ADD") -> Any:
    """The message that a patch holds, in which nothing is wrong."""
    found = read_value(ConfigPatch(what, operation, value=json.dumps(content)))
    assert found.wrong == () and found.unknown == ()
    return found.message
