"""What is said about a run follows from its tables, and about repeats from the runs."""

import pytest

from controlplane.lab.latency.dataset import Change, Latency, Receipt, Sample
from controlplane.lab.latency.pushlog import Pause, PushLog
from controlplane.lab.latency.summary import Material, counts, pooled, summarise
from tests.unit.lab.latency.logs import EP, VS

ROW = Latency(
    1,
    "a.n",
    touched=True,
    source=0.0,
    debounce_in=0.01,
    commit=0.11,
    compute=0.12,
    plan=0.13,
    write=0.15,
    outside=0.14,
    ack=0.16,
    status="acked",
)


def material(rows: list[Latency], late: float = 0.0) -> Material:
    """Two changes, scheduled one and two seconds after the start at 100; receipts of 10 bytes."""
    changes = {1: Change(1, *VS, "put", 1.0, 101.0 + late), 2: Change(2, *EP, "put", 2.0, 102.0)}
    receipts = [Receipt("a.n", "rds", at, 10, 1, 0, (), None) for at in (50.0, 101.2, 102.2)]
    sizes = ((90.0, 4), (101.0, 7), (103.0, 5))
    samples = [Sample(at, "server", at / 10, mb * 1_000_000, 0.0, None, None) for at, mb in sizes]
    log = PushLog(pauses=[Pause(50.0, 9.0, None), Pause(102.0, 0.004, None), Pause(102.5, 0.02, "2")])
    return Material(rows, changes, receipts, samples, log, start=100.0, begin=100.5, end=104.0)


def test_latencies_are_of_pairs_that_the_change_touched_over_a_stream_that_was_there() -> None:
    assert counts(ROW)
    for other in (
        ROW._replace(touched=False),
        ROW._replace(outside=None),
        ROW._replace(status="absent"),
        ROW._replace(note="reconnected"),
    ):
        assert not counts(other)
    rows = [ROW, ROW._replace(proxy="b.n", outside=0.24, ack=None), ROW._replace(touched=False)]
    found = summarise(material(rows))
    assert (found["changes"], found["pairs"]) == (2, 2)
    assert found["latency_ms"]["max"] == pytest.approx(240)
    assert found["last_receipt_ms"]["n"] == 1
    assert found["by_kind_ms"].keys() == {"VirtualService"}


def test_a_harness_that_is_late_does_not_hide_who_waited() -> None:
    found = summarise(material([ROW], late=0.5))
    assert found["latency_ms"]["max"] == pytest.approx(140)
    assert found["from_schedule_ms"]["max"] == pytest.approx(640)
    assert found["late_ms"]["max"] == pytest.approx(500)


def test_stages_are_of_changes_that_went_their_own_way() -> None:
    coalesced = ROW._replace(note="superseded coalesced", source=5.0, outside=5.2)
    found = summarise(material([ROW, coalesced]))
    assert found["latency_ms"]["n"] == 2
    stages = found["stages_ms"]
    assert {name: round(one["max"], 6) for name, one in stages.items()} == {
        "watch": 0.0,
        "notice": 10.0,
        "debounce": 100.0,
        "compute": 10.0,
        "plan": 10.0,
        "write": 20.0,
        "wire": -10.0,
        "ack": 10.0,
    }
    assert found["notes"] == {"coalesced": 1, "superseded": 1}


def test_cost_is_of_the_measured_part() -> None:
    found = summarise(material([ROW]))
    assert (found["bytes_per_change"], found["pushes_per_change"]) == (10.0, 1.0)
    assert found["cpu_seconds_per_change"] == pytest.approx(0.1)
    assert (found["rss_mb"], found["rss_peak_mb"]) == (5.0, 7.0)
    assert (found["lag_ms"]["max"], found["gc_ms"]["max"]) == pytest.approx((4.0, 20.0))
    assert found["bytes_by_type"] == {"rds": {"responses": 2, "bytes": 20}}


def test_repeats_are_means_with_intervals_and_what_differs_is_listed() -> None:
    runs = [
        {
            "latency_ms": {"n": 5, "p50": p50, "p90": 20.0, "p99": 30.0},
            "cpu": p50,
            "name": "x",
            "holds": p50 < 12,
        }
        for p50 in (10.0, 11.0, 12.0)
    ]
    found = pooled(runs)
    assert found["latency_ms"]["p50"] == pytest.approx(11.0)
    low, high = found["latency_ms"]["ci95"]
    assert 10.0 <= low < 11.0 < high <= 12.0
    assert found["latency_ms"]["ci95_p90"] == [20.0, 20.0]
    assert (found["cpu"], found["name"], found["holds"]) == (pytest.approx(11.0), "x", [True, True, False])
    assert pooled(runs[:1])["latency_ms"]["ci95"] is None
