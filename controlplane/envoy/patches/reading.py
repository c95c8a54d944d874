"""The JSON of a patch, looked at before it is read: which types it packs, which fields Envoy does not have.

The reader of protobuf's runtime stops at the first mistake, says roughly where, and knows the types of
messages that were imported.  Here every field is compared with its message's description on the way down:
stubs are loaded as they are named, fields that are not there are noted with their paths and left out as Istio
does, and a TypedStruct becomes the message that it stands for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from controlplane.envoy import pb
from controlplane.model.describe import describe, printable, shorten

_ANY = "google.protobuf.Any"
_OPAQUE = "google.protobuf."
"""Messages of these names have a JSON form of their own."""
_TYPED_STRUCTS = ("udpa.type.v1.TypedStruct", "xds.type.v3.TypedStruct")
_DEEPEST = 60
_WHERE = re.compile(r' at "?\w+(?:\.[^" ]*)?"?$|^(?:Failed to parse \w+ field: )+')


class Known(NamedTuple):
    """JSON without the fields that its message does not have.

    `unknown` are the paths of those, `wrong` (path, reason) pairs: with any of them there is no message.
    """

    content: dict[str, Any]
    unknown: tuple[str, ...]
    wrong: tuple[tuple[str, str], ...]


_EXPECTED = (
    (
        "a whole number",
        re.compile(r"(?:invalid literal for int\(\) with base 10|Couldn't parse integer): (.*)"),
    ),
    ("a number", re.compile(r"(?:could not convert string to float|Couldn't parse float): (.*)")),
    ("a string", re.compile(r"expected string or bytes-like object, got '(.*)'")),
)
"""What the runtime says in the words of its language, and in those of who writes a patch."""


def known(descriptor: Any, raw: object) -> Known:
    """The part of `raw` that the described message has."""
    reading = _Reading()
    content = reading.message(descriptor, raw, "")
    return Known(content, tuple(reading.unknown), tuple(reading.wrong))


def reason_of(error: ValueError) -> str:
    """What the runtime says, without where: that is known better here."""
    said = _WHERE.sub("", str(error).partition("\n")[0].rstrip(".")).rstrip(".")
    for expected, pattern in _EXPECTED:
        found = pattern.fullmatch(said)
        if found:
            return f"expected {expected}, got {found.group(1)}"
    return said


class _Reading:
    """One way down."""

    def __init__(self) -> None:
        self.unknown: list[str] = []
        self.wrong: list[tuple[str, str]] = []

    def message(self, descriptor: Any, raw: object, path: str) -> dict[str, Any]:
        if not isinstance(raw, Mapping) or path.count(".") > _DEEPEST:
            deep = isinstance(raw, Mapping)
            reason = "is nested too deeply" if deep else f"expected a mapping, got {describe(raw)}"
            self.wrong.append((path, reason))
            return {}
        names = {field.name: field for field in descriptor.fields}
        names |= {field.json_name: field for field in descriptor.fields}
        found: dict[str, Any] = {}
        for name, value in raw.items():
            at = f"{path}.{printable(name)}" if path else printable(name)
            field = names.get(name)
            if field is None:
                self.unknown.append(at)
            elif value is not None:
                if field.name in found:
                    self.wrong.append((at, "is given twice, in both spellings"))
                found[field.name] = self._field(field, value, at)
        return found

    def _field(self, field: Any, value: object, path: str) -> object:
        inner = field.message_type
        if inner is not None and inner.GetOptions().map_entry:
            return self._map(inner.fields_by_name["value"], value, path)
        if not field.is_repeated:
            return self._one(field, value, path)
        if not isinstance(value, list):
            self.wrong.append((path, f"expected a list, got {describe(value)}"))
            return []
        return [self._one(field, item, f"{path}[{index}]") for index, item in enumerate(value)]

    def _map(self, entry: Any, value: object, path: str) -> object:
        if not isinstance(value, Mapping):
            self.wrong.append((path, f"expected a mapping, got {describe(value)}"))
            return {}
        return {
            key: self._field(entry, item, f"{path}[{printable(str(key))}]") for key, item in value.items()
        }

    def _one(self, field: Any, value: object, path: str) -> object:
        """One value of a field, of which there may be several."""
        inner = field.message_type
        if inner is not None and inner.full_name == _ANY:
            return self._packed(value, path)
        if inner is not None and not inner.full_name.startswith(_OPAQUE):
            return self.message(inner, value, path)
        # By itself, so that what is wrong with it is said of it.
        try:
            alone = [value] if field.is_repeated else value
            pb.from_json(pb.message_class(field.containing_type), {field.name: alone})
        except ValueError as error:
            self.wrong.append((path, reason_of(error)))
        return value

    def _packed(self, value: object, path: str) -> dict[str, Any]:
        """An Any: its type says which fields it has."""
        url = value.get("@type") if isinstance(value, Mapping) else None
        if not isinstance(value, Mapping) or not isinstance(url, str) or "/" not in url:
            self.wrong.append((f"{path}.@type", "is missing or names no type"))
            return {}
        name = url.rpartition("/")[2]
        content = {key: item for key, item in value.items() if key != "@type"}
        if name in _TYPED_STRUCTS:
            inner = content.get("value") or {}
            named = content.get("type_url", content.get("typeUrl"))
            return self._packed({**inner, "@type": named} if isinstance(inner, Mapping) else inner, path)
        descriptor = pb.find(name)
        if descriptor is None:
            self.wrong.append((f"{path}.@type", f"{shorten(name)} is no message of Envoy that is known here"))
            return {}
        if ".v2." in name or name.startswith("envoy.config.filter."):
            self.wrong.append(
                (f"{path}.@type", f"{shorten(name)} is of API v2, which Envoy has not any more")
            )
        if not name.startswith(_OPAQUE):
            content = self.message(descriptor, content, path)
        return {"@type": url, **content}
