"""One row for every change and every proxy: what became of it, and the moment of each stage.

The rules, in the order in which they are asked:

1. A proxy *has* a change once it received a response that shows the change's number, or the number of a later
   change of the same object (the change is then *coalesced* and its latency ends with that receipt).
2. Where the bytes show no number (deletions, kinds that leave none) the server's log decides: the change has
   reached the proxy with the first response that was planned for it after the wake, at the revision of the
   change or later, of a type that can carry it.
3. The change counts as ACKed when that response is ACKed, or the newer one of its type that replaced it
   unanswered.  A NACK means that the proxy does not have it.
4. A proxy that was not woken for the revision, or was woken and found to need nothing, is *untouched*.
   The change counts as ACKed by it; it is in no latency.

Times come out as seconds since the change's `at`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from controlplane.lab.latency.dataset import Change, Latency, Receipt
from controlplane.lab.latency.objects import Markers, Objects
from controlplane.lab.latency.pushlog import Batch, PushLog, Seen
from controlplane.lab.latency.streams import Sent, Timeline, match, timelines

CARRIERS = {
    "DestinationRule": frozenset({"cds", "eds", "rds"}),
    "EndpointSlice": frozenset({"eds"}),
    "Endpoints": frozenset({"eds"}),
    "VirtualService": frozenset({"rds", "lds", "vhds"}),
    "WorkloadEntry": frozenset({"eds"}),
}
"""Types that a change of a kind can travel in; every type for kinds that are not named."""


@dataclass(slots=True)
class Joined:
    """The rows, and what did not fit.

    `strays` are receipts that are no response of the log's, `lost` counts responses that nobody received.
    Of changes that were alone in their batch, `same` counts the rows whose response by rule 1 is one by
    rule 2, too; `different` are the others.
    """

    rows: list[Latency] = field(default_factory=list)
    strays: list[Receipt] = field(default_factory=list)
    lost: int = 0
    same: int = 0
    different: list[tuple[int, str]] = field(default_factory=list)


def join(changes: Iterable[Change], receipts: Sequence[Receipt], log: PushLog | None = None) -> Joined:
    """Bring the three accounts of a run together.

    Without a server's log the rows have the outside time only.
    """
    return _Join(Objects(changes), receipts, log).run()


class _Server(NamedTuple):
    """The server's stages of one change; `ready` is the revision at which it was settled."""

    seen: Seen | None = None
    batch: Batch | None = None
    ready: int | None = None
    settled: float | None = None
    own: bool = True
    """False where `seen` is the event of a later change of the same object."""


class _Join:
    def __init__(self, objects: Objects, receipts: Sequence[Receipt], log: PushLog | None) -> None:
        self._objects = objects
        self._receipts = receipts
        self._log = log
        self._markers = Markers(objects, receipts)
        self._timelines = timelines(log) if log else {}
        self._matched = match(self._timelines, receipts)
        self._made = Joined()
        self._servers: dict[int, _Server] = {}
        if log:
            batches = {batch.revision: batch for batch in log.batches}
            seen = objects.seen(log)
            for change in objects.changes:
                if (event := seen.get(change.number)) is not None:
                    following = objects.following(change)
                    own = following is None or seen.get(following.number) is not event
                    self._servers[change.number] = _server(event, batches[event.revision], log, own)

    def run(self) -> Joined:
        proxies = sorted({*self._timelines, *(receipt.proxy for receipt in self._receipts)})
        made = self._made
        for change in self._objects.changes:
            made.rows += [self._row(change, proxy) for proxy in proxies]
        if self._log:
            pairs = zip(self._receipts, self._matched, strict=True)
            made.strays = [receipt for receipt, at in pairs if at is None]
            made.lost = sum(one.receipts.count(None) for one in self._timelines.values())
        return made

    def _row(self, change: Change, proxy: str) -> Latency:
        server = self._servers.get(change.number, _NOTHING)
        base = _stages(change, server, proxy)
        timeline = self._timelines.get(proxy)
        if self._log:
            if timeline is None or not timeline.connected(change.at):
                return base._replace(status="absent")
            if server.seen is None:
                base = base._replace(note="unattributed")
            elif not server.own:
                base = base._replace(note="superseded")
        shown = self._markers.first(proxy, change)
        if shown is not None:
            return self._shown(change, base, timeline, *shown)
        if timeline is None or server.ready is None:
            # The server says nothing; that others have got its number says that this proxy needs none.
            return base._replace(status="untouched" if self._markers.shows(change) else "unseen")
        return self._by_log(change, base, timeline, server.ready)

    # -- rule 1: the number was seen ------------------------------------------------------------

    def _shown(
        self, change: Change, base: Latency, timeline: Timeline | None, index: int, later: bool
    ) -> Latency:
        row = self._received(change, base._replace(touched=True, status="received"), index)
        if later:
            row = _noted(row, "coalesced")
        at = self._matched[index]
        if timeline is None:
            return row
        if at is None:
            return _noted(row, "unmatched")
        self._compare_rules(change, row.proxy, timeline, at)
        return self._answered(change, row, timeline, at)

    def _compare_rules(self, change: Change, proxy: str, timeline: Timeline, at: int) -> None:
        """Where a change was alone in its batch, the log alone has to name that response, too.

        A kind that travels in several types may show its number in a later one than the first.
        """
        _, batch, ready, *_ = self._servers.get(change.number, _NOTHING)
        if batch is None or len(batch.changes) > 1 or ready != batch.revision or ready not in timeline.woken:
            return
        if at in _able(change, timeline, timeline.sent_for(ready)):
            self._made.same += 1
        else:
            self._made.different.append((change.number, proxy))

    def _received(self, change: Change, row: Latency, index: int) -> Latency:
        receipt = self._receipts[index]
        answered = None if receipt.answered is None else receipt.answered - change.at
        return row._replace(type=receipt.type, outside=receipt.at - change.at, answered=answered)

    # -- rule 2: the log decides ----------------------------------------------------------------

    def _by_log(self, change: Change, base: Latency, timeline: Timeline, ready: int) -> Latency:
        sent = timeline.sent_for(ready)
        if not sent.woken:
            return base._replace(ack=base.compute)
        if sent.idle is not None:
            return base._replace(ack=sent.idle - change.at)
        if not sent.responses:
            return base._replace(status="pending" if timeline.stays else "gone", touched=True)
        able = _able(change, timeline, sent)
        if not able or (self._markers.shows(change) and timeline.receipts[able[0]] is not None):
            # What it was woken for is another change of the same batch.
            first = able[0] if able else sent.responses[0]
            return base._replace(ack=timeline.responses[first].planned - change.at)
        at = able[0]
        row = base._replace(touched=True, type=timeline.responses[at].type)
        following = self._objects.following(change)
        if following and self._servers.get(following.number, _NOTHING).ready == ready:
            row = _noted(row, "coalesced")
        index = timeline.receipts[at]
        lost = timeline.answers[at] is None and timeline.responses[at].stream in timeline.closed
        if index is None and (lost or self._markers.shows(change)):
            return row._replace(status="gone")
        if index is not None:
            row = self._received(change, row, index)
        return self._answered(change, row, timeline, at)

    # -- rule 3: the answer ---------------------------------------------------------------------

    def _answered(self, change: Change, row: Latency, timeline: Timeline, at: int) -> Latency:
        response, answer = timeline.responses[at], timeline.answers[at]
        seen = self._servers.get(change.number, _NOTHING).seen
        if timeline.opened.get(response.stream, 0.0) > change.at:
            row = _noted(row, "reconnected")
        if seen is not None and response.revision < seen.revision:
            row = _noted(row, "early")
        if answer is not None and answer.replaced:
            row = _noted(row, "replaced")
        # A near proxy answers before the writer gets its turn to note that it has written.
        known = [at for at in (response.written, response.answered) if at is not None]
        written = min(known, default=None)
        ends = [timeline.answers[one] for one in timeline.flush(at)]
        over = [end.at for end in ends if end is not None]
        return row._replace(
            type=response.type,
            revision=response.revision,
            plan=response.planned - change.at,
            write=None if written is None else written - change.at,
            ack=answer.at - change.at if answer is not None and answer.ok else None,
            complete=max(over) - change.at if len(over) == len(ends) else None,
            status="unanswered" if answer is None else "acked" if answer.ok else "nacked",
        )


_NOTHING = _Server()


def _server(seen: Seen, batch: Batch, log: PushLog, own: bool) -> _Server:
    at = bisect_left(log.settled, seen.revision, key=lambda one: one.revision)
    if at == len(log.settled):
        return _Server(seen, batch, own=own)
    return _Server(seen, batch, log.settled[at].revision, log.settled[at].at, own)


def _stages(change: Change, server: _Server, proxy: str) -> Latency:
    row = Latency(change.number, proxy, touched=False)
    if server.seen is None or server.batch is None:
        return row
    return row._replace(
        source=server.seen.at - change.at,
        debounce_in=server.seen.received - change.at,
        commit=server.batch.committed - change.at,
        compute=None if server.settled is None else server.settled - change.at,
    )


def _able(change: Change, timeline: Timeline, sent: Sent) -> list[int]:
    """The responses that can carry a change of this kind."""
    carriers = CARRIERS.get(change.kind)
    return [at for at in sent.responses if carriers is None or timeline.responses[at].type in carriers]


def _noted(row: Latency, word: str) -> Latency:
    return row._replace(note=f"{row.note} {word}".strip())
