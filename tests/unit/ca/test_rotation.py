"""The change of root: what each stage trusts, signs with and waits for, and every place to crash in."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from controlplane.base.clock import FakeClock
from controlplane.base.errors import EnvironmentUnfit
from controlplane.ca.authority import Authority
from controlplane.ca.keep import DirectoryKeeper, Keeper, MemoryKeeper
from controlplane.ca.rotation import Pace, Rotation, RotationRefused, opened
from controlplane.ca.signer import self_signed
from controlplane.ca.stages import STAGES, Roots, Stage, abandoned, advanced, begun
from tests.support.cas import NOW

LIFE = 1e8
PACE = Pace(pause=30.0, root_lifetime=LIFE)
ORDER: tuple[Stage, ...] = ("trust", "sign", "drop", "idle")


class World:
    """One process of the control plane on what another may have kept."""

    def __init__(self, keeper: Keeper, clock: FakeClock | None = None, pace: Pace = PACE) -> None:
        self.clock = clock or FakeClock(NOW)
        roots = opened(keeper, self.clock, LIFE)
        self.authority = Authority(roots.signer, roots.trusted, clock=self.clock)
        self.rotation = Rotation(roots, keeper, self.authority, self.clock, pace)
        self.behind: tuple[str, ...] = ()
        self.held = ""
        self.rotation.behind = lambda: self.behind
        self.rotation.held = lambda: self.held

    @property
    def stage(self) -> Stage:
        return self.rotation.roots.stage


def to(stage: Stage) -> Roots:
    """Roots that have come as far as this."""
    roots = Roots("idle", NOW, self_signed(NOW, LIFE))
    if stage == "idle":
        return roots
    roots = begun(roots, self_signed(NOW, LIFE), NOW)
    while roots.stage != stage:
        roots = advanced(roots, NOW)
    return roots


def running(world: World, act: Callable[[], object]) -> None:
    """Do something (maybe async) while the rotation's task runs; what breaks in the task breaks the test."""

    async def live() -> None:
        task = asyncio.create_task(world.rotation.run())
        try:
            await world.clock.advance(0)
            found = act()
            if asyncio.iscoroutine(found):
                await found
            assert not task.done()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(live())


def test_what_each_stage_trusts_and_signs_with() -> None:
    first = to("idle")
    old, new = first.current, self_signed(NOW, LIFE)
    trust = begun(first, new, NOW + 1)
    sign = advanced(trust, NOW + 2)
    drop = advanced(sign, NOW + 3)
    idle = advanced(drop, NOW + 4)
    found = [(one.stage, one.signer, one.trusted, one.since) for one in (trust, sign, drop, idle)]
    assert found == [
        ("trust", old, (old.root, new.root), NOW + 1),
        ("sign", new, (old.root, new.root), NOW + 2),
        ("drop", new, (new.root,), NOW + 3),
        ("idle", new, (new.root,), NOW + 4),
    ]
    assert advanced(idle, NOW + 5) is idle
    assert abandoned(trust, NOW + 5) == Roots("idle", NOW + 5, old)


@pytest.mark.parametrize("stage", ORDER[:-1])
def test_one_rotation_at_a_time(stage: Stage) -> None:
    keeper = MemoryKeeper()
    keeper.save(to(stage))
    with pytest.raises(RotationRefused, match=f"its stage is {stage}"):
        World(keeper).rotation.start()


@pytest.mark.parametrize(
    ("stage", "reason"),
    [("idle", "no rotation to abandon"), ("sign", "the way is forward"), ("drop", "the way is forward")],
)
def test_only_what_does_not_sign_yet_can_be_abandoned(stage: Stage, reason: str) -> None:
    keeper = MemoryKeeper()
    keeper.save(to(stage))
    world = World(keeper)
    with pytest.raises(RotationRefused, match=reason):
        world.rotation.abandon()
    assert keeper.load() == world.rotation.roots


@pytest.mark.parametrize("stage", STAGES)
def test_what_was_kept_goes_on_where_it_was(tmp_path: Path, stage: Stage) -> None:
    kept = to(stage)
    DirectoryKeeper(tmp_path).save(kept)
    world = World(DirectoryKeeper(tmp_path))
    assert world.rotation.roots == kept
    assert (world.authority.signer, world.authority.roots) == (kept.signer, kept.trusted)


def test_each_stage_waits_for_the_pause_for_proxies_and_for_what_holds_it() -> None:
    world = World(MemoryKeeper())

    async def rotate() -> None:
        world.rotation.start()
        for number, stage in enumerate(ORDER[:-1]):
            assert world.stage == stage
            world.behind, world.held = (), ""
            await world.clock.advance(29.0)
            assert world.stage == stage
            world.behind = ("web.default",)
            await world.clock.advance(100.0)
            assert world.rotation.progress().behind == ("web.default",)
            world.behind, world.held = (), "draining"
            await world.clock.advance(100.0)
            assert world.rotation.progress().held == "draining"
            assert world.stage == stage
            world.held = ""
            await world.clock.advance(0.5)
            assert world.stage == ORDER[number + 1]

    running(world, rotate)
    assert world.rotation.progress() == world.rotation.progress().__class__(
        "idle", world.rotation.roots.since, 0, (), ""
    )


def test_a_pause_of_nothing_still_leaves_time_for_one_batch() -> None:
    world = World(MemoryKeeper(), pace=Pace(pause=0.0))

    async def rotate() -> None:
        world.rotation.start()
        await world.clock.advance(0.9)
        assert world.stage == "trust"
        await world.clock.advance(0.4)
        assert world.stage == "sign"

    running(world, rotate)


def test_who_comes_back_in_the_midst_waits_the_whole_pause(tmp_path: Path) -> None:
    DirectoryKeeper(tmp_path).save(to("sign"))
    world = World(DirectoryKeeper(tmp_path), FakeClock(NOW + 1e6))  # the stage itself is very old

    async def wait() -> None:
        await world.clock.advance(29.0)
        assert world.stage == "sign"
        await world.clock.advance(2.0)
        assert world.stage == "drop"

    running(world, wait)


class Breaks(MemoryKeeper):
    """Keeps, and then or instead the power goes: at the n-th save."""

    def __init__(self, at: int, *, after: bool) -> None:
        super().__init__()
        self.left, self.after = at, after

    def save(self, roots: Roots) -> None:
        self.left -= 1
        if self.left == 0 and not self.after:
            raise _PowerCut
        super().save(roots)
        if self.left == 0:
            raise _PowerCut


class _PowerCut(Exception):
    """The process is no more."""


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_a_crash_before_and_after_each_save(at: int, after: bool) -> None:
    keeper = Breaks(at, after=after)
    world = World(keeper)
    told = [(world.authority.signer, world.authority.roots)]
    world.authority.on_change(lambda change: told.append((world.authority.signer, world.authority.roots)))
    with pytest.raises(_PowerCut):
        world.rotation.start()
        while True:
            world.clock._now += 31.0
            assert world.rotation.step()
    # Whatever proxies were told last, the next process is at most one stage from it: each trusts the other.
    again = World(keeper)
    signer, trusted = told[-1]
    assert again.authority.signer.root in trusted
    assert signer.root in again.authority.roots
    # And it goes on to the end, or begins anew where nothing was kept.
    for _ in ORDER:
        again.clock._now += 31.0
        again.rotation.step()
    assert again.stage == "idle"
    assert len(again.authority.roots) == 1


class Full(MemoryKeeper):
    full = False

    def save(self, roots: Roots) -> None:
        if self.full:
            raise EnvironmentUnfit("roots.json: cannot be written: No space left on device")
        super().save(roots)


def test_a_full_disk_stops_the_rotation_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    keeper = Full()
    world = World(keeper)

    async def rotate() -> None:
        world.rotation.start()
        keeper.full = True
        before = world.authority.signer
        await world.clock.advance(60.0)
        assert (world.stage, world.authority.signer) == ("trust", before)
        keeper.full = False
        await world.clock.advance(1.0)
        assert world.stage == "sign"

    with caplog.at_level(logging.ERROR):
        running(world, rotate)
    assert "No space left" in str(caplog.records[0].__dict__["reason"])


def test_a_start_that_cannot_be_kept_is_told_and_changes_nothing() -> None:
    keeper = Full()
    world = World(keeper)
    keeper.full = True
    with pytest.raises(EnvironmentUnfit, match="No space"):
        world.rotation.start()
    assert (world.stage, len(world.authority.roots)) == ("idle", 1)


def test_a_root_near_its_end_is_changed_without_being_asked() -> None:
    world = World(MemoryKeeper(), pace=Pace(pause=1.0, age_look=1000.0, root_lifetime=LIFE))
    old = world.authority.signer

    async def wait() -> None:
        await world.clock.advance(0.79 * LIFE)
        assert world.authority.signer is old
        await world.clock.advance(0.02 * LIFE)

    # The looks are far apart, so that so long a time passes quickly.
    world.rotation._pace = Pace(pause=1.0, look=1e5, age_look=1e5, root_lifetime=LIFE)
    running(world, wait)
    assert world.stage == "idle"
    assert world.authority.signer != old
    assert world.authority.roots == (world.authority.signer.root,)


def test_a_root_that_has_ended_is_said_at_the_start(tmp_path: Path) -> None:
    DirectoryKeeper(tmp_path).save(to("idle"))
    with pytest.raises(EnvironmentUnfit, match="expired on 2030-03-17"):
        opened(DirectoryKeeper(tmp_path), FakeClock(NOW + LIFE), LIFE)


def test_a_command_wakes_the_task() -> None:
    world = World(MemoryKeeper(), pace=Pace(pause=0.0, age_look=1e9, root_lifetime=1e12))

    async def rotate() -> None:
        world.rotation.start()
        await world.clock.advance(10.0)

    running(world, rotate)
    assert world.stage == "idle"
    assert len(world.authority.roots) == 1


def test_an_operator_may_leave_a_stage_though_some_are_behind() -> None:
    world = World(MemoryKeeper())
    with pytest.raises(RotationRefused, match="no rotation to advance"):
        world.rotation.advance()
    world.rotation.start()
    world.behind = ("web.default",)
    for stage in ORDER[1:]:
        world.rotation.advance()
        assert world.stage == stage
