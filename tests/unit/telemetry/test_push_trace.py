"""The push trace: who has a change and when, whatever order the proxies answer in."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from controlplane.telemetry.metrics import Metrics
from controlplane.telemetry.trace import Trace
from controlplane.telemetry.trace_report import COALESCED, traces
from controlplane.telemetry.wave import NAMED, Response, Seen


def seen(number: int, at: float = 0.0, **more: Any) -> Seen:
    return Seen(number, "VirtualService", "default", f"vs{number}", f"a.yaml:{number}", at, **more)


def response(type_name: str, revision: int, at: float, size: int = 100, echoes: int = 0) -> Response:
    return Response(type_name, revision, at, size, 1 + echoes, echoes)


def commit(trace: Trace, revision: int, at: float = 10.0) -> None:
    """A change whose source event was at `at`, settled 0.11 s later."""
    trace.batch(revision, [seen(revision, at)], opened=at + 0.001, committed=at + 0.1)
    trace.settled(revision, at + 0.11)


def send(trace: Trace, proxy: str, type_name: str, revision: int, at: float) -> None:
    trace.planned(proxy, response(type_name, revision, at))
    trace.written(proxy, type_name, at + 0.001)


def newest(trace: Trace) -> dict[str, Any]:
    return next(traces(trace))


def by_id(trace: Trace) -> dict[int, dict[str, Any]]:
    return {item["id"]: item for item in traces(trace)}


def test_every_stage_is_told_in_seconds_since_the_source_event() -> None:
    trace = Trace(epoch=1_000_000.0)
    trace.batch(7, [seen(3, 10.0, received=10.002)], opened=10.001, committed=10.1)
    trace.settled(7, 10.11)
    trace.woken(7, ["a", "b"])
    for proxy, at in (("a", 10.2), ("b", 10.3)):
        trace.planned(proxy, Response("rds", 7, at, 500, 3, 2))
        trace.written(proxy, "rds", at + 0.01)
        trace.acked(proxy, "rds", at + 0.05)
    assert newest(trace) == {
        "id": 3,
        "revision": 7,
        "kind": "VirtualService",
        "namespace": "default",
        "name": "vs3",
        "origin": "a.yaml:3",
        "at": 1_000_010.0,
        "stages": {
            "source": 0.0,
            "debounce_in": 0.002,
            "commit": 0.1,
            "compute": 0.11,
            "plan": 0.3,
            "write": 0.31,
            "ack": 0.35,
        },
        "ack_seconds": {"p50": 0.25, "p90": 0.35, "p99": 0.35, "max": 0.35},
        "proxies": {
            "touched": 2,
            "untouched": 0,
            "acked": 2,
            "waiting": 0,
            "gone": 0,
            "pending": [],
            "nacked": [],
        },
        "complete": True,
        "bytes": 1000,
        "responses": 2,
        "echoes": 4,
        "types": {
            "rds": {
                "responses": 2,
                "bytes": 1000,
                "names": 6,
                "echoes": 4,
                "plan": 0.3,
                "write": 0.31,
                "ack": 0.35,
            }
        },
        "coalesced_with": [],
        "changes_in_batch": 1,
    }


def test_a_change_on_its_way_has_null_for_what_is_not_reached() -> None:
    trace = Trace()
    trace.batch(1, [seen(1, 10.0)], opened=9.0, committed=10.1)
    stages = newest(trace)["stages"]
    assert stages == {
        "source": 0.0,
        "debounce_in": 0.0,
        "commit": 0.1,
        "compute": None,
        "plan": None,
        "write": None,
        "ack": None,
    }
    assert newest(trace)["complete"] is False
    assert newest(trace)["ack_seconds"] is None


def test_a_change_nobody_sees_is_complete_once_settled() -> None:
    trace = Trace()
    commit(trace, 1)
    assert newest(trace)["complete"] is True
    assert newest(trace)["proxies"]["touched"] == 0


def test_a_woken_proxy_is_awaited_until_it_has_acked() -> None:
    trace = Trace()
    commit(trace, 1)
    trace.woken(1, ["a"])
    assert newest(trace)["proxies"]["pending"] == ["a"]
    send(trace, "a", "rds", 1, 10.2)
    assert newest(trace)["proxies"]["pending"] == ["a"]
    trace.acked("a", "rds", 10.3)
    assert newest(trace)["proxies"]["pending"] == []
    assert newest(trace)["proxies"]["acked"] == 1


def test_a_proxy_woken_twice_is_one() -> None:
    trace = Trace()
    commit(trace, 1)
    trace.woken(1, ["a"])
    trace.woken(1, ["a", "b"])
    assert newest(trace)["proxies"]["waiting"] == 2


def test_a_proxy_woken_again_while_it_is_sent_the_same_is_one() -> None:
    trace = Trace()
    commit(trace, 5)
    trace.woken(5, ["a"])
    send(trace, "a", "cds", 5, 10.2)
    trace.woken(5, ["a"])
    send(trace, "a", "lds", 5, 10.3)
    trace.acked("a", "cds", 10.4)
    assert newest(trace)["proxies"]["waiting"] == 1
    trace.acked("a", "lds", 10.5)
    proxies = newest(trace)["proxies"]
    assert (proxies["touched"], proxies["acked"], proxies["waiting"]) == (1, 1, 0)


def test_all_types_of_a_flush_must_be_acked() -> None:
    trace = Trace()
    commit(trace, 1)
    trace.woken(1, ["a"])
    send(trace, "a", "cds", 1, 10.2)
    send(trace, "a", "eds", 1, 10.2)
    trace.acked("a", "eds", 10.3)
    assert newest(trace)["complete"] is False
    trace.acked("a", "cds", 10.4)
    assert newest(trace)["complete"] is True
    assert newest(trace)["ack_seconds"]["max"] == pytest.approx(0.4)
    assert newest(trace)["proxies"]["touched"] == 1
    assert newest(trace)["responses"] == 2


def test_a_woken_proxy_with_nothing_to_send_is_not_touched() -> None:
    trace = Trace()
    commit(trace, 1)
    trace.woken(1, ["a"])
    trace.untouched("a", 1)
    trace.untouched("a", 1)
    trace.untouched("stranger", 1)
    assert newest(trace)["complete"] is True
    proxies = newest(trace)["proxies"]
    assert (proxies["touched"], proxies["untouched"], proxies["acked"]) == (0, 1, 0)


def test_one_response_may_carry_many_revisions() -> None:
    trace = Trace()
    for revision in (1, 2, 3):
        commit(trace, revision, at=10.0 + revision)
        trace.woken(revision, ["a"])
    send(trace, "a", "rds", 3, 14.0)
    trace.acked("a", "rds", 15.0)
    found = by_id(trace)
    assert [found[n]["ack_seconds"]["max"] for n in (1, 2, 3)] == pytest.approx([4.0, 3.0, 2.0])


def test_an_ack_of_an_older_response_does_not_count_for_a_newer_revision() -> None:
    trace = Trace()
    commit(trace, 1)
    trace.woken(1, ["a"])
    send(trace, "a", "rds", 1, 10.2)
    commit(trace, 2, at=10.5)
    trace.woken(2, ["a"])
    trace.acked("a", "rds", 10.7)
    found = by_id(trace)
    assert (found[1]["complete"], found[2]["complete"]) == (True, False)
    send(trace, "a", "rds", 2, 10.8)
    trace.acked("a", "rds", 10.9)
    assert by_id(trace)[2]["ack_seconds"]["max"] == pytest.approx(0.4)


def test_the_ack_of_a_replacement_stands_for_the_response_that_was_never_answered() -> None:
    trace = Trace()
    commit(trace, 1)
    trace.woken(1, ["a"])
    send(trace, "a", "eds", 1, 10.2)
    commit(trace, 2, at=12.0)
    trace.woken(2, ["a"])
    send(trace, "a", "eds", 2, 12.2)  # the ACK deadline of the first has passed
    assert by_id(trace)[1]["complete"] is False
    trace.acked("a", "eds", 12.3)
    assert [item["complete"] for item in by_id(trace).values()] == [True, True]
    assert by_id(trace)[1]["stages"]["ack"] == pytest.approx(2.3)


def test_a_replacement_at_the_same_revision_counts_once() -> None:
    trace = Trace()
    commit(trace, 1)
    trace.woken(1, ["a"])
    send(trace, "a", "eds", 1, 10.2)
    send(trace, "a", "eds", 1, 11.3)
    trace.acked("a", "eds", 11.4)
    proxies = newest(trace)["proxies"]
    assert (proxies["touched"], proxies["acked"], proxies["waiting"]) == (1, 1, 0)


def test_a_refused_response_is_not_an_ack() -> None:
    trace = Trace()
    commit(trace, 1)
    trace.woken(1, ["a", "b"])
    for proxy in ("a", "b"):
        send(trace, proxy, "cds", 1, 10.2)
        send(trace, proxy, "eds", 1, 10.2)
    trace.nacked("a", "cds", 10.3)
    trace.acked("a", "eds", 10.4)
    trace.acked("b", "eds", 10.4)
    trace.nacked("b", "cds", 10.5)
    proxies = newest(trace)["proxies"]
    assert (proxies["nacked"], proxies["acked"], proxies["waiting"]) == (["a", "b"], 0, 0)
    assert newest(trace)["ack_seconds"] is None


def test_a_stream_that_ends_is_not_waited_for() -> None:
    trace = Trace()
    for revision in (1, 2):
        commit(trace, revision)
        trace.woken(revision, ["a"])
        if revision == 1:
            send(trace, "a", "cds", 1, 10.2)
            send(trace, "a", "eds", 1, 10.2)
    trace.gone("a")
    trace.gone("a")
    for item in traces(trace):
        assert (item["proxies"]["waiting"], item["proxies"]["gone"]) == (0, 1)
    assert trace.pending() == {}


def test_batches_that_settle_together_share_their_proxies() -> None:
    trace = Trace()
    trace.batch(1, [seen(1, 10.0)], opened=10.0, committed=10.1)
    trace.batch(2, [seen(2, 10.2)], opened=10.2, committed=10.3)
    trace.settled(2, 10.4)
    trace.woken(2, ["a"])
    send(trace, "a", "rds", 2, 10.5)
    trace.acked("a", "rds", 10.6)
    found = by_id(trace)
    assert found[1]["stages"]["compute"] == pytest.approx(0.4)
    assert [found[n]["ack_seconds"]["max"] for n in (1, 2)] == pytest.approx([0.6, 0.4])


def test_changes_of_one_batch_name_each_other_up_to_a_bound() -> None:
    trace = Trace()
    trace.batch(1, [seen(n) for n in range(3)], opened=0.0, committed=0.1)
    assert [item["coalesced_with"] for item in traces(trace)] == [[0, 1], [0, 2], [1, 2]]
    trace.batch(2, [seen(n) for n in range(100, 200)], opened=0.0, committed=0.1)
    assert len(newest(trace)["coalesced_with"]) == COALESCED
    assert newest(trace)["changes_in_batch"] == 100


def test_what_a_proxy_asks_for_itself_touches_no_change() -> None:
    trace = Trace()
    commit(trace, 1)
    send(trace, "new", "cds", 1, 10.2)
    trace.acked("new", "cds", 10.3)
    assert newest(trace)["proxies"]["touched"] == 0
    assert newest(trace)["responses"] == 0


def test_only_the_newest_traces_are_kept() -> None:
    trace = Trace(capacity=5)
    for revision in range(1, 9):
        commit(trace, revision)
        trace.woken(revision, ["stalled"])
    assert [item["id"] for item in traces(trace)] == [8, 7, 6, 5, 4]
    trace.batch(9, [seen(n) for n in range(100, 200)], opened=0.0, committed=0.1)
    trace.settled(9, 0.2)
    assert [item["id"] for item in traces(trace)] == [199, 198, 197, 196, 195]
    assert newest(trace)["changes_in_batch"] == 100


def test_memory_is_bounded_with_a_proxy_that_never_answers() -> None:
    trace = Trace(capacity=10)
    for revision in range(1, 500):
        commit(trace, revision, at=float(revision))
        trace.woken(revision, ["mute", "deaf", "good"])
        send(trace, "mute", "eds", revision, float(revision))  # replaced again and again, never ACKed
        send(trace, "good", "eds", revision, float(revision))
        trace.acked("good", "eds", revision + 0.5)
    assert len(trace._waves) <= 10
    assert len(trace._proxies["deaf"].unplanned) <= 10
    assert len(trace._proxies["mute"].sent["eds"].groups) <= 11
    assert not trace._unsettled
    assert newest(trace)["proxies"]["pending"] == ["deaf", "mute"]
    trace.acked("mute", "eds", 501.0)
    assert all(item["proxies"]["pending"] == ["deaf"] for item in traces(trace))


def test_waiting_proxies_are_named_up_to_a_bound() -> None:
    trace = Trace()
    commit(trace, 1)
    trace.woken(1, [f"p{n:03}" for n in range(100)])
    proxies = newest(trace)["proxies"]
    assert (proxies["waiting"], proxies["pending"]) == (100, [f"p{n:03}" for n in range(NAMED)])


def test_an_answer_may_overtake_the_news_of_the_writing() -> None:
    trace = Trace()
    commit(trace, 1)
    trace.woken(1, ["a"])
    trace.planned("a", response("rds", 1, 10.2))
    trace.acked("a", "rds", 10.25)
    trace.written("a", "rds", 10.3)
    stages = newest(trace)["stages"]
    assert (stages["plan"], stages["write"], stages["ack"]) == (0.2, 0.25, 0.25)


def test_unknown_events_are_ignored() -> None:
    trace = Trace()
    trace.settled(5, 1.0)
    trace.batch(6, [], opened=1.0, committed=1.0)
    trace.woken(6, ["a"])
    trace.written("a", "cds", 1.0)
    trace.acked("a", "cds", 1.0)
    trace.nacked("a", "cds", 1.0)
    trace.gone("a")
    assert list(traces(trace)) == []


def test_the_report_can_be_narrowed() -> None:
    trace = Trace()
    for revision in range(1, 6):
        commit(trace, revision)
    assert [item["id"] for item in traces(trace, {"limit": "2"})] == [5, 4]
    assert [item["id"] for item in traces(trace, {"name": "vs3"})] == [3]
    assert [item["id"] for item in traces(trace, {"id": "4", "kind": "VirtualService"})] == [4]
    assert list(traces(trace, {"kind": "Service"})) == []
    assert len(list(traces(trace, {"limit": "x", "weather": "fine"}))) == 5


def test_the_report_is_json() -> None:
    trace = Trace()
    commit(trace, 1)
    trace.woken(1, ["a"])
    send(trace, "a", "rds", 1, 10.2)
    assert json.loads(json.dumps(newest(trace), allow_nan=False))["id"] == 1


def test_spans_are_told_of_each_stage() -> None:
    m = Metrics("1", lambda: 0.0)
    trace = Trace(spans=m.spans())
    trace.batch(1, [seen(1, 10.0)], opened=10.0, committed=10.1)
    trace.settled(1, 10.3)
    trace.woken(1, ["a"])
    trace.planned("a", Response("rds", 1, 10.7, 1, 1, 0, took=0.05))
    trace.written("a", "rds", 11.5)
    trace.acked("a", "rds", 13.1)
    found = {
        stage: m.registry.get_sample_value("mini_istiod_push_stage_seconds_sum", {"stage": stage})
        for stage in ("debounce", "compute", "plan", "write", "ack")
    }
    assert found == pytest.approx({"debounce": 0.1, "compute": 0.2, "plan": 0.4, "write": 0.8, "ack": 1.6})
    assert m.registry.get_sample_value("pilot_debounce_time_sum") == pytest.approx(0.3)
    assert m.registry.get_sample_value("pilot_proxy_convergence_time_sum") == pytest.approx(1.2)
    assert m.registry.get_sample_value("pilot_xds_push_time_sum", {"type": "rds"}) == pytest.approx(0.85)


def calls_for(changes: int, proxies: int) -> int:
    """Function calls that one revision costs, with a ring that is full."""
    trace = Trace(capacity=changes, spans=Metrics("1", lambda: 0.0).spans())
    names = [f"proxy-{n}" for n in range(proxies)]
    count = 0

    def profile(frame: object, event: str, arg: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    def one(revision: int) -> None:
        trace.batch(revision, [seen(n) for n in range(changes)], opened=0.0, committed=0.1)
        sys.setprofile(profile)
        trace.settled(revision, 0.2)
        trace.woken(revision, names)
        for name in names:
            send(trace, name, "eds", revision, 0.3)
        for name in names:
            trace.acked(name, "eds", 0.4)
        sys.setprofile(None)

    one(1)
    count = 0
    one(2)
    return count


def test_proxies_cost_the_same_however_many_changes_a_revision_has() -> None:
    assert calls_for(changes=500, proxies=20) == calls_for(changes=1, proxies=20)


def test_a_proxy_costs_a_fixed_number_of_calls() -> None:
    few, many = calls_for(changes=1, proxies=10), calls_for(changes=1, proxies=110)
    assert (many - few) / 100 < 60
