"""Many drawn meshes on a real server; see tests/support/drawn_server.py.  `MESH_SEEDS` says how many."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from pathlib import Path

import pytest

from tests.support.drawn_server import converge

pytestmark = pytest.mark.slow

MESHES = int(os.environ.get("MESH_SEEDS", "30"))
EDITS = 20


def test_edits(tmp_path: Path) -> None:
    responses: Counter[str] = Counter()
    # The first has a filter by ECDS.
    for seed in (35, *range(100, 99 + MESHES)):
        responses += asyncio.run(converge(tmp_path / str(seed), seed, EDITS, on_demand=seed % 2 == 1))
    assert {"cds", "eds", "lds", "rds", "vhds", "ecds"} <= responses.keys(), responses
