"""A source driven by code."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence

import pytest

from controlplane.base.clock import FakeClock
from controlplane.model.keys import Key
from controlplane.model.problem import Problem
from controlplane.sources.change import Change
from controlplane.sources.memory import MemorySource


def service(name: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}}


class Inbox:
    def __init__(self) -> None:
        self.heard: list[object] = []

    async def apply(self, changes: Sequence[Change]) -> None:
        await asyncio.sleep(0)
        self.heard.append([(change.key.name, change.raw is not None, change.id) for change in changes])

    def report(self, where: str, problems: Sequence[Problem]) -> None:
        raise AssertionError("nothing to report")

    def synced(self, source: str) -> None:
        self.heard.append(source)


def test_what_is_put_together_arrives_together() -> None:
    async def main() -> None:
        source, inbox = MemorySource("code", clock=FakeClock(), ids=itertools.count(7)), Inbox()
        source.put(service("a"))
        task = asyncio.create_task(source.run(inbox))
        await source.delivered()
        assert inbox.heard == [[("a", True, 7)], "code"]
        source.put(service("b"), service("c"))
        source.delete(service("a"))
        await source.delivered()
        source.put(service("d"))
        await source.delivered()
        assert inbox.heard[2:] == [[("b", True, 8), ("c", True, 9), ("a", False, 10)], [("d", True, 11)]]
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def test_changes_say_when_and_what() -> None:
    clock = FakeClock(50.0)
    heard: list[Change] = []

    class Keep(Inbox):
        async def apply(self, changes: Sequence[Change]) -> None:
            heard.extend(changes)

    async def main() -> None:
        source = MemorySource(clock=clock)
        source.put({"apiVersion": "networking.istio.io/v1", "kind": "Sidecar", "metadata": {"name": "x"}})
        source.put(service("a"), at=49.5)
        task = asyncio.create_task(source.run(Keep()))
        await source.delivered()
        task.cancel()

    asyncio.run(main())
    first, second = heard
    assert (first.group, first.key, first.at) == ("networking.istio.io", Key("default", "x"), 50.0)
    assert (second.group, second.at, second.place) == ("", 49.5, "<memory>")


def test_objects_without_a_name_are_refused_at_once() -> None:
    source = MemorySource()
    with pytest.raises(ValueError, match="no kind"):
        source.put({})
    with pytest.raises(ValueError, match="no name"):
        source.delete({"apiVersion": "v1", "kind": "Service", "metadata": {}})
