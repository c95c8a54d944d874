"""The push log's lines, and what its journal does with a disk that fails."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from controlplane.base.errors import EnvironmentUnfit
from controlplane.telemetry.journal import Journal
from controlplane.telemetry.push_log import PushLog, Start
from controlplane.telemetry.wave import Response, Seen

EDS = Response("eds", 3, 10.5, 700, 1, 0, 0.25)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def logged(path: Path, happened: Callable[[PushLog], None]) -> list[dict[str, Any]]:
    log = PushLog(path, Start(1.0, 100.0, "0.1"))
    log.journal.open()
    happened(log)
    log.journal.close()
    found = lines(path)
    assert found[0] == {"e": "start", "at": 1.0, "epoch": 100.0, "version": "0.1"}
    return found[1:]


def test_a_change_from_its_file_to_the_settled_graph(tmp_path: Path) -> None:
    def happened(log: PushLog) -> None:
        changes = (
            Seen(7, "Service", "shop", "web", "a/b.yaml:12", 9.0, 9.5),
            Seen(8, "MeshConfig", "", "", "<memory>", 9.25),
            Seen(9, "Pod", "shop", "p", "", 9.25),
        )
        log.batch(3, changes, 9.5, 9.75)
        log.settled(3, 9.875)

    batch, settled = logged(tmp_path / "log", happened)
    assert [change["file"] for change in batch["changes"]] == ["a/b.yaml", "<memory>", None]
    assert batch["changes"][0] == {
        "id": 7,
        "kind": "Service",
        "namespace": "shop",
        "name": "web",
        "at": 9.0,
        "in": 9.5,
        "file": "a/b.yaml",
    }
    assert (batch["revision"], batch["opened"], batch["committed"]) == (3, 9.5, 9.75)
    assert settled == {"e": "settled", "revision": 3, "at": 9.875}


@pytest.mark.parametrize("order", ["writer first", "answer first"])
def test_a_response_is_one_line_whoever_is_first(tmp_path: Path, order: str) -> None:
    def happened(log: PushLog) -> None:
        log.connected("p-1", 10.0)
        log.woken("p-1", 3, 10.25)
        log.planned("p-1", "n", EDS)
        if order == "writer first":
            log.written("p-1", ("eds", "n"), 10.75)
            log.answered("p-1", ("eds", "n"), 11.0, True)
        else:
            log.answered("p-1", ("eds", "n"), 11.0, True)
            log.written("p-1", ("eds", "n"), 10.75)
        log.gone("p-1", 12.0)

    found = logged(tmp_path / "log", happened)
    assert [one["e"] for one in found] == ["connected", "woken", "response", "gone"]
    assert found[2] == {
        "e": "response",
        "proxy": "p-1",
        "type": "eds",
        "revision": 3,
        "planned": 10.5,
        "took": 0.25,
        "written": 10.75,
        "answered": 11.0,
        "ok": True,
        "bytes": 700,
        "names": 1,
        "echoes": 0,
    }


def test_what_is_never_answered_is_told_when_that_is_clear(tmp_path: Path) -> None:
    def happened(log: PushLog) -> None:
        for nonce in ("a", "b"):
            log.planned("p-1", nonce, EDS._replace(revision=ord(nonce)))
            log.written("p-1", ("eds", nonce), 10.75)
        log.planned("p-1", "a", EDS._replace(type="cds"))
        log.answered("p-1", ("eds", "b"), 11.0, False)
        log.answered("p-1", ("eds", "never seen"), 11.0, True)
        log.gone("p-1", 12.0)
        log.gone("p-1", 13.0)

    found = logged(tmp_path / "log", happened)
    told = [(one.get("type"), one.get("revision"), one.get("answered"), one.get("ok")) for one in found]
    assert told == [
        ("eds", ord("a"), None, False),
        ("eds", ord("b"), 11.0, False),
        ("cds", 3, None, False),
        (None, None, None, None),
        (None, None, None, None),
    ]


def test_pauses_and_only_noticeable_lags(tmp_path: Path) -> None:
    def happened(log: PushLog) -> None:
        log.lag(0.0005)
        log.lag(0.5)
        log.collected("2", 0.25)

    lag, collected = logged(tmp_path / "log", happened)
    assert (lag["e"], lag["seconds"]) == ("lag", 0.5)
    assert (collected["e"], collected["generation"], collected["seconds"]) == ("gc", 2, 0.25)
    assert 0 < lag["at"] <= collected["at"]


def journal(path: Path, render: Callable[[Sequence[Any]], Any] | None = None, limit: int = 100) -> Journal:
    return Journal("test's journal", path, render or (lambda entries: map(str, entries)), limit=limit)


def test_a_journal_writes_while_it_runs_and_compresses_by_name(tmp_path: Path) -> None:
    async def scenario(monkeypatch: pytest.MonkeyPatch) -> None:
        made = journal(tmp_path / "log.gz")
        monkeypatch.setattr("controlplane.telemetry.journal.EVERY", 0.001)
        made.open()
        running = asyncio.create_task(made.run())
        for number in range(1000):
            made.add(number)
        for _ in range(5000):
            if (tmp_path / "log.gz").stat().st_size > 1000:
                break
            await asyncio.sleep(0.001)
        else:
            raise AssertionError("nothing was written before the end")
        made.add("last")
        running.cancel()
        made.close()
        assert not made.failed
        assert (tmp_path / "log.gz").stat().st_mode & 0o777 == 0o600
        with gzip.open(tmp_path / "log.gz", "rt") as found:
            assert found.read().split() == [*map(str, range(1000)), "last"]

    with pytest.MonkeyPatch.context() as monkeypatch:
        asyncio.run(scenario(monkeypatch))


def test_a_journal_that_cannot_begin_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentUnfit, match=r"the test's journal cannot be written: .*nowhere"):
        journal(tmp_path / "nowhere" / "log").open()


def test_a_full_disk_ends_the_journal_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    made = journal(Path("/dev/full"))
    made.open()
    made.add("one")
    made.flush()
    assert made._writing is not None
    made._writing.exception()
    made.add("two")
    made.flush()
    assert "No space left" in made.failed
    for number in range(200):
        made.add(number)
        made.flush()
    assert made._entries == []
    made.close()
    assert [record.message for record in caplog.records] == ["the test's journal ends here"]


def test_a_slow_disk_does_not_fill_the_memory(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    done = []

    def slow(entries: Sequence[Any]) -> list[str]:
        while not done:
            pass_turn()
        return []

    def pass_turn() -> None:
        import time

        time.sleep(0.001)

    made = journal(tmp_path / "log", slow, limit=10)
    made.open()
    made.add("slow")
    made.flush()
    for number in range(20):
        made.add(number)
        made.flush()
    done.append(True)
    made.close()
    assert made.failed == "the disk is too slow"
    assert len(made._entries) < 10
    assert len(caplog.records) == 1
