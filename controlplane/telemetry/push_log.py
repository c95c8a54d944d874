"""The push log: what the push trace sums up, one line for every moment of every proxy.

`/debug/traces` tells a change's distribution over the proxies; a study of latency needs the pairs.  The log
is JSON lines, in the order in which things became known.  `e` says what happened; all times are seconds of
the monotonic clock, which all processes of a machine share.

    start      {at, epoch: wall clock minus monotonic clock, version}
    batch      {revision, opened, committed, changes: [{id, kind, namespace, name, at, in, file}]}
               `at` is the source event, `in` when the debouncer got the change
    settled    {revision, at}
    woken      {proxy, revision, at}        something that the proxy reads changed
    untouched  {proxy, revision, at}        it was woken and needs nothing, up to this revision
    response   {proxy, type, revision, planned, took, written, answered, ok, bytes, names, echoes}
               once it is answered; `answered` is null (and `ok` false) when a newer one took its place or
               the proxy left first
    connected, gone  {proxy, at}
    lag        {at, seconds}                the loop woke late by more than a millisecond
    gc         {at, generation, seconds}    at = the end of a collection

On the push path every event is one tuple in a list.  Responses are put together in the journal's thread.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from controlplane.telemetry.journal import Journal
from controlplane.telemetry.wave import Response, Seen

Key: TypeAlias = tuple[str, str]
LATE = 0.001
"""Seconds of loop lag that are worth a line."""


class Start(NamedTuple):
    """The head of the log; `epoch` is wall clock minus monotonic clock, in seconds."""

    at: float
    epoch: float
    version: str


class PushLog:
    """The recorder.  A proxy is any string that names one stream, a key type and nonce of its response."""

    def __init__(self, path: Path, start: Start) -> None:
        self.journal = Journal("push log", path, self._lines)
        self._add = self.journal.add
        self._open: dict[str, dict[Key, _Open]] = {}
        self._add((_start, start))

    # -- what happened --------------------------------------------------------------------------

    def batch(self, revision: int, changes: Sequence[Seen], opened: float, committed: float) -> None:
        """Changes were committed as `revision`; the debouncer had been waiting since `opened`."""
        self._add((_batch, revision, changes, opened, committed))

    def settled(self, revision: int, at: float) -> None:
        """The graph has the results of all commits up to `revision`."""
        self._add((_settled, revision, at))

    def woken(self, proxy: str, revision: int, at: float) -> None:
        """Something that the proxy reads changed in `revision`, which is settled."""
        self._add((_woken, proxy, revision, at))

    def untouched(self, proxy: str, revision: int, at: float) -> None:
        """The proxy was woken and has nothing to be sent for any revision up to this one."""
        self._add((_untouched, proxy, revision, at))

    def planned(self, proxy: str, nonce: str, response: Response) -> None:
        """A response was made."""
        self._add((self._planned, proxy, (response.type, nonce), response))

    def written(self, proxy: str, key: Key, at: float) -> None:
        """The response was handed to the transport."""
        self._add((self._written, proxy, key, at))

    def answered(self, proxy: str, key: Key, at: float, ok: bool) -> None:
        """The proxy accepted the response, or rejected it."""
        self._add((self._answered, proxy, key, at, ok))

    def connected(self, proxy: str, at: float) -> None:
        """A stream began."""
        self._add((_connected, proxy, at))

    def gone(self, proxy: str, at: float) -> None:
        """The stream ended: what is not answered never will be."""
        self._add((self._gone, proxy, at))

    def lag(self, seconds: float) -> None:
        """The loop woke so late, just now."""
        if seconds > LATE:
            self._add((_lag, time.monotonic(), seconds))

    def collected(self, generation: str, seconds: float) -> None:
        """A garbage collection ended just now."""
        self._add((_gc, time.monotonic(), generation, seconds))

    # -- in the journal's thread ----------------------------------------------------------------

    def _lines(self, entries: Sequence[Any]) -> Iterator[str]:
        for render, *values in entries:
            for line in render(*values):
                # The frequent ones come as text: making JSON of them costs twice what it tells.
                yield line if isinstance(line, str) else json.dumps(line, separators=(",", ":"))

    def _planned(self, proxy: str, key: Key, response: Response) -> Iterator[_Line]:
        mine = self._open.setdefault(proxy, {})
        if key in mine:
            # So old that its nonce was given out again.
            yield from self._close(proxy, key)
        mine[key] = _Open(response)

    def _written(self, proxy: str, key: Key, at: float) -> Iterator[_Line]:
        one = self._open.get(proxy, {}).get(key)
        if one is not None:
            one.written = at
            if one.answered is not None:
                yield from self._close(proxy, key)

    def _answered(self, proxy: str, key: Key, at: float, ok: bool) -> Iterator[_Line]:
        mine = self._open.get(proxy, {})
        one = mine.get(key)
        if one is None:
            return
        one.answered, one.ok = at, ok
        # Proxies answer in order, so what came before and is still open never will be answered.
        for earlier, other in list(mine.items()):
            if earlier == key:
                break
            if other.response.type == one.response.type and other.answered is None:
                yield from self._close(proxy, earlier)
        # Near proxies answer before the writer gets its turn again: then its turn ends this.
        if one.written is not None:
            yield from self._close(proxy, key)

    def _gone(self, proxy: str, at: float) -> Iterator[_Line]:
        for key in list(self._open.get(proxy, ())):
            yield from self._close(proxy, key)
        self._open.pop(proxy, None)
        yield {"e": "gone", "proxy": proxy, "at": at}

    def _close(self, proxy: str, key: Key) -> Iterator[_Line]:
        one = self._open[proxy].pop(key)
        name, revision, planned, size, names, echoes, took = one.response
        yield (
            f'{{"e":"response","proxy":{json.dumps(proxy)},"type":"{name}","revision":{revision},'
            f'"planned":{planned!r},"took":{took!r},"written":{_time(one.written)},'
            f'"answered":{_time(one.answered)},"ok":{_bool(one.ok)},'
            f'"bytes":{size},"names":{names},"echoes":{echoes}}}'
        )


_Line: TypeAlias = Mapping[str, Any] | str
"""An event as values, or as JSON."""


class _Open:
    """A response that is not answered, or whose writing is not reported."""

    __slots__ = ("answered", "ok", "response", "written")

    def __init__(self, response: Response) -> None:
        self.response = response
        self.written: float | None = None
        self.answered: float | None = None
        self.ok = False


def _time(at: float | None) -> str:
    return "null" if at is None else repr(at)


def _bool(value: bool) -> str:
    return "true" if value else "false"


def _start(start: Start) -> Iterator[_Line]:
    yield {"e": "start", **start._asdict()}


def _batch(revision: int, changes: Sequence[Seen], opened: float, committed: float) -> Iterator[_Line]:
    shown = [
        {
            "id": seen.id,
            "kind": seen.kind,
            "namespace": seen.namespace,
            "name": seen.name,
            "at": seen.at,
            "in": seen.received,
            "file": _file(seen.origin),
        }
        for seen in changes
    ]
    yield {"e": "batch", "revision": revision, "opened": opened, "committed": committed, "changes": shown}


def _file(origin: str) -> str | None:
    """The file of "file:line"."""
    file, _, line = origin.rpartition(":")
    return (file if line.isdigit() else origin) or None


def _of_proxy(event: str) -> Callable[[str, int, float], Iterator[_Line]]:
    def render(proxy: str, revision: int, at: float) -> Iterator[_Line]:
        yield f'{{"e":"{event}","proxy":{json.dumps(proxy)},"revision":{revision},"at":{at!r}}}'

    return render


_woken = _of_proxy("woken")
_untouched = _of_proxy("untouched")


def _settled(revision: int, at: float) -> Iterator[_Line]:
    yield {"e": "settled", "revision": revision, "at": at}


def _connected(proxy: str, at: float) -> Iterator[_Line]:
    yield {"e": "connected", "proxy": proxy, "at": at}


def _lag(at: float, seconds: float) -> Iterator[_Line]:
    yield {"e": "lag", "at": at, "seconds": seconds}


def _gc(at: float, generation: str, seconds: float) -> Iterator[_Line]:
    yield {"e": "gc", "at": at, "generation": int(generation), "seconds": seconds}
