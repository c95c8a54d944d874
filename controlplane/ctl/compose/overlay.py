"""Several Compose files as one: later ones laid over the first, in its text.

What no later file touches stays as the first has it, comments and all; what one touches is written anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ruamel.yaml.nodes import MappingNode

from controlplane.base.errors import MiniIstiodError
from controlplane.ctl.compose import emit
from controlplane.ctl.compose.document import Document, Value, entries, entry, parse, same, value
from controlplane.ctl.compose.merge import merged, united
from controlplane.ctl.compose.splice import Edit, applied, behind, extent, inside, region_end, step

_SECTIONS = ("services", "volumes", "networks", "secrets", "configs")


def overlaid(documents: Sequence[Document]) -> str:
    """The text that says what Compose makes of all of them; MiniIstiodError when it cannot be written."""
    found = documents[0]
    for later in documents[1:]:
        _check_tags(later)
        for section in _SECTIONS:
            if given := _section(later, section):
                found = _laid(found, section, given)
    return found.text


def _section(document: Document, name: str) -> dict[str, Value]:
    place = entry(document.root, name)
    given = None if place is None else value(document, place.node)
    return given if isinstance(given, dict) else {}


def _check_tags(document: Document) -> None:
    """`!reset` and `!override` say what no plain value can."""
    place = entry(document.root, "services")
    for service in entries(place.node) if place is not None else ():
        for one in entries(service.node):
            if str(one.node.tag).startswith("!"):
                raise MiniIstiodError(
                    f"{document.name}: services.{service.key}.{one.key}: {one.node.tag} is not understood; "
                    "change the first file instead"
                )


def _laid(document: Document, section: str, given: Mapping[str, Value]) -> Document:
    """One section of a later file laid over that of the document."""
    now = _section(document, section)
    new = {key: _over(section, now.get(key), one) for key, one in given.items()}
    goal = {**now, **new}
    try:
        found = parse(applied(document.text, _edits(document, section, now, new)), document.name)
    except MiniIstiodError as error:
        raise MiniIstiodError(
            f"{document.name}: {section}: a later file changes what an anchor stands in; merge them by hand"
        ) from error
    if not same(_section(found, section), goal):
        raise MiniIstiodError(
            f"{document.name}: {section}: a later file changes what others merge in; merge them by hand"
        )
    return found


def _over(section: str, base: Value, over: Value) -> Value:
    if isinstance(base, dict) and isinstance(over, dict):
        return merged(base, over) if section == "services" else united(base, over)
    return base if over is None else over


def _edits(
    document: Document, section: str, now: Mapping[str, Value], new: Mapping[str, Value]
) -> list[Edit]:
    place = entry(document.root, section)
    if place is None and document.root.flow_style:
        return [inside(document.root, {section: new})]
    if place is None:
        at = behind(document, [one.key for one in entries(document.root)][-1])
        return [Edit(at, at, f"\n{emit.block({section: new}, 0, 2)}")]
    node = place.node
    if place.aliased or not isinstance(node, MappingNode) or node.flow_style or not node.value:
        if document.root.flow_style:
            return [Edit(node.start_mark.index, node.end_mark.index, emit.flow({**now, **new}))]
        start, end = extent(document, document.root, section, region_end(document, document.root, section))
        return [Edit(start, end, emit.block({section: {**now, **new}}, 0, 2))]
    column, wide = int(node.value[0][0].start_mark.column), step(node)
    stop = region_end(document, document.root, section)
    edits = []
    for key in (one.key for one in entries(node) if one.key in new):
        start, end = extent(document, node, key, stop)
        edits.append(Edit(start, end, emit.block({key: new[key]}, column, wide)))
    more = {key: one for key, one in new.items() if key not in now}
    at = behind(document, section)
    blank = "\n" if section == "services" else ""
    text = "".join(blank + emit.block({key: one}, column, wide) for key, one in more.items())
    return [*edits, Edit(at, at, text)]
