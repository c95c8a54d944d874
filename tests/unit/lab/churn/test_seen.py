"""Whoever is sent a change can see its number: from the object to the bytes of some proxy."""

from __future__ import annotations

import pytest

from controlplane.envoy.snapshot import snapshot
from controlplane.graph import Graph
from controlplane.lab.churn import markers
from controlplane.lab.churn.mesh import Mesh
from controlplane.lab.churn.workload import Workload
from controlplane.lab.churn.workloads import BY_NAME, workload
from controlplane.model.kinds import BY_NAME as KIND
from controlplane.model.locality import Locality
from controlplane.model.proxy import parse_node

DAYS = [name for name in sorted(BY_NAME) if not name.startswith("istio-")]


def written(raw, value=None):
    parsed = KIND[raw["kind"]].parse(raw)
    return KIND[raw["kind"]].table, parsed.key, parsed.value if value is None else None


def sent_numbers(made: Workload) -> tuple[set[int], set[int]]:
    """The numbers that proxy 0 is sent, and those that it should be."""
    graph = Graph()
    graph.commit([written(raw) for raw in made.initial])
    node = made.mesh.node(0).as_json()
    proxy = parse_node(node["id"], node["metadata"], Locality("", "", ""))
    seen: set[int] = set()
    for event in made.events:
        graph.commit([written(one.raw, None if one.action == "put" else False) for one in event.changes])
        for resources in snapshot(graph, proxy).values():
            for resource in resources.values():
                seen |= markers.found(resource.body)
    return seen, {edit.number for edit in made.edits() if edit.marked}


@pytest.mark.parametrize("dialect", ["kubernetes", "serviceentry"])
@pytest.mark.parametrize("name", DAYS)
def test_every_marked_change_is_seen(name: str, dialect) -> None:
    nodes, versions = 4 if name == "node-failure" else 0, 2 if name == "rolling-deployment" else 1
    mesh = Mesh(services=8, endpoints=4, namespaces=2, dialect=dialect, nodes=nodes, versions=versions)
    options = {"config-burst": {"objects": 12}, "airbnb": {"rotate": 1.0, "edit": 1.0}}.get(name, {})
    made = workload(name, mesh, 1, 6.0, **options)
    seen, expected = sent_numbers(made)
    assert expected
    assert seen == expected


@pytest.mark.parametrize("name", ["istio-tcp", "istio-auto", "istio-tls", "istio-serviceentry-workloadentry"])
def test_so_are_those_of_istios_cases(name: str) -> None:
    seen, expected = sent_numbers(workload(name, seed=1, seconds=2.5))
    assert len(expected) == 2
    assert seen == expected
