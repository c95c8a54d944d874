"""Typed reading of raw objects: every value comes with the path it was found at.

A parser asks a Reader for each field by name and type and gets a value that it can use, whatever the
object holds: what is wrong is noted in the Report and read as absent.  The fields that were asked for
are the schema, so what remains when a message is closed is unknown.  As in Istio's protobuf API, null
is absent, and so is an empty string or a zero where the API has a plain scalar.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, TypeVar

from controlplane.model.describe import describe, printable, shorten
from controlplane.model.duration import LONGEST, MILLISECOND, SECOND, written_duration
from controlplane.model.keys import Labels
from controlplane.model.report import Report

T = TypeVar("T")
INT32 = 2**31 - 1
UINT32 = 2**32 - 1


class Reader:
    """One mapping of a raw object at `path` ("" for the whole object)."""

    __slots__ = ("_asked", "_raw", "path", "report")

    def __init__(self, raw: Mapping[Any, Any], path: str, report: Report) -> None:
        self._raw = raw
        self._asked: list[str] = []
        self.path = path
        self.report = report

    def at(self, name: str) -> str:
        """The path of a field (or of an element: `name` may be "hosts[0]")."""
        return f"{self.path}.{name}" if self.path and name else self.path or name

    def error(self, name: str, message: str, remedy: str = "") -> None:
        """Refuse the object because of this field ("" = this message)."""
        self.report.add("error", self.at(name), message, remedy)

    def warn(self, name: str, message: str, remedy: str = "") -> None:
        """Accept the object, and say what its author may not expect."""
        self.report.add("warning", self.at(name), message, remedy)

    def _wrong(self, name: str, expected: str, value: object, remedy: str = "") -> None:
        self.error(name, f"expected {expected}, got {describe(value)}", remedy or f"write {expected}")

    def has(self, name: str) -> bool:
        """Whether the field is given: not null, and not an empty list."""
        value = self._raw.get(name)
        return value is not None and value != []

    def demand(self, name: str, remedy: str) -> None:
        """Refuse the object unless the field is given."""
        if not self.has(name):
            self.error(name, "is missing", remedy)

    def value(self, name: str) -> Any:
        """The raw value of any type, None where it is absent."""
        self._asked.append(name)
        return self._raw.get(name)

    def string(self, name: str) -> str | None:
        """A string, None where it is absent or empty."""
        value = self.value(name)
        if value is None:
            return None
        return self._text(name, value) or None

    def text(self, name: str, default: str = "") -> str:
        """A string, `default` where it is absent or empty."""
        return self.string(name) or default

    def required(self, name: str, remedy: str = "") -> str:
        """A string that must be there and not be empty."""
        if self._raw.get(name) in (None, ""):
            self.error(name, "is missing", remedy)
        return self.string(name) or ""

    def _text(self, name: str, value: object) -> str | None:
        if not isinstance(value, str):
            scalar = value is not None and not isinstance(value, Mapping | list)
            self._wrong(name, "a string", value, "put it in quotes" if scalar else "")
            return None
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                self.error(name, "holds half of a surrogate pair, which is not text", "write it as UTF-8")
                return None
        return value

    def boolean(self, name: str) -> bool:
        """A boolean, False where it is absent."""
        return self.optional_boolean(name) or False

    def optional_boolean(self, name: str) -> bool | None:
        """A boolean that tells false from absent."""
        value = self.value(name)
        if value is None or isinstance(value, bool):
            return value
        self._wrong(name, "true or false", value)
        return None

    def integer(self, name: str, low: int = 0, high: int = INT32) -> int | None:
        """An integer from `low` to `high` that tells 0 from absent."""
        value = self.value(name)
        return None if value is None else self._whole(name, value, low, high)

    def count(self, name: str, high: int = INT32) -> int | None:
        """An integer from 1 to `high`, None where it is absent or 0."""
        return self.integer(name, 0, high) or None

    def port(self, name: str) -> int | None:
        """A port number, None where it is absent or 0."""
        return self.integer(name, 0, 65535) or None

    def required_port(self, name: str) -> int:
        """A port number that must be there."""
        if not self.has(name) or self._raw[name] == 0:
            self.error(name, "is missing", "write a number from 1 to 65535")
        return self.port(name) or 0

    def _whole(self, name: str, value: object, low: int, high: int) -> int | None:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            self._wrong(name, f"an integer from {low} to {high}", value)
            return None
        return value

    def number(self, name: str, low: float, high: float) -> float | None:
        """A number from `low` to `high`."""
        value = self.value(name)
        if value is None:
            return None
        # Comparing refuses NaN too, which would never be equal to itself in the graph.
        if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
            self._wrong(name, f"a number from {low:g} to {high:g}", value)
            return None
        return float(value)

    def percent(self, name: str) -> float | None:
        """A percentage, written as a message: `{value: 12.5}`."""
        return self.message(name, lambda r: r.number("value", 0, 100) or 0.0)

    def duration(self, name: str, least: int = MILLISECOND) -> int | None:
        """A duration of at least `least`, in nanoseconds."""
        text = self.string(name)
        if text is None:
            return None
        length = written_duration(text)
        if length is None:
            self.error(
                name,
                f"{shorten(text)} is not a duration",
                'write a number with a unit, like "1.5s" or "1m30s"',
            )
        elif length > LONGEST:
            remedy = f"use at most {LONGEST // (3600 * SECOND)}h, or leave the field out"
            self.error(name, f"{shorten(text)} is too long", remedy)
        elif length < least:
            smallest = f"{least // MILLISECOND}ms" if least else "0s"
            self.error(
                name, f"{shorten(text)} is too short", f"use at least {smallest}, or leave the field out"
            )
        elif length % MILLISECOND:
            self.error(name, f"{shorten(text)} is no whole number of milliseconds", "round it")
        return length

    def enum(self, name: str, allowed: Sequence[str], default: str) -> str:
        """One of the `allowed` words, `default` where it is absent."""
        return self.choice(name, allowed) or default

    def choice(self, name: str, allowed: Sequence[str]) -> str | None:
        """One of the `allowed` words, None where it is absent."""
        text = self.string(name)
        if text is None or text in allowed:
            return text
        self.error(name, f"{shorten(text)} is not allowed here", "use one of " + ", ".join(allowed))
        return None

    def _list(self, name: str) -> Sequence[Any]:
        value = self.value(name)
        if value is None:
            return ()
        if isinstance(value, list | tuple):
            return value
        self._wrong(name, "a list", value, f"write it as a list: {name}: [ … ]")
        return ()

    def _mapping(self, name: str, value: object) -> Mapping[Any, Any] | None:
        if isinstance(value, Mapping):
            return value
        self._wrong(name, "a mapping", value)
        return None

    def strings(self, name: str) -> tuple[str, ...]:
        """A list of strings that are not empty."""
        values = []
        for index, item in enumerate(self._list(name)):
            text = self._text(f"{name}[{index}]", item)
            if text:
                values.append(text)
            elif text == "":
                self.error(f"{name}[{index}]", "is empty", "remove it")
        return tuple(values)

    def integers(self, name: str, low: int, high: int) -> tuple[int, ...]:
        """A list of integers from `low` to `high`."""
        values = (
            self._whole(f"{name}[{index}]", item, low, high) for index, item in enumerate(self._list(name))
        )
        return tuple(value for value in values if value is not None)

    def labels(self, name: str) -> Labels:
        """A map of strings to strings; null counts as "", as in Kubernetes."""
        return self._pairs(name, lambda at, value: "" if value is None else self._text(at, value))

    def integers_by_name(self, name: str, low: int, high: int) -> tuple[tuple[str, int], ...]:
        """A map of strings to integers from `low` to `high`, as pairs sorted by name."""
        return self._pairs(name, lambda at, value: self._whole(at, value, low, high))

    def messages_by_name(self, name: str, parse: Callable[[Reader], T]) -> tuple[tuple[str, T], ...]:
        """A map of strings to messages, as pairs sorted by name."""
        return self._pairs(name, lambda at, value: self._child(at, value, parse))

    def _pairs(self, name: str, read: Callable[[str, Any], T | None]) -> tuple[tuple[str, T], ...]:
        raw = self.value(name)
        if raw is None:
            return ()
        mapping = self._mapping(name, raw)
        if not mapping:
            return ()
        pairs: dict[str, T] = {}
        for key, item in mapping.items():
            if not isinstance(key, str):
                self.error(name, f"has {describe(key)} as a key, expected a string", "put the key in quotes")
                continue
            if self._text(name, key) is None:
                continue
            value = read(f"{name}[{printable(key)}]", item)
            if value is not None:
                pairs[key] = value
        return tuple(sorted(pairs.items(), key=itemgetter(0)))

    def message(self, name: str, parse: Callable[[Reader], T]) -> T | None:
        """A nested message, None where it is absent."""
        value = self.value(name)
        return None if value is None else self._child(name, value, parse)

    def guarding(self, name: str, parse: Callable[[Reader], T]) -> T | None:
        """A nested message in which an unknown field is an error: it keeps somebody out."""
        before, self.report.unknown = self.report.unknown, "error"
        try:
            return self.message(name, parse)
        finally:
            self.report.unknown = before

    def inner(self, name: str) -> Reader:
        """A reader of a nested message, of an empty one where it is absent; the caller closes it."""
        value = self.value(name)
        mapping = None if value is None else self._mapping(name, value)
        return Reader({} if mapping is None else mapping, self.at(name), self.report)

    def messages(self, name: str, parse: Callable[[Reader], T]) -> tuple[T, ...]:
        """A list of messages."""
        items = self._list(name)
        if not items:
            return ()
        read = (self._child(f"{name}[{index}]", item, parse) for index, item in enumerate(items))
        return tuple(value for value in read if value is not None)

    def _child(self, name: str, value: object, parse: Callable[[Reader], T]) -> T | None:
        mapping = self._mapping(name, value)
        if mapping is None:
            return None
        child = Reader(mapping, self.at(name), self.report)
        parsed = parse(child)
        child.close()
        return parsed

    def skip(self, *names: str) -> None:
        """Accept fields that mean nothing to a mesh."""
        self._asked.extend(names)

    def close(self) -> None:
        """Complain of the fields that nobody asked for, as loudly as the report wants it."""
        if not self.report.strict or self._raw.keys() <= set(self._asked):
            return
        known = dict.fromkeys(self._asked)
        for name in self._raw:
            if name not in known:
                self.report.add_unknown(self.path, name, known)
