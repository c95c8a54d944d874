"""The supply of certificates: who is there has one, it is renewed in time, and who goes is forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from controlplane.base.clock import FakeClock
from controlplane.ca.authority import Change
from controlplane.ca.refused import Refused
from controlplane.ca.sds import Certificates, Pace
from controlplane.envoy.secrets import ROOT_CA, certificates, roots
from controlplane.graph import Table
from controlplane.model.certificate import Certified, TrustBundle
from controlplane.model.identity import Holder, Identity
from tests.support import tasks

SLEEP = Identity("cluster.local", "foo", "sleep")
DAY = 86_400.0
TICK = 2.0**-10
"""About a millisecond, of which sums are exact."""


def holder(number: int = 1) -> Holder:
    return Holder(SLEEP, f"sleep-{number}.foo")


class FakeAuthority:
    """Issues at once, for `life` seconds; each takes `takes` seconds of the clock."""

    def __init__(self, clock: FakeClock, takes: float = 0.0) -> None:
        self.clock = clock
        self.takes = takes
        self.life = DAY
        self.bundle = TrustBundle((b"root 1",))
        self.issued: list[tuple[str, ...]] = []
        self.refuses = False
        self.slow = False
        self.made = 0
        self.listeners: list[Callable[[Change], None]] = []

    def new_key(self) -> Any:
        self.made += 1
        return self.made

    def issue(self, uris: Sequence[str], *, key: Any = None) -> Certified:
        assert bool(key) == self.slow
        self.clock._now += self.takes
        if self.refuses:
            raise Refused("CA_NOT_READY", "the authority's own certificate is at its end")
        self.issued.append(tuple(uris))
        number = len(self.issued)
        now = self.clock.wall()
        return Certified(b"chain %d" % number, b"key %d" % number, f"{number:x}", now - 120, now + self.life)

    def on_change(self, callback: Callable[[Change], None]) -> None:
        self.listeners.append(callback)

    def change(self, *, signer: bool = False, bundle: bool = False) -> None:
        for listener in self.listeners:
            listener(Change(signer, bundle))


class World:
    """A running supply; `rows` is what was committed, `commits` how many rows each commit had."""

    def __init__(self, takes: float, pace: Pace | None) -> None:
        self.clock = FakeClock()
        self.authority = FakeAuthority(self.clock, takes)
        self.rows: dict[Holder, Certified] = {}
        self.trusted = TrustBundle(())
        self.commits: list[int] = []
        self.waits: list[float] = []
        self.chance = 0.0
        self.supply = Certificates(
            self.authority, self._commit, clock=self.clock, chance=lambda: self.chance, pace=pace
        )
        self.supply.on_issued = self.waits.append

    def _commit(self, changes: Sequence[tuple[Table, Any, Any]]) -> None:
        self.commits.append(len(changes))
        for table, key, value in changes:
            if table is roots:
                assert key == ROOT_CA
                self.trusted = value
            else:
                assert table is certificates
                if value is None:
                    del self.rows[key]
                else:
                    self.rows[key] = value

    async def turn(self) -> None:
        await self.clock.advance(0)

    async def take(self, *numbers: int) -> None:
        for number in numbers:
            self.supply.take(holder(number))
        await self.turn()

    def serial(self, number: int = 1) -> str:
        return self.rows[holder(number)].serial


@asynccontextmanager
async def running(takes: float = 0.0, pace: Pace | None = None) -> AsyncIterator[World]:
    world = World(takes, pace)
    async with tasks.running(world.supply.run()):
        yield world


def test_the_roots_are_there_as_soon_as_somebody_has_an_identity() -> None:
    async def test() -> None:
        async with running() as world:
            world.authority.change(bundle=True)
            await world.clock.advance(10)
            assert world.commits == []
            world.supply.take(holder())
            assert list(world.trusted.roots) == [b"root 1"]
            assert not world.rows
            await world.take(2)
            assert sum(world.commits) == 3

    tasks.run(test)


def test_each_proxy_has_a_key_of_its_own_and_replicas_share_a_name_only() -> None:
    async def test() -> None:
        async with running() as world:
            await world.take(1, 2)
            assert world.authority.issued == [("spiffe://cluster.local/ns/foo/sa/sleep",)] * 2
            assert world.rows[holder(1)].key != world.rows[holder(2)].key

    tasks.run(test)


def test_a_second_stream_of_a_proxy_finds_the_same_certificate() -> None:
    async def test() -> None:
        async with running() as world:
            await world.take(1, 1)
            await world.take(1)
            assert len(world.authority.issued) == 1
            world.supply.give_back(holder())
            world.supply.give_back(holder())
            await world.clock.advance(1000)
            assert world.serial() == "1"

    tasks.run(test)


def test_who_comes_back_within_the_grace_finds_the_same_certificate_and_who_comes_later_a_new_one() -> None:
    async def test() -> None:
        async with running(pace=Pace(grace=30.0)) as world:
            await world.take(1)
            world.supply.give_back(holder())
            assert list(world.supply.waiting) == ["sleep-1.foo"]
            await world.clock.advance(29)
            await world.take(1)
            await world.clock.advance(100)
            assert world.serial() == "1" and list(world.supply.waiting) == []
            world.supply.give_back(holder())
            await world.clock.advance(30)
            assert not world.rows and len(world.supply) == 0 and list(world.supply.waiting) == []
            await world.take(1)
            assert world.serial() == "2"

    tasks.run(test)


def test_who_goes_before_it_is_certified_leaves_nothing_behind() -> None:
    async def test() -> None:
        async with running(pace=Pace(grace=0.0)) as world:
            world.authority.refuses = True
            await world.take(1)
            world.supply.give_back(holder())
            await world.clock.advance(1)
            assert len(world.supply) == 0 and not world.rows
            world.authority.refuses = False
            await world.clock.advance(100)
            assert world.authority.issued == []

    tasks.run(test)


@pytest.mark.parametrize(("chance", "share"), [(0.0, 1 / 2), (1.0, 2 / 3)])
def test_a_certificate_is_renewed_between_a_half_and_two_thirds_of_its_life(
    chance: float, share: float
) -> None:
    async def test() -> None:
        async with running() as world:
            world.chance = chance
            await world.take(1)
            await world.clock.advance(share * DAY - 1)
            assert world.serial() == "1"
            await world.clock.advance(2)
            assert world.serial() == "2"
            # And again, counted from the second one.
            await world.clock.advance(share * DAY - 3)
            assert world.serial() == "2"
            await world.clock.advance(4)
            assert world.serial() == "3"

    tasks.run(test)


def test_a_thousand_at_once_are_certified_in_slices_that_are_committed_one_by_one() -> None:
    async def test() -> None:
        async with running(takes=TICK, pace=Pace(slice=5 * TICK)) as world:
            turns = 0

            async def others() -> None:
                nonlocal turns
                while len(world.rows) < 1000:
                    await asyncio.sleep(0)
                    turns += 1

            task = asyncio.create_task(others())
            for number in range(1000):
                world.supply.take(holder(number))
            await task
            assert len(world.supply) == len(world.rows) == 1000
            assert max(world.commits[1:]) == 5
            assert turns >= 200

    tasks.run(test)


def test_keys_that_take_long_are_made_in_other_threads() -> None:
    async def test() -> None:
        async with running() as world:
            world.authority.slow = True
            for number in range(5):
                world.supply.take(holder(number))
            while len(world.rows) < 5:
                await asyncio.sleep(0.001)
            assert world.authority.made == 5
            assert max(world.commits) <= 2
            world.supply.reissue_all()
            while len(world.authority.issued) < 10:
                await world.clock.advance(1)
                await asyncio.sleep(0.001)
            assert world.authority.made == 10

    tasks.run(test)


def test_how_long_each_waited_for_its_first_certificate_is_told() -> None:
    async def test() -> None:
        async with running(takes=TICK, pace=Pace(slice=2 * TICK)) as world:
            await world.take(1, 2)
            assert world.waits == [TICK, 2 * TICK]
            world.supply.reissue_all()
            await world.clock.advance(10)
            assert len(world.waits) == 2

    tasks.run(test)


def test_new_roots_are_written_and_leaves_stay() -> None:
    async def test() -> None:
        async with running() as world:
            await world.take(1)
            world.authority.bundle = TrustBundle((b"root 1", b"root 2"))
            world.authority.change(bundle=True)
            await world.clock.advance(10)
            assert list(world.trusted.roots) == [b"root 1", b"root 2"]
            assert world.serial() == "1"

    tasks.run(test)


def test_another_signer_renews_all_leaves_little_by_little_and_newcomers_do_not_wait_for_that() -> None:
    async def test() -> None:
        async with running(takes=TICK, pace=Pace(slice=2 * TICK, rest=4.0)) as world:
            await world.take(*range(10))
            await world.clock.advance(1)
            world.authority.change(signer=True)
            await world.turn()
            assert len(world.authority.issued) == 12  # two in a slice, then a rest
            assert len(list(world.supply.waiting)) == 8
            await world.take(99)
            await world.clock.advance(8 * TICK)
            assert holder(99) in world.rows
            assert len(list(world.supply.waiting)) == 6
            await world.clock.advance(1)
            assert list(world.supply.waiting) == []
            assert len(world.authority.issued) == 21
            assert all(int(world.rows[holder(number)].serial, 16) > 10 for number in range(10))

    tasks.run(test)


def test_who_is_away_while_the_signer_changes_is_given_a_new_certificate_when_it_comes_back() -> None:
    async def test() -> None:
        async with running() as world:
            await world.take(1)
            world.supply.give_back(holder())
            world.supply.reissue_all()
            await world.turn()
            assert not world.rows
            await world.take(1)
            assert world.serial() == "2"

    tasks.run(test)


def test_a_certificate_that_was_replaced_is_not_renewed_in_its_time() -> None:
    async def test() -> None:
        async with running() as world:
            await world.take(1)
            await world.clock.advance(DAY / 4)
            world.supply.reissue_all()
            await world.clock.advance(DAY / 4 + 60)
            assert world.serial() == "2"
            await world.clock.advance(DAY / 4)
            assert world.serial() == "3"

    tasks.run(test)


def test_who_leaves_while_it_waits_for_its_turn_is_forgotten() -> None:
    async def test() -> None:
        async with running(takes=TICK, pace=Pace(slice=TICK, rest=4.0, grace=0.0)) as world:
            world.supply.take(holder(1))
            world.supply.give_back(holder(1))
            await world.turn()
            assert world.authority.issued == []
            await world.take(2, 3)
            world.supply.reissue_all()
            await world.turn()
            world.supply.give_back(holder(3))
            await world.clock.advance(1)
            assert list(world.rows) == [holder(2)]
            assert len(world.authority.issued) == 3

    tasks.run(test)


def test_who_has_nothing_comes_first_even_after_a_refusal() -> None:
    async def test() -> None:
        async with running(takes=TICK, pace=Pace(slice=TICK, rest=1024.0)) as world:
            await world.take(*range(20))
            world.authority.refuses = True
            await world.take(99)
            world.authority.refuses = False
            # Twenty renewals, with a rest of a second after each; within five its time comes again.
            world.supply.reissue_all()
            while holder(99) not in world.rows:
                await world.clock.advance(1)
            assert len(world.authority.issued) < 20 + 10

    tasks.run(test)


def test_an_authority_that_refuses_is_asked_again_and_what_was_good_stays(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def test() -> None:
        async with running() as world:
            await world.take(1)
            world.authority.refuses = True
            world.supply.reissue_all()
            await world.take(2)
            assert list(world.rows) == [holder(1)] and world.serial() == "1"
            # A change of roots must not go on without them.
            assert list(world.supply.waiting) == ["sleep-1.foo", "sleep-2.foo"]
            world.authority.refuses = False
            await world.clock.advance(6)
            assert world.serial(1) != "1" and holder(2) in world.rows
            assert not world.supply.waiting

    tasks.run(test)
    assert [record.message for record in caplog.records] == ["certificates are not issued"] * 2


def test_a_machine_that_slept_renews_by_the_wall_clock() -> None:
    async def test() -> None:
        async with running() as world:
            wall = 0.0
            world.clock.wall = lambda: world.clock.monotonic() + wall  # type: ignore[method-assign]
            await world.take(1)
            wall = DAY
            await world.clock.advance(61)
            assert world.serial() == "2"

    tasks.run(test)


def test_those_who_went_are_not_remembered_until_their_certificates_would_have_ended() -> None:
    async def test() -> None:
        async with running(pace=Pace(grace=0.0)) as world:
            for hundred in range(50):
                numbers = range(100 * hundred, 100 * hundred + 100)
                await world.take(*numbers)
                for number in numbers:
                    world.supply.give_back(holder(number))
            await world.clock.advance(1)
            assert len(world.supply) == 0
            assert len(world.supply._due) < 1500

    tasks.run(test)


def test_keys_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        async with running() as world:
            await world.take(1)
            assert b"key 1" in world.rows[holder()].key
            assert "key 1" not in repr(world.rows)

    tasks.run(test)
    assert "key 1" not in caplog.text
