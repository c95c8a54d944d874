"""The demo's judgement: what passes, what does not, and how far off a share may be."""

from __future__ import annotations

import random
from typing import Any

import pytest

from controlplane.lab.steps import (
    Visit,
    access,
    admission,
    bounds,
    details_fate,
    failures,
    reviews_version,
    whole,
)


def known(name: str) -> str:
    return f"spiffe://cluster.local/ns/bookstore/sa/bookstore-{name}"


def answer(*, reviews: str = "v1", details: object = None, seconds: float = 0.01) -> dict[str, Any]:
    page = known("productpage")
    about: dict[str, object] = {"name": "details", "version": "v1", "caller": page, "hops": []}
    if details is not None:
        about = {"name": "details", "error": details}
    hops = [about, {"name": "reviews", "version": reviews, "caller": page, "hops": []}]
    body = {"name": "productpage", "version": "v1", "caller": known("client"), "hops": hops}
    return {"status": 200, "seconds": seconds, "overloaded": False, "body": body, "error": None}


REFUSED = {"status": 503, "seconds": 0.001, "overloaded": True, "body": "upstream overflow", "error": None}
BROKEN = {
    "status": None,
    "seconds": 0.1,
    "overloaded": False,
    "body": None,
    "error": "TimeoutError: timed out",
}


def test_outcomes() -> None:
    assert reviews_version(answer(reviews="v3")) == "reviews v3"
    assert details_fate(answer()) == "details v1"
    assert details_fate(answer(details=418)) == "details 418"
    assert admission(answer()) == "200"
    assert admission(REFUSED) == "503 overloaded"
    assert admission({**REFUSED, "overloaded": False}) == "503"
    assert admission(BROKEN) == "TimeoutError: timed out"
    assert reviews_version(BROKEN) == "productpage TimeoutError: timed out"
    assert whole(answer()) == "reviews v1"
    assert whole(answer(details=503)) == "reviews v1, details 503"


@pytest.mark.parametrize(
    "error",
    ["ConnectionResetError: [Errno 104] Connection reset by peer", "RemoteDisconnected: Remote end …"],
)
def test_a_connection_that_is_broken_off_is_a_refusal(error: str) -> None:
    assert access({**BROKEN, "error": error}) == "refused"
    assert access(BROKEN) == "TimeoutError: timed out"
    assert access(answer()) == "served"
    assert access({**REFUSED, "status": 403}) == "403"


def test_who_is_not_known_is_a_failure() -> None:
    everybody = Visit("everybody", whole, {"reviews v1": 1.0})
    plain = answer()
    plain["body"]["hops"][1]["caller"] = ""
    (found,) = failures(everybody, [answer(), plain])
    assert found.startswith("everybody: 1 x reviews was asked by nobody known")


SPLIT = Visit("everybody", whole, {"reviews v1": 0.9, "reviews v2": 0.1})


def split(first: int, second: int) -> list[dict[str, Any]]:
    return [answer()] * first + [answer(reviews="v2")] * second


@pytest.mark.parametrize("seconds", [20, 12, 30, 41])
def test_a_believable_split_passes(seconds: int) -> None:
    assert failures(SPLIT, split(200 - seconds, seconds)) == ()


@pytest.mark.parametrize("seconds", [0, 1, 60, 100, 200])
def test_an_unbelievable_split_does_not(seconds: int) -> None:
    assert failures(SPLIT, split(200 - seconds, seconds))


def test_a_fair_router_practically_never_fails() -> None:
    dice = random.Random(7)
    low, high = bounds(200, 0.1)
    counts = [sum(dice.random() < 0.1 for _ in range(200)) for _ in range(2000)]
    assert all(low <= count <= high for count in counts)
    # …and the interval is not so wide that it says nothing.
    assert low > 0
    assert high <= 46


def test_certain_outcomes_have_no_margin() -> None:
    everybody = Visit("everybody", whole, {"reviews v1": 1.0})
    assert failures(everybody, split(200, 0)) == ()
    (outcome, count) = failures(everybody, split(199, 1))
    assert outcome == "everybody: 1 x 'reviews v2', which must not happen"
    assert count == "everybody: 199 x 'reviews v1' of 200, expected 200"


def test_some_means_neither_none_nor_all() -> None:
    crowd = Visit("a crowd", admission, {"200": None, "503 overloaded": None})
    assert failures(crowd, [answer(), REFUSED]) == ()
    assert failures(crowd, [answer(), answer()])
    assert failures(crowd, [REFUSED, REFUSED])
    assert failures(crowd, [answer(), REFUSED, BROKEN])


def test_an_answer_before_its_time_is_a_failure() -> None:
    late = Visit("jason", details_fate, {"details v1": 1.0}, at_least=0.4)
    assert failures(late, [answer(seconds=0.41)]) == ()
    assert failures(late, [answer(seconds=0.41), answer(seconds=0.1)]) == (
        "jason: answered after 0.100 s, expected 0.4 s or more",
    )


def test_a_visit_has_work_for_all_its_workers() -> None:
    assert Visit("few", whole, {}, part=0.1, workers=4).requests(10) == 4
    assert Visit("many", whole, {}, part=0.5, workers=4).requests(200) == 100


@pytest.mark.parametrize(("total", "share"), [(1, 0.5), (4, 0.1), (1000, 0.5), (200, 0.999)])
def test_bounds_are_in_range(total: int, share: float) -> None:
    low, high = bounds(total, share)
    assert 0 <= low <= total * share <= high <= total
