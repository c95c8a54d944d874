"""What one client does is nobody else's trouble: it reads nothing, answers late, or rejects.

The push throttle has a single slot here, so that whoever held on to it would hold up everybody.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median, quantiles

import pytest

from controlplane.envoy.types import CLUSTER, ROUTE
from controlplane.lab.client import Client, Protocol, Received
from tests.support import objects as a
from tests.support.files import MeshFiles
from tests.support.plane import Served, client, serving_files
from tests.support.waiting import until

pytestmark = pytest.mark.whole

SERVICES = 400
"""Enough for a route configuration that does not fit into the window of a client that reads nothing."""
WINDOW = 65535
OTHERS = 10
BLOCK = 5
BOTH: tuple[Protocol, ...] = ("DELTA_GRPC", "GRPC")


@asynccontextmanager
async def crowd(directory: Path) -> AsyncIterator[Served]:
    """Many services, and clients called "0", "1", … of both variants."""
    files = MeshFiles(directory / "config")
    files.write("services.yaml", *(a.service(f"s{n}", number=n + 10) for n in range(SERVICES)))
    async with serving_files(files, directory / "xds.sock", "--push-throttle", "1") as served:
        for n in range(OTHERS):
            await served.connect(client(f"other-{n}", protocol=BOTH[n % 2], number=n + 2), str(n))
        await served.quiet()
        yield served


async def times(served: Served, rounds: range) -> list[float]:
    """Seconds from an edit to its arrival, for every client but "odd" and every round."""
    others = [one for name, one in served.clients.items() if name != "odd"]
    loop = asyncio.get_running_loop()
    found: list[float] = []
    for number in rounds:
        arrived: dict[int, float] = {}

        def note(received: Received, who: int, arrived: dict[int, float] = arrived) -> None:
            if received.type_url == ROUTE:
                arrived.setdefault(who, received.at)

        for who, one in enumerate(others):
            one.on_response = lambda received, who=who, note=note: note(received, who)
        began = loop.time()
        served.files.put(
            a.virtual_service("edited", "s1.default.svc.cluster.local", timeout=f"{number + 1}s")
        )
        await until(lambda arrived=arrived: len(arrived) == len(others), "an edit does not arrive", 10)
        found += [at - began for at in arrived.values()]
    return found


@pytest.mark.parametrize(
    ("oddity", "protocol"), [("stalled", "DELTA_GRPC"), ("stalled", "GRPC"), ("slow", "DELTA_GRPC")]
)
def test_an_odd_client_delays_nobody(tmp_path: Path, oddity: str, protocol: Protocol) -> None:
    async def scene() -> None:
        async with crowd(tmp_path) as served:
            odd = await served.connect(client("odd", protocol=protocol, number=99), "odd", window=WINDOW)
            await served.quiet()
            # A busy machine may spoil one comparison; what an odd client causes spoils all of them.
            for attempt in range(3):
                without, beside = await compared(served, odd, oddity, attempt)
                told = f"median {median(without):.3f} -> {median(beside):.3f} s, "
                told += f"p90 {p90(without):.3f} -> {p90(beside):.3f} s"
                print(f"{oddity} {protocol}: {told}")
                if median(beside) < 1.5 * median(without) and p90(beside) < 2 * p90(without):
                    return
            raise AssertionError(told)

    asyncio.run(scene())


async def compared(served: Served, odd: Client, oddity: str, attempt: int) -> tuple[list[float], list[float]]:
    """The others' times without the oddity and beside it, taken in turns."""
    without, beside = [], []
    for turn in range(2):
        first = (attempt * 2 + turn) * 2 * BLOCK
        without += await times(served, range(first, first + BLOCK))
        await served.quiet()
        seen = len(odd.log)
        odd.stalled, odd.ack_delay = oddity == "stalled", 0.4 * (oddity == "slow")
        beside += await times(served, range(first + BLOCK, first + 2 * BLOCK))
        odd.stalled, odd.ack_delay = False, 0.0
        await served.quiet()
        # It goes straight to what is true now: there was no queue for it.
        assert 0 < len(odd.log) - seen < BLOCK
        assert odd.views() == served.clients["0"].views()
    assert len(without) == len(beside) == 2 * BLOCK * OTHERS
    return without, beside


def p90(values: list[float]) -> float:
    return quantiles(values, n=10)[-1]


# -- rejections ---------------------------------------------------------------------------------


def picky(name: str, protocol: Protocol, number: int) -> Client:
    """A client that rejects every response with a resource that has "bad" in it; it does not say which."""
    one = client(name, protocol=protocol, number=number)

    def verdict(_type_url: str, resources: Mapping[str, bytes]) -> str | None:
        return "no" if any(b"bad" in body for body in resources.values()) else None

    one.verdict = verdict
    return one


@asynccontextmanager
async def picky_pair(directory: Path) -> AsyncIterator[tuple[Served, dict[str, Client]]]:
    """Two clients that reject what is bad, beside two that take everything."""
    files = MeshFiles(directory / "config")
    for n in range(8):
        files.put(a.service(f"s{n}", number=n + 10))
        files.put(a.endpoints(f"s{n}", [f"10.1.0.{n}"]))
    async with serving_files(files, directory / "xds.sock") as served:
        rejecting = {}
        for n, protocol in enumerate(BOTH):
            await served.connect(client("calm", protocol=protocol, number=n + 2), f"calm {protocol}")
            rejecting[protocol] = await served.connect(picky("picky", protocol, n + 4), f"picky {protocol}")
        await served.quiet()
        yield served, rejecting


def route(served: Served, name: str) -> bytes:
    return served.clients[name].state[ROUTE]["80"][1]


def test_who_rejects_a_route_keeps_the_last_good_one_and_gets_all_else(tmp_path: Path) -> None:
    async def scene() -> None:
        async with picky_pair(tmp_path) as (served, rejecting):
            files, calm = served.files, served.clients["calm DELTA_GRPC"]
            good = route(served, "calm DELTA_GRPC")

            files.put(a.virtual_service("edited", "s1.default.svc.cluster.local", prefix="/bad"))
            await served.quiet()
            assert b"/bad" in route(served, "calm DELTA_GRPC") == route(served, "calm GRPC")
            assert {route(served, f"picky {protocol}") for protocol in BOTH} == {good}

            # Something else, and the same resource again, as bad as before.
            files.put(a.endpoints("s2", ["10.1.0.2", "10.1.0.3"]))
            files.put(a.virtual_service("other", "s3.default.svc.cluster.local", timeout="3s"))
            files.put(a.service("new", number=50))
            await served.quiet()
            for one in rejecting.values():
                seen = calm.views()
                assert one.views() == {**seen, ROUTE: {**seen[ROUTE], "80": good}}

            files.put(a.virtual_service("edited", "s1.default.svc.cluster.local", prefix="/fine"))
            await served.quiet()
            for one in rejecting.values():
                assert one.views() == calm.views()
            assert b"/fine" in route(served, "calm GRPC")

    asyncio.run(scene())


def test_a_rejected_cluster_is_found_among_good_ones(tmp_path: Path) -> None:
    async def scene() -> None:
        async with picky_pair(tmp_path) as (served, rejecting):
            files, calm = served.files, served.clients["calm GRPC"]
            # One batch: four new clusters, of which the client says only that something is wrong.
            files.write("new.yaml", *(a.service(f"{name}-new", number=60) for name in ("a", "bad", "c", "d")))
            await served.quiet()
            bad = "outbound|80||bad-new.default.svc.cluster.local"
            assert bad in calm.state[CLUSTER]
            for one in rejecting.values():
                assert calm.state[CLUSTER].keys() - one.state[CLUSTER].keys() == {bad}

            files.remove("new.yaml")
            await served.quiet()
            for one in rejecting.values():
                assert one.views() == calm.views()

    asyncio.run(scene())
