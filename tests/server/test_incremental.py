"""A thousand services: an edit sends what it changes, to whom it changes something, and nothing else.

Eight clients: two namespaces that see everything, one that also has private configuration, and one
whose Sidecar imports a single namespace; each with both variants of the protocol.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from controlplane.envoy.types import CLUSTER, ENDPOINT
from tests.support import objects as a
from tests.support.files import MeshFiles
from tests.support.plane import Served, client, serving_files
from tests.support.stage import Stage, staged

SERVICES = 1000
NAMESPACES = ("shop", "bank", "desk", "cell")  # "cell" has a Sidecar that imports only "bank"
PER_NAMESPACE = SERVICES // len(NAMESPACES)

SEES_ALL = frozenset({"shop", "bank", "desk"})
SEES_BANK = frozenset(NAMESPACES)

Edit = Callable[[MeshFiles], None]


def host(name: str, namespace: str) -> str:
    return f"{name}.{namespace}.svc.cluster.local"


def outbound(name: str, namespace: str, port: int = 80, subset: str = "") -> str:
    return f"outbound|{port}|{subset}|{host(name, namespace)}"


def address(number: int) -> str:
    return f"10.1.{number // 250}.{number % 250}"


@asynccontextmanager
async def thousand(directory: Path) -> AsyncIterator[Served]:
    files = MeshFiles(directory / "config")
    numbers = range(SERVICES)
    # One file per object where a test edits it, else a few large ones.
    of = {n: NAMESPACES[n % len(NAMESPACES)] for n in numbers}
    files.write("services.yaml", *(a.service(f"s{n}", of[n], number=n + 10) for n in numbers))
    files.write(
        "endpoints.yaml",
        *(a.endpoints(f"s{n}", [address(n)], of[n]) for n in numbers if n >= len(NAMESPACES)),
    )
    for n in range(len(NAMESPACES)):
        files.put(a.endpoints(f"s{n}", [address(n)], of[n]))
    files.put(a.virtual_service("public", host("s1", "bank"), "bank", timeout="1s"))
    files.put(a.virtual_service("private", host("s2", "desk"), "desk", timeout="1s", export_to=(".",)))
    files.put(a.destination_rule("rule", host("s1", "bank"), "bank", subsets=("v1", "v2"), connections=10))
    files.put(a.sidecar("default", "cell", ("bank/*",)))
    async with serving_files(files, directory / "xds.sock") as served:
        for number, namespace in enumerate(NAMESPACES):
            for protocol in ("DELTA_GRPC", "GRPC"):
                one = client(f"{namespace}-1", namespace, protocol, number=number + 2)
                await served.connect(one, f"{namespace} {protocol}")
        await served.quiet()
        yield served


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage[Served]]:
    with staged(thousand(tmp_path_factory.mktemp("thousand"))) as stage:
        yield stage


async def sent_after(served: Served, edit: Edit) -> dict[str, dict[str, list[str]]]:
    """What an edit sends: {"delta": {namespace: responses}, "sotw": …}, without clients that got nothing."""
    with served.responses() as found:
        edit(served.files)
        await served.quiet()
    by_variant: dict[str, dict[str, list[str]]] = {"delta": {}, "sotw": {}}
    for name, responses in found.items():
        namespace, protocol = name.split()
        if responses:
            by_variant["delta" if protocol == "DELTA_GRPC" else "sotw"][namespace] = responses
    return by_variant


def playing(scene: Callable[[Served], Awaitable[None]]) -> Callable[[Stage[Served]], None]:
    """A test whose body is a coroutine on the shared control plane."""

    def test(mesh: Stage[Served]) -> None:
        mesh.play(scene(mesh.subject))  # type: ignore[arg-type]

    test.__name__, test.__doc__ = scene.__name__, scene.__doc__
    return test


def expect(who: frozenset[str], *responses: str) -> dict[str, list[str]]:
    return {namespace: list(responses) for namespace in who}


@playing
async def test_the_clients_start_with_what_they_see(served: Served) -> None:
    for variant in ("DELTA_GRPC", "GRPC"):
        counts = {ns: len(served.clients[f"{ns} {variant}"].state[ENDPOINT]) for ns in NAMESPACES}
        # Two subsets more than there are services.
        assert counts == dict.fromkeys(SEES_ALL, SERVICES + 2) | {"cell": PER_NAMESPACE + 2}


@playing
async def test_a_public_virtual_service_is_one_route_configuration_for_all(served: Served) -> None:
    new = a.virtual_service("public", host("s1", "bank"), "bank", timeout="2s")
    sent = await sent_after(served, lambda files: files.put(new))
    assert sent["delta"] == sent["sotw"] == expect(SEES_BANK, "rds 80")


@playing
async def test_a_private_virtual_service_is_nobody_elses_business(served: Served) -> None:
    new = a.virtual_service("private", host("s2", "desk"), "desk", timeout="2s", export_to=(".",))
    sent = await sent_after(served, lambda files: files.put(new))
    assert sent["delta"] == sent["sotw"] == expect(frozenset({"desk"}), "rds 80")


@playing
async def test_an_endpoint_is_one_load_assignment(served: Served) -> None:
    new = a.endpoints("s0", [address(0), "10.2.0.1"], "shop")
    sent = await sent_after(served, lambda files: files.put(new))
    # "cell" does not import "shop".
    assert sent["delta"] == sent["sotw"] == expect(SEES_ALL, f"eds {outbound('s0', 'shop')}")


@playing
async def test_writing_a_file_anew_sends_nothing(served: Served) -> None:
    again = a.virtual_service("public", host("s1", "bank"), "bank", timeout="3s")
    served.files.put(again)
    await served.quiet()

    def rewrite(files: MeshFiles) -> None:
        name = files.put(again)
        # Other bytes, the same meaning.
        text = (files.directory / name).read_text()
        files.text(name, "# a comment\n" + text)
        # Read after it, and seen by nobody: proves that the rewritten file has been read.
        files.put(a.pod("unrelated", "10.9.9.9", "nowhere", read="yes"))

    sent = await sent_after(served, rewrite)
    assert sent == {"delta": {}, "sotw": {}}


@playing
async def test_a_destination_rule_is_its_clusters_and_the_echo_of_their_endpoints(served: Served) -> None:
    new = a.destination_rule("rule", host("s1", "bank"), "bank", subsets=("v1", "v2"), connections=20)
    clusters = " ".join(outbound("s1", "bank", 80, subset) for subset in ("v1", "v2", ""))
    sent = await sent_after(served, lambda files: files.put(new))
    assert sent["delta"] == expect(SEES_BANK, f"cds {clusters}", f"eds {clusters}")
    for namespace, responses in sent["sotw"].items():
        # State of the world has no way to say less than all clusters; endpoints it has.
        known = served.clients[f"{namespace} GRPC"].state[CLUSTER]
        assert responses == ["cds " + " ".join(sorted(known)), f"eds {clusters}"]
    assert sent["sotw"].keys() == SEES_BANK


@playing
async def test_a_service_on_a_port_that_exists_needs_no_listener(served: Served) -> None:
    new = a.service("new", "bank", number=2000)
    cluster = outbound("new", "bank")
    sent = await sent_after(served, lambda files: files.put(new))
    assert sent["delta"] == expect(SEES_BANK, f"cds {cluster}", f"eds {cluster}", "rds 80")
    for responses in sent["sotw"].values():
        kinds = [response.split()[0] for response in responses]
        assert kinds == ["cds", "eds", "rds"]
        assert responses[1:] == [f"eds {cluster}", "rds 80"]

    gone = await sent_after(served, lambda files: files.delete(new))
    # The cluster goes when the routes that used it are gone.
    assert gone["delta"] == expect(SEES_BANK, "rds 80", f"cds -{cluster}")
    for responses in gone["sotw"].values():
        assert [response.split()[0] for response in responses] == ["rds", "cds"]
        assert cluster not in responses[1].split()


@playing
async def test_a_service_on_a_new_tcp_port_is_one_listener(served: Served) -> None:
    new = a.service("database", "bank", "tcp=5432", number=2001)
    cluster = outbound("database", "bank", 5432)
    sent = await sent_after(served, lambda files: files.put(new))
    listener = "10.96.8.1_5432"
    assert sent["delta"] == expect(SEES_BANK, f"cds {cluster}", f"eds {cluster}", f"lds {listener}")
    gone = await sent_after(served, lambda files: files.delete(new))
    assert gone["delta"] == expect(SEES_BANK, f"lds -{listener}", f"cds -{cluster}")


@playing
async def test_an_unrelated_object_sends_nothing(served: Served) -> None:
    new = a.destination_rule("dangling", "nowhere.example.com", "shop", connections=1)
    sent = await sent_after(served, lambda files: files.put(new))
    assert sent == {"delta": {}, "sotw": {}}


@playing
async def test_in_the_end_both_variants_have_the_same(served: Served) -> None:
    """Runs last: whatever the edits above did, the two clients of a namespace agree to the byte."""
    for namespace in NAMESPACES:
        delta, sotw = (served.clients[f"{namespace} {variant}"].views() for variant in ("DELTA_GRPC", "GRPC"))
        assert delta == sotw
