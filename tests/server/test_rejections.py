"""What a proxy refuses is a Problem of the object that it was made from, for as long as it refuses it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from controlplane.app import debug
from controlplane.envoy.types import CLUSTER
from controlplane.lab.client import Client, Protocol
from controlplane.model.problem import Problem
from tests.support import objects as a
from tests.support.files import MeshFiles, Object
from tests.support.plane import Served, client, serving_files
from tests.support.waiting import until

pytestmark = pytest.mark.whole
BOTH: tuple[Protocol, ...] = ("DELTA_GRPC", "GRPC")
both = pytest.mark.parametrize("protocol", BOTH)


def picky(name: str, protocol: Protocol, number: int) -> Client:
    """A client that refuses what has "bad" in it, in words that do not tell where."""
    one = client(name, protocol=protocol, number=number)

    def verdict(_type_url: str, resources: Mapping[str, bytes]) -> str | None:
        return "it cannot be" if any(b"bad" in body for body in resources.values()) else None

    one.verdict = verdict
    return one


@asynccontextmanager
async def shop(directory: Path, *others: Object) -> AsyncIterator[Served]:
    """Some services, two VirtualServices among them, and `others`."""
    files = MeshFiles(directory / "config")
    for n in range(3):
        files.put(a.service(f"s{n}", number=n + 10))
    files.put(a.virtual_service("older", "s0.default.svc.cluster.local", prefix="/older"))
    files.put(a.virtual_service("edited", "s1.default.svc.cluster.local", prefix="/good"))
    for other in others:
        files.put(other)
    async with serving_files(files, directory / "xds.sock", "--debounce-after", "0s") as served:
        yield served


def edited(prefix: str) -> Object:
    return a.virtual_service("edited", "s1.default.svc.cluster.local", prefix=prefix)


def errors(served: Served) -> list[Problem]:
    return [one for one in debug.problems(served.app.mesh) if one.level == "error"]


@both
def test_the_object_that_changed_is_told_until_it_is_mended(tmp_path: Path, protocol: Protocol) -> None:
    async def scene() -> None:
        async with shop(tmp_path) as served:
            await served.connect(picky("web-1", protocol, 4))
            await served.connect(picky("web-2", protocol, 5))
            await served.connect(client("calm", protocol=protocol, number=6))
            await served.quiet()
            assert errors(served) == []

            served.files.put(edited("/bad"))
            await served.quiet()
            (one,) = errors(served)
            assert (one.kind, one.namespace, one.name) == ("VirtualService", "default", "edited")
            assert one.file.endswith(".yaml") and one.line is not None
            assert "2 proxies, web-1.default among them, refused RouteConfiguration '80'" in one.message
            assert "what it had of it stays in force there, and all other changes in it wait" in one.message
            assert "Envoy says: 'it cannot be'" in one.message
            assert "VirtualService default/older (" in one.message
            assert one.remedy.startswith("correct this object; ")

            # What others change in the same resource waits with it, and is not to blame.
            served.files.put(a.virtual_service("older", "s0.default.svc.cluster.local", timeout="3s"))
            served.files.put(a.service("new", number=50))
            await served.quiet()
            (still,) = errors(served)
            assert (still.kind, still.name) == ("VirtualService", "edited")

            served.files.put(edited("/mended"))
            await served.quiet()
            assert errors(served) == []

    asyncio.run(scene())


@both
def test_a_service_that_comes_later_is_not_to_blame(tmp_path: Path, protocol: Protocol) -> None:
    async def scene() -> None:
        async with shop(tmp_path) as served:
            await served.connect(picky("web-1", protocol, 4))
            await served.quiet()
            served.files.put(edited("/bad"))
            await served.quiet()
            served.files.put(a.service("new", number=50))
            await served.quiet()
            served.files.put(edited("/bad/as-before"))
            await served.quiet()
            (one,) = errors(served)
            assert one.name == "edited"
            assert one.message.startswith("proxy web-1.default refused RouteConfiguration '80'")

    asyncio.run(scene())


@both
def test_it_goes_with_the_proxy_and_comes_with_a_new_one(tmp_path: Path, protocol: Protocol) -> None:
    async def scene() -> None:
        async with shop(tmp_path) as served:
            await served.connect(picky("web-1", protocol, 4), "web-1")
            await served.quiet()
            served.files.put(edited("/bad"))
            await served.quiet()
            assert [one.name for one in errors(served)] == ["edited"]
            await served.disconnect("web-1")
            await until(lambda: not served.app.xds.streams, "the stream does not end")
            assert errors(served) == []
            # One that never had another version of it has nothing to go on with.
            await served.connect(picky("web-2", protocol, 5))
            await until(lambda: errors(served), "nobody refuses it")
            (one,) = errors(served)
            assert one.kind == "VirtualService"
            assert "nothing of it is in force there" in one.message
            # It refuses what was there before it came: what changes later is not to blame.
            served.files.put(a.service("new", number=50))
            await served.taken_in()
            await until(lambda: len(errors(served)) == 1, "it is refused no more")
            assert errors(served)[0].kind == "VirtualService"

    asyncio.run(scene())


def test_it_is_shown_and_counted_where_all_problems_are(tmp_path: Path) -> None:
    async def scene() -> None:
        async with shop(tmp_path) as served:
            await served.connect(picky("web-1", "DELTA_GRPC", 4))
            await served.quiet()
            served.files.put(edited("/bad"))
            await served.quiet()
            monitoring = served.app.monitoring
            assert monitoring._runner is not None
            host, port = monitoring._runner.addresses[0]
            async with aiohttp.ClientSession(f"http://{host}:{port}") as session:
                async with session.get("/debug/problems") as response:
                    shown = await response.json()
                async with session.get("/metrics") as response:
                    metrics = await response.text()
            (found,) = [one for one in shown if one["level"] == "error"]
            assert (found["kind"], found["name"]) == ("VirtualService", "edited")
            assert 'problems{level="error"} 1.0' in metrics

    asyncio.run(scene())


def naming() -> Client:
    """A client that refuses clusters with "bad" in them, all in one text that names them as Envoy does."""
    one = client("web-1", number=4)

    def verdict(type_url: str, resources: Mapping[str, bytes]) -> str | None:
        bad = [name for name, body in resources.items() if b"bad" in body]
        if type_url != CLUSTER or not bad:
            return None
        return "Error adding/updating cluster(s) " + ", ".join(f"{name}: no such value" for name in bad)

    one.verdict = verdict
    return one


def test_one_text_about_many_is_told_of_each_object(tmp_path: Path) -> None:
    """Nothing that changed with them, or is older, is taken for it; what is the same is told once."""

    def rules(subset: str) -> list[Object]:
        return [
            a.destination_rule(f"rule-{n}", f"s{n}.default.svc.cluster.local", subsets=(subset,))
            for n in (0, 1)
        ]

    async def scene() -> None:
        async with shop(tmp_path) as served:
            await served.connect(naming())
            await served.quiet()
            for rule in rules("bad"):
                served.files.put(rule)
            await served.quiet()
            found = errors(served)
            assert [(one.kind, one.name) for one in found] == [
                ("DestinationRule", "rule-0"),
                ("DestinationRule", "rule-1"),
            ]
            for n, one in enumerate(found):
                assert f"refused Cluster 'outbound|80|bad|s{n}.default.svc.cluster.local'" in one.message
                assert "no such value" in one.message
            for rule in rules("good"):
                served.files.put(rule)
            await served.quiet()
            assert errors(served) == []

    asyncio.run(scene())
