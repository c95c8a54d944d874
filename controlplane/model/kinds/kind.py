"""What a kind is: its names in the API, its parser and its table."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Literal, NamedTuple

from controlplane.graph import Table
from controlplane.model.describe import describe, printable, shorten
from controlplane.model.keys import Key
from controlplane.model.meta import Meta
from controlplane.model.problem import Origin, Problem
from controlplane.model.reader import Reader
from controlplane.model.report import Report

DEFAULT_NAMESPACE = "default"
MESH = Key("", "mesh")
"""The key of the only MeshConfig."""

# Written by tools and controllers at every touch; with them no two versions of an object were equal.
_BOOKKEEPING = frozenset(
    {
        "control-plane.alpha.kubernetes.io/leader",
        "endpoints.kubernetes.io/last-change-trigger-time",
        "kubectl.kubernetes.io/last-applied-configuration",
    }
)
_LONGEST_NAME = 253
_LONGEST_LABEL = 63
_LABEL_RULE = "use at most 63 lower case letters, digits and hyphens"
_NAME_RULE = "use at most 253 lower case letters, digits, hyphens and dots"
_NAME = re.compile(r"[a-z0-9](?:[-.a-z0-9]*[a-z0-9])?")
_LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?")


class Parsed(NamedTuple):
    """What became of a raw object.

    `value` None = refused, then `problems` has an error.  `key` is the object's name even so, None
    where it has none; a store keeps the last valid value under it.
    """

    value: Any
    problems: tuple[Problem, ...]
    key: Key | None


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of object.

    `group` is "" for the core group.  `read(reader, meta)` makes the value; what the reader stands on
    depends on `shape`: "custom" its spec, where unknown fields are warned about; "core" the whole
    object, of which a mesh reads a part; "bare" a document that is all spec and has no metadata.
    An object of a kind that is `guarding` keeps somebody out: without it, or without a field that was
    misspelled, a door stands open.  So an unknown field is an error there, and stores keep the last valid
    version longer than a process lives.
    """

    name: str
    group: str
    versions: tuple[str, ...]
    plural: str
    namespaced: bool
    table: Table
    read: Callable[[Reader, Meta], Any]
    shape: Literal["custom", "core", "bare"] = "custom"
    guarding: bool = False
    status: Callable[[object, Any], Any] | None = None
    """Of a "custom" kind: what the raw status, written by controllers, adds to the value.  Never refuses."""

    def parse(self, raw: object, where: Origin | None = None) -> Parsed:
        """The value of a raw object (plain dicts, lists and scalars), or why there is none.  Never raises."""
        report = Report(self.name, where, strict=self.shape != "core")
        report.unknown = "error" if self.guarding else "warning"
        if not isinstance(raw, Mapping):
            report.add("error", "", f"expected an object, got {describe(raw)}", "write it as a mapping")
            return Parsed(None, tuple(report.problems), None)
        root = Reader(raw, "", report)
        if self.shape == "bare":
            report.name = MESH.name
            root.skip("apiVersion", "kind", "metadata")
            value = self.read(root, Meta(*MESH))
            root.close()
            return Parsed(None if report.failed else value, tuple(report.problems), MESH)
        meta = self._meta(root)
        self._check_version(root)
        if self.shape == "core":
            value = self.read(root, meta)
        else:
            root.skip("kind", "status")
            spec = root.inner("spec")
            value = self.read(spec, meta)
            spec.close()
            if self.status is not None:
                value = self.status(root.value("status"), value)
            root.close()
        key = meta.key if meta.name else None
        return Parsed(None if report.failed else value, tuple(report.problems), key)

    def _meta(self, root: Reader) -> Meta:
        """The metadata; `name` is "" where the object has none that can be used."""
        r = root.inner("metadata")
        report = root.report
        namespace = r.text("namespace", DEFAULT_NAMESPACE) if self.namespaced else ""
        report.namespace = printable(namespace, _LONGEST_NAME)
        name = r.required("name", "name the object")
        report.name = printable(name, _LONGEST_NAME)
        if self.namespaced and not (_LABEL.fullmatch(namespace) and len(namespace) <= _LONGEST_LABEL):
            r.error("namespace", f"{shorten(namespace)} cannot be the name of a namespace", _LABEL_RULE)
            name = ""
        if name and not (_NAME.fullmatch(name) and len(name) <= _LONGEST_NAME):
            r.error("name", f"{shorten(name)} cannot be a name", _NAME_RULE)
            name = ""
        annotations = r.labels("annotations")
        return Meta(
            namespace=namespace,
            name=name,
            labels=r.labels("labels"),
            annotations=tuple(pair for pair in annotations if pair[0] not in _BOOKKEEPING),
            created=_time(r.value("creationTimestamp")),
        )

    def _check_version(self, root: Reader) -> None:
        given = root.required("apiVersion", f"write apiVersion: {self.api_versions[0]}")
        if given and given not in self.api_versions:
            root.error(
                "apiVersion",
                f"{shorten(given)} is not a version of {self.name} that is read here",
                "use " + " or ".join(self.api_versions),
            )

    @property
    def api_versions(self) -> tuple[str, ...]:
        """What apiVersion may say, the preferred one first."""
        return tuple(f"{self.group}/{version}" if self.group else version for version in self.versions)


def _time(value: object) -> str:
    """A creation time in RFC 3339; YAML readers make dates of what JSON leaves a string."""
    if isinstance(value, str):
        return value if value.isascii() and len(value) <= 40 else ""
    if isinstance(value, datetime):
        try:
            utc = value.astimezone(UTC) if value.tzinfo else value
        except OverflowError:
            return ""
        return utc.replace(tzinfo=None).isoformat(timespec="seconds") + "Z"
    return f"{value.isoformat()}T00:00:00Z" if isinstance(value, date) else ""


def by_namespace(key: Key, _value: Any) -> tuple[str, ...]:
    """The index function "namespace"."""
    return (key.namespace,)


def namespace_of(key: Key) -> str:
    """The namespace that a row is selected in."""
    return key.namespace
