"""One file's bytes become units: objects with a name and a line, and broken pieces in their places.

A unit is the least thing that can be broken alone: a YAML document, or one item of a List.  Lists
(`kind: List`, `kind: ServiceList` and the like) are replaced by their items, as kubectl does.
"""

from __future__ import annotations

import hashlib
import marshal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from controlplane.sources.directory import json_value, yaml_value
from controlplane.sources.directory.text import MalformedError, decode, pieces
from controlplane.sources.naming import Name, NoName, name_of

_MEND = "mend the document"
_BREATH = 0.001


@dataclass(frozen=True, slots=True)
class Object:
    """An object as its file has it; `line` counts from 1 in the file.

    `raw` None: it is not in the file at the moment, the object that stood here before is held.
    `print` tells equal contents, so that the raw object need not be kept for comparing.
    """

    name: Name
    line: int
    print: bytes
    raw: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Broken:
    """A piece that names no object; `text` is what stands there, to recognize what it was ("" = unknown)."""

    line: int
    field: str
    message: str
    remedy: str
    text: str


Unit: TypeAlias = Object | Broken


def read_units(data: bytes, file: str) -> tuple[Unit, ...]:
    """All units of a file in order.  `file` tells JSON from YAML by its ending."""
    try:
        text = decode(data)
    except MalformedError as error:
        return (_broken(error, 1, ""),)
    return tuple(_json(text) if file.endswith(".json") else _yaml(text))


def _yaml(text: str) -> Iterator[Unit]:
    breath = time.monotonic()
    for piece in pieces(text):
        breath = _breathe(breath)
        try:
            document = yaml_value.parse(piece.text)
        except MalformedError as error:
            yield _broken(error, piece.line, piece.text)
            continue
        if document.value is not None:
            place = _YamlPlace(document, piece.line, piece.text)
            yield from _flatten(document.value, place.line(document.value), place)


def _json(text: str) -> Iterator[Unit]:
    breath = time.monotonic()
    for value in json_value.parse(text):
        breath = _breathe(breath)
        if isinstance(value, MalformedError):
            yield _broken(value, 1, text)
        else:
            yield from _flatten(value.value, value.line, _JsonPlace(value, text))


def _breathe(last: float) -> float:
    """Let the event loop's thread have the interpreter, earlier than the 5 ms after which it would insist."""
    if time.monotonic() - last < _BREATH:
        return last
    time.sleep(0)
    return time.monotonic()


def _broken(error: MalformedError, begin: int, text: str) -> Broken:
    line = begin if error.line is None else begin + error.line - 1
    message = error.message
    if error.context is not None:
        what, since = error.context
        message += f" ({what} that begins in line {begin + since - 1})"
    return Broken(line, "", message, error.remedy, text)


class _YamlPlace:
    """Where the parts of one YAML document are in the file."""

    def __init__(self, document: yaml_value.Document, begin: int, text: str) -> None:
        self._document = document
        self._begin = begin
        self.text = text

    def line(self, part: Any) -> int:
        return self._begin + self._document.line(part) - 1

    def item(self, whole: Any, index: int, default: int) -> int:
        """The line of one item of a List that begins at line `default`."""
        return self._begin + self._document.line(whole["items"][index], default - self._begin + 1) - 1


class _JsonPlace:
    """Where the parts of one JSON value are in the file."""

    def __init__(self, value: json_value.Value, text: str) -> None:
        self._value = value
        self.text = text

    def item(self, whole: Any, index: int, default: int) -> int:
        """The line of one item of a List that begins at line `default`; Lists in Lists have that one only."""
        return self._value.items[index] if whole is self._value.value else default


def _flatten(value: Any, line: int, place: _YamlPlace | _JsonPlace) -> Iterator[Unit]:
    if not isinstance(value, dict):
        yield Broken(line, "", f"expected an object, got {_what(value)}", _MEND, place.text)
        return
    kind = value.get("kind")
    if isinstance(kind, str) and kind.endswith("List") and (kind == "List" or "items" in value):
        yield from _items(value, line, place)
        return
    name = name_of(value)
    if isinstance(name, NoName):
        yield Broken(line, name.field, name.message, name.remedy, place.text)
    else:
        yield Object(name, line, _print(value), value)


def _items(whole: dict[str, Any], line: int, place: _YamlPlace | _JsonPlace) -> Iterator[Unit]:
    items = whole.get("items")
    if items is None:
        return
    if not isinstance(items, list):
        yield Broken(line, "items", f"items must be a list, got {_what(items)}", _MEND, place.text)
        return
    # The items of a typed list (ServiceList) need not repeat what they are.
    kind = str(whole["kind"]).removesuffix("List")
    common = {"apiVersion": whole.get("apiVersion", ""), "kind": kind} if kind else {}
    for index, item in enumerate(items):
        named = common | item if common and isinstance(item, dict) else item
        yield from _flatten(named, place.item(whole, index, line), place)


def _what(value: Any) -> str:
    names = {list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number"}
    return names.get(type(value), "nothing")


def _print(value: dict[str, Any]) -> bytes:
    # Version 2 of the format has no references, so equal contents give equal bytes.
    return hashlib.blake2b(marshal.dumps(value, 2), digest_size=16).digest()
