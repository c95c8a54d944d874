"""Recordings made by hand, replayed: time, settings, comings and goings, and what the command says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from controlplane.app.commands import main
from controlplane.app.replay import Options, replay
from controlplane.app.replay_result import Result
from controlplane.app.replay_streams import FORGET, Tally
from controlplane.base.clock import FakeClock
from controlplane.base.errors import MiniIstiodError
from controlplane.envoy.types import BY_SHORT
from controlplane.model.problem import Origin
from controlplane.model.proxy import Proxy, parse_node
from controlplane.sources.change import Change
from controlplane.sources.naming import NoName, name_of
from controlplane.sources.recording import Header, Recorder
from controlplane.xds.plan import Plan
from controlplane.xds.protocol import Push
from controlplane.xds.variant import Variant
from tests.support import objects as a

SETTINGS = {"debounce_after": 0.1, "debounce_max": 10.0, "ack_deadline": 1.0}
WEB = a.service("web", "front", "http=80:8080", number=1)


@dataclass
class Story:
    """Writes a recording, one moment after the other."""

    recorder: Recorder
    clock: FakeClock
    ids: int = 0

    def put(self, *objects: Mapping[str, Any]) -> None:
        changes = []
        for raw in objects:
            name = name_of(raw)
            assert not isinstance(name, NoName)
            self.ids += 1
            at = self.clock.monotonic()
            changes.append(Change(name.kind, name.key, raw, Origin("x.yaml", 1), self.ids, at, name.group))
        self.recorder.applied("directory", changes)

    def wait(self, seconds: float) -> None:
        asyncio.run(self.clock.advance(seconds))

    def come(self, connection: str, proxy: Proxy, variant: str = "delta") -> None:
        self.recorder.connected(connection, variant, proxy)


def proxy(name: str, namespace: str = "front") -> Proxy:
    return parse_node(f"sidecar~10.0.0.9~{name}.{namespace}~{namespace}.svc.cluster.local", {})


def write(path: Path, tell: Callable[[Story], None], **settings: Any) -> Path:
    clock = FakeClock(50.0)
    recorder = Recorder(path, Header("0.1.0", 1e9, ("directory",), {**SETTINGS, **settings}), clock)
    recorder.journal.open()
    tell(Story(recorder, clock))
    recorder.journal.close()
    return path


def begin(story: Story) -> None:
    story.put(WEB)
    story.recorder.synced("directory")
    story.wait(1.0)


def edits(story: Story) -> None:
    """Five edits, 0.3 s apart."""
    begin(story)
    story.come("web-1.front-1", proxy("web-1"))
    for number in range(5):
        story.put(a.service("web", "front", f"http={81 + number}:8080", number=1))
        story.wait(0.3)


@pytest.mark.parametrize(
    "settings, batches",
    [({}, 6), ({"debounce_after": 0.35}, 2), ({"debounce_after": 0.35, "debounce_max": 0.7}, 3)],
)
def test_batches_are_made_by_the_recorded_settings_in_recorded_time(
    tmp_path: Path, settings: dict[str, Any], batches: int
) -> None:
    found = replay(Options(write(tmp_path / "r", edits, **settings)))
    assert found.batches == batches
    assert found.changes == 6
    assert found.seconds >= 2.5
    assert found.failed_queries == 0


def test_a_setting_that_makes_no_sense_is_named(tmp_path: Path) -> None:
    with pytest.raises(MiniIstiodError, match="settings: ack_deadline: expected seconds, found 'soon'"):
        replay(Options(write(tmp_path / "r", edits, ack_deadline="soon")))


def test_the_hash_is_of_bytes_and_nothing_else(tmp_path: Path) -> None:
    def later(story: Story) -> None:
        story.wait(7.0)
        edits(story)

    def other(story: Story) -> None:
        edits(story)
        story.put(a.service("web", "front", "http=99:8080", number=1))

    plain = replay(Options(write(tmp_path / "plain", edits)))
    assert replay(Options(write(tmp_path / "later", later))).sha256 == plain.sha256
    assert replay(Options(write(tmp_path / "other", other))).sha256 != plain.sha256


def test_secrets_are_counted_and_not_hashed() -> None:
    def tally(short: str, data: bytes) -> Tally:
        plan = Plan("", Variant.DELTA, (), (), (), (), frozenset(), 0, frozenset(), True)
        made = Tally()
        made.add("a-1", Push(BY_SHORT[short], "n", plan, 0, 0, 0.0), data)
        return made

    assert tally("sds", b"one").digest() == tally("sds", b"two").digest() == Tally().digest()
    assert tally("sds", b"one").size == {"sds": 3}
    others = (tally("cds", b"one"), tally("cds", b"two"), tally("eds", b"one"), Tally())
    assert len({one.digest() for one in others}) == 4


def test_who_comes_back_soon_has_what_it_had(tmp_path: Path) -> None:
    def coming_back(seconds: float) -> Result:
        def tell(story: Story) -> None:
            begin(story)
            story.come("web-1.front-1", proxy("web-1"))
            story.wait(1.0)
            story.recorder.gone("web-1.front-1")
            story.wait(seconds)
            story.come("web-1.front-2", proxy("web-1"))

        return replay(Options(write(tmp_path / f"r{seconds}", tell)))

    soon, late = coming_back(5.0), coming_back(FORGET + 5.0)
    assert (soon.proxies, soon.connections) == (late.proxies, late.connections) == (1, 2)
    # The clusters that it names itself are not sent again.
    assert soon.bytes["cds"] < late.bytes["cds"]
    assert soon.bytes["eds"] == late.bytes["eds"]


def test_who_comes_back_before_the_server_sees_its_end_has_what_it_had(tmp_path: Path) -> None:
    def tell(story: Story) -> None:
        begin(story)
        story.come("web-1.front-1", proxy("web-1"))
        story.recorder.asked("web-1.front-1", "vhds", ("80/web.front.svc.cluster.local",))
        story.wait(1.0)
        story.come("web-1.front-2", proxy("web-1"))
        story.recorder.gone("web-1.front-1")
        story.wait(1.0)
        story.put(a.service("web", "front", "http=80:8080", number=5))

    path = write(tmp_path / "r", tell, on_demand_virtual_hosts=True)
    first, second = (replay(Options(path, proxy=f"web-1.front-{number}")) for number in (1, 2))
    assert first.responses["vhds"] == 2
    assert second.bytes["cds"] < first.bytes["cds"]
    dumped = replay(Options(path, proxy="web-1.front-2", dump=tmp_path / "dump"))
    assert dumped.sha256 == second.sha256
    assert "80/web.front.svc.cluster.local" in (tmp_path / "dump" / "web-1.front.delta.json").read_text()


def test_both_variants_are_played(tmp_path: Path) -> None:
    def tell(story: Story) -> None:
        begin(story)
        story.come("a.front-1", proxy("a"), "delta")
        story.come("b.front-2", proxy("b"), "sotw")
        story.wait(1.0)
        story.put(a.service("mail", "front", "http=80:8080", number=2))
        story.wait(1.0)
        story.recorder.rejected("a.front-1", "cds", ("c",), "no")

    found = replay(Options(write(tmp_path / "r", tell), dump=tmp_path / "dump"))
    assert found.responses["cds"] == 4
    rejections = json.loads((tmp_path / "dump" / "rejections.json").read_text())
    assert [(one["connection"], one["type"], one["error"]) for one in rejections] == [
        ("a.front-1", "cds", "no")
    ]
    delta, sotw = (
        json.loads((tmp_path / "dump" / name).read_text())
        for name in ("a.front.delta.json", "b.front.sotw.json")
    )
    assert delta == sotw
    assert "outbound|80||mail.front.svc.cluster.local" in json.dumps(delta)


def test_the_command_prints_the_hash(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "r.gz", edits)
    assert main(["replay", str(path)]) == 0
    shown = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert main(["replay", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert shown["sha256"] == found["sha256"] == replay(Options(path)).sha256
    assert json.loads(shown["compute_ms"]).keys() == {"p50", "p90", "p99", "max"}
    assert "cut_off" not in shown


def test_the_command_says_what_is_wrong_with_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "r", edits)
    path.write_text(path.read_text().replace('"e":"synced"', '"e":"sunk"'))
    assert main(["replay", str(path)]) == 2
    known = "apply, report, synced, connected, asked, rejected, gone, end"
    assert capsys.readouterr().err == f'mini-istiod: {path}:4: e: expected one of {known}, found "sunk"\n'


def test_a_recording_that_was_cut_off_is_played_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "r", edits)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))
    assert main(["replay", str(path)]) == 0
    assert f"{path}:{len(lines) - 1}: cut off here" in capsys.readouterr().out


@pytest.mark.parametrize("until", ["-1", "nan", "inf", "soon"])
def test_the_second_to_stop_at_is_one(until: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["replay", str(tmp_path / "r"), "--until", until])
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith(f"mini-istiod: argument --until: '{until}' cannot be used")
    assert told.count("\n") == 1


def test_a_dump_goes_into_a_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "r", edits)
    assert main(["replay", str(path), "--dump", str(path)]) == 2
    assert capsys.readouterr().err == f"mini-istiod: --dump: '{path}' cannot be used: it is not a directory\n"
    assert main(["replay", str(path), "--dump", str(tmp_path / "new" / "dump")]) == 0
    assert (tmp_path / "new" / "dump" / "problems.json").exists()
