"""Who is on this machine, and asks for himself."""

from __future__ import annotations

import asyncio

import pytest

from controlplane.telemetry.visitors import Request, closed, is_here, is_loopback


@pytest.mark.parametrize(
    ("peer", "local"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:10.0.0.1", False),
        ("10.0.0.1", False),
        ("fe80::1%eth0", False),
        ("", False),
        (None, False),
        ("localhost", False),
        ("127.0.0.6", False),
        ("::ffff:127.0.0.6", False),
    ],
)
def test_whose_address_is_this_machines(peer: str | None, local: bool) -> None:
    assert is_loopback(peer) is local


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:15014", "localhost:1", "LOCALHOST", "[::1]:1", "[::1]"]
)
def test_a_visitor_names_this_machine(host: str) -> None:
    assert is_here("127.0.0.1", {"Host": host})
    assert not is_here("10.0.0.1", {"Host": host})


@pytest.mark.parametrize(
    "host", ["", "example.org", "localhost.example.org", "127.0.0.1.example.org:15014", "10.0.0.1", "[::2]:1"]
)
def test_a_page_whose_name_leads_here_is_not_from_here(host: str) -> None:
    assert not is_here("127.0.0.1", {"Host": host})


@pytest.mark.parametrize(
    "header", ["X-Forwarded-For", "Forwarded", "Via", "X-Envoy-External-Address", "X-Real-Ip"]
)
def test_who_asks_for_others_is_not_from_here(header: str) -> None:
    assert not is_here("127.0.0.1", {"Host": "localhost", header: "127.0.0.1"})


def test_without_a_judge_nobody_else_is_let_in() -> None:
    refusal = asyncio.run(closed(Request("/debug/syncz", {}, "Bearer x")))
    assert refusal is not None
    assert refusal.status == 403
