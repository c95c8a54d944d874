"""The mesh's settings from one file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from controlplane.model.kinds import BY_NAME, MESH
from controlplane.model.problem import Problem
from controlplane.sources.change import Change
from controlplane.sources.mesh_file import MeshFileSource
from tests.support.rounds import Rounds


class Inbox:
    def __init__(self) -> None:
        self.raws: list[Any] = []
        self.problems: list[Problem] = []
        self.is_synced = False

    async def apply(self, changes: Sequence[Change]) -> None:
        (change,) = changes
        assert (change.name.kind, change.key) == ("MeshConfig", MESH)
        assert BY_NAME["MeshConfig"].parse(change.raw, change.origin).value is not None
        self.raws.append(change.raw)

    def report(self, where: str, problems: Sequence[Problem]) -> None:
        assert where == "mesh-config:"
        self.problems = list(problems)

    def synced(self, source: str) -> None:
        self.is_synced = True


@asynccontextmanager
async def following(path: Path) -> AsyncIterator[tuple[Inbox, Callable[[], Awaitable[None]]]]:
    """A source and a way to let it look once more."""
    clock, inbox = Rounds(), Inbox()
    task = asyncio.create_task(MeshFileSource(path, clock=clock).run(inbox))
    try:
        await clock.begun()
        yield inbox, clock.next
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(10):
            await test()

    asyncio.run(main())


def test_settings_come_and_change(tmp_path: Path) -> None:
    path = tmp_path / "mesh"
    path.write_text("rootNamespace: a\n")

    async def test() -> None:
        async with following(path) as (inbox, look):
            assert inbox.is_synced
            await look()
            path.write_text("# the same\nrootNamespace: a\n")
            await look()
            assert inbox.raws == [{"rootNamespace": "a"}]
            path.write_text("rootNamespace: b\n")
            await look()
            assert inbox.raws[1:] == [{"rootNamespace": "b"}]

    run(test)


def test_faults_leave_the_settings_and_are_told_when_they_last(tmp_path: Path) -> None:
    path = tmp_path / "mesh"
    path.write_text("rootNamespace: a\n")

    async def test() -> None:
        async with following(path) as (inbox, look):
            for text, line, message in (
                ("rootNamespace: [", 1, "not YAML"),
                ("", 1, "expected the fields"),
                ("- a", 1, "expected the fields"),
                (None, None, "no such file"),
            ):
                if text is None:
                    path.unlink()
                else:
                    path.write_text(text)
                await look()
                assert inbox.problems == []
                await look()
                problem = inbox.problems[0]
                assert (problem.file, problem.line) == (str(path), line)
                assert message in problem.message
                path.write_text("rootNamespace: a\n")
                await look()
                assert inbox.problems == []
            assert len(inbox.raws) == 1

    run(test)


def test_a_file_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "mesh"

    async def test() -> None:
        async with following(path) as (inbox, look):
            await look()
            assert (inbox.is_synced, len(inbox.problems)) == (False, 1)
            path.write_text("{}")
            await look()
            assert (inbox.is_synced, inbox.raws, inbox.problems) == (True, [{}], [])

    run(test)
