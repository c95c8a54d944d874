"""Changes of every kind become effective at real Envoys, and the accounts of it fit together."""

from __future__ import annotations

from pathlib import Path

import pytest

from controlplane.lab.client import Protocol
from controlplane.lab.effective import write
from controlplane.lab.effective_rows import Effective
from controlplane.lab.effective_run import Setup, measure
from controlplane.lab.effective_schedule import KINDS
from controlplane.lab.latency import dataset
from tests.support.envoys import MARKS, laboratory

pytestmark = MARKS

# A millisecond by which Envoy rounds its times down.
ROUNDED = 0.001


@pytest.mark.parametrize("protocol", ["DELTA_GRPC", "GRPC"])
def test_every_change_becomes_effective_everywhere(tmp_path: Path, protocol: Protocol) -> None:
    setup = Setup(envoys=3, services=20, changes=3, interval=0.9, protocol=protocol)
    with laboratory(tmp_path) as lab:
        rows, found = measure(lab, setup, lab.directory / "push-log.jsonl")
    assert len(rows) == 3 * 3
    assert {row.kind for row in rows} == set(KINDS)
    for row in rows:
        assert row.effective is not None, row
        assert row.resolution is not None and row.warm is not None, row
        assert row.source is not None and row.commit is not None, row
        assert row.planned is not None and row.written is not None and row.acked is not None, row
        # No cause is later than what it causes, on one clock; files are stamped by the kernel's tick.
        assert row.source <= row.commit <= row.planned <= row.written <= row.acked, row
        assert row.planned <= row.warm + ROUNDED, row
        # The proxy had taken it in before the server took in that it had.
        assert row.warm <= row.acked, row
        # It cannot be felt before it was sent, nor unfelt from before on.
        assert row.planned <= row.effective, row
        assert 0 < row.resolution < row.effective, row
        assert row.returned == 0, row
    # Each request gave the answer of one state or the other.
    assert sum(row.failed for row in rows) == 0
    assert min(row.requests for row in rows) > 10

    summary = write(tmp_path, setup, {}, rows, found)
    assert summary["not_effective"] == 0
    assert summary["spans_ms"]["all"]["acked_to_effective"]["n"] == len(rows)
    read = dataset.read(tmp_path / "effective.csv", Effective)
    assert [(row.number, row.proxy) for row in read] == [(row.number, row.proxy) for row in rows]
    page = (tmp_path / "report.html").read_text()
    assert all(kind in page for kind in KINDS)
