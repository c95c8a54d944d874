"""A recording: what came in and who was connected, as lines of JSON, to be played again.

The first line is the header: format, product version, wall clock at the start, sources, settings.  The others
are events; `e` says what happened, `t` when, in seconds since the start.

    apply      {t, source, count}                      the next `count` lines belong together
    change     {id, kind, group, namespace, name, origin, at, raw}     raw null: it is gone
    report     {t, source, where, problems}            what a source says is wrong with one of its places
    synced     {t, source}                             it has delivered what was there
    connected  {t, connection, variant, proxy}
    asked      {t, connection, type, names}            for single resources, in the middle of a request
    rejected   {t, connection, type, names, error}     what it refused, and why: told, not played
    gone       {t, connection}
    end        {t}                                     the recording was ended, not cut off

Every source is recorded on its way into the store, whatever it is: a new source, or one of certificates,
needs nothing here but a name.  Secrets are replaced (see `redact`).  Of kinds that the mesh does not read
only the names are kept.

On the event path the recorder appends to a list; lines are made in the journal's thread.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

from controlplane.base.clock import Clock
from controlplane.model.problem import Problem
from controlplane.model.proxy import Proxy
from controlplane.sources.change import Change, Sink
from controlplane.sources.naming import kind_of
from controlplane.sources.redact import Redaction
from controlplane.telemetry.journal import Journal

FORMAT = "mini-istiod recording"
VERSION = 1
"""Of the format.  A reader takes its own version and older ones."""

Settings: TypeAlias = Mapping[str, str | int | float | bool | None]


@dataclass(frozen=True, slots=True)
class Header:
    """`started` is the wall clock at t = 0 (seconds since 1970), `sources` are those that must sync first."""

    product: str
    started: float
    sources: tuple[str, ...]
    settings: Settings


class Recorder:
    """Writes one recording; the time begins when it is made.  Its journal is run by whoever made it."""

    def __init__(self, path: Path, header: Header, clock: Clock) -> None:
        self._clock = clock
        self._zero = clock.monotonic()
        self._redaction = Redaction()
        # By connection: what it asked for so far.  Only the journal's thread looks at it.
        self._names: dict[str, set[str]] = {}
        self.journal = Journal("recording", path, self._lines, last=self._end)
        self._add = self.journal.add
        self._add((_header, header))

    def sink(self, source: str, sink: Sink) -> Sink:
        """A sink that notes what the source delivers and passes it on."""
        return _Tap(self, source, sink)

    # -- what happened --------------------------------------------------------------------------

    def applied(self, source: str, changes: Sequence[Change]) -> None:
        """The source delivers changes that belong together."""
        self._add((self._apply, self._now(), source, tuple(changes)))

    def reported(self, source: str, where: str, problems: Sequence[Problem]) -> None:
        """The source says what is wrong with one of its places."""
        self._add((_report, self._now(), source, where, tuple(problems)))

    def synced(self, source: str) -> None:
        """The source has delivered what was there when it began."""
        self._add((_synced, self._now(), source))

    def connected(self, connection: str, variant: str, proxy: Proxy) -> None:
        """A proxy was admitted; `variant` is "sotw" or "delta"."""
        self._add((self._connected, self._now(), connection, variant, proxy))

    def asked(self, connection: str, type_name: str, names: Sequence[str]) -> None:
        """It was given these resources, which it must have asked for by name."""
        self._add((self._asked, self._now(), connection, type_name, names))

    def rejected(self, connection: str, type_name: str, names: Sequence[str], error: str) -> None:
        """It refused a response; the names are those that are held back from it now."""
        self._add((self._rejected, self._now(), connection, type_name, names, error))

    def gone(self, connection: str) -> None:
        """Its stream ended."""
        self._add((self._gone, self._now(), connection))

    def _now(self) -> float:
        return self._clock.monotonic() - self._zero

    def _end(self) -> tuple[Any, ...]:
        return (_ended, self._now())

    # -- in the journal's thread ----------------------------------------------------------------

    def _lines(self, entries: Sequence[Any]) -> Iterator[str]:
        for render, *values in entries:
            for line in render(*values):
                yield json.dumps(line, separators=(",", ":"))

    def _apply(self, t: float, source: str, changes: Sequence[Change]) -> Iterator[_Line]:
        yield {"e": "apply", "t": t, "source": source, "count": len(changes)}
        for change in changes:
            yield {
                "e": "change",
                "id": change.id,
                "kind": change.kind,
                "group": change.group,
                "namespace": change.key.namespace,
                "name": change.key.name,
                "origin": change.origin,
                "at": change.at - self._zero,
                "raw": self._raw(change),
            }

    def _raw(self, change: Change) -> dict[str, Any] | None:
        if change.raw is None:
            return None
        name = change.name
        known = kind_of(name.group, name.kind) is not None
        return self._redaction.raw(change.kind, change.raw) if known else {}

    def _connected(self, t: float, connection: str, variant: str, proxy: Proxy) -> Iterator[_Line]:
        shown = asdict(proxy)
        for name in ("proxy_config", "texts"):
            text = shown["metadata"][name]
            if text:
                hidden = self._redaction.value(json.loads(text))
                shown["metadata"][name] = json.dumps(hidden, sort_keys=True)
        yield {"e": "connected", "t": t, "connection": connection, "variant": variant, "proxy": shown}

    def _asked(self, t: float, connection: str, type_name: str, names: Sequence[str]) -> Iterator[_Line]:
        known = self._names.setdefault(connection, set())
        new = [name for name in names if name not in known]
        known.update(new)
        if new:
            yield {"e": "asked", "t": t, "connection": connection, "type": type_name, "names": new}

    def _rejected(
        self, t: float, connection: str, type_name: str, names: Sequence[str], error: str
    ) -> Iterator[_Line]:
        yield {
            "e": "rejected",
            "t": t,
            "connection": connection,
            "type": type_name,
            "names": list(names),
            "error": self._redaction.value(error),
        }

    def _gone(self, t: float, connection: str) -> Iterator[_Line]:
        self._names.pop(connection, None)
        yield {"e": "gone", "t": t, "connection": connection}


_Line: TypeAlias = Mapping[str, Any]


class _Tap:
    """Between a source and its sink."""

    def __init__(self, recorder: Recorder, source: str, sink: Sink) -> None:
        self._recorder = recorder
        self._source = source
        self._sink = sink

    async def apply(self, changes: Sequence[Change]) -> None:
        self._recorder.applied(self._source, changes)
        await self._sink.apply(changes)

    def report(self, where: str, problems: Sequence[Problem]) -> None:
        self._recorder.reported(self._source, where, problems)
        self._sink.report(where, problems)

    def synced(self, source: str) -> None:
        self._recorder.synced(source)
        self._sink.synced(source)


def _header(header: Header) -> Iterator[_Line]:
    yield {"format": FORMAT, "version": VERSION, **asdict(header)}


def _report(t: float, source: str, where: str, problems: Sequence[Problem]) -> Iterator[_Line]:
    shown = [problem.as_json() for problem in problems]
    yield {"e": "report", "t": t, "source": source, "where": where, "problems": shown}


def _synced(t: float, source: str) -> Iterator[_Line]:
    yield {"e": "synced", "t": t, "source": source}


def _ended(t: float) -> Iterator[_Line]:
    yield {"e": "end", "t": t}
