"""Reads a recording: its header, then its events one by one, never the whole file at once.

A recording that was cut off (a killed server, a full disk) is played up to the last whole event; anything
else that is wrong with it is a `RecordingError` that names file, line and field.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple, TextIO, TypeAlias

from controlplane.model.identity import Identity
from controlplane.model.keys import Key, labels_of
from controlplane.model.locality import Locality
from controlplane.model.problem import Origin, Problem
from controlplane.model.proxy import Proxy, ProxyMetadata
from controlplane.sources.change import Change
from controlplane.sources.record_line import Line, RecordingError, shown
from controlplane.sources.recording import FORMAT, VERSION, Header

_EVENTS = ("apply", "report", "synced", "connected", "asked", "rejected", "gone", "end")
_VARIANTS = ("sotw", "delta")


class Applied(NamedTuple):
    """A source delivered changes that belong together.  Times are seconds since the recording's start."""

    t: float
    source: str
    changes: tuple[Change, ...]


class Reported(NamedTuple):
    """What a source found wrong with one of its places."""

    t: float
    source: str
    where: str
    problems: tuple[Problem, ...]


class Synced(NamedTuple):
    """A source has delivered what was there when it began."""

    t: float
    source: str


class Connected(NamedTuple):
    """A proxy was admitted; `variant` is "sotw" or "delta"."""

    t: float
    connection: str
    variant: str
    proxy: Proxy


class Asked(NamedTuple):
    """It wants these resources, of the type with this short name, from now on too."""

    t: float
    connection: str
    type: str
    names: tuple[str, ...]


class Rejected(NamedTuple):
    """It refused a response of this type, for these names."""

    t: float
    connection: str
    type: str
    names: tuple[str, ...]
    error: str


class Gone(NamedTuple):
    """Its stream ended."""

    t: float
    connection: str


class Ended(NamedTuple):
    """The recording ends; `reason` is "" when it was ended well."""

    t: float
    reason: str


Event: TypeAlias = Applied | Reported | Synced | Connected | Asked | Rejected | Gone | Ended


class _CutOff(Exception):
    """The file ends in the middle of something."""


class Recording:
    """An open recording; a context manager.  `events` reads on from where it is."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._number = 0
        self._t = 0.0
        try:
            # Closed by whoever leaves the recording.
            opened = gzip.open if path.suffix == ".gz" else open
            self._file: TextIO = opened(path, "rt", encoding="utf-8")
        except OSError as error:
            raise RecordingError(f"{path}: {error.strerror or error}") from error
        try:
            self.header = self._header()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def events(self) -> Iterator[Event]:
        """All events in order of time; the last one is always `Ended`."""
        while True:
            try:
                event = self._event()
            except _CutOff as cut:
                yield Ended(self._t, f"{self.path}:{self._number}: cut off here: {cut}")
                return
            yield event
            if isinstance(event, Ended):
                return

    # -- lines ----------------------------------------------------------------------------------

    def _header(self) -> Header:
        try:
            line = self._line()
        except _CutOff as cut:
            raise RecordingError(f"{self.path}: it is no recording: {cut}") from cut
        if line.raw.get("format") != FORMAT:
            raise line.wrong("format", f"expected {FORMAT!r}")
        version = line.field("version", int)
        if not 1 <= version <= VERSION:
            raise line.wrong("version", f"this program reads versions 1 to {VERSION}")
        sources = line.texts("sources")
        product, settings = line.field("product", str), line.field("settings", dict)
        return Header(product, line.field("started", float), sources, settings)

    def _line(self) -> Line:
        try:
            text = self._file.readline()
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            if self._number == 0:
                raise RecordingError(f"{self.path}: it is no compressed recording: {error}") from error
            raise _CutOff(str(error)) from error
        except UnicodeDecodeError as error:
            raise RecordingError(f"{self.path}:{self._number + 1}: it is not text: {error}") from error
        if not text:
            raise _CutOff("the file has no end")
        self._number += 1
        where = f"{self.path}:{self._number}"
        try:
            raw = json.loads(text)
        except ValueError as error:
            if not text.endswith("\n"):
                raise _CutOff("the last line is not whole") from error
            raise RecordingError(f"{where}: it is not JSON: {error}") from error
        if not isinstance(raw, dict):
            raise RecordingError(f"{where}: expected an object, found {shown(raw)}")
        return Line(where, raw)

    def _event(self) -> Event:
        line = self._line()
        name = line.field("e", str)
        if name not in _EVENTS:
            raise line.wrong("e", f"expected one of {', '.join(_EVENTS)}")
        t = line.field("t", float)
        if t < self._t:
            raise line.wrong("t", f"expected {self._t} or later")
        self._t = t
        if name == "end":
            return Ended(t, "")
        if name in ("connected", "asked", "rejected", "gone"):
            return _of_proxy(name, t, line)
        source = line.field("source", str)
        if name == "synced":
            return Synced(t, source)
        if name == "report":
            return Reported(t, source, line.field("where", str), _problems(line))
        count = line.field("count", int)
        return Applied(t, source, tuple(_change(self._line()) for _ in range(count)))


def _change(line: Line) -> Change:
    if line.field("e", str) != "change":
        raise line.wrong("e", "expected change")
    raw, group, origin = line.raw.get("raw"), line.raw.get("group"), line.raw.get("origin")
    return Change(
        kind=line.field("kind", str),
        key=Key(line.field("namespace", str), line.field("name", str)),
        raw=None if raw is None else line.field("raw", dict),
        origin=None if origin is None else _origin(line),
        id=line.field("id", int),
        at=line.field("at", float),
        group=None if group is None else line.field("group", str),
    )


def _origin(line: Line) -> Origin:
    found = line.field("origin", list)
    if len(found) != 2 or not isinstance(found[0], str) or not isinstance(found[1], int | None):
        raise line.wrong("origin", "expected a file and a line")
    return Origin(found[0], found[1])


def _problems(line: Line) -> tuple[Problem, ...]:
    problems = []
    for found in line.field("problems", list):
        try:
            problems.append(Problem(**found))
        except TypeError as error:
            raise line.wrong(
                "problems", f"expected objects as /debug/problems shows them ({error})"
            ) from error
    return tuple(problems)


def _of_proxy(name: str, t: float, line: Line) -> Event:
    connection = line.field("connection", str)
    if name == "connected":
        return _connected(t, connection, line)
    if name == "gone":
        return Gone(t, connection)
    type_name, names = line.field("type", str), line.texts("names")
    if name == "asked":
        return Asked(t, connection, type_name, names)
    return Rejected(t, connection, type_name, names, line.field("error", str))


def _connected(t: float, connection: str, line: Line) -> Connected:
    variant = line.field("variant", str)
    if variant not in _VARIANTS:
        raise line.wrong("variant", f"expected {' or '.join(_VARIANTS)}")
    proxy = line.part("proxy")
    kind = proxy.field("type", str)
    if kind not in ("sidecar", "router"):
        raise proxy.wrong("type", "expected sidecar or router")
    locality = proxy.field("locality", list)
    labels, ips = proxy.field("labels", list), proxy.field("ips", list)
    try:
        made = Proxy(
            type="sidecar" if kind == "sidecar" else "router",
            ip=proxy.field("ip", str),
            id=proxy.field("id", str),
            namespace=proxy.field("namespace", str),
            domain=proxy.field("domain", str),
            labels=labels_of(dict(labels)),
            metadata=_metadata(proxy.part("metadata")),
            ips=tuple(map(str, ips)),
            locality=Locality(*map(str, locality)),
            identity=_identity(proxy),
        )
    except (TypeError, ValueError) as error:
        raise line.wrong("proxy", f"expected a proxy ({error})") from error
    return Connected(t, connection, variant, made)


def _identity(line: Line) -> Identity | None:
    """Who it was known to be; nobody in a recording of an older program."""
    given = line.raw.get("identity")
    return None if given is None else Identity(*line.texts("identity"))


def _metadata(line: Line) -> ProxyMetadata:
    """What this program knows of it; what an older one did not write is as if absent."""
    given: dict[str, Any] = {}
    for known in fields(ProxyMetadata):
        value = line.raw.get(known.name)
        if known.name in line.raw and value is not None:
            kind = int if known.default is None else type(known.default)
            given[known.name] = line.field(known.name, kind)
    return ProxyMetadata(**given)
