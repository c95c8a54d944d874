"""What guards something stays in force: over a restart, a move, and a file that cannot be read."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from controlplane.base.clock import FakeClock
from controlplane.model.keys import Key
from controlplane.model.problem import Origin, Problem
from controlplane.sources.change import Change
from controlplane.sources.kept import KEPT, KeptObjects
from controlplane.sources.naming import Name
from controlplane.store.debounce import Write
from controlplane.store.ingest import Ingest
from controlplane.telemetry.wave import Seen

GROUP = "security.istio.io"
NAME = Name(GROUP, "PeerAuthentication", Key("shop", "it"))


def policy(mode: str = "STRICT", kind: str = "PeerAuthentication") -> dict[str, Any]:
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": kind,
        "metadata": {"name": "it", "namespace": "shop"},
        "spec": {"mtls": {"mode": mode}},
    }


BROKEN = policy("STRCIT")
UNREADABLE = Problem("error", "", "", "", "a.yaml", 1, "", "not YAML", "mend it")


class Shelf:
    """A disk that survives its control planes."""

    def __init__(self) -> None:
        self.kept: dict[Name, tuple[str, Mapping[str, Any]]] = {}
        self.puts = 0

    def put(self, name: Name, origin: Origin | None, raw: Mapping[str, Any]) -> None:
        self.puts += 1
        self.kept[name] = (origin.file if origin else "", raw)

    def drop(self, name: Name) -> None:
        del self.kept[name]


class Life:
    """One control plane, from its start to kill -9."""

    def __init__(self, shelf: Shelf | None) -> None:
        self.modes: dict[Key, str] = {}
        self.ingest = Ingest(self, expected=("directory",), clock=FakeClock(), keeper=shelf)
        self._ids = itertools.count(1)
        for name, (file, raw) in shelf.kept.items() if shelf else ():
            self.apply((KEPT + file, raw), name=name)

    def add(self, writes: Sequence[Write], changes: Sequence[Seen]) -> None:
        assert changes
        for _, key, value, before in writes:
            assert self.modes.pop(key, None) == (getattr(before, "mode", "") if before else None)
            if value is not None:
                self.modes[key] = getattr(value, "mode", "")

    def flush(self) -> None:
        pass

    def apply(self, *places: tuple[str, Mapping[str, Any] | None], name: Name = NAME) -> Life:
        changes = [
            Change(name.kind, name.key, raw, Origin(file, 1), next(self._ids), 0.0, name.group)
            for file, raw in places
        ]
        asyncio.run(self.ingest.apply(changes))
        return self

    def unreadable(self, *problems: Problem) -> Life:
        self.ingest.report("directory:a.yaml", problems)
        return self

    def sync(self) -> Life:
        self.ingest.synced("directory")
        return self

    @property
    def mode(self) -> str | None:
        return self.modes.get(NAME.key)

    @property
    def said(self) -> str:
        return " | ".join(problem.message for problem in self.ingest.problems())


def test_a_typing_error_and_a_restart_open_nothing() -> None:
    shelf = Shelf()
    first = Life(shelf).apply(("a.yaml", policy())).sync().apply(("a.yaml", BROKEN))
    assert first.mode == "STRICT"
    assert "the last valid version stays in use" in first.said
    second = Life(shelf).apply(("a.yaml", BROKEN)).sync()
    assert second.mode == "STRICT"
    assert "the last valid version, from before the restart, stays in use" in second.said
    assert second.ingest.powerless(NAME.kind) == 0
    # And once more, because what was given back is still kept.
    third = Life(shelf).apply(("a.yaml", BROKEN)).sync()
    assert third.mode == "STRICT"
    assert third.apply(("a.yaml", policy("DISABLE"))).mode == "DISABLE"
    assert third.said == ""
    assert Life(shelf).apply(("a.yaml", BROKEN)).sync().mode == "DISABLE"


def test_an_error_made_while_nobody_was_looking_opens_nothing_either() -> None:
    shelf = Shelf()
    Life(shelf).apply(("a.yaml", policy())).sync()
    assert Life(shelf).apply(("a.yaml", BROKEN)).sync().mode == "STRICT"


def test_without_a_last_valid_version_it_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        life = Life(None).apply(("a.yaml", BROKEN)).sync()
    assert life.mode is None
    assert life.ingest.powerless(NAME.kind) == 1
    (record,) = caplog.records
    text = record.getMessage()
    assert record.levelno == logging.ERROR
    assert text.startswith("a.yaml:1: PeerAuthentication shop/it: spec.mtls.mode: 'STRCIT' is not allowed")
    assert "this policy is NOT in force, and no version of it is" in text
    assert life.apply(("a.yaml", policy())).ingest.powerless(NAME.kind) == 0
    assert life.apply(("a.yaml", None)).ingest.powerless(NAME.kind) == 0


def test_what_is_gone_is_forgotten() -> None:
    shelf = Shelf()
    life = Life(shelf).apply(("a.yaml", policy())).sync()
    assert NAME in shelf.kept
    assert life.apply(("a.yaml", None)).mode is None
    assert shelf.kept == {}
    # Gone while nobody was looking.
    Life(shelf).apply(("a.yaml", policy())).sync()
    assert Life(shelf).sync().mode is None
    assert shelf.kept == {}
    # Refused, given back, and then gone.
    Life(shelf).apply(("a.yaml", policy())).sync()
    life = Life(shelf).apply(("a.yaml", BROKEN)).sync()
    assert life.apply(("a.yaml", None)).mode is None
    assert (shelf.kept, life.said) == ({}, "")


def test_a_file_that_cannot_be_read_at_the_start_keeps_its_policies() -> None:
    shelf = Shelf()
    Life(shelf).apply(("a.yaml", policy())).sync()
    life = Life(shelf).unreadable(UNREADABLE).sync()
    assert life.mode == "STRICT"
    assert "cannot be read; the last valid version, from before the restart, stays in use" in life.said
    assert [(one.origin, one.used) for one in life.ingest.objects()] == [(Origin("a.yaml", 1), True)]
    # Another mistake in the same file, and then the policy is there again, or is not.
    assert life.unreadable(UNREADABLE, UNREADABLE).mode == "STRICT"
    mended = life.apply(("a.yaml", policy("DISABLE"))).unreadable()
    assert (mended.mode, mended.said) == ("DISABLE", "")
    life = Life(shelf).unreadable(UNREADABLE).sync().unreadable()
    assert (life.mode, life.said, shelf.kept) == (None, "", {})


def test_the_mistakes_of_other_files_keep_nothing() -> None:
    shelf = Shelf()
    Life(shelf).apply(("b.yaml", policy())).sync()
    assert Life(shelf).unreadable(UNREADABLE).sync().mode is None


def test_a_move_with_a_typing_error_opens_nothing() -> None:
    shelf = Shelf()
    life = Life(shelf).apply(("b.yaml", policy())).sync()
    assert life.apply(("a.yaml", BROKEN), ("b.yaml", None)).mode == "STRICT"
    assert "the last valid version, from its former place, stays in use" in life.said
    # A valid copy elsewhere counts for more than what is fallen back on.
    assert life.apply(("c.yaml", policy("DISABLE"))).mode == "DISABLE"
    assert life.apply(("c.yaml", None)).mode == "DISABLE"


def test_a_valid_copy_elsewhere_counts_for_more() -> None:
    shelf = Shelf()
    Life(shelf).apply(("a.yaml", policy())).sync()
    life = Life(shelf).apply(("a.yaml", BROKEN)).apply(("b.yaml", policy("DISABLE"))).sync()
    assert life.mode == "DISABLE"


def test_what_does_not_change_is_not_written_again() -> None:
    shelf = Shelf()
    life = Life(shelf).apply(("a.yaml", policy())).sync()
    life.apply(("a.yaml", {**policy(), "status": {}}))
    life = Life(shelf).apply(("a.yaml", policy())).sync()
    assert shelf.puts == 1
    # Seen again, it is of this life.
    assert "from before" not in life.apply(("a.yaml", BROKEN)).said


def test_other_kinds_are_not_kept() -> None:
    shelf = Shelf()
    name = Name("networking.istio.io", "Sidecar", Key("shop", "it"))
    raw = {"apiVersion": "networking.istio.io/v1", "kind": "Sidecar", "metadata": {"name": "it"}, "spec": {}}
    Life(shelf).apply(("a.yaml", raw), name=name).sync()
    assert shelf.kept == {}


class Delivered:
    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.done = asyncio.Event()

    async def apply(self, changes: Sequence[Change]) -> None:
        self.changes.extend(changes)

    def report(self, where: str, problems: Sequence[Problem]) -> None:
        raise AssertionError(where)

    def synced(self, source: str) -> None:
        assert source == "last-valid"
        self.done.set()


def delivered(folder: Path) -> list[Change]:
    async def main() -> list[Change]:
        sink = Delivered()
        run = asyncio.create_task(KeptObjects(folder, clock=FakeClock(), ids=itertools.count(1)).run(sink))
        await asyncio.wait_for(sink.done.wait(), 5)
        run.cancel()
        await asyncio.wait([run])
        return sink.changes

    return asyncio.run(main())


def test_files_hold_what_was_put_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "data" / "last-valid"
    assert delivered(folder) == []
    disk = KeptObjects(folder, clock=FakeClock(), ids=itertools.count(1))
    disk.put(NAME, Origin("a.yaml", 3), policy("DISABLE"))
    disk.put(NAME, Origin("a.yaml", 4), policy())
    (path,) = folder.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (change,) = delivered(folder)
    assert (change.name, change.raw, change.origin) == (NAME, policy(), Origin(f"{KEPT}a.yaml", 4))
    # A crash between: half of a new file is nothing.
    path.with_suffix(".new").write_text("{")
    assert [one.raw for one in delivered(folder)] == [policy()]
    disk.put(NAME, None, policy("DISABLE"))
    assert [one.raw for one in delivered(folder)] == [policy("DISABLE")]
    path.write_text("{")
    assert delivered(folder) == []
    assert "may be NOT in force" in caplog.text
    disk.drop(NAME)
    disk.drop(NAME)
    assert list(folder.iterdir()) == []


def test_private_keys_do_not_reach_the_disk(tmp_path: Path) -> None:
    key = {"kty": "oct", "kid": "x", "k": "c2VjcmV0LXNlY3JldA"}
    raw = policy(kind="RequestAuthentication")
    raw["spec"] = {"jwtRules": [{"issuer": "i", "jwks": json.dumps({"keys": [key]})}]}
    KeptObjects(tmp_path, clock=FakeClock(), ids=itertools.count(1)).put(NAME, None, raw)
    (path,) = tmp_path.iterdir()
    assert key["k"] not in path.read_text()


def test_a_disk_that_is_full_costs_a_line_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    disk = KeptObjects(tmp_path / "file", clock=FakeClock(), ids=itertools.count(1))
    disk.put(NAME, None, policy())
    disk.drop(NAME)
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
