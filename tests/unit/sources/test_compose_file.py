"""The Compose source, round by round: names that come, go and fail, files that are edited and broken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from controlplane.sources.docker.compose_file import ComposeFileSource
from tests.support.inbox import Inbox
from tests.support.rounds import Rounds

FILE = """
services:
  web: {expose: ["80"]}
  db: {expose: ["5432"], labels: {mini-istiod.protocol: tcp}}
"""


class World:
    """The clock, the resolver and the sink of one source."""

    def __init__(self) -> None:
        self.names: dict[str, tuple[str, ...]] = {"web": ("10.0.0.2",), "db": ("10.0.0.3",)}
        self.inbox = Inbox("compose")
        self.clock = Rounds()

    async def resolve(self, name: str) -> Sequence[str]:
        if name not in self.names:
            raise OSError("not known")
        return self.names[name]

    @property
    def where(self) -> dict[str, list[str]]:
        """Service -> addresses of its endpoints."""
        return {name: [one for one, *_ in self.inbox.endpoints(name)] for name in ("web", "db")}

    @property
    def told(self) -> list[tuple[str, str]]:
        """(file, message) of the errors."""
        found = self.inbox.problems.get("compose:", ())
        return [(Path(one.file).name, one.message) for one in found if one.level == "error"]


def write(path: Path, text: str) -> None:
    path.write_text(text)


def remove(path: Path) -> None:
    path.unlink()


@asynccontextmanager
async def following(world: World, *paths: Path) -> AsyncIterator[None]:
    source = ComposeFileSource(paths, resolve=world.resolve, environ={}, clock=world.clock)
    task = asyncio.create_task(source.run(world.inbox))
    try:
        await asyncio.wait_for(world.clock.begun(), 5)
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def in_world(test: Callable[[World, Path], Awaitable[None]], folder: Path) -> None:
    path = folder / "docker-compose.yml"
    path.write_text(FILE)

    async def main() -> None:
        world = World()
        async with following(world, path):
            await asyncio.wait_for(test(world, path), 5)

    asyncio.run(main())


def test_what_is_there_is_delivered_then_synced_and_then_nothing(tmp_path: Path) -> None:
    async def test(world: World, path: Path) -> None:
        assert world.inbox.synced_with is not None and ("Service", "web") in world.inbox.synced_with
        assert world.where == {"web": ["10.0.0.2"], "db": ["10.0.0.3"]}
        (batch,) = world.inbox.batches
        assert {change.origin.file for change in batch if change.origin} >= {"compose:web", "compose:db"}
        assert {change.at for change in batch} == {5.0}
        await world.clock.next(3)
        assert len(world.inbox.batches) == 1
        assert world.told == []

    in_world(test, tmp_path)


def test_a_new_address_is_believed_at_once_and_a_missing_name_when_it_is_missed_twice(tmp_path: Path) -> None:
    async def test(world: World, path: Path) -> None:
        world.names["web"] = ("10.0.0.9",)
        del world.names["db"]
        await world.clock.next()
        assert world.where == {"web": ["10.0.0.9"], "db": ["10.0.0.3"]}
        await world.clock.next()
        assert world.where == {"web": ["10.0.0.9"], "db": []}
        assert ("Service", "db") in world.inbox.rows
        world.names["db"] = ("10.0.0.3",)
        await world.clock.next()
        assert world.where == {"web": ["10.0.0.9"], "db": ["10.0.0.3"]}

    in_world(test, tmp_path)


def test_an_outage_of_dns_empties_nothing_and_says_since_when(tmp_path: Path) -> None:
    async def test(world: World, path: Path) -> None:
        names, world.names = world.names, {}
        await world.clock.next(5)
        assert world.where == {"web": ["10.0.0.2"], "db": ["10.0.0.3"]}
        ((place, message),) = world.told
        assert place == "DNS" and "since 01:46:40 UTC" in message and "stay in use" in message
        world.names = {"web": names["web"]}
        await world.clock.next()
        assert world.told == [] and world.where == {"web": ["10.0.0.2"], "db": ["10.0.0.3"]}
        await world.clock.next()
        assert world.where == {"web": ["10.0.0.2"], "db": []}

    in_world(test, tmp_path)


def test_a_broken_file_keeps_what_was_read_from_it(tmp_path: Path) -> None:
    async def test(world: World, path: Path) -> None:
        write(path, "services: {web: [")
        await world.clock.next()
        assert world.where == {"web": ["10.0.0.2"], "db": ["10.0.0.3"]}
        ((place, message),) = world.told
        assert place == "docker-compose.yml" and "stays in use" in message
        write(path, "services: {web: {expose: ['81']}}")
        await world.clock.next()
        assert world.told == [] and world.where == {"web": ["10.0.0.2"], "db": []}
        remove(path)
        await world.clock.next()
        assert world.where["web"] == ["10.0.0.2"]
        assert "cannot be read" in world.told[0][1]

    in_world(test, tmp_path)


def test_it_is_not_synced_before_all_files_were_read(tmp_path: Path) -> None:
    async def main() -> None:
        world = World()
        first, second = tmp_path / "a.yml", tmp_path / "b.yml"
        first.write_text(FILE)
        async with following(world, first, second):
            assert world.inbox.synced_with is None and world.where["web"] == ["10.0.0.2"]
            second.write_text("services: {web: {expose: ['81']}}")
            await world.clock.next()
            assert world.inbox.synced_with is not None
            web = world.inbox.rows["Service", "web"]
            assert [port["port"] for port in web["spec"]["ports"]] == [80, 81]

    asyncio.run(main())
