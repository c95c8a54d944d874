"""Containers as Kubernetes would have them: Pods, Services, EndpointSlices, and Problems.

One pure function; what it makes goes through the ordinary stream of changes, so that Istio's objects apply
to containers as they do to pods.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from controlplane.model.problem import Origin, Problem
from controlplane.sources.docker.container import Container
from controlplane.sources.docker.services import service_objects
from controlplane.sources.docker.workloads import Place, Workload, workloads

__all__ = ["Described", "Place", "describe", "origin_of"]


class Described(NamedTuple):
    """What containers are to the mesh; no two objects have the same kind and name."""

    objects: tuple[Mapping[str, Any], ...]
    problems: tuple[Problem, ...]


def describe(containers: Iterable[Container], place: Place) -> Described:
    """The objects of these containers, sorted and the same for the same containers in any order."""
    found, problems = workloads(containers, place)
    objects: list[Mapping[str, Any]] = [_pod(one, place) for one in found if one.addresses]
    made, disagreements = service_objects(found, place)
    return Described((*objects, *made), tuple(sorted({*problems, *disagreements}, key=_order)))


def origin_of(raw: Mapping[str, Any], source: str = "docker") -> Origin:
    """Where an object of `describe` comes from, as Problems about it say; it changes with the name only."""
    return Origin(f"{source}:{raw['metadata']['name']}", None)


def _order(one: Problem) -> tuple[str, str, str]:
    return (one.name, one.field, one.message)


def _pod(workload: Workload, place: Place) -> Mapping[str, Any]:
    metadata: dict[str, Any] = {
        "name": workload.name,
        "namespace": place.namespace,
        "labels": dict(workload.labels),
        "annotations": {"mini-istiod.container": workload.container.name},
    }
    if workload.terminating:
        # That it is there says all; Docker does not tell the time.
        metadata["deletionTimestamp"] = "1970-01-01T00:00:00Z"
    ports = [{"containerPort": target} for target in sorted({port.target for port in workload.ports})]
    ready = "True" if workload.ready and not workload.terminating else "False"
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {
            "serviceAccountName": workload.account,
            "containers": [{"name": "app", "ports": ports}],
        },
        "status": {
            "phase": "Running",
            "podIP": workload.addresses[0],
            "podIPs": [{"ip": address} for address in workload.addresses],
            "conditions": [{"type": "Ready", "status": ready}],
        },
    }
