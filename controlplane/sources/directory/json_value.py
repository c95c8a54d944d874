"""A JSON file becomes plain values, with the lines of the objects in a List.

JSON has its own reader because it is not quite a subset of what YAML parsers take (surrogate pairs,
long keys), and because `kubectl get -o json` files are large.  Several values may follow each other,
as in kubectl.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from controlplane.sources.directory.text import MalformedError
from controlplane.sources.directory.yaml_value import MAX_DEPTH

_SPACE = re.compile(r"[ \t\r\n]*")
_MEND = "mend the JSON"


class Value(NamedTuple):
    """One value of the file and the line it begins on; `items` are the lines of its `items`, if any."""

    value: Any
    line: int
    items: tuple[int, ...]


def parse(text: str) -> Iterator[Value | MalformedError]:
    """The values of a file in order.  After an error nothing is known, so an error is the last thing."""
    at = _skip(text, 0)
    while at < len(text):
        line = _line(text, at)
        try:
            value, end = _DECODER.raw_decode(text, at)
            _check(value, text[at:end], line)
        except json.JSONDecodeError as error:
            yield MalformedError(error.lineno, f"not JSON: {error.msg}", _MEND)
            return
        except MalformedError as error:
            yield MalformedError(line, error.message, error.remedy)
            return
        except RecursionError:
            yield MalformedError(line, f"nested more than {MAX_DEPTH} levels deep", "flatten it")
            return
        except ValueError as error:
            yield MalformedError(line, f"not usable JSON: {error}", _MEND)
            return
        listed = isinstance(value, dict) and isinstance(value.get("items"), list)
        yield Value(value, line, tuple(_item_lines(text, at)) if listed else ())
        at = _skip(text, end)


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise MalformedError(None, f"the key {twice!r} stands twice in one object", "keep one of them")
    return value


def _constant(name: str) -> Any:
    raise MalformedError(None, f"{name} is not JSON", "use a number")


_DECODER = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_constant)


def _check(value: Any, text: str, line: int) -> None:
    """Refuse what later layers could not carry: deep nesting and half characters."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [part for whole in level for part in _parts(whole)]
        if not level:
            break
    else:
        raise MalformedError(line, f"nested more than {MAX_DEPTH} levels deep", "flatten it")
    if "\\u" in text:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise MalformedError(line, "a \\u escape is half a character", "write the pair") from error


def _parts(whole: Any) -> Iterable[Any]:
    return whole.values() if isinstance(whole, dict) else whole if isinstance(whole, list) else ()


def _item_lines(text: str, at: int) -> Iterator[int]:
    """The line of each element of the `items` of the object that begins at `at`; it is known to be valid."""
    at = _skip(text, at + 1)
    while text[at] == '"':
        key, at = _DECODER.raw_decode(text, at)
        at = _skip(text, _skip(text, at) + 1)
        if key == "items":
            break
        _, at = _DECODER.raw_decode(text, at)
        at = _skip(text, _skip(text, at) + 1)
    at = _skip(text, at + 1)
    line, seen = _line(text, at), at
    while text[at] != "]":
        line, seen = line + text.count("\n", seen, at), at
        yield line
        _, at = _DECODER.raw_decode(text, at)
        at = _skip(text, at)
        if text[at] == ",":
            at = _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1
