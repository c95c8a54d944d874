"""A sink that keeps what a source of containers delivers, and tells it as endpoints."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from controlplane.model.problem import Problem
from controlplane.sources.change import Change


class Inbox:
    """What arrived: objects by kind and name, problems by place."""

    def __init__(self, source: str = "docker") -> None:
        self.source = source
        self.rows: dict[tuple[str, str], Any] = {}
        self.batches: list[list[Change]] = []
        self.problems: dict[str, tuple[Problem, ...]] = {}
        self.outages: list[str] = []
        self.synced_with: list[tuple[str, str]] | None = None

    async def apply(self, changes: Sequence[Change]) -> None:
        await asyncio.sleep(0)
        self.batches.append(list(changes))
        for change in changes:
            row = (change.kind, change.key.name)
            if change.raw is None:
                del self.rows[row]
            else:
                self.rows[row] = change.raw

    def report(self, where: str, problems: Sequence[Problem]) -> None:
        assert where.startswith(f"{self.source}:")
        self.problems[where] = tuple(problems)
        if where == "docker:api":
            self.outages.extend(one.message for one in problems)

    def synced(self, source: str) -> None:
        assert (source, self.synced_with) == (self.source, None)
        self.synced_with = sorted(self.rows)

    def endpoints(self, service: str) -> list[tuple[str, bool, bool]]:
        """(address, ready, terminating) of each endpoint."""
        found = []
        for (kind, _), raw in sorted(self.rows.items()):
            if kind == "EndpointSlice" and raw["metadata"]["labels"]["kubernetes.io/service-name"] == service:
                for one in raw["endpoints"]:
                    conditions = one["conditions"]
                    found.append((one["addresses"][0], conditions["ready"], conditions["terminating"]))
        return found

    @property
    def outage(self) -> str:
        return " ".join(one.message for one in self.problems.get("docker:api", ()))
