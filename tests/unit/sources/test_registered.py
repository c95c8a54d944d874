"""Machines that join: who has an entry, as what, for how long, and who may not."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from controlplane.base.clock import FakeClock
from controlplane.model.identity import Identity
from controlplane.model.keys import Key
from controlplane.model.kinds.workload_group import WORKLOAD_GROUP, WorkloadGroup
from controlplane.model.problem import Problem
from controlplane.model.proxy import Proxy, parse_node
from controlplane.sources.change import Change
from controlplane.sources.registered import GRACE, Registrations

GROUP = Key("shop", "vms")
ENTRY = Key("shop", "vms-10.1.0.7")


def group(account: str = "vm", **template: Any) -> WorkloadGroup:
    raw = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "WorkloadGroup",
        "metadata": {"name": "vms", "namespace": "shop"},
        "spec": {
            "metadata": {"labels": {"app": "vm", "from": "metadata"}, "annotations": {"note": "x"}},
            "template": {
                "serviceAccount": account,
                "ports": {"http": 8080},
                "labels": {"from": "template", "tier": "back"},
                **template,
            },
        },
    }
    found = WORKLOAD_GROUP.parse(raw).value
    assert isinstance(found, WorkloadGroup)
    return found


def machine(account: str | None = "vm", namespace: str = "shop", **metadata: Any) -> Proxy:
    said = {"AUTO_REGISTER_GROUP": "vms", "LABELS": {"version": "v1"}, **metadata}
    proxy = parse_node("sidecar~10.1.0.7~vm-7.shop~shop.svc.cluster.local", said)
    identity = None if account is None else Identity("cluster.local", namespace, account)
    return replace(proxy, identity=identity)


class Store:
    def __init__(self) -> None:
        self.rows: dict[Key, Any] = {}
        self.problems: dict[str, tuple[Problem, ...]] = {}
        self.first: dict[Key, Any] | None = None

    async def apply(self, changes: Sequence[Change]) -> None:
        for change in changes:
            assert change.kind == "WorkloadEntry"
            if change.raw is None:
                del self.rows[change.key]
            else:
                self.rows[change.key] = change.raw

    def report(self, where: str, problems: Sequence[Problem]) -> None:
        self.problems[where] = tuple(problems)

    def synced(self, source: str) -> None:
        self.first = dict(self.rows)

    @property
    def told(self) -> list[str]:
        return [one.message for found in self.problems.values() for one in found]


class Scene:
    def __init__(self, file: Path | None) -> None:
        self.clock = FakeClock()
        self.store = Store()
        self.source = Registrations(file, clock=self.clock, ids=itertools.count())

    async def passes(self, seconds: float = 0.0) -> None:
        await self.clock.advance(seconds)
        for _ in range(5):
            await asyncio.sleep(0)


def play(script: Callable[[Scene], Awaitable[None]], file: Path | None = None) -> Scene:
    async def run() -> Scene:
        scene = Scene(file)
        task = asyncio.create_task(scene.source.run(scene.store))
        await scene.passes()
        scene.source.groups({GROUP: group()})
        await script(scene)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return scene

    return asyncio.run(run())


def test_who_connects_has_an_entry_from_the_template() -> None:
    async def script(scene: Scene) -> None:
        scene.source.arrived(machine(NETWORK=""))
        await scene.passes()

    (found,) = play(script).store.rows.values()
    labels = {"app": "vm", "from": "metadata", "tier": "back", "version": "v1"}
    assert found["metadata"] == {
        "namespace": "shop",
        "name": ENTRY.name,
        "labels": labels,
        "annotations": {"note": "x", "istio.io/autoRegistrationGroup": "vms"},
    }
    assert found["spec"] == {
        "address": "10.1.0.7",
        "labels": labels,
        "serviceAccount": "vm",
        "ports": {"http": 8080},
    }


def test_an_entry_outlives_its_last_connection_by_the_grace_period() -> None:
    async def script(scene: Scene) -> None:
        for _ in range(2):
            scene.source.arrived(machine())
        await scene.passes()
        scene.source.left(machine())
        await scene.passes(GRACE * 2)
        assert ENTRY in scene.store.rows  # one stream is still open
        scene.source.left(machine())
        await scene.passes(GRACE - 1)
        assert ENTRY in scene.store.rows
        scene.source.arrived(machine())
        await scene.passes(GRACE * 2)
        assert ENTRY in scene.store.rows  # it came back
        scene.source.left(machine())
        await scene.passes(GRACE + 1)
        assert scene.store.rows == {}

    play(script)


def test_who_is_somebody_else_may_not_join() -> None:
    async def script(scene: Scene) -> None:
        for other, said in (
            (machine("other"), "is service account other, and the group is for service account vm"),
            (machine(None), "has not proved who it is, and the group is for service account vm"),
            (machine("vm", "elsewhere"), "is of namespace elsewhere, and the group is not"),
        ):
            scene.source.arrived(other)
            await scene.passes()
            assert scene.store.rows == {}
            assert scene.store.told == [f"proxy vm-7.shop asks to join and may not: it {said}"]
            scene.source.left(other)
            await scene.passes(GRACE + 1)
            assert scene.store.told == []

    play(script)


def test_a_group_without_an_account_takes_anybody_of_its_namespace() -> None:
    async def script(scene: Scene) -> None:
        scene.source.groups({GROUP: group("")})
        scene.source.arrived(machine(None))
        await scene.passes()
        assert "serviceAccount" not in scene.store.rows[ENTRY]["spec"]

    play(script)


def test_a_change_of_the_group_is_one_of_its_entries_and_its_end_is_theirs() -> None:
    async def script(scene: Scene) -> None:
        scene.source.arrived(machine())
        await scene.passes()
        scene.source.groups({GROUP: group(weight=7, locality="r1/z1")})
        await scene.passes()
        assert (scene.store.rows[ENTRY]["spec"]["weight"], scene.store.rows[ENTRY]["spec"]["locality"]) == (
            7,
            "r1/z1",
        )
        scene.source.groups({})
        await scene.passes()
        assert scene.store.rows == {}

    play(script)


def test_over_a_restart_machines_stay_as_long_as_they_may_come_back(tmp_path: Path) -> None:
    file = tmp_path / "registered.json"

    async def joins(scene: Scene) -> None:
        scene.source.arrived(machine())
        await scene.passes()

    async def waits(scene: Scene) -> None:
        assert scene.store.first is not None and ENTRY in scene.store.first
        await scene.passes(GRACE - 1)
        assert ENTRY in scene.store.rows
        await scene.passes(2)
        assert scene.store.rows == {}

    play(joins, file)
    play(joins, file)
    play(waits, file)
    file.write_text("[{}]")
    play(joins, file)


def test_who_asks_for_no_group_is_passed_over() -> None:
    async def script(scene: Scene) -> None:
        scene.source.arrived(machine(AUTO_REGISTER_GROUP=""))
        scene.source.left(machine(AUTO_REGISTER_GROUP=""))
        await scene.passes()
        assert scene.store.rows == {}

    play(script)
