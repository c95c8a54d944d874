"""The workloads by name.

    workload("endpoint-rotation", Mesh(services=100), seed=1, seconds=60.0, pods=5)

Each takes options of its own, with defaults.  Without a mesh the scenario's own one is used, told in
the dialect that every server under test reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from controlplane.lab.churn import days, istio
from controlplane.lab.churn.mesh import Mesh
from controlplane.lab.churn.scenario import Scenario, WorkloadError
from controlplane.lab.churn.workload import Workload

_ENTRIES = Mesh(services=100, endpoints=10, namespaces=10, dialect="serviceentry")

SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        "endpoint-rotation",
        "Pods are replaced by others at other addresses.",
        _ENTRIES,
        days.endpoint_rotation,
    ),
    Scenario(
        "rolling-deployment",
        "Services roll out a new version, one pod after the other.",
        Mesh(services=100, endpoints=10, namespaces=10, dialect="serviceentry", versions=2),
        days.rolling_deployment,
    ),
    Scenario(
        "virtual-service-edits",
        "Weights of routes change, one VirtualService at a time.",
        _ENTRIES,
        days.virtual_service_edits,
    ),
    Scenario(
        "destination-rule-edits",
        "Limits and hashing change, one DestinationRule at a time.",
        _ENTRIES,
        days.destination_rule_edits,
    ),
    Scenario(
        "mixed",
        "Endpoints, VirtualServices and DestinationRules change at random, independently.",
        _ENTRIES,
        days.mixed,
    ),
    Scenario(
        "config-burst",
        "Many objects are written at once, as a deployment tool does.",
        _ENTRIES,
        days.config_burst,
    ),
    Scenario(
        "namespace-onboarding",
        "Namespaces full of new services arrive.",
        _ENTRIES,
        days.namespace_onboarding,
    ),
    Scenario(
        "node-failure",
        "A machine fails: pods of many services go away at once and come up elsewhere.",
        Mesh(services=100, endpoints=10, namespaces=10, dialect="serviceentry", nodes=20),
        days.node_failure,
    ),
    Scenario(
        "reconnect-storm",
        "Proxies lose their connections and come back all at once, while pods are replaced.",
        _ENTRIES,
        days.reconnect_storm,
    ),
    Scenario(
        "airbnb",
        "Airbnb's published lab: 50 services with 500 pods, of which 5 are rotated each 10 seconds; "
        "a VirtualService changes each 5 seconds.",
        Mesh(services=50, endpoints=10, namespaces=10, dialect="serviceentry", virtual_services=1),
        days.airbnb,
    ),
    *istio.CASES,
)

BY_NAME: Mapping[str, Scenario] = {one.name: one for one in SCENARIOS}


def workload(
    name: str, mesh: Mesh | None = None, seed: int = 0, seconds: float = 60.0, **options: Any
) -> Workload:
    """The schedule of a workload; raises WorkloadError when there is none of that name."""
    return scenario(name)(mesh, seed, seconds, **options)


def scenario(name: str) -> Scenario:
    """A scenario by name."""
    if name in istio.UNSERVED:
        raise WorkloadError(f"{name} cannot be run: {istio.UNSERVED[name]}")
    if name not in BY_NAME:
        raise WorkloadError(f"no workload {name!r}; there are: {', '.join(sorted(BY_NAME))}")
    return BY_NAME[name]
