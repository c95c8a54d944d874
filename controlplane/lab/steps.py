"""The steps of the demo: what is written, who visits, and what must be seen.

Shares are checked against the binomial distribution, not against a round margin: a split passes when
a correct router would be this far off with a probability of more than one in a million.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from controlplane.lab.hops import INGRESS, OUTSIDER, hops, unexpected

Result = Mapping[str, Any]
"""One line of controlplane.lab.traffic."""

_DOUBT = 5.7e-7  # the tails beyond five standard deviations of a normal distribution
# Seconds; steps/fault-injection.yaml says 0.4, and Envoy's timers count whole milliseconds of a clock
# that it reads once per turn of its loop.
DELAY = 0.395


@dataclass(frozen=True, slots=True)
class Visit:
    """Traffic of one kind of visitor, and its expected outcomes.

    `expect` gives the probability of each outcome; None stands for "some, but not all".  `part` is the
    fraction of the demo's number of requests, `at_least` the seconds that every answer must take, `pause`
    the seconds that a visitor rests before the next request.  Visitors come from the workload `client` and
    ask the service `asks`.
    """

    who: str
    outcome: Callable[[Result], str]
    expect: Mapping[str, float | None]
    headers: Mapping[str, str] = field(default_factory=dict)
    part: float = 1.0
    workers: int = 4
    at_least: float = 0.0
    pause: float = 0.0
    client: str = "client"
    asks: str = "productpage"

    @property
    def asker(self) -> str:
        """Who asks the first service: gateways ask in their own name."""
        return INGRESS if self.asks == INGRESS else self.client

    def requests(self, total: int) -> int:
        """How many requests this visit makes; never fewer than one per worker."""
        return max(self.workers, round(total * self.part))


@dataclass(frozen=True, slots=True)
class Step:
    """One state of the mesh and the visits that prove it: `file` (routing) is under steps/ in the sample,
    `security` under security/.
    """

    name: str
    file: str
    tells: str
    visits: tuple[Visit, ...]
    security: str = "strict.yaml"


def failures(visit: Visit, results: Sequence[Result]) -> tuple[str, ...]:
    """What is wrong with these results, one sentence each; empty when they are as expected."""
    counts = Counter(visit.outcome(result) for result in results)
    found = [
        f"{visit.who}: {counts[outcome]} x {outcome!r}, which must not happen"
        for outcome in sorted(counts.keys() - visit.expect.keys())
    ]
    for outcome, share in visit.expect.items():
        low, high = bounds(len(results), share)
        if not low <= counts[outcome] <= high:
            expected = f"{low}" if low == high else f"{low} to {high}"
            found.append(
                f"{visit.who}: {counts[outcome]} x {outcome!r} of {len(results)}, expected {expected}"
            )
    early = [result["seconds"] for result in results if result["seconds"] < visit.at_least]
    if early:
        found.append(f"{visit.who}: answered after {min(early):.3f} s, expected {visit.at_least} s or more")
    found += [f"{visit.who}: {strange}" for strange in unexpected(hops(results, visit.asker))]
    return tuple(found)


def bounds(total: int, share: float | None) -> tuple[int, int]:
    """The smallest and largest believable count of an outcome with probability `share` in `total` tries."""
    if share is None:
        return 1, total - 1
    if share in (0.0, 1.0):
        return round(total * share), round(total * share)
    weights = [_binomial(total, count, share) for count in range(total + 1)]
    return _tail(weights), total - _tail(weights[::-1])


def _binomial(total: int, count: int, share: float) -> float:
    ways = math.lgamma(total + 1) - math.lgamma(count + 1) - math.lgamma(total - count + 1)
    return math.exp(ways + count * math.log(share) + (total - count) * math.log1p(-share))


def _tail(weights: Sequence[float]) -> int:
    # The first count that is not in a tail of half the doubt.
    below = 0.0
    for count, weight in enumerate(weights):
        below += weight
        if below > _DOUBT / 2:
            return count
    return len(weights)


def reviews_version(result: Result) -> str:
    """Which version of reviews answered, for example "reviews v2"."""
    hop = _hop(result, "reviews")
    return hop if isinstance(hop, str) else f"reviews {hop.get('version') or hop.get('error')}"


def details_fate(result: Result) -> str:
    """Whether details answered: "details v1", or "details 418" for an injected status."""
    hop = _hop(result, "details")
    return hop if isinstance(hop, str) else f"details {hop.get('version') or hop.get('error')}"


def admission(result: Result) -> str:
    """Whether the product page was reached: "200", or "503 overloaded" when a circuit breaker refused."""
    if result["error"] is not None:
        return str(result["error"])
    return f"{result['status']} overloaded" if result["overloaded"] else str(result["status"])


def access(result: Result) -> str:
    """How far a visitor came: "served", "403", or "refused" by a connection that was broken off."""
    if result["error"] is not None:
        # The second is how http.client calls an end without an answer.
        broken = str(result["error"]).startswith(("ConnectionResetError", "RemoteDisconnected"))
        return "refused" if broken else str(result["error"])
    return "served" if result["status"] == 200 else str(result["status"])


def whole(result: Result) -> str:
    """Everything at once: "reviews v1" only if details answered as well."""
    details, reviews = details_fate(result), reviews_version(result)
    return reviews if details == "details v1" else f"{reviews}, {details}"


def _hop(result: Result, name: str) -> Mapping[str, Any] | str:
    body = result["body"]
    if result["status"] != 200 or not isinstance(body, dict):
        return f"productpage {admission(result)}"
    return next((hop for hop in body["hops"] if hop["name"] == name), {})


_JASON = {"end-user": "jason"}

_EVERYBODY = Visit("everybody", whole, {"reviews v1": 1.0}, part=0.5)

STEPS = (
    Step(
        "strict",
        "all-v1.yaml",
        "mutual TLS everywhere: who is outside has to use the gateway",
        (
            _EVERYBODY,
            Visit("an outsider", access, {"refused": 1.0}, part=0.1, client=OUTSIDER),
            Visit("at the gateway", whole, {"reviews v1": 1.0}, part=0.1, client=OUTSIDER, asks=INGRESS),
        ),
    ),
    Step(
        "permissive",
        "all-v1.yaml",
        "plaintext is served too; the mesh goes on with mutual TLS",
        (
            Visit("an outsider", access, {"served": 1.0}, part=0.1, client=OUTSIDER),
            _EVERYBODY,
        ),
        security="permissive.yaml",
    ),
    Step(
        "authorization",
        "all-v1.yaml",
        "details answers the product page and not the client, by their certificates",
        (
            Visit("the client", access, {"403": 1.0}, part=0.1, asks="details"),
            Visit("everybody", whole, {"reviews v1": 1.0}, part=0.25),
        ),
        security="authorization.yaml",
    ),
    Step(
        "canary-90-10",
        "canary-90-10.yaml",
        "one reader in ten gets v2",
        (Visit("everybody", whole, {"reviews v1": 0.9, "reviews v2": 0.1}),),
    ),
    Step(
        "canary-50-50",
        "canary-50-50.yaml",
        "half of the readers get v2",
        (Visit("everybody", whole, {"reviews v1": 0.5, "reviews v2": 0.5}),),
    ),
    Step(
        "header-match",
        "header-match.yaml",
        "Jason alone gets v2",
        (
            Visit("jason", whole, {"reviews v2": 1.0}, headers=_JASON, part=0.3),
            Visit("others", whole, {"reviews v1": 1.0}, part=0.3),
        ),
    ),
    Step(
        "fault-injection",
        "fault-injection.yaml",
        "details is late for Jason and fails for half of the others",
        (
            Visit("jason", details_fate, {"details v1": 1.0}, headers=_JASON, part=0.08, at_least=DELAY),
            Visit("others", details_fate, {"details v1": 0.5, "details 418": 0.5}, part=0.5),
        ),
    ),
    Step(
        "circuit-breaking",
        "circuit-breaking.yaml",
        "one connection to the product page, one waiting request, the rest is refused",
        (
            Visit(
                "a crowd", admission, {"200": None, "503 overloaded": None}, part=0.5, workers=8, pause=0.02
            ),
            Visit("one by one", admission, {"200": 1.0}, part=0.1, workers=1),
        ),
    ),
    Step(
        "back",
        "all-v1.yaml",
        "back to v1, without faults and limits",
        (
            Visit("a crowd", whole, {"reviews v1": 1.0}, part=0.5, workers=8),
            Visit("an outsider", access, {"refused": 1.0}, part=0.1, client=OUTSIDER),
        ),
    ),
)
