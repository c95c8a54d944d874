"""Values as YAML text: in blocks as people write them, or in one line where a file is written in braces.

Scalars that came from a file keep their spelling.  Others get quotes unless every reader takes them for a
string.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from controlplane.ctl.compose.document import Scalar, ambiguous


@dataclass(frozen=True, slots=True)
class Alias:
    """What stands elsewhere in the file; `value` is what it says."""

    name: str
    value: Mapping[str, Output]


@dataclass(frozen=True, slots=True)
class Anchored:
    """What others can point to."""

    name: str
    value: Mapping[str, Output]


@dataclass(frozen=True, slots=True)
class Inline:
    """What fits on a line, in braces or brackets."""

    value: Output


Output: TypeAlias = (
    bool | int | str | Sequence["Output"] | Mapping[str, "Output"] | Alias | Anchored | Inline | None
)
"""What can be written: a `Value`, or one with truth values, numbers, anchors and aliases."""

_PLAIN = re.compile(r"(--)?[A-Za-z0-9_/.$]([A-Za-z0-9_./$:{}=,+-]*[A-Za-z0-9_./$}-])?")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")


def scalar(given: bool | int | str | None) -> str:
    """One scalar in a block."""
    if isinstance(given, Scalar) and "\n" not in given.source and given.source[:1] not in ("|", ">"):
        return given.source or '""'
    if isinstance(given, str) and _PLAIN.fullmatch(given) and not ambiguous(given):
        return str(given)
    return json.dumps(given, ensure_ascii=False)


def block(mapping: Mapping[str, Output], indent: int, step: int) -> str:
    """A mapping as lines, each ended; `indent` columns before the first key, `step` more for each level."""
    lines: list[str] = []
    for key, given in mapping.items():
        lines += _entry(scalar(key) if key != "<<" else key, given, indent, step)
    return "".join(f"{line}\n" for line in lines)


def _entry(key: str, given: Output, indent: int, step: int) -> list[str]:
    pad = " " * indent
    anchor = ""
    if isinstance(given, Anchored):
        anchor, given = f" &{given.name}", given.value
    if isinstance(given, Mapping) and given:
        return [f"{pad}{key}:{anchor}", *block(given, indent + step, step).rstrip("\n").split("\n")]
    if isinstance(given, Sequence) and not isinstance(given, str) and given:
        return [f"{pad}{key}:", *_items(given, indent + step, step)]
    if given is None:
        return [f"{pad}{key}:{anchor}"]
    return [f"{pad}{key}: {_inline(given)}"]


def _items(items: Sequence[Output], indent: int, step: int) -> list[str]:
    pad = " " * indent
    lines: list[str] = []
    for item in items:
        if isinstance(item, Mapping) and item:
            first, *rest = block(item, indent + 2, step).rstrip("\n").split("\n")
            lines += [f"{pad}- {first.lstrip()}", *rest]
        else:
            lines.append(f"{pad}- {_inline(item)}")
    return lines


def _inline(given: Output) -> str:
    if isinstance(given, Inline | Anchored):
        return _inline(given.value)
    if isinstance(given, Alias):
        return f"*{given.name}"
    if isinstance(given, str) and not isinstance(given, Scalar) and re.search(r"[{},]", given):
        return json.dumps(given, ensure_ascii=False)
    if isinstance(given, Mapping):
        return "{" + ", ".join(f"{scalar(key)}: {_inline(item)}" for key, item in given.items()) + "}"
    if isinstance(given, Sequence) and not isinstance(given, str):
        return "[" + ", ".join(_inline(item) for item in given) + "]"
    return scalar(given)


def flow(given: Output) -> str:
    """Anything in one line, as JSON: inside of braces all readers of YAML take that."""
    if isinstance(given, Inline | Anchored | Alias):
        return flow(given.value)
    if isinstance(given, Mapping):
        given = resolved(given)
        return "{" + ", ".join(f"{json.dumps(key)}: {flow(item)}" for key, item in given.items()) + "}"
    if isinstance(given, Scalar):
        known = given.plain and (_NUMBER.fullmatch(given) or given in ("true", "false"))
        return str(given) if known else _quoted(given)
    if isinstance(given, Sequence) and not isinstance(given, str):
        return "[" + ", ".join(flow(item) for item in given) + "]"
    return json.dumps(given, ensure_ascii=False)


def _quoted(given: Scalar) -> str:
    """A string in quotes; what may be none, like the 022 of a mode, stays as it is spelled."""
    if given.plain and ambiguous(given):
        return given.source
    return json.dumps(str(given), ensure_ascii=False)


def resolved(mapping: Mapping[str, Output]) -> Mapping[str, Output]:
    """The mapping with what "<<" points to in it."""
    merged = mapping.get("<<")
    if not isinstance(merged, Alias):
        return mapping
    return {**resolved(merged.value), **{key: item for key, item in mapping.items() if key != "<<"}}
