"""Changes to a text by position, and where in a YAML text something stands or can be put."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ruamel.yaml.nodes import MappingNode, Node

from controlplane.ctl.compose import emit
from controlplane.ctl.compose.document import Document, entries
from controlplane.ctl.compose.emit import Output


class Edit(NamedTuple):
    """text[start:end] becomes `text`."""

    start: int
    end: int
    text: str


def applied(text: str, edits: Iterable[Edit]) -> str:
    """The text with all edits made; they must not overlap."""
    parts: list[str] = []
    behind = 0
    for edit in sorted(edits):
        parts += (text[behind : edit.start], edit.text)
        behind = edit.end
    return "".join((*parts, text[behind:]))


def inside(mapping: MappingNode, new: Mapping[str, Output]) -> Edit:
    """New keys at the beginning of a mapping that has some."""
    first = mapping.value[0][0].start_mark
    if mapping.flow_style:
        return Edit(first.index, first.index, f"{emit.flow(new)[1:-1]}, ")
    # The first line begins where the first key was, which follows on a line of its own.
    text = emit.block(new, first.column, step(mapping)).lstrip(" ") + " " * first.column
    return Edit(first.index, first.index, text)


def without(document: Document, mapping: MappingNode, keys: Iterable[str], stop: int) -> list[Edit]:
    """Keys of a mapping taken out; `stop` is where the mapping ends at the latest."""
    gone = set(keys)
    return [
        Edit(*extent(document, mapping, one.key, stop), "") for one in entries(mapping) if one.key in gone
    ]


def extent(document: Document, mapping: MappingNode, key: str, stop: int) -> tuple[int, int]:
    """From where to where a key stands with its value: whole lines of a block."""
    every = list(entries(mapping))
    place = [one.key for one in every].index(key)
    start = every[place].key_node.start_mark.index
    following = every[place + 1].key_node.start_mark.index if place + 1 < len(every) else None
    if mapping.flow_style:
        return start, mapping.end_mark.index - 1 if following is None else following
    content = _content(document.text, stop if following is None else following, every[place].key_node)
    return _line(document.text, start), content


def region_end(document: Document, parent: Node, key: str, stop: int | None = None) -> int:
    """Where the value of a key ends at the latest: at its next sibling, or where the parent does."""
    every = list(entries(parent))
    place = [one.key for one in every].index(key)
    if place + 1 < len(every):
        return _line(document.text, every[place + 1].key_node.start_mark.index)
    return _document_end(document.text) if stop is None else stop


def behind(document: Document, key: str) -> int:
    """The index of the line behind the block of a top-level key, and behind the comments indented like it."""
    place = next(one for one in entries(document.root) if one.key == key)
    return _content(document.text, region_end(document, document.root, key), place.key_node)


def line_behind(text: str, index: int) -> int:
    """The start of the next line."""
    found = text.find("\n", index)
    return len(text) if found < 0 else found + 1


def step(mapping: MappingNode) -> int:
    """How far the file indents, as far as this mapping shows it."""
    for key, node in mapping.value:
        nested = isinstance(node, MappingNode) and not node.flow_style and node.value
        if nested and node.start_mark.index > key.start_mark.index:
            return max(2, int(node.value[0][0].start_mark.column) - int(key.start_mark.column))
    return 2


def _content(text: str, stop: int, key: Node) -> int:
    """Back from where something else begins, over blank lines and comments not indented more than the key."""
    at = _line(text, stop) if stop < len(text) else stop
    while at > 0:
        start = _line(text, at - 1)
        line = text[start:at]
        bare = line.strip()
        if bare and not (bare.startswith("#") and len(line) - len(line.lstrip()) <= key.start_mark.column):
            break
        at = start
    return at


def _line(text: str, index: int) -> int:
    """The start of the line of an index."""
    return text.rfind("\n", 0, index) + 1


def _document_end(text: str) -> int:
    """Where the document ends: with the text, or at the line that says so."""
    found = text.find("\n...")
    return len(text) if found < 0 else found + 1
