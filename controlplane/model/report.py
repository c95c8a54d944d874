"""The problems of one object, collected while it is read."""

from __future__ import annotations

from controlplane.model.problem import Level, Origin, Problem

MOST = 100
"""Problems kept for one object: beyond that a reader learns nothing new."""


class Report:
    """Collects problems under one object's name and place; `failed` once there is an error among them."""

    __slots__ = ("failed", "kind", "name", "namespace", "problems", "strict", "where")

    def __init__(self, kind: str, where: Origin | None, *, strict: bool) -> None:
        self.kind = kind
        self.namespace = ""
        self.name = ""
        self.where = where
        self.strict = strict
        """Whether unknown fields are worth a warning."""
        self.failed = False
        self.problems: list[Problem] = []

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
