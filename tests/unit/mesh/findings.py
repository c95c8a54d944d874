"""Objects in which something is wrong, and what is found of it."""

from __future__ import annotations

from controlplane.mesh.checks import checks
from tests.unit.mesh.world import World, service


def found(world: World) -> list[str]:
    """Every Problem as "Kind/name field: message", sorted."""
    out = []
    for ref, problems in world.map(checks).items():
        for problem in problems:
            assert (problem.kind, problem.namespace, problem.name) == ref
            assert problem.level == "warning" and problem.remedy
            out.append(f"{problem.kind}/{problem.name} {problem.field}: {problem.message}")
    return out


def route(name: str, spec: str, namespace: str = "default", created: str = "", hosts: str = "[web]") -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}, namespace: {namespace}, creationTimestamp: {created!r}}}
spec:
  hosts: {hosts}
{spec}
---
"""


def to(destination: str) -> str:
    return f"  http: [{{route: [{{destination: {{{destination}}}}}]}}]"


def rule(name: str, spec: str, created: str = "") -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {name}, namespace: default, creationTimestamp: {created!r}}}
spec: {{host: reviews, {spec}}}
---
"""


def entry(name: str, host: str, spec: str, protocol: str = "TCP", created: str = "") -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, namespace: default, creationTimestamp: {created!r}}}
spec: {{hosts: [{host}], ports: [{{number: 3306, name: p, protocol: {protocol}}}], {spec}}}
---
"""


REVIEWS = service("reviews", "http=80")
HOST = "reviews.default.svc.cluster.local"
TO = "{destination: {host: reviews}}"
