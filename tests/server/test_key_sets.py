"""A whole control plane fetches keys, serves them, keeps them over a restart, and replays them offline."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from controlplane.envoy.types import BY_URL, LISTENER
from controlplane.model.jwks import NOBODYS_KEYS, read_key_set
from tests.support import objects as a
from tests.support.issuer import Issuer, KeyServer
from tests.support.plane import client, serving
from tests.support.recording import final
from tests.support.waiting import until

pytestmark = pytest.mark.whole


def policy(uri: str) -> dict[str, Any]:
    rule = {"issuer": "i", "jwksUri": uri, "timeout": "1s"}
    return {
        "apiVersion": "security.istio.io/v1",
        "kind": "RequestAuthentication",
        "metadata": {"name": "it", "namespace": "front"},
        "spec": {"jwtRules": [rule]},
    }


def keys_in(listeners: dict[str, bytes]) -> set[str]:
    """The key sets in a proxy's inbound listener."""
    found = re.findall(rb'\{"keys":\[.*?\]\}', listeners.get("virtualInbound", b""))
    return {text.decode() for text in found}


def test_keys_are_recorded_and_replayed_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "record.jsonl"
    issuer = Issuer("i")
    fetched = read_key_set(issuer.jwks).text

    async def served(uri: str) -> Any:
        async with serving(tmp_path, "--record", str(path)) as plane:
            one = client("web-1", "front", app="web")
            await plane.connect(one, "one")
            await plane.quiet()
            plane.files.put(a.service("web", "front", "http=80:8080", number=1))
            plane.files.put(policy(uri))
            await until(lambda: keys_in(one.views()[LISTENER]) == {fetched}, "keys in the listener")
            await plane.quiet()
        return one

    with KeyServer() as server:
        server.answers["/keys"] = (200, issuer.jwks)
        one = asyncio.run(served(server.uri("/keys")))
    _, has = final(path, monkeypatch)
    assert has["web-1.front", "delta"].keys() >= {LISTENER}
    for url, found in one.views().items():
        assert has["web-1.front", "delta"].get(url, {}) == found, BY_URL[url].short


def test_a_restart_without_the_provider_serves_the_keys_that_were_there(tmp_path: Path) -> None:
    issuer = Issuer("i")
    fetched = read_key_set(issuer.jwks).text

    async def first(uri: str) -> set[str]:
        async with serving(tmp_path, "--data-dir", str(tmp_path / "data")) as plane:
            plane.files.put(policy(uri))
            one = client("web-1", "front", app="web")
            await plane.connect(one, "one")
            await until(lambda: keys_in(one.views().get(LISTENER, {})) == {fetched}, "keys in the listener")
            return keys_in(one.views()[LISTENER])

    async def again(*flags: str) -> set[str]:
        async with serving(tmp_path, *flags) as plane:
            one = client("web-1", "front", app="web")
            await plane.connect(one, "one")
            await until(lambda: "virtualInbound" in one.views().get(LISTENER, {}), "a listener")
            return keys_in(one.views()[LISTENER])

    with KeyServer() as server:
        uri = server.uri("/keys")
        server.answers["/keys"] = (200, issuer.jwks)
        assert asyncio.run(first(uri)) == {fetched}
        # The first listener that a proxy is sent after a start has the keys already.
        assert asyncio.run(again()) == {fetched}
    assert asyncio.run(again("--data-dir", str(tmp_path / "data"))) == {fetched}
    assert asyncio.run(again()) == {NOBODYS_KEYS}
