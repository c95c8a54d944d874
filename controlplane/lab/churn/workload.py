"""A workload: the objects that are there before it starts, and what is done to them, when.

Numbers grow with time: among the changes of one object the greater number is the later one.  So a
proxy has change n of an object when it was sent n, or a greater number of the same object.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from controlplane.lab.churn.mesh import Mesh
from controlplane.lab.churn.objects import Raw


class Key(NamedTuple):
    """Which object."""

    kind: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Edit:
    """One object written or deleted.

    `marked`: the number stands in the object, so that a response tells of it.  What is deleted, and
    what is no service, rule or endpoint by itself (Pods, Namespaces), has only the server's clock.
    """

    number: int
    action: Literal["put", "delete"]
    raw: Raw
    marked: bool = True

    @property
    def key(self) -> Key:
        return key_of(self.raw)


@dataclass(frozen=True, slots=True)
class Event:
    """Edits that are made at once, `at` seconds after the start."""

    at: float
    changes: tuple[Edit, ...]


@dataclass(frozen=True, slots=True)
class Reconnect:
    """A share of all proxies loses its connection `at` seconds after the start, and comes back."""

    at: float
    fraction: float


@dataclass(frozen=True, slots=True)
class Workload:
    """A schedule; equal for equal name, mesh, seed, seconds and options."""

    name: str
    seed: int
    mesh: Mesh
    initial: tuple[Raw, ...]
    events: tuple[Event, ...]
    storms: tuple[Reconnect, ...] = ()
    seconds: float = 0.0
    description: str = ""

    def edits(self) -> Iterator[Edit]:
        """All edits in order of time and number."""
        for event in self.events:
            yield from event.changes

    def keys(self) -> dict[int, Key]:
        """Which object each number is about."""
        return {edit.number: edit.key for edit in self.edits()}

    def digest(self) -> str:
        """A hash of everything that happens: equal digests, equal workloads."""
        shown = [
            self.initial,
            [
                [event.at, [[e.number, e.action, e.marked, e.raw] for e in event.changes]]
                for event in self.events
            ],
            [[storm.at, storm.fraction] for storm in self.storms],
        ]
        return hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()


def key_of(raw: Mapping[str, Any]) -> Key:
    """The object's kind, namespace ("" for what has none) and name."""
    metadata = raw["metadata"]
    return Key(raw["kind"], metadata.get("namespace", ""), metadata["name"])


def has(number: int, keys: Mapping[int, Key], latest: Mapping[Key, int]) -> bool:
    """Whether a proxy has a change, given the greatest number of each object that it was sent."""
    return latest.get(keys[number], 0) >= number
