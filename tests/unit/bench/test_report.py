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


def test_a_proxy_that_wants_no_certificate_has_no_wait_for_one() -> None:
    wait = {"p50": 1.5, "p90": 2.0, "p99": 2.5, "max": 3.0}
    arms = {
        "plaintext": {"warm": wait, "secured": None, "cpu": 2.0},
        "certificates": {"warm": wait, "secured": wait, "cpu": 4.0},
    }
    found = {**RESULTS, "cases": {"certificates": {"proxies": 1000, "arms": arms}}}
    *_, plain, certified = list(report.tables(found))[-1].splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in (plain, certified)]
    assert cells[0] == ["plaintext", "", "", "", "", "1.5", "3", "2", "2"]
    assert cells[1] == ["certificates", "1.5", "2", "2.5", "3", "1.5", "3", "4", "4"]


def test_what_is_no_cryptography_is_the_rest() -> None:
    one = {"rounds": 1, "per_second": 10_000.0, "p50": 90.0, "p99": 120.0, "check": None}
    one |= {"key": 10.0, "signature": 20.0, "rest": 70.0, "share": 0.3}
    found = list(report.tables({**RESULTS, "cases": {"signing": {"EC key and certificate": one}}}))[-1]
    cells = [cell.strip() for cell in found.splitlines()[-1].split("|")[1:-1]]
    assert cells == ["EC key and certificate", "10000", "90", "120", "10", "", "20", "70", "30"]
