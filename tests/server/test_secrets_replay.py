"""A recording holds no key, and its replay has the gateway that shows one all the same."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from controlplane.envoy.bootstrap import Node
from controlplane.envoy.types import BY_URL, LISTENER
from controlplane.lab.client import Client
from tests.support.pairs import key_text, pair
from tests.support.plane import serving
from tests.support.recording import final

CHAIN, KEY = pair()[0], key_text(pair()[1])
META = {"namespace": "edge"}
OBJECTS: tuple[dict[str, Any], ...] = (
    {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {**META, "name": "shop"},
        "type": "kubernetes.io/tls",
        "data": {"tls.crt": b64encode(CHAIN).decode(), "tls.key": b64encode(KEY).decode()},
    },
    {
        "apiVersion": "networking.istio.io/v1",
        "kind": "Gateway",
        "metadata": {**META, "name": "shop"},
        "spec": {
            "selector": {"app": "edge"},
            "servers": [
                {
                    "port": {"number": 8443, "name": "https", "protocol": "HTTPS"},
                    "tls": {"mode": "SIMPLE", "credentialName": "shop"},
                    "hosts": ["shop.example"],
                }
            ],
        },
    },
    {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**META, "name": "edge-1", "labels": {"app": "edge"}},
        "spec": {"serviceAccountName": "edge"},
        "status": {
            "podIP": "10.0.0.3",
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    },
)


def test_a_gateway_is_replayed_with_the_servers_that_it_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = tmp_path / "mesh.jsonl"
    node = Node("10.0.0.3", "edge-1", "edge", kind="router", labels={"app": "edge"}, service_account="edge")

    async def live() -> dict[str, dict[str, bytes]]:
        flags = ("--trust-loopback-identities", "--record", str(recording))
        async with serving(tmp_path, *flags) as served:
            for one in OBJECTS:
                served.files.put(one)
            client = await served.connect(Client(node))
            await served.quiet()
            return client.views()

    views = asyncio.run(live())
    assert b"kubernetes://shop" in b"".join(views[LISTENER].values())
    text = recording.read_text()
    assert "redacted:" in text and KEY.decode().splitlines()[1] not in text
    assert CHAIN.decode().splitlines()[1] not in text
    result, has = final(recording, monkeypatch)
    assert result.ended == ""
    (found,) = has.values()
    for url, resources in views.items():
        assert found.get(url, {}) == resources, BY_URL[url].short
