"""A fleet of synthetic proxies on the control plane as users run it: every behaviour, in both variants."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator
from concurrent import futures
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import grpc
import pytest

from controlplane.envoy import pb
from controlplane.envoy.types import CLUSTER, LISTENER
from controlplane.lab.churn import markers
from controlplane.lab.churn.mesh import Mesh
from controlplane.lab.fleet import Behaviour, Delay, Fleet, FleetError, FleetOptions, Nack, Receipt, Stall
from controlplane.lab.fleet.requests import DELTA_PATH
from controlplane.lab.waiting import wait_until
from tests.support.process import Process, started

pytestmark = pytest.mark.whole

PROXIES = 24
SIZE = Mesh(services=12, endpoints=3, namespaces=3)
NODES = [SIZE.node(i) for i in range(PROXIES)]
QUIET = 0.15
PROTOCOLS: tuple[Any, ...] = ("DELTA_GRPC", "GRPC")
both = pytest.mark.parametrize("protocol", PROTOCOLS)


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("fleet")
    with started(folder, "--debounce-after", "10ms") as one:
        for raw in SIZE.objects():
            one.files.put(raw)
        one.wait_ready()
        one.wait(lambda: len(one.get("/debug/configz").json) >= len(list(SIZE.objects())), "all is read")
        yield one


@pytest.fixture(scope="module", params=PROTOCOLS)
def shared(request: pytest.FixtureRequest, process: Process) -> Iterator[Fleet]:
    with fleet(process, request.param, processes=2) as one:
        yield one


@pytest.fixture
def one(shared: Fleet) -> Fleet:
    """A fleet that behaves, is connected and warm."""
    shared.behave(Behaviour())
    shared.drop()
    shared.forget()
    shared.endings()
    shared.connect()
    return shared


def fleet(process: Process, protocol: Any, **options: Any) -> Fleet:
    return Fleet(process.address, NODES, FleetOptions(protocol=protocol, **options))


_numbers = itertools.count(1)


def change(process: Process) -> int:
    """Give service 0 an endpoint that says the number of the change; returns the number."""
    number = next(_numbers)
    raw = SIZE.slice(0)
    raw["endpoints"].append({"addresses": [markers.address(number)], "conditions": {"ready": True}})
    process.files.put(raw)
    return number


class Told:
    """Collects receipts until a condition holds of all of them."""

    def __init__(self, fleet: Fleet) -> None:
        fleet.quiet(QUIET)
        fleet.receipts()
        self.fleet = fleet
        self.receipts: list[Receipt] = []

    def who(self, number: int) -> list[str]:
        """Who was told a change so far, as often as he was."""
        self.receipts += self.fleet.receipts()
        return sorted(one.proxy for one in self.receipts if number in one.markers)

    def wait(self, number: int, who: Iterable[str]) -> None:
        """Until exactly these were told the change, each of them once."""
        expected = sorted(who)
        assert wait_until(lambda: self.who(number) == expected, 40), (self.who(number), expected)


def endpoints(fleet: Fleet) -> set[str]:
    """The hashes of the endpoints of service 0 that proxies have."""
    return {view["eds"]["outbound|9080||s0.ns0.svc.cluster.local"] for view in fleet.views().values()}


@both
def test_two_processes_of_proxies_get_what_one_gets(process: Process, protocol: Any) -> None:
    with fleet(process, protocol) as one, fleet(process, protocol, processes=2) as two:
        half = one.connect(PROXIES // 2)
        assert set(half.warm) == set(one.proxies[: PROXIES // 2])
        assert one.connected() == PROXIES // 2
        warm = one.connect()
        assert set(warm.warm) == set(one.proxies)
        # Those that were connected before were warm before.
        late = [name for name, seconds in warm.warm.items() if seconds > 0]
        assert set(late) == set(one.proxies[PROXIES // 2 :])
        assert min(two.connect().warm.values()) > 0
        assert [len(fleet.cpu()) for fleet in (one, two)] == [1, 2]

        told = [Told(one), Told(two)]
        number = change(process)
        for each in told:
            each.wait(number, one.proxies)
        views = one.views()
        assert views == two.views()
        assert {kind for view in views.values() for kind in view} == {"cds", "eds", "lds", "rds"}
        assert len(views[one.proxies[0]]["eds"]) == SIZE.services
        bodies = two.contents(two.proxies[5])["eds"].values()
        assert markers.found(b"".join(bodies)) == {number}
        assert (one.endings(), two.endings()) == ([], [])


def test_answers_are_late(process: Process, one: Fleet) -> None:
    one.behave(Behaviour(ack_delay=Delay(0.02, mean=0.05), seed=1))
    told = Told(one)
    number = change(process)
    told.wait(number, one.proxies)
    waits = [r.answered - r.at for r in told.receipts if number in r.markers and r.answered]
    assert len(waits) == PROXIES
    assert min(waits) >= 0.02
    assert max(waits) > 0.05
    # There is no rest while answers are due.
    one.behave(Behaviour(ack_delay=0.4))
    told = Told(one)
    began = time.monotonic()
    number = change(process)
    assert wait_until(lambda: one.quiet(0.05) > began, 40)
    assert told.who(number) == sorted(one.proxies)
    assert [r.at for r in told.receipts] == sorted(r.at for r in told.receipts)


def test_a_share_refuses_and_the_rest_goes_on(process: Process, one: Fleet) -> None:
    told = Told(one)
    one.behave(Behaviour(nack=Nack(share=0.5, types=("eds",)), seed=1))
    number = change(process)
    # They are refused nothing but this change; who was told it in the end depends on what is tried again.
    assert wait_until(lambda: len({*told.who(number), *refused(told)}) == PROXIES, 40)
    assert 0 < len(refused(told)) < PROXIES
    assert {one.type for one in told.receipts if not one.ok} == {"eds"}
    assert not any(one.markers for one in told.receipts if not one.ok)
    assert one.endings() == []


def refused(told: Told) -> set[str]:
    return {one.proxy for one in told.receipts if not one.ok}


def test_a_name_is_refused_by_everybody(one: Fleet) -> None:
    one.drop()
    one.forget()
    one.receipts()
    one.behave(Behaviour(nack=Nack(names=("outbound|9080||s0.*",))))
    one.reconnect()
    one.quiet(QUIET)
    found = one.receipts()
    assert {(r.proxy, r.type) for r in found if not r.ok} == {(name, "cds") for name in one.proxies}
    clusters = one.views()[one.proxies[0]]["cds"]
    assert not any(name.startswith("outbound|9080||s0.") for name in clusters)
    assert any(name.startswith("outbound|9080||s1.") for name in clusters)


def test_those_that_read_nothing_hear_nothing_until_they_do(process: Process, one: Fleet) -> None:
    told = Told(one)
    deaf = set(one.stall(0.25, seed=3))
    assert len(deaf) == PROXIES // 4
    number = change(process)
    told.wait(number, set(one.proxies) - deaf)
    one.resume()
    told.wait(number, one.proxies)
    assert len(endpoints(one)) == 1
    assert one.endings() == []


def test_some_stall_again_and_again(process: Process, one: Fleet) -> None:
    one.behave(Behaviour(stall=Stall(share=1.0, seconds=0.2, every=0.2)))
    one.reconnect(1.0)
    told = Told(one)
    number = 0

    def everybody_was_deaf_for_a_while() -> bool:
        nonlocal number
        number = change(process)
        time.sleep(0.1)
        told.who(number)
        heard = {name: [one.at for one in told.receipts if one.proxy == name] for name in one.proxies}
        return all(any(later - at > 0.15 for at, later in pairwise(times)) for times in heard.values())

    assert wait_until(everybody_was_deaf_for_a_while, 40)
    assert wait_until(lambda: {*told.who(number)} == {*one.proxies}, 40)
    assert len(endpoints(one)) == 1


def test_a_storm(process: Process, one: Fleet) -> None:
    one.quiet(QUIET)
    one.receipts()
    before = one.views()
    storm = one.reconnect(0.5, seed=1)
    again = {receipt.proxy for receipt in one.receipts()}
    assert len(again) == PROXIES // 2
    assert {name for name, seconds in storm.warm.items() if seconds > 0} == again
    assert one.views() == before
    # Away and back: nothing is heard meanwhile, all is there afterwards.
    gone = set(one.drop(0.25, seed=2))
    assert one.connected() == PROXIES - len(gone)
    told = Told(one)
    number = change(process)
    told.wait(number, set(one.proxies) - gone)
    one.reconnect()
    told.wait(number, one.proxies)
    assert len(endpoints(one)) == 1


def test_new_proxies_have_nothing(one: Fleet) -> None:
    with pytest.raises(FleetError, match="cannot forget"):
        one.forget()
    one.drop()
    one.forget()
    assert not any(one.views().values())
    one.receipts()
    one.reconnect()
    assert {receipt.type for receipt in one.receipts()} == {"cds", "eds", "lds", "rds"}


def test_streams_that_end_come_back(tmp_path: Path) -> None:
    address = f"unix:{tmp_path / 'xds.sock'}"
    fleets = [Fleet(address, NODES, FleetOptions(protocol=one, backoff=(0.05, 0.2))) for one in PROTOCOLS]
    with fleets[0] as one, fleets[1] as two:
        with started(tmp_path) as process:
            for raw in SIZE.objects():
                process.files.put(raw)
            process.wait_ready()
            one.connect()
            two.connect()
            process.end()
        with started(tmp_path):
            for each in fleets:
                # Nobody connects them: this only waits.
                each.connect()
                assert each.connected() == PROXIES
                assert {ending.proxy for ending in each.endings()} == set(each.proxies)


def test_virtual_hosts_on_demand(tmp_path: Path) -> None:
    with started(tmp_path, "--on-demand-virtual-hosts") as process:
        for raw in SIZE.objects():
            process.files.put(raw)
        process.wait_ready()
        name = f"9080/{SIZE.host(0)}"
        with fleet(process, "DELTA_GRPC", hosts=(name,)) as one:
            one.connect()
            told = Told(one)
            number = next(_numbers)
            process.files.put(SIZE.virtual_service(0, 40, number=number))
            told.wait(number, one.proxies)
            assert {(r.type, r.resources) for r in told.receipts} == {("vhds", 1)}
            assert {view["vhds"].keys() == {name} for view in one.views().values()} == {True}
            one.reconnect(1.0)


def test_a_server_that_says_nothing_where_nothing_changed() -> None:
    answered: list[str] = []

    def answer(requests: Iterator[bytes], _: grpc.ServicerContext) -> Iterator[bytes]:
        for data in requests:
            url = pb.discovery.DeltaDiscoveryRequest.FromString(data).type_url
            if answered.count(url) < 1:
                answered.append(url)
                yield pb.discovery.DeltaDiscoveryResponse(type_url=url, nonce="1").SerializeToString()

    with serving(answer) as address, Fleet(address, NODES[:1], FleetOptions(silence=0.05)) as one:
        one.connect()
        storm = one.reconnect(1.0, timeout=5)
        assert answered == [CLUSTER, LISTENER]
        # It was warm when it came, not when we had waited.
        assert max(storm.warm.values()) < 0.05
        one.drop()
        one.forget()
        with pytest.raises(FleetError, match="not warm"):
            one.reconnect(timeout=0.3)


@contextmanager
def serving(answer: Any) -> Iterator[str]:
    """A gRPC server with one method; its address."""
    server = grpc.server(futures.ThreadPoolExecutor(4))
    service, method = DELTA_PATH[1:].split("/")
    handlers = {method: grpc.stream_stream_rpc_method_handler(answer)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0).wait()


def test_a_token_is_sent_as_it_is_now(tmp_path: Path) -> None:
    seen: list[str] = []

    def refuse(_: object, context: grpc.ServicerContext) -> Iterator[bytes]:
        seen.extend(value for name, value in context.invocation_metadata() if name == "authorization")
        context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")
        yield b""

    token = tmp_path / "token"
    token.write_text("first\n")
    options = FleetOptions(token=token, backoff=(0.01, 0.05))
    with serving(refuse) as address, Fleet(address, NODES[:1], options) as one:
        with pytest.raises(FleetError, match="ended by the server"):
            one.connect(timeout=0.5)
        token.write_text("x" * 1500)
        assert wait_until(lambda: "Bearer " + "x" * 1500 in seen, 40)
    assert seen[0] == "Bearer first"


def test_nobody_is_there(tmp_path: Path) -> None:
    with Fleet(f"unix:{tmp_path}/none", NODES[:2]) as one:
        with pytest.raises(FleetError, match=r"2 of 2 proxies are not warm.*No such file"):
            one.connect(timeout=0.3)
        assert {ending.reason for ending in one.endings()} == {"No such file or directory"}


def test_names_must_differ() -> None:
    with pytest.raises(ValueError, match="same name"):
        Fleet("unix:/x", [NODES[0], NODES[0]])
