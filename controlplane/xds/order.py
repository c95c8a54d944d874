"""Make before break: what must reach a client before what, and what may be taken from it when.

Routes and listeners point at clusters.  They wait for new clusters, and removed clusters wait for them
(https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol#eventual-consistency-considerations).
These are questions about all subscriptions of one stream, by type URL.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from controlplane.base import wire
from controlplane.envoy.resource import Resource
from controlplane.envoy.types import CLUSTER, ENDPOINT, VIRTUAL_HOST
from controlplane.xds.plan import Leaving, Plan, has
from controlplane.xds.protocol import Push, Subscription
from controlplane.xds.variant import GATED, REMOVALS, Removal, Variant

_CLUSTER_NAME = 1


def gate(subs: Mapping[str, Subscription], sub: Subscription) -> Subscription | None:
    """The clusters that responses of this subscription may have to wait for; None when there is no doubt."""
    clusters = subs.get(CLUSTER)
    if clusters is None or sub.spec.url not in GATED or not clusters.pending:
        return None
    return clusters


def unconfirmed(subs: Mapping[str, Subscription]) -> list[Push]:
    """Responses with new clusters that the client has not acknowledged."""
    clusters = subs.get(CLUSTER)
    return [push for push in clusters.pending if push.plan.adds] if clusters is not None else []


def urgency(subs: Mapping[str, Subscription], now: float) -> int:
    """0 when something is to be removed, 1 for endpoints, 2 for the rest."""
    for sub in subs.values():
        if sub.leaving and ripe(subs, sub, now):
            return 0
    endpoints = subs.get(ENDPOINT)
    return 1 if endpoints is not None and endpoints.changed else 2


def deadline(
    subs: Mapping[str, Subscription], others: Iterable[float], now: float, wait: float
) -> float | None:
    """When time alone lets something go, the first moment after `now`; `others` are more candidates.

    `wait` is for how many seconds an unanswered response holds others back.
    """
    times = list(others)
    for sub in subs.values():
        if sub.changed and sub.pending:
            times.append(sub.pending[-1].at + wait)
        if sub.changed and sub.blocked_since is not None:
            times.append(sub.blocked_since + wait)
            times += [push.at + wait for push in unconfirmed(subs)]
        times += [leaving.until for leaving in sub.leaving.values()]
    return min((time for time in times if time > now), default=None)


def owes(subs: Mapping[str, Subscription]) -> bool:
    """Whether the client is owed something, now or later; what is taken away late does not count.

    Of that it often lets go by itself, and then nothing is ever sent.
    """
    return any(
        sub.point is not sub.ledger.head
        or sub.answer
        or sub.owed
        or sub.echo
        or sub.retry
        or (sub.leaving and REMOVALS[sub.spec.url] is not Removal.LATE)
        for sub in subs.values()
    )


def withhold(
    subs: Mapping[str, Subscription], sub: Subscription, made: Plan, since: int, until: float
) -> bool:
    """Remember what the client must lose later; True when that makes something due at once."""
    emptied = []
    for change in made.withheld:
        old = has(sub.rejected.pop(change.name, None), change.old)
        if old is None or change.old is None or change.name in sub.leaving:
            continue
        if sub.complete and not old.body:
            # To keep what we do not know we list what it rejected.
            old = change.old
        if sub.spec.url == ENDPOINT and _takes(subs, change.name):
            # A living cluster without endpoints is one with none, not one that keeps its last.
            old = Resource(ENDPOINT, change.name, wire.string(_CLUSTER_NAME, change.name))
            emptied.append(change.name)
        elif sub.variant is Variant.SOTW and not sub.complete:
            # There is no way to say it.
            continue
        sub.leaving[change.name] = Leaving(old, since, until)
    if emptied:
        sub.owed = sub.owed.union(emptied)
    return bool(emptied)


def ripe(subs: Mapping[str, Subscription], sub: Subscription, now: float) -> tuple[str, ...]:
    """What the client is to lose now of that which is gone."""
    if REMOVALS[sub.spec.url] is Removal.AFTER_ROUTES:
        if _routes_are_old(subs):
            return ()
        found = [
            name
            for name, leaving in sub.leaving.items()
            if now >= leaving.until or _routes_follow(subs, leaving.since, sub.resumed)
        ]
    else:
        found = [
            name
            for name, leaving in sub.leaving.items()
            if now >= leaving.until and not (sub.spec.url == ENDPOINT and _in_use(subs, name))
        ]
    return tuple(sorted(name for name in found if sub.ledger.get(name) is None))


def dropped(
    subs: Mapping[str, Subscription], sub: Subscription, names: tuple[str, ...], until: float
) -> None:
    """The client is told now that these are gone; endpoints of clusters get time to be unsubscribed from."""
    endpoints = subs.get(ENDPOINT) if sub.spec.url == CLUSTER else None
    for name in names:
        del sub.leaving[name]
        if endpoints is not None and name in endpoints.leaving:
            endpoints.leaving[name] = endpoints.leaving[name]._replace(until=until)


def _takes(subs: Mapping[str, Subscription], endpoints: str) -> bool:
    """Whether there is a cluster that takes its endpoints by this name."""
    clusters = subs.get(CLUSTER)
    if clusters is None:
        return False
    found = clusters.ledger.get(endpoints)
    return found is not None and endpoints in found.refs


def _in_use(subs: Mapping[str, Subscription], endpoints: str) -> bool:
    clusters = subs.get(CLUSTER)
    return _takes(subs, endpoints) or (clusters is not None and endpoints in clusters.leaving)


def _routes_are_old(subs: Mapping[str, Subscription]) -> bool:
    """Whether the client rejected routes or listeners and lives on older ones, which may use anything."""
    return any(
        refusal.good is not None
        for url in GATED
        if (sub := subs.get(url)) is not None
        for refusal in sub.rejected.values()
    )


def _routes_follow(subs: Mapping[str, Subscription], moment: int, resumed: bool) -> bool:
    """Whether the client confirmed the routes and listeners of this moment."""
    for url in GATED:
        sub = subs.get(url)
        if sub is None:
            # After a reconnect it has routes that it has not asked for again yet.
            if resumed and url != VIRTUAL_HOST:
                return False
        elif sub.refused or sub.acked_moment < moment:
            return False
    return True
