"""Each rule of the join, on a log of a few lines."""

import pytest

from controlplane.lab.latency.dataset import Latency
from controlplane.lab.latency.join import join
from tests.unit.lab.latency.logs import EP, VS, Run

ONE = "a.shop"


def plain() -> Run:
    """Change 1 at 10.0; proxy a gets it."""
    run = Run()
    run.connected("a.shop-1")
    run.change(1, 10.0)
    run.batch(7, 10.0, (VS, 10.0))
    run.woken("a.shop-1", 7, 10.3)
    run.response("a.shop-1", 7, 10.4)
    run.receipt(ONE, 10.6, 1)
    return run


def row(run: Run, number: int = 1, proxy: str = ONE) -> Latency:
    return next(one for one in run.joined().rows if (one.number, one.proxy) == (number, proxy))


def test_every_stage_counts_from_the_rename() -> None:
    found = row(plain())
    assert found.status == "acked" and found.touched and found.note == ""
    stages = (found.source, found.debounce_in, found.commit, found.compute, found.plan, found.write)
    assert stages == pytest.approx((0.0, 0.1, 0.2, 0.3, 0.4, 0.5))
    assert (found.outside, found.answered, found.ack) == pytest.approx((0.6, 0.7, 0.8))
    assert (found.type, found.revision, found.complete) == ("rds", 7, pytest.approx(0.8))


def test_a_proxy_that_was_not_woken_is_untouched_and_counts_as_acked_when_settled() -> None:
    run = plain()
    run.connected("b.shop-2")
    found = row(run, proxy="b.shop")
    assert (found.status, found.touched, found.outside) == ("untouched", False, None)
    assert found.ack == pytest.approx(0.3)


def test_a_proxy_that_was_woken_and_needs_nothing_is_untouched_from_then_on() -> None:
    run = plain()
    run.connected("b.shop-2")
    run.woken("b.shop-2", 7, 10.31)
    run.event("untouched", proxy="b.shop-2", revision=7, at=10.35)
    found = row(run, proxy="b.shop")
    assert (found.status, found.ack) == ("untouched", pytest.approx(0.35))


def test_a_change_that_was_replaced_before_it_was_sent_ends_with_the_later_one() -> None:
    run = Run()
    run.connected("a.shop-1")
    run.change(1, 10.0)
    run.change(2, 11.0)
    run.batch(7, 10.0, (VS, 10.0))
    run.woken("a.shop-1", 7, 10.3)
    run.batch(8, 11.0, (VS, 11.0))
    run.woken("a.shop-1", 8, 11.3)
    run.response("a.shop-1", 8, 11.4)
    run.receipt(ONE, 11.6, 2)
    first, second = row(run, 1), row(run, 2)
    assert (first.note, second.note) == ("coalesced", "")
    assert (first.outside, second.outside) == pytest.approx((1.6, 0.6))
    # Its own batch was committed long before.
    assert (first.commit, second.commit) == pytest.approx((0.2, 0.2))
    assert first.revision == second.revision == 8


def test_a_change_that_the_server_never_saw_is_accounted_for_by_the_next_of_its_object() -> None:
    run = Run()
    run.connected("a.shop-1")
    run.change(1, 10.0)
    run.change(2, 10.5)
    run.batch(7, 10.5, (VS, 10.5))
    run.woken("a.shop-1", 7, 10.8)
    run.response("a.shop-1", 7, 10.9)
    run.receipt(ONE, 11.1, 2)
    first = row(run, 1)
    assert first.note == "superseded coalesced"
    assert (first.source, first.outside) == pytest.approx((0.5, 1.1))


def test_a_rejected_change_is_not_had() -> None:
    run = Run()
    run.connected("a.shop-1")
    run.change(1, 10.0)
    run.batch(7, 10.0, (VS, 10.0))
    run.woken("a.shop-1", 7, 10.3)
    run.response("a.shop-1", 7, 10.4, ok=False)
    run.receipt(ONE, 10.6, 1)
    # What stands in for the rejected resource is another response.
    run.response("a.shop-1", 7, 10.9)
    run.receipt(ONE, 11.1)
    found = row(run)
    assert (found.status, found.ack) == ("nacked", None)
    assert found.outside == pytest.approx(0.6)


def test_an_answer_to_the_newer_response_counts_for_the_one_it_replaced() -> None:
    run = plain()
    run.events = [event for event in run.events if event["e"] != "response"]
    run.response("a.shop-1", 7, 10.4, answered=None)
    run.response("a.shop-1", 8, 11.4)
    run.receipt(ONE, 11.6)
    found = row(run)
    assert (found.status, found.note) == ("acked", "replaced")
    assert (found.outside, found.ack) == pytest.approx((0.6, 1.8))


def test_an_answer_of_another_type_does_not_count() -> None:
    run = plain()
    run.events = [event for event in run.events if event["e"] != "response"]
    run.response("a.shop-1", 7, 10.4, answered=None)
    run.response("a.shop-1", 8, 11.4, kind="eds")
    run.receipt(ONE, 11.6, kind="eds")
    assert (row(run).status, row(run).ack) == ("unanswered", None)


def test_a_proxy_that_comes_back_has_the_change_with_its_first_responses() -> None:
    run = Run()
    run.connected("a.shop-1")
    run.change(1, 10.0)
    run.batch(7, 10.0, (VS, 10.0))
    run.woken("a.shop-1", 7, 10.3)
    run.response("a.shop-1", 7, 10.4, answered=None)
    run.event("gone", proxy="a.shop-1", at=10.5)
    run.connected("a.shop-2", 12.0)
    run.response("a.shop-2", 7, 12.1)
    run.receipt(ONE, 12.2, 1)
    found = row(run)
    assert (found.status, found.note) == ("acked", "reconnected")
    assert (found.outside, found.plan, found.ack) == pytest.approx((2.2, 2.1, 2.5))


def test_a_proxy_that_leaves_before_is_gone_and_one_that_comes_later_was_absent() -> None:
    run = plain()
    run.connected("b.shop-2")
    run.woken("b.shop-2", 7, 10.31)
    run.event("gone", proxy="b.shop-2", at=10.35)
    run.connected("c.shop-3", 11.0)
    run.response("c.shop-3", 7, 11.1)
    run.receipt("c.shop", 11.2, 1)
    assert row(run, proxy="b.shop").status == "gone"
    assert row(run, proxy="c.shop").status == "absent"


def test_a_log_that_ends_before_the_response_leaves_the_row_pending() -> None:
    run = plain()
    run.connected("b.shop-2")
    run.woken("b.shop-2", 7, 10.31)
    assert row(run, proxy="b.shop").status == "pending"


def test_of_a_batch_with_two_changes_a_proxy_may_need_one() -> None:
    run = plain()
    run.events = [event for event in run.events if event["e"] not in ("batch", "settled")]
    run.change(2, 10.01, EP)
    run.batch(7, 10.0, (VS, 10.0), (EP, 10.01))
    run.connected("b.shop-2")
    run.woken("b.shop-2", 7, 10.31)
    run.response("b.shop-2", 7, 10.5, kind="eds")
    run.receipt("b.shop", 10.7, 2, kind="eds")
    assert [row(run, 1, p).status for p in (ONE, "b.shop")] == ["acked", "untouched"]
    assert [row(run, 2, p).status for p in (ONE, "b.shop")] == ["untouched", "acked"]
    assert row(run, 2, ONE).outside is None


def test_the_log_decides_about_a_deletion() -> None:
    run = Run()
    run.connected("a.shop-1")
    run.connected("b.shop-2")
    run.change(1, 10.0, action="delete")
    run.batch(7, 10.0, (VS, 10.03))
    run.woken("a.shop-1", 7, 10.3)
    run.response("a.shop-1", 7, 10.4)
    run.receipt(ONE, 10.6)
    assert (row(run).status, row(run).outside) == ("acked", pytest.approx(0.6))
    assert row(run, proxy="b.shop").status == "untouched"


def test_batches_that_one_settle_shows_share_its_wake() -> None:
    run = Run()
    run.connected("a.shop-1")
    run.change(1, 10.0)
    run.change(2, 10.01, EP)
    run.batch(7, 10.0, (VS, 10.0))
    run.batch(8, 10.0, (EP, 10.01))
    run.events = [e for e in run.events if not (e["e"] == "settled" and e["revision"] == 7)]
    run.woken("a.shop-1", 8, 10.3)
    run.response("a.shop-1", 8, 10.4, kind="eds")
    run.response("a.shop-1", 8, 10.5, kind="rds")
    run.receipt(ONE, 10.6, 2, kind="eds")
    run.receipt(ONE, 10.7, 1)
    joined = run.joined()
    assert [one.revision for one in joined.rows] == [8, 8]
    assert [one.type for one in joined.rows] == ["rds", "eds"]


def test_a_change_alone_in_its_batch_is_found_by_its_number_and_by_the_log_alike() -> None:
    assert (plain().joined().same, plain().joined().different) == (1, [])
    run = plain()
    # A response that only the log knows: it shows no number, and has the same type.
    run.response("a.shop-1", 7, 10.31, answered=10.36)
    run.receipt(ONE, 10.35)
    assert (run.joined().same, run.joined().different) == (0, [(1, ONE)])


def test_events_before_the_first_change_of_an_object_are_not_its() -> None:
    run = plain()
    run.events[1:1] = [
        {
            "e": "batch",
            "revision": 1,
            "opened": 1.0,
            "committed": 1.0,
            "changes": [
                {"kind": VS[0], "namespace": VS[1], "name": VS[2], "at": 1.0, "in": None, "file": None}
            ],
        },
        {"e": "settled", "revision": 1, "at": 1.1},
    ]
    assert row(run).source == pytest.approx(0.0)


def test_a_file_time_of_the_last_tick_is_still_the_changes() -> None:
    run = plain()
    for event in run.events:
        if event["e"] == "batch":
            event["changes"][0]["at"] = 9.996
    found = row(run)
    assert found.source == pytest.approx(-0.004)


def test_a_change_that_the_log_does_not_have_is_said_to_be_so() -> None:
    run = plain()
    run.change(2, 20.0, EP)
    run.receipt(ONE, 20.6, 2, kind="eds")
    found = row(run, 2)
    assert found.note == "unattributed unmatched"
    assert (found.source, found.outside) == (None, pytest.approx(0.6))


def test_what_has_no_counterpart_is_counted() -> None:
    run = plain()
    run.receipt("x.shop", 10.0)
    run.response("a.shop-1", 7, 15.0)
    joined = run.joined()
    assert [stray.proxy for stray in joined.strays] == ["x.shop"]
    assert joined.lost == 1


def test_without_a_servers_log_there_is_the_outside_time() -> None:
    run = plain()
    run.receipt("b.shop", 9.0)
    rows = {one.proxy: one for one in join(run.changes, run.receipts).rows}
    assert (rows[ONE].status, rows[ONE].outside, rows[ONE].source) == (
        "received",
        pytest.approx(0.6),
        None,
    )
    assert rows["b.shop"].status == "untouched"
    run.change(9, 30.0, EP)
    assert {one.status for one in join(run.changes, run.receipts).rows if one.number == 9} == {"unseen"}


def test_an_older_state_that_comes_after_a_newer_one_changes_nothing() -> None:
    run = plain()
    run.receipts.clear()
    run.change(2, 10.1)
    run.receipt(ONE, 10.6, 2)
    run.response("a.shop-1", 7, 12.0)
    run.receipt(ONE, 12.2, 1)
    assert row(run, 1).outside == pytest.approx(0.6)
    assert row(run, 2).outside == pytest.approx(0.5)


def test_of_two_changes_that_travel_in_one_type_a_proxy_may_need_one() -> None:
    run = plain()
    other = ("VirtualService", "shop", "pay")
    run.events = [event for event in run.events if event["e"] not in ("batch", "settled")]
    run.change(2, 10.01, other)
    run.batch(7, 10.0, (VS, 10.0), (other, 10.01))
    run.connected("b.shop-2")
    run.woken("b.shop-2", 7, 10.31)
    run.response("b.shop-2", 7, 10.5)
    run.receipt("b.shop", 10.7, 2)
    found = row(run, 1, "b.shop")
    assert (found.status, found.outside) == ("untouched", None)
    assert row(run, 2, "b.shop").status == "acked"


def test_an_event_between_two_changes_is_of_the_nearer_one() -> None:
    run = plain()
    run.change(2, 10.010)
    for event in run.events:
        if event["e"] == "batch":
            event["changes"][0]["at"] = 10.002
    assert row(run, 1).note == ""
    assert row(run, 2).note.startswith("unattributed")


def test_an_object_that_was_deleted_and_made_again_was_gone_when_the_log_says_so() -> None:
    run = Run()
    run.connected("a.shop-1")
    run.change(1, 10.0, action="delete")
    run.batch(7, 10.0, (VS, 10.03))
    run.woken("a.shop-1", 7, 10.3)
    run.response("a.shop-1", 7, 10.4)
    run.receipt(ONE, 10.6)
    run.change(2, 20.0)
    run.batch(8, 20.0, (VS, 20.0))
    run.woken("a.shop-1", 8, 20.3)
    run.response("a.shop-1", 8, 20.4)
    run.receipt(ONE, 20.6, 2)
    # Later it was woken for something else, and needed nothing.
    run.event("untouched", proxy="a.shop-1", revision=9, at=30.0)
    assert (row(run, 1).outside, row(run, 1).note) == (pytest.approx(0.6), "")
    assert row(run, 2).outside == pytest.approx(0.6)


def test_a_response_that_was_lost_with_its_stream_leaves_the_proxy_gone() -> None:
    run = plain()
    run.connected("b.shop-2")
    run.woken("b.shop-2", 7, 10.31)
    run.response("b.shop-2", 7, 10.5, answered=None)
    run.event("gone", proxy="b.shop-2", at=10.6)
    assert row(run, proxy="b.shop").status == "gone"


def test_a_response_of_an_older_revision_cannot_carry_the_change_and_is_noted() -> None:
    run = plain()
    for event in run.events:
        if event["e"] == "response":
            event["revision"] = 6
    assert row(run).note == "early"


def test_a_write_that_is_noted_after_the_answer_was_done_by_then() -> None:
    run = plain()
    for event in run.events:
        if event["e"] == "response":
            event["written"] = 10.95
    assert row(run).write == row(run).ack == pytest.approx(0.8)


def test_of_two_changes_without_number_in_one_batch_the_first_is_coalesced() -> None:
    run = plain()
    run.receipts = [run.receipts[0]._replace(markers=())]
    run.change(2, 10.05)
    run.events = [event for event in run.events if event["e"] not in ("batch", "settled")]
    run.batch(7, 10.0, (VS, 10.0), (VS, 10.05))
    assert [row(run, n).note for n in (1, 2)] == ["coalesced", ""]
    assert [row(run, n).outside for n in (1, 2)] == pytest.approx([0.6, 0.55])
