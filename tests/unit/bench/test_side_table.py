"""What a comparison says about runs: figures, pairs, verdicts."""

from __future__ import annotations

from typing import Any

import pytest

from bench.side_table import FIGURES, Figure, cells, cold, compared, last, net, shown, table


def run(repeat: int = 0, factor: float = 1.0, **changed: Any) -> dict[str, Any]:
    """A run whose times are `factor` times those of the plainest one."""
    series = {
        "latencies": [[0.11 * factor, 0.2 * factor], [0.12 * factor, 0.3 * factor], [0.4 * factor]],
        "missing": 0,
        "cpu": 0.02 * factor,
        "seconds": 3.0,
        "fleet_cpu": 0.001,
        "bytes": 700.0,
    }
    return {
        "repeat": repeat,
        "debounce": 0.1,
        "fixed_wait": 0.0,
        "rss_services": 80_000_000,
        "fresh": {"warm": [0.5, 1.5 * factor], "cpu": 1.0, "rss": 9e7, "bytes": 1e6},
        "VirtualService": series,
        "endpoints": series,
        "endpoint_bytes": 300,
        "idle_cpu": 0.005,
        "restart": {"ready": 0.5, "warm": [0.1, 1.5], "cpu": 1.0},
        "rss": {"most": 100_000_000, "peak": 120_000_000},
        **changed,
    }


SPEED = Figure("a time", "s", lambda one: one["speed"])


def test_the_last_proxy_counts_and_the_middle_change() -> None:
    assert last(run(), "VirtualService") == 0.3


def test_what_was_told_to_wait_is_taken_off() -> None:
    assert net(run(fixed_wait=0.15), "endpoints") == pytest.approx(0.3 - 0.1 - 0.15)


def test_a_change_that_nobody_got_is_no_latency() -> None:
    lost = {"latencies": [[], []], "missing": 4, "cpu": 0.0, "bytes": 0.0}
    assert last(run(VirtualService=lost), "VirtualService") is None
    assert net(run(VirtualService=lost), "VirtualService") is None


def test_a_cold_start_includes_that_of_the_process() -> None:
    assert cold(run()) == 2.0
    assert cold(run(restart=None)) is None


def test_ratios_are_of_runs_of_the_same_repeat() -> None:
    ours = [{"repeat": 0, "speed": 1.0}, {"repeat": 2, "speed": 2.0}]
    theirs = [{"repeat": 1, "speed": 99.0}, {"repeat": 2, "speed": 6.0}, {"repeat": 0, "speed": 3.0}]
    found = compared(SPEED, ours, theirs)
    assert found is not None
    assert found["ratio"] == pytest.approx(3.0)
    assert found["pairs"] == [3.0, 3.0]


def test_runs_without_a_partner_give_no_ratio() -> None:
    assert compared(SPEED, [{"repeat": 0, "speed": 1.0}], [{"repeat": 1, "speed": 1.0}]) is None
    assert compared(SPEED, [{"repeat": 0, "speed": 0.0}], [{"repeat": 0, "speed": 1.0}]) is None


@pytest.mark.parametrize(
    ("found", "target", "text"),
    [
        (None, 3.0, ""),
        ({"ratio": 12.34, "ci95": None}, None, "12.3x"),
        ({"ratio": 12.34, "ci95": [11.0, 13.0]}, 10.0, "12.3x [11, 13] met"),
        ({"ratio": 2.0, "ci95": [1.0, 4.0]}, 3.0, "2x [1, 4] MISSED"),
    ],
)
def test_verdicts(found: Any, target: float | None, text: str) -> None:
    assert shown(found, target) == text


def test_every_row_of_the_table_has_a_cell_for_every_column() -> None:
    results = {"mini-istiod": [run(0), run(1)], "istiod": [run(0, 5.0), run(1, 5.0)], "failed": []}
    head, *rows = cells(results)
    assert head == ["figure", "unit", "mini-istiod", "istiod", "istiod / ours [95 %]", "target"]
    assert [len(row) for row in rows] == [len(head)] * len(FIGURES)
    assert rows[0][2:5] == ["300", "1,500", "5x [5, 5]"]
    assert len(table(results)) == len(FIGURES) + 2


def test_targets_are_about_istiod_at_full_size() -> None:
    runs = {"mini-istiod": [run()], "istiod-api": [run(0, 9.0)], "snapshot": [run(0, 9.0)]}
    net_row = cells(runs)[2]
    assert net_row[5:7] == ["13x met", "13x"]
    assert cells(runs, judged=False)[2][5:7] == ["13x", "13x"]


def test_what_a_server_needs_idle_is_no_part_of_a_change() -> None:
    figures = {row[0]: row for row in cells({"mini-istiod": [run()]})}
    assert figures["CPU of one endpoint change"][2] == "20"
    assert figures["... beyond what it needs idle"][2] == "15"


def test_the_table_stands_without_our_own_runs() -> None:
    head, first, *_ = cells({"other": [run()]})
    assert head[2:4] == ["mini-istiod", "other"]
    assert first[2:5] == ["", "300", ""]
