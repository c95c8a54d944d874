"""What Istio's validation refuses is refused here, at the field that is wrong, with a word on what to do.

refused.tsv has a row for each of its rules about networking: kind, path of the field (or of what it is in),
and a spec that breaks this rule alone.  Two are left out on purpose: `tcp.idleTimeout: 0s` switches a timeout
off, as Istio's own documentation says; subjectAltNames of a Sidecar's ingress do here what they say.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from controlplane.model.kinds import Parsed
from controlplane.model.kinds.http_route import LARGEST_BODY
from controlplane.model.regex import LONGEST

ROWS = [line.split("\t") for line in (Path(__file__).parent / "refused.tsv").read_text().splitlines()]
ROUTE = [{"destination": {"host": "a"}}]


def test_the_table_is_read() -> None:
    assert len(ROWS) > 350
    assert {kind for kind, _, _ in ROWS} == {
        *("VirtualService", "DestinationRule", "Gateway", "Sidecar", "ServiceEntry", "WorkloadEntry"),
        *("WorkloadGroup", "EnvoyFilter", "ProxyConfig", "MeshConfig"),
    }


@pytest.mark.parametrize(("kind", "path", "text"), ROWS, ids=[f"{row[1]}-{n}" for n, row in enumerate(ROWS)])
def test_rules(read: Callable[..., Parsed], kind: str, path: str, text: str) -> None:
    parsed = read(kind, yaml.safe_load(text))
    errors = [problem for problem in parsed.problems if problem.level == "error"]
    assert parsed.value is None
    assert [problem.field for problem in errors if problem.field.startswith(path)]
    assert all(problem.message and problem.remedy for problem in errors)


@pytest.mark.parametrize(
    ("rule", "path"),
    [
        ({"match": [{"uri": {"regex": "a" * (LONGEST + 1)}}], "route": ROUTE}, "match[0].uri.regex"),
        (
            {"directResponse": {"status": 200, "body": {"string": "a" * (LARGEST_BODY + 1)}}},
            "directResponse.body",
        ),
    ],
)
def test_what_is_too_long(refused: Callable[..., dict[str, str]], rule: dict[str, Any], path: str) -> None:
    assert f"spec.http[0].{path}" in refused("VirtualService", {"hosts": ["a"], "http": [rule]})


def test_an_entry_has_256_hosts_at_most(refused: Callable[..., dict[str, str]]) -> None:
    hosts = [f"h{number}.example.com" for number in range(257)]
    body = {"hosts": hosts, "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}]}
    assert "has 257 entries" in refused("ServiceEntry", body)["spec.hosts"]


def test_the_name_of_a_gateway_is_one_label(refused: Callable[..., dict[str, str]]) -> None:
    server = {"port": {"number": 80, "protocol": "HTTP", "name": "http"}, "hosts": ["*"]}
    assert "metadata.name" in refused("Gateway", {"servers": [server]}, name="web.front")


@pytest.mark.parametrize(
    ("rule", "path"),
    [
        ({"redirect": {"uri": "/a\nb"}}, "redirect.uri"),
        ({"redirect": {"prefixRewrite": "/a\rb"}}, "redirect.prefixRewrite"),
        ({"redirect": {"authority": "a\0b"}}, "redirect.authority"),
        ({"route": ROUTE, "rewrite": {"uri": "/a\nb"}}, "rewrite.uri"),
        ({"route": ROUTE, "rewrite": {"authority": "a\nb"}}, "rewrite.authority"),
        (
            {"route": ROUTE, "rewrite": {"uriRegexRewrite": {"match": "a", "rewrite": "a\nb"}}},
            "rewrite.uriRegexRewrite.rewrite",
        ),
        ({"route": ROUTE, "headers": {"response": {"set": {"x": "h" * 16385}}}}, "headers.response.set[x]"),
        ({"route": ROUTE, "headers": {"request": {"remove": ["h" * 16385]}}}, "headers.request.remove[0]"),
        ({"route": ROUTE, "match": [{"queryParams": {"q" * 1025: {"exact": "a"}}}]}, "match[0].queryParams"),
    ],
)
def test_what_envoy_would_refuse(
    refused: Callable[..., dict[str, str]], rule: dict[str, Any], path: str
) -> None:
    """Istio takes it, and its proxies refuse the routes of a whole port for it."""
    assert f"spec.http[0].{path}" in refused("VirtualService", {"hosts": ["a"], "http": [rule]})


TLS_443 = {"number": 443, "protocol": "HTTPS", "name": "https"}
PAIR = {"mode": "SIMPLE", "credentialName": "c"}


@pytest.mark.parametrize(
    ("server", "path", "said"),
    [
        (
            {"tls": {**PAIR, "minProtocolVersion": "TLSV1_3", "maxProtocolVersion": "TLSV1_2"}},
            "tls.maxProtocolVersion",
            "TLSV1_2 is below the least version, TLSV1_3",
        ),
        ({"tls": {**PAIR, "maxProtocolVersion": "TLSV1_1"}}, "tls.maxProtocolVersion", "TLSV1_2: no client"),
        (
            {"port": {**TLS_443, "protocol": "HTTP"}, "tls": {"mode": "AUTO_PASSTHROUGH"}},
            "tls.mode",
            "served in plaintext",
        ),
        (
            {"tls": {"mode": "PASSTHROUGH", "credentialName": "c"}},
            "tls.credentialName",
            "remove it, or use SIMPLE or MUTUAL",
        ),
    ],
)
def test_servers_that_do_not_do_what_they_say(
    warned: Callable[..., dict[str, str]], server: dict[str, Any], path: str, said: str
) -> None:
    spec = {"servers": [{"port": TLS_443, "hosts": ["*"], **server}]}
    found = warned("Gateway", spec)
    assert list(found) == [f"spec.servers[0].{path}"]
    assert said in found[f"spec.servers[0].{path}"]


@pytest.mark.parametrize(
    ("low", "high"), [("TLSV1_2", "TLSV1_2"), ("TLSV1_0", "TLSV1_1"), ("TLSV1_3", "TLS_AUTO")]
)
def test_versions_that_go_together(value: Callable[..., Any], low: str, high: str) -> None:
    tls = {**PAIR, "minProtocolVersion": low, "maxProtocolVersion": high}
    value("Gateway", {"servers": [{"port": TLS_443, "hosts": ["*"], "tls": tls}]})


@pytest.mark.parametrize(
    ("match", "rewrite", "said"),
    [
        ("/(a)", r"/\2", r"\2 means group 2, and the expression has 1"),
        ("/(?:a)[(]\\(", r"/\1", "has none"),
        ("(?i)a", r"\1", "has none"),
        ("/a", r"/\q", r"\q stands for nothing"),
        ("/a", "/\\", "stands for nothing"),
    ],
)
def test_rewrites_that_rewrite_nothing(
    warned: Callable[..., dict[str, str]], match: str, rewrite: str, said: str
) -> None:
    rule = {"route": ROUTE, "rewrite": {"uriRegexRewrite": {"match": match, "rewrite": rewrite}}}
    found = warned("VirtualService", {"hosts": ["a"], "http": [rule]})
    assert said in found["spec.http[0].rewrite.uriRegexRewrite.rewrite"]


@pytest.mark.parametrize(
    ("match", "rewrite"), [("/(a)(?P<b>c)", r"\2\1\0"), ("/a", r"\0\\q"), ("(?<b>c)", r"\1")]
)
def test_rewrites_that_do(value: Callable[..., Any], match: str, rewrite: str) -> None:
    rule = {"route": ROUTE, "rewrite": {"uriRegexRewrite": {"match": match, "rewrite": rewrite}}}
    value("VirtualService", {"hosts": ["a"], "http": [rule]})


def test_the_remedy_of_a_percent_sign_is_an_example(read: Callable[..., Parsed]) -> None:
    headers = {"response": {"set": {"x-discount": "100%"}}}
    share = {"destination": {"host": "a"}, "headers": headers}
    for at, rule in (
        ("headers", {"route": ROUTE, "headers": headers}),
        ("route[0].headers", {"route": [share]}),
    ):
        (problem,) = read("VirtualService", {"hosts": ["a"], "http": [rule]}).problems
        assert problem.field == f"spec.http[0].{at}.response.set[x-discount]"
        assert 'like "100%%"' in problem.remedy


@pytest.mark.parametrize(
    "field", ["timeout", "retries.perTryTimeout", "retries.backoff", "fault.delay.fixedDelay"]
)
@pytest.mark.parametrize(
    ("text", "said"), [("0.1ms", "too short"), ("999999999h", "too long"), ("1.5", "not a duration")]
)
def test_durations_of_rules(refused: Callable[..., dict[str, str]], field: str, text: str, said: str) -> None:
    given: dict[str, Any] = {"timeout": text}
    if field != "timeout":
        given = {
            "retries": {"attempts": 1, field.rpartition(".")[2]: text},
            "fault": {"delay": {"fixedDelay": text, "percentage": {"value": 1}}},
        }
        given = {key: one for key, one in given.items() if field.startswith(key)}
    assert (
        said
        in refused("VirtualService", {"hosts": ["a"], "http": [{"route": ROUTE, **given}]})[
            f"spec.http[0].{field}"
        ]
    )


COOKIE = {"name": "c", "ttl": "1s"}


@pytest.mark.parametrize(
    ("policy", "path"),
    [
        ({"tls": {"mode": "SIMPLE", "sni": "a\0b"}}, "tls.sni"),
        (
            {
                "loadBalancer": {
                    "consistentHash": {"httpCookie": {**COOKIE, "attributes": [{"name": "a" * 16385}]}}
                }
            },
            "loadBalancer.consistentHash.httpCookie.attributes[0].name",
        ),
        (
            {"connectionPool": {"tcp": {"tcpKeepalive": {"interval": "2562047h"}}}},
            "connectionPool.tcp.tcpKeepalive.interval",
        ),
    ],
)
def test_policies_that_envoy_would_refuse(
    refused: Callable[..., dict[str, str]], policy: dict[str, Any], path: str
) -> None:
    assert f"spec.trafficPolicy.{path}" in refused("DestinationRule", {"host": "a", "trafficPolicy": policy})


CHECKER = {"service": "a.b.c", "port": 80}


@pytest.mark.parametrize(
    ("mesh", "path"),
    [
        ({"defaultConfig": {"proxyHeaders": {"server": {"value": "a\nb"}}}}, "proxyHeaders.server.value"),
        ({"tcpKeepalive": {"time": "2562047h"}}, "tcpKeepalive.time"),
        ({"accessLogFile": "/dev/"}, "accessLogFile"),
        ({"accessLogFile": "/var/.."}, "accessLogFile"),
        ({"accessLogFile": "/" + "a" * 256}, "accessLogFile"),
        ({"extensionProviders": [{"name": "l", "envoyFileAccessLog": {"path": "/"}}]}, "path"),
        *(
            (
                {
                    "extensionProviders": [
                        {
                            "name": "x",
                            "envoyExtAuthzHttp": {
                                **CHECKER,
                                "includeAdditionalHeadersInCheck": {header: text},
                            },
                        }
                    ]
                },
                "includeAdditionalHeadersInCheck",
            )
            for header, text in [("x", "100%"), ("x", "a\nb"), ("a\nb", "x"), (":path", "x"), ("host", "x")]
        ),
    ],
)
def test_meshes_that_envoy_would_refuse(
    refused: Callable[..., dict[str, str]], mesh: dict[str, Any], path: str
) -> None:
    (field,) = refused("MeshConfig", mesh)
    assert path in field
