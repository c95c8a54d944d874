"""The little YAML of annotations: mappings of words, nested by indentation, with lists of words; or JSON.

Objects are read by a real parser long before they come here.  An annotation is a text inside one, in which
people write a dozen lines at most (`proxy.istio.io/config`); what those lines hardly ever hold (anchors,
block texts, flow style that is no JSON) is refused and not guessed at.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

_LONGEST = 64 * 1024
_DEEPEST = 16
_FIELD = re.compile(r"(?P<name>[A-Za-z_][\w.\-/]*|\"[^\"\\]*\"|'[^']*')\s*:(?:\s+(?P<value>\S.*))?", re.ASCII)
_REFUSED = ("&", "*", "!", "|", ">", "@", "`", "%", "[", "{", "?")
_WORDS = {"true": True, "false": False, "null": None, "~": None}
_NUMBER = re.compile(r"-?(0|[1-9]\d{0,17})(\.\d{1,9})?", re.ASCII)


class _Line(NamedTuple):
    number: int
    indent: int
    text: str


def parse_annotation(text: str) -> dict[str, Any]:
    """The mapping that a text says.  ValueError names the line that cannot be read, and why."""
    if len(text) > _LONGEST:
        raise ValueError(f"is longer than {_LONGEST} characters")
    if text.lstrip().startswith("{"):
        return _json(text)
    lines = [line for number, raw in enumerate(text.splitlines(), 1) if (line := _line(number, raw))]
    if not lines:
        return {}
    found, rest = _mapping(lines, lines[0].indent, 0)
    if rest:
        raise ValueError(f"line {rest[0].number} is indented as nothing before it")
    return found


def _json(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError("begins like JSON and is none") from error
    assert isinstance(found, dict), "what begins with a brace is a mapping"
    return found


def _line(number: int, raw: str) -> _Line | None:
    bare = raw.lstrip(" ")
    text = _without_comment(bare).rstrip()
    if not text or text == "---":
        return None
    if text.startswith("\t"):
        raise ValueError(f"line {number} is indented by a tab")
    return _Line(number, len(raw) - len(bare), text)


def _without_comment(text: str) -> str:
    if text.startswith("#"):
        return ""
    quoted = ""
    for place, char in enumerate(text):
        if quoted:
            quoted = "" if char == quoted else quoted
        elif char in "\"'":
            quoted = char
        elif char == "#" and text[place - 1] in " \t":
            return text[:place]
    return text


def _mapping(lines: list[_Line], indent: int, depth: int) -> tuple[dict[str, Any], list[_Line]]:
    """The fields at this indentation, and the lines after them."""
    if depth > _DEEPEST:
        raise ValueError(f"line {lines[0].number} is nested too deeply")
    out: dict[str, Any] = {}
    while lines and lines[0].indent == indent:
        line, lines = lines[0], lines[1:]
        found = _FIELD.fullmatch(line.text)
        if found is None:
            raise ValueError(f"line {line.number} is no `name: value`")
        name = found["name"].strip("\"'")
        if name in out:
            raise ValueError(f"line {line.number} says {name} again")
        if found["value"] is not None:
            out[name] = _word(line.number, found["value"])
        elif lines and lines[0].text.startswith("-") and lines[0].indent >= indent:
            out[name], lines = _list(lines, lines[0].indent)
        elif lines and lines[0].indent > indent:
            out[name], lines = _mapping(lines, lines[0].indent, depth + 1)
        else:
            out[name] = None
    return out, lines


def _list(lines: list[_Line], indent: int) -> tuple[list[Any], list[_Line]]:
    out: list[Any] = []
    while lines and lines[0].indent == indent and lines[0].text.startswith("- "):
        out.append(_word(lines[0].number, lines[0].text[2:].strip()))
        lines = lines[1:]
    return out, lines


def _word(number: int, text: str) -> Any:
    """A scalar, or an empty mapping or list."""
    if text in ("{}", "[]"):
        return {} if text == "{}" else []
    if text[0] in "\"'":
        if len(text) < 2 or text[-1] != text[0] or text[0] in text[1:-1] or "\\" in text:
            raise ValueError(f"line {number} has a quotation that is not understood")
        return text[1:-1]
    if text.startswith(_REFUSED) or ": " in text or text.endswith(":"):
        raise ValueError(f"line {number} has a value that is not understood")
    if text in _WORDS:
        return _WORDS[text]
    if _NUMBER.fullmatch(text):
        return float(text) if "." in text else int(text)
    return text
