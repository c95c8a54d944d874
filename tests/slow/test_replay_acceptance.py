"""Ten minutes of churn on a real server, recorded and replayed: three times the same hash, and then another.

`REPLAY_SECONDS` shortens the churn, `REPLAY_KEEP` names a folder that keeps the recording.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from tests.support.recording import ALTERED, final, play, record

pytestmark = pytest.mark.slow

SECONDS = float(os.environ.get("REPLAY_SECONDS", "600"))


def test_ten_minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = asyncio.run(record(tmp_path, SECONDS, pause=1.0, seed=7))
    if keep := os.environ.get("REPLAY_KEEP"):
        shutil.copy(recorded.path, keep)
    played = [play(recorded.path, seed) for seed in ("0", "1", "random")]
    print(*(one["sha256"] for one in played), played[0])
    assert len({one["sha256"] for one in played}) == 1
    assert played[0]["seconds"] > SECONDS
    assert played[0]["batches"] > SECONDS / 3
    assert played[0]["real_seconds"] < SECONDS / 10
    assert play(recorded.path, "0", before=ALTERED)["sha256"] != played[0]["sha256"]
    _, has = final(recorded.path, monkeypatch)
    for key, views in recorded.clients.items():
        assert {url: has[key].get(url, {}) for url in views} == views, key
