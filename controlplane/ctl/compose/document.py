"""A YAML file as its text and the nodes in it: what it says, and where each thing stands.

Scalars are never interpreted: `no`, `22:22` and `0644` mean different things to different readers of YAML, so
each keeps the spelling that it has in the file.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, ReusedAnchorWarning, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from controlplane.base.errors import MiniIstiodError

MERGE = "tag:yaml.org,2002:merge"
_NULL = "tag:yaml.org,2002:null"
_NUMBER = re.compile(r"[-+]?\.?[0-9][0-9a-fA-FxXoO_.:+-]*")
"""Numbers of all bases, of base sixty (22:22), and dates."""
_DEEP = 100
"""Levels of nesting; hardly anything but an alias that contains itself has more."""
_MOST = 500_000
"""Values of a file with its aliases written out: ten lines of aliases of aliases can stand for billions."""


class Scalar(str):
    """The value of a scalar as a string, and how the file spells it."""

    __slots__ = ("source",)
    source: str

    @property
    def plain(self) -> bool:
        """Without quotes: it may be a number or a truth value."""
        return self.source[:1] not in ("'", '"', "|", ">")


Value: TypeAlias = str | list["Value"] | dict[str, "Value"] | None
"""What a YAML file can say; null is None, every other scalar a string."""


@dataclass(frozen=True, slots=True)
class Document:
    """One file: `name` is how messages call it, `root` its outermost mapping."""

    name: str
    text: str
    root: MappingNode


class Entry(NamedTuple):
    """One key of a mapping; `aliased` when its value stands elsewhere and `*name` here."""

    key: str
    key_node: Node
    node: Node
    aliased: bool


def parse(text: str, name: str) -> Document:
    """Read one YAML document; MiniIstiodError names the line of what is no YAML."""
    try:
        with warnings.catch_warnings():
            # Compose takes the nearest of two anchors with one name, and so do we.
            warnings.simplefilter("ignore", ReusedAnchorWarning)
            root: Any = YAML(pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{name}:{mark.line + 1}" if mark is not None else name
        raise MiniIstiodError(f"{where}: {error.problem or error.context}") from error
    except YAMLError as error:
        raise MiniIstiodError(f"{name}: {' '.join(str(error).split())}") from error
    except RecursionError:
        raise MiniIstiodError(f"{name}: it is nested too deeply") from None
    if not isinstance(root, MappingNode):
        raise MiniIstiodError(f"{name}: it is no Compose file: a mapping with 'services' is wanted")
    if _size(root, {}) > _MOST:
        raise MiniIstiodError(f"{name}: with its aliases written out it is longer than {_MOST} values")
    return Document(name, text, root)


def _size(node: Node, known: dict[int, int]) -> int:
    """How many values a node stands for; an alias within itself, which `value` refuses, for none."""
    if id(node) not in known:
        known[id(node)] = 0
        if isinstance(node, MappingNode):
            known[id(node)] = 1 + sum(_size(one, known) for _, one in node.value)
        else:
            parts = node.value if isinstance(node, SequenceNode) else ()
            known[id(node)] = 1 + sum(_size(one, known) for one in parts)
    return known[id(node)]


def entries(mapping: Node) -> Iterator[Entry]:
    """The keys of a mapping in the order of the file, "<<" included, what is merged in not."""
    if isinstance(mapping, MappingNode):
        yield from _entries(mapping)


@lru_cache(maxsize=256)
def _entries(mapping: MappingNode) -> tuple[Entry, ...]:
    # Nodes are never changed, and the services of a large file are looked through for each of them.
    return tuple(
        Entry(
            "<<" if key.tag == MERGE else str(key.value),
            key,
            node,
            node.start_mark.index < key.end_mark.index,
        )
        for key, node in mapping.value
    )


def entry(mapping: Node, key: str) -> Entry | None:
    """One key of a mapping, if it stands there."""
    return next((one for one in entries(mapping) if one.key == key), None)


def value(document: Document, node: Node | None = None, depth: int = 0) -> Value:
    """What a node says, with aliases and merge keys resolved."""
    node = document.root if node is None else node
    if depth > _DEEP:
        raise MiniIstiodError(
            f"{document.name}:{node.start_mark.line + 1}: nested too deeply, or an alias that contains itself"
        )
    if isinstance(node, SequenceNode):
        return [value(document, item, depth + 1) for item in node.value]
    if isinstance(node, MappingNode):
        return _mapping(document, node, depth)
    return _scalar(document, node)


def _mapping(document: Document, node: MappingNode, depth: int) -> dict[str, Value]:
    merged: dict[str, Value] = {}
    direct: dict[str, Value] = {}
    for one in entries(node):
        if one.key != "<<":
            direct[one.key] = value(document, one.node, depth + 1)
            continue
        sources = one.node.value if isinstance(one.node, SequenceNode) else [one.node]
        for source in sources:
            found = value(document, source, depth + 1)
            if isinstance(found, dict):
                # The first that has a key wins.
                merged = found | merged
    return merged | direct


def _scalar(document: Document, node: Node) -> str | None:
    if node.tag == _NULL:
        return None
    found = Scalar(node.value)
    found.source = document.text[node.start_mark.index : node.end_mark.index]
    return found


def same(one: Value, other: Value) -> bool:
    """Whether two values say the same to every reader: "80" in quotes is another thing than 80."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other and _typed(one) == _typed(other)


def _typed(scalar: Value) -> bool:
    return isinstance(scalar, Scalar) and scalar.plain and ambiguous(scalar)


def ambiguous(text: str) -> bool:
    """Whether some reader of YAML may take it for something else than a string when it has no quotes."""
    return _NUMBER.fullmatch(text) is not None or text.lower() in _WORDS


_WORDS = {"", "~", "null", "true", "false", "yes", "no", "on", "off", "y", "n", ".inf", ".nan"}
