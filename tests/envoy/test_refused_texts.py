"""Headers' values, log formats and expressions: a real Envoy takes what is taken here and refuses the rest.

One that slipped through would cost every sidecar the routes of a port.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from controlplane.base.errors import EnvironmentUnfit
from controlplane.envoy.bootstrap import ControlPlane, Node, bootstrap
from controlplane.lab.tools import find_envoy
from controlplane.model.regex import regex_fault
from controlplane.model.substitution import substitution_fault
from tests.support.texts import EXPRESSIONS, NOT_EXPRESSIONS, NOT_SUBSTITUTED, SUBSTITUTED

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


def configuration(route: dict[str, Any]) -> dict[str, Any]:
    """What a proxy is started with, and a listener with one route."""
    manager = {
        "@type": f"{_EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "x",
        "route_config": {"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [route]}]},
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
    path = folder / f"{number}.json"
    path.write_text(json.dumps(configuration(route)))
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
