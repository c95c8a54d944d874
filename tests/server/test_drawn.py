"""Meshes of all kinds on a real server, for sidecars and gateways, with both variants of the protocol.

After every edit each client holds what a graph from scratch says, and on the way to it no listener or route
led to a cluster that was not there.  More in tests/slow.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from controlplane.envoy import pb
from controlplane.envoy.types import CLUSTER, ENDPOINT, LISTENER, ROUTE
from tests.support.drawn_server import State, converge, missing


@pytest.mark.whole
@pytest.mark.parametrize(("seed", "on_demand"), [(35, False), (71, True)])
def test_edits_of_all_kinds(tmp_path: Path, seed: int, on_demand: bool) -> None:
    responses = asyncio.run(converge(tmp_path, seed, 6, on_demand=on_demand))
    assert all(responses[short] > 12 for short in ("cds", "eds", "lds", "rds")), responses
    assert (responses["vhds"] > 0) == on_demand
    # An EnvoyFilter of these meshes gives a filter by ECDS.
    assert responses["ecds"] > 0


def _state(route: str, *clusters: str) -> State:
    parts = pb.route_components
    leading = parts.Route(route=parts.RouteAction(cluster=route))
    host = parts.VirtualHost(name="h", domains=["*"], routes=[leading])
    body = pb.deterministic(pb.route.RouteConfiguration(name="80", virtual_hosts=[host]))
    known = {name: name.encode() for name in clusters}
    return {CLUSTER: known, ENDPOINT: dict(known), LISTENER: {}, ROUTE: {"80": body}}


def test_what_is_missing_on_the_way_is_seen() -> None:
    before, after = _state("a", "a"), _state("b", "b")
    assert list(missing(_state("a", "a", "b"), before, after)) == []
    assert list(missing(_state("b", "a", "b"), before, after)) == []
    # Before it was made, and after it was broken.
    assert list(missing(_state("b", "a"), before, after)) == ["rds 80 leads to b, which is not there"]
    assert list(missing(_state("a", "b"), before, after)) == ["rds 80 leads to a, which is not there"]
    # What the mesh itself has not is no fault of the order.
    assert list(missing(_state("b", "a"), before, _state("b", "a"))) == []
    bare = _state("a", "a")
    bare[ENDPOINT].clear()
    assert list(missing(bare, before, after)) == ["cds a lost its endpoints"]
