"""The push trace: what became of every change, from its source event to the last proxy's ACK.

Changes that the debouncer lets through together are one `Batch` and one revision of the graph;
batches that one settle makes visible are one `Wave`.  From there on the proxies are accounted for
per wave, never per change: a revision of a hundred changes costs what a revision of one costs.

The recorder is pure.  It gets every time as an argument (seconds of one monotonic clock), so that
tests, replays and the live server use the same code.  In order of the data:

    batch      changes leave the debouncer and are committed     -> debounce_in, commit
    settled    the graph has the new bytes                       -> compute
    woken      these proxies see something of it changed         -> they are awaited now
    planned    a proxy's response was made                       -> plan
    untouched  a woken proxy turned out to need nothing
    written    the response was handed to the transport          -> write
    acked, nacked, gone                                          -> ack

A proxy that was not woken is not touched.  A woken one has the change when every response that was
planned for it is ACKed.  When a newer response of a type replaces one that was never answered, its
ACK stands for both.  Each event costs a few dictionary reads.  Memory is bounded by `capacity` traces,
each with one float per proxy that ACKed it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from controlplane.telemetry.wave import NAMED, Batch, Response, Seen, Wave


def _ignore(seconds: float) -> None:
    del seconds


def _ignore_typed(type_name: str, seconds: float) -> None:
    del type_name, seconds


@dataclass(frozen=True, slots=True)
class Spans:
    """Who is told the seconds of each finished stage.

    Of a batch: debounce (first change to commit), compute (commit to settled), ready (both).
    Of a response: plan (settled to planned), write (planned to written), push (planning and
    sending, by type), converge (settled to written), ack (written to ACK).
    """

    debounce: Callable[[float], None] = _ignore
    compute: Callable[[float], None] = _ignore
    ready: Callable[[float], None] = _ignore
    plan: Callable[[float], None] = _ignore
    write: Callable[[float], None] = _ignore
    push: Callable[[str, float], None] = _ignore_typed
    converge: Callable[[float], None] = _ignore
    ack: Callable[[float], None] = _ignore


class _Group:
    """The waves that a proxy answers together, and how many of its responses are not answered yet."""

    __slots__ = ("failed", "open", "revision", "waves")

    def __init__(self, revision: int, waves: list[Wave]) -> None:
        self.revision = revision
        self.waves = waves
        self.open = 0
        self.failed = False

    def matters(self) -> bool:
        """False once it is answered, or when the ring has forgotten all its waves."""
        return self.open > 0 and any(wave.held for wave in self.waves)


class _Sent:
    """A response on its way, with the groups its ACK counts for."""

    __slots__ = ("groups", "response", "written")

    def __init__(self, response: Response, groups: tuple[_Group, ...]) -> None:
        self.response = response
        self.groups = groups
        self.written: float | None = None


class _Proxy:
    """One stream: the waves it was woken for, its newest group, its unanswered response by type."""

    __slots__ = ("group", "sent", "unplanned")

    def __init__(self, capacity: int) -> None:
        # What falls out on the left is older than anything in the ring.
        self.unplanned: deque[Wave] = deque(maxlen=capacity)
        self.group: _Group | None = None
        self.sent: dict[str, _Sent] = {}


class Trace:
    """The recorder.  `epoch` is wall clock minus monotonic clock, to show times of day.

    A proxy is any string that names one stream.  Events that fit nothing known (a proxy never
    woken, a revision long gone) still feed the spans and are otherwise ignored.
    """

    def __init__(self, capacity: int = 1000, epoch: float = 0.0, spans: Spans | None = None) -> None:
        self.capacity = capacity
        self.epoch = epoch
        self._spans = spans or Spans()
        self._ring: deque[tuple[Seen, Batch]] = deque()
        self._unsettled: list[Batch] = []
        self._waves: dict[int, Wave] = {}
        self._proxies: dict[str, _Proxy] = {}
        self.on_read: Callable[[], None] = lambda: None
        """Called before anything is read: whoever tells the trace late catches up."""

    # -- from the source to the graph -----------------------------------------------------------

    def batch(self, revision: int, changes: Sequence[Seen], opened: float, committed: float) -> None:
        """Changes were committed as `revision`; the debouncer had been waiting since `opened`."""
        if not changes:
            return
        kept = tuple(changes[-self.capacity :])
        entry = Batch(revision, kept, len(changes), opened, committed, held=len(kept))
        while len(self._ring) + len(kept) > self.capacity:
            self._forget(self._ring.popleft()[1])
        self._ring.extend((change, entry) for change in kept)
        self._unsettled.append(entry)
        self._spans.debounce(committed - opened)

    def _forget(self, entry: Batch) -> None:
        entry.held -= 1
        if not entry.held and entry.wave and entry.wave.release():
            self._waves.pop(entry.wave.revision, None)

    def settled(self, revision: int, at: float) -> None:
        """The graph has the results of all commits up to `revision`; proxies may be woken for it."""
        ready = [entry for entry in self._unsettled if entry.revision <= revision]
        if not ready:
            return
        self._unsettled = [entry for entry in self._unsettled if entry.revision > revision]
        wave = Wave(revision, at)
        for entry in ready:
            entry.wave = wave
            wave.held += bool(entry.held)
            self._spans.compute(at - entry.committed)
            self._spans.ready(at - entry.opened)
        if wave.held:
            self._waves[revision] = wave

    # -- proxies --------------------------------------------------------------------------------

    def woken(self, revision: int, proxies: Iterable[str]) -> None:
        """Something that these proxies subscribe to changed in `revision`, which is settled."""
        wave = self._waves.get(revision)
        if wave is None:
            return
        for name in proxies:
            proxy = self._proxy(name)
            # Feeds that are new to a stream may wake it again for what it is being sent already.
            counted = proxy.group is not None and wave in proxy.group.waves
            if not counted and (not proxy.unplanned or proxy.unplanned[-1] is not wave):
                proxy.unplanned.append(wave)
                wave.waiting += 1

    def _proxy(self, name: str) -> _Proxy:
        proxy = self._proxies.get(name)
        if proxy is None:
            proxy = self._proxies[name] = _Proxy(self.capacity)
        return proxy

    def untouched(self, proxy: str, revision: int) -> None:
        """The proxy was woken, and has nothing to be sent for any revision up to this one."""
        known = self._proxies.get(proxy)
        if known is None:
            return
        for wave in _up_to(known.unplanned, revision):
            wave.waiting -= 1
            wave.untouched += 1

    def planned(self, proxy: str, response: Response) -> None:
        """A response was made from the newest state, that of `response.revision`."""
        known = self._proxy(proxy)
        group = self._group(known, response)
        groups: tuple[_Group, ...] = (group,) if group else ()
        replaced = known.sent.get(response.type)
        if replaced is not None:
            # Never answered: what it was owed for is owed by the new response.
            if group in replaced.groups:
                group.open -= 1
            groups += tuple(old for old in replaced.groups if old is not group and old.matters())
        known.sent[response.type] = _Sent(response, groups)
        if group:
            group.open += 1
            for wave in group.waves:
                wave.sent(response)

    def _group(self, proxy: _Proxy, response: Response) -> _Group | None:
        waves = _up_to(proxy.unplanned, response.revision)
        if waves:
            for wave in waves:
                wave.touched += 1
                self._spans.plan(response.at - wave.settled)
            proxy.group = _Group(response.revision, waves)
            return proxy.group
        # The next types of one flush belong to what the first was woken for.
        group = proxy.group
        return group if group and group.open and group.revision == response.revision else None

    def written(self, proxy: str, type_name: str, at: float) -> None:
        """The proxy's newest response of that type was handed to the transport."""
        known = self._proxies.get(proxy)
        sent = known.sent.get(type_name) if known else None
        if sent is None:
            return
        sent.written = at
        seconds = at - sent.response.at
        self._spans.write(seconds)
        self._spans.push(type_name, seconds + sent.response.took)
        for group in sent.groups:
            for wave in group.waves:
                self._spans.converge(at - wave.settled)
                if type_name in wave.types:
                    wave.types[type_name].write = at

    def acked(self, proxy: str, type_name: str, at: float) -> None:
        """The proxy accepted its newest response of that type."""
        sent = self._answered(proxy, type_name, at)
        if sent is None:
            return
        if sent.written is not None:
            self._spans.ack(at - sent.written)
        for group in sent.groups:
            group.open -= 1
            for wave in group.waves:
                if type_name in wave.types:
                    wave.types[type_name].ack = at
                if not group.open:
                    wave.finish(proxy, at, failed=group.failed)

    def nacked(self, proxy: str, type_name: str, at: float) -> None:
        """The proxy refused its newest response of that type: it does not have the change."""
        sent = self._answered(proxy, type_name, at)
        for group in sent.groups if sent else ():
            group.open -= 1
            group.failed = True
            if not group.open:
                for wave in group.waves:
                    wave.finish(proxy, at, failed=True)

    def _answered(self, proxy: str, type_name: str, at: float) -> _Sent | None:
        known = self._proxies.get(proxy)
        sent = known.sent.get(type_name) if known else None
        if sent is not None and sent.written is None:
            # Near proxies answer before the writer gets its turn again.
            self.written(proxy, type_name, at)
        return known.sent.pop(type_name, None) if known else None

    def gone(self, proxy: str) -> None:
        """The stream ended: nobody waits for it any more."""
        known = self._proxies.pop(proxy, None)
        if known is None:
            return
        for wave in _awaited(known):
            wave.waiting -= 1
            wave.gone += 1

    # -- reading --------------------------------------------------------------------------------

    def recent(self) -> list[tuple[Seen, Batch]]:
        """The kept changes, newest first, each with its batch."""
        self.on_read()
        return list(reversed(self._ring))

    def pending(self) -> dict[Wave, list[str]]:
        """Who is waited for, by wave: at most `NAMED` proxies each, sorted."""
        self.on_read()
        found: dict[Wave, list[str]] = {}
        for name in sorted(self._proxies):
            for wave in _awaited(self._proxies[name]):
                names = found.setdefault(wave, [])
                if len(names) < NAMED:
                    names.append(name)
        return found


def _up_to(waves: deque[Wave], revision: int) -> list[Wave]:
    """Take from the left what is not newer than `revision`."""
    taken = []
    while waves and waves[0].revision <= revision:
        taken.append(waves.popleft())
    return taken


def _awaited(proxy: _Proxy) -> set[Wave]:
    """The waves that the proxy was woken for and has not finished."""
    groups = {group for sent in proxy.sent.values() for group in sent.groups if group.open}
    return {*proxy.unplanned, *(wave for group in groups for wave in group.waves)}
