"""One YAML document becomes plain values, by the rules that kubectl users rely on.

Built from the parser's events and not with PyYAML's constructors, for four reasons: every key that
stands twice is seen (PyYAML silently keeps the last), timestamps stay text (creationTimestamp), each
object knows its line, and neither deep nesting (which overflows the C stack in PyYAML's composer) nor
aliases of aliases can hurt.

Scalars are read as YAML 1.1 with the exceptions that kubectl makes too: no sexagesimal numbers
(`22:22` is text), no timestamps, and `0o17` is a number.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, TypeAlias

import yaml

from controlplane.sources.directory.text import MalformedError

MAX_DEPTH = 100
"""Levels of nesting; real objects have about a dozen."""

MAX_ALIASED = 100_000
"""Values that the aliases of one document may add to it when they are written out."""

_LINED_DEPTH = 3
"""Objects in a List stand at this depth (document, items, item); deeper ones need no line."""

_MEND = "mend the YAML"
_KEY = object()
_MERGE = object()
_TAG = "tag:yaml.org,2002:"

_WORDS: Mapping[str, bool | None] = {
    spelled: value
    for word, value in (
        ("yes", True),
        ("true", True),
        ("on", True),
        ("no", False),
        ("false", False),
        ("off", False),
        ("null", None),
        ("~", None),
        ("", None),
    )
    for spelled in (word, word.title(), word.upper())
}
_INT = re.compile(
    r"""(?P<sign>[-+]?)(?:
        0b(?P<bin>[01_]+) | 0x(?P<hex>[0-9a-fA-F_]+) | 0o?(?P<oct>[0-7_]+) | (?P<dec>0|[1-9][0-9_]*)
    )""",
    re.VERBOSE,
)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_BASES = {"bin": 2, "hex": 16, "oct": 8, "dec": 10}
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Document:
    """A value with the lines of its upper objects.  `present` is False when there was only air."""

    __slots__ = ("_lines", "present", "value")

    def __init__(self, value: Any, lines: Mapping[int, int], present: bool) -> None:
        self.value = value
        self.present = present
        self._lines = lines

    def line(self, part: Any, default: int = 1) -> int:
        """The line, counted from 1 within the document's text, on which this part begins."""
        return self._lines.get(id(part), default)


def parse(text: str) -> Document:
    """The value of one document; raises MalformedError."""
    builder = _Builder()
    try:
        for event in yaml.parse(text, Loader=_Loader):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        raise _marked(text, error) from error
    except yaml.reader.ReaderError as error:
        line = text.encode()[: error.position].count(b"\n") + 1
        raise MalformedError(line, f"not YAML: {error.reason}", "remove the control character") from error
    return Document(builder.value, builder.lines, builder.present)


def _marked(text: str, error: yaml.MarkedYAMLError) -> MalformedError:
    context = None
    if error.context and error.context_mark is not None:
        context = (error.context, error.context_mark.line + 1)
    # A missing bracket is noticed behind the last line: point at the last one that has something.
    last = text.rstrip().count("\n") + 1
    line = last if error.problem_mark is None else min(error.problem_mark.line + 1, last)
    return MalformedError(line, f"not YAML: {error.problem or 'cannot be understood'}", _MEND, context)


# How many values something is, and how many levels of nesting, with aliases written out.
_Extent: TypeAlias = tuple[int, int]
_SCALAR = (1, 0)


class _Frame:
    """A mapping or sequence that is being filled, and how much it is with aliases written out."""

    __slots__ = ("anchor", "height", "key", "line", "merged", "seen", "size", "value")

    def __init__(self, value: dict[str, Any] | list[Any], anchor: str | None, line: int) -> None:
        self.value = value
        self.anchor = anchor
        self.line = line
        self.key: Any = _KEY
        self.size = 1
        self.height = 1
        self.merged: list[Mapping[str, Any]] = []
        self.seen: set[str] = set()


class _Builder:
    """Takes events one by one.  Not recursive: the nesting is on a list of ours."""

    def __init__(self) -> None:
        self.value: Any = None
        self.present = False
        self.lines: dict[int, int] = {}
        self._stack: list[_Frame] = []
        # None while the anchored value is not complete.
        self._anchors: dict[str, tuple[Any, _Extent] | None] = {}
        self._aliased = 0

    def take(self, event: yaml.Event) -> None:
        match event:
            case yaml.ScalarEvent():
                self._scalar(event)
            case yaml.MappingStartEvent():
                self._open({}, event, "map")
            case yaml.SequenceStartEvent():
                self._open([], event, "seq")
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._close()
            case yaml.AliasEvent():
                self._alias(event)
            case yaml.DocumentStartEvent() if self.present:
                raise MalformedError(_line(event), "a second document begins here", "put --- before it")
            case yaml.DocumentStartEvent():
                self.present = True

    def _open(
        self, value: dict[str, Any] | list[Any], event: yaml.CollectionStartEvent, expected: str
    ) -> None:
        line = _line(event)
        if event.tag not in (None, "!", _TAG + expected):
            raise MalformedError(line, f"the tag {event.tag} is not known here", "remove the tag")
        self._check_depth(1, line)
        if self._stack and isinstance(self._stack[-1].value, dict) and self._stack[-1].key is _KEY:
            raise MalformedError(line, "a mapping or a list cannot be a key", "use text as key")
        if len(self._stack) < _LINED_DEPTH:
            self.lines[id(value)] = line
        if event.anchor:
            self._anchors[event.anchor] = None
        self._stack.append(_Frame(value, event.anchor, line))

    def _close(self) -> None:
        frame = self._stack.pop()
        if isinstance(frame.value, dict):
            for merged in frame.merged:
                for key, value in merged.items():
                    frame.value.setdefault(key, value)
        extent = (frame.size, frame.height)
        if frame.anchor:
            self._anchors[frame.anchor] = (frame.value, extent)
        self._add(frame.value, extent, frame.line)

    def _alias(self, event: yaml.AliasEvent) -> None:
        line = _line(event)
        if event.anchor not in self._anchors:
            raise MalformedError(
                line, f"the alias *{event.anchor} has no anchor", f"define &{event.anchor} before it"
            )
        target = self._anchors[event.anchor]
        if target is None:
            raise MalformedError(line, f"the alias *{event.anchor} is inside its own anchor", "write it out")
        value, extent = target
        size, height = extent
        self._check_depth(height, line)
        self._aliased += size
        if self._aliased > MAX_ALIASED:
            raise MalformedError(line, f"aliases repeat over {MAX_ALIASED} values", "use fewer aliases")
        frame = self._stack[-1] if self._stack else None
        if frame is not None and isinstance(frame.value, dict) and frame.key is _KEY:
            if isinstance(value, (dict, list)):
                raise MalformedError(line, "a mapping or a list cannot be a key", "use text as key")
            self._key(frame, _key_text(value, str(value)), line)
        else:
            self._add(value, extent, line)

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        line = _line(event)
        plain = event.implicit[0]
        frame = self._stack[-1] if self._stack else None
        is_key = frame is not None and isinstance(frame.value, dict) and frame.key is _KEY
        if is_key and plain and event.value == "<<" and frame is not None:
            frame.key = _MERGE
            return
        value = _resolve(event, plain, line)
        if event.anchor:
            self._anchors[event.anchor] = (value, _SCALAR)
        if is_key and frame is not None:
            self._key(frame, _key_text(value, event.value), line)
        else:
            self._add(value, _SCALAR, line)

    def _key(self, frame: _Frame, key: str, line: int) -> None:
        if key in frame.seen:
            raise MalformedError(line, f"the key {key!r} stands twice in one mapping", "keep one of them")
        frame.seen.add(key)
        frame.key = key

    def _check_depth(self, more: int, line: int) -> None:
        if len(self._stack) + more > MAX_DEPTH:
            raise MalformedError(line, f"nested more than {MAX_DEPTH} levels deep", "flatten it")

    def _add(self, value: Any, extent: _Extent, line: int) -> None:
        if not self._stack:
            self.value = value
            return
        frame = self._stack[-1]
        size, height = extent
        frame.size += size
        if height >= frame.height:
            frame.height = height + 1
        if isinstance(frame.value, list):
            frame.value.append(value)
            return
        if frame.key is _MERGE:
            merged = value if isinstance(value, list) else [value]
            if not all(isinstance(one, dict) for one in merged):
                raise MalformedError(line, "only mappings can be merged with <<", "refer to a mapping")
            frame.merged.extend(merged)
        else:
            frame.value[frame.key] = value
        frame.key = _KEY


def _line(event: yaml.Event) -> int:
    mark = event.start_mark
    return 1 if mark is None else int(mark.line) + 1


def _resolve(event: yaml.ScalarEvent, plain: bool, line: int) -> Any:
    text: str = event.value
    tag = event.tag
    if tag is None or tag == "!":
        return plain_value(text, line) if plain else text
    kind = tag.removeprefix(_TAG)
    if kind in ("str", "timestamp"):
        return text
    value = plain_value(text, line)
    if kind == "float" and type(value) is int:
        return float(value)
    if (kind, type(value)) in {("int", int), ("float", float), ("bool", bool), ("null", type(None))}:
        return value
    # Its line says which; the text itself may be a Secret's.
    raise MalformedError(line, f"this value cannot be read with the tag {tag}", "remove the tag")


def plain_value(text: str, line: int = 1) -> Any:
    """The value of a scalar that is written without quotes.

    Infinities and not-a-number stay text: JSON, which objects are, does not have them.
    """
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    number = _INT.fullmatch(text)
    try:
        if number is not None:
            base = number.lastgroup or "dec"
            digits = number[base].replace("_", "")
            return int(f"{number['sign']}{digits}", _BASES[base]) if digits else text
        if _FLOAT.fullmatch(text):
            value = float(text)
            return value if math.isfinite(value) else text
    except ValueError as error:
        raise MalformedError(line, f"not a usable number: {error}", "quote it if it is text") from error
    return text


def _key_text(value: Any, written: str) -> str:
    # JSON keys are text: `1: x` is "1", `on: x` is "true", as kubectl has it.
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    return "null" if value is None else written
