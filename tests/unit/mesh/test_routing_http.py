"""HTTP rules of VirtualServices, translated for a port and a client."""

from __future__ import annotations

import pytest

from controlplane.mesh.routing_effects import DEFAULT_RETRIES, grpc_status
from controlplane.mesh.routing_http import default_retries, http_routes
from controlplane.mesh.routing_ir import (
    Destination,
    DirectResponse,
    Fault,
    Forward,
    HeaderChange,
    HeaderMatch,
    Match,
    Mirror,
    PathMatch,
    PrefixRewrite,
    QueryMatch,
    Redirect,
    RegexRewrite,
    Retries,
    Route,
    Target,
    TextMatch,
)
from controlplane.mesh.routing_match import ANYONE, Client
from controlplane.model.keys import Key, Ref
from tests.unit.envoy.traffic import virtual_service
from tests.unit.mesh.world import World, service

HOST = "reviews.default.svc.cluster.local"
TO = "route: [{destination: {host: reviews}}]"
SECOND = 1_000_000_000


def routes(http: str, client: Client = ANYONE, port: int = 9080, extra: str = "") -> tuple[Route, ...]:
    world = World(
        service("reviews", "http=9080, alt=8080") + extra + virtual_service("v", "[reviews]", http),
        paranoid=True,
    )
    return world.read(http_routes, Key("default", "v"), port, client)  # type: ignore[no-any-return]


def route(rule: str) -> Route:
    """The only route of one rule."""
    (found,) = routes(f"[{{{rule}}}]")
    return found


def forward(rule: str) -> Forward:
    action = route(f"{rule}, {TO}").action
    assert isinstance(action, Forward)
    return action


def test_a_plain_rule_gets_istios_defaults() -> None:
    assert route(TO) == Route(
        name="default",
        match=Match(PathMatch("prefix", "/")),
        action=Forward((Destination(Target(HOST, 9080)),), timeout=0, retries=DEFAULT_RETRIES),
        operation=f"{HOST}:9080/*",
        source=Ref("VirtualService", "default", "v"),
    )


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        ("uri: {exact: /a}", Match(PathMatch("exact", "/a"))),
        ("uri: {prefix: /a}, ignoreUriCase: true", Match(PathMatch("prefix", "/a", ignore_case=True))),
        ("uri: {regex: '/a.*'}, ignoreUriCase: true", Match(PathMatch("regex", "/a.*"))),
        ("method: {exact: GET}", Match(headers=(HeaderMatch(":method", TextMatch("exact", "GET")),))),
        ("scheme: {prefix: http}", Match(headers=(HeaderMatch(":scheme", TextMatch("prefix", "http")),))),
        ("authority: {regex: 'a.*'}", Match(headers=(HeaderMatch(":authority", TextMatch("regex", "a.*")),))),
        ("headers: {x: {exact: ''}}", Match(headers=(HeaderMatch("x", TextMatch("exact", "")),))),
        ("headers: {x: {}}", Match(headers=(HeaderMatch("x", TextMatch("present")),))),
        ("headers: {x: {regex: '*'}}", Match(headers=(HeaderMatch("x", TextMatch("present")),))),
        (
            "withoutHeaders: {x: {exact: a}}",
            Match(headers=(HeaderMatch("x", TextMatch("exact", "a"), True),)),
        ),
        ("queryParams: {q: {regex: 'a+'}}", Match(query=(QueryMatch("q", TextMatch("regex", "a+")),))),
        (
            "headers: {b: {exact: b}, a: {exact: a}}",
            Match(
                headers=(HeaderMatch("a", TextMatch("exact", "a")), HeaderMatch("b", TextMatch("exact", "b")))
            ),
        ),
    ],
)
def test_match(match: str, expected: Match) -> None:
    assert route(f"match: [{{{match}}}], {TO}").match == expected


def test_each_match_block_is_a_route_named_after_both() -> None:
    found = routes(
        f"[{{name: rule, match: [{{name: one, uri: {{exact: /1}}}}, "
        f"{{uri: {{exact: /2}}, statPrefix: s}}], {TO}}}]"
    )
    assert [(one.name, one.stat_prefix) for one in found] == [("rule.one", ""), ("rule", "s")]


@pytest.mark.parametrize(
    "catch_all", ["", "match: [{uri: {prefix: /}}],", "match: [{uri: {regex: '.*'}}, {uri: {exact: /x}}],"]
)
def test_nothing_follows_a_route_that_catches_all(catch_all: str) -> None:
    found = routes(
        f"[{{match: [{{uri: {{exact: /1}}}}], {TO}}}, {{name: last, {catch_all} {TO}}}, {{name: dead, {TO}}}]"
    )
    assert [one.name for one in found] == ["default", "last"]


def test_a_condition_on_a_header_catches_not_all() -> None:
    found = routes(f"[{{match: [{{headers: {{x: {{exact: a}}}}}}], {TO}}}, {{name: last, {TO}}}]")
    assert [one.name for one in found] == ["default", "last"]


LABELS = (("app", "a"),)


@pytest.mark.parametrize(
    ("match", "client", "port", "admitted"),
    [
        ("port: 9080", ANYONE, 9080, True),
        ("port: 9080", ANYONE, 8080, False),
        ("sourceLabels: {app: a}", ANYONE, 9080, False),
        ("sourceLabels: {app: a}", Client(matched=(LABELS,)), 9080, True),
        ("sourceNamespace: prod", ANYONE, 9080, False),
        ("sourceNamespace: prod", Client("prod"), 9080, True),
        ("gateways: [edge]", ANYONE, 9080, False),
        ("gateways: [edge, mesh]", ANYONE, 9080, True),
        # As in Istio, naming gateways switches the conditions on the client off.
        ("gateways: [mesh], sourceLabels: {app: a}, sourceNamespace: prod", ANYONE, 9080, True),
        ("gateways: [mesh], port: 1", ANYONE, 9080, False),
    ],
)
def test_conditions_on_the_client_are_decided_here(
    match: str, client: Client, port: int, admitted: bool
) -> None:
    found = routes(f"[{{match: [{{{match}}}], {TO}}}]", client, port)
    assert [one.match for one in found] == ([Match()] if admitted else [])


def test_weights_of_nothing_get_nothing() -> None:
    found = forward_all(
        "[{route: [{destination: {host: reviews, subset: v1}, weight: 90}, "
        "{destination: {host: reviews, subset: v2}}, "
        "{destination: {host: reviews, subset: v3}, weight: 10}]}]"
    )
    assert [(one.target.subset, one.weight) for one in found] == [("v1", 90), ("v3", 10)]


def test_a_lone_destination_gets_all_whatever_its_weight() -> None:
    found = forward_all("[{route: [{destination: {host: reviews}, weight: 0}]}]")
    assert [(one.target.host, one.weight) for one in found] == [(HOST, 1)]


def forward_all(http: str, extra: str = "") -> tuple[Destination, ...]:
    (one,) = routes(http, extra=extra)
    assert isinstance(one.action, Forward)
    return one.action.destinations


@pytest.mark.parametrize(
    ("destination", "target"),
    [
        ("host: reviews", Target(HOST, 9080)),
        ("host: reviews, port: {number: 8080}", Target(HOST, 8080)),
        ("host: single", Target("single.default.svc.cluster.local", 7)),
        ("host: unknown", Target("unknown.default.svc.cluster.local", 9080)),
        ("host: a.example.com, subset: s", Target("a.example.com", 9080, "s")),
    ],
)
def test_the_port_of_a_destination(destination: str, target: Target) -> None:
    found = forward_all(f"[{{route: [{{destination: {{{destination}}}}}]}}]", service("single", "http=7"))
    assert found[0].target == target


def test_rewrites() -> None:
    def rewritten(uri: str, rewrite: str) -> object:
        return forward(f"match: [{{uri: {{{uri}}}}}], rewrite: {{{rewrite}}}").rewrite

    assert rewritten("prefix: /a", "uri: /b") == PrefixRewrite("/b")
    assert rewritten("exact: /a.b", r"uri: '/\1'") == RegexRewrite(r"^/a\.b$", r"/\\1")
    assert rewritten("regex: '/a(.*)'", r"uri: '/b\1'") == RegexRewrite("/a(.*)", r"/b\1")
    assert rewritten("prefix: /a", "uriRegexRewrite: {match: '^/a', rewrite: /c}") == RegexRewrite(
        "^/a", "/c"
    )
    assert forward("rewrite: {authority: other}").authority == "other"


def test_an_exact_match_in_any_case_is_rewritten_in_any_case() -> None:
    rule = "match: [{uri: {exact: /a}, ignoreUriCase: true}], rewrite: {uri: /b}"
    assert forward(rule).rewrite == RegexRewrite("(?i)^/a$", "/b")


@pytest.mark.parametrize(
    ("redirect", "expected"),
    [
        ("uri: /n", Redirect(path="/n")),
        ("prefixRewrite: /n, redirectCode: 302", Redirect(302, prefix="/n")),
        ("scheme: https, port: 443", Redirect(scheme="https")),
        ("scheme: https, port: 80", Redirect(scheme="https", port=80)),
        ("port: 80", Redirect()),
        ("authority: a, port: 8443", Redirect(authority="a", port=8443)),
        ("authority: a, derivePort: FROM_REQUEST_PORT", Redirect(authority="a", port=9080)),
        ("authority: a, derivePort: FROM_PROTOCOL_DEFAULT", Redirect(authority="a")),
    ],
)
def test_redirect(redirect: str, expected: Redirect) -> None:
    assert route(f"redirect: {{{redirect}}}").action == expected


def test_direct_response() -> None:
    assert route("directResponse: {status: 418, body: {string: tea}}").action == DirectResponse(418, b"tea")
    assert route("directResponse: {status: 204}").action == DirectResponse(204)


def test_timeout() -> None:
    assert forward("timeout: 2.5s").timeout == 2_500_000_000


@pytest.mark.parametrize(
    ("retries", "expected"),
    [
        ("attempts: 0", None),
        ("attempts: 5", Retries(5, DEFAULT_RETRIES.on)),
        ("attempts: 1, retryOn: 'reset, 503 ,5xx'", Retries(1, "reset,5xx,retriable-status-codes", (503,))),
        ("attempts: 1, retryOn: 'retriable-status-codes,429'", Retries(1, "retriable-status-codes", (429,))),
        (
            "attempts: 1, retryOn: reset, perTryTimeout: 1s, backoff: 10ms, retryRemoteLocalities: true,"
            " retryIgnorePreviousHosts: false",
            Retries(1, "reset", (), SECOND, SECOND // 100, True, False),
        ),
    ],
)
def test_retries(retries: str, expected: Retries | None) -> None:
    assert forward(f"retries: {{{retries}}}").retries == expected


def test_the_mesh_says_how_to_retry_where_rules_do_not() -> None:
    world = World("kind: MeshConfig\ndefaultHttpRetryPolicy: {attempts: 7, retryOn: reset}\n")
    assert world.read(default_retries) == Retries(7, "reset")
    world.apply("kind: MeshConfig\ndefaultHttpRetryPolicy: {attempts: 0}\n")
    assert world.read(default_retries) is None


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("delay: {fixedDelay: 2s, percentage: {value: 50}}", Fault(2 * SECOND, 50.0)),
        ("abort: {httpStatus: 503, percentage: {value: 0.1}}", Fault(http_status=503, abort_percent=0.1)),
        (
            "abort: {grpcStatus: UNAVAILABLE, percentage: {value: 100}}",
            Fault(grpc_status=14, abort_percent=100),
        ),
        # Without a percentage nothing is hit, as in Istio.
        ("delay: {fixedDelay: 1s}, abort: {httpStatus: 400}", Fault(SECOND, 0.0, 400, None, 0.0)),
    ],
)
def test_fault(fault: str, expected: Fault) -> None:
    assert route(f"fault: {{{fault}}}, {TO}").fault == expected


@pytest.mark.parametrize(
    ("text", "code"), [("UNAVAILABLE", 14), ("ok", 0), ("16", 16), ("17", None), ("NO", None)]
)
def test_grpc_status(text: str, code: int | None) -> None:
    assert grpc_status(text) == code


def test_headers_at_both_levels() -> None:
    found = route(
        "headers: {request: {set: {b: '2', a: '1'}, add: {c: '3'}, remove: [d]}, response: {remove: [e]}}, "
        "route: [{destination: {host: reviews}, headers: {request: {set: {f: '4'}}}}]"
    )
    assert found.headers.request == HeaderChange((("a", "1"), ("b", "2")), (("c", "3"),), ("d",))
    assert found.headers.response == HeaderChange(remove=("e",))
    assert isinstance(found.action, Forward)
    assert found.action.destinations[0].headers.request == HeaderChange(set=(("f", "4"),))


def test_the_authority_is_no_header() -> None:
    found = route(
        "headers: {request: {set: {Host: a}}}, "
        "route: [{destination: {host: reviews}, headers: {request: {add: {host: c}}}}]"
    )
    assert found.headers.request == HeaderChange()
    assert isinstance(found.action, Forward)
    assert (found.action.authority, found.action.destinations[0].authority) == ("a", "c")


def test_mirrors() -> None:
    found = forward(
        "mirrors: [{destination: {host: reviews}}, "
        "{destination: {host: reviews, subset: s}, percentage: {value: 5}},"
        " {destination: {host: reviews}, percentage: {value: 0}}]"
    )
    assert found.mirrors == (Mirror(Target(HOST, 9080)), Mirror(Target(HOST, 9080, "s"), 5.0))


def test_cors() -> None:
    found = route(
        "corsPolicy: {allowOrigins: [{exact: a}, {regex: 'b.*'}], allowMethods: [GET], maxAge: 1h, "
        f"allowCredentials: false, unmatchedPreflights: IGNORE}}, {TO}"
    ).cors
    assert found is not None
    assert found.origins == (TextMatch("exact", "a"), TextMatch("regex", "b.*"))
    assert (found.methods, found.max_age, found.allow_credentials) == (("GET",), 3600 * SECOND, False)
    assert not found.forward_unmatched_preflights


def test_the_operation_names_the_only_destination_else_the_object() -> None:
    assert route(f"match: [{{uri: {{exact: /a}}}}], {TO}").operation == f"{HOST}:9080/a"
    shares = "route: [{destination: {host: reviews}, weight: 1}, {destination: {host: x}, weight: 1}]"
    assert route(f"match: [{{uri: {{prefix: /a}}}}], {shares}").operation == "v:9080/a*"
    assert route("redirect: {uri: /n}").operation == "v:9080/*"


def test_an_empty_prefix_is_that_of_every_path() -> None:
    found = routes(f"[{{match: [{{uri: {{prefix: ''}}}}], {TO}}}, {{name: behind, {TO}}}]")
    assert [one.match for one in found] == [Match(PathMatch("prefix", ""))]
