"""The files of a plugged-in CA change: what is taken up, what is not, and what is said."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from controlplane.base.clock import FakeClock
from controlplane.base.errors import EnvironmentUnfit
from controlplane.ca import plugged
from controlplane.ca.authority import Authority
from controlplane.ca.reload import Reload
from controlplane.model.certificate import TrustBundle
from tests.support.cas import NOW, Made, make_ca, plug


class World:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.old, self.new = make_ca("old"), make_ca("new")
        self.clock = FakeClock(NOW)
        self.write(self.old, self.old)
        found = plugged.load(folder, NOW)
        self.authority = Authority(found.signer, found.roots, clock=self.clock)
        self.published: list[TrustBundle] = []
        self.reload = Reload(folder, self.authority, self.clock, self.publish)

    def publish(self, bundle: TrustBundle) -> None:
        # Before anybody is told: the file must not lag behind what proxies learn.
        assert bundle != self.authority.bundle or self.published
        self.published.append(bundle)

    def write(self, signer: Made, *roots: Made) -> None:
        plug(self.folder, signer, roots)

    @property
    def state(self) -> tuple[Made, tuple[bytes, ...]]:
        signer = self.authority.signer.certificate
        made = self.old if signer == self.old.certificate else self.new
        return made, self.authority.bundle.roots

    def watch(self, *acts: object) -> None:
        """Do one thing after the other, with half a minute after each, while the task runs."""

        async def live() -> None:
            task = asyncio.create_task(self.reload.run())
            for act in acts:
                act()  # type: ignore[operator]
                await self.clock.advance(30.0)
                assert not task.done()
            task.cancel()

        asyncio.run(live())


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_nothing_is_new(world: World) -> None:
    assert not world.reload.reload()
    world.write(world.old, world.old)
    assert not world.reload.reload()
    assert world.published == []


def test_a_new_root_in_three_steps(world: World) -> None:
    old, new = world.old, world.new
    for signer, roots in ((old, (old, new)), (new, (old, new)), (new, (new,))):
        world.write(signer, *roots)
        assert world.reload.reload()
        assert world.state == (signer, tuple(one.pem for one in roots))
        assert world.published[-1] == world.authority.bundle


def test_a_step_too_many_is_refused_and_changes_nothing(world: World) -> None:
    world.write(world.new, world.new)
    with pytest.raises(EnvironmentUnfit, match="its root is not trusted yet"):
        world.reload.reload()
    assert world.state == (world.old, (world.old.pem,))
    assert world.published == []


def test_a_step_waits_for_those_who_have_not_taken_the_last(world: World) -> None:
    world.write(world.old, world.old, world.new)
    world.reload.reload()
    world.reload.behind = lambda: ("web.default", "db.default")
    world.write(world.new, world.old, world.new)
    with pytest.raises(EnvironmentUnfit, match=r"2 proxies have not followed .*web\.default, db\.default"):
        world.reload.reload()
    assert world.state[0] is world.old


def test_new_files_are_noticed(world: World) -> None:
    world.watch(
        lambda: None,
        lambda: world.write(world.old, world.old, world.new),
        lambda: world.write(world.new, world.old, world.new),
    )
    assert world.state == (world.new, (world.old.pem, world.new.pem))


def test_half_written_files_are_said_once_and_taken_up_when_whole(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    key = world.new.key_pem

    def half() -> None:
        world.write(world.new, world.old, world.new)
        (world.folder / "ca-key.pem").write_bytes(world.old.key_pem)

    world.watch(lambda: world.write(world.old, world.old, world.new), half)
    assert world.state[0] is world.old
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "does not belong" in str(caplog.records[0].__dict__["reason"])
    world.watch(lambda: (world.folder / "ca-key.pem").write_bytes(key))
    assert world.state[0] is world.new


def test_who_was_behind_is_waited_for_without_another_change_of_files(world: World) -> None:
    world.reload.behind = lambda: ("web.default",)

    def follow() -> None:
        world.reload.behind = tuple

    world.watch(lambda: world.write(world.old, world.old, world.new), follow)
    assert len(world.state[1]) == 2


def test_files_that_go_change_nothing(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.watch(lambda: (world.folder / "ca-key.pem").unlink())
    assert world.state == (world.old, (world.old.pem,))
    assert "cannot be read" in str(caplog.records[0].__dict__["reason"])
