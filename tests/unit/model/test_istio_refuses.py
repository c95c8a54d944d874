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
    ],
)
def test_what_envoy_would_refuse(
    refused: Callable[..., dict[str, str]], rule: dict[str, Any], path: str
) -> None:
    """Istio takes it, and its proxies refuse the routes of a whole port for it."""
    assert f"spec.http[0].{path}" in refused("VirtualService", {"hosts": ["a"], "http": [rule]})
