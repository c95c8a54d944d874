"""The command line of the lab: what it makes of its arguments, before anything is started."""

import argparse
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from controlplane.base.errors import MiniIstiodError
from controlplane.lab import bench, bench_run, bench_series, bench_table
from controlplane.lab.churn.mesh import Mesh
from controlplane.lab.churn.workloads import SCENARIOS, workload
from controlplane.lab.experiment import Setup
from controlplane.lab.subjects import BY_NAME
from controlplane.lab.warm_up import touches


def parsed(*argv: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    bench.add_arguments(parser)
    return parser.parse_args(argv)


def series(*argv: str) -> bench_series.Series:
    return bench_run.series(parsed(*argv))


def test_airbnbs_lab_is_the_published_one() -> None:
    made = series("run", "airbnb")
    (setup,) = made.setups
    assert (made.workload.mesh.services, made.workload.mesh.endpoints, setup.proxies) == (50, 10, 500)
    assert (setup.options.debounce_after, setup.options.debounce_max) == (0.1, 10.0)
    assert setup.subject.name == "mini-istiod"


def test_sizes_and_options_reach_the_workload_and_the_server() -> None:
    made = series(
        *("run", "endpoint-rotation", "--services", "30", "--namespaces", "3", "--proxies", "7"),
        *("--seconds", "4", "--set", "arrivals=every:2", "--protocol", "sotw", "--throttle", "9"),
        *("--no-push-log", "--debounce-after", "20s", "--subject", "snapshot", "--subject", "mini-istiod"),
    )
    assert (made.workload.mesh.services, made.workload.mesh.endpoints) == (30, 10)
    assert len(made.workload.events) <= 2
    assert [setup.subject.name for setup in made.setups] == ["snapshot", "mini-istiod"]
    setup = made.setups[0]
    assert (setup.proxies, setup.fleet.protocol, setup.options.push_throttle) == (7, "GRPC", 9)
    assert not setup.push_log and Setup().push_log
    # Neither below the other, and quiet for longer than a change may wait.
    assert setup.options.debounce_max == 20.0
    assert setup.quiet > 20.0


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("run", "nowhere"), "no workload 'nowhere'"),
        (("run", "airbnb", "--set", "pods"), "--set: 'pods'"),
        (("run", "airbnb", "--set", "cats=1"), "no option 'cats'"),
        (("run", "airbnb", "--seconds", "0.1"), "nothing happens"),
        (("run", "airbnb", "--subject", "pilot"), "--subject: 'pilot'"),
        (("sweep", "churn", "fast"), "sweep churn"),
        (("sweep", "churn", "0"), "sweep churn"),
        (("sweep", "churn", "2", "--scenario", "airbnb"), "no option `arrivals`"),
        (("sweep", "debounce-after", "12"), "sweep debounce-after"),
        (("report", "/nowhere"), "there is no run"),
    ],
)
def test_what_cannot_be_run_is_said_and_nothing_starts(argv: tuple[str, ...], message: str) -> None:
    with pytest.raises(MiniIstiodError) as error:
        bench.run(parsed(*argv))
    assert message in str(error.value)


def test_a_swept_value_is_the_same_as_the_option() -> None:
    args = parsed("sweep", "debounce-after", "30ms")
    parameter = bench_run.SWEPT["debounce-after"]
    parameter.apply(args, parameter.read("30ms"))
    assert bench_run.series(args).setups[0].options.debounce_after == pytest.approx(0.03)
    args = parsed("sweep", "churn", "4")
    args.set = ["arrivals=every:9"]
    bench_run.SWEPT["churn"].apply(args, 4.0)
    times = [event.at for event in bench_run.series(args).workload.events]
    assert times[1] - times[0] == pytest.approx(0.25)
    assert set(bench_run.SWEPT) == set(bench.SWEPT)


def test_every_scenario_has_a_line() -> None:
    out = io.StringIO()
    Console(file=out, width=200).print(bench_table.scenarios(SCENARIOS))
    for one in SCENARIOS:
        assert one.name in out.getvalue()


def figures(scale: float) -> dict[str, Any]:
    spread = {"n": 10, "p50": 10 * scale, "p90": 20 * scale, "p99": 30 * scale, "max": 40 * scale}
    return {
        "latency_ms": spread,
        "from_schedule_ms": spread,
        "last_receipt_ms": spread,
        "last_ack_ms": {"n": 0},
        "by_kind_ms": {"VirtualService": spread},
        "late_ms": spread,
        "stages_ms": {},
        "warm_ms": spread,
        "cpu_seconds_per_change": 0.5 * scale,
        "bytes_per_change": 100.0,
        "pushes_per_change": 5.0,
        "rss_mb": 64.0,
        "cpu_share": 0.1,
        "fleet_cpu_share": 0.1,
    }


def test_servers_take_turns_and_are_compared_pair_by_pair(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ran: list[str] = []

    def run(schedule: object, setup: Setup, folder: Path) -> dict[str, Any]:
        ran.append(folder.name)
        # The machine becomes slower and slower; the other server takes three times as long.
        return figures(setup.about["repeat"] * (3.0 if setup.subject.name == "snapshot" else 1.0))

    monkeypatch.setattr(bench_series.experiment, "run", run)
    mesh = Mesh(services=5, namespaces=1, dialect="serviceentry")
    setups = tuple(Setup(subject=BY_NAME[name]) for name in ("mini-istiod", "snapshot"))
    made = bench_series.Series(workload("endpoint-rotation", mesh, seconds=3.0), setups, repeats=3)
    summary = bench_series.run_series(made, tmp_path, lambda text: None)
    assert ran == [f"{n}-{i}" for i, n in _alternating()]
    ratio: Mapping[str, Any] = summary["ratios"]["snapshot"]["latency p90"]
    assert ratio["ratio"] == pytest.approx(3.0)
    assert ratio["ci95"] == pytest.approx([3.0, 3.0])
    own = summary["subjects"]["mini-istiod"]
    assert own["latency_ms"]["p50"] == pytest.approx(20.0)
    low, high = own["latency_ms"]["ci95"]
    assert 10.0 <= low < 20.0 < high <= 30.0
    out = io.StringIO()
    for table in bench_table.tables(summary):
        Console(file=out, width=160).print(table)
    assert "snapshot through mini-istiod" in out.getvalue()
    assert (tmp_path / "series.json").exists()


def _alternating() -> list[tuple[int, str]]:
    ours, theirs = "mini-istiod", "snapshot"
    return [(1, ours), (1, theirs), (2, theirs), (2, ours), (3, ours), (3, theirs)]


def test_warming_up_touches_one_object_of_each_kind_and_puts_it_back() -> None:
    schedule = workload("mixed", Mesh(services=10, namespaces=2, dialect="serviceentry"), seconds=60.0)
    done = list(touches(schedule, 2))
    kinds = [raw["kind"] for raw in done]
    assert kinds == [kind for kind in ("DestinationRule", "ServiceEntry", "VirtualService") for _ in range(3)]
    for kind in set(kinds):
        first, second, last = (raw for raw in done if raw["kind"] == kind)
        assert first != second != last
        assert last in schedule.initial
    assert list(touches(schedule, 0)) == []
