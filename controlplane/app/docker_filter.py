"""What may be asked of Docker through the filter, and what is left of an answer.

Whoever can write to Docker's socket is root on its machine, and a read-only mount does not change that: it
keeps the file from being replaced, not from being talked to.  Reading alone tells too much as well: the
environments and command lines of all containers, where passwords are.  So questions are on a list, and
answers are built from the fields that are read here, not freed of those that look secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

from controlplane.sources.docker import stopping, summary
from controlplane.sources.docker.container import FIELDS
from controlplane.sources.docker.event import read_event

Tree: TypeAlias = dict[str, "Tree"]
"""Which keys of a value stay, and what stays below them; nothing below one is all of it, `*` any key."""

_PATH = re.compile(
    r"(?P<version>/v[0-9]{1,2}\.[0-9]{1,3})?/"
    r"(?P<what>_ping|version|events|containers/json|containers/(?P<id>[A-Za-z0-9][A-Za-z0-9_.-]{0,254})/json)",
    re.ASCII,
)


class Question(NamedTuple):
    """A question that may be asked: what kind it is, its path, and the parameters that count for it."""

    kind: str
    path: str
    query: dict[str, str]


_PARAMETERS = {"containers": ("all", "filters"), "events": ("since", "until", "filters")}


def question(method: str, path: str, query: Mapping[str, str]) -> Question | str:
    """The question of a request, or in words why it is not let through; `path` is as it was sent."""
    if method not in ("GET", "HEAD"):
        return f"{method} is not let through: this is a filter that only lets questions pass"
    found = _PATH.fullmatch(path)
    if found is None:
        return "only /_ping, /version, /events, /containers/json and /containers/ID/json are let through"
    kind = "container" if found["id"] else found["what"].removesuffix("/json")
    wanted = _PARAMETERS.get(kind, ())
    return Question(kind, path, {name: query[name] for name in wanted if name in query})


def answer(kind: str, value: Any) -> Any:
    """What is left of Docker's answer to a question of that kind; JSON both."""
    tree = _TREES[kind]
    return [cut(one, tree) for one in value] if isinstance(value, list) else cut(value, tree)


def event(raw: Any) -> Any | None:
    """What is left of an event; None for one that tells of nothing that is read here.

    The events of `docker exec` are such: they hold its command line.
    """
    if not isinstance(raw, Mapping) or read_event(raw) is None:
        return None
    return cut(raw, _EVENT)


def cut(value: Any, tree: Tree) -> Any:
    """A JSON value with only what the tree names; null for what is not of its shape."""
    if not tree:
        return value
    if not isinstance(value, Mapping):
        return None
    if "*" in tree:
        return {key: cut(inner, tree["*"]) for key, inner in value.items()}
    return {key: cut(value[key], below) for key, below in tree.items() if key in value}


def tree_of(fields: Iterable[str]) -> Tree:
    """The tree of paths such as "State.Health.Status"."""
    tree: Tree = {}
    for field in fields:
        place = tree
        for key in field.split("."):
            place = place.setdefault(key, {})
    return tree


_TREES = {
    "version": tree_of(("Version", "ApiVersion", "MinAPIVersion", "Os", "Arch")),
    "containers": tree_of(summary.FIELDS),
    # Beyond what a container is: what says that it is about to end.
    "container": tree_of((*FIELDS, *stopping.FIELDS)),
}
_ATTRIBUTES = ("name", "container", "signal", "health_status", "exitCode")
_EVENT = tree_of(
    ("Type", "Action", "Actor.ID", *(f"Actor.Attributes.{one}" for one in _ATTRIBUTES), "time", "timeNano")
)
