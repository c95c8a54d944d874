"""A short run of everything: a server process, a fleet, a schedule; and both clocks agree about each push."""

import json
from pathlib import Path

import pytest

from controlplane.lab.churn.mesh import Mesh
from controlplane.lab.churn.workloads import workload
from controlplane.lab.experiment import Setup, run
from controlplane.lab.latency import dataset
from controlplane.lab.latency.dataset import Change, Latency, Receipt, Sample
from controlplane.lab.subjects import Options

pytestmark = pytest.mark.whole

PROXIES = 20
MESH = Mesh(services=20, endpoints=3, namespaces=4, dialect="serviceentry", virtual_services=2)


def test_every_change_is_followed_to_every_proxy_and_the_stages_stand_in_order(tmp_path: Path) -> None:
    rates = {"endpoints": 4.0, "virtual_services": 3.0, "destination_rules": 2.0}
    schedule = workload("mixed", MESH, seed=3, seconds=3.0, **rates)
    setup = Setup(proxies=PROXIES, options=Options(debounce_after=0.05), quiet=2.0, warm_up=1)
    summary = run(schedule, setup, tmp_path)

    changes = {change.number: change for change in dataset.read(tmp_path / "changes.csv", Change)}
    assert sorted(changes) == [edit.number for edit in schedule.edits()]
    rows = dataset.read(tmp_path / "latency.csv", Latency)
    assert len(rows) == len(changes) * PROXIES
    # Nobody is scoped: what changes, changes for all.
    assert {(row.number, row.status) for row in rows if row.status != "acked"} == set()
    assert all(row.outside is not None for row in rows)

    found = summary["agreement"]
    assert found["rows"] == len(rows)
    assert found["orders_broken"] == {}
    assert found["incomplete"] == 0
    # Each response of the log was received, each receipt is in the log, and both rules name the same one.
    assert found["receipts_without_response"] == found["responses_without_receipt"] == 0
    assert found["rules_differ"] == []
    for row in rows:
        assert row.plan is not None and row.outside is not None and row.ack is not None
        assert row.plan <= row.outside <= row.ack

    told = json.loads((tmp_path / "summary.json").read_text())
    assert told["changes"] == len(changes)
    assert told["latency_ms"]["n"] == len(rows)
    # Every change waits for quiet, at least so long.
    assert told["stages_ms"]["debounce"]["min"] >= 50
    about = json.loads((tmp_path / "run.json").read_text())
    assert about["digest"] == schedule.digest()
    receipts = dataset.read(tmp_path / "receipts.csv", Receipt)
    assert {receipt.proxy for receipt in receipts} == {row.proxy for row in rows}
    samples = dataset.read(tmp_path / "samples.csv", Sample)
    assert {sample.process for sample in samples} == {"server", "fleet"}
    assert any(sample.rss > 0 and sample.lag is not None for sample in samples)
