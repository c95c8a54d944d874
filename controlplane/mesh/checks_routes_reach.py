"""Checks of the order of rules: which of them does no request ever reach.

The first rule that fits is applied.  What stands behind a rule that takes everything, or behind an equal
match, has no effect, within a VirtualService, and on a gateway also behind that of an older one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from controlplane.graph import Q
from controlplane.mesh.checks_finding import Finding
from controlplane.mesh.gateways_hosts import Attached, attached, rank_of
from controlplane.mesh.routing_delegates import http_rules
from controlplane.mesh.routing_match import translate_match
from controlplane.mesh.settings import exported
from controlplane.model.hosts import fqdn
from controlplane.model.keys import Key
from controlplane.model.kinds import virtual_services
from controlplane.model.kinds.http_match import HTTPMatchRequest
from controlplane.model.kinds.http_route import HTTPRoute
from controlplane.model.kinds.virtual_service import L4MatchAttributes, TLSMatchAttributes, VirtualService

_COMPARED = 20
_LAST = "only the last rule can take everything: move that one to the end, or remove this"


def unreached(route: VirtualService) -> Iterator[Finding]:
    """The rules and matches of a VirtualService that stand behind one that leaves them nothing."""
    yield from _unreached("http", [(rule.match, _takes_all(rule)) for rule in route.http])
    yield from _unreached("tls", [(rule.match, False) for rule in route.tls])
    yield from _unreached("tcp", [(rule.match, not rule.match) for rule in route.tcp])


def _unreached(
    layer: str,
    rules: list[tuple[tuple[HTTPMatchRequest | TLSMatchAttributes | L4MatchAttributes, ...], bool]],
) -> Iterator[Finding]:
    before: dict[HTTPMatchRequest | TLSMatchAttributes | L4MatchAttributes, str] = {}
    for number, (matches, takes_all) in enumerate(rules):
        for index, match in enumerate(matches):
            at = f"{layer}[{number}].match[{index}]"
            # What a match is called changes nothing.
            bare = replace(match, name="", stat_prefix=None) if isinstance(match, HTTPMatchRequest) else match
            if bare in before:
                why = f"is not reached: {before[bare]} is the same"
                yield Finding(f"spec.{at}", why, "remove one of them")
            before.setdefault(bare, at)
        if takes_all and number + 1 < len(rules):
            why = f"is not reached, nor what follows: {layer}[{number}] takes everything"
            yield Finding(f"spec.{layer}[{number + 1}]", why, _LAST)
            return


def _takes_all(rule: HTTPRoute) -> bool:
    """Whether the rule leaves nothing to those behind it; one that delegates may."""
    if rule.delegate is not None:
        return False
    return not rule.match or any(_asks_nothing(match) for match in rule.match)


def _asks_nothing(match: HTTPMatchRequest) -> bool:
    if match.port or match.source_labels or match.gateways or match.source_namespace:
        return False
    return translate_match(match, claims=True).catches_all


def shared_names(q: Q, route: VirtualService) -> Iterator[Finding]:
    """The hosts for which this and another VirtualService of one gateway both want all other requests."""
    key = route.meta.key
    mine = q(attached, key)
    if mine is None or not mine.gateways or not any(map(_takes_all, http_rules(q, route))):
        return
    rank = rank_of(key.namespace, key, mine)
    for index, text in enumerate(route.hosts):
        host = fqdn(text, key.namespace)
        for other in rivals(q, key, host):
            theirs = q(attached, other)
            if theirs is None or not _meet(q, mine, theirs, other):
                continue
            first, second = (key, other) if rank < rank_of(other.namespace, other, theirs) else (other, key)
            yield Finding(
                f"spec.hosts[{index}]",
                f"this and VirtualService {other.namespace}/{other.name} both take all requests for {host} "
                f"that no other rule takes: {first.namespace}/{first.name} gets them, "
                f"as it comes before {second.namespace}/{second.name}",
                "leave a rule without match to one of the two",
            )


def rivals(q: Q, key: Key, host: str) -> Iterator[Key]:
    """Other VirtualServices of a host; where they are very many, only the first are compared."""
    others = (other for other in q.index(virtual_services, "host", host) if other != key)
    return islice(others, _COMPARED)


def _meet(q: Q, mine: Attached, theirs: Attached, other: Key) -> bool:
    """Whether two VirtualServices share a gateway, on which the other takes all requests as well."""
    shared = {*mine.gateways} & {*theirs.gateways}
    ends = (mine.export_to, theirs.export_to)
    if not any(all(exported(to, gateway.namespace) for to in ends) for gateway in shared):
        return False
    found: VirtualService | None = q.get(virtual_services, other)
    return found is not None and any(map(_takes_all, http_rules(q, found)))
