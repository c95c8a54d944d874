"""VirtualService: all of its fields, and what Istio's validation refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from controlplane.model.kinds import virtual_services
from controlplane.model.kinds.http_effects import (
    Abort,
    CorsPolicy,
    Delay,
    HTTPFaultInjection,
    HTTPRetry,
)
from controlplane.model.kinds.http_headers import HeaderOperations, Headers
from controlplane.model.kinds.http_match import HTTPMatchRequest, StringMatch
from controlplane.model.kinds.http_route import (
    Delegate,
    Destination,
    HTTPDirectResponse,
    HTTPMirrorPolicy,
    HTTPRedirect,
    HTTPRewrite,
    HTTPRoute,
    HTTPRouteDestination,
    RegexRewrite,
)
from controlplane.model.kinds.virtual_service import (
    L4MatchAttributes,
    RouteDestination,
    TCPRoute,
    TLSMatchAttributes,
    TLSRoute,
)

Values = Callable[..., Any]
Fields = Callable[..., dict[str, str]]
SECOND = 1_000_000_000
ROUTE = [{"destination": {"host": "a"}}]


def http(**rule: Any) -> dict[str, Any]:
    """A VirtualService with one rule, which goes to `a` unless it says what else it does."""
    actions = {"route", "redirect", "directResponse", "delegate"}
    return {"hosts": ["a"], "http": [rule if actions & rule.keys() else {"route": ROUTE, **rule}]}


def test_matches(value: Values) -> None:
    spec = http(
        match=[
            {
                "name": "m",
                "uri": {"prefix": "/api"},
                "scheme": {"exact": "https"},
                "method": {"regex": "GET|PUT"},
                "authority": {"exact": "a.com"},
                "headers": {
                    "x": {"exact": ""},
                    "end-user": {"exact": "jason"},
                    "any": {},
                    "star": {"regex": "*"},
                },
                "withoutHeaders": {"no": {"prefix": "n"}},
                "queryParams": {"q": {"regex": "^v[0-9]$"}},
                "port": 80,
                "sourceLabels": {"version": "v1", "app": "web"},
                "sourceNamespace": "shop",
                "gateways": ["mesh", "infra/gw"],
                "ignoreUriCase": True,
                "statPrefix": "s",
            },
            {},
        ]
    )
    assert value("VirtualService", spec).http[0].match == (
        HTTPMatchRequest(
            name="m",
            uri=StringMatch("prefix", "/api"),
            scheme=StringMatch("exact", "https"),
            method=StringMatch("regex", "GET|PUT"),
            authority=StringMatch("exact", "a.com"),
            headers=(
                ("any", StringMatch("present")),
                ("end-user", StringMatch("exact", "jason")),
                ("star", StringMatch("present")),
                ("x", StringMatch("exact", "")),
            ),
            without_headers=(("no", StringMatch("prefix", "n")),),
            query_params=(("q", StringMatch("regex", "^v[0-9]$")),),
            port=80,
            source_labels=(("app", "web"), ("version", "v1")),
            source_namespace="shop",
            gateways=("mesh", "infra/gw"),
            ignore_uri_case=True,
            stat_prefix="s",
        ),
        HTTPMatchRequest(),
    )


def test_a_rule_with_everything_on_its_way_to_destinations(value: Values) -> None:
    operations = {"set": {"a": "1"}, "add": {"b": "2"}, "remove": ["c"]}
    spec = http(
        name="r",
        route=[
            {
                "destination": {"host": "a", "subset": "v1", "port": {"number": 80}},
                "weight": 90,
                "headers": {"response": operations},
            },
            {"destination": {"host": "b.other.svc.cluster.local"}, "weight": 10},
        ],
        headers={"request": operations},
        rewrite={"uri": "/x", "authority": "y"},
        timeout="1.5s",
        retries={
            "attempts": 3,
            "perTryTimeout": "2s",
            "retryOn": "5xx,unavailable,503",
            "retryRemoteLocalities": True,
            "retryIgnorePreviousHosts": False,
            "backoff": "25ms",
        },
        fault={
            "delay": {"fixedDelay": "5s", "percentage": {"value": 0.1}},
            "abort": {"httpStatus": 503, "percentage": {"value": 50}},
        },
        mirrors=[
            {"destination": {"host": "m"}, "percentage": {"value": 1.5}},
            {"destination": {"host": "n"}},
        ],
        corsPolicy={
            "allowOrigins": [{"regex": ".*"}],
            "allowMethods": ["GET"],
            "allowHeaders": ["x"],
            "exposeHeaders": ["y"],
            "maxAge": "24h",
            "allowCredentials": False,
            "unmatchedPreflights": "IGNORE",
        },
    )
    changed = HeaderOperations((("a", "1"),), (("b", "2"),), ("c",))
    assert value("VirtualService", spec).http == (
        HTTPRoute(
            name="r",
            route=(
                HTTPRouteDestination(Destination("a", "v1", 80), 90, Headers(response=changed)),
                HTTPRouteDestination(Destination("b.other.svc.cluster.local"), 10),
            ),
            headers=Headers(request=changed),
            rewrite=HTTPRewrite(uri="/x", authority="y"),
            timeout=SECOND * 3 // 2,
            retries=HTTPRetry(3, 2 * SECOND, "5xx,unavailable,503", True, False, SECOND // 40),
            fault=HTTPFaultInjection(
                delay=Delay(fixed_delay=5 * SECOND, percentage=0.1),
                abort=Abort(http_status=503, percentage=50.0),
            ),
            mirrors=(HTTPMirrorPolicy(Destination("m"), 1.5), HTTPMirrorPolicy(Destination("n"))),
            cors_policy=CorsPolicy(
                (StringMatch("regex", ".*"),), ("GET",), ("x",), ("y",), 86400 * SECOND, False, "IGNORE"
            ),
        ),
    )


def test_redirects_direct_responses_and_delegates(value: Values) -> None:
    redirect = {"uri": "/n", "authority": "b", "port": 8080, "scheme": "https", "redirectCode": 302}
    rules = [
        {"redirect": redirect},
        {"redirect": {"prefixRewrite": "/p", "derivePort": "FROM_REQUEST_PORT"}},
        {"directResponse": {"status": 503, "body": {"string": "caf\u00e9"}}},
        {"directResponse": {"status": 200, "body": {"bytes": "AAE="}}},
        {"directResponse": {"status": 204}},
        {"delegate": {"name": "d", "namespace": "infra"}},
        {"route": ROUTE, "rewrite": {"uriRegexRewrite": {"match": "^/a/(.*)$", "rewrite": r"/\1"}}},
    ]
    got = value("VirtualService", {"hosts": ["a"], "http": rules}).http
    assert got[0].redirect == HTTPRedirect("/n", None, "b", 8080, None, "https", 302)
    assert got[1].redirect == HTTPRedirect(prefix_rewrite="/p", derive_port="FROM_REQUEST_PORT")
    assert got[2].direct_response == HTTPDirectResponse(503, "caf\u00e9".encode())
    assert got[3].direct_response == HTTPDirectResponse(200, b"\x00\x01")
    assert got[4].direct_response == HTTPDirectResponse(204, None)
    assert got[5].delegate == Delegate("d", "infra")
    assert got[6].rewrite == HTTPRewrite(uri_regex_rewrite=RegexRewrite("^/a/(.*)$", r"/\1"))


@pytest.mark.parametrize(
    ("old", "share"),
    [
        ({"mirrorPercentage": {"value": 12.5}, "mirrorPercent": 99}, 12.5),
        ({"mirrorPercent": 10}, 10.0),
        ({"mirror_percent": 20}, 20.0),
        ({"mirrorPercentage": {}}, 0.0),
        ({}, None),
    ],
)
def test_the_old_ways_to_mirror_are_read(value: Values, old: dict[str, Any], share: float | None) -> None:
    mirrors = value("VirtualService", http(mirror={"host": "m"}, **old)).http[0].mirrors
    assert mirrors == (HTTPMirrorPolicy(Destination("m"), share),)


def test_other_old_fields_are_read(value: Values) -> None:
    rule = value("VirtualService", http(fault={"delay": {"fixedDelay": "1s", "percent": 5}})).http[0]
    assert rule.fault.delay == Delay(fixed_delay=SECOND, percentage=5.0)
    rule = value("VirtualService", http(corsPolicy={"allowOrigin": ["https://a"]})).http[0]
    assert rule.cors_policy.allow_origins == (StringMatch("exact", "https://a"),)


def test_tls_and_tcp_rules(value: Values) -> None:
    common = {
        "destinationSubnets": ["10.0.0.0/8"],
        "port": 443,
        "sourceLabels": {"a": "b"},
        "gateways": ["mesh"],
        "sourceNamespace": "n",
    }
    spec = {
        "hosts": ["*.a.com"],
        "tls": [{"match": [{"sniHosts": ["x.a.com"], **common}], "route": ROUTE}],
        "tcp": [{"match": [common], "route": [{"destination": {"host": "a"}, "weight": 3}]}],
        "exportTo": [".", "other"],
        "gateways": ["mesh", "gw"],
    }
    got = value("VirtualService", spec)
    rest = (("10.0.0.0/8",), 443)
    labels = (("a", "b"),)
    assert got.tls == (
        TLSRoute(
            (TLSMatchAttributes(("x.a.com",), *rest, labels, ("mesh",), "n"),),
            (RouteDestination(Destination("a")),),
        ),
    )
    assert got.tcp == (
        TCPRoute(
            (L4MatchAttributes(*rest, None, labels, ("mesh",), "n"),),
            (RouteDestination(Destination("a"), 3),),
        ),
    )
    assert (got.export_to, got.gateways) == ((".", "other"), ("mesh", "gw"))


def test_hosts_are_indexed_as_full_names(value: Values) -> None:
    got = value("VirtualService", {**http(), "hosts": ["reviews", "*.a.com", "b.com"]})
    found = set(virtual_services.indexes["host"](got.meta.key, got))
    assert found == {"reviews.shop.svc.cluster.local", "*.a.com", "b.com"}


def test_a_delegate_has_no_hosts(value: Values) -> None:
    assert value("VirtualService", {"http": [{"route": ROUTE}]}).hosts == ()


@pytest.mark.parametrize(
    ("spec", "field", "message"),
    [
        ({"hosts": ["a"]}, "spec.http", "is missing"),
        ({"hosts": ["a"], "http": []}, "spec.http", "is missing"),
        ({**http(), "hosts": ["a b"]}, "spec.hosts[0]", "not a DNS name"),
        ({**http(), "hosts": ["a", "a"]}, "spec.hosts[1]", "given twice"),
        ({**http(), "hosts": ["*"]}, "spec.hosts[0]", "bound to the mesh"),
        ({**http(), "hosts": ["*"], "gateways": ["g", "mesh"]}, "spec.hosts[0]", "bound to the mesh"),
        ({**http(), "hosts": [5]}, "spec.hosts[0]", "expected a string"),
        ({**http(), "gateways": ["a/b/c"]}, "spec.gateways[0]", "names no gateway"),
        ({**http(), "exportTo": ["*", "."]}, "spec.exportTo", "and more"),
        ({**http(), "exportTo": ["Shop"]}, "spec.exportTo[0]", "no namespace"),
        ({**http(), "exportTo": ["a", "a"]}, "spec.exportTo[1]", "given twice"),
        ({**http(), "exportTo": ["~"]}, "spec.exportTo[0]", "no namespace"),
        ({"http": [{"route": ROUTE}], "gateways": ["g"]}, "spec.gateways", "without hosts"),
        ({"tcp": [{"route": ROUTE}]}, "spec.tcp", "without hosts"),
        ({"http": [{"delegate": {"name": "x"}}]}, "spec.http[0].delegate", "delegate itself"),
        ({"hosts": ["a"], "http": [{}]}, "spec.http[0].route", "is missing"),
        ({"hosts": ["a"], "http": [{"route": []}]}, "spec.http[0].route", "is missing"),
        (http(route=[{}]), "spec.http[0].route[0].destination", "is missing"),
        (http(route=[{"destination": {}}]), "spec.http[0].route[0].destination.host", "is missing"),
        (
            http(route=[{"destination": {"host": "*"}}]),
            "spec.http[0].route[0].destination.host",
            "no destination",
        ),
        (
            http(route=[{"destination": {"host": "1.2.3.4"}}]),
            "spec.http[0].route[0].destination.host",
            "number",
        ),
        (
            http(route=[{"destination": {"host": "a", "port": {"number": 0}}}]),
            "spec.http[0].route[0].destination.port.number",
            "is missing",
        ),
        (
            http(route=[{"destination": {"host": "a", "port": {"number": "80"}}}]),
            "spec.http[0].route[0].destination.port.number",
            "expected an integer",
        ),
        (http(route=[{**ROUTE[0], "weight": -1}]), "spec.http[0].route[0].weight", "got the number -1"),
        (http(route=[*ROUTE, *ROUTE]), "spec.http[0].route", "all weights are 0"),
        (
            http(route=[{**ROUTE[0], "weight": 2**31 - 1}] * 3),
            "spec.http[0].route",
            "add up to more than 4294967295",
        ),
        (http(route=ROUTE, redirect={"uri": "/"}), "spec.http[0].redirect", "excludes route"),
        (http(route=ROUTE, delegate={"name": "d"}), "spec.http[0].delegate", "excludes route"),
        (
            http(redirect={"uri": "/"}, fault={"abort": {"httpStatus": 500, "percentage": {}}}),
            "spec.http[0].fault",
            "excludes redirect",
        ),
        (http(redirect={"uri": "/"}, rewrite={"uri": "/"}), "spec.http[0].rewrite", "excludes redirect"),
        (http(redirect={}), "spec.http[0].redirect", "changes nothing"),
        (
            http(redirect={"uri": "/", "redirectCode": 200}),
            "spec.http[0].redirect.redirectCode",
            "no redirect",
        ),
        (http(redirect={"scheme": "ftp"}), "spec.http[0].redirect.scheme", "not allowed"),
        (
            http(redirect={"port": 1, "derivePort": "FROM_REQUEST_PORT"}),
            "spec.http[0].redirect.derivePort",
            "excludes port",
        ),
        (
            http(redirect={"uri": "/", "prefixRewrite": "/"}),
            "spec.http[0].redirect.prefixRewrite",
            "excludes uri",
        ),
        (http(directResponse={}), "spec.http[0].directResponse.status", "is missing"),
        (http(directResponse={"status": 700}), "spec.http[0].directResponse.status", "from 200 to 599"),
        (
            http(directResponse={"status": 200, "body": {"string": "a", "bytes": "AA=="}}),
            "spec.http[0].directResponse.body.bytes",
            "excludes string",
        ),
        (
            http(directResponse={"status": 200, "body": {"bytes": "?"}}),
            "spec.http[0].directResponse.body.bytes",
            "not base64",
        ),
        (
            http(directResponse={"status": 200, "body": {"string": "x" * (2**20 + 1)}}),
            "spec.http[0].directResponse.body",
            "1048577 bytes",
        ),
        (http(delegate={}), "spec.http[0].delegate.name", "is missing"),
        (http(rewrite={}), "spec.http[0].rewrite", "changes nothing"),
        (
            http(rewrite={"uri": "/", "uriRegexRewrite": {"match": "a"}}),
            "spec.http[0].rewrite.uriRegexRewrite",
            "excludes uri",
        ),
        (
            http(rewrite={"uriRegexRewrite": {"match": "("}}),
            "spec.http[0].rewrite.uriRegexRewrite.match",
            "not closed",
        ),
        (http(timeout="-1s"), "spec.http[0].timeout", "too short"),
        (http(timeout="1"), "spec.http[0].timeout", "not a duration"),
        (http(retries={"attempts": -1}), "spec.http[0].retries.attempts", "got the number -1"),
        (http(retries={"attempts": 1, "backoff": "1us"}), "spec.http[0].retries.backoff", "too short"),
        (http(fault={}), "spec.http[0].fault", "does nothing"),
        (http(fault={"delay": {"percentage": {}}}), "spec.http[0].fault.delay.fixedDelay", "is missing"),
        (
            http(fault={"delay": {"fixedDelay": "1s", "percentage": {"value": 101}}}),
            "spec.http[0].fault.delay.percentage.value",
            "from 0 to 100",
        ),
        (http(fault={"abort": {"percentage": {}}}), "spec.http[0].fault.abort.httpStatus", "is missing"),
        (
            http(fault={"abort": {"percentage": {}, "httpStatus": 500, "grpcStatus": "INTERNAL"}}),
            "spec.http[0].fault.abort.grpcStatus",
            "excludes httpStatus",
        ),
        (
            http(fault={"abort": {"percentage": {}, "httpStatus": 42}}),
            "spec.http[0].fault.abort.httpStatus",
            "from 200",
        ),
        (
            http(fault={"abort": {"percentage": {}, "grpcStatus": "nope"}}),
            "spec.http[0].fault.abort.grpcStatus",
            "not allowed",
        ),
        (
            http(mirror={"host": "m"}, mirrors=[{"destination": {"host": "n"}}]),
            "spec.http[0].mirrors",
            "excludes mirror",
        ),
        (http(mirror={"host": "m"}, mirrorPercent=101), "spec.http[0].mirrorPercent", "from 0 to 100"),
        (http(mirrors=[{}]), "spec.http[0].mirrors[0].destination", "is missing"),
        (http(corsPolicy={"maxAge": "1500ms"}), "spec.http[0].corsPolicy.maxAge", "whole number of seconds"),
        (
            http(corsPolicy={"allowOrigins": [{"exact": "a", "regex": "b"}]}),
            "spec.http[0].corsPolicy.allowOrigins[0].regex",
            "excludes exact",
        ),
        (
            http(headers={"request": {"set": {"a b": "x"}}}),
            "spec.http[0].headers.request.set",
            "name of a header",
        ),
        (
            http(headers={"request": {"add": {"a": "x\n"}}}),
            "spec.http[0].headers.request.add[a]",
            "control character",
        ),
        (
            http(headers={"response": {"remove": ["a b"]}}),
            "spec.http[0].headers.response.remove[0]",
            "name of a header",
        ),
        (
            http(match=[{"uri": {"exact": "/a", "prefix": "/b"}}]),
            "spec.http[0].match[0].uri.prefix",
            "excludes exact",
        ),
        (http(match=[{"scheme": {"prefix": ""}}]), "spec.http[0].match[0].scheme.prefix", "is empty"),
        (http(match=[{"uri": {"regex": "*"}}]), "spec.http[0].match[0].uri.regex", "repeats nothing"),
        (
            http(match=[{"headers": {"h": {"regex": "(?=a)"}}}]),
            "spec.http[0].match[0].headers[h].regex",
            "lookahead",
        ),
        (http(match=[{"headers": {"h": "v"}}]), "spec.http[0].match[0].headers[h]", "expected a mapping"),
        (
            http(match=[{"headers": {"a b": {"exact": "v"}}}]),
            "spec.http[0].match[0].headers",
            "name of a header",
        ),
        (
            http(match=[{"queryParams": {"": {"exact": "v"}}}]),
            "spec.http[0].match[0].queryParams",
            "empty name",
        ),
        (http(match=[{"port": 65536}]), "spec.http[0].match[0].port", "from 0 to 65535"),
        (
            http(match=[{"sourceLabels": {"a": "*"}}]),
            "spec.http[0].match[0].sourceLabels[a]",
            "value of a label",
        ),
        (
            http(match=[{"sourceNamespace": "A"}]),
            "spec.http[0].match[0].sourceNamespace",
            "name of a namespace",
        ),
        (http(match=[{"gateways": ["a b"]}]), "spec.http[0].match[0].gateways[0]", "names no gateway"),
        ({"hosts": ["a"], "tls": [{"route": ROUTE}]}, "spec.tls[0].match", "is missing"),
        (
            {"hosts": ["a"], "tls": [{"match": [{}], "route": ROUTE}]},
            "spec.tls[0].match[0].sniHosts",
            "is missing",
        ),
        (http(retries={"attempts": 1, "retryOn": "5xx,often"}), "spec.http[0].retries.retryOn", "'often'"),
        (http(retries={"retryOn": "5xx"}), "spec.http[0].retries.attempts", "nothing is retried"),
        (
            {"hosts": ["a.com"], "tls": [{"match": [{"sniHosts": ["b.com"]}], "route": ROUTE}]},
            "spec.tls[0].match[0].sniHosts",
            "none of hosts",
        ),
        (
            {"hosts": ["*.a.com", "b.com", "x.a.com"], "http": [{"route": ROUTE}]},
            "spec.hosts[2]",
            "cover each other",
        ),
        (
            http(corsPolicy={"allowMethods": ["GET", "get"]}),
            "spec.http[0].corsPolicy.allowMethods[1]",
            "no method",
        ),
        (
            http(route=[{"destination": {"host": "a", "subset": "v.1"}}]),
            "spec.http[0].route[0].destination.subset",
            "name of a subset",
        ),
        (
            http(retries={"retryRemoteLocalities": True}),
            "spec.http[0].retries.attempts",
            "nothing is retried",
        ),
        ({"hosts": ["a"], "tls": [{"match": [{"sniHosts": ["a"]}]}]}, "spec.tls[0].route", "is missing"),
        (
            {"hosts": ["a"], "tcp": [{"match": [{"destinationSubnets": ["10.0.0.0/40"]}], "route": ROUTE}]},
            "spec.tcp[0].match[0].destinationSubnets[0]",
            "no IP address or CIDR",
        ),
    ],
)
def test_virtual_services_that_are_refused(
    refused: Fields, spec: dict[str, Any], field: str, message: str
) -> None:
    assert message in refused("VirtualService", spec)[field]


@pytest.mark.parametrize(
    ("spec", "field", "message"),
    [
        (http(timeuot="1s"), "spec.http[0].timeuot", "did you mean timeout?"),
        (http(route=[{**ROUTE[0], "wieght": 1}]), "spec.http[0].route[0].wieght", "did you mean weight?"),
        (http(match=[{"uri": {}}]), "spec.http[0].match[0].uri", "has no effect"),
        (
            http(match=[{"headers": {"method": {"exact": "GET"}}}]),
            "spec.http[0].match[0].headers[method]",
            "use method:",
        ),
        (
            http(fault={"delay": {"fixedDelay": "1s"}}),
            "spec.http[0].fault.delay.percentage",
            "no request is affected",
        ),
        (
            {"hosts": ["a"], "tcp": [{"match": [{"sourceSubnet": "10.0.0.0/8"}], "route": ROUTE}]},
            "spec.tcp[0].match[0].sourceSubnet",
            "has no effect",
        ),
        (
            {"hosts": ["a.com"], "tls": [{"match": [{"sniHosts": ["192.0.2.1"]}], "route": ROUTE}]},
            "spec.tls[0].match[0].sniHosts[0]",
            "is an address",
        ),
    ],
)
def test_virtual_services_with_a_warning(
    warned: Fields, spec: dict[str, Any], field: str, message: str
) -> None:
    warnings = warned("VirtualService", spec)
    assert list(warnings) == [field]
    assert message in warnings[field]
