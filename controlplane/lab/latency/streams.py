"""What the server's log says of one proxy: when it was connected, woken and sent what, and what it answered.

Receipts and responses are brought together by order: within one type the server sends and the proxy receives
in the same order, and a receipt lies between the plan of its response and the answer to it.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from controlplane.lab.latency.dataset import Receipt
from controlplane.lab.latency.pushlog import PushLog, Response, proxy_of


class Answer(NamedTuple):
    """When a response was answered, or the newer one that replaced it unanswered."""

    at: float
    ok: bool
    replaced: bool


class Sent(NamedTuple):
    """What a proxy was sent for a revision (indices), or when it was found to need nothing (`idle`)."""

    responses: tuple[int, ...] = ()
    woken: bool = False
    idle: float | None = None


@dataclass(slots=True)
class Timeline:
    """One proxy, all its streams together; responses are in order of their plan."""

    responses: list[Response] = field(default_factory=list)
    answers: list[Answer | None] = field(default_factory=list)
    receipts: list[int | None] = field(default_factory=list)
    """By response, the index of the receipt that is it."""
    opened: dict[str, float] = field(default_factory=dict)
    closed: dict[str, float] = field(default_factory=dict)
    woken: dict[int, float] = field(default_factory=dict)
    """By revision, when a stream was first woken for it."""
    idle: list[float] = field(default_factory=list)
    """When a woken stream was found to need nothing."""

    def connected(self, at: float) -> bool:
        """Whether some stream of the proxy was open then."""
        return any(up <= at < self.closed.get(name, math.inf) for name, up in self.opened.items())

    @property
    def stays(self) -> bool:
        """Whether some stream of the proxy is open when the log ends."""
        return any(name not in self.closed for name in self.opened)

    def sent_for(self, revision: int) -> Sent:
        """What became of a wake for this settled revision."""
        woken = self.woken.get(revision)
        if woken is None:
            return Sent()
        first = bisect_left(self.responses, woken, key=lambda response: response.planned)
        at = bisect_left(self.idle, woken)
        idle = self.idle[at] if at < len(self.idle) else None
        planned = self.responses[first].planned if first < len(self.responses) else math.inf
        if idle is not None and idle <= planned:
            return Sent(woken=True, idle=idle)
        return Sent(self.flush(first), woken=True)

    def flush(self, first: int) -> tuple[int, ...]:
        """The responses that go together with this one: planned at the same revision, each type once.

        While one of them is open a type may come again.  A near proxy may have answered the clusters before
        the endpoints that belong to them are planned.
        """
        group: list[int] = []
        types: set[str] = set()
        until = -math.inf
        for index in range(first, len(self.responses)):
            response = self.responses[index]
            same = response.revision == self.responses[first].revision
            if group and not (same and (response.planned <= until or response.type not in types)):
                break
            group.append(index)
            types.add(response.type)
            answer = self.answers[index]
            until = max(until, math.inf if answer is None else answer.at)
        return tuple(group)


def timelines(log: PushLog) -> dict[str, Timeline]:
    """By proxy, without receipts yet."""
    found: dict[str, Timeline] = defaultdict(Timeline)
    for link in log.links:
        moments = found[proxy_of(link.stream)]
        (moments.opened if link.up else moments.closed)[link.stream] = link.at
    for wake in log.wakes:
        mine = found[proxy_of(wake.stream)]
        if wake.touched:
            mine.woken.setdefault(wake.revision, wake.at)
        else:
            mine.idle.append(wake.at)
    for response in log.responses:
        found[proxy_of(response.stream)].responses.append(response)
    for one in found.values():
        one.answers = _answers(one.responses)
        one.receipts = [None] * len(one.responses)
    return dict(found)


def _answers(responses: Sequence[Response]) -> list[Answer | None]:
    """Own answers, or that of the next response of the type which has one."""
    later: dict[str, Answer] = {}
    found: list[Answer | None] = []
    for response in reversed(responses):
        if response.answered is not None:
            later[response.type] = Answer(response.answered, bool(response.ok), replaced=True)
            found.append(Answer(response.answered, bool(response.ok), replaced=False))
        else:
            found.append(later.get(response.type))
    return found[::-1]


def match(found: dict[str, Timeline], receipts: Sequence[Receipt]) -> list[int | None]:
    """By receipt, the index of its response in its proxy's timeline; the timelines are told, too."""
    matched: list[int | None] = [None] * len(receipts)
    mine: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index in sorted(range(len(receipts)), key=lambda index: receipts[index].at):
        mine[receipts[index].proxy, receipts[index].type].append(index)
    for (proxy, kind), indices in mine.items():
        timeline = found.get(proxy)
        if timeline is None:
            continue
        theirs = [at for at, response in enumerate(timeline.responses) if response.type == kind]
        for index, at in _pairs(timeline, receipts, indices, theirs):
            matched[index] = at
            timeline.receipts[at] = index
    return matched


def _pairs(
    timeline: Timeline, receipts: Sequence[Receipt], indices: Sequence[int], theirs: Sequence[int]
) -> Iterable[tuple[int, int]]:
    next_one = 0
    for index in indices:
        at = receipts[index].at
        while next_one < len(theirs) and _over(timeline, timeline.responses[theirs[next_one]]) < at:
            next_one += 1
        if next_one < len(theirs) and timeline.responses[theirs[next_one]].planned <= at:
            yield index, theirs[next_one]
            next_one += 1


def _over(timeline: Timeline, response: Response) -> float:
    """When this response cannot be received any more."""
    if response.answered is not None:
        return response.answered
    return timeline.closed.get(response.stream, math.inf)
