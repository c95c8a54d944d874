"""What an HTTP rule of a VirtualService looks at."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from controlplane.model.checks import check_gateways, check_namespace, check_regex, check_selector
from controlplane.model.claims import PREFIX, claim_path, is_claim
from controlplane.model.describe import shorten
from controlplane.model.keys import Labels
from controlplane.model.reader import Reader

_TESTS: tuple[Literal["exact", "prefix", "regex"], ...] = ("exact", "prefix", "regex")
_PSEUDO = ("uri", "scheme", "method", "authority")
# RFC 9110, 5.6.2: token.
_TOKEN = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
# What Envoy refuses above: it would be a whole configuration of routes.
_LONGEST_HEADER = 16384
_LONGEST_PARAMETER = 1024
_MATCHED = re.compile(r"[-_0-9A-Za-z]+")


def is_header_name(text: str) -> bool:
    """Whether this can be the name of an HTTP header."""
    return len(text) <= _LONGEST_HEADER and _TOKEN.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class StringMatch:
    """A test of one string; "present" (an empty match) asks only that there is one, its `value` is ""."""

    kind: Literal["exact", "prefix", "regex", "present"]
    value: str = ""


@dataclass(frozen=True, slots=True)
class HTTPMatchRequest:
    """All of its conditions must hold; those left None or empty always do.

    `headers`, `without_headers` and `query_params` are (name, match) pairs sorted by name.
    """

    name: str = ""
    uri: StringMatch | None = None
    scheme: StringMatch | None = None
    method: StringMatch | None = None
    authority: StringMatch | None = None
    headers: tuple[tuple[str, StringMatch], ...] = ()
    port: int | None = None
    source_labels: Labels = ()
    gateways: tuple[str, ...] = ()
    query_params: tuple[tuple[str, StringMatch], ...] = ()
    ignore_uri_case: bool = False
    without_headers: tuple[tuple[str, StringMatch], ...] = ()
    source_namespace: str | None = None
    stat_prefix: str | None = None


def read_string_match(r: Reader) -> StringMatch:
    """A StringMatch; Istio refuses more than one test, an empty prefix and a bad expression."""
    return _string_match(r)


def _read_uri(r: Reader) -> StringMatch:
    # An empty prefix is that of every path.
    return _string_match(r, bare=True)


def _string_match(r: Reader, *, star: bool = False, bare: bool = False) -> StringMatch:
    tests = {kind: r.text(kind) for kind in _TESTS}
    given = [kind for kind in _TESTS if r.has(kind)]
    if len(given) > 1:
        r.error(given[1], f"excludes {given[0]}", "keep one of " + ", ".join(_TESTS))
    if not given:
        return StringMatch("present")
    kind = given[0]
    value = tests[kind]
    if kind == "prefix" and not value and not bare:
        r.error(kind, "is empty", "write a prefix, or leave the match out")
    elif kind == "regex" and star and value == "*":
        return StringMatch("present")
    elif kind == "regex" and not value:
        r.error(kind, "is empty", "write an expression, or leave the match out")
    elif kind == "regex":
        check_regex(r, kind, value)
    return StringMatch(kind, value)


def _read_header_match(r: Reader) -> StringMatch:
    # For headers, and only there, Istio reads the invalid expression "*" as "any value".
    return _string_match(r, star=True)


def read_http_match(r: Reader) -> HTTPMatchRequest:
    """One HTTPMatchRequest."""
    match = HTTPMatchRequest(
        name=r.text("name"),
        uri=_read_test(r, "uri", _read_uri),
        scheme=_read_test(r, "scheme"),
        method=_read_test(r, "method"),
        authority=_read_test(r, "authority"),
        headers=_read_header_tests(r, "headers"),
        port=r.port("port"),
        source_labels=r.labels("sourceLabels"),
        gateways=r.strings("gateways"),
        query_params=r.messages_by_name("queryParams", read_string_match),
        ignore_uri_case=r.boolean("ignoreUriCase"),
        without_headers=_read_header_tests(r, "withoutHeaders"),
        source_namespace=r.string("sourceNamespace"),
        stat_prefix=r.string("statPrefix"),
    )
    check_selector(r, "sourceLabels", match.source_labels)
    check_namespace(r, "sourceNamespace", match.source_namespace)
    check_gateways(r, match.gateways)
    if any(not name for name, _ in match.query_params):
        r.error("queryParams", "has an empty name", "name the query parameter")
    if any(len(name.encode()) > _LONGEST_PARAMETER for name, _ in match.query_params):
        r.error(
            "queryParams", f"has a name of more than {_LONGEST_PARAMETER} bytes", "name the query parameter"
        )
    return match


def _read_test(
    r: Reader, name: str, read: Callable[[Reader], StringMatch] = read_string_match
) -> StringMatch | None:
    match = r.message(name, read)
    if match is None or match.kind != "present":
        return match
    # Every request has a path, a method, a scheme and an authority: nothing is asked.
    r.warn(name, "says neither exact, prefix nor regex and has no effect", "say one of them")
    return None


def _read_header_tests(r: Reader, name: str) -> tuple[tuple[str, StringMatch], ...]:
    tests = r.messages_by_name(name, _read_header_match)
    for header, _ in tests:
        if is_claim(header):
            if not claim_path(header):
                r.error(
                    name, f"{shorten(header)} names no claim", f'write "{PREFIX}.name" or "{PREFIX}[a][b]"'
                )
        elif not _MATCHED.fullmatch(header):
            remedy = "use letters, digits, - and _; for method and authority there are fields of their own"
            r.error(name, f"{shorten(header)} cannot be the name of a header", remedy)
        elif header in _PSEUDO and name == "headers":
            r.warn(
                f"{name}[{header}]",
                "looks at a header of that name",
                f"to look at the request's, use {header}:",
            )
    return tests
