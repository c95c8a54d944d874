"""The rejections that hold now, of all streams together; read off their sessions when somebody asks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple

from controlplane.envoy.types import TypeSpec
from controlplane.xds.feed import Feed
from controlplane.xds.protocol import Subscription
from controlplane.xds.status import Served


class Refusal(NamedTuple):
    """A resource whose present version one proxy refused.

    `name` and `version` are empty where a whole response was refused and nobody can say for what.
    """

    spec: TypeSpec
    name: str
    version: str
    error: str
    """The proxy's own words."""
    proxy: str
    """`name.namespace`"""
    feed: Feed
    since: int
    """The revision at which it began to refuse things of the type; 0 when it never accepted one."""
    bare: bool
    """It has no other version of the resource either."""


def refusals(streams: Iterable[Served]) -> Iterator[Refusal]:
    """Every rejection that holds, by stream, type and name."""
    for one in streams:
        for sub in one.session.subscriptions.values():
            # Nearly all have neither.
            if sub.rejected or sub.error:
                yield from _of(sub, one.connection.proxy.id)


def _of(sub: Subscription, proxy: str) -> Iterator[Refusal]:
    # Of these, some were only rejected together with the offender: they are about to be tried again.
    suspects = set(chain.from_iterable(sub.retry))
    for name in sorted(sub.rejected.keys() - suspects):
        refusal, present = sub.rejected[name], sub.ledger.get(name)
        if present is not None and present.version == refusal.version:
            bare, since = refusal.good is None, sub.refusing_since
            yield Refusal(sub.spec, name, refusal.version, refusal.error, proxy, sub.feed, since, bare)
    if sub.error and not (sub.rejected or sub.pending or sub.changed):
        yield Refusal(sub.spec, "", "", sub.error, proxy, sub.feed, 0, False)
