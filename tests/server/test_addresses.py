"""A whole control plane gives addresses: the first answer has them, a restart keeps them, a replay too."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

from controlplane.envoy.types import BY_URL, ROUTE
from tests.support import objects as a
from tests.support.plane import client, serving
from tests.support.recording import final
from tests.support.waiting import until

pytestmark = pytest.mark.whole


def entry(name: str) -> dict[str, Any]:
    ports = [{"number": 80, "name": "http", "protocol": "HTTP"}]
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {"name": name, "namespace": "front"},
        "spec": {"hosts": [f"{name}.example.com"], "ports": ports, "resolution": "DNS"},
    }


def given(routes: dict[str, bytes]) -> list[str]:
    """The addresses of the network among the domains of port 80, in their order."""
    return [found.decode() for found in re.findall(rb"240\.240\.\d+\.\d+", routes.get("80", b""))]


async def first_answer(tmp_path: Path, *flags: str) -> list[str]:
    async with serving(tmp_path, *flags) as plane:
        for name in ("a", "b"):
            plane.files.put(entry(name))
        one = client("web-1", "front", app="web")
        await plane.connect(one, "one")
        await until(lambda: "80" in one.views().get(ROUTE, {}), "routes")
        return given(one.views()[ROUTE])


def test_the_first_routes_after_a_start_have_the_addresses_that_were_given_before(tmp_path: Path) -> None:
    data = ("--data-dir", str(tmp_path / "data"))
    asyncio.run(first_answer(tmp_path))  # fills the folder
    plain = asyncio.run(first_answer(tmp_path))
    assert len(set(plain)) == 2
    # Without a memory it follows from the names; with one, what was given counts, whatever the names say.
    assert asyncio.run(first_answer(tmp_path, *data)) == plain
    file = tmp_path / "data" / "addresses.json"
    listed = json.loads(file.read_text())
    listed[0][2] = "240.240.1.1"
    file.write_text(json.dumps(listed))
    assert asyncio.run(first_answer(tmp_path, *data)) == ["240.240.1.1", plain[1]]


def test_addresses_are_recorded_and_replayed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "record.jsonl"

    async def served() -> Any:
        async with serving(tmp_path, "--record", str(path)) as plane:
            one = client("web-1", "front", app="web")
            await plane.connect(one, "one")
            await plane.quiet()
            plane.files.put(a.service("web", "front", "http=80:8080", number=1))
            plane.files.put(entry("a"))
            await until(lambda: len(given(one.views().get(ROUTE, {}))) == 1, "an address")
            await plane.quiet()
        return one

    one = asyncio.run(served())
    _, has = final(path, monkeypatch)
    for url, found in one.views().items():
        assert has["web-1.front", "delta"].get(url, {}) == found, BY_URL[url].short
