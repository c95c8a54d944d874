"""One line of a recording: typed fields, and what is wrong with them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from controlplane.base.errors import MiniIstiodError

T = TypeVar("T")


class RecordingError(MiniIstiodError):
    """A file that is no recording, or has a line that cannot be used; the message says which and why."""


class Line:
    """One line's fields; `where` is FILE:LINE."""

    def __init__(self, where: str, raw: Mapping[str, Any], path: str = "") -> None:
        self.where = where
        self.raw = raw
        self._path = path

    def field(self, name: str, kind: type[T]) -> T:
        """A field of this type; numbers with a point may be written without."""
        value = self.raw.get(name)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self.wrong(name, f"expected {_KINDS[kind]}")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts."""
        found = self.field(name, list)
        if not all(isinstance(one, str) for one in found):
            raise self.wrong(name, "expected a list of texts")
        return tuple(found)

    def part(self, name: str) -> Line:
        """The object in a field."""
        return Line(self.where, self.field(name, dict), f"{self._path}{name}.")

    def wrong(self, name: str, expected: str) -> RecordingError:
        found = shown(self.raw[name]) if name in self.raw else "nothing"
        return RecordingError(f"{self.where}: {self._path}{name}: {expected}, found {found}")


_KINDS = {
    str: "text",
    int: "a whole number",
    float: "a number",
    list: "a list",
    dict: "an object",
    bool: "a switch",
}


def shown(value: Any) -> str:
    """A value as JSON, cut short."""
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
