"""Delegates: rules that a VirtualService leaves to another."""

from __future__ import annotations

import pytest

from controlplane.mesh.routing import source_selectors
from controlplane.mesh.routing_delegates import Missing, Outside, delegated
from controlplane.mesh.routing_http import http_routes
from controlplane.mesh.routing_ir import DirectResponse, Forward, Route
from controlplane.mesh.routing_match import ANYONE, Client
from controlplane.model.keys import Key
from tests.unit.envoy.traffic import virtual_service as vs
from tests.unit.mesh.world import World, service

ROOT = Key("default", "root")
LENT = Key("lent", "parts")
TO = "route: [{destination: {host: api}}]"
SERVICES = service("api", "http=80") + service("api", "http=80", namespace="lent")


def world(rule: str, rules: str) -> World:
    """A root with one rule beside its delegation, and a delegate in another namespace."""
    root = vs("root", "[api]", f"[{{{rule}}}, {{name: rest, {TO}}}]")
    return World(SERVICES + root + vs("parts", "[]", rules, namespace="lent"), paranoid=True)


def routes(rule: str, rules: str, client: Client = ANYONE) -> tuple[Route, ...]:
    found: tuple[Route, ...] = world(rule, rules).read(http_routes, ROOT, 80, client)
    return tuple(one for one in found if one.name != "rest")


def merged(match: str, lent: str) -> str | None:
    """The merged match of one route, briefly; None where the delegate's rule is left out."""
    found = routes(
        f"match: [{{{match}}}], delegate: {{name: parts, namespace: lent}}",
        f"[{{match: [{{{lent}}}], {TO}}}]",
    )
    if not found:
        return None
    (one,) = found
    parts = [f"{one.match.path.kind} {one.match.path.value}"]
    parts += [f"{header.name} {header.text.kind} {header.text.value}" for header in one.match.headers]
    parts += [f"?{query.name} {query.text.value}" for query in one.match.query]
    return ", ".join(parts)


def test_names_in_a_delegate_are_those_of_its_namespace() -> None:
    (one,) = routes(
        "name: all, match: [{uri: {prefix: /a}}], delegate: {name: parts, namespace: lent}",
        f"[{{name: one, mirrors: [{{destination: {{host: api}}}}], {TO}}}]",
    )
    assert isinstance(one.action, Forward)
    assert one.name == "all-one"
    assert one.action.destinations[0].target.host == "api.lent.svc.cluster.local"
    assert one.action.mirrors[0].target.host == "api.lent.svc.cluster.local"
    assert one.match.path.value == "/a"
    assert one.source is not None and one.source.name == "root"


@pytest.mark.parametrize(
    ("outer", "inner", "expected"),
    [
        ("uri: {prefix: /a}", "uri: {prefix: /a/b}", "prefix /a/b"),
        ("uri: {prefix: /a}", "uri: {exact: /ab}", "exact /ab"),
        ("uri: {prefix: /a}", "uri: {exact: /b}", None),
        ("uri: {prefix: /a/b}", "uri: {prefix: /a}", None),
        ("uri: {exact: /a}", "uri: {exact: /a}", "exact /a"),
        ("uri: {exact: /a}", "uri: {exact: /b}", None),
        ("uri: {exact: /a}", "uri: {prefix: /a}", None),
        ("uri: {prefix: /a}", "uri: {regex: /a.*}", None),
        ("uri: {regex: /a.*}", "uri: {exact: /ab}", None),
        ("uri: {regex: /a.*}", "uri: {regex: /a.*}", None),
        ("uri: {regex: /a.*}", "method: {exact: GET}", "regex /a.*, :method exact GET"),
        ("uri: {prefix: /a}, ignoreUriCase: true", "uri: {prefix: /a}", None),
        ("method: {prefix: P}", "method: {exact: PUT}", "prefix /, :method exact PUT"),
        ("headers: {x: {prefix: a}}", "headers: {x: {exact: ab}}", "prefix /, x exact ab"),
        ("headers: {x: {prefix: a}}", "headers: {x: {exact: b}}", None),
        ("headers: {x: {}}", "headers: {x: {exact: b}}", "prefix /, x exact b"),
        ("headers: {x: {exact: a}}", "headers: {y: {exact: b}}", "prefix /, x exact a, y exact b"),
        ("withoutHeaders: {x: {exact: a}}", "withoutHeaders: {x: {exact: b}}", None),
        ("queryParams: {v: {exact: '1'}}", "queryParams: {w: {exact: '2'}}", "prefix /, ?v 1, ?w 2"),
        ("queryParams: {v: {exact: '1'}}", "queryParams: {v: {exact: '2'}}", None),
        ("port: 80", "uri: {prefix: /a}", "prefix /a"),
        ("port: 80", "port: 81", None),
        ("gateways: [mesh, edge]", "gateways: [mesh]", "prefix /"),
        ("gateways: [mesh]", "gateways: [mesh, other/edge]", None),
        ("gateways: [default/edge, mesh]", "gateways: [default/edge, mesh]", "prefix /"),
        # A name alone means the gateway of the delegate's own namespace.
        ("gateways: [edge, mesh]", "gateways: [edge, mesh]", None),
        ("sourceNamespace: a", "uri: {prefix: /a}", None),
    ],
)
def test_a_delegates_match_lies_within_that_of_the_rule(outer: str, inner: str, expected: str | None) -> None:
    assert merged(outer, inner) == expected


def test_conditions_on_the_client_hold_together() -> None:
    rule = "match: [{sourceLabels: {app: a}, sourceNamespace: x}], delegate: {name: parts, namespace: lent}"
    rules = f"[{{match: [{{sourceLabels: {{tier: b}}, sourceNamespace: x}}], {TO}}}]"
    both = (("app", "a"), ("tier", "b"))
    assert len(routes(rule, rules, Client("x", (both,)))) == 1
    assert routes(rule, rules, Client("y", (both,))) == ()
    assert routes(rule, rules, Client("x", ((("app", "a"),),))) == ()
    # What a proxy's routes depend on of its labels is what is asked in the end.
    assert world(rule, rules).read(source_selectors) == (both,)
    other = rules.replace("{tier: b}", "{app: b}")
    assert routes(rule, other, Client("x", (both, (("app", "b"),)))) == ()


def test_each_match_meets_each_it_fits() -> None:
    found = routes(
        "match: [{name: a, uri: {prefix: /a}}, {uri: {prefix: /}}], delegate: {name: parts, namespace: lent}",
        f"[{{match: [{{name: c, uri: {{prefix: /a/c}}}}, {{uri: {{prefix: /d}}}}], {TO}}}]",
    )
    assert [(one.name, one.match.path.value) for one in found] == [
        ("a-c", "/a/c"),
        ("c", "/a/c"),
        ("default", "/d"),
    ]


def test_what_a_delegate_does_not_say_is_said_by_the_rule() -> None:
    rule = (
        "delegate: {name: parts, namespace: lent}, timeout: 5s, retries: {attempts: 7}, "
        "headers: {request: {set: {x: root}}}, mirrors: [{destination: {host: api}}], rewrite: {uri: /r}"
    )
    silent, own = routes(
        rule,
        f"[{{match: [{{uri: {{prefix: /s}}}}], {TO}}}, "
        "{match: [{uri: {prefix: /o}}], timeout: 1s, headers: {response: {set: {y: own}}}, "
        f"retries: {{attempts: 0}}, rewrite: {{uri: /o}}, {TO}}}]",
    )
    assert isinstance(silent.action, Forward) and isinstance(own.action, Forward)
    assert silent.action.timeout == 5_000_000_000
    assert silent.action.retries is not None and silent.action.retries.attempts == 7
    assert silent.headers.request.set == (("x", "root"),)
    assert silent.action.mirrors[0].target.host == "api.default.svc.cluster.local"
    assert own.action.timeout == 1_000_000_000
    assert own.action.retries is None
    assert own.headers.request.set == () and own.headers.response.set == (("y", "own"),)
    assert own.action.rewrite is not None and own.action.rewrite.value == "/o"  # type: ignore[union-attr]


def test_a_rule_may_answer_what_its_delegate_matches() -> None:
    (one,) = routes(
        "directResponse: {status: 503}, delegate: {name: parts, namespace: lent}",
        f"[{{match: [{{uri: {{prefix: /a}}}}], {TO}}}]",
    )
    assert one.action == DirectResponse(503)
    assert one.match.path.value == "/a"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (None, "there is no VirtualService lent/parts"),
        (vs("parts", "[x]", f"[{{{TO}}}]", namespace="lent"), "names hosts, and is no delegate"),
        (vs("parts", "[]", f"[{{{TO}}}]", namespace="lent", exportTo="[.]"), "is not exported to"),
    ],
)
def test_a_rule_without_its_delegate_is_left_out_alone(change: str | None, why: str) -> None:
    there = world("delegate: {name: parts, namespace: lent}", f"[{{{TO}}}]")
    assert len(there.read(http_routes, ROOT, 80, ANYONE)) == 1
    if change is None:
        there.delete("VirtualService", "parts", "lent")
    else:
        there.apply(change)
    (missing,) = there.read(delegated, ROOT).missing
    assert missing == Missing(0, LENT, missing.why)
    assert why in missing.why
    assert [one.name for one in there.read(http_routes, ROOT, 80, ANYONE)] == ["rest"]


def test_an_edit_of_a_delegate_changes_the_routes_of_its_roots_alone() -> None:
    there = world("match: [{uri: {prefix: /a}}], delegate: {name: parts, namespace: lent}", f"[{{{TO}}}]")
    there.apply(vs("other", "[other]", f"[{{{TO}}}]"))
    assert len(there.read(http_routes, ROOT, 80, ANYONE)) == 2
    there.read(http_routes, Key("default", "other"), 80, ANYONE)
    rules = f"[{{match: [{{uri: {{prefix: /b}}}}], {TO}}}, {{match: [{{uri: {{prefix: /a/b}}}}], {TO}}}]"
    with there.counting() as runs:
        there.apply(vs("parts", "[]", rules, namespace="lent"))
        found = there.read(http_routes, ROOT, 80, ANYONE)
        there.read(http_routes, Key("default", "other"), 80, ANYONE)
    assert [one.match.path.value for one in found] == ["/a/b", "/"]
    assert runs["routing_http.http_routes"] == 1
    assert there.read(delegated, ROOT).outside == (Outside(0, LENT, 0),)
