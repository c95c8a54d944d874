"""Many edits of meshes of all kinds: see tests/support/drawn_mesh.py.  `MESH_SEEDS`: how many, from 60."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from controlplane.graph import Graph
from controlplane.graph.table import Rows
from controlplane.model.kinds import BY_NAME
from tests.support import genes
from tests.support.drawn_mesh import Drawn
from tests.support.edited import edited

pytestmark = pytest.mark.slow

MESHES = int(os.environ.get("MESH_SEEDS", "60"))
EDITS = 30
_DIGEST = """
from tests.support.drawn_mesh import Drawn
for seed in range(4):
    mesh = Drawn(seed)
    for _ in range(10):
        mesh.edit()
        mesh.settle()
    print(seed, mesh.digest())
"""


def test_edits() -> None:
    seen: Counter[str] = Counter()
    leaves: set[tuple[str, genes.Path]] = set()
    for seed in range(100, 100 + MESHES):
        mesh = edited(Drawn(seed), seed, EDITS)
        seen += mesh.seen
        leaves |= mesh.leaves
    known = {
        (one["kind"], path) for found in genes.cases().values() for one in found for path in genes.leaves(one)
    }
    # Nearly everything that the golden cases say was said somewhere, and beside something else.
    assert len(known - leaves) < 0.02 * len(known), known - leaves
    assert min(seen[kind] for kind in ("EnvoyFilter", "Gateway", "Sidecar", "MeshConfig", "Node")) > MESHES


def test_the_order_of_hashes_means_nothing() -> None:
    said = {
        subprocess.run(
            [sys.executable, "-c", _DIGEST],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("0", "1", "random")
    }
    assert len(said) == 1, said


@pytest.mark.parametrize(
    "kind",
    [
        "MeshConfig",
        "Service",
        "Pod",
        "VirtualService",
        "DestinationRule",
        "Gateway",
        "EnvoyFilter",
        "Sidecar",
    ],
)
def test_a_kind_that_is_not_heard_is_noticed(kind: str) -> None:
    """What this test can see: a graph that is deaf to one table differs from a fresh one, sooner or later."""
    with _deaf(kind), pytest.raises(AssertionError):
        for seed in range(40):
            edited(Drawn(seed), seed, 10)


@contextmanager
def _deaf(kind: str) -> Iterator[None]:
    """Graphs in which readers of a table's rows are not told that they changed."""
    put, touch = Rows.put, Graph.touch
    table = BY_NAME[kind].table

    def silent_put(self, graph, key, value, traits):
        if self.table is table:
            Graph.touch = lambda *args, **kwargs: None
        try:
            return put(self, graph, key, value, traits)
        finally:
            Graph.touch = touch

    Rows.put = silent_put
    try:
        yield
    finally:
        Rows.put, Graph.touch = put, touch
