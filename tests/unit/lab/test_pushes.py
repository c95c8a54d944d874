"""The demo's reading of /debug/traces."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.lab import pushes


def trace(number: int, **changed: Any) -> dict[str, Any]:
    return {
        "id": number,
        "kind": "VirtualService",
        "namespace": "bookstore",
        "name": "reviews",
        "at": 1000.25,
        "stages": {
            "source": 0.0,
            "debounce_in": 0.001,
            "commit": 0.101,
            "compute": 0.103,
            "plan": 0.104,
            "write": 0.1045,
            "ack": 0.107,
        },
        "proxies": {"touched": 7, "acked": 7, "waiting": 0},
        "complete": True,
        **changed,
    }


def test_durations_are_the_differences_of_the_stages() -> None:
    (push,) = pushes.parse([trace(3)], written=1000.24)
    assert push.target == ("VirtualService", "bookstore", "reviews")
    assert dict(push.durations()) == pytest.approx(
        {
            "watch": 0.01,
            "notice": 0.001,
            "debounce": 0.1,
            "compute": 0.002,
            "plan": 0.001,
            "write": 0.0005,
            "ack": 0.0025,
        }
    )
    assert push.seconds == pytest.approx(0.117)
    assert sum(seconds for _, seconds in push.durations()) == pytest.approx(push.seconds)


def test_stages_not_reached_are_left_out() -> None:
    stages = {
        "source": 0.0,
        "debounce_in": 0.001,
        "commit": 0.1,
        "compute": 0.2,
        "plan": None,
        "write": None,
        "ack": None,
    }
    (push,) = pushes.parse([trace(3, stages=stages, complete=False)], 1000.0)
    assert [name for name, _ in push.durations()] == ["watch", "notice", "debounce", "compute"]
    assert not push.complete


def test_newest_is_by_id_whatever_the_order() -> None:
    found = pushes.parse([trace(9), trace(7), trace(8), trace(4, name="details")], 1000.0)
    assert {target[2]: push.id for target, push in pushes.newest(found, 5).items()} == {"reviews": 9}
    assert {target[2] for target in pushes.newest(found, 0)} == {"reviews", "details"}


@pytest.mark.parametrize("answer", [{"error": "x"}, [{}], [trace(1, proxies=3)], 5])
def test_another_shape_is_named(answer: Any) -> None:
    with pytest.raises(pushes.TraceError, match="unexpected push trace"):
        pushes.parse(answer, 1000.0)


def test_clocks_that_disagree_do_not_make_time_run_back() -> None:
    (push,) = pushes.parse([trace(3)], written=1000.3)
    assert push.durations()[0] == ("watch", 0.0)


@pytest.mark.parametrize(
    ("proxies", "expected"),
    [
        ({"touched": 7, "acked": 7}, ()),
        ({"touched": 0, "acked": 0}, ("VirtualService/bookstore/reviews: no proxy was told of the change",)),
        (
            {"touched": 7, "acked": 6},
            ("VirtualService/bookstore/reviews: only 6 of 7 proxies accepted the change",),
        ),
    ],
)
def test_a_complete_push_may_still_be_wrong(proxies: dict[str, int], expected: tuple[str, ...]) -> None:
    assert pushes.wrong(pushes.parse([trace(1, proxies=proxies)], 1000.0)) == expected
