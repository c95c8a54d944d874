"""Who asked whom, and as whom, by the answers of the bookstore."""

from __future__ import annotations

from typing import Any

from controlplane.lab.hops import OUTSIDER, Hop, hops, told, unexpected


def spiffe(name: str) -> str:
    return f"spiffe://cluster.local/ns/bookstore/sa/bookstore-{name}"


def answered(name: str, caller: str, *below: Any) -> dict[str, Any]:
    return {"name": name, "version": "v1", "caller": caller, "hops": list(below)}


PAGE = answered(
    "productpage",
    spiffe("client"),
    {"name": "details", "error": 418},
    answered("reviews", spiffe("productpage"), answered("ratings", spiffe("reviews"))),
)


def result(body: object) -> dict[str, Any]:
    return {"status": 200, "body": body, "error": None}


def test_every_answer_tells_who_asked_for_it() -> None:
    found = hops([result(PAGE), result(PAGE), result("RBAC: access denied"), result(None)], "client")
    assert found == {
        Hop("client", "productpage", spiffe("client")): 2,
        Hop("productpage", "reviews", spiffe("productpage")): 2,
        Hop("reviews", "ratings", spiffe("reviews")): 2,
    }
    assert unexpected(found) == ()
    assert told(found) == (
        "mutual TLS: client → productpage 2, productpage → reviews 2, reviews → ratings 2",
    )


def test_an_outsider_is_nobody_known() -> None:
    found = hops([result(answered("productpage", "", answered("details", spiffe("productpage"))))], OUTSIDER)
    assert unexpected(found) == ()
    assert told(found) == ("mutual TLS: productpage → details 1", "plaintext: outsider → productpage 1")


def test_plaintext_where_there_should_be_none_is_told() -> None:
    found = hops([result(answered("productpage", ""))], "client")
    assert unexpected(found) == (
        f"1 x productpage was asked by nobody known where client is {spiffe('client')}",
    )


def test_somebody_else_is_told() -> None:
    found = hops([result(answered("productpage", spiffe("ratings")))] * 3, "client")
    (line,) = unexpected(found)
    assert line.startswith(f"3 x productpage was asked by {spiffe('ratings')}")
    (line,) = unexpected(hops([result(answered("productpage", spiffe("client")))], OUTSIDER))
    assert line.endswith("where outsider is nobody known")
