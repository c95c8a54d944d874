"""What a client said to a response: ACK or NACK, and what follows for the resources in it.

A rejected version is not sent to that client again until its content changes.  In its place stands
what the client accepted last: named in a complete response, sent again in an incremental one, so
that the client's next ACK confirms a state that we know.

Envoy answers in two ways (https://github.com/envoyproxy/envoy/blob/main/source/common/upstream/cds_api_helper.cc
and lds_api.cc).  A semantic error in clusters or listeners names the offenders, and the rest of the
response is in force.  Anything else drops the response whole, or leaves open how far it got, and the
text is no evidence: then all that was new in the response is suspect.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from controlplane.envoy.resource import Resource
from controlplane.xds.plan import Rejection
from controlplane.xds.protocol import MAX_PENDING, Push, Subscription

MAX_DETAIL = 2000
"""Characters of an error that are kept."""
MAX_BLAMED = 64
"""Suspects beyond this number are not held one by one: the response counts as refused whole."""
LIFTED = ""
"""The version of a rejection that only remembers what the client has."""

_NAMES_OFFENDERS = "Error adding/updating"
_SEPARATORS = re.compile(r"[\s,;'\"()]+")


@dataclass(frozen=True, slots=True)
class Verdict:
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
    index = next((index for index, push in enumerate(sub.pending) if push.nonce == nonce), None)
    if index is None:
        return None
    push, newest = sub.pending[index], index == len(sub.pending) - 1
    if error is None:
        _accept(sub, index)
        return Verdict(push, newest)
    error = error[:MAX_DETAIL]
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
    if not sub.rejected:
        return
    again = set()
    for push in accepted:
        for resource in push.plan.upserts:
            refusal = sub.rejected.get(resource.name)
            if refusal is None or resource.name in push.plan.stood_in:
                continue
            del sub.rejected[resource.name]
            now = sub.ledger.get(resource.name)
            if now is not None and now.version == refusal.version != resource.version:
                # It went back to what was refused while this was on its way: let the client judge anew.
                again.add(resource.name)
    if again:
        sub.owed = frozenset(sub.owed | again)


def _reject(sub: Subscription, index: int, error: str) -> tuple[str, ...]:
    """Hold back what is to blame; gives its names."""
    rejected = sub.pending[: index + 1]
    del sub.pending[: index + 1]
    sub.error = error
    suspects = _suspects(sub, rejected)
    named = offenders(error, suspects.keys() | sub.rejected.keys())
    blamed = sorted(named & suspects.keys() if named else suspects)
    if len(blamed) > MAX_BLAMED:
        sub.refused = True
        return tuple(blamed)
    again = set()
    group = () if named else tuple(blamed)
    for name in blamed:
        good, bad = suspects[name]
        keep = good is None and sub.complete and sub.resumed
        sub.rejected[name] = Rejection(bad.version, good, keep, error, group)
        now = sub.ledger.get(name)
        if now is None or now.version != bad.version or keep:
            continue
        if sub.complete:
            sub.answer = True
        elif good is not None:
            again.add(name)
    if again:
        sub.owed = frozenset(sub.owed | again)
    return tuple(blamed)


def _suspects(sub: Subscription, rejected: list[Push]) -> dict[str, tuple[Resource | None, Resource]]:
    """What was new in these responses: name -> (what the client had, what it was sent)."""
    suspects: dict[str, tuple[Resource | None, Resource]] = {}
    for push in rejected:
        for change in push.news:
            if change.new is None:
                continue
            had = suspects[change.name][0] if change.name in suspects else change.old
            if change.name in sub.rejected:
                had = sub.rejected[change.name].good
            suspects[change.name] = (had if had and had.body else None, change.new)
    return suspects


def lift(sub: Subscription) -> None:
    """Give the co-suspects of a resource that has changed another chance: they may be innocent."""
    for name in sorted(sub.rejected):
        refusal = sub.rejected[name]
        now = sub.ledger.get(name)
        if not refusal.group or (now is not None and now.version == refusal.version):
            continue
        fellows = [fellow for fellow in refusal.group if fellow in sub.rejected]
        for fellow in fellows:
            sub.rejected[fellow] = sub.rejected[fellow]._replace(version=LIFTED, group=())
        sub.owed = frozenset(sub.owed.union(fellow for fellow in fellows if sub.ledger.get(fellow)))


def offenders(error: str, candidates: set[str]) -> set[str]:
    """Those of the candidates that the error names as the ones that failed, where it does that."""
    if _NAMES_OFFENDERS not in error:
        return set()
    words = {word.rstrip(":.") for word in _SEPARATORS.split(error)}
    return words & candidates
