"""What a node may say of itself, given who its caller is; and what keeps a stream within bounds."""

from __future__ import annotations

import asyncio

import pytest

from controlplane.base.clock import FakeClock
from controlplane.base.errors import Denied, ProtocolError
from controlplane.envoy.types import BY_SHORT, SECRET
from controlplane.model.caller import Caller
from controlplane.model.identity import Identity
from controlplane.model.proxy import Proxy, parse_node
from controlplane.xds.admission import Bucket, Places
from controlplane.xds.caller import Anonymous, Door, Presented, bound
from controlplane.xds.codec import Codec
from controlplane.xds.layers import Ledgers
from controlplane.xds.observer import Connection, PushObserver
from controlplane.xds.options import XdsOptions
from controlplane.xds.protocol import Request
from controlplane.xds.public import Public
from controlplane.xds.session import Session, Shared
from controlplane.xds.stream import Around, Stream
from controlplane.xds.throttle import Throttle
from tests.unit.xds.test_xds_stream import FakeCall
from tests.unit.xds.wire import WorldViews
from tests.unit.xds.world import DELTA, PROXY, World

WEB = Identity("cluster.local", "default", "web")
NODE = "sidecar~10.0.0.1~web-1.default~default.svc.cluster.local"
CALLER = Caller(WEB, None, True, "token")


def node(id: str = NODE, **metadata: object) -> Proxy:
    return parse_node(id, metadata)


def cause(proxy: Proxy, caller: Caller = CALLER) -> str:
    with pytest.raises(Denied) as caught:
        bound(proxy, caller, "cluster.local")
    return caught.value.cause


@pytest.mark.parametrize("metadata", [{}, {"SERVICE_ACCOUNT": "web"}, {"NAMESPACE": "default"}])
def test_a_node_that_says_the_same_has_the_callers_identity(metadata: dict[str, object]) -> None:
    assert bound(node(**metadata), CALLER, "cluster.local").identity == WEB


@pytest.mark.parametrize(
    ("id", "metadata", "found"),
    [
        (NODE, {"NAMESPACE": "other"}, "namespace"),
        (NODE.replace("default.svc", "other.svc"), {}, "namespace"),
        (NODE.replace("web-1.default", "web-1.other"), {}, "namespace"),
        (NODE.replace("web-1.default", "web-1"), {}, "namespace"),
        (NODE.replace("web-1.default", "default"), {}, "namespace"),
        (NODE, {"SERVICE_ACCOUNT": "admin"}, "service_account"),
        (NODE, {"SERVICE_ACCOUNT": "Web"}, "service_account"),
        (NODE, {"NAMESPACE": "Default"}, "namespace"),
    ],
)
def test_a_node_that_says_something_else_is_refused(id: str, metadata: dict[str, object], found: str) -> None:
    assert cause(node(id, **metadata)) == found


def test_a_credential_that_is_bound_to_a_pod_speaks_for_that_pod() -> None:
    caller = Caller(WEB, None, True, "token", pod="web-1")
    assert bound(node(), caller, "cluster.local").identity == WEB
    assert cause(node(NODE.replace("web-1", "web-2")), caller) == "pod"


def test_nobody_may_say_anything_and_is_nobody() -> None:
    proxy = bound(node(SERVICE_ACCOUNT="admin"), Caller(None, None, True, ""), "cluster.local")
    assert proxy.identity is None


def test_a_node_that_is_believed_has_the_identity_that_it_claims() -> None:
    caller = Caller(None, None, True, "loopback")
    assert bound(node(SERVICE_ACCOUNT="web"), caller, "mesh.example").identity == WEB._replace(
        trust_domain="mesh.example"
    )
    assert bound(node(), caller, "cluster.local").identity == WEB._replace(service_account="default")
    assert cause(node(SERVICE_ACCOUNT="a/b"), caller) == "node"


def test_where_nobody_asks_everybody_is_nobody() -> None:
    async def test() -> None:
        remote, local = Presented(Door.PLAINTEXT, "ipv4:10.0.0.1:1"), Presented(Door.PLAINTEXT, "unix:")
        assert await Anonymous().identify(local) == Caller(None, None, True, "")
        assert await Anonymous().identify(remote) == Caller(None, None, False, "")
        assert (await Anonymous(believing=True).identify(local)).credential == "loopback"
        assert (await Anonymous(believing=True).identify(remote)).credential == ""

    asyncio.run(test())


# -- a line that others can listen to ---------------------------------------------------------------------


def test_secrets_are_not_shown_in_public() -> None:
    world = World()
    world.put("cds", "a", "1")
    world.put("sds", "default", "1")
    view = WorldViews(world).open(node())
    shown = Public(view)
    assert set(view.feeds) - set(shown.feeds) == {SECRET}
    assert shown.feeds is shown.feeds
    assert shown.proxy is view.proxy


# -- limits -----------------------------------------------------------------------------------------------


def test_a_bucket_lets_a_burst_pass_and_then_an_even_rate() -> None:
    bucket = Bucket(rate=10.0, burst=3)
    assert [round(bucket.delay(100.0), 6) for _ in range(6)] == [0, 0, 0, 0.1, 0.2, 0.3]
    # After a second of rest there is room for a burst again.
    assert [round(bucket.delay(101.0), 6) for _ in range(4)] == [0, 0, 0, 0.1]
    assert Bucket(rate=10.0, burst=1).delay(5.0) == 0.0


def test_everybody_has_so_many_places() -> None:
    places = Places(2)
    with places.one("a") as first, places.one("a") as second, places.one("a") as third:
        assert (first, second, third) == (True, True, False)
        with places.one("b") as other, places.one(None) as nobodys:
            assert (other, nobodys) == (True, True)
    with pytest.raises(ValueError, match="broke"), places.one("a"):
        raise ValueError("broke")
    with places.one("a") as again, places.one("a") as more:
        assert (again, more) == (True, True)
    with Places(0).one("a") as endless:
        assert endless
    assert places._held == {}


def test_a_bucket_without_a_rate_has_no_bottom() -> None:
    bucket = Bucket(rate=0.0, burst=1)
    assert {bucket.delay(7.0) for _ in range(1000)} == {0.0}


class Slowed:
    """A stream whose clock a test holds, with a hundred requests waiting to be read."""

    def __init__(self, connection: Connection, options: XdsOptions) -> None:
        world = World()
        world.put("eds", "a", "1")
        self.clock = FakeClock()
        around = Around(self.clock, options, Throttle(1), PushObserver())
        shared = Shared(world, Ledgers(), Codec("{}", 2**20), options.pace)
        self.call = FakeCall()
        self.stream = Stream(
            self.call, connection, world, Session(connection.variant, world.feeds, shared), around
        )
        for number in range(100):
            self.call.ask("eds", f"name-{number}")

    @property
    def read(self) -> int:
        return 100 - self.call.requests.qsize()


def test_a_client_that_floods_is_read_slowly() -> None:
    async def test() -> None:
        options = XdsOptions(requests_per_second=10.0, request_burst=20)
        slowed = Slowed(Connection("web-1", PROXY, DELTA, "test", 0.0), options)
        task = asyncio.create_task(slowed.stream.run(Request(BY_SHORT["eds"].url, names=frozenset("a"))))
        await slowed.clock.advance(0.0)
        assert slowed.read == 21  # the burst, and the one that waits
        await slowed.clock.advance(1.05)
        assert slowed.read == 31
        await slowed.clock.advance(100.0)
        assert slowed.read == 100
        slowed.stream.end()
        await task

    asyncio.run(test())


# -- how a stream ends that may not stay ------------------------------------------------------------------


def test_a_stream_that_is_cut_ends_though_its_client_reads_nothing() -> None:
    async def test() -> None:
        slowed = Slowed(Connection("web-1", PROXY, DELTA, "test", 0.0), XdsOptions())
        slowed.call.window.clear()
        task = asyncio.create_task(slowed.stream.run(Request(BY_SHORT["eds"].url, names=frozenset("a"))))
        await slowed.clock.advance(0.0)
        assert slowed.call.writing == 1
        slowed.stream.end()
        await slowed.clock.advance(0.0)
        assert not task.done()
        slowed.stream.cut()
        await asyncio.wait_for(task, 5)
        assert slowed.stream.was_cut

    asyncio.run(test())


def test_a_stream_for_one_type_takes_no_name_for_that_type_and_refuses_others() -> None:
    async def test() -> None:
        url = BY_SHORT["eds"].url
        slowed = Slowed(Connection("web-1", PROXY, DELTA, "test", 0.0, only=url), XdsOptions())
        task = asyncio.create_task(slowed.stream.run(Request("", names=frozenset("a"))))
        assert (await slowed.call.get()).bodies == {"a": "1"}
        slowed.call.ask("cds")
        with pytest.raises(ProtocolError, match=r"only .*ClusterLoadAssignment is served here"):
            await asyncio.wait_for(task, 5)

    asyncio.run(test())
