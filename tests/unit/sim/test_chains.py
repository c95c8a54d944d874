"""Which chain takes a connection: the most specific at each level, and never back."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.sim.chains import Connection, find_chain
from tests.unit.sim.messages import listener


def chosen(chains: dict[str, dict[str, Any]], *, default: bool = False, **seen: Any) -> str | None:
    more = {"default_filter_chain": {"name": "default"}} if default else {}
    found = listener(
        filter_chains=[{"name": name, "filter_chain_match": match} for name, match in chains.items()], **more
    )
    connection = Connection(**{"address": "10.0.0.1", "port": 80, "source": "10.9.9.9", **seen})
    chain, why = find_chain(found, connection)
    assert why
    return None if chain is None else chain.name


@pytest.mark.parametrize(
    ("sni", "expected"),
    [
        ("a.b.example.com", "exact"),
        ("c.b.example.com", "long"),
        ("c.d.example.com", "short"),
        ("b.example.com", "short"),
        ("example.com", "rest"),
        ("", "rest"),
        ("A.B.EXAMPLE.com", "exact"),
    ],
)
def test_server_names(sni: str, expected: str) -> None:
    chains: dict[str, dict[str, Any]] = {
        "short": {"server_names": ["*.example.com"]},
        "long": {"server_names": ["*.b.example.com"]},
        "exact": {"server_names": ["a.b.example.com"]},
        "rest": {},
    }
    assert chosen(chains, sni=sni, transport="tls") == expected


def test_a_level_that_was_passed_is_not_come_back_to() -> None:
    chains: dict[str, dict[str, Any]] = {
        "name": {
            "server_names": ["a.example.com"],
            "transport_protocol": "tls",
            "application_protocols": ["h2"],
        },
        "any": {"transport_protocol": "tls"},
    }
    assert chosen(chains, sni="a.example.com", transport="tls", alpn=("h2",)) == "name"
    assert chosen(chains, sni="a.example.com", transport="tls", alpn=("http/1.1",)) is None
    assert chosen(chains, default=True, sni="a.example.com", transport="tls", alpn=("x",)) == "default"
    assert chosen(chains, sni="b.example.com", transport="tls") == "any"


def test_ports_come_before_everything() -> None:
    chains: dict[str, dict[str, Any]] = {
        "port": {"destination_port": 80, "transport_protocol": "tls"},
        "plain": {"transport_protocol": "raw_buffer"},
    }
    assert chosen(chains) is None
    assert chosen(chains, port=81) == "plain"


def test_the_longest_prefix() -> None:
    chains = {
        "wide": {"prefix_ranges": [{"address_prefix": "10.0.0.0", "prefix_len": 8}]},
        "narrow": {"prefix_ranges": [{"address_prefix": "10.0.0.0", "prefix_len": 24}]},
        "rest": {},
    }
    assert chosen(chains) == "narrow"
    assert chosen(chains, address="10.1.0.1") == "wide"
    assert chosen(chains, address="11.0.0.1") == "rest"
    assert chosen(chains, address="fd00::1") == "rest"


def test_the_first_of_the_clients_protocols_that_is_known() -> None:
    chains: dict[str, dict[str, Any]] = {
        "http": {"application_protocols": ["http/1.1", "h2c"]},
        "mesh": {"application_protocols": ["istio"]},
        "rest": {},
    }
    assert chosen(chains, alpn=("new", "istio", "http/1.1")) == "mesh"
    assert chosen(chains, alpn=("new",)) == "rest"


def test_sources() -> None:
    chains: dict[str, dict[str, Any]] = {
        "near": {"source_prefix_ranges": [{"address_prefix": "10.9.0.0", "prefix_len": 16}]},
        "self": {"source_type": "SAME_IP_OR_LOOPBACK"},
        "rest": {},
    }
    assert chosen(chains) == "near"
    assert chosen(chains, source="127.0.0.1") == "self"
    assert chosen(chains, source="10.8.0.1") == "rest"
