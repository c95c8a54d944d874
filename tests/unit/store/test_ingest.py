"""Raw objects become values and writes; what was valid stays."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Sequence
from typing import Any

import pytest

from controlplane.base.clock import FakeClock
from controlplane.model.keys import Key
from controlplane.model.kinds import services, virtual_services
from controlplane.model.kinds.refused import Refused, refused_key
from controlplane.model.problem import Origin, Problem
from controlplane.sources.change import Change
from controlplane.store.debounce import Write
from controlplane.store.ingest import SLICE, Ingest
from controlplane.telemetry.wave import Seen


def service(port: object = 80) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "a"},
        "spec": {"ports": [{"port": port}]},
    }


class Writer:
    """Who would be the debouncer; `rows` is what a graph would have."""

    def __init__(self) -> None:
        self.calls: list[list[Write]] = []
        self.seen: list[Seen] = []
        self.rows: dict[tuple[str, Key], Any] = {}
        self.flushed = 0

    def add(self, writes: Sequence[Write], changes: Sequence[Seen]) -> None:
        assert writes
        self.calls.append(list(writes))
        self.seen.extend(changes)
        for table, key, value, before in writes:
            assert self.rows.get((table.name, key)) == before != value
            self.rows[table.name, key] = value
            if value is None:
                del self.rows[table.name, key]

    def flush(self) -> None:
        self.flushed += 1


class World:
    """An ingest whose calls are made one by one."""

    def __init__(self, expected: Sequence[str] = ()) -> None:
        self.writer = Writer()
        self.clock = FakeClock(500.0)
        self.ingest = Ingest(self.writer, expected=expected, clock=self.clock)
        self._ids = itertools.count(1)

    def change(self, raw: dict[str, Any] | None, file: str = "a.yaml", line: int = 1, **name: str) -> Change:
        kind = name.get("kind") or (raw or {}).get("kind", "Service")
        group = name.get("group", (raw or {}).get("apiVersion", "v1").rpartition("/")[0])
        key = Key("default", name.get("name", "a"))
        return Change(kind, key, raw, Origin(file, line), next(self._ids), 499.0, group)

    def apply(self, *changes: Change) -> int:
        """Returns how many writes came of it."""
        before = sum(map(len, self.writer.calls))
        asyncio.run(self.ingest.apply(changes))
        return sum(map(len, self.writer.calls)) - before

    @property
    def port(self) -> int | None:
        row = self.writer.rows.get(("services", Key("default", "a")))
        return row.ports[0].port if row else None

    @property
    def complaints(self) -> list[str]:
        return [f"{p.file}:{p.line} {p.level} {p.message}" for p in self.ingest.problems()]


def test_an_object_becomes_a_row() -> None:
    world = World()
    assert world.apply(world.change(service(80))) == 1
    assert world.port == 80
    assert world.writer.calls[0][0].table is services
    assert world.complaints == []


def test_a_change_is_seen_with_its_place_and_time() -> None:
    world = World()
    world.apply(world.change(service(80), "mesh/a.yaml", 7))
    assert world.writer.seen == [Seen(1, "Service", "default", "a", "mesh/a.yaml:7", 499.0, 500.0)]


def test_equal_values_are_nothing_at_all() -> None:
    world = World()
    world.apply(world.change(service(80)))
    assert world.apply(world.change(service(80), line=9)) == 0
    assert len(world.writer.calls) == 1
    assert [one.id for one in world.writer.seen] == [1]


def test_metadata_that_cannot_matter_is_nothing_either() -> None:
    world = World()
    world.apply(world.change(service(80)))
    again = service(80)
    again["metadata"] = {**again["metadata"], "resourceVersion": "7", "generation": 3}
    assert world.apply(world.change(again)) == 0


def test_a_deleted_object_is_a_removed_row() -> None:
    world = World()
    world.apply(world.change(service(80)))
    assert world.apply(world.change(None)) == 1
    assert world.port is None
    assert list(world.ingest.objects()) == []
    assert world.apply(world.change(None)) == 0


def test_a_refused_version_keeps_the_last_valid_one() -> None:
    world = World()
    world.apply(world.change(service(80)))
    assert world.apply(world.change(service("eighty"), line=3)) == 0
    (complaint,) = world.complaints
    assert complaint.startswith("a.yaml:3 error")
    assert "last valid version stays in use" in complaint
    (stored,) = world.ingest.objects()
    assert (stored.current, stored.used, stored.value.ports[0].port) == (False, True, 80)
    assert world.apply(world.change(service(81))) == 1
    assert world.complaints == []


def test_an_object_that_was_never_valid_is_no_row() -> None:
    world = World()
    assert world.apply(world.change(service("eighty"))) == 1
    assert world.port is None
    (complaint,) = world.complaints
    assert "stays in use" not in complaint
    assert world.apply(world.change(None)) == 1
    assert world.complaints == []


def test_of_two_copies_the_first_file_wins_and_the_other_takes_over() -> None:
    world = World()
    world.apply(world.change(service(82), "b.yaml", 4))
    assert world.apply(world.change(service(81), "a.yaml", 9)) == 1
    assert world.port == 81
    (problem,) = world.ingest.problems()
    assert (problem.file, problem.line, problem.level) == ("b.yaml", 4, "error")
    assert "a.yaml:9" in problem.message
    assert [stored.used for stored in world.ingest.objects()] == [True, False]
    # The copy that is not used may change as it likes.
    assert world.apply(world.change(service(83), "b.yaml", 5)) == 0
    assert world.ingest.problems()[0].line == 5
    assert world.apply(world.change(None, "a.yaml")) == 1
    assert world.port == 83
    assert world.complaints == []


def test_a_copy_that_is_not_valid_does_not_win() -> None:
    world = World()
    world.apply(world.change(service("eighty"), "a.yaml"), world.change(service(82), "b.yaml"))
    assert world.port == 82
    world.apply(world.change(service(81), "a.yaml"))
    assert world.port == 81


def test_a_rename_is_no_write() -> None:
    world = World()
    world.apply(world.change(service(80), "a.yaml"))
    assert world.apply(world.change(service(80), "b.yaml"), world.change(None, "a.yaml")) == 0
    assert world.complaints == []
    assert [stored.origin for stored in world.ingest.objects()] == [Origin("b.yaml", 1)]


def test_changes_of_one_apply_are_handed_over_together() -> None:
    world = World()
    route = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "a"},
        "spec": {"hosts": ["a"], "http": [{"route": [{"destination": {"host": "a"}}]}]},
    }
    world.apply(world.change(service(80)), world.change(route), world.change(service(81)))
    assert [[write.table for write in call] for call in world.writer.calls] == [[services, virtual_services]]
    assert world.port == 81


def test_a_kind_is_found_without_its_group() -> None:
    world = World()
    spec = {"outboundTrafficPolicy": {"mode": "ALLOW_ANY"}}
    raw = {"apiVersion": "networking.istio.io/v1", "kind": "Sidecar", "metadata": {"name": "a"}, "spec": spec}
    world.apply(Change("Sidecar", Key("default", "a"), raw, None, 1, 0.0))
    assert world.apply(Change("Sidecar", Key("default", "a"), None, None, 2, 0.0)) == 1


def test_nothing_is_written_before_all_sources_have_synced() -> None:
    world = World(expected=("directory", "kube"))
    assert world.apply(world.change(service(80))) == 0
    world.ingest.synced("kube")
    assert world.ingest.waiting_for == ("directory",)
    world.apply(world.change(service(81)))
    assert (world.writer.calls, world.writer.flushed) == ([], 0)
    world.ingest.synced("directory")
    assert world.port == 81
    assert (len(world.writer.calls), world.writer.flushed) == (1, 1)
    asyncio.run(asyncio.wait_for(world.ingest.wait_synced(), 1))
    world.ingest.synced("directory")
    assert world.writer.flushed == 1


def test_the_gate_opens_for_an_empty_mesh_too() -> None:
    world = World(expected=("directory",))
    world.ingest.synced("directory")
    asyncio.run(asyncio.wait_for(world.ingest.wait_synced(), 1))
    assert world.writer.calls == []


@pytest.mark.parametrize(
    ("api_version", "kind", "message", "remedy"),
    [
        ("apps/v1", "Deployment", None, None),
        ("v1", "ConfigMap", None, None),
        ("rbac.authorization.k8s.io/v1", "ClusterRole", None, None),
        ("telemetry.istio.io/v1", "Telemetry", "not supported yet", "remove it"),
        ("gateway.networking.k8s.io/v1", "HTTPRoute", "not supported yet", "remove it"),
        ("gateway.networking.k8s.io/v1", "Gateway", "not supported yet", "remove it"),
        ("networking.k8s.io/v1", "Ingress", "not supported yet", "remove it"),
        ("networking.istio.io/v1", "VirtualServise", "no kind VirtualServise", "did you mean VirtualService"),
        ("v1", "Servise", "no kind Servise", "did you mean Service in v1?"),
        ("serving.knative.dev/v1", "Service", "no kind Service", "did you mean Service in v1?"),
        ("v1", "Deployment", "no kind Deployment", "did you mean Deployment?"),
        ("example.com/v1", "Zebra", "no kind Zebra is known in the API group example.com", "correct kind"),
    ],
)
def test_kinds_that_are_not_read(
    api_version: str, kind: str, message: str | None, remedy: str | None
) -> None:
    world = World()
    raw = {"apiVersion": api_version, "kind": kind, "metadata": {"name": "a"}}
    assert world.apply(world.change(raw), world.change(raw)) == 0
    if message is None or remedy is None:
        assert world.complaints == []
        return
    (problem,) = world.ingest.problems()
    assert (problem.level, problem.kind, problem.name, problem.field) == ("warning", kind, "a", "kind")
    assert message in problem.message
    assert remedy in problem.remedy
    world.apply(world.change(None, kind=kind, group=api_version.rpartition("/")[0]))
    assert world.complaints == []


def test_problems_of_sources_stand_beside_those_of_objects() -> None:
    world = World()
    world.apply(world.change(service("eighty"), "b.yaml", 2))
    broken = Problem("error", "", "", "", "a.yaml", 3, "", "not YAML", "mend it")
    world.ingest.report("directory:a.yaml", [broken])
    assert [(p.file, p.line) for p in world.ingest.problems()] == [("a.yaml", 3), ("b.yaml", 2)]
    world.ingest.report("directory:a.yaml", [])
    assert len(world.ingest.problems()) == 1


def test_problems_are_logged_once_and_their_solution_too(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    with caplog.at_level(logging.INFO, "controlplane.store.problems"):
        world.apply(world.change(service("eighty"), "b.yaml", 2))
        world.apply(world.change(service("eighty"), "b.yaml", 2))
        world.apply(world.change(service(80), "b.yaml", 2))
    first, second = caplog.records
    assert first.levelno == logging.ERROR
    assert first.getMessage().startswith("b.yaml:2: Service default/a: spec.ports[0].port: ")
    assert first.__dict__["problem"]["file"] == "b.yaml"
    assert second.getMessage().startswith("solved: b.yaml:2: ")


class Running(FakeClock):
    """A clock on which every look takes a while."""

    def __init__(self, step: float) -> None:
        super().__init__()
        self._step = step

    def monotonic(self) -> float:
        self._now += self._step
        return self._now


def test_large_loads_give_the_loop_its_turns() -> None:
    writer = Writer()
    ingest = Ingest(writer, clock=Running(SLICE / 10))
    changes = [
        Change("Service", Key("default", f"s{number}"), service(80), Origin("a.yaml", number), number, 0.0)
        for number in range(1000)
    ]

    async def main() -> int:
        load = asyncio.create_task(ingest.apply(changes))
        turns = 0
        while not load.done():
            assert writer.calls == []
            await asyncio.sleep(0)
            turns += 1
        return turns

    # Two looks at the clock for each change that is parsed, one for each that is published.
    assert 200 <= asyncio.run(main()) <= 400
    assert len(writer.rows) == 1000


def test_callers_keep_their_order() -> None:
    world = World()
    slow = [world.change(service(80), name=f"s{number}") for number in range(50)]

    ingest = Ingest(world.writer, clock=Running(1))

    async def main() -> None:
        first = asyncio.create_task(ingest.apply([*slow, world.change(service(81))]))
        await asyncio.sleep(0)
        second = asyncio.create_task(ingest.apply([world.change(service(82))]))
        await asyncio.gather(first, second)

    asyncio.run(main())
    assert world.port == 82
    assert [len(call) for call in world.writer.calls] == [51, 1]


def test_an_interrupted_apply_is_made_up_for_by_the_next() -> None:
    world = World()

    ingest = Ingest(world.writer, clock=Running(1))

    async def main() -> None:
        first = asyncio.create_task(
            ingest.apply([world.change(service(81)), world.change(service(80), name="b")])
        )
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait([first])
        await ingest.apply([world.change(service(80), name="c")])

    asyncio.run(main())
    assert world.port == 81


def test_the_checks_are_told_which_objects_were_never_valid() -> None:
    world = World()
    row = ("refused_objects", refused_key("Service", Key("default", "a")))
    world.apply(world.change(service("eighty")))
    assert world.writer.rows == {row: Refused("Service", ("a.default.svc.cluster.local",))}
    assert world.apply(world.change(service("ninety"))) == 0
    # A valid version, here or elsewhere, and the end of the object take it back.
    world.apply(world.change(service(80), "b.yaml"))
    assert row not in world.writer.rows
    world.apply(world.change(None, "b.yaml", kind="Service", group=""))
    assert row in world.writer.rows
    world.apply(world.change(None, kind="Service", group=""))
    assert world.writer.rows == {}
