"""An Envoy-like client against the protocol core, whatever changes, delays, rejections and reconnects."""

from __future__ import annotations

import os

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from controlplane.envoy.resource import Resource
from controlplane.envoy.types import BY_SHORT
from controlplane.xds.codec import Codec
from controlplane.xds.layers import Ledgers
from controlplane.xds.options import Pace
from controlplane.xds.session import Session, Shared
from controlplane.xds.variant import Variant
from tests.property.envoy_model import SOTW, Envoy
from tests.unit.xds.world import World, resource

SERVICES = [f"s{number}" for number in range(4)]
ROUTES = ["r0", "r1"]
LISTENERS = ["l0", "l1"]
CONTENTS = ["1", "2", "3"]
SHORTS = ("cds", "eds", "lds", "rds")


@st.composite
def meshes(draw: st.DrawFn, contents: list[str]) -> dict[str, dict[str, Resource]]:
    """A consistent configuration: routes use clusters that exist, clusters have endpoints."""
    content = st.sampled_from(contents)
    services = draw(st.lists(st.sampled_from(SERVICES), unique=True))
    routes = draw(st.lists(st.sampled_from(ROUTES), unique=True))
    listeners = draw(st.lists(st.sampled_from(LISTENERS), unique=True)) if routes else []
    targets = st.lists(st.sampled_from(services), unique=True, max_size=2) if services else st.just([])
    return {
        "cds": {name: resource("cds", name, draw(content), [name]) for name in services},
        "eds": {name: resource("eds", name, draw(content)) for name in services},
        "lds": {
            name: resource("lds", name, draw(content), [draw(st.sampled_from(routes))]) for name in listeners
        },
        "rds": {
            name: resource("rds", name, f"{draw(content)}@{'+'.join(sorted(draw(targets)))}")
            for name in routes
        },
    }


def clusters_of(route: str) -> set[str]:
    tail = route.partition("@")[2]
    return set(tail.split("+")) if tail else set()


class Machine(RuleBasedStateMachine):
    """What both machines share: the server, the client, and the wires between."""

    contents = CONTENTS

    @initialize(variant=st.sampled_from(list(Variant)), parts=st.sampled_from([0, 3]), data=st.data())
    def start(self, variant: Variant, parts: int, data: st.DataObject) -> None:
        self.world = World(keep=3, parts=parts)
        self.ledgers = Ledgers()
        self.codec = Codec("{}", 4096)
        self.now = 0.0
        self.envoy = Envoy(variant)
        self.change(data)
        self.open()

    def open(self) -> None:
        shared = Shared(self.world, self.ledgers, self.codec, Pace(ack_deadline=1.0, removal_deadline=10.0))
        self.session = Session(self.envoy.variant, self.world.feeds, shared)
        self.envoy.connect()

    @rule(data=st.data())
    def change(self, data: st.DataObject) -> None:
        mesh = data.draw(meshes(self.contents))
        self.world.commit(
            (short, name, mesh[short].get(name))
            for short in SHORTS
            for name in sorted({*mesh[short], *self.world.feed(short).content})
            if self.world.feed(short).content.get(name) != mesh[short].get(name)
        )

    @rule(data=st.data())
    def change_one_thing(self, data: st.DataObject) -> None:
        short = data.draw(st.sampled_from(SHORTS))
        content = self.world.feed(short).content
        if content:
            old = content[data.draw(st.sampled_from(sorted(content)))]
            tail = old.body.decode().partition("=")[2].lstrip("123").removeprefix("bad")
            new = data.draw(st.sampled_from(self.contents))
            self.world.commit(
                [
                    (
                        short,
                        old.name,
                        Resource(old.type_url, old.name, f"{old.name}={new}{tail}".encode(), old.refs),
                    )
                ]
            )

    @rule()
    def push(self) -> None:
        before = {url: list(sub.pending) for url, sub in self.session.subscriptions.items()}
        made = self.session.next(self.now)
        if made is None:
            deadline = self.session.deadline(self.now)
            assert deadline is None or deadline > self.now
            return
        push, data = made
        # Never two in flight, unless the first was not answered in time.
        assert all(self.now >= earlier.at + 1.0 for earlier in before[push.spec.url][-1:])
        self.session.written(push, self.now)
        self.envoy.down.append(data)

    @precondition(lambda self: self.envoy.down)
    @rule()
    def client(self) -> None:
        self.envoy.step()

    @precondition(lambda self: self.envoy.up)
    @rule()
    def server(self) -> None:
        self.session.receive(self.envoy.next_request())

    @rule(short=st.sampled_from(["eds", "rds"]))
    def resubscribe(self, short: str) -> None:
        self.envoy.resubscribe(short)

    def settle(self) -> None:
        """Deliver everything until nothing moves any more, letting deadlines pass."""
        for _ in range(200):
            while (made := self.session.next(self.now)) is not None:
                self.envoy.down.append(made[1])
                if len(self.envoy.down) > 50:
                    raise AssertionError("endless")
            if not self.envoy.down and not self.envoy.up:
                deadline = self.session.deadline(self.now)
                if deadline is None:
                    return
                self.now = deadline
            while self.envoy.down:
                self.envoy.step()
            while self.envoy.up:
                self.session.receive(self.envoy.next_request())
        raise AssertionError("never settles")

    def expected(self, short: str) -> dict[str, str]:
        wanted = self.envoy.names.get(short)
        return {
            name: one.body.decode().rpartition(">")[0].partition("=")[2]
            for name, one in self.world.feed(short).content.items()
            if wanted is None or name in wanted
        }

    def expect_equal(self) -> None:
        for short in SHORTS:
            assert self.envoy.state[short] == self.expected(short), short

    def teardown(self) -> None:
        if hasattr(self, "session"):
            self.settle()
            self.finish()
            assert all(not sub.pending for sub in self.session.subscriptions.values())
            assert max((ledger.depth for ledger in self.ledgers.all()), default=0) == 0
            self.session.close()
            assert len(self.ledgers) == 0

    def finish(self) -> None:
        self.expect_equal()


class Careful(Machine):
    """A client that answers in time and rejects nothing: it must never lose traffic."""

    @precondition(lambda self: self.envoy.variant is not SOTW)
    @rule()
    def reconnect(self) -> None:
        # A SotW client cannot say what it has, so clusters that went meanwhile go at once.
        self.session.close()
        self.open()

    @invariant()
    def no_route_points_at_a_missing_cluster(self) -> None:
        if not hasattr(self, "envoy"):
            return
        for name, route in self.envoy.state["rds"].items():
            missing = clusters_of(route) - self.envoy.state["cds"].keys()
            assert not missing, f"{name} -> {missing}"

    @invariant()
    def a_cluster_keeps_its_endpoints(self) -> None:
        if hasattr(self, "envoy"):
            assert "" not in self.envoy.state["eds"].values()


class Chaotic(Machine):
    """A client that is late, rejects, repeats itself and reconnects: in the end it has everything."""

    contents = [*CONTENTS, "bad"]

    @rule(seconds=st.sampled_from([0.3, 1.5, 12.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def reconnect(self) -> None:
        self.session.close()
        self.open()

    @rule(short=st.sampled_from(SHORTS), error=st.sampled_from([None, "nonsense"]))
    def nonsense(self, short: str, error: str | None) -> None:
        """A request with a nonce that nobody sent."""
        if short in self.envoy.asked:
            subscribe = sorted(self.envoy.names.get(short, ()))
            self.envoy._ask(short, subscribe=subscribe, nonce="garbage", error=error)

    def finish(self) -> None:
        # As long as something is bad, the client has nothing bad, and all that is good.
        for short in SHORTS:
            state = self.envoy.state[short]
            assert not any("bad" in content for content in state.values())
            for name, content in self.expected(short).items():
                assert "bad" in content or state.get(name) == content, (short, name)
        mended = [
            (short, name, Resource(one.type_url, name, one.body.replace(b"=bad", b"=mended"), one.refs))
            for short in SHORTS
            for name, one in sorted(self.world.feed(short).content.items())
            if b"=bad" in one.body
        ]
        self.world.commit(mended)
        self.settle()
        self.expect_equal()
        for sub in self.session.subscriptions.values():
            assert sub.rejected == {}, (sub.spec.short, sub.rejected)
            assert BY_SHORT[sub.spec.short].url in self.world.feeds


TestCareful = Careful.TestCase
TestChaotic = Chaotic.TestCase
TestCareful.settings = TestChaotic.settings = settings(
    max_examples=int(os.environ.get("XDS_EXAMPLES", "100")),
    stateful_step_count=50,
    deadline=None,
    print_blob=False,
)
