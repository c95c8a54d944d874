"""What a raw object is called: its API group, its kind and its key, before anybody parses it.

Names are settled here, in one place, because the last valid object is kept under its name even when
the rest of the document is nonsense.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from controlplane.model.keys import Key
from controlplane.model.kinds import KINDS
from controlplane.model.kinds.allocated_address import ALLOCATED_ADDRESS, ALLOCATED_GROUP
from controlplane.model.kinds.key_set import GROUP, KEY_SET
from controlplane.model.kinds.kind import DEFAULT_NAMESPACE, MESH, Kind

_READ = (*KINDS, KEY_SET, ALLOCATED_ADDRESS)
# What each of our own groups' objects come from; users write none of them.
_OURS = {GROUP: "fetched", ALLOCATED_GROUP: "given by the control plane"}
_KINDS: Mapping[str, tuple[Kind, ...]] = {
    name: tuple(kind for kind in _READ if kind.name == name) for name in {kind.name for kind in _READ}
}


class Name(NamedTuple):
    """An object's name across API groups."""

    group: str
    kind: str
    key: Key

    def __str__(self) -> str:
        where = f"{self.key.namespace}/" if self.key.namespace else ""
        return f"{self.kind} {where}{self.key.name}"


class NoName(NamedTuple):
    """Why a document cannot be told apart from others."""

    field: str
    message: str
    remedy: str


def kind_of(group: str, kind: str) -> Kind | None:
    """The kind that reads these objects; None when there is none."""
    for candidate in _KINDS.get(kind, ()):
        if candidate.group == group or candidate.shape == "bare":
            return candidate
    return None


def group_of(api_version: str) -> str:
    """The API group of an apiVersion: "" for "v1", "apps" for "apps/v1"."""
    return api_version.rpartition("/")[0]


def name_of(raw: Mapping[str, Any]) -> Name | NoName:
    """The name that a document gives its object, or what is missing.

    An object without a namespace is in "default", as with kubectl; an object of a cluster-wide kind
    is in none, whatever it says.
    """
    kind = raw.get("kind")
    if not isinstance(kind, str) or not kind:
        return NoName("kind", "the document has no kind", "add kind and apiVersion, or move the file away")
    api_version = raw.get("apiVersion", "")
    if not isinstance(api_version, str):
        return NoName("apiVersion", "apiVersion must be text", "write it as group/version")
    group = group_of(api_version)
    known = kind_of(group, kind)
    if known is not None and known.shape == "bare":
        # Such a document needs no apiVersion; whatever it says, it is the same object.
        return Name(known.group, kind, MESH)
    if group in _OURS:
        said = f"objects of this group are not written but {_OURS[group]}"
        return NoName("apiVersion", said, "remove the object")
    if not api_version:
        return NoName("apiVersion", "the document has no apiVersion", "add apiVersion")
    metadata = raw.get("metadata")
    if not isinstance(metadata, Mapping):
        return NoName("metadata", "the document has no metadata", "add metadata with a name")
    name = metadata.get("name")
    if not isinstance(name, str) or not name:
        return NoName("metadata.name", "the object has no name", "add metadata.name")
    namespace = metadata.get("namespace")
    if namespace is not None and not isinstance(namespace, str):
        return NoName("metadata.namespace", "the namespace must be text", "put it in quotes")
    if known is not None and not known.namespaced:
        return Name(group, kind, Key("", name))
    return Name(group, kind, Key(namespace or DEFAULT_NAMESPACE, name))
