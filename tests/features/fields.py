"""Every leaf of Istio's objects, as its definitions list them: what the rows of the table are compared with.

The lists are no part of the repository: they lie beside it, and where they are absent, nothing is compared.
A path names lists by `[]` and maps by `{}`: `http[].match[].headers{}.exact`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FACTS = Path(__file__).parents[3] / "shared" / "facts"
_KIND = re.compile(r"^===== (\S+) (\S+) ")
_FIELD = re.compile(r"^(repeated )?(map<string, (?P<of>\S+)>|(?P<type>\S+)) (?P<name>\w+) = \d+$")
_VALUES: dict[str, object] = {"string": "1s", "integer": 1, "number": 1, "boolean": True, "object": {}}
"""Of each type of the definitions; as a string one that is a duration, too."""
_BOOLEAN, _NUMBER = re.compile("[Bb]ool"), re.compile("[Ii]nt(32|64)|double")
_WORD = re.compile(r"^(\w+) = \d+$")
_MAPPED = re.compile(r"^map<")


def of_objects(listing: str) -> dict[str, dict[str, object]]:
    """Kind -> its leaves, each with a value of its type, from the listing of the definitions."""
    found: dict[str, dict[str, object]] = {}
    leaves: dict[str, object] = {}
    for line in listing.splitlines():
        if heading := _KIND.match(line):
            leaves = found.setdefault(heading[2], {})
        elif line.startswith("."):
            path, kind, *words = line.split()
            leaves[path.removeprefix(".")] = words[0].split(",")[-1] if words else _VALUES[kind]
    return found


def written(path: str, value: Any) -> dict[str, Any]:
    """An object that says this at a path, and nothing else."""
    name, _, rest = path.partition(".")
    plain = name.removesuffix("[]").removesuffix("{}")
    inner = written(rest, value) if rest else value
    if name.endswith("[]"):
        inner = [inner]
    elif name.endswith("{}"):
        inner = {"key": inner}
    return {plain: inner}


@dataclass(slots=True)
class _Message:
    """A message of the listing: its fields (JSON name with its marks, type), and the messages inside it.

    An enum is one without fields, which has words instead.
    """

    within: _Message | None = None
    fields: list[tuple[str, str]] = field(default_factory=list)
    inner: dict[str, _Message] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)

    def named(self, name: str) -> _Message | None:
        """The message that a type's name means here: the innermost one."""
        return self.inner.get(name) or (self.within.named(name) if self.within else None)

    def leaves(self, path: str) -> Iterator[tuple[str, object]]:
        for name, kind in self.fields:
            inner = self.named(kind)
            if inner is None or not inner.fields:
                yield path + name, self._value(kind)
            else:
                yield from inner.leaves(f"{path}{name}.")

    def _value(self, kind: str) -> object:
        """Something of a type."""
        if (inner := self.named(kind)) is not None:
            return inner.words[-1] if inner.words else {}
        if kind.startswith("istio."):
            return {}
        return _VALUES[
            "boolean" if "ool" in kind else "integer" if "nt" in kind or kind == "double" else "string"
        ]


def of_mesh(listing: str) -> dict[str, object]:
    """The leaves of MeshConfig, each with a value of its type; its proxies' defaults are `defaultConfig.…`.

    A message that comes from the networking API is one leaf: its own fields are told with its own kind.
    """
    top = _Message()
    # (indentation, message): a oneof is transparent.
    open_blocks: list[tuple[int, _Message]] = [(-1, top)]
    for line in listing.splitlines():
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        depth = len(line) - len(line.lstrip())
        while open_blocks[-1][0] >= depth:
            open_blocks.pop()
        around = open_blocks[-1][1]
        word, _, name = text.partition(" ")
        if word == "message":
            open_blocks.append((depth, around.inner.setdefault(name, _Message(around))))
        elif word == "enum":
            enum = _Message()
            around.inner[name] = enum
            open_blocks.append((depth, enum))
        elif word == "oneof":
            open_blocks.append((depth, around))
        elif value := _WORD.match(text):
            around.words.append(value[1])
        elif found := _FIELD.match(text):
            marks = "[]" if found[1] else "{}" if _MAPPED.match(text) else ""
            around.fields.append((_json_name(found["name"]) + marks, found["of"] or found["type"]))
    return dict(top.inner["MeshConfig"].leaves(""))


def _json_name(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in others)


def sets(spec: Any, path: str) -> bool:
    """Whether an object says something at a path, in any element of the lists and maps on the way."""
    name, _, rest = path.partition(".")
    plain = name.removesuffix("[]").removesuffix("{}")
    value = spec.get(plain) if isinstance(spec, dict) else None
    if value is None or value in ([], {}):
        return plain in spec if isinstance(spec, dict) and not rest and value == {} else False
    if not rest:
        return True
    if name.endswith("[]"):
        return any(sets(one, rest) for one in value)
    if name.endswith("{}"):
        return any(sets(one, rest) for one in value.values())
    return sets(value, rest)
