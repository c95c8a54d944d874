"""Virtual hosts on demand against a client like Envoy: whatever happens, no request waits for ever.

The client asks for what it does not have, while a request waits; it comes back with what it had, forgets
its route configuration but not its subscriptions, and rejects a response that holds something "bad".
"""

from __future__ import annotations

import os
from collections import deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from controlplane.envoy import pb
from controlplane.envoy.types import VIRTUAL_HOST
from controlplane.xds.codec import Codec
from controlplane.xds.layers import Ledgers
from controlplane.xds.options import Pace
from controlplane.xds.session import Session, Shared
from controlplane.xds.variant import Variant
from tests.unit.xds.world import World, read, resource

NAMES = [f"80/h{number}" for number in range(5)]
CONTENTS = ["1", "2", "bad", None]


class OnDemand(RuleBasedStateMachine):
    @initialize(data=st.data())
    def start(self, data: st.DataObject) -> None:
        self.world = World(keep=3)
        self.ledgers = Ledgers()
        self.codec = Codec("{}", 4096)
        self.now = 0.0
        self.state: dict[str, str] = {}
        self.versions: dict[str, str] = {}
        self.subscribed: set[str] = set()
        self.waiting: set[str] = set()
        # Asked for since the route configuration was forgotten: of these the client expects to hear.
        self.followed: set[str] = set()
        for name in NAMES:
            self.change(name, data.draw(st.sampled_from(CONTENTS)))
        self.open()

    def open(self) -> None:
        shared = Shared(self.world, self.ledgers, self.codec, Pace(ack_deadline=1.0, removal_deadline=10.0))
        self.session = Session(Variant.DELTA, self.world.feeds, shared)
        self.down: deque[bytes] = deque()
        self.up: deque[bytes] = deque()
        self.say(subscribe=["*", *sorted(self.subscribed)] if self.subscribed else [], known=self.versions)

    def say(self, nonce: str = "", error: str | None = None, **more: object) -> None:
        message = pb.discovery.DeltaDiscoveryRequest(
            type_url=VIRTUAL_HOST,
            response_nonce=nonce,
            resource_names_subscribe=more.get("subscribe", ()),
            initial_resource_versions=more.get("known", {}),
        )
        if error is not None:
            message.error_detail.message = error
        self.up.append(message.SerializeToString())

    # -- what may happen ------------------------------------------------------------------------

    @rule(name=st.sampled_from(NAMES), content=st.sampled_from(CONTENTS))
    def change(self, name: str, content: str | None) -> None:
        old = self.world.feed("vhds").content.get(name)
        new = None if content is None else resource("vhds", name, content)
        if old != new:
            self.world.commit([("vhds", name, new)])

    @rule(names=st.lists(st.sampled_from(NAMES), unique=True, min_size=1, max_size=3))
    def request(self, names: list[str]) -> None:
        lacking = [name for name in names if name not in self.state and name not in self.waiting]
        if lacking:
            self.waiting.update(lacking)
            self.followed.update(lacking)
            self.subscribed.update(lacking)
            self.say(subscribe=lacking)

    @rule()
    def forget(self) -> None:
        """The port's listeners went, and with them its route configuration and the requests to it."""
        self.state.clear()
        self.waiting.clear()
        self.followed.clear()

    @rule()
    def push(self) -> None:
        made = self.session.next(self.now)
        if made is not None:
            self.session.written(made[0], self.now)
            self.down.append(made[1])

    @precondition(lambda self: self.down)
    @rule()
    def client(self) -> None:
        response = read(Variant.DELTA, self.down.popleft())
        assert set(response.names) <= self.subscribed, "nobody asked for this"
        assert not set(response.names) & set(response.removed), "Envoy rejects it"
        if "bad" in response.bodies.values():
            self.say(nonce=response.nonce, error="bad regex")
            return
        for name, content in response.bodies.items():
            self.waiting.discard(name)
            self.versions[name] = response.versions[name]
            if content and name in self.followed:
                self.state[name] = content
        for name in response.removed:
            # No answer to a request that waits.
            self.state.pop(name, None)
            self.versions.pop(name, None)
        self.say(nonce=response.nonce)

    @precondition(lambda self: self.up)
    @rule()
    def server(self) -> None:
        self.session.receive(self.codec.decode(Variant.DELTA, self.up.popleft())[0])

    # What it waits for it must not claim to have from before it forgot: nobody could tell.
    @precondition(lambda self: not self.waiting & self.versions.keys())
    @rule()
    def reconnect(self) -> None:
        self.session.close()
        self.open()

    @rule(seconds=st.sampled_from([0.3, 1.5, 12.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    # -- what must hold -------------------------------------------------------------------------

    @invariant()
    def nothing_bad_is_in_force(self) -> None:
        if hasattr(self, "state"):
            assert "bad" not in self.state.values()

    def settle(self) -> None:
        for _ in range(200):
            while (made := self.session.next(self.now)) is not None:
                self.down.append(made[1])
                assert len(self.down) < 50, "endless"
            if not self.down and not self.up:
                deadline = self.session.deadline(self.now)
                if deadline is None:
                    return
                self.now = deadline
            while self.down:
                self.client()
            while self.up:
                self.server()
        raise AssertionError("never settles")

    def teardown(self) -> None:
        if not hasattr(self, "session"):
            return
        self.settle()
        assert self.waiting == set(), "a request waits for ever"
        for name in self.followed:
            found = self.world.feed("vhds").content.get(name)
            content = None if found is None else found.body.decode().rpartition(">")[0].partition("=")[2]
            assert content == "bad" or self.state.get(name) == content, name
        assert max((ledger.depth for ledger in self.ledgers.all()), default=0) == 0
        self.session.close()
        assert len(self.ledgers) == 0


TestOnDemand = OnDemand.TestCase
TestOnDemand.settings = settings(
    max_examples=int(os.environ.get("XDS_EXAMPLES", "60")),
    stateful_step_count=40,
    deadline=None,
    print_blob=False,
)
