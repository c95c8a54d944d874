"""A meshed file from a plain one, and back.

What was written is listed in `x-mini-istiod` at the top: the services and volumes that are new, the flags.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ruamel.yaml.nodes import MappingNode

from controlplane.base.errors import MiniIstiodError
from controlplane.ctl.compose import emit, options, overlay
from controlplane.ctl.compose.document import Document, Entry, Value, entries, entry, parse, value
from controlplane.ctl.compose.emit import Inline, Output
from controlplane.ctl.compose.extends import Read, resolved
from controlplane.ctl.compose.plan import Plan, Services, plan
from controlplane.ctl.compose.seal import SEAL, broken, seal
from controlplane.ctl.compose.splice import Edit, applied, behind, inside, line_behind, step
from controlplane.ctl.compose.unravel import unravelled
from controlplane.ctl.compose.weave import KEPT, MARK, services, woven

LOST = (
    "what this command writes was changed by hand, and is written anew: change your own keys and "
    f"{KEPT}KEY instead, and look at --diff before"
)
"""What is told of a file whose seal is broken."""
_BYTE_ORDER = "\ufeff"
"""What some editors of Windows write before everything else."""
_REMARK = "# Written by `mini-istioctl compose mesh`; `--remove` takes it out again."


def meshed(text: str, name: str, given: Mapping[str, Any], read: Read) -> tuple[str, list[str]]:
    """(the meshed text, notes); `given` are the flags that were given, by the names of `Options`.

    `read` finds the files that are extended.
    """
    shape, bare = _unshaped(text)
    document = parse(bare, name)
    before = document if record(document) is None else parse(unravelled(document), name)
    whole = resolved(project(before), read)
    wish = options.amended(options.read(record(document)), given, whole)
    found = plan(whole, wish)
    lost = [LOST] if broken(document, record(document)) else []
    _check_volumes(before, found)
    result = _completed(woven(before, found.services, found.marks), found, wish)
    _check(result, before, found)
    return shape.of(result), [*lost, *found.notes]


def plain(text: str, name: str) -> str:
    """The text without the mesh; MiniIstiodError when there is none in it."""
    shape, bare = _unshaped(text)
    document = parse(bare, name)
    if record(document) is None:
        raise MiniIstiodError(f"{name}: it was not written by `mini-istioctl compose mesh`: no {MARK} in it")
    return shape.of(unravelled(document))


def project(document: Document) -> dict[str, dict[str, Value]]:
    """The services of a plain file; MiniIstiodError when there are none."""
    place = entry(document.root, "services")
    found = None if place is None else value(document, place.node)
    if place is None or place.aliased or not isinstance(found, dict) or not found:
        raise MiniIstiodError(
            f"{document.name}: there are no 'services'; a file of Compose's version 1 has to be renewed"
        )
    if entry(place.node, "<<") is not None:
        raise MiniIstiodError(f"{document.name}: services: write out the services that '<<' merges in")
    for one, service in found.items():
        if not isinstance(service, dict):
            raise MiniIstiodError(f"{document.name}: services.{one}: a mapping is wanted")
    return {one: service for one, service in found.items() if isinstance(service, dict)}


class _Shape(NamedTuple):
    """How the lines of a file end: `windows` with two characters, `ended` the last one, too."""

    mark: str
    windows: bool
    ended: bool

    def of(self, text: str) -> str:
        """A text in this shape."""
        found = text if self.ended else text.removesuffix("\n")
        return self.mark + (found.replace("\n", "\r\n") if self.windows else found)


def _unshaped(text: str) -> tuple[_Shape, str]:
    """The shape of a text, and the text as this program writes: every line with one character at its end."""
    bare = text.removeprefix(_BYTE_ORDER)
    windows = "\n" in bare and bare.count("\n") == bare.count("\r\n")
    if windows:
        bare = bare.replace("\r\n", "\n")
    ended = bare.endswith("\n")
    mark = _BYTE_ORDER if text.startswith(_BYTE_ORDER) else ""
    return _Shape(mark, windows, ended), bare if ended else f"{bare}\n"


def overlaid(files: Sequence[tuple[str, str]]) -> str:
    """The text of the first of several files (name, text), with those after it laid over it as Compose does.

    A file that is meshed already has to be alone.
    """
    shape, first = _unshaped(files[0][1])
    documents = [parse(first, files[0][0])]
    documents += [parse(_unshaped(text)[1], name) for name, text in files[1:]]
    for one in documents:
        if record(one) is not None:
            raise MiniIstiodError(f"{one.name}: it is meshed already, and no other file can be laid over it")
    return shape.of(overlay.overlaid(documents))


def opened(text: str, name: str) -> Document:
    """A text as a document, however its lines end; MiniIstiodError where it is none."""
    return parse(_unshaped(text)[1], name)


def record(document: Document) -> Value:
    """What a meshed file keeps of how it was made; None in a plain one."""
    place = entry(document.root, MARK)
    return None if place is None else value(document, place.node)


def _check(result: str, before: Document, found: Plan) -> None:
    """MiniIstiodError unless the result has all services, and can be what it was: YAML has many spellings."""
    try:
        document = parse(result, before.name)
        whole = services(document).keys() == {*found.services, *found.added}
        whole = whole and unravelled(document) == before.text
    except MiniIstiodError:
        whole = False
    if not whole:
        raise MiniIstiodError(
            f"{before.name}: it is YAML in a form that cannot be meshed and restored; write keys plainly "
            "(no '? key', no escapes), once each, and end lines with a line feed"
        )


def _check_volumes(document: Document, found: Plan) -> None:
    place = entry(document.root, "volumes")
    if place is None:
        return
    for one in entries(place.node):
        if one.key in found.volumes:
            raise MiniIstiodError(f"{document.name}: volumes.{one.key}: the mesh needs the name; rename it")


def _completed(document: Document, found: Plan, wish: options.Options) -> str:
    """The new services, volumes and the record put into the text."""
    place = entry(document.root, "services")
    volumes = entry(document.root, "volumes")
    assert place is not None and isinstance(place.node, MappingNode)
    wide = step(place.node)
    written: dict[str, Output] = {
        "services": Inline(list(found.added)),
        "volumes": Inline(list(found.volumes)),
        SEAL: seal(document, found.added),
        **({"sections": Inline(["volumes"])} if volumes is None else {}),
        **options.recorded(wish),
        **found.templates,
    }
    edits = [_services(document, place.node, found.added), *_volumes(document, volumes, found.volumes, wide)]
    if document.root.flow_style:
        edits.append(inside(document.root, {MARK: written}))
    else:
        start = place.key_node.start_mark.index
        head = emit.block({MARK: written}, 0, wide)
        edits.append(Edit(start, start, head.replace("\n", f"  {_REMARK}\n", 1) + "\n"))
    return applied(document.text, edits)


def _services(document: Document, node: MappingNode, added: Services) -> Edit:
    if node.flow_style:
        return inside(node, added)
    column = node.value[0][0].start_mark.column
    text = "".join("\n" + emit.block({name: given}, column, step(node)) for name, given in added.items())
    at = behind(document, "services")
    return Edit(at, at, text)


def _volumes(document: Document, place: Entry | None, names: Sequence[str], wide: int) -> list[Edit]:
    new: dict[str, Output] = dict.fromkeys(names)
    if place is None and document.root.flow_style:
        return [inside(document.root, {"volumes": new})]
    if place is None:
        # One place for both: behind the services there may be nothing else.
        at = behind(document, [one.key for one in entries(document.root)][-1])
        return [Edit(at, at, "\n" + emit.block({"volumes": new}, 0, wide))]
    if place.aliased or not isinstance(place.node, MappingNode):
        if place.aliased or document.text[place.node.start_mark.index : place.node.end_mark.index]:
            raise MiniIstiodError(f"{document.name}: volumes: a mapping is wanted")
        at = line_behind(document.text, place.key_node.end_mark.index)
        return [Edit(at, at, emit.block(new, wide, wide))]
    if place.node.value:
        return [inside(place.node, new)]
    start = place.node.start_mark.index
    return [Edit(start, place.node.end_mark.index, emit.flow(new))]
