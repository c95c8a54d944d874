"""After any edits, state of the world, incremental and a cold start give the same, to the byte.

A thousand edits are made in tests/envoy, more in tests/slow.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.convergence import converge

EDITS = 150


@pytest.mark.parametrize("seed", [1, 204])
def test_random_edits(tmp_path: Path, seed: int) -> None:
    responses = asyncio.run(converge(tmp_path, seed, EDITS))
    # Otherwise nothing was compared with anything.
    assert min(responses.values()) > EDITS / 25


@pytest.mark.parametrize("seed", [7, 31])
def test_random_edits_with_virtual_hosts_on_demand(tmp_path: Path, seed: int) -> None:
    responses = asyncio.run(converge(tmp_path, seed, EDITS, on_demand=True))
    assert min(responses.values()) > EDITS / 25
