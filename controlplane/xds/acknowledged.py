"""Who has acknowledged the secrets of now: a change of roots goes on when everybody has."""

from __future__ import annotations

from collections.abc import Iterable

from controlplane.envoy.secrets import DEFAULT, ROOT_CA
from controlplane.envoy.types import SECRET
from controlplane.xds.feed import UNSETTLED, Now
from controlplane.xds.protocol import Subscription
from controlplane.xds.status import Served


def behind(streams: Iterable[Served], now: Now) -> tuple[str, ...]:
    """The proxies (`name.namespace`) that ask for their certificate or the roots and lack the present ones.

    What a proxy rejected, it lacks.  While a change is being computed nobody has it.
    """
    settled = now.revision != UNSETTLED
    found = {
        one.connection.proxy.id
        for one in streams
        if (sub := one.session.subscriptions.get(SECRET)) is not None
        if not (settled and sub.ledger.refresh() and _has_all(sub))
    }
    return tuple(sorted(found))


def _has_all(sub: Subscription) -> bool:
    return all(_has(sub, name) for name in (DEFAULT, ROOT_CA) if sub.interest.covers(name))


def _has(sub: Subscription, name: str) -> bool:
    present = sub.ledger.get(name)
    if present is None:
        return True  # there is none yet, or none for this stream
    refusal = sub.rejected.get(name)
    if sub.point is None or name in sub.owed or (refusal is not None and refusal.version == present.version):
        return False
    if sub.point is not sub.ledger.head and any(
        change.name == name for change in sub.ledger.changes(sub.point)
    ):
        return False
    return not any(one.name == name for push in sub.pending for one in push.plan.upserts)
