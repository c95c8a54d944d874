"""The tables of a run: what they say about the targets."""

from __future__ import annotations

from typing import Any

from bench import report

RESULTS: dict[str, Any] = {
    "machine": {"cores": 4, "memory_gb": 8, "kernel": "6", "python": "3.11", "packages": {}, "load": 0.1},
    "cases": {},
}


def test_targets_count_for_the_full_size_only() -> None:
    full, small = (list(report.tables(RESULTS, quick))[1] for quick in (False, True))
    assert full.startswith("### Against the targets\n")
    assert "full size" not in full
    assert "the targets are for the full size and do not count here" in small.splitlines()[0]
    assert "| target at full size |" in small
