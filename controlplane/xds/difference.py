"""The difference between what a client has and what it should have, as one response.

Planning is a pure function of a ledger's past and of what one subscription asks.  Streams that ask
the same get the same `Plan` object, and with it the same response bytes: of a thousand streams woken
by one change the first plans and the others look it up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

from controlplane.envoy.resource import Resource
from controlplane.envoy.types import TypeSpec
from controlplane.xds.layers import AnyLedger, Joint, Layers
from controlplane.xds.ledger import Change
from controlplane.xds.names import NOBODY
from controlplane.xds.plan import Ask, Plan, Rejection, has, unknown
from controlplane.xds.variant import REMOVALS, Removal, Variant, complete


def plan(ledger: AnyLedger, spec: TypeSpec, ask: Ask) -> Plan:
    """The response to `ask` from the ledger's present state; the same object for the same ask."""
    made: Plan | None = ledger.plans.get(ask)
    if made is None:
        made = ledger.plans[ask] = _make(ledger, spec, ask)
    return made


def _make(ledger: AnyLedger, spec: TypeSpec, ask: Ask) -> Plan:
    if complete(spec, ask.variant):
        return _complete(ledger, spec, ask)
    if isinstance(ledger, Layers) and isinstance(ask.since, Joint) and not any(ask.exceptions):
        # What concerns one part is the same for everybody who reads that part.
        part = ledger.only(ask.since, ask.owed | ask.echo)
        if part is not None:
            return plan(part[0], spec, ask._replace(since=part[1]))
    return _greeting(ledger, spec, ask) or _increment(ledger, spec, ask)


def _greeting(ledger: AnyLedger, spec: TypeSpec, ask: Ask) -> Plan | None:
    """For a client that has nothing and wants everything: what each part has to say, one after the other."""
    plain = not (ask.owed or ask.echo or any(ask.exceptions))
    if ask.since is not None or not plain or not isinstance(ledger, Layers):
        return None
    pieces = tuple(plan(part, spec, ask) for part in ledger.layers)
    return Plan(
        type_url=spec.url,
        variant=ask.variant,
        upserts=tuple(chain.from_iterable(piece.upserts for piece in pieces)),
        removed=(),
        news=tuple(chain.from_iterable(piece.news for piece in pieces)),
        withheld=(),
        refs=frozenset(chain.from_iterable(piece.refs for piece in pieces)),
        echoes=0,
        stood_in=frozenset(),
        due=any(piece.due for piece in pieces),
        pieces=pieces,
    )


def _changes(ledger: AnyLedger, ask: Ask, on_demand: bool) -> Iterator[Change]:
    """What the client does not have yet, of what it is interested in, with its own idea of the past."""
    leaving = dict(ask.exceptions.leaving)
    if ask.since is None:
        for name in ledger.names():
            if ask.interest.covers(name):
                yield Change(name, None, ledger.get(name))
        return
    for change in ledger.changes(ask.since):
        # On demand, what went may have been on its way when the client asked.
        if change.name in ask.fresh and not (on_demand and change.new is None):
            if change.new is not None:
                yield Change(change.name, None, change.new)
            continue
        if not ask.interest.covers(change.name):
            continue
        still = leaving.get(change.name)
        if still is None or change.new is None:
            yield change
        elif still != change.new:
            # It went and came back before the client was told.
            yield Change(change.name, still, change.new)


def _sort_out(
    ledger: AnyLedger, spec: TypeSpec, ask: Ask, rejected: Mapping[str, Rejection]
) -> tuple[dict[str, Change], tuple[Change, ...]]:
    """The changes that can be told, by name, and the removals that have to wait."""
    news, withheld = {}, []
    for change in _changes(ledger, ask, spec.on_demand):
        if change.new is None:
            match REMOVALS[spec.url]:
                case Removal.AT_ONCE:
                    news[change.name] = change
                case Removal.AFTER_ROUTES | Removal.LATE:
                    withheld.append(change)
        elif has(rejected.get(change.name), change.new) is change.new:
            news[change.name] = change
    return news, tuple(withheld)


def _increment(ledger: AnyLedger, spec: TypeSpec, ask: Ask) -> Plan:
    """Only what changed: all types in the incremental variant, EDS, RDS and SDS in the other."""
    rejected = dict(ask.exceptions.rejected)
    news, withheld = _sort_out(ledger, spec, ask, rejected)
    upserts = {name: change.new for name, change in news.items() if change.new is not None}
    removed = {*ask.exceptions.drop, *(name for name, change in news.items() if change.new is None)}
    # What is gone from the feed while the client has it can still be asked for.
    gone = {change.name: change.old for change in withheld}
    gone.update((name, one) for name, one in ask.exceptions.leaving if name not in ask.exceptions.drop)
    stood_in = set()
    for name in ask.owed:
        found = ledger.get(name) or gone.get(name)
        sent = has(rejected.get(name), found)
        if found is None or sent is None or (spec.on_demand and not sent.body):
            # It is not there; or not for a client that rejected it and never had another version.
            had = name in removed or (found is None and name in rejected)
            if spec.on_demand and not had and (name in ask.fresh or found is not None):
                # A request waits for this answer, and would wait for ever.
                upserts[name] = Resource(spec.url, name, b"", missing=True)
                stood_in.add(name)
            elif not spec.awaited:
                removed.add(name)
        elif sent.body:
            upserts[name] = sent
            if sent is not found:
                stood_in.add(name)
            elif name not in news:
                news[name] = Change(name, None if name in ask.fresh else unknown(spec.url, name), found)
    echoed = [
        sent
        for name in ask.echo
        if name not in upserts and ask.interest.covers(name)
        if (sent := has(rejected.get(name), ledger.get(name) or gone.get(name))) is not None and sent.body
    ]
    upserts.update((sent.name, sent) for sent in echoed)
    told = tuple(sorted(removed)) if ask.variant is Variant.DELTA else ()
    return Plan(
        type_url=spec.url,
        variant=ask.variant,
        upserts=tuple(upserts[name] for name in sorted(upserts)),
        removed=told,
        news=tuple(news[name] for name in sorted(news)),
        withheld=withheld,
        refs=_refs(news.values()),
        echoes=len(echoed),
        stood_in=frozenset(stood_in),
        unanswered=ask.fresh & removed if spec.on_demand else NOBODY,
        due=bool(upserts or told),
    )


def _complete(ledger: AnyLedger, spec: TypeSpec, ask: Ask) -> Plan:
    """Everything: CDS and LDS in the state-of-the-world variant."""
    rejected = dict(ask.exceptions.rejected)
    news, withheld = _sort_out(ledger, spec, ask, rejected)
    for name in ask.owed:
        found = ledger.get(name)
        if found is not None and name not in news and has(rejected.get(name), found) is found:
            news[name] = Change(name, None if name in ask.fresh else unknown(spec.url, name), found)
    upserts, stood_in = _everything(ledger, ask, rejected, withheld)
    return Plan(
        type_url=spec.url,
        variant=ask.variant,
        upserts=upserts,
        removed=(),
        news=tuple(news[name] for name in sorted(news)),
        withheld=withheld,
        refs=_refs(news.values()),
        echoes=0,
        stood_in=stood_in,
        due=bool(news or ask.owed or ask.exceptions.drop),
    )


def _everything(
    ledger: AnyLedger, ask: Ask, rejected: Mapping[str, Rejection], withheld: tuple[Change, ...]
) -> tuple[tuple[Resource, ...], frozenset[str]]:
    """All that the client is to have, and for which names it gets last good bytes."""
    feed = {name: one for name in ledger.names() if ask.interest.covers(name) and (one := ledger.get(name))}
    gone = {change.name: change.old for change in withheld}
    gone.update((name, one) for name, one in ask.exceptions.leaving if name not in ask.exceptions.drop)
    found = {**gone, **feed}
    stood_in = set()
    for name in rejected.keys() & found.keys():
        sent = has(rejected[name], found[name])
        if sent is None:
            del found[name]
        elif sent.body and sent is not found[name]:
            found[name] = sent
            stood_in.add(name)
        # Else its version is unknown: to leave the name out would delete it, rejected bytes do not.
    return tuple(one for name in sorted(found) if (one := found[name]) is not None), frozenset(stood_in)


def _refs(news: Iterable[Change]) -> frozenset[str]:
    refs = {ref for change in news if change.new is not None for ref in change.new.refs}
    return frozenset(refs) if refs else NOBODY
