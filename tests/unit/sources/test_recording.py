"""What is recorded is read again; what is no recording is refused with file, line and field."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from controlplane.base.clock import FakeClock
from controlplane.model.identity import Identity
from controlplane.model.keys import Key
from controlplane.model.locality import Locality
from controlplane.model.problem import Origin, Problem
from controlplane.model.proxy import Proxy, ProxyMetadata, parse_node
from controlplane.sources.change import Change
from controlplane.sources.record_line import RecordingError
from controlplane.sources.recorded import (
    Applied,
    Asked,
    Connected,
    Ended,
    Event,
    Gone,
    Recording,
    Rejected,
    Reported,
    Synced,
)
from controlplane.sources.recording import Header, Recorder

HEADER = Header(
    "0.1.0", 1700000000.5, ("directory", "mesh-config"), {"debounce_after": 0.1, "paranoid": False}
)
WEB = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}}
PEM = "-----BEGIN PRIVATE KEY-----"
PROBLEM = Problem("error", "Service", "a", "web", "web.yaml", 3, "spec", "is wrong", "mend it")
NODE = parse_node(
    "sidecar~10.0.0.9~web-1.shop~shop.svc.mesh.example",
    {"LABELS": {"b": "2", "a": "1"}, "INSTANCE_IPS": "10.0.0.9,fd00::9", "HTTP_PROXY_PORT": 7.0},
    Locality("r", "z", "s"),
)


class Nowhere:
    """A sink that only notes."""

    def __init__(self) -> None:
        self.got: list[Any] = []

    async def apply(self, changes: Sequence[Change]) -> None:
        self.got.append(tuple(changes))

    def report(self, where: str, problems: Sequence[Problem]) -> None:
        self.got.append((where, tuple(problems)))

    def synced(self, source: str) -> None:
        self.got.append(source)


def change(id: int, raw: Any, kind: str = "Service", group: str | None = None) -> Change:
    return Change(kind, Key("shop", "web"), raw, Origin("web.yaml", 3), id, 999.5, group)


async def happen(recorder: Recorder, clock: FakeClock, sink: Nowhere) -> None:
    tap = recorder.sink("directory", sink)
    await tap.apply([change(1, WEB), change(2, None)])
    await clock.advance(0.5)
    tap.report("directory:web.yaml", [PROBLEM])
    tap.synced("directory")
    await clock.advance(0.25)
    recorder.connected("web-1.shop-1", "delta", NODE)
    recorder.asked("web-1.shop-1", "vhds", ("80/a", "80/b"))
    recorder.asked("web-1.shop-1", "vhds", ("80/b",))
    recorder.asked("web-1.shop-1", "vhds", ("80/b", "80/c"))
    recorder.rejected("web-1.shop-1", "cds", ("outbound|80",), f"no: {PEM}")
    recorder.gone("web-1.shop-1")


def recorded(path: Path) -> tuple[list[Event], Header, Nowhere]:
    async def scenario() -> Nowhere:
        clock, sink = FakeClock(1000.0), Nowhere()
        recorder = Recorder(path, HEADER, clock)
        recorder.journal.open()
        await happen(recorder, clock, sink)
        recorder.journal.close()
        return sink

    sink = asyncio.run(scenario())
    with Recording(path) as found:
        return list(found.events()), found.header, sink


@pytest.mark.parametrize("name", ["record.jsonl", "record.jsonl.gz"])
def test_all_that_came_in_is_read_again(tmp_path: Path, name: str) -> None:
    events, header, sink = recorded(tmp_path / name)
    assert header == HEADER
    [rejected] = [event for event in events if isinstance(event, Rejected)]
    assert rejected.error.startswith("redacted:")
    sent = (replace(change(1, WEB), at=-0.5), replace(change(2, None), at=-0.5))
    assert events == [
        Applied(0.0, "directory", sent),
        Reported(0.5, "directory", "directory:web.yaml", (PROBLEM,)),
        Synced(0.5, "directory"),
        Connected(0.75, "web-1.shop-1", "delta", NODE),
        Asked(0.75, "web-1.shop-1", "vhds", ("80/a", "80/b")),
        Asked(0.75, "web-1.shop-1", "vhds", ("80/c",)),
        Rejected(0.75, "web-1.shop-1", "cds", ("outbound|80",), rejected.error),
        Gone(0.75, "web-1.shop-1"),
        Ended(0.75, ""),
    ]
    # The real sink got everything, untouched and in order.
    assert sink.got == [(change(1, WEB), change(2, None)), ("directory:web.yaml", (PROBLEM,)), "directory"]


def test_every_field_of_a_proxy_is_kept(tmp_path: Path) -> None:
    values = {
        field.name: 7 if field.default is None else not field.default if field.default is False else "x"
        for field in fields(ProxyMetadata)
    }
    config = '{"token": "hunter2", "concurrency": 2}'
    texts = '{"NAMESPACE": "a", "TOKEN": "hunter2"}'
    metadata = replace(ProxyMetadata(**values), proxy_config=config, texts=texts)
    known = Identity("cluster.local", "a", "gw")
    proxy = Proxy(
        "router", "::1", "gw.a", "a", "example", (("k", "v"),), metadata, ("::1",), Locality("r"), known
    )
    recorder = Recorder(tmp_path / "record", HEADER, FakeClock())
    recorder.journal.open()
    recorder.connected("gw.a-1", "sotw", proxy)
    recorder.journal.close()
    assert "hunter2" not in (tmp_path / "record").read_text()
    with Recording(tmp_path / "record") as found:
        (connected, _) = found.events()
    assert isinstance(connected, Connected)
    found_metadata = connected.proxy.metadata
    assert json.loads(found_metadata.proxy_config)["concurrency"] == 2
    assert json.loads(found_metadata.texts)["NAMESPACE"] == "a"
    assert replace(connected.proxy, metadata=metadata) == proxy
    assert replace(found_metadata, proxy_config=config, texts=texts) == metadata


def test_secrets_and_what_the_mesh_does_not_read_are_left_out(tmp_path: Path) -> None:
    key = {"kind": "VirtualService", "spec": {"token": "hunter2", "hosts": ["a"]}}
    deployment = {"kind": "Deployment", "spec": {"template": {"env": "hunter2"}}}
    recorder = Recorder(tmp_path / "record", HEADER, FakeClock())
    recorder.journal.open()
    group = "networking.istio.io"
    changes = [change(1, key, "VirtualService", group), change(2, deployment, "Deployment", "apps")]
    recorder.applied("directory", changes)
    recorder.journal.close()
    assert "hunter2" not in (tmp_path / "record").read_text()
    with Recording(tmp_path / "record") as found:
        applied, _ = found.events()
    assert isinstance(applied, Applied)
    first, second = applied.changes
    assert first.raw is not None and first.raw["spec"]["hosts"] == ["a"]
    assert (second.kind, second.raw) == ("Deployment", {})


@pytest.mark.parametrize("cut", ["a line", "a group", "a word", "a compressed block"])
def test_what_was_cut_off_is_read_up_to_there(tmp_path: Path, cut: str) -> None:
    name = "record.gz" if cut == "a compressed block" else "record"
    events, _, _ = recorded(tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    lines = whole.splitlines(keepends=True)
    left = {
        "a line": b"".join(lines[:-1]),
        "a group": b"".join(lines[:3]),
        "a word": whole[:-3],
        "a compressed block": whole[:-20],
    }[cut]
    (tmp_path / name).write_bytes(left)
    with Recording(tmp_path / name) as recording:
        found = list(recording.events())
    expected = {"a line": 8, "a group": 0, "a word": 8}.get(cut, len(found) - 1)
    assert found[:-1] == events[:expected]
    ended = found[-1]
    assert isinstance(ended, Ended)
    assert ended.reason.startswith(f"{tmp_path / name}:")
    assert "cut off here" in ended.reason


def _set(**changes: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda line: {**line, **changes}


def _without(name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda line: {key: value for key, value in line.items() if key != name}


@pytest.mark.parametrize(
    "number, spoil, message",
    [
        (1, _set(format="other"), "format: expected 'mini-istiod recording', found \"other\""),
        (1, _set(version=2), "version: this program reads versions 1 to 1, found 2"),
        (1, _set(version=True), "version: expected a whole number, found true"),
        (1, _set(sources=[1]), "sources: expected a list of texts, found [1]"),
        (1, _without("settings"), "settings: expected an object, found nothing"),
        (
            2,
            _set(e="aply"),
            "e: expected one of apply, report, synced, connected, asked, rejected, gone, end,",
        ),
        (2, _set(t="soon"), 't: expected a number, found "soon"'),
        (2, _set(count=3), 'e: expected change, found "report"'),
        (3, _set(raw=[]), "raw: expected an object, found []"),
        (3, _set(origin=["a"]), 'origin: expected a file and a line, found ["a"]'),
        (3, _set(origin=["a", "b"]), "origin: expected a file and a line"),
        (3, _without("namespace"), "namespace: expected text, found nothing"),
        (5, _set(t=-1.0), "t: expected 0.0 or later, found -1.0"),
        (5, _set(problems=[{"level": "error"}]), "problems: expected objects as /debug/problems shows them"),
        (7, _set(variant="ads"), 'variant: expected sotw or delta, found "ads"'),
        (7, lambda line: {**line, "proxy": {**line["proxy"], "type": "x"}}, "proxy.type: expected sidecar"),
        (
            7,
            lambda line: {**line, "proxy": {**line["proxy"], "metadata": {"http10": "yes"}}},
            'proxy.metadata.http10: expected a switch, found "yes"',
        ),
        (7, lambda line: {**line, "proxy": {**line["proxy"], "labels": [1]}}, "proxy: expected a proxy ("),
        (8, _set(names="80/a"), "names: expected a list"),
    ],
)
def test_a_bad_line_is_named(
    tmp_path: Path, number: int, spoil: Callable[[dict[str, Any]], dict[str, Any]], message: str
) -> None:
    path = tmp_path / "record"
    recorded(path)
    lines = path.read_text().splitlines()
    lines[number - 1] = json.dumps(spoil(json.loads(lines[number - 1])))
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(RecordingError) as caught:
        read(path)
    # A group that is too long is seen at the line that does not belong to it.
    where = number + 3 if message.startswith("e: expected change") else number
    assert f"{path}:{where}: {message}" in str(caught.value)


def read(path: Path) -> None:
    with Recording(path) as recording:
        list(recording.events())


def test_files_that_are_no_recordings(tmp_path: Path) -> None:
    path = tmp_path / "record"
    cases: tuple[tuple[bytes, str], ...] = (
        (b"", "it is no recording: the file has no end"),
        (b"{}\n", f"{path}:1: format: expected 'mini-istiod recording', found nothing"),
        (b"kind: Service\n", f"{path}:1: it is not JSON"),
        (b"[1]\n", f"{path}:1: expected an object, found [1]"),
        (b"\xff\xfe\n", f"{path}:1: it is not text"),
    )
    for content, message in cases:
        path.write_bytes(content)
        with pytest.raises(RecordingError) as caught:
            read(path)
        assert message in str(caught.value)
    with pytest.raises(RecordingError, match="No such file"):
        Recording(tmp_path / "nowhere")
    (tmp_path / "record.gz").write_bytes(b"not compressed")
    with pytest.raises(RecordingError, match="it is no compressed recording"):
        Recording(tmp_path / "record.gz")
    with gzip.open(tmp_path / "record.gz", "wb") as out:
        out.write(b"{}\n")
    with pytest.raises(RecordingError, match="format: expected"):
        Recording(tmp_path / "record.gz")
