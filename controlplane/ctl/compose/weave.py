"""The text of a meshed project: the user's, changed only where a service must say something else.

A key that has to go is renamed in its place to `x-mini-istiod-KEY`, which Compose ignores; what comes instead
stands at the beginning of the service, and its names are kept in `x-mini-istiod`.  Whether that makes each
service what it shall be is not assumed: the new text is read again.  An anchor that others use, or a merge
key, may bring along what was just taken away, and then those services are changed, too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ruamel.yaml.nodes import MappingNode, Node

from controlplane.base.errors import MiniIstiodError
from controlplane.ctl.compose import emit
from controlplane.ctl.compose.document import Document, Entry, Value, entries, entry, parse, same, value
from controlplane.ctl.compose.emit import Inline, Output
from controlplane.ctl.compose.splice import Edit, applied, inside

MARK = "x-mini-istiod"
KEPT = f"{MARK}-"
MERGED = "merge"
"""What "<<" is called then: path languages of Compose take it, and a dot, for something else."""
WHOLE = f"{KEPT}value"
"""Where a service was an alias as a whole."""
ADDS = "adds"
SIDECAR = "sidecar"
_ROUNDS = 6
_ALIAS = re.compile(r"\*[^\s,\[\]{}]+")


@dataclass(frozen=True, slots=True)
class _Change:
    """What is done to the text of one service: keys of its user renamed, others added."""

    mark: str = ""
    renamed: frozenset[str] = frozenset()
    added: Mapping[str, Value] = field(default_factory=dict)


def woven(
    document: Document, wanted: Mapping[str, Mapping[str, Value]], marks: Mapping[str, str]
) -> Document:
    """The document with its services as wanted; MiniIstiodError when the text cannot be made to say that.

    `marks` are what else is kept in a service, by its name: the digest of its sidecar.
    """
    changes: dict[str, _Change] = {}
    found = document
    places = services(document)
    for _ in range(_ROUNDS):
        said = {name: effective(found, place) for name, place in services(found).items() if name in wanted}
        wrong = [name for name, goal in wanted.items() if not same(said.get(name, {}), dict(goal))]
        if not wrong:
            return found
        for name in wrong:
            before = changes.get(name, _Change(marks.get(name, "")))
            changes[name] = _more(before, places[name], said.get(name, {}), wanted[name])
        found = _written(document, changes)
    raise MiniIstiodError(
        f"{document.name}: services.{wrong[0]}: its anchors and merge keys cannot be followed; write them out"
    )


def adds(document: Document, service: Node) -> set[str]:
    """The keys of a service that were added to it."""
    mark = entry(service, MARK)
    kept = None if mark is None else value(document, mark.node)
    listed = kept.get(ADDS) if isinstance(kept, dict) else None
    return {str(one) for one in listed} if isinstance(listed, list) else set()


def services(document: Document) -> dict[str, Entry]:
    """Where each service stands."""
    found = entry(document.root, "services")
    return {} if found is None else {one.key: one for one in entries(found.node)}


def effective(document: Document, place: Entry) -> dict[str, Value]:
    """What Compose reads of one service: without extensions."""
    given = value(document, place.node)
    if not isinstance(given, dict):
        return {}
    return {key: found for key, found in given.items() if key != MARK and not key.startswith(KEPT)}


def _more(change: _Change, place: Entry, now: Mapping[str, Value], goal: Mapping[str, Value]) -> _Change:
    """The change of a service that says `now` and shall say `goal`."""
    own = set() if place.aliased else {one.key for one in entries(place.node)}
    renamed = set(change.renamed)
    added = dict(change.added)
    for key in now.keys() - goal.keys():
        # What comes by a merge key goes with the merge key.
        renamed.add(key if key in own and key not in renamed else "<<")
        added.pop(key, None)
    for key, given in goal.items():
        if key not in now or not same(now[key], given):
            added[key] = given
            if key in own:
                renamed.add(key)
    # In the order of the service, whichever round it was.
    return _Change(change.mark, frozenset(renamed), {key: added[key] for key in goal if key in added})


def _written(document: Document, changes: Mapping[str, _Change]) -> Document:
    edits: list[Edit] = []
    for name, place in services(document).items():
        change = changes.get(name)
        if change is None or not (change.renamed or change.added):
            continue
        if place.aliased:
            edits.append(_whole(document, place, change))
        else:
            edits += _service(document, place, change)
    return parse(applied(document.text, edits), document.name)


def _service(document: Document, place: Entry, change: _Change) -> list[Edit]:
    edits = []
    keys = list(entries(place.node))
    for one in keys:
        if one.key in change.renamed:
            node = one.key_node
            spelled = document.text[node.start_mark.index : node.end_mark.index]
            quote = spelled[0] if spelled[0] in "'\"" else ""
            edits.append(
                Edit(
                    node.start_mark.index,
                    node.end_mark.index,
                    f"{quote}{KEPT}{MERGED if one.key == '<<' else one.key}{quote}",
                )
            )
    if isinstance(place.node, MappingNode) and keys:
        edits.append(inside(place.node, _chunk(change)))
    return edits


def _chunk(change: _Change) -> dict[str, Output]:
    kept: dict[str, Output] = {SIDECAR: change.mark} if change.mark else {}
    found: dict[str, Output] = {MARK: Inline({**kept, ADDS: list(change.added)}), **change.added}
    needs = change.added.get("depends_on")
    if isinstance(needs, dict):
        found["depends_on"] = {name: Inline(detail) for name, detail in needs.items()}
    return found


def _whole(document: Document, place: Entry, change: _Change) -> Edit:
    """A service that is an alias becomes a mapping with everything in it."""
    start = place.key_node.end_mark.index
    star = document.text.index("*", start)
    alias = alias_at(document.text, star)
    section = entry(document.root, "services")
    if section is not None and isinstance(section.node, MappingNode) and section.node.flow_style:
        return Edit(star, star + len(alias), f'{{{emit.flow(_chunk(change))[1:-1]}, "{WHOLE}": {alias}}}')
    column = place.key_node.start_mark.column + 2
    colon = document.text.index(":", start) + 1
    text = f"\n{emit.block(_chunk(change), column, 2)}{' ' * column}{WHOLE}: {alias}"
    return Edit(colon, star + len(alias), text)


def alias_at(text: str, star: int) -> str:
    """The alias that begins at this index, with its star."""
    found = _ALIAS.match(text, star)
    assert found is not None
    return found[0]
