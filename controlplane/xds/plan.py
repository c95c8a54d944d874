"""The difference between what a client has and what it should have, as one response.

Planning is a pure function of a ledger's past and of what one subscription asks.  Streams that ask
the same get the same `Plan` object, and with it the same response bytes: of a thousand streams woken
by one change the first plans and the others look it up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

from controlplane.envoy.resource import Resource
from controlplane.envoy.types import TypeSpec
from controlplane.xds.ledger import Change, Checkpoint, Ledger
from controlplane.xds.names import NOBODY, Interest
from controlplane.xds.variant import REMOVALS, Removal, Variant, complete


class Rejection(NamedTuple):
    """A version that this client refused, and what it has instead."""

    version: str
    good: Resource | None
    """The bytes it accepted before; None when it has none, or none that we know of."""
    keep: bool
    """Go on listing the refused bytes: leaving the name out would delete a version we never saw."""
    error: str
    group: tuple[str, ...] = ()
    """All that was suspected with it, when the client named nobody; empty when it did."""


class Exceptions(NamedTuple):
    """Where one client's target differs from the feed; all empty for nearly every client."""

    rejected: tuple[tuple[str, Rejection], ...] = ()
    leaving: tuple[tuple[str, Resource], ...] = ()
    """Gone from the feed, not yet to be taken from the client."""
    drop: tuple[str, ...] = ()
    """Of those in `leaving`, what is to be taken now."""


NO_EXCEPTIONS = Exceptions()


class Ask(NamedTuple):
    """Everything that makes two streams' responses differ when their ledger is the same."""

    variant: Variant
    since: Checkpoint | None
    """What the client was sent last; None when it has nothing of the wildcard."""
    interest: Interest
    owed: frozenset[str]
    """Asked for by name: to be sent whether or not they changed."""
    echo: frozenset[str]
    """Unchanged, but Envoy waits for them because what points at them changed."""
    exceptions: Exceptions = NO_EXCEPTIONS


@dataclass(slots=True, eq=False, weakref_slot=True)
class Body:
    """The bytes of a response without its nonce."""

    data: bytes


@dataclass(slots=True, eq=False, weakref_slot=True)
class Plan:
    """One response, shared by all streams that need it; treat as immutable."""

    type_url: str
    variant: Variant
    upserts: tuple[Resource, ...]
    removed: tuple[str, ...]
    news: tuple[Change, ...]
    """What in it the client does not have, with what it has instead: the suspects of a NACK."""
    withheld: tuple[Change, ...]
    """Removals left out because they have to wait."""
    refs: frozenset[str]
    """Names of the next type that Envoy wants again because of the news."""
    echoes: int
    stood_in: frozenset[str]
    """Names sent with last good bytes in place of rejected ones."""
    due: bool
    """Whether there is anything to say; a plan that is not due is sent only as an answer."""
    body: Body | None = field(default=None, repr=False)
    _version: str = ""

    @property
    def adds(self) -> bool:
        """Whether the client gets names that it did not have."""
        return any(change.old is None and change.new is not None for change in self.news)

    @property
    def version(self) -> str:
        """A hash of the content: equal for equal responses of any stream, replica or restart."""
        if not self._version:
            digest = blake2b(digest_size=8)
            digest.update("\n".join(f"{one.name}={one.version}" for one in self.upserts).encode())
            digest.update("\n-".join(("", *self.removed)).encode())
            self._version = digest.hexdigest()
        return self._version


def plan(ledger: Ledger, spec: TypeSpec, ask: Ask) -> Plan:
    """The response to `ask` from the ledger's present state; the same object for the same ask."""
    made: Plan | None = ledger.plans.get(ask)
    if made is None:
        make = _complete if complete(spec, ask.variant) else _increment
        made = ledger.plans[ask] = make(ledger, spec, ask)
    return made


def _changes(ledger: Ledger, ask: Ask) -> Iterator[Change]:
    """What the client does not have yet, of what it is interested in, with its own idea of the past."""
    leaving = dict(ask.exceptions.leaving)
    if ask.since is None:
        for name in ledger.names():
            if ask.interest.covers(name):
                yield Change(name, None, ledger.get(name))
        return
    for change in ledger.changes(ask.since):
        if not ask.interest.covers(change.name):
            continue
        still = leaving.get(change.name)
        if still is None or change.new is None:
            yield change
        elif still != change.new:
            # It went and came back before the client was told.
            yield Change(change.name, still, change.new)


def _increment(ledger: Ledger, spec: TypeSpec, ask: Ask) -> Plan:
    """Only what changed: all types in the incremental variant, EDS, RDS and SDS in the other."""
    rejected = dict(ask.exceptions.rejected)
    delta = ask.variant is Variant.DELTA
    news: dict[str, Change] = {}
    withheld: list[Change] = []
    removed = set(ask.exceptions.drop)
    for change in _changes(ledger, ask):
        if change.new is None:
            match REMOVALS[spec.url]:
                case Removal.AT_ONCE:
                    news[change.name] = change
                    removed.add(change.name)
                case Removal.AFTER_ROUTES | Removal.LATE:
                    withheld.append(change)
        elif not _refused(rejected, change.new):
            news[change.name] = change
    upserts = {name: change.new for name, change in news.items() if change.new is not None}
    stood_in = set()
    leaving = {name: one for name, one in ask.exceptions.leaving if name not in ask.exceptions.drop}
    for name in ask.owed:
        found = ledger.get(name) or leaving.get(name)
        if found is None or not found.body:
            removed.add(name)
            continue
        good = rejected[name].good if _refused(rejected, found) else None
        if good is not None:
            stood_in.add(name)
        elif name not in news:
            news[name] = Change(name, None, found)
        upserts[name] = good or found
    echoed = [
        rejected[found.name].good or found if _refused(rejected, found) else found
        for name in ask.echo
        if name not in upserts and ask.interest.covers(name)
        if (found := ledger.get(name) or leaving.get(name)) is not None and found.body
    ]
    upserts.update((found.name, found) for found in echoed)
    return Plan(
        type_url=spec.url,
        variant=ask.variant,
        upserts=tuple(upserts[name] for name in sorted(upserts)),
        removed=tuple(sorted(removed)) if delta else (),
        news=tuple(news[name] for name in sorted(news)),
        withheld=tuple(withheld),
        refs=_refs(news.values()),
        echoes=len(echoed),
        stood_in=frozenset(stood_in),
        due=bool(upserts or (removed and delta)),
    )


def _complete(ledger: Ledger, spec: TypeSpec, ask: Ask) -> Plan:
    """Everything: CDS and LDS in the state-of-the-world variant."""
    rejected = dict(ask.exceptions.rejected)
    news, withheld = [], []
    for change in _changes(ledger, ask):
        if change.new is None and REMOVALS[spec.url] is not Removal.AT_ONCE:
            withheld.append(change)
        elif change.new is None or not _refused(rejected, change.new):
            news.append(change)
    known = {change.name for change in news}
    news += [
        Change(name, None, found)
        for name in sorted(ask.owed)
        if name not in known and (found := ledger.get(name)) and not _refused(rejected, found)
    ]
    upserts, stood_in = _everything(ledger, ask, rejected, withheld)
    return Plan(
        type_url=spec.url,
        variant=ask.variant,
        upserts=upserts,
        removed=(),
        news=tuple(news),
        withheld=tuple(withheld),
        refs=_refs(news),
        echoes=0,
        stood_in=stood_in,
        due=bool(news or ask.owed or ask.exceptions.drop),
    )


def _everything(
    ledger: Ledger, ask: Ask, rejected: dict[str, Rejection], withheld: list[Change]
) -> tuple[tuple[Resource, ...], frozenset[str]]:
    """All that the client is to have, and for which names it gets last good bytes."""
    found = {name: one for name in ledger.names() if ask.interest.covers(name) and (one := ledger.get(name))}
    stood_in = set()
    for name, refusal in rejected.items():
        if name not in found or found[name].version != refusal.version or refusal.keep:
            continue
        if refusal.good is None:
            del found[name]
        else:
            found[name] = refusal.good
            stood_in.add(name)
    for change in withheld:
        still_there = has(rejected.get(change.name), change.old)
        if still_there is not None:
            found[change.name] = still_there
    for name, still in ask.exceptions.leaving:
        if name not in ask.exceptions.drop:
            found.setdefault(name, still)
    return tuple(found[name] for name in sorted(found)), frozenset(stood_in)


def _refused(rejected: dict[str, Rejection], found: Resource) -> bool:
    refusal = rejected.get(found.name)
    return refusal is not None and refusal.version == found.version


def has(refusal: Rejection | None, sent: Resource | None) -> Resource | None:
    """What a client has of a resource that it was sent, given what it refused."""
    if refusal is None or sent is None or refusal.version != sent.version or refusal.keep:
        return sent
    return refusal.good


def _refs(news: Iterable[Change]) -> frozenset[str]:
    refs = {ref for change in news if change.new is not None for ref in change.new.refs}
    return frozenset(refs) if refs else NOBODY
