"""A user's mistake, told so that it can be mended: which object, which field, what is wrong, what to do.

Problems are values, never exceptions.  They travel from the parsers and the queries to the log and
to /debug/problems, whose JSON is exactly `Problem.as_json`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

Level: TypeAlias = Literal["error", "warning", "info"]


class Origin(NamedTuple):
    """The place that an object was read from; `line` counts from 1, None when there are no lines."""

    file: str
    line: int | None


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with one object.

    An "error" means that the object (or the part named by `field`) is not used; a "warning" that it
    is used, though perhaps not as its author meant; an "info" is advice.  Strings that do not apply
    are empty.
    """

    level: Level
    kind: str
    namespace: str
    name: str
    file: str
    line: int | None
    field: str
    message: str
    remedy: str

    def as_json(self) -> dict[str, str | int | None]:
        """The JSON object served at /debug/problems."""
        return {
            "level": self.level,
            "kind": self.kind,
            "namespace": self.namespace,
            "name": self.name,
            "file": self.file,
            "line": self.line,
            "field": self.field,
            "message": self.message,
            "remedy": self.remedy,
        }
