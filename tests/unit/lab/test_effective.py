"""When a change took effect: what follows from requests, the server's log and Envoy's statistics."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from controlplane.lab import effective_answers, effective_rows, effective_warm
from controlplane.lab.churn import markers
from controlplane.lab.effective_probe import Question, Sample, parsed
from controlplane.lab.effective_rows import Told, Window, told
from controlplane.lab.effective_run import EffectiveError, Setup
from controlplane.lab.effective_schedule import KINDS, schedule
from controlplane.lab.latency.pushlog import Batch, PushLog, Response, Seen


def samples(*states: str, kind: str = "endpoint") -> Iterable[Sample]:
    """One request each 10 ms, answered after 1 ms: "o" by change 3, "n" by change 7, "x" by an error."""
    for at, state in enumerate(states):
        number = {"o": 3, "n": 7, "x": 0}[state]
        shown = {"endpoint": number} if kind == "endpoint" else {"route": number}
        yield Sample(0, at / 100, at / 100 + 0.001, 503 if state == "x" else 200, **shown)


@pytest.mark.parametrize("kind", ["endpoint", "route"])
def test_effective_is_the_first_new_answer_after_the_last_old_one(kind: str) -> None:
    found = told(samples(*"ooonn", kind=kind), 7, kind)
    assert found == Told(pytest.approx(0.031), pytest.approx(0.011), 5, 0, 0)


def test_a_relapse_counts() -> None:
    assert told(samples(*"oononn"), 7, "endpoint") == Told(
        pytest.approx(0.041), pytest.approx(0.011), 6, 0, 1
    )


def test_errors_widen_what_is_not_known() -> None:
    assert told(samples(*"oxxnn"), 7, "endpoint") == Told(pytest.approx(0.031), pytest.approx(0.031), 5, 2, 0)


@pytest.mark.parametrize("states", ["ooo", "nnn", "xx", "", "ono"])
def test_what_was_not_seen_is_not_told(states: str) -> None:
    found = told(samples(*states), 7, "endpoint")
    assert (found.effective, found.resolution) == (None, None)


def test_a_later_change_of_the_same_object_shows_it_too() -> None:
    assert told(samples(*"oon"), 5, "endpoint").effective is not None


def response(
    stream: str, kind: str, planned: float, answered: float | None, ok: bool | None = True
) -> Response:
    written = None if answered is None else (planned + answered) / 2
    return Response(stream, kind, 2, planned, 0.0, written, answered, ok, 100, 1, 0)


def test_a_row_brings_the_three_accounts_together() -> None:
    log = PushLog()
    seen = Seen("ServiceEntry", "a", "b", 10.001, 10.002, 2)
    log.batches = [Batch(2, 10.002, 10.1, (seen,))]
    log.responses = [
        response("p.a-1", "cds", 9.0, 9.1),  # of an earlier change
        response("p.a-1", "cds", 10.11, 10.13),
        response("p.a-1", "eds", 10.12, 10.15),
        response("q.a-2", "cds", 10.11, 10.13),
        response("q.a-2", "eds", 10.12, 10.15, ok=False),
    ]
    window = Window(7, "endpoint", 10.0, 11.0)
    asked = [
        Sample(who, 10.0 + at / 10, 10.01 + at / 10, 200, endpoint=number)
        for who in (0, 1)
        for at, number in enumerate((3, 3, 7))
    ]
    one, two = effective_rows.rows([window], ["p.a", "q.a"], {7: asked}, {(7, "p.a"): 10.14}, log)
    assert one.source == pytest.approx(0.001)
    assert one.commit == pytest.approx(0.1)
    assert one.planned == pytest.approx(0.11)
    assert one.written == pytest.approx(0.12)
    assert one.acked == pytest.approx(0.15)
    assert one.warm == pytest.approx(0.14)
    assert one.effective == pytest.approx(0.21)
    assert one.resolution == pytest.approx(0.11)
    # A rejected response was not accepted.
    assert (two.acked, two.warm) == (None, None)
    made = effective_rows.summarise([one, two])
    assert made["not_effective"] == 0
    assert made["spans_ms"]["endpoint"]["acked_to_effective"]["n"] == 1
    assert made["spans_ms"]["all"]["rename_to_effective"]["p50"] == pytest.approx(210)


def test_what_is_answered_was_written() -> None:
    log = PushLog()
    log.responses = [response("p.a-1", "eds", 10.1, 10.2)._replace(written=10.3)]
    (row,) = effective_rows.rows([Window(7, "endpoint", 10.0, 11.0)], ["p.a"], {7: []}, {}, log)
    assert (row.written, row.acked) == (pytest.approx(0.2), pytest.approx(0.2))


def test_warm_is_the_last_update_since_the_change() -> None:
    stats = {"cluster_manager.cds.update_time": 1_000_500, "http.x.rds.80.update_time": 1_000_900}
    stats |= {"cluster_manager.warming_clusters": 0, "listener_manager.total_listeners_warming": 0}
    assert effective_warm.warm(stats, epoch=900.0, since=100.2) == pytest.approx(100.9)
    # Whole milliseconds, rounded down: an update in the same millisecond counts.
    assert effective_warm.warm(stats, epoch=900.0, since=100.9004) == pytest.approx(100.9)
    assert effective_warm.warm(stats, epoch=900.0, since=101.0) is None
    assert effective_warm.warm({**stats, "cluster_manager.warming_clusters": 1}, 900.0, 100.2) is None


def test_an_answer_says_who_was_reached_and_which_route_led_there() -> None:
    question = Question("web.a", "10.96.0.1", 80)
    plain = effective_answers.answer(b"20.0.0.7", question.request[:-2])
    assert parsed(plain) == (200, 0, 0)
    routed = question.request[:-2] + b"X-Change: " + markers.word(42).encode() + b"\r\n"
    answer = effective_answers.answer(markers.address(300).encode(), routed)
    assert parsed(answer) == (200, 300, 42)
    assert [parsed(answer[:end]) for end in range(len(answer))] == [None] * len(answer)
    assert parsed(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\nno") == (503, 0, 0)


def test_the_schedule_is_seeded_and_takes_turns() -> None:
    mesh = Setup(services=20).mesh
    one, two = schedule(mesh, 9, 1.5, seed=1), schedule(mesh, 9, 1.5, seed=1)
    assert one == two
    assert one.steps != schedule(mesh, 9, 1.5, seed=2).steps
    assert [step.kind for step in one.steps] == list(KINDS) * 3
    assert [step.at for step in one.steps] == [1.5 * n for n in range(1, 10)]
    assert all(step.target.host.startswith("10.") for step in one.steps)
    assert len({step.edit.number for step in one.steps}) == 9
    (only,) = {step.kind for step in schedule(mesh, 3, 1.0, seed=1, kinds=("route",)).steps}
    assert only == "route"


@pytest.mark.parametrize(
    "wrong", [{"kinds": ("route", "rout")}, {"kinds": ()}, {"envoys": 0}, {"services": 1}]
)
def test_what_cannot_be_measured(wrong: dict[str, Any]) -> None:
    with pytest.raises(EffectiveError):
        Setup(**wrong)
