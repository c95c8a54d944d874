"""Headers' values, log formats and expressions: a real Envoy takes what is taken here and refuses the rest.

One that slipped through would cost every sidecar the routes of a port.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import json_format

from controlplane.base.errors import EnvironmentUnfit
from controlplane.envoy.bootstrap import ControlPlane, Node, bootstrap
from controlplane.lab.tools import find_envoy
from controlplane.model.kinds import BY_NAME
from controlplane.model.regex import regex_fault
from controlplane.model.substitution import substitution_fault
from tests.support.texts import EXPRESSIONS, NOT_EXPRESSIONS, NOT_SUBSTITUTED, SUBSTITUTED
from tests.unit.envoy.traffic import Traffic
from tests.unit.mesh.world import service

pytestmark = pytest.mark.envoy
_EXTENSIONS = "type.googleapis.com/envoy.extensions"


@pytest.fixture(scope="module")
def envoy() -> Path:
    try:
        return find_envoy(os.environ)
    except EnvironmentUnfit as missing:
        pytest.skip(str(missing))


def header(text: str) -> dict[str, Any]:
    return {
        "match": {"prefix": "/"},
        "direct_response": {"status": 200},
        "request_headers_to_add": [{"header": {"key": "x", "value": text}}],
    }


def expression(text: str) -> dict[str, Any]:
    return {"match": {"safe_regex": {"regex": text}}, "direct_response": {"status": 200}}


def alone(route: dict[str, Any]) -> dict[str, Any]:
    return {"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [route]}]}


def configuration(routing: dict[str, Any]) -> dict[str, Any]:
    """What a proxy is started with, and a listener with this route configuration."""
    manager = {
        "@type": f"{_EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "x",
        "route_config": {**routing, "validate_clusters": False},
        "http_filters": [
            {"name": "router", "typed_config": {"@type": f"{_EXTENSIONS}.filters.http.router.v3.Router"}}
        ],
    }
    config = bootstrap(Node("10.0.0.1", "a-1", "default"), ControlPlane("127.0.0.1:15010"))
    config["static_resources"]["listeners"] = [
        {
            "name": "l",
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
            "filter_chains": [
                {
                    "filters": [
                        {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
                    ]
                }
            ],
        }
    ]
    return config


def takes(envoy: Path, folder: Path, number: int, route: dict[str, Any]) -> bool:
    return valid(envoy, folder / f"{number}.json", configuration(alone(route)))


def valid(envoy: Path, path: Path, config: dict[str, Any]) -> bool:
    path.write_text(json.dumps(config))
    command = [envoy, "--mode", "validate", "-c", path, "-l", "off"]
    return subprocess.run(command, capture_output=True, timeout=60).returncode == 0


@pytest.mark.parametrize(
    ("texts", "make", "fault"),
    [
        ((*SUBSTITUTED, *NOT_SUBSTITUTED), header, substitution_fault),
        ((*EXPRESSIONS[1:], *NOT_EXPRESSIONS), expression, regex_fault),
    ],
)
def test_a_real_envoy_agrees(
    envoy: Path,
    tmp_path: Path,
    texts: tuple[str, ...],
    make: Callable[[str], dict[str, Any]],
    fault: Callable[[str], str | None],
) -> None:
    def ask(numbered: tuple[int, str]) -> bool:
        return takes(envoy, tmp_path, numbered[0], make(numbered[1]))

    with ThreadPoolExecutor(2) as pool:
        taken = dict(zip(texts, pool.map(ask, enumerate(texts)), strict=True))
    assert taken == {text: fault(text) is None for text in texts}
    assert set(taken.values()) == {True, False}


TEXTS = (
    "100%%",
    "%REQ(x-user)%",
    "100%",
    "%NOSUCH%",
    "50% off",
    "a\nb",
    "a\0b",
    "\u00e9",
    "[",
    "(a{50}){50}",
    "x" * 20000,
)


def written(text: str) -> Iterator[dict[str, Any]]:
    """VirtualServices, each with the text in one place of those where it could get into a route."""
    to = {"route": [{"destination": {"host": "web"}}]}
    share = {"destination": {"host": "web"}, "headers": {"request": {"add": {"x": text}}}}
    tests = {
        "uri": {"exact": text},
        "headers": {"x": {"exact": text}},
        "withoutHeaders": {"x": {"prefix": text}},
    }
    rules: list[dict[str, Any]] = [
        *({**to, "headers": {side: {"set": {"x": text}}}} for side in ("request", "response")),
        {"route": [share]},
        *({"redirect": {field: text}} for field in ("uri", "prefixRewrite", "authority")),
        *({**to, "rewrite": {field: text}} for field in ("uri", "authority")),
        {**to, "rewrite": {"uriRegexRewrite": {"match": "a", "rewrite": text}}},
        {**to, "rewrite": {"uriRegexRewrite": {"match": text, "rewrite": "a"}}},
        *({**to, "match": [{field: test}]} for field, test in tests.items()),
        {**to, "match": [{"uri": {"regex": text}}]},
        {**to, "match": [{"queryParams": {text: {"exact": text}}}]},
        {**to, "corsPolicy": {"allowOrigins": [{"regex": text}]}},
        {**to, "corsPolicy": {"allowOrigins": [{"exact": text}]}},
        {"directResponse": {"status": 200, "body": {"string": text}}},
    ]
    for number, rule in enumerate(rules):
        hosts, name = [f"h{number}.example.com"], f"r{number}"
        yield {
            "apiVersion": "networking.istio.io/v1",
            "kind": "VirtualService",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"hosts": hosts, "http": [rule]},
        }


@pytest.mark.parametrize("text", TEXTS, ids=[repr(text[:12]) for text in TEXTS])
def test_what_is_taken_of_a_route_a_real_envoy_takes(envoy: Path, tmp_path: Path, text: str) -> None:
    every = list(written(text))
    taken = [raw for raw in every if BY_NAME["VirtualService"].parse(raw).value is not None]
    assert (len(taken) == len(every)) is (text in ("%REQ(x-user)%", "100%%", "\u00e9"))
    world = Traffic(service("web", "http=80") + yaml.safe_dump_all(taken))
    served = world.routes()["80"]
    assert len(served.virtual_hosts) > len(taken)
    routing = json_format.MessageToDict(served, preserving_proto_field_name=True)
    assert valid(envoy, tmp_path / "routes.json", configuration(routing))


GOOD = "ab" * 32


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("verifyCertificateHash", GOOD),
        ("verifyCertificateHash", ":".join(["AB"] * 32)),
        ("verifyCertificateHash", GOOD[1:]),
        ("verifyCertificateHash", "zz"),
        ("verifyCertificateSpki", "A" * 43 + "="),
        ("verifyCertificateSpki", "zz"),
        ("verifyCertificateSpki", "A" * 44),
    ],
)
def test_fingerprints(envoy: Path, tmp_path: Path, field: str, text: str) -> None:
    tls = {"mode": "MUTUAL", "credentialName": "c", field: [text]}
    server = {"port": {"number": 443, "name": "s", "protocol": "HTTPS"}, "hosts": ["*"], "tls": tls}
    raw = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "Gateway",
        "metadata": {"name": "g", "namespace": "default"},
        "spec": {"servers": [server]},
    }
    context = {
        "@type": f"{_EXTENSIONS}.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": {"validation_context": {field: [text]}},
    }
    config = configuration(alone(header("x")))
    config["static_resources"]["clusters"].append(
        {
            "name": "c",
            "connect_timeout": "1s",
            "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": context},
        }
    )
    assert valid(envoy, tmp_path / "c.json", config) is (BY_NAME["Gateway"].parse(raw).value is not None)
