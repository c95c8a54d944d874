"""The plain file again: everything that was added goes, every key that was renamed gets its name back."""

from __future__ import annotations

from collections.abc import Mapping

from ruamel.yaml.nodes import MappingNode, Node

from controlplane.base.errors import MiniIstiodError
from controlplane.ctl.compose.document import Document, Entry, entries, entry, value
from controlplane.ctl.compose.splice import Edit, applied, region_end, without
from controlplane.ctl.compose.weave import KEPT, MARK, MERGED, WHOLE, adds, alias_at


def unravelled(document: Document) -> str:
    """The text without the mesh; of a file that is not meshed the text as it is."""
    record = entry(document.root, MARK)
    if record is None:
        return document.text
    written = value(document, record.node)
    if not isinstance(written, dict):
        raise MiniIstiodError(f"{document.name}: {MARK}: a mapping is wanted")
    edits = _record(document)
    edits += _section(document, "services", _names(written, "services"))
    made = "volumes" in _names(written, "sections")
    edits += _section(document, "volumes", _names(written, "volumes"), made)
    place = entry(document.root, "services")
    added = set(_names(written, "services"))
    for one in entries(place.node) if place is not None else ():
        if one.key not in added and place is not None:
            stop = region_end(document, place.node, one.key, region_end(document, document.root, "services"))
            edits += _service(document, one, stop)
    return applied(document.text, edits)


def _names(written: Mapping[str, object], key: str) -> list[str]:
    found = written.get(key)
    return [str(one) for one in found] if isinstance(found, list) else []


def _record(document: Document) -> list[Edit]:
    stop = region_end(document, document.root, MARK)
    found = without(document, document.root, [MARK], stop)
    # The blank line behind it is its own.
    return [_wider(document, edit) for edit in found]


def _wider(document: Document, edit: Edit) -> Edit:
    blank = not document.root.flow_style and document.text[edit.end : edit.end + 1] == "\n"
    return edit._replace(end=edit.end + 1) if blank else edit


def _section(document: Document, key: str, names: list[str], made: bool = False) -> list[Edit]:
    """New entries of a top-level mapping taken out; all of it if it was made for them and holds no others."""
    place = entry(document.root, key)
    if place is None or not isinstance(place.node, MappingNode):
        return []
    stop = region_end(document, document.root, key)
    theirs = [one.key for one in entries(place.node) if one.key not in names]
    if made and not theirs:
        return [_with_blank(document, edit) for edit in without(document, document.root, [key], stop)]
    found = without(document, place.node, names, stop)
    return [_with_blank(document, edit) for edit in found] if key == "services" else found


def _with_blank(document: Document, edit: Edit) -> Edit:
    """With the blank line before it."""
    blank = document.text[edit.start - 2 : edit.start] == "\n\n"
    return edit._replace(start=edit.start - 1) if blank else edit


def _service(document: Document, place: Entry, stop: int) -> list[Edit]:
    """One service of the user as it was."""
    if place.aliased or not isinstance(place.node, MappingNode):
        return []
    whole = entry(place.node, WHOLE)
    if whole is not None:
        return [_alias(document, place, whole)]
    added = adds(document, place.node)
    found = without(document, place.node, {MARK, *added}, stop)
    own = {one.key for one in entries(place.node)} - added
    for one in entries(place.node):
        if not one.key.startswith(KEPT):
            continue
        key = one.key.removeprefix(KEPT)
        key = "<<" if key == MERGED else key
        if key in own:
            raise MiniIstiodError(
                f"{document.name}: services.{place.key}.{key}: stands beside {one.key}; keep one of them"
            )
        found.append(_renamed(document, one.key_node, key))
    return found


def _renamed(document: Document, node: Node, key: str) -> Edit:
    spelled = document.text[node.start_mark.index : node.end_mark.index]
    return Edit(node.start_mark.index, node.end_mark.index, spelled.replace(node.value, key, 1))


def _alias(document: Document, place: Entry, whole: Entry) -> Edit:
    """A service that was an alias as a whole."""
    text = document.text
    star = text.index("*", whole.key_node.end_mark.index)
    alias = alias_at(text, star)
    if isinstance(place.node, MappingNode) and place.node.flow_style:
        return Edit(place.node.start_mark.index, place.node.end_mark.index, alias)
    return Edit(text.index(":", place.key_node.end_mark.index) + 1, star + len(alias), f" {alias}")
