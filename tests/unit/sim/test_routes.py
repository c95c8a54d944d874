"""Virtual hosts and routes: which one a request has, and what it does with it."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.sim import Call, End, Http, Served, simulate
from tests.unit.sim.messages import edge, manager, route_configuration, static, web

TO = {"route": {"cluster": "c"}}
ALL = {"match": {"prefix": "/"}}
DONE = {"direct_response": {"status": 200}}
X_IS_1 = {"prefix": "/", "query_parameters": [{"name": "x", "string_match": {"exact": "1"}}]}


def ask(served: Served, path: str = "/", authority: str = "a.example.com", **more: Any) -> End:
    outcome = simulate(served, Call("10.0.0.1", 80, Http(path, authority, **more), way="direct"))
    assert sum(share.probability for share in outcome.shares) == pytest.approx(1.0)
    return outcome.end


@pytest.mark.parametrize(
    ("authority", "expected"),
    [
        ("a.example.com", "exact"),
        ("A.EXAMPLE.COM:8080", "exact"),
        ("b.a.example.com", "long"),
        ("b.example.com", "short"),
        ("example.com", "prefix"),
        ("example.net", "prefix"),
        ("example.org", "other"),
        ("other.test", "rest"),
    ],
)
def test_domains(authority: str, expected: str) -> None:
    domains = {"short": "*.example.com", "long": "*.a.example.com", "exact": "a.example.com"}
    domains |= {"rest": "*", "prefix": "example.*", "other": "*.org"}
    hosts = [
        {
            "name": name,
            "domains": [domain],
            "routes": [{**ALL, "name": name, "direct_response": {"status": 200}}],
        }
        for name, domain in domains.items()
    ]
    configuration = route_configuration(virtual_hosts=hosts, ignore_port_in_host_matching=True)
    assert ask(Served({"l": edge(manager())}, {"r": configuration}), authority=authority).route == expected


def test_no_host_and_no_route() -> None:
    hosts = [{"name": "a", "domains": ["a.example.com"], "routes": [{"match": {"path": "/a"}, **TO}]}]
    served = Served({"l": edge(manager())}, {"r": route_configuration(virtual_hosts=hosts)})
    for path, authority in (("/a", "b.example.com"), ("/b", "a.example.com"), ("/a", "a.example.com:80")):
        end = ask(served, path, authority)
        assert (end.kind, end.status, end.flags, end.details) == ("answer", 404, "NR", "route_not_found")
    # The route is there, its cluster is not.
    end = ask(served, "/a")
    assert (end.status, end.flags) == (503, "NC")


@pytest.mark.parametrize(
    ("match", "path", "matches"),
    [
        ({"path": "/a"}, "/a?x", True),
        ({"path": "/a"}, "/a/", False),
        ({"path": "/A", "case_sensitive": False}, "/a", True),
        ({"prefix": "/a"}, "/ab", True),
        ({"path_separated_prefix": "/a"}, "/ab", False),
        ({"path_separated_prefix": "/a"}, "/a/b", True),
        ({"path_separated_prefix": "/a"}, "/a", True),
        ({"safe_regex": {"regex": "/a/[0-9]"}}, "/a/1?b", True),
        (
            {"prefix": "/", "query_parameters": [{"name": "x", "string_match": {"exact": "1"}}]},
            "/?y&x=1",
            True,
        ),
        (
            {"prefix": "/", "query_parameters": [{"name": "x", "string_match": {"exact": "1"}}]},
            "/?x=2&x=1",
            False,
        ),
        ({"prefix": "/", "query_parameters": [{"name": "x", "present_match": True}]}, "/?x", True),
    ],
)
def test_paths(match: dict[str, Any], path: str, matches: bool) -> None:
    served = web({"match": match, **TO}, clusters=[static("c", "10.1.0.1")])
    assert ask(served, path).kind == ("http" if matches else "answer")


@pytest.mark.parametrize(
    ("matcher", "values", "matches"),
    [
        ({"string_match": {"exact": "a"}}, ("a",), True),
        ({"string_match": {"exact": "b"}}, ("a", "b"), True),
        ({"string_match": {"exact": "a,b"}}, ("a", "b"), False),
        ({"string_match": {"exact": "a"}, "invert_match": True}, ("a", "b"), False),
        ({"string_match": {"exact": "a"}}, None, False),
        ({"string_match": {"exact": "a"}, "invert_match": True}, None, False),
        ({"string_match": {"exact": "a"}, "invert_match": True}, ("b",), True),
        (
            {"string_match": {"exact": "a"}, "invert_match": True, "treat_missing_header_as_empty": True},
            None,
            True,
        ),
        ({"present_match": True}, None, False),
        ({"present_match": True, "invert_match": True}, None, True),
        ({"string_match": {"contains": "B", "ignore_case": True}}, ("abc",), True),
        ({"range_match": {"start": 1, "end": 3}}, ("2",), True),
        ({"range_match": {"start": 1, "end": 3}}, ("3",), False),
    ],
)
def test_headers(matcher: dict[str, Any], values: tuple[str, ...] | None, matches: bool) -> None:
    match = {"prefix": "/", "headers": [{"name": "X-A", **matcher}]}
    served = web({"match": match, **TO}, clusters=[static("c", "10.1.0.1")])
    headers = {} if values is None else {"x-a": values}
    assert ask(served, headers=headers).kind == ("http" if matches else "answer")


def test_shares() -> None:
    shares = [{"name": "c", "weight": 90}, {"name": "d", "weight": 10}, {"name": "e", "weight": 0}]
    clusters = [static("c", "10.1.0.1"), static("d", "10.1.0.2")]
    served = web({**ALL, "route": {"weighted_clusters": {"clusters": shares}}}, clusters=clusters)
    outcome = simulate(served, Call("10.0.0.1", 80, Http("/", "x"), way="direct"))
    assert outcome.clusters() == pytest.approx({"c": 0.9, "d": 0.1})
    assert outcome.end.hosts[0].address == "10.1.0.1:80"
    assert outcome.steps[-1].at == "cluster" and "90%" in outcome.steps[-1].why


@pytest.mark.parametrize(
    ("action", "match", "path", "expected"),
    [
        ({"prefix_rewrite": "/new/"}, {"prefix": "/old/"}, "/old/a?b", "/new/a?b"),
        ({"prefix_rewrite": "/new"}, {"path_separated_prefix": "/old"}, "/old/a", "/new/a"),
        ({"prefix_rewrite": "/new"}, {"path": "/old"}, "/old?b", "/new?b"),
        ({"prefix_rewrite": "/new"}, {"safe_regex": {"regex": "/o.*"}}, "/old/a", "/new"),
        (
            {"regex_rewrite": {"pattern": {"regex": "/a/(.)"}, "substitution": r"/\1"}},
            {"prefix": "/"},
            "/a/b?a/c",
            "/b?a/c",
        ),
    ],
)
def test_rewrites(action: dict[str, Any], match: dict[str, Any], path: str, expected: str) -> None:
    served = web({"match": match, "route": {"cluster": "c", **action}}, clusters=[static("c", "10.1.0.1")])
    assert ask(served, path).path == expected


def test_headers_are_changed_from_the_inside_out() -> None:
    def change(value: str, action: str) -> dict[str, Any]:
        return {"header": {"key": "X-A", "value": value}, "append_action": action}

    share = {"name": "c", "weight": 1, "request_headers_to_add": [change("share", "APPEND_IF_EXISTS_OR_ADD")]}
    route = {
        **ALL,
        "route": {"weighted_clusters": {"clusters": [share]}, "host_rewrite_literal": "new.example.com"},
        "request_headers_to_add": [change("route", "APPEND_IF_EXISTS_OR_ADD")],
        "request_headers_to_remove": ["x-b"],
    }
    end = ask(web(route, clusters=[static("c", "10.1.0.1")]), headers={"x-a": ("sent",), "X-B": ("1",)})
    assert end.headers["x-a"] == ("sent", "share", "route")
    assert "x-b" not in end.headers
    assert end.authority == "new.example.com"


@pytest.mark.parametrize(
    ("redirect", "authority", "path", "expected"),
    [
        ({"path_redirect": "/new"}, "a.test", "/old?x", "http://a.test/new?x"),
        ({"path_redirect": "/new?y"}, "a.test", "/old?x", "http://a.test/new?y"),
        ({"host_redirect": "b.test", "prefix_rewrite": "/n"}, "a.test:81", "/old?x", "http://b.test/nold?x"),
        ({"https_redirect": True}, "a.test:80", "/", "https://a.test/"),
        ({"https_redirect": True}, "a.test:81", "/", "https://a.test:81/"),
        ({"port_redirect": 8443, "scheme_redirect": "https"}, "a.test:81", "/", "https://a.test:8443/"),
        ({"strip_query": True}, "a.test", "/a?x", "http://a.test/a"),
    ],
)
def test_redirects(redirect: dict[str, Any], authority: str, path: str, expected: str) -> None:
    end = ask(web({**ALL, "redirect": redirect}), path, authority)
    assert (end.kind, end.status, end.location) == ("answer", 301, expected)


def test_virtual_hosts_that_demand_tls() -> None:
    hosts = [{"name": "a", "domains": ["*"], "require_tls": "ALL", "routes": [{**ALL, **TO}]}]
    served = Served(
        {"l": edge(manager(use_remote_address=True))}, {"r": route_configuration(virtual_hosts=hosts)}
    )
    assert ask(served, "/x?y").location == "https://a.example.com/x?y"
    # Whoever calls from outside is not believed.
    assert ask(served, headers={"x-forwarded-proto": ("https",)}).status == 301


def test_routes_that_were_not_served() -> None:
    end = ask(Served({"l": edge(manager())}))
    assert (end.kind, end.status, end.flags) == ("answer", 404, "NR")


def test_virtual_hosts_on_demand() -> None:
    configuration = route_configuration(vhds={"config_source": {"ads": {}}})
    served = Served({"l": edge(manager())}, {"r": configuration})
    outcome = simulate(served, Call("10.0.0.1", 80, Http("/", "a.test"), way="direct"))
    assert "asks for it" in outcome.doubts[0]


def test_chance_in_a_route_is_a_doubt() -> None:
    fraction = {"default_value": {"numerator": 30, "denominator": "HUNDRED"}}
    served = web({"match": {"prefix": "/", "runtime_fraction": fraction}, "direct_response": {"status": 200}})
    outcome = simulate(served, Call("10.0.0.1", 80, Http("/", "a.test"), way="direct"))
    assert "30%" in outcome.doubts[0]
