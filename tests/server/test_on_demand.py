"""A port with a thousand virtual hosts: a route change is one virtual host, to those that asked for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from controlplane.envoy import pb
from controlplane.envoy.on_demand import asked
from controlplane.envoy.types import ROUTE, VIRTUAL_HOST
from tests.support import objects as a
from tests.support.files import MeshFiles
from tests.support.on_demand import expected
from tests.support.plane import Served, client, serving_files
from tests.support.stage import Stage, staged

HOSTS = 1000
FLAG = "--on-demand-virtual-hosts"
SEVEN = pb.duration(7_000_000_000).SerializeToString()


@asynccontextmanager
async def thousand(directory: Path) -> AsyncIterator[Served]:
    files = MeshFiles(directory / "config")
    files.write("services.yaml", *(a.service(f"s{n}", "shop", number=n + 10) for n in range(HOSTS)))
    files.put(a.virtual_service("s1", "s1", "shop", timeout="1s"))
    async with serving_files(files, directory / "xds.sock", FLAG) as served:
        for number, name in enumerate(("one", "two", "whole"), 2):
            protocol = "GRPC" if name == "whole" else "DELTA_GRPC"
            peer = client(name, "shop", protocol, number=number)
            peer.on_demand = name != "whole"
            await served.connect(peer, name)
        await served.quiet()
        yield served


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage[Served]]:
    with staged(thousand(tmp_path_factory.mktemp("on-demand"))) as stage:
        yield stage


def playing(scene: Callable[[Served], Awaitable[None]]) -> Callable[[Stage[Served]], None]:
    """A test whose body is a coroutine on the shared control plane."""

    def test(mesh: Stage[Served]) -> None:
        mesh.play(scene(mesh.subject))  # type: ignore[arg-type]

    test.__name__, test.__doc__ = scene.__name__, scene.__doc__
    return test


def sizes(served: Served, name: str, since: int) -> list[tuple[str, int]]:
    log = served.clients[name].log[since:]
    return [(one.type_url.rpartition(".")[2], one.size) for one in log]


@playing
async def test_the_start_has_no_virtual_hosts(served: Served) -> None:
    assert served.clients["one"].state[VIRTUAL_HOST] == {}
    assert len(served.clients["one"].state[ROUTE]["80"][1]) < 200
    assert len(served.clients["whole"].state[ROUTE]["80"][1]) > 200_000


@playing
async def test_an_answer_is_what_follows_from_the_whole(served: Served) -> None:
    one = served.clients["one"]
    await one.ask("80/s1", "80/s2.shop:80", "80/nobody.example.org", "80/*")
    await served.quiet()
    routes = served.clients["whole"].views()[ROUTE]
    found = one.views()[VIRTUAL_HOST]
    assert found == {name: expected(routes, name) for name in found}
    assert [name for name, body in found.items() if not body] == ["80/*"]
    assert served.clients["two"].state[VIRTUAL_HOST] == {}


@playing
async def test_a_change_is_one_virtual_host_to_those_that_asked(served: Served) -> None:
    await served.clients["one"].ask("80/s1")
    await served.clients["two"].ask("80/s3")
    await served.quiet()
    before = {name: len(one.log) for name, one in served.clients.items()}
    served.files.put(a.virtual_service("s1", "s1", "shop", timeout="2s"))
    await served.quiet()
    ((kind, size),) = sizes(served, "one", before["one"])
    assert kind == "VirtualHost"
    assert size < 1000
    assert sizes(served, "two", before["two"]) == []
    ((kind, size),) = sizes(served, "whole", before["whole"])
    assert (kind, size > 200_000) == ("RouteConfiguration", True)
    body = served.clients["one"].views()[VIRTUAL_HOST]["80/s1"]
    assert body == expected(served.clients["whole"].views()[ROUTE], "80/s1")


@playing
async def test_who_comes_back_is_sent_what_changed(served: Served) -> None:
    one = served.clients["one"]
    await one.ask("80/s1", "80/s5", "80/s6")
    await served.quiet()
    await served.disconnect("one")
    served.files.put(a.virtual_service("s5", "s5", "shop", timeout="5s"))
    await served.taken_in()
    at = len(one.log)
    await served.connect(one, "one")
    await served.quiet()
    found = [response for response in one.log[at:] if response.type_url == VIRTUAL_HOST]
    assert [response.names for response in found] == [("80/s5",)]
    routes = served.clients["whole"].views()[ROUTE]
    for name in ("80/s1", "80/s5", "80/s6"):
        assert one.views()[VIRTUAL_HOST][name] == expected(routes, name)


@playing
async def test_a_new_service_reaches_who_asked_before_it_was_there(served: Served) -> None:
    two = served.clients["two"]
    await two.ask("80/late")
    await served.quiet()
    assert b"PassthroughCluster" in two.views()[VIRTUAL_HOST]["80/late"]
    served.files.put(a.service("late", "shop", number=5))
    await served.quiet()
    assert b"outbound|80||late.shop.svc.cluster.local" in two.views()[VIRTUAL_HOST]["80/late"]


@playing
async def test_asking_is_forgotten_with_who_asked(served: Served) -> None:
    rows = served.app.graph.rows(asked).values
    await served.clients["one"].ask("80/s1")
    await served.quiet()
    before = set(rows)
    third = await served.connect(client("three", "shop", number=9), "three")
    third.on_demand = True
    await served.quiet()
    await third.ask("80/s1", "80/s700")
    await served.quiet()
    assert {ask.name for ask in set(rows) - before} == {"80/s700"}
    await served.disconnect("three")
    for _ in range(100):
        if set(rows) == before:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("still asked for")


@playing
async def test_a_rejected_virtual_host_is_taken_for_missing_until_it_changes(served: Served) -> None:
    two = served.clients["two"]
    two.verdict = lambda url, found: "no" if any(SEVEN in body for body in found.values()) else None
    served.files.put(a.virtual_service("s8", "s8", "shop", timeout="7s"))
    await served.quiet()
    await two.ask("80/s8")
    await served.quiet()
    assert two.views()[VIRTUAL_HOST]["80/s8"] == b""
    served.files.put(a.virtual_service("s8", "s8", "shop", timeout="9s"))
    await served.quiet()
    two.verdict = None
    routes = served.clients["whole"].views()[ROUTE]
    assert two.views()[VIRTUAL_HOST]["80/s8"] == expected(routes, "80/s8")


def test_without_the_switch_nothing_is_on_demand(tmp_path: Path) -> None:
    async def scene() -> None:
        files = MeshFiles(tmp_path / "config")
        files.put(a.service("s1"))
        async with serving_files(files, tmp_path / "xds.sock") as served:
            one = await served.connect(client("one"), "one")
            await served.quiet()
            assert b"s1.default.svc.cluster.local" in one.views()[ROUTE]["80"]

    asyncio.run(scene())
