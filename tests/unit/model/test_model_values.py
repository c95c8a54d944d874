"""Durations, hosts, expressions, localities and keys: the words that objects are made of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.model.describe import describe, printable, shorten
from controlplane.model.duration import parse_duration
from controlplane.model.hosts import covers, fqdn, host_fault, is_address, is_prefix
from controlplane.model.keys import labels_of
from controlplane.model.locality import Locality, parse_locality
from controlplane.model.regex import regex_fault

MS = 1_000_000


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0", 0),
        ("0s", 0),
        ("1ns", 1),
        ("1.5ms", 1_500_000),
        ("10s", 10_000 * MS),
        ("1h30m", 5400_000 * MS),
        ("1h1m1s1ms1us1ns", 3661_001_001_001),
        (".5s", 500 * MS),
        ("1.s", 1000 * MS),
        ("+2s", 2000 * MS),
        ("-2s", -2000 * MS),
        ("3\u00b5s", 3000),
        ("0.1s", 100 * MS),
        ("2562047h", 2562047 * 3600 * 1000 * MS),
    ],
)
def test_durations_are_exact(text: str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "s",
        "1.5",
        "1d",
        "1 s",
        "1s ",
        "--1s",
        "1e3s",
        ".s",
        "10S",
        "999999999h",
        "1" * 100 + "s",
        "\u0661s",
    ],
)
def test_what_is_no_duration_is_none(text: str) -> None:
    assert parse_duration(text) is None


@given(st.integers(0, 2**62))
def test_whole_nanoseconds_survive(number: int) -> None:
    assert parse_duration(f"{number}ns") == number
    assert parse_duration(f"-{number}ns") == -number


@pytest.mark.parametrize(
    ("host", "namespace", "full"),
    [
        ("reviews", "shop", "reviews.shop.svc.cluster.local"),
        ("reviews.shop", "other", "reviews.shop"),
        ("reviews.shop.svc.cluster.local", "other", "reviews.shop.svc.cluster.local"),
        ("*", "shop", "*"),
        ("*.example.com", "shop", "*.example.com"),
        ("10.0.0.1", "shop", "10.0.0.1"),
        ("::1", "shop", "::1"),
        ("", "shop", ""),
    ],
)
def test_short_names_belong_to_the_namespace_of_their_object(host: str, namespace: str, full: str) -> None:
    assert fqdn(host, namespace) == full


def test_addresses_and_prefixes() -> None:
    assert all(map(is_address, ["1.2.3.4", "0.0.0.0", "255.255.255.255", "::", "fd00::1", "::ffff:1.2.3.4"]))
    assert not any(
        map(
            is_address,
            ["", "1.2.3", "256.1.1.1", "01.2.3.4", "1.2.3.4/8", "fe80::1%eth0", "a.b", "\u0661.2.3.4"],
        )
    )
    assert all(map(is_prefix, ["10.0.0.0/8", "0.0.0.0/0", "1.2.3.4/32", "fd00::/8", "::/128"]))
    assert not any(map(is_prefix, ["10.0.0.0", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/", "::/129", "x/8"]))


@pytest.mark.parametrize(
    "host", ["a", "reviews.default.svc.cluster.local", "*", "*.foo.com", "*-x.foo.com", "a.b.", "my_service"]
)
def test_valid_hosts(host: str) -> None:
    assert host_fault(host) is None


@pytest.mark.parametrize(
    "host",
    [
        "",
        ".",
        "a..b",
        "a b",
        "_a",
        "a_",
        "-a",
        "a-",
        "a b",
        "a|b",
        "a/b",
        "a*",
        "x.*.com",
        "1.2.3.4",
        "a" * 64,
        "a." * 200,
    ],
)
def test_invalid_hosts(host: str) -> None:
    assert host_fault(host) is not None


def test_a_wildcard_can_be_forbidden() -> None:
    assert host_fault("*.foo.com", wildcard=False) == "is a wildcard"


def test_a_pattern_covers_names_and_narrower_patterns() -> None:
    assert covers("*", "a.b")
    assert covers("*.b", "a.b")
    assert covers("*.b", "*.a.b")
    assert covers("a.b", "a.b")
    assert not covers("*.a.b", "*.b")
    assert not covers("a.b", "*.b")
    assert not covers("*.b", "b")


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "a*b+c?",
        "a*?b+?",
        "(?i)foo|bar",
        "(?P<n>x)",
        "[]a]",
        "[^]a]*",
        "[(?=]",
        r"[\]]",
        "[[:alpha:]]+",
        r"\(a\)",
        r"\\1",
        "a{2}",
        "a{2,}",
        "a{2,1000}",
        "a{x}",
        "{",
        r"\p{Greek}+",
        r"\x{FF}",
        r"\Q(*\E+",
        "^$",
        "^/v[0-9]+/.*$",
        "(a|b)*",
        ".*",
        "a}",
    ],
)
def test_expressions_that_envoy_takes(pattern: str) -> None:
    assert regex_fault(pattern) is None


@pytest.mark.parametrize(
    "pattern",
    [
        "(",
        ")",
        "(a))",
        "[a",
        "[",
        "a\\",
        "*",
        "*a",
        "a|*",
        "(*a)",
        "+",
        "a**",
        "a+*",
        "a{2}{3}",
        "a{1001}",
        "a{3,2}",
        "(?=a)",
        "(?!a)",
        "(?<=a)",
        "(?<!a)",
        r"(a)\1",
        "(?P<x>a)(?P=x)",
    ],
)
def test_expressions_that_envoy_refuses(pattern: str) -> None:
    assert regex_fault(pattern)


@given(st.text(alphabet="ab()[]{}*+?|\\^$.,12:=!<PQE-", max_size=30))
def test_every_text_gets_an_answer(pattern: str) -> None:
    fault = regex_fault(pattern)
    assert fault is None or fault


def test_localities() -> None:
    assert parse_locality("r/z/s") == Locality("r", "z", "s")
    assert parse_locality("r") == Locality("r", "", "")
    assert parse_locality("r/z/s/t") == Locality("r", "z", "s/t")
    assert str(Locality("r", "z", "")) == "r/z"
    assert str(Locality()) == ""


def test_labels_are_sorted_pairs() -> None:
    assert labels_of({"b": "2", "a": "1"}) == (("a", "1"), ("b", "2"))


def test_descriptions_are_short_and_printable() -> None:
    assert describe(None) == "null"
    assert describe(object()) == "a value of type object"
    assert len(shorten("x" * 10_000)) < 100
    assert shorten("a\nb").isprintable()
    assert printable("a-b") == "a-b"
    assert printable("a\nb") == "'a\\nb'"
