"""Two dialects of one mesh."""

from __future__ import annotations

import pytest

from controlplane.lab.churn.mesh import Mesh, Raw
from controlplane.model.kinds import BY_NAME


def services(raws: list[Raw]) -> dict[str, tuple[str, frozenset[str]]]:
    """Address and endpoints of each service by host, in either dialect."""
    found: dict[str, tuple[str, frozenset[str]]] = {}
    slices = {
        (raw["metadata"]["namespace"], raw["metadata"]["labels"]["kubernetes.io/service-name"]): raw
        for raw in raws
        if raw["kind"] == "EndpointSlice"
    }
    for raw in raws:
        meta, spec = raw["metadata"], raw.get("spec", {})
        if raw["kind"] == "Service":
            entries = slices[meta["namespace"], meta["name"]]["endpoints"]
            host = f"{meta['name']}.{meta['namespace']}.svc.cluster.local"
            found[host] = spec["clusterIP"], frozenset(one["addresses"][0] for one in entries)
        elif raw["kind"] == "ServiceEntry":
            entries = spec["endpoints"]
            found[spec["hosts"][0]] = spec["addresses"][0], frozenset(one["address"] for one in entries)
    return found


@pytest.mark.parametrize("protocol", ["HTTP", "TCP", "TLS", ""])
def test_both_dialects_tell_the_same_services(protocol: str) -> None:
    sizes = {"services": 30, "namespaces": 4, "protocol": protocol}
    one, other = Mesh(**sizes), Mesh(**sizes, dialect="serviceentry")
    told = services(list(one.objects()))
    assert len(told) == 30
    assert told == services(list(other.objects()))
    assert len({vip for vip, _ in told.values()}) == 30
    assert one.node(7) == other.node(7)
    assert one.node(37).ip in told["s7.ns3.svc.cluster.local"][1]


@pytest.mark.parametrize("dialect", ["kubernetes", "serviceentry"])
def test_everything_in_a_rich_mesh_is_valid(dialect) -> None:
    mesh = Mesh(services=20, endpoints=6, namespaces=3, dialect=dialect, versions=3, nodes=5, scoped=True)
    kinds = set()
    for raw in mesh.objects():
        parsed = BY_NAME[raw["kind"]].parse(raw)
        assert parsed.value is not None, parsed.problems
        assert parsed.problems == ()
        kinds.add(raw["kind"])
    assert {"Sidecar", "VirtualService", "DestinationRule"} <= kinds
    assert {"Pod", "Node"} <= kinds if dialect == "kubernetes" else {"ServiceEntry"} <= kinds
    assert {pod.version for pod in mesh.pods(0)} == {"v1", "v2", "v3"}
    assert mesh.pods(0)[0].node == "node-0"
    assert "node-0" not in {pod.node for i in range(20) for pod in mesh.pods(i)[1:]}


@pytest.mark.parametrize("endpoints", [1, 10, 100, 1000])
def test_no_two_pods_share_an_address(endpoints: int) -> None:
    mesh = Mesh(services=5, endpoints=endpoints, namespaces=2)
    addresses = [pod.address for i in range(5) for pod in mesh.pods(i)]
    addresses += [mesh.spare(i, n).address for i in range(5) for n in range(28)]
    assert len(addresses) == len(set(addresses)) == 5 * (endpoints + 28)
