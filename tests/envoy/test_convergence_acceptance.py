"""A thousand random edits over the real server: both variants and a cold start end in the same state."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.support.convergence import converge

EDITS = 1000


def test_a_thousand_edits(tmp_path: Path) -> None:
    responses = asyncio.run(converge(tmp_path, seed=3, edits=EDITS))
    # Otherwise nothing was compared with anything.
    assert min(responses.values()) > EDITS / 25
