"""One stream's subscription to one type: what the client asked for, has, and is owed.

The rules are those of https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol.  State of
the world and incremental differ in how a request changes the subscription, and in nothing else here.

What a client *has* is not a version per name.  It is a checkpoint of the ledger (shared by all
streams that are up to date) and a few exceptions: what it rejected, what it must still lose.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from controlplane.envoy.resource import Resource
from controlplane.envoy.types import TypeSpec
from controlplane.xds.asking import tell
from controlplane.xds.feed import UNSETTLED, Feed
from controlplane.xds.layers import AnyLedger
from controlplane.xds.ledger import Change, Checkpoint
from controlplane.xds.names import NO_INTEREST, NOBODY, Interest, intern_names
from controlplane.xds.plan import NO_EXCEPTIONS, Exceptions, Leaving, Plan, Rejection, has, unknown
from controlplane.xds.variant import Variant, complete, resumable

WILDCARD = "*"
MAX_PENDING = 8
"""Unanswered responses told apart; beyond that the oldest counts as part of the next."""


class Request(NamedTuple):
    """A discovery request of either variant, without its node."""

    type_url: str
    nonce: str = ""
    names: frozenset[str] = NOBODY
    """State of the world: all names asked for.  Incremental: names subscribed to."""
    unsubscribe: frozenset[str] = NOBODY
    known: Mapping[str, str] = {}
    """Incremental, after a reconnect: the versions the client has, by name."""
    version: str = ""
    """State of the world: the version the client has; not empty after a reconnect."""
    error: str | None = None
    """Why the response with that nonce was rejected; None when it was not."""


@dataclass(slots=True, eq=False)
class Push:
    """A response of one stream, from its planning until it is answered.  Times are monotonic seconds."""

    spec: TypeSpec
    nonce: str
    plan: Plan
    revision: int
    """The revision of the newest change that the stream's feeds showed when it was planned."""
    previous: int
    """The session's moment (see `session`) that the client had been brought to before."""
    at: float
    """When it was planned; from the end of its writing on, when it was written."""
    news: tuple[Change, ...] = ()
    """The plan's news, and those of older responses that were never answered."""
    size: int = 0
    """Bytes."""


@dataclass(slots=True, eq=False)
class Subscription:
    """The state of one type on one stream."""

    spec: TypeSpec
    variant: Variant
    feed: Feed
    ledger: AnyLedger
    """Of that feed, or of its only part."""
    interest: Interest = NO_INTEREST
    explicit: bool = False
    """Whether any name was ever asked for: after that an empty list is no wildcard any more."""
    resumed: bool = False
    """The client had resources of this type before this stream, of which we do not know the bytes."""
    known: Mapping[str, str] = field(default_factory=dict)
    """Versions that the client claims to have, until they have been compared with the feed."""
    point: Checkpoint | None = None
    """What the client was sent last; None when a wildcard client was sent nothing yet."""
    moment: int = -1
    """The session's moment up to which everything was sent, or needed no sending."""
    answer: bool = False
    """A request waits for an answer, even an empty one."""
    owed: frozenset[str] = NOBODY
    """Names that are to be sent whether or not they changed."""
    fresh: frozenset[str] = NOBODY
    """Of those: what the client asked for the first time."""
    echo: frozenset[str] = NOBODY
    asked: frozenset[str] = NOBODY
    """Of the interest, what the feed was told to have (see `asking`)."""
    nonce: str = ""
    """Of the newest response."""
    acked: str = ""
    """The nonce that was acknowledged last."""
    pending: list[Push] = field(default_factory=list)
    error: str = ""
    """Why the newest answered response was rejected; "" when it was not."""
    rejected: dict[str, Rejection] = field(default_factory=dict)
    refusing_since: int = 0
    """The revision of the first rejection since nothing was rejected; 0 if nothing was accepted before."""
    retry: list[tuple[str, ...]] = field(default_factory=list)
    """Names that were rejected together, to be sent anew group by group."""
    refused: bool = False
    """A complete response was rejected that cannot be taken apart; the next change sends it anew."""
    leaving: dict[str, Leaving] = field(default_factory=dict)
    blocked_since: float | None = None
    sent_at: float = 0.0

    @property
    def complete(self) -> bool:
        return complete(self.spec, self.variant)

    @property
    def changed(self) -> bool:
        """Whether there may be something to send that has not been planned yet."""
        behind = self.point is not self.ledger.head and self._concerned()
        return behind or self.answer or bool(self.owed or self.echo)

    def _concerned(self) -> bool:
        """Whether something changed that the client asked for, where others ask for other things."""
        some = self.ledger.changes(self.point) if self.spec.on_demand and self.point else None
        return some is None or any(self.interest.covers(change.name) for change in some)

    @property
    def stirred(self) -> bool:
        """Whether there may be something to send, now or later; costs almost nothing when there is not."""
        return bool(
            self.point is not self.ledger.head
            or self.answer
            or self.owed
            or self.echo
            or self.leaving
            or self.retry
        )

    def busy(self, now: float, deadline: float) -> bool:
        """Whether a response is in flight that may still be answered in time."""
        return bool(self.pending) and now < self.pending[-1].at + deadline

    @property
    def acked_moment(self) -> int:
        """The session's moment that the client has confirmed (or needed nothing of)."""
        return self.pending[0].previous if self.pending else self.moment

    def exceptions(self, drop: tuple[str, ...] = ()) -> Exceptions:
        if not self.rejected and not self.leaving:
            return NO_EXCEPTIONS
        return Exceptions(
            rejected=tuple(sorted(self.rejected.items())),
            leaving=tuple((name, self.leaving[name].resource) for name in sorted(self.leaving)),
            drop=drop,
        )

    def holds(self) -> dict[str, Resource]:
        """What the client was sent and has, as far as its answers tell."""
        sent = {} if self.point is None else self.ledger.at(self.point)
        held = {name: one.resource for name, one in self.leaving.items()}
        for name, one in sent.items():
            if self.interest.covers(name) and name not in self.fresh:
                has_now = has(self.rejected.get(name), one)
                if has_now is not None:
                    held[name] = has_now
        return {name: one for name, one in held.items() if one.body}

    # -- where the client is --------------------------------------------------------------------

    def move(self, point: Checkpoint | None) -> None:
        """The client is at this checkpoint now (which the caller has not held)."""
        if point is self.point:
            return
        past, self.point = self.point, point
        if point is not None:
            self.ledger.hold(point)
        if past is not None:
            self.ledger.release(past)

    def rebase(self, feed: Feed, ledger: AnyLedger) -> AnyLedger:
        """Read another feed from now on; gives back the ledger of the old one, for the caller to close."""
        self.asked = tell(self.feed, self.asked, NOBODY)
        past, self.feed = self.ledger, feed
        # Not to be told by whether the old ledger was ever read: the client may have come to it with
        # what a third one had given it, and leave again before anything of it was computed.
        had = {} if self.point is None else past.at(self.point)
        if past.revision == UNSETTLED and not had:
            # Nothing was sent yet: what is owed is owed from the other ledger.
            self.move(None)
            self.point = None if self.interest.wildcard else ledger.hold(ledger.head)
        elif self.point is not None:
            past.release(self.point)
            differing = {
                name: had.get(name) for name in {*had, *ledger.names()} if had.get(name) != ledger.get(name)
            }
            self.point = ledger.diverge(differing)
        self.ledger = ledger
        self.asked = tell(self.feed, self.asked, self.interest.names)
        return past

    def close(self) -> None:
        self.asked = tell(self.feed, self.asked, NOBODY)
        if self.point is not None:
            self.ledger.release(self.point)
            self.point = None

    # -- requests -------------------------------------------------------------------------------

    def begin(self, request: Request) -> None:
        """The first request of this type on the stream: always answered."""
        self.explicit = bool(request.names)
        wildcard = WILDCARD in request.names or (self.spec.wildcard and not self.explicit)
        self.interest = Interest(wildcard, _proper(request.names))
        self.resumed = bool(request.version or request.known)
        self.answer = True
        if resumable(self.spec) and (wildcard or self.spec.on_demand):
            self.known = request.known
        if not wildcard:
            # Nothing but the names is owed: the client has, as it were, all the rest.
            self.move(self.ledger.head)
        self.owed = self.interest.names
        # What it has from an earlier stream it does not lose by rejecting ours.
        if not self.resumed:
            self.fresh = self.owed
        elif request.known:
            self.fresh = intern_names(self.owed - request.known.keys())
        self.asked = tell(self.feed, self.asked, self.interest.names)

    def resume(self) -> None:
        """Take the client's word for what it has; called once the feed is settled."""
        known, self.known = self.known, {}
        now = self.ledger.resources
        before = {
            name: unknown(self.spec.url, name) if name in known else None
            for name in ({*now, *known} if self.interest.wildcard else self.interest.names)
            if name not in now or known.get(name) != now[name].version
        }
        if self.spec.on_demand:
            self.owed = self.owed.intersection({*before, *self.fresh})
        self.move(None)
        self.point = self.ledger.diverge(before)

    def ask_all(self, names: frozenset[str]) -> None:
        """State of the world, not stale: these are all the names that the client wants now."""
        self.explicit = self.explicit or bool(names)
        wildcard = WILDCARD in names or (self.spec.wildcard and not self.explicit)
        wanted = Interest(wildcard, _proper(names))
        if wanted == self.interest:
            return
        before, self.interest = self.interest, wanted
        if wildcard and not before.wildcard:
            self.move(None)
            self.answer = True
        elif not wildcard and (grown := wanted.names - before.names):
            # Newly asked for names are sent even if they were sent before, when nobody had asked.
            self.owed |= grown
            self.fresh |= grown
            self.answer = True
        self._forget_uncovered()

    def subscribe(self, names: frozenset[str], unsubscribe: frozenset[str]) -> None:
        """Incremental: more names, then fewer.  What is subscribed to is answered even when it is known."""
        self.explicit = self.explicit or bool(names)
        wildcard, wanted = self.interest
        if names:
            self.answer = True
            if WILDCARD in names:
                self.owed |= frozenset(self.ledger.names())
                wildcard = True
            named = _proper(names)
            self.owed |= named
            # On demand a client asks for what it does not have, though it may have had it once.
            had = NO_INTEREST if self.spec.on_demand else self.interest
            self.fresh |= frozenset(name for name in named if not had.covers(name))
            wanted = intern_names(wanted | named)
        if unsubscribe:
            fewer = wanted & unsubscribe
            wildcard = wildcard and WILDCARD not in unsubscribe
            wanted = intern_names(wanted - fewer)
            if wildcard and fewer:
                # The client cannot know whether the wildcard still gives it these.
                self.owed |= fewer
                self.answer = True
        self.interest = Interest(wildcard, wanted)
        self._forget_uncovered()
        self.asked = tell(self.feed, self.asked, self.interest.names)

    def _forget_uncovered(self) -> None:
        """Drop what concerns names that the client is no longer interested in."""
        if self.interest.wildcard:
            return
        covers = self.interest.covers
        if not all(map(covers, self.owed)):
            self.owed = frozenset(filter(covers, self.owed))
            self.fresh &= self.owed
        self.rejected = {name: one for name, one in self.rejected.items() if covers(name)}
        self.leaving = {name: one for name, one in self.leaving.items() if covers(name)}


def _proper(names: frozenset[str]) -> frozenset[str]:
    return intern_names(names - {WILDCARD}) if WILDCARD in names else names
