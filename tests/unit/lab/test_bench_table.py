"""What a terminal shows of a run says what the figures mean, and no more than was checked."""

import io

from rich.console import Console

from controlplane.lab import bench_table
from tests.unit.lab.test_bench import figures


def test_a_verdict_says_how_much_it_checks() -> None:
    spread = {"n": 9, "mean": 21.0, "p50": 20.0, "p90": 30.0, "p99": 30.0, "max": 40.0}
    stages = {"write": spread, "wire": spread | {"mean": -20.0}}
    agreement = {
        "holds": True,
        "rows": 3500,
        "orders_broken": {},
        "within_allowed": 0.12,
        "would_notice": {"-5 ms": 0.25, "+5 ms": 0.9999},
    }
    out = io.StringIO()
    one = figures(1.0) | {"stages_ms": stages, "agreement": agreement}
    for table in bench_table.tables({"subjects": {"mini-istiod": one}}):
        Console(file=out, width=160).print(table)
    said = " ".join(out.getvalue().split())
    assert "wire -20" in said and "a negative wire means" in said
    assert "sums within 1 ms for 12 % with nothing granted" in said
    assert "told 5 ms too late would show in 99.9 % of the rows, 5 ms too early in 25 %." in said
