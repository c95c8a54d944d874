"""The directory source over a real directory, a real watch and the real clock.

The tests wait for facts, not for times.
"""

from __future__ import annotations

import asyncio
import shutil
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from controlplane.model.problem import Problem
from controlplane.sources.change import Change
from controlplane.sources.directory import DirectorySource, watch
from controlplane.sources.directory.follow import Limits

PATIENCE = 10.0
"""Seconds until a test gives up; reached only when something is wrong."""


def service(name: str, port: int = 80) -> str:
    return f"apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{ports: [{{port: {port}}}]}}\n"


class Inbox:
    """A sink that remembers, and wakes whoever waits for something to become true."""

    def __init__(self) -> None:
        self.ports: dict[tuple[str, str], int] = {}
        self.batches: list[list[Change]] = []
        self.problems: dict[str, tuple[Problem, ...]] = {}
        self.synced_at: int | None = None
        self._changed = asyncio.Event()

    async def apply(self, changes: Sequence[Change]) -> None:
        self.batches.append(list(changes))
        for change in changes:
            assert change.origin is not None
            where = (change.key.name, change.origin.file)
            if change.raw is None:
                del self.ports[where]
            else:
                self.ports[where] = change.raw["spec"]["ports"][0]["port"]
        self._changed.set()

    def report(self, where: str, problems: Sequence[Problem]) -> None:
        self.problems.pop(where, None)
        if problems:
            self.problems[where] = tuple(problems)
        self._changed.set()

    def synced(self, source: str) -> None:
        assert source == "directory"
        assert self.synced_at is None
        self.synced_at = len(self.batches)
        self._changed.set()

    async def until(self, fact: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not fact():
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def following(root: Path, *, synced: bool = True, **options: float) -> AsyncIterator[Inbox]:
    """Run a source over a directory until the block ends."""
    inbox = Inbox()
    limits = Limits(settle=0.05, grace=0.3)
    task = asyncio.create_task(DirectorySource(root, limits=limits, **options).run(inbox))  # type: ignore[arg-type]
    try:
        if synced:
            await inbox.until(lambda: inbox.synced_at is not None)
        yield inbox
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await test()

    asyncio.run(main())


def test_everything_there_comes_before_synced(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.yaml").write_text(service("a"))
    (tmp_path / "sub/b.yml").write_text(service("b"))

    async def test() -> None:
        async with following(tmp_path) as inbox:
            assert set(inbox.ports) == {("a", "a.yaml"), ("b", "sub/b.yml")}
            assert inbox.synced_at == len(inbox.batches) == 1
            ids = [change.id for change in inbox.batches[0]]
            assert ids == sorted(set(ids))

    run(test)


def test_edits_renames_and_deletions_arrive(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(service("a"))

    async def test() -> None:
        async with following(tmp_path) as inbox:
            (tmp_path / "a.yaml").write_text(service("a", 81))
            await inbox.until(lambda: inbox.ports["a", "a.yaml"] == 81)
            (tmp_path / ".new").write_text(service("a", 82))
            (tmp_path / ".new").replace(tmp_path / "a.yaml")
            await inbox.until(lambda: inbox.ports["a", "a.yaml"] == 82)
            (tmp_path / "a.yaml").rename(tmp_path / "b.yaml")
            await inbox.until(lambda: inbox.ports == {("a", "b.yaml"): 82})
            # Both halves of a rename come together.
            assert {change.raw is None for change in inbox.batches[-1]} == {True, False}
            (tmp_path / "b.yaml").unlink()
            await inbox.until(lambda: not inbox.ports)

    run(test)


def test_new_directories_are_watched(tmp_path: Path) -> None:
    async def test() -> None:
        async with following(tmp_path) as inbox:
            deep = tmp_path / "x/y"
            deep.mkdir(parents=True)
            (deep / "a.yaml").write_text(service("a"))
            await inbox.until(lambda: ("a", "x/y/a.yaml") in inbox.ports)
            (deep / "a.yaml").write_text(service("a", 81))
            await inbox.until(lambda: inbox.ports["a", "x/y/a.yaml"] == 81)
            (tmp_path / "x").rename(tmp_path / "z")
            await inbox.until(lambda: set(inbox.ports) == {("a", "z/y/a.yaml")})

    run(test)


def test_a_configmap_swap_arrives_by_events(tmp_path: Path) -> None:
    (tmp_path / "..1").mkdir()
    (tmp_path / "..1/a.yaml").write_text(service("a"))
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")

    async def test() -> None:
        # No sweep within the patience of the test.
        async with following(tmp_path, sweep=3600.0) as inbox:
            await asyncio.sleep(2 * watch.TICK)
            (tmp_path / "..2").mkdir()
            (tmp_path / "..2/a.yaml").write_text(service("a", 81))
            (tmp_path / "..data_tmp").symlink_to("..2")
            (tmp_path / "..data_tmp").replace(tmp_path / "..data")
            await inbox.until(lambda: inbox.ports == {("a", "a.yaml"): 81})
            assert inbox.problems == {}

    run(test)


def test_a_link_out_of_the_tree_is_swept(tmp_path: Path) -> None:
    root, outside = tmp_path / "config", tmp_path / "outside.yaml"
    root.mkdir()
    outside.write_text(service("a"))
    (root / "a.yaml").symlink_to(outside)

    async def test() -> None:
        async with following(root, sweep=0.05) as inbox:
            outside.write_text(service("a", 81))
            await inbox.until(lambda: inbox.ports["a", "a.yaml"] == 81)

    run(test)


def test_a_broken_document_is_a_problem_and_its_neighbours_live(tmp_path: Path) -> None:
    good = [service("a"), service("b"), service("c")]
    (tmp_path / "a.yaml").write_text("---\n".join(good))

    async def test() -> None:
        async with following(tmp_path) as inbox:
            good[1:] = ["oops: [1\n", service("c", 81)]
            (tmp_path / "a.yaml").write_text("---\n".join(good))
            await inbox.until(lambda: "directory:a.yaml" in inbox.problems)
            assert inbox.ports == {("a", "a.yaml"): 80, ("b", "a.yaml"): 80, ("c", "a.yaml"): 81}
            (problem,) = inbox.problems["directory:a.yaml"]
            assert (problem.file, problem.line, problem.level) == ("a.yaml", 6, "error")

    run(test)


def test_the_directory_vanishes_and_returns(tmp_path: Path) -> None:
    root = tmp_path / "config"
    root.mkdir()
    (root / "a.yaml").write_text(service("a"))
    (root / "b.yaml").write_text(service("b"))

    async def test() -> None:
        async with following(root) as inbox:
            shutil.rmtree(root)
            await inbox.until(lambda: "directory:" in inbox.problems)
            await asyncio.sleep(0.3)
            assert len(inbox.ports) == 2
            root.mkdir()
            await inbox.until(lambda: "empty" in inbox.problems["directory:"][0].message)
            (root / "a.yaml").write_text(service("a", 81))
            await inbox.until(lambda: inbox.ports["a", "a.yaml"] == 81)
            await inbox.until(lambda: inbox.ports == {("a", "a.yaml"): 81})
            assert inbox.problems == {}
            # And it is watched again.
            (root / "a.yaml").write_text(service("a", 82))
            await inbox.until(lambda: inbox.ports["a", "a.yaml"] == 82)

    run(test)


def test_a_directory_made_anew_in_a_moment_is_watched_again(tmp_path: Path) -> None:
    root = tmp_path / "config"
    root.mkdir()
    (root / "a.yaml").write_text(service("a"))
    (root / "b.yaml").write_text(service("b"))

    async def test() -> None:
        async with following(root, sweep=3600.0) as inbox:
            await asyncio.sleep(2 * watch.TICK)
            # The new directory often gets the inode of the old one.
            shutil.rmtree(root)
            root.mkdir()
            await asyncio.sleep(0.5)
            assert len(inbox.ports) == 2
            (root / "a.yaml").write_text(service("a", 81))
            await inbox.until(lambda: inbox.ports == {("a", "a.yaml"): 81})
            (root / "a.yaml").write_text(service("a", 82))
            await inbox.until(lambda: inbox.ports["a", "a.yaml"] == 82)

    run(test)


def test_it_waits_for_a_directory_that_does_not_exist(tmp_path: Path) -> None:
    root = tmp_path / "config"

    async def test() -> None:
        async with following(root, synced=False) as inbox:
            await inbox.until(lambda: "directory:" in inbox.problems)
            assert inbox.synced_at is None
            root.mkdir()
            (root / "a.yaml").write_text(service("a"))
            await inbox.until(lambda: inbox.synced_at is not None and bool(inbox.ports))
            assert inbox.problems == {}

    run(test)


def test_a_no_op_rewrite_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(service("a"))

    async def test() -> None:
        async with following(tmp_path) as inbox:
            for _ in range(3):
                (tmp_path / "a.yaml").write_text(service("a"))
                await asyncio.sleep(0.02)
            (tmp_path / "b.yaml").write_text(service("b"))
            await inbox.until(lambda: ("b", "b.yaml") in inbox.ports)
            assert [change.key.name for batch in inbox.batches for change in batch] == ["a", "b"]

    run(test)


def test_without_a_watch_it_sweeps_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> object:
        raise OSError(28, "OS file watch limit reached")

    monkeypatch.setattr(watch, "RETRY", 0.1)
    refused = pytest.MonkeyPatch()
    refused.setattr(watch, "Inotify", refuse)

    async def test() -> None:
        async with following(tmp_path, sweep=0.05) as inbox:
            await inbox.until(lambda: "directory:watch" in inbox.problems)
            (problem,) = inbox.problems["directory:watch"]
            assert problem.level == "warning"
            assert "watch limit" in problem.message
            (tmp_path / "a.yaml").write_text(service("a"))
            await inbox.until(lambda: ("a", "a.yaml") in inbox.ports)
            refused.undo()
            await inbox.until(lambda: not inbox.problems)

    run(test)


def test_cancelling_ends_all_threads(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(service("a"))
    before = set(threading.enumerate())

    async def test() -> None:
        async with following(tmp_path):
            await asyncio.sleep(2 * watch.TICK)
            assert len(set(threading.enumerate()) - before) >= 1
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert not any(thread.name.startswith("directory") for thread in threading.enumerate())

    run(test)
    # The watch's thread belongs to anyio's pool, which ends with the loop.
    for thread in set(threading.enumerate()) - before:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_a_sink_that_fails_ends_the_source(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(service("a"))

    class Failing(Inbox):
        async def apply(self, changes: Sequence[Change]) -> None:
            raise RuntimeError("the sink is broken")

    async def test() -> None:
        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.timeout(PATIENCE):
                await DirectorySource(tmp_path).run(Failing())
        assert caught.group_contains(RuntimeError, match="the sink is broken")

    run(test)


@pytest.mark.parametrize("style", ["documents", "one list"])
def test_reading_a_large_file_does_not_stall_the_loop(tmp_path: Path, style: str) -> None:
    services = [service(f"s{number}") for number in range(6000)]
    if style == "documents":
        text = "---\n".join(services)
    else:
        items = "".join("- " + one.replace("\n", "\n  ").rstrip() + "\n" for one in services)
        text = "apiVersion: v1\nkind: List\nitems:\n" + items

    async def test() -> None:
        async with following(tmp_path) as inbox:
            (tmp_path / ".new").write_text(text)
            (tmp_path / ".new").replace(tmp_path / "a.yaml")
            # By the clock of our own work: what others do on the machine is no stall of ours.
            begin = time.process_time()
            longest = 0.0
            while not inbox.ports:
                before = time.process_time()
                await asyncio.sleep(0.001)
                longest = max(longest, time.process_time() - before)
            assert len(inbox.ports) == 6000
            # A stall would be as long as the whole reading.
            assert longest < (time.process_time() - begin) / 2

    run(test)


def test_what_moves_within_the_tree_is_watched_where_it_is_now(tmp_path: Path) -> None:
    (tmp_path / "x/y").mkdir(parents=True)
    (tmp_path / "x/y/a.yaml").write_text(service("a"))
    (tmp_path / "link").symlink_to(tmp_path / "x", target_is_directory=True)
    (tmp_path / "x/up").symlink_to("..", target_is_directory=True)

    async def test() -> None:
        # Without sweeps: only events can tell.
        async with following(tmp_path, sweep=3600.0) as inbox:
            await asyncio.sleep(2 * watch.TICK)
            (tmp_path / "x/y/a.yaml").write_text(service("a", 79))
            await inbox.until(lambda: set(inbox.ports.values()) == {79})
            assert len(inbox.ports) == 2
            (tmp_path / "link").unlink()
            await inbox.until(lambda: set(inbox.ports) == {("a", "x/y/a.yaml")})
            (tmp_path / "x/y/a.yaml").write_text(service("a", 80))
            await inbox.until(lambda: inbox.ports == {("a", "x/y/a.yaml"): 80})
            (tmp_path / "x").rename(tmp_path / "z")
            await inbox.until(lambda: set(inbox.ports) == {("a", "z/y/a.yaml")})
            (tmp_path / "z/y/a.yaml").write_text(service("a", 81))
            await inbox.until(lambda: inbox.ports == {("a", "z/y/a.yaml"): 81})
            (tmp_path / "z/new").mkdir()
            (tmp_path / "z/new/b.yaml").write_text(service("b"))
            await inbox.until(lambda: ("b", "z/new/b.yaml") in inbox.ports)

    run(test)
