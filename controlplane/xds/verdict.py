"""What a client said to a response: ACK or NACK, and what follows for the resources in it.

A rejected version is not sent to that client again until its content changes.  In its place stands
what the client accepted last: named in a complete response, sent again in an incremental one, so
that the client's next ACK confirms a state that we know.

Envoy answers in two ways (https://github.com/envoyproxy/envoy/blob/main/source/common/upstream/cds_api_helper.cc
and lds_api.cc).  A semantic error in clusters or listeners names the offenders, and the rest of the
response is in force.  Anything else drops the response whole, or leaves open how far it got, and the
text is no evidence: then all that was new in the response is suspect.  All of it goes back to its
last good bytes, and is tried anew by halves until the offenders are found.
"""

from __future__ import annotations

import re
from typing import NamedTuple, TypeAlias

from controlplane.envoy.resource import Resource
from controlplane.xds.plan import Rejection, unknown
from controlplane.xds.protocol import MAX_PENDING, Push, Subscription

MAX_DETAIL = 2000
"""Characters of an error that are kept."""
LIFTED = ""
"""The version of a rejection that only remembers what the client has."""

_Suspects: TypeAlias = dict[str, tuple[Resource | None, Resource]]

_KEY = "PRIVATE KEY-----"
_NAMES_OFFENDERS = "Error adding/updating"
_SEPARATORS = re.compile(r"[\s,;'\"()]+")


class Verdict(NamedTuple):
    """How a client answered one of our responses."""

    push: Push
    newest: bool
    """No newer response of the type was sent in the meantime."""
    error: str | None = None
    """Why it was rejected; None for an ACK."""
    blamed: tuple[str, ...] = ()
    """The names whose new version this client will not be sent again."""


def answered(sub: Subscription, nonce: str, error: str | None) -> Verdict | None:
    """Take in the answer to the response with that nonce; None when no response waits for one."""
    pending = sub.pending
    if error is None and len(pending) == 1 and pending[0].nonce == nonce and not sub.rejected:
        # Nearly every answer: what `_accept` does when there is nothing else to think of.
        sub.acked, sub.error = nonce, ""
        return Verdict(pending.pop(), True)
    index = 0
    while index < len(pending) and pending[index].nonce != nonce:
        index += 1
    if index == len(pending):
        return None
    push, newest = pending[index], index == len(pending) - 1
    if error is None:
        _accept(sub, index)
        return Verdict(push, newest)
    # Some rejections repeat the whole message, and what is told here is shown in many places.
    error = "(not shown: it repeats a private key)" if _KEY in error else error[:MAX_DETAIL]
    return Verdict(push, newest, error, _reject(sub, index, error))


def awaiting(sub: Subscription, push: Push) -> None:
    """A response is on its way; keeps the number of those that are told apart bounded."""
    sub.pending.append(push)
    if len(sub.pending) > MAX_PENDING:
        oldest = sub.pending.pop(0)
        sub.pending[0].news = oldest.news + sub.pending[0].news
        sub.pending[0].previous = oldest.previous


def _accept(sub: Subscription, index: int) -> None:
    # Envoy answers in order: what came before and was never answered is part of what it accepts.
    accepted = sub.pending[: index + 1]
    del sub.pending[: index + 1]
    sub.acked = accepted[-1].nonce
    sub.error = ""
    _redeem(sub, accepted)


def _redeem(sub: Subscription, accepted: list[Push], but: frozenset[str] = frozenset()) -> None:
    """Forget the rejections of resources that the client has accepted another version of."""
    if not sub.rejected:
        return
    again = set()
    for push in accepted:
        for resource in push.plan.upserts:
            refusal = sub.rejected.get(resource.name)
            if refusal is None or resource.name in push.plan.stood_in or resource.name in but:
                continue
            del sub.rejected[resource.name]
            now = sub.ledger.get(resource.name)
            if now is not None and now.version == refusal.version != resource.version:
                # It went back to what was refused while this was on its way: let the client judge anew.
                again.add(resource.name)
    if again:
        sub.owed = sub.owed.union(again)


def _reject(sub: Subscription, index: int, error: str) -> tuple[str, ...]:
    """Hold back what is to blame; gives its names."""
    rejected = sub.pending[: index + 1]
    del sub.pending[: index + 1]
    if not sub.rejected and not sub.error:
        sub.refusing_since = rejected[0].revision if sub.acked else 0
    sub.error = error
    suspects = _suspects(sub, rejected)
    # An offender may be an old acquaintance that a complete response had to list once more.
    named = offenders(error, {one.name for push in rejected for one in push.plan.upserts})
    if named:
        _redeem(sub, rejected, but=named)
    blamed = tuple(sorted(named & suspects.keys() if named else suspects))
    if not named and sub.complete and any(good and not good.body for good, _ in suspects.values()):
        # What the client has of these we do not know, so none of them can be left out to find the one.
        sub.refused = True
        return blamed
    again = _unheard(sub, rejected, suspects) if sub.spec.on_demand else set()
    for name in filter(sub.interest.covers, blamed):
        good, bad = suspects[name]
        unclear = good is not None and not good.body
        # A listing restores certainty, also about what the client did with the rest of this one.
        sub.answer = sub.answer or (sub.complete and not unclear)
        now = sub.ledger.get(name)
        if now is None and sub.point is sub.ledger.head:
            # It is gone meanwhile, and the client was told so or will be.
            if not any(change.name == name for push in sub.pending for change in push.news):
                _correct_leaving(sub, bad, good)
            continue
        sub.rejected[name] = Rejection(bad.version, good, error)
        if not (sub.complete or unclear) and good and now and now.version == bad.version:
            again.add(name)
    if again:
        sub.owed = sub.owed.union(again)
    if not named and len(blamed) > 1:
        half = len(blamed) // 2
        sub.retry += [blamed[:half], blamed[half:]]
    return blamed


def _unheard(sub: Subscription, rejected: list[Push], suspects: _Suspects) -> set[str]:
    """What a client on demand was told beside what it rejected, and did not hear: answers and removals."""
    # That there is no such thing, and the last good bytes of what it had rejected before.
    instead = {name for push in rejected for name in push.plan.stood_in}
    new = {name for name, (good, _) in suspects.items() if good is None or not good.body}
    waiting = set(filter(sub.interest.covers, instead | new))
    sub.fresh = sub.fresh.union(waiting)
    went = [change for push in rejected for change in push.news if change.new is None]
    gone = {change.name: change.old for change in went if sub.interest.covers(change.name)}
    # It has them still, and loses them before it is told, if it waits for them, that there are none.
    sub.rejected.update((name, Rejection(LIFTED, good, sub.error)) for name, good in gone.items())
    return waiting.union(gone)


def retry(sub: Subscription) -> bool:
    """Send suspects anew, some of those that were rejected together; False when there is nothing to try.

    They go without other news, so that a NACK says something about them and harms nobody else.
    """
    while sub.retry:
        names = [name for name in sub.retry.pop(0) if _still_suspect(sub, name)]
        for name in names:
            sub.rejected[name] = sub.rejected[name]._replace(version=LIFTED)
        if names:
            sub.owed = sub.owed.union(names)
            return True
    return False


def _still_suspect(sub: Subscription, name: str) -> bool:
    refusal, now = sub.rejected.get(name), sub.ledger.get(name)
    return refusal is not None and now is not None and now.version == refusal.version


def _correct_leaving(sub: Subscription, bad: Resource, good: Resource | None) -> None:
    """What is about to be taken from the client is not the version that it rejected."""
    leaving = sub.leaving.get(bad.name)
    if leaving is None or leaving.resource.version != bad.version:
        return
    if good is None:
        del sub.leaving[bad.name]
    elif good.body or not sub.complete:
        sub.leaving[bad.name] = leaving._replace(resource=good)


def _suspects(sub: Subscription, rejected: list[Push]) -> _Suspects:
    """What was new in these responses: name -> (what the client had, what it was sent)."""
    # A complete listing after a reconnect may meet resources of an earlier stream.
    resumed = sub.complete and sub.resumed
    suspects: _Suspects = {}
    for push in rejected:
        for change in push.news:
            if change.new is None:
                continue
            had = suspects[change.name][0] if change.name in suspects else change.old
            if change.name in sub.rejected:
                had = sub.rejected[change.name].good
            if had is None and resumed:
                had = unknown(sub.spec.url, change.name)
            suspects[change.name] = (had, change.new)
    return suspects


def offenders(error: str, candidates: set[str]) -> frozenset[str]:
    """Those of the candidates that the error names as the ones that failed, where it does that."""
    if _NAMES_OFFENDERS not in error:
        return frozenset()
    words = {word.rstrip(":.") for word in _SEPARATORS.split(error)}
    return frozenset(words & candidates)
