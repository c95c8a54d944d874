"""How hosts and patterns relate."""

from __future__ import annotations

import pytest

from controlplane.mesh.hosts import (
    covers,
    is_partial,
    kubernetes_host,
    kubernetes_key,
    overlap,
    patterns_of,
    specificity,
)
from controlplane.model.keys import Key


@pytest.mark.parametrize(
    ("pattern", "host", "covered"),
    [
        ("a.b", "a.b", True),
        ("a.b", "*.b", False),
        ("*.b", "a.b", True),
        ("*.b", "x.a.b", True),
        ("*.b", "b", False),
        ("*.b", "*.a.b", True),
        ("*.a.b", "*.b", False),
        ("*", "anything", True),
        ("*.b", "*", False),
        ("*-v2.b", "a-v2.b", True),
        ("*-v2.b", "a-v1.b", False),
    ],
)
def test_covers(pattern: str, host: str, covered: bool) -> None:
    assert covers(pattern, host) is covered
    if covered:
        assert overlap(host, pattern)


def test_the_patterns_of_a_host_are_exactly_those_that_cover_it() -> None:
    assert patterns_of("a.b.c") == ("a.b.c", "*.b.c", "*.c", "*")
    assert patterns_of("*.b.c") == ("*.b.c", "*.c", "*")
    assert patterns_of("a") == ("a", "*")
    assert patterns_of("*") == ("*",)
    for host in ("a.b.c", "*.b.c", "*-x.b.c"):
        assert all(covers(pattern, host) for pattern in patterns_of(host))
        assert list(patterns_of(host)) == sorted(patterns_of(host), key=specificity)


def test_partial_wildcards_are_told_apart() -> None:
    assert [is_partial(p) for p in ("*-v2.a", "*.a", "*", "a")] == [True, False, False, False]


def test_kubernetes_hosts() -> None:
    key = Key("default", "reviews")
    assert kubernetes_key(kubernetes_host(key)) == key
    for host in ("reviews", "a.example.com", "a.b.default.svc.cluster.local", "svc.cluster.local"):
        assert kubernetes_key(host) is None
