"""Schedules become files: whole ones, on time, and what happened is written down."""

from __future__ import annotations

import asyncio

import pytest

from controlplane.base.clock import FakeClock
from controlplane.lab.churn.apply import Directory, play
from controlplane.lab.churn.mesh import Mesh
from controlplane.lab.churn.workload import key_of
from controlplane.lab.churn.workloads import workload
from controlplane.lab.latency.dataset import Change
from controlplane.sources.directory.documents import Object, read_units


def objects(directory: Directory) -> dict:
    found = {}
    for file in sorted(directory.path.iterdir()):
        (unit,) = read_units(file.read_bytes(), file.name)
        assert isinstance(unit, Object)
        found[key_of(unit.raw)] = unit.raw
    return found


@pytest.mark.parametrize("dialect", ["kubernetes", "serviceentry"])
def test_what_is_filled_in_is_what_is_read(tmp_path, dialect) -> None:
    directory = Directory(tmp_path / "mesh")
    raws = list(Mesh(services=10, namespaces=2, dialect=dialect).objects())
    assert directory.fill(raws, batch=4, pause=0.0) == len(raws)
    assert list(objects(directory).values()) == sorted(raws, key=lambda raw: directory.file(key_of(raw)))
    directory.close()
    assert [one.name for one in tmp_path.iterdir()] == ["mesh"]


def test_a_file_is_replaced_whole_and_removed(tmp_path) -> None:
    directory = Directory(tmp_path / "mesh", iter([1.5, 2.5, 3.5, 4.5]).__next__)
    metadata = {"name": "a", "namespace": "b"}
    raw = {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": "ä" * 100_000}
    assert directory.put(raw) == 1.5
    old = directory.file(key_of(raw)).stat().st_ino
    publish = directory.ready(raw | {"spec": "2"})
    assert objects(directory)["Service", "b", "a"] == raw
    assert publish() == 2.5
    assert objects(directory)["Service", "b", "a"]["spec"] == "2"
    # Another file, not the same one rewritten.
    assert directory.file(key_of(raw)).stat().st_ino != old
    assert directory.delete(raw) == 3.5
    assert objects(directory) == {}
    with pytest.raises(FileNotFoundError):
        directory.delete(raw)


def test_a_schedule_is_played_on_time_and_without_drift(tmp_path) -> None:
    made = workload(
        "reconnect-storm", Mesh(services=5, endpoints=3, namespaces=1), 1, 8.0, edits="every:1:0.5"
    )
    heard: list = []

    async def test() -> float:
        clock = FakeClock()
        directory = Directory(tmp_path / "mesh", clock.monotonic)
        directory.fill(made.initial)

        def on_edit(change: Change) -> None:
            heard.append(change)

        task = asyncio.create_task(play(made, directory, clock, on_edit, heard.append))
        for _ in range(80):
            await clock.advance(0.1)
        start = await task
        last = {edit.key: edit.raw for edit in made.edits()}
        assert {key: objects(directory)[key] for key in last} == last
        return start

    start = asyncio.run(test())
    changes = [one for one in heard if isinstance(one, Change)]
    assert [one.number for one in changes] == [edit.number for edit in made.edits()]
    for one in changes:
        assert one.at == pytest.approx(start + one.scheduled)
    assert [one for one in heard if not isinstance(one, Change)] == list(made.storms)
    assert [type(one).__name__ for one in heard].index("Reconnect") == 5


def test_one_that_is_late_does_not_delay_the_next(tmp_path) -> None:
    made = workload("endpoint-rotation", Mesh(services=5, endpoints=3, namespaces=1), 1, 5.0)
    clock = FakeClock()
    heard: list[Change] = []

    def slow(change: Change) -> None:
        heard.append(change)
        if change.number == 1:
            clock._now += 1.5

    async def test() -> float:
        directory = Directory(tmp_path / "mesh", clock.monotonic)
        task = asyncio.create_task(play(made, directory, clock, slow))
        for _ in range(60):
            await clock.advance(0.1)
        return await task

    start = asyncio.run(test())
    late = [one.at - start - one.scheduled for one in heard]
    assert late == pytest.approx([0.0, 0.5, 0.0, 0.0], abs=1e-6)
