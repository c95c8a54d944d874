"""Many thousand random edits: see tests/support/convergence.py."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.convergence import converge

pytestmark = pytest.mark.slow

EDITS = 3000


@pytest.mark.parametrize("seed", range(100, 106))
def test_random_edits(tmp_path: Path, seed: int) -> None:
    responses = asyncio.run(converge(tmp_path, seed, EDITS))
    assert min(responses.values()) > EDITS / 25
