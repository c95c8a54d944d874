"""From a file to the rows of the graph: directory, ingest and debouncer as the application wires them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from controlplane.base.clock import SystemClock
from controlplane.graph import Graph
from controlplane.model.keys import Key
from controlplane.model.kinds import services
from controlplane.sources.directory import DirectorySource
from controlplane.sources.directory.follow import Limits
from controlplane.store.debounce import Batch, Debouncer, Timing
from controlplane.store.ingest import Ingest

PATIENCE = 10.0
A = Key("default", "a")


def service(name: str, port: object = 80) -> str:
    return f"apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{ports: [{{port: {port}}}]}}\n"


class Pipeline:
    def __init__(self, root: Path) -> None:
        self.graph = Graph()
        self.batches: list[Batch] = []
        self._committed = asyncio.Event()
        clock = SystemClock()
        self.debouncer = Debouncer(clock, self._commit, Timing(after=0.02, max=1.0))
        self.ingest = Ingest(self.debouncer, expected=("directory",), clock=clock)
        self.source = DirectorySource(root, clock=clock, limits=Limits(settle=0.02))

    def _commit(self, batch: Batch) -> None:
        self.graph.commit(batch.writes)
        self.batches.append(batch)
        self._committed.set()

    async def batch(self) -> Batch:
        """The next batch."""
        count = len(self.batches)
        async with asyncio.timeout(PATIENCE):
            while len(self.batches) == count:
                self._committed.clear()
                await self._committed.wait()
        return self.batches[-1]

    def port(self, key: Key) -> int | None:
        row = self.graph.rows(services).values.get(key)
        return row.ports[0].port if row else None


@asynccontextmanager
async def running(root: Path) -> AsyncIterator[Pipeline]:
    pipeline = Pipeline(root)
    async with asyncio.TaskGroup() as tasks:
        started = [
            tasks.create_task(pipeline.debouncer.run()),
            tasks.create_task(pipeline.source.run(pipeline.ingest)),
        ]
        try:
            async with asyncio.timeout(PATIENCE):
                await pipeline.ingest.wait_synced()
                await pipeline.debouncer.settled()
            yield pipeline
        finally:
            for task in started:
                task.cancel()


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await test()

    asyncio.run(main())


def test_what_is_there_at_the_start_is_one_batch(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.yaml").write_text(service(name))

    async def test() -> None:
        async with running(tmp_path) as pipeline:
            assert [len(batch.writes) for batch in pipeline.batches] == [3]
            assert pipeline.graph.revision == 1

    run(test)


def test_an_edit_is_one_write_with_its_change(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(service("a") + "---\n" + service("b"))

    async def test() -> None:
        async with running(tmp_path) as pipeline:
            (tmp_path / "a.yaml").write_text(service("a", 81) + "---\n" + service("b"))
            batch = await pipeline.batch()
            assert [key for _, key, _ in batch.writes] == [A]
            (change,) = batch.changes
            assert (change.origin, change.name) == ("a.yaml:1", "a")
            assert change.at <= (change.received or 0) <= batch.opened <= batch.closed
            assert pipeline.port(A) == 81

    run(test)


def test_rewrites_renames_and_mistakes_are_no_batch(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(service("a"))

    async def test() -> None:
        async with running(tmp_path) as pipeline:
            (tmp_path / "a.yaml").write_text(service("a"))
            await asyncio.sleep(0.1)
            (tmp_path / "a.yaml").write_text("# moved down\n" + service("a"))
            await asyncio.sleep(0.1)
            (tmp_path / "a.yaml").rename(tmp_path / "b.yaml")
            await asyncio.sleep(0.1)
            (tmp_path / "b.yaml").write_text(service("a", "eighty"))
            await asyncio.sleep(0.1)
            (tmp_path / "b.yaml").write_text(service("a") + "oops: [\n")
            await asyncio.sleep(0.1)
            assert len(pipeline.batches) == 1
            assert pipeline.port(A) == 80
            assert {problem.file for problem in pipeline.ingest.problems()} == {"b.yaml"}
            # One more object shows that all of the above was seen.
            (tmp_path / "c.yaml").write_text(service("c"))
            assert [key.name for _, key, _ in (await pipeline.batch()).writes] == ["c"]

    run(test)


def test_a_removed_copy_gives_way_to_the_other(tmp_path: Path) -> None:
    (tmp_path / "1.yaml").write_text(service("a", 81))
    (tmp_path / "2.yaml").write_text(service("a", 82))

    async def test() -> None:
        async with running(tmp_path) as pipeline:
            assert pipeline.port(A) == 81
            (problem,) = pipeline.ingest.problems()
            assert (problem.file, problem.line) == ("2.yaml", 1)
            assert "1.yaml:1" in problem.message
            (tmp_path / "1.yaml").unlink()
            await pipeline.batch()
            assert pipeline.port(A) == 82
            assert pipeline.ingest.problems() == []

    run(test)
