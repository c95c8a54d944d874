"""The same object in two places: one is used, and its author is told which."""

from __future__ import annotations

from controlplane.model.problem import Problem
from controlplane.sources.naming import Name


def duplicate(name: Name, file: str, line: int | None, winner: str) -> Problem:
    """The Problem of the copy that is not used; `winner` says where the other one stands."""
    return Problem(
        "error",
        name.kind,
        name.key.namespace,
        name.key.name,
        file,
        line,
        "metadata.name",
        f"{name} is defined twice; the one at {winner} is used, this one is not",
        "remove or rename one of them",
    )
