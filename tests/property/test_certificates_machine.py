"""Proxies come and go, time passes, the authority changes and refuses: who is there has a certificate."""

from __future__ import annotations

import asyncio

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from controlplane.ca.sds import Pace
from controlplane.model.identity import Holder
from tests.unit.ca.test_sds import World, holder

NUMBERS = st.integers(0, 4)
GRACE, LIFE = 30.0, 600.0


class Supplied(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        self.runner = asyncio.Runner()
        self.runner.run(self._open())
        self.streams: dict[Holder, int] = {}
        self.signer = 0
        self.trusts = 1
        # By serial: which signer a certificate is of.
        self.signed: dict[str, int] = {}

    async def _open(self) -> None:
        self.world = World(0.0, Pace(grace=GRACE))
        self.world.authority.life = LIFE
        self.task = asyncio.create_task(self.world.supply.run())
        await asyncio.sleep(0)

    def advance(self, seconds: float) -> None:
        self.runner.run(self.world.clock.advance(seconds))
        for certified in self.world.rows.values():
            self.signed.setdefault(certified.serial, self.signer)

    # -- what may happen ------------------------------------------------------------------------

    @rule(number=NUMBERS)
    def take(self, number: int) -> None:
        self.world.supply.take(holder(number))
        self.streams[holder(number)] = self.streams.get(holder(number), 0) + 1

    @rule(number=NUMBERS)
    def give_back(self, number: int) -> None:
        if self.streams.get(holder(number), 0):
            self.world.supply.give_back(holder(number))
            self.streams[holder(number)] -= 1

    @rule(refuses=st.booleans())
    def refuse(self, refuses: bool) -> None:
        self.world.authority.refuses = refuses

    @rule()
    def change_signer(self) -> None:
        self.advance(0)
        self.signer += 1
        self.world.authority.change(signer=True)

    @rule()
    def change_roots(self) -> None:
        self.trusts += 1
        roots = tuple(b"root %d" % number for number in range(1, self.trusts + 1))
        self.world.authority.bundle = type(self.world.authority.bundle)(roots)
        self.world.authority.change(bundle=True)

    @rule(seconds=st.sampled_from([0.0, 1.0, 10.0, GRACE, LIFE / 2, LIFE]))
    def wait(self, seconds: float) -> None:
        self.advance(seconds)

    # -- what must hold -------------------------------------------------------------------------

    @invariant()
    def keys_are_of_one_proxy_each(self) -> None:
        if hasattr(self, "world"):
            keys = [certified.key for certified in self.world.rows.values()]
            assert len(keys) == len(set(keys))

    @invariant()
    def nobody_is_kept_who_never_came(self) -> None:
        if hasattr(self, "world"):
            assert self.world.rows.keys() <= self.streams.keys()

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        # Once it does not refuse any more, everything is well within seconds: whoever waits is tried again.
        self.world.authority.refuses = False
        self.advance(10.0)
        there = {one for one, count in self.streams.items() if count}
        now = self.world.clock.wall()
        for one in there:
            certified = self.world.rows[one]
            assert self.signed[certified.serial] == self.signer
            assert now < certified.not_after
        self.advance(GRACE)
        assert self.world.rows.keys() == there and len(self.world.supply) == len(there)
        assert list(self.world.supply.waiting) == []
        if self.streams:
            assert len(self.world.trusted.roots) == self.trusts
        for one, count in self.streams.items():
            for _ in range(count):
                self.world.supply.give_back(one)
        self.advance(GRACE)
        assert not self.world.rows and len(self.world.supply) == 0
        self.runner.run(self._close())
        self.runner.close()

    async def _close(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


TestCertificates = Supplied.TestCase
TestCertificates.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
