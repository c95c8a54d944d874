"""What is provable about two accounts of one run, and what is granted for late stamps."""

import pytest

from controlplane.lab.latency.agreement import Errors, agree, broken_orders, noticed
from controlplane.lab.latency.dataset import Change, Latency, Sample
from controlplane.lab.latency.lateness import Stretches, Waiting, of_fleet
from tests.unit.lab.latency.logs import VS, Run

CHANGE = Change(1, *VS, "put", 0.0, 100.0, 0.0001)
ROW = Latency(
    1,
    "a.n",
    touched=True,
    source=0.0001,
    debounce_in=0.01,
    commit=0.11,
    compute=0.12,
    plan=0.13,
    write=0.14,
    outside=0.1404,
    answered=0.1405,
    ack=0.142,
    status="acked",
)


def errors(busy: Stretches | None = None) -> Errors:
    return Errors(busy or Stretches(()), Waiting((), "fleet"), Waiting((), "server"))


def test_a_row_that_differs_by_the_wire_alone_agrees() -> None:
    (row,), found = agree([ROW], {1: CHANGE}, errors())
    assert row.agree == pytest.approx(0.0005)
    assert row.error == pytest.approx(0.0003)
    assert found.holds and (found.rows, found.close) == (1, 1)
    assert found.as_json()["within_allowed"] == 1.0


def test_a_late_receipt_is_forgiven_if_the_fleet_was_busy_and_not_otherwise() -> None:
    late = ROW._replace(outside=0.15, answered=0.1501, ack=0.152)
    (_,), found = agree([late], {1: CHANGE}, errors())
    assert not found.holds and found.apart == 1 and found.examples[0]["number"] == 1
    busy = Stretches([(100.139, 100.151)])
    (row,), found = agree([late], {1: CHANGE}, errors(busy))
    assert found.holds and found.close == 0
    assert row.error == pytest.approx(0.0113)


def test_a_write_that_is_noted_after_the_receipt_was_noted_late_and_that_is_known_exactly() -> None:
    early = ROW._replace(plan=0.131, write=0.14, outside=0.1355, answered=0.136)
    (row,), found = agree([early], {1: CHANGE}, errors())
    assert found.holds and found.close == 0
    assert row.error == pytest.approx(0.0045 + 0.0003)
    assert found.late_writes == pytest.approx([0.0045])


def test_a_receipt_before_the_plan_is_never_forgiven() -> None:
    early = ROW._replace(plan=0.136, write=0.14, outside=0.1355, answered=0.1356)
    (_,), found = agree([early], {1: CHANGE}, errors(Stretches([(100.0, 101.0)])))
    assert not found.holds and found.broken == {"plan, outside": 1}


@pytest.mark.parametrize(
    ("stages", "broken"),
    [
        ({}, []),
        ({"outside": 0.129}, ["plan, outside"]),
        ({"answered": 0.1403}, ["outside, answered"]),
        ({"ack": 0.1404}, ["answered, ack"]),
        ({"commit": 0.121}, ["commit, compute"]),
        ({"note": "early"}, ["revision, plan"]),
        ({"source": 0.001}, ["file time, source"]),
        ({"source": -0.004}, ["file time, source"]),
        ({"ack": None, "answered": None, "compute": None}, []),
    ],
)
def test_stamps_of_one_clock_stand_in_the_order_of_their_causes(
    stages: dict[str, object], broken: list[str]
) -> None:
    assert broken_orders(ROW._replace(**stages), stamped=0.0001) == broken


def test_a_file_time_that_nobody_read_may_be_a_tick_early_and_no_more() -> None:
    assert broken_orders(ROW._replace(source=-0.004)) == []
    assert broken_orders(ROW._replace(source=-0.02)) == ["rename, source"]


def test_a_deletion_has_no_file_time_so_both_clocks_start_at_the_source_event() -> None:
    row = ROW._replace(source=0.05, debounce_in=0.06)
    (_,), found = agree([row], {1: CHANGE}, errors())
    assert found.apart == 1
    (checked,), found = agree([row], {1: CHANGE._replace(action="delete", stamped=None)}, errors())
    assert found.holds and found.limited == 1
    assert checked.agree == pytest.approx(0.0004)
    # The same for what the server never saw by itself: its event is the later change's.
    (_,), found = agree([row._replace(note="superseded coalesced")], {1: CHANGE}, errors())
    assert found.holds and found.limited == 1


def test_how_sharp_the_check_is_can_be_told() -> None:
    changes = {1: CHANGE}
    rows = [ROW, ROW._replace(proxy="b.n", plan=0.121, write=0.1401)]
    # A plan after its receipt, for the first row only; a sum that is wrong; an order that is.
    assert noticed(rows, changes, errors(), 0.012) == 0.5
    assert noticed(rows, changes, errors(), -0.005) == 1.0
    assert noticed(rows, changes, errors(Stretches([(100.0, 101.0)])), -0.005) == 0.5
    assert noticed(rows, changes, errors(), 0.0) == 0.0
    assert noticed([], changes, errors(), 0.0) is None


def test_rows_of_one_side_only_are_counted_and_not_judged() -> None:
    rows = [ROW._replace(write=None), Latency(1, "b.n", False), ROW._replace(status="absent")]
    checked, found = agree(rows, {1: CHANGE}, errors())
    assert checked == rows
    assert (found.rows, found.incomplete, found.holds) == (0, 1, True)


def test_work_that_is_close_together_is_one_stretch() -> None:
    busy = Stretches([(3.0, 3.1), (1.0, 1.0), (1.004, 1.005), (1.0045, 1.0046)], gap=0.005)
    assert busy.late(1.0048) == pytest.approx(0.0048)
    assert busy.late(1.0051) == 0.0
    assert busy.late(0.9) == 0.0
    assert busy.late(3.05) == pytest.approx(0.05)


def test_the_fleet_is_busy_until_it_has_answered_unless_it_was_told_to_wait() -> None:
    run = Run()
    run.receipt("a.n", 10.0)
    assert of_fleet(run.receipts).late(10.05) == pytest.approx(0.05)
    assert of_fleet(run.receipts, ack_delay=0.1).late(10.05) == 0.0
    assert of_fleet(run.receipts, 0.1, [(0, 10.03, 0.04)]).late(10.05) == pytest.approx(0.02)


def test_waiting_for_a_core_is_what_the_kernel_counted_and_no_more_than_the_time() -> None:
    counted = [
        Sample(at, "server", 0.0, 0, total, None, None) for at, total in ((1.0, 0.0), (2.0, 0.1), (3.0, 0.4))
    ]
    waiting = Waiting([*counted, Sample(2.5, "fleet", 0.0, 0, 9.0, None, None)], "server")
    assert waiting.between(1.2, 1.9) == pytest.approx(0.1)
    assert waiting.between(1.2, 2.9) == pytest.approx(0.4)
    assert waiting.between(2.5, 2.51) == pytest.approx(0.01)
    assert Waiting((), "server").between(0.0, 1.0) == 0.0
