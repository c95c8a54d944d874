"""One client's subscriptions together: which response comes next.

Within a flush the order is clusters, endpoints, secrets, listeners, routes, then what is to be
removed.  Between the types there are three rules, all of them Envoy's:

echo    A changed cluster waits for its endpoints and a changed listener for its routes, even when
        those are unchanged; so they are sent again.
make    Routes and listeners wait until new clusters are acknowledged (Envoy answers once they are
        warm), or until the ACK deadline.
break   A removed cluster stays with the client until the routes and listeners of that revision
        are acknowledged, or until a deadline.

There is no queue.  A response is planned when it can be written, from the newest state: a slow client
skips what came in between.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from controlplane.envoy.types import BY_URL
from controlplane.xds import order
from controlplane.xds.codec import Codec
from controlplane.xds.difference import plan
from controlplane.xds.feed import NOTHING, UNSETTLED, Feed, Now
from controlplane.xds.layers import Ledgers
from controlplane.xds.names import NOBODY
from controlplane.xds.options import Pace
from controlplane.xds.plan import NO_EXCEPTIONS, Ask, Plan
from controlplane.xds.protocol import WILDCARD, Push, Request, Subscription
from controlplane.xds.variant import Variant
from controlplane.xds.verdict import Verdict, answered, awaiting, retry

_IMPATIENT, _PATIENT = 0.001, 0.25
"""Seconds.  A stream is told when its feeds change; this is for what was asked in the middle of a settle."""


class Shared(NamedTuple):
    """What all sessions of a server have in common."""

    now: Now
    ledgers: Ledgers
    codec: Codec
    pace: Pace


class Heard(NamedTuple):
    """What a request turned out to be, beside a change of the subscription."""

    verdict: Verdict | None = None
    expired: bool = False
    """Its nonce is not that of a response that waits for an answer."""
    unknown: bool = False
    """Its type is not served: the request is ignored."""


class Session:
    """The protocol state of one stream.  `feeds` is read anew at every `rebind`.

    Drive it like this: `receive` each request; when something may be due, `next` until it gives None,
    writing what it gives and reporting `written`; ask again at `deadline`.
    All times are seconds of one monotonic clock.
    """

    __slots__ = (
        "_feeds",
        "_ledgers",
        "_moment",
        "_now",
        "_ordered",
        "_pace",
        "_patience",
        "_seen",
        "codec",
        "revision",
        "subscriptions",
        "variant",
    )

    def __init__(self, variant: Variant, feeds: Mapping[str, Feed], shared: Shared) -> None:
        self.variant = variant
        self.subscriptions: dict[str, Subscription] = {}
        self._feeds = feeds
        self._now, self._ledgers, self.codec, self._pace = shared
        self.revision = self._now.revision
        """The revision that the feeds showed when they were last seen whole."""
        # The same, or UNSETTLED when they must be looked at again.
        self._seen = UNSETTLED
        # The subscriptions in the order of a flush.
        self._ordered: list[Subscription] = []
        # Counts the times that all feeds were seen at one revision.  What was found at one moment, or
        # was told from it, is consistent; revisions of different feeds do not compare.
        self._moment = 0
        # Seconds until a feed that was not settled is looked at again; 0 when all are.
        self._patience = 0.0

    # -- what the client says -------------------------------------------------------------------

    def receive(self, request: Request) -> Heard:
        """Take in one request; what it makes due comes with `next`."""
        spec = BY_URL.get(request.type_url)
        if spec is None:
            return Heard(unknown=True)
        if spec.on_demand and WILDCARD in request.names:
            # A client that comes back asks for "*" beside its names; it had nothing by that.
            request = request._replace(names=request.names - {WILDCARD})
        sub = self.subscriptions.get(spec.url)
        if sub is None:
            feed = self._feeds.get(spec.url, NOTHING)
            sub = Subscription(spec, self.variant, feed, self._ledgers.open(feed))
            self.subscriptions[spec.url] = sub
            # Whatever nonce it has is from another stream.
            sub.begin(request)
            self._ordered = sorted(self.subscriptions.values(), key=lambda one: one.spec.order)
            self._seen = UNSETTLED
            return Heard()
        verdict = answered(sub, request.nonce, request.error) if request.nonce else None
        stale = request.nonce != sub.nonce
        if self.variant is Variant.DELTA:
            # The incremental variant has no stale requests: what they ask for counts.
            if request.names or request.unsubscribe:
                sub.subscribe(request.names, request.unsubscribe)
            return Heard(verdict, expired=bool(request.nonce) and stale and verdict is None)
        if not stale:
            sub.ask_all(request.names)
        return Heard(verdict, expired=stale)

    def rebind(self, feeds: Mapping[str, Feed]) -> None:
        """The client's scope may have changed: read these feeds from now on."""
        if feeds is self._feeds:
            return
        self._feeds = feeds
        for url, sub in self.subscriptions.items():
            feed = feeds.get(url, NOTHING)
            if feed is not sub.feed:
                self._ledgers.close(sub.rebase(feed, self._ledgers.open(feed)))
        self._seen = UNSETTLED

    def close(self) -> None:
        """Give everything back that is shared."""
        for sub in self.subscriptions.values():
            sub.close()
            self._ledgers.close(sub.ledger)
        self.subscriptions.clear()
        self._ordered.clear()

    # -- what it is sent ------------------------------------------------------------------------

    def next(self, now: float) -> tuple[Push, bytes] | None:
        """The response that is to be written now, if any."""
        if not self._settled():
            return None
        self._moment += 1
        # Twice: what the first round finds settled may let the second remove something.
        for _ in range(2):
            for sub in self._ordered:
                if not sub.stirred:
                    # Most types, most of the time.
                    sub.moment = self._moment
                elif (made := self._advance(sub, now)) is not None:
                    return self._send(sub, made, now)
            if not any(sub.leaving for sub in self._ordered):
                break
        return None

    def _settled(self) -> bool:
        """Look at the feeds; False unless all show one revision.  Half of a change is not planned from."""
        revision = self._now.revision
        if revision != self._seen or revision == UNSETTLED:
            for sub in self._ordered:
                ledger = sub.ledger
                if ledger.seen == revision != UNSETTLED:
                    # Another session that reads it was here before us.
                    continue
                if revision == UNSETTLED or not ledger.refresh():
                    self._seen = UNSETTLED
                    self._patience = min(max(2 * self._patience, _IMPATIENT), _PATIENT)
                    return False
                ledger.seen = revision
            self._seen = self.revision = revision
        self._patience = 0.0
        return True

    @property
    def newest(self) -> int:
        """The newest settled revision, whether or not this session has seen it whole."""
        return self._now.revision

    def written(self, push: Push, now: float) -> None:
        """The transport has taken it: the ACK deadline runs from here."""
        push.at = now

    def refresh(self) -> bool:
        """Look at the feeds; False when there is nothing to send, now or later."""
        return not self._settled() or self.stirred

    @property
    def stirred(self) -> bool:
        """Whether `next` may have something, now or later, as far as the feeds were looked at."""
        # Asked four times for each response to each proxy: `Subscription.stirred` written out, and no
        # generator, for these would take four times as long.
        for sub in self._ordered:
            if (
                sub.point is not sub.ledger.head
                or sub.answer
                or sub.owed
                or sub.echo
                or sub.leaving
                or sub.retry
            ):
                return True
        return False

    def urgency(self, now: float) -> int:
        """See `order.urgency`."""
        return order.urgency(self.subscriptions, now)

    def deadline(self, now: float) -> float | None:
        """When `next` may have something although nothing happened; None when that cannot be."""
        looked = (now + self._patience,)
        return order.deadline(self.subscriptions, looked, now, self._pace.ack_deadline)

    def _advance(self, sub: Subscription, now: float) -> Plan | None:
        """The response of this type that is due and may go, if any."""
        if sub.known:
            sub.resume()
        drop = order.ripe(self.subscriptions, sub, now) if sub.leaving else ()
        if not sub.changed and not drop:
            # On demand, what was asked for by others may have changed.
            sub.move(sub.ledger.head)
            sub.moment = self._moment
            if sub.pending or not retry(sub):
                return None
        if sub.busy(now, self._pace.ack_deadline) or self._gated(sub, now):
            return None
        made = self._plan(sub, drop)
        until = now + self._pace.removal_deadline
        if made.withheld and order.withhold(self.subscriptions, sub, made, self._moment, until):
            made = self._plan(sub, drop)
        if made.due or (sub.answer and not (sub.spec.awaited and sub.interest.names)):
            order.dropped(self.subscriptions, sub, drop, until)
            return made
        self._brought_to_now(sub)
        # What seemed due was nothing that this client accepts: now its suspects have their turn.
        return self._advance(sub, now) if not sub.pending and retry(sub) else None

    def _plan(self, sub: Subscription, drop: tuple[str, ...]) -> Plan:
        made = plan(sub.ledger, sub.spec, self._ask(sub, drop))
        if sub.refused and any(change.name not in sub.owed for change in made.news):
            # Something changed since the whole response was refused: perhaps for the better.
            sub.refused = False
            sub.owed = frozenset(sub.owed.union(filter(sub.interest.covers, sub.ledger.names())))
            made = plan(sub.ledger, sub.spec, self._ask(sub, drop))
        return made

    def _ask(self, sub: Subscription, drop: tuple[str, ...]) -> Ask:
        exceptions = sub.exceptions(drop) if sub.rejected or sub.leaving else NO_EXCEPTIONS
        return Ask(self.variant, sub.point, sub.interest, sub.owed, sub.fresh, sub.echo, exceptions)

    def _send(self, sub: Subscription, made: Plan, now: float) -> tuple[Push, bytes]:
        used = [sub.nonce, sub.acked]
        if sub.pending:
            used += [push.nonce for push in sub.pending]
        sub.nonce, data = self.codec.response(made, used, introduce=not sub.nonce)
        push = Push(sub.spec, sub.nonce, made, self.revision, sub.moment, now, made.news, len(data))
        self._brought_to_now(sub)
        if made.unanswered:
            sub.owed = sub.fresh = made.unanswered
        awaiting(sub, push)
        sub.blocked_since = None
        sub.sent_at = now
        target = self.subscriptions.get(sub.spec.refers_to or "")
        if target is not None and made.refs:
            target.echo = frozenset(target.echo | made.refs) if target.echo else made.refs
        return push, data

    def _brought_to_now(self, sub: Subscription) -> None:
        sub.move(sub.ledger.head)
        sub.owed = sub.fresh = sub.echo = NOBODY
        sub.moment = self._moment
        sub.answer = False
        if sub.leaving:
            for name in [name for name in sub.leaving if sub.ledger.get(name) is not None]:
                del sub.leaving[name]
        if sub.rejected:
            for name in [name for name in sub.rejected if sub.ledger.get(name) is None]:
                del sub.rejected[name]

    def _gated(self, sub: Subscription, now: float) -> bool:
        """Whether routes or listeners must wait for clusters that they may point at."""
        clusters = order.gate(self.subscriptions, sub)
        if clusters is None:
            return False
        wait = self._pace.ack_deadline
        if clusters.changed and clusters.busy(now, wait) and self._plan(clusters, ()).adds:
            # Not even sent.  That ends when the clusters may be sent, so there is no other bound.
            sub.blocked_since = now if sub.blocked_since is None else sub.blocked_since
            return True
        if not any(now < push.at + wait for push in order.unconfirmed(self.subscriptions)):
            return False
        if sub.blocked_since is None:
            sub.blocked_since = now
        return now < sub.blocked_since + wait
