"""What a real server recorded, a replay makes again: the same hash always, and the clients' very bytes."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from controlplane.app.replay import Options, replay
from controlplane.base.errors import MiniIstiodError
from controlplane.envoy.types import BY_URL, VIRTUAL_HOST
from controlplane.lab.client import Client
from tests.support import objects as a
from tests.support.plane import client, serving
from tests.support.recording import ALTERED, Recorded, final, play, record

pytestmark = pytest.mark.whole


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return asyncio.run(record(tmp_path_factory.mktemp("recorded"), seconds=1.5, pause=0.01))


def test_the_hash_is_the_same_whatever_the_process_hashes_with(recorded: Recorded) -> None:
    first, *others = (
        play(recorded.path, "0"),
        play(recorded.path, "1"),
        replay(Options(recorded.path)).as_json(),
    )
    for other in others:
        for field in ("sha256", "events", "changes", "batches", "responses", "bytes", "types"):
            assert other[field] == first[field], field
    assert first["proxies"] == 12
    assert first["connections"] >= 12
    assert first["batches"] > 10
    assert first["responses"] > 100
    assert first["compute_ms"]["max"] >= first["compute_ms"]["p50"] > 0


def test_the_hash_differs_when_the_code_serves_something_else(recorded: Recorded) -> None:
    served, altered = play(recorded.path, "0"), play(recorded.path, "0", before=ALTERED)
    assert altered["sha256"] != served["sha256"]
    assert altered["types"]["eds"] == served["types"]["eds"]


def test_every_proxy_ends_with_what_its_client_had(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    result, has = final(recorded.path, monkeypatch)
    assert result.ended == ""
    assert has.keys() == recorded.clients.keys()
    for key, views in recorded.clients.items():
        assert sum(map(len, views.values())) > 10
        for url, found in views.items():
            assert has[key].get(url, {}) == found, (key, BY_URL[url].short)


def test_virtual_hosts_are_asked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "record.jsonl"
    asks = ("80/web.front.svc.cluster.local", "80/nobody.example.com")

    async def served() -> Client:
        async with serving(tmp_path, "--record", str(path), "--on-demand-virtual-hosts") as plane:
            plane.files.put(a.service("web", "front", "http=80:8080", number=1))
            await plane.taken_in()
            one = client("web-1", "front", app="web")
            one.on_demand = True
            await plane.connect(one, "one")
            await plane.quiet()
            await one.ask(*asks)
            await plane.quiet()
            await plane.connect(await plane.disconnect("one"), "one")
            await plane.quiet()
            spec = {"hosts": ["web.front.svc.cluster.local"], "http": [{"redirect": {"uri": "/moved"}}]}
            plane.files.put(a.thing("VirtualService", "web", "front", {"spec": spec}))
            await plane.quiet()
        return one

    one = asyncio.run(served())
    assert b"/moved" in one.views()[VIRTUAL_HOST][asks[0]]
    _, has = final(path, monkeypatch)
    for url, found in one.views().items():
        assert has["web-1.front", "delta"].get(url, {}) == found, BY_URL[url].short


def test_one_proxy_and_one_moment(recorded: Recorded, tmp_path: Path) -> None:
    whole = replay(Options(recorded.path))
    one = replay(Options(recorded.path, proxy="web-2.front"))
    assert 0 < sum(one.responses.values()) < sum(whole.responses.values())
    assert one.sha256 != whole.sha256
    assert one.batches == whole.batches
    early = replay(Options(recorded.path, until=1.0, dump=tmp_path / "dump"))
    assert early.seconds == 1.0
    assert 0 < early.batches < whole.batches
    dumps = sorted(path.name for path in (tmp_path / "dump").iterdir())
    assert len(dumps) == 14
    assert {"problems.json", "rejections.json"} < set(dumps)
    assert dumps[0] == "api-10.back.delta.json"
    dump = json.loads((tmp_path / "dump" / dumps[0]).read_text())
    assert len(dump["configs"]) == 4
    with pytest.raises(MiniIstiodError, match=r"--proxy: 'web' did not connect; recorded are api-10\.back,"):
        replay(Options(recorded.path, proxy="web"))
