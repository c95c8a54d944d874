"""Hosts that cover each other: told of thousands as of two."""

from __future__ import annotations

import random

import pytest

from controlplane.model.hosts import covering, covers
from controlplane.model.kinds import BY_NAME

NAMES = [
    "a.com",
    "b.a.com",
    "c.b.a.com",
    "d.org",
    "*",
    "*.com",
    "*.a.com",
    "*.b.a.com",
    "*-x.a.com",
    "y-x.a.com",
]


@pytest.mark.parametrize("host", NAMES)
def test_a_pattern_is_found_wherever_one_covers(host: str) -> None:
    for pattern in NAMES:
        assert (covering({pattern}, host) == pattern) == covers(pattern, host)
    assert covering({"x.com", "*.x.com"}, host) is None


def overlapping(hosts: list[str]) -> list[int]:
    """The places of the hosts that a VirtualService should not name a second time."""
    raw = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "it", "namespace": "here"},
        "spec": {
            "hosts": hosts,
            "gateways": ["edge"],
            "http": [{"route": [{"destination": {"host": "web"}}]}],
        },
    }
    problems = BY_NAME["VirtualService"].parse(raw).problems
    return [int(one.field.removeprefix("spec.hosts[").removesuffix("]")) for one in problems]


def test_each_host_that_is_covered_or_covers_is_told_once() -> None:
    draw = random.Random(6)
    for _ in range(200):
        hosts = draw.choices(NAMES, k=draw.randint(1, 5))
        pairs = [(n, hosts[:n]) for n in range(len(hosts))]
        expected = [
            n for n, before in pairs if any(covers(o, hosts[n]) or covers(hosts[n], o) for o in before)
        ]
        assert overlapping(hosts) == expected, hosts


def test_many_hosts_cost_no_more_each_than_few() -> None:
    asked: list[str] = []

    class Counted(set[str]):
        def __contains__(self, item: object) -> bool:
            asked.append(str(item))
            return super().__contains__(item)

    for count in (10, 10_000):
        asked.clear()
        assert covering(Counted(f"h{n}.example.com" for n in range(count)), "other.example.com") is None
        assert len(asked) == 1 + len("other.example.com")
