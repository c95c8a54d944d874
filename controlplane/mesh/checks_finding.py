"""How a check says what it found."""

from __future__ import annotations

from typing import NamedTuple

from controlplane.model.keys import Key
from controlplane.model.problem import Level, Problem


class Finding(NamedTuple):
    """One thing that is wrong: the path of the field, what is wrong with it, and what to do."""

    field: str
    message: str
    remedy: str
    level: Level = "warning"


def as_problem(kind: str, key: Key, finding: Finding) -> Problem:
    """The finding as a Problem of an object, of the finding's level."""
    return Problem(
        level=finding.level,
        kind=kind,
        namespace=key.namespace,
        name=key.name,
        file="",
        line=None,
        field=finding.field,
        message=finding.message,
        remedy=finding.remedy,
    )
