"""The problems of one object, collected while it is read."""

from __future__ import annotations

from collections.abc import Collection

from controlplane.model.describe import describe, nearest, printable
from controlplane.model.problem import Level, Origin, Problem

MOST = 100
"""Problems kept for one object: beyond that a reader learns nothing new."""


class Report:
    """Collects problems under one object's name and place; `failed` once there is an error among them."""

    __slots__ = ("failed", "kind", "name", "namespace", "problems", "strict", "unknown", "where")

    def __init__(self, kind: str, where: Origin | None, *, strict: bool) -> None:
        self.kind = kind
        self.namespace = ""
        self.name = ""
        self.where = where
        self.strict = strict
        """Whether unknown fields are worth a word."""
        self.unknown: Level = "warning"
        """What that word is."""
        self.failed = False
        self.problems: list[Problem] = []

    def add_unknown(self, path: str, name: object, known: Collection[str]) -> None:
        """Complain, as loudly as this object's kind wants it, of a field that the message at `path` lacks."""
        if not isinstance(name, str):
            self.add(
                self.unknown, path, f"has {describe(name)} as a key", "remove it; field names are strings"
            )
            return
        near = nearest(name, known)
        effect = "" if self.unknown == "error" else " and has no effect"
        field = f"{path}.{printable(name)}" if path else printable(name)
        advice = f"did you mean {near}?" if near else "remove it"
        self.add(self.unknown, field, f"is not a known field{effect}", advice)

    def add(self, level: Level, field: str, message: str, remedy: str) -> None:
        """Note one problem with the field at this path ("spec.http[0].timeout")."""
        if level == "error":
            self.failed = True
        if len(self.problems) > MOST:
            return
        if len(self.problems) == MOST:
            level, field, message, remedy = "info", "", "further problems are not listed", "mend these first"
        self.problems.append(
            Problem(
                level=level,
                kind=self.kind,
                namespace=self.namespace,
                name=self.name,
                file=self.where.file if self.where else "",
                line=self.where.line if self.where else None,
                field=field,
                message=message,
                remedy=remedy,
            )
        )
