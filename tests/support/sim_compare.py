"""What the simulator says beside what a real Envoy did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import sqrt
from random import Random

from controlplane.sim import Call, End, Outcome, onward, simulate
from tests.support.sim_calls import Calls
from tests.support.sim_draws import Draws
from tests.support.sim_stage import IDENTITY, Configurations, Stage
from tests.support.sim_talk import Seen
from tests.support.sim_world import SERVER

_WATCHED = ("x-team", "x-version", "x-added", "cookie")
_SIGMAS = 4.5
_AGAIN = 8


@dataclass
class Tally:
    """What was compared: ends by their kind, disagreements in words, and how chance turned out."""

    ends: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    doubtful: int = 0
    chances: int = 0
    _expected: float = 0.0
    _variance: float = 0.0
    _came: int = 0

    @property
    def calls(self) -> int:
        return sum(self.ends.values())

    def chance(self, outcome: Outcome, fits: Sequence[bool]) -> None:
        """Of a call's ends these fit what was seen; how often the first is had is what is counted."""
        first = outcome.shares[0].end
        likely = sum(share.probability for share in outcome.shares if share.end == first)
        others = (fit for share, fit in zip(outcome.shares, fits, strict=True) if share.end != first)
        if fits[0] and any(others):
            return  # they look the same from outside
        self.chances += 1
        self._expected += likely
        self._variance += likely * (1 - likely)
        self._came += fits[0]

    @property
    def sigmas(self) -> float:
        """How far off the simulator's probabilities are, all together."""
        return abs(self._came - self._expected) / sqrt(self._variance) if self._variance else 0.0

    def fair(self) -> bool:
        return self.sigmas < _SIGMAS


def compare(stage: Stage, seed: int, rounds: int, calls: int, tally: Tally) -> None:
    """Draw configurations and calls, and put each to Envoys and simulator; some of them again."""
    for number in range(rounds):
        random = Random(seed * 1000 + number)
        configurations = stage.configure(Draws(random).round())
        caller = Calls(random)
        drawn = [caller.call() for _ in range(calls)]
        # Chance is seen in numbers only.
        drawn += [call for call in drawn if len(simulate(configurations.of(call), call).shares) > 1] * _AGAIN
        for call, seen in zip(drawn, stage.play(drawn), strict=True):
            _compare_one(configurations, call, seen, tally, f"seed {seed}, round {number}")


def _compare_one(configurations: Configurations, call: Call, seen: Seen, tally: Tally, where: str) -> None:
    outcome = simulate(configurations.of(call), call)
    tally.ends[_kind(outcome.end)] += 1
    tally.doubtful += bool(outcome.doubts)
    found = [list(_differences(configurations, call, share.end, seen)) for share in outcome.shares]
    if not all(found):
        if len(outcome.shares) > 1:
            tally.chance(outcome, [not one for one in found])
        return
    best = min(found, key=len)
    steps = "\n    ".join(" | ".join(step) for step in outcome.steps)
    tally.wrong.append(f"{where}: {call}\n  " + "\n  ".join(best) + f"\n  saw {seen}\n    {steps}")


def _kind(end: End) -> str:
    return f"{end.kind} {end.status or ''} {end.flags}".strip()


def _differences(
    configurations: Configurations, call: Call, end: End, seen: Seen, called: End | None = None
) -> Iterator[str]:
    """Every way in which what was seen is not this end; `called` is that of the Envoy whose log was read."""
    first = called or end
    if end.kind in ("http", "tcp"):
        beyond = [host for host in end.hosts if host.address.startswith(f"{SERVER}:")]
        if beyond and call.way == "outbound":
            arrives = onward(end, beyond[0], call, IDENTITY)
            assert arrives is not None
            there = simulate(configurations.server, arrives)
            found = list(_differences(configurations, _inbound(call), there.end, seen, called=end))
            yield from found
            yield from (" | ".join(step) for step in there.steps if found)
            return
        if not call.silent:
            yield from _arrived(end, seen)
    elif end.kind == "answer":
        yield from _answered(end, seen)
    elif end.kind == "waits":
        if seen.told or seen.status is not None or (called is None and seen.log.get("cluster")):
            yield "it was to wait"
        if called is None:
            return
    elif end.kind == "closed":
        if seen.told or (seen.status is not None and seen.status != end.status):
            yield "it was to be closed"
    else:
        yield f"an end that is not compared: {end.kind} {end.details}"
    yield from _logged(first, seen, own=called is None)


def _inbound(call: Call) -> Call:
    return Call(call.address, call.port, call.http, call.tls, "inbound", call.source, call.silent)


def _arrived(end: End, seen: Seen) -> Iterator[str]:
    if not seen.told:
        yield f"nobody answered; {end.kind} to {end.cluster} was expected"
        return
    hosts = {host.address: host for host in end.hosts}
    at = seen.told["at"]
    if at not in hosts:
        yield f"it came to {at} and not to one of {sorted(hosts)}"
        return
    tls = hosts[at].tls
    if tls is not None and seen.told.get("sni") != tls.sni:
        yield f"server name {seen.told.get('sni')}, expected {tls.sni}"
    if end.kind != "http":
        return
    headers = seen.told.get("headers", {})
    if seen.told.get("http2", False) != end.http2:
        yield f"HTTP/2 {not end.http2} to the server, expected {end.http2}"
    if seen.told.get("path") != end.path:
        yield f"path {seen.told.get('path')}, expected {end.path}"
    if headers.get("host") != [end.authority]:
        yield f"host {headers.get('host')}, expected {end.authority}"
    for name in _WATCHED:
        if tuple(headers.get(name, ())) != end.headers.get(name, ()):
            yield f"header {name}: {headers.get(name)}, expected {end.headers.get(name)}"


def _answered(end: End, seen: Seen) -> Iterator[str]:
    if seen.status != end.status or seen.told:
        yield f"status {seen.status}, expected {end.status}"
    if end.location != seen.headers.get("location", ""):
        yield f"location {seen.headers.get('location')}, expected {end.location}"
    if end.body and seen.body != end.body:
        yield f"body {seen.body!r}, expected {end.body!r}"


def _logged(end: End, seen: Seen, *, own: bool) -> Iterator[str]:
    """What the called Envoy wrote down; `own`: the call ends there."""
    log = seen.log
    if not log:
        if end.kind != "closed":
            yield "it is not in the access log"
        return
    if end.kind in ("http", "tcp") and log["cluster"] != end.cluster:
        yield f"cluster {log['cluster']}, expected {end.cluster}"
    if own and (log["flags"] or "-") != (end.flags or "-"):
        yield f"flags {log['flags']}, expected {end.flags}"
    if end.kind in ("http", "answer") and (log["route"] or "") != end.route:
        yield f"route {log['route']}, expected {end.route}"
    if end.kind == "answer" and own and log["details"] != end.details:
        yield f"details {log['details']}, expected {end.details}"
