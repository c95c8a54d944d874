"""Delegates: HTTP rules that a VirtualService leaves to another, which has no hosts of its own.

A rule that delegates is replaced by the rules of its delegate, each narrowed by the rule's own matches.
What a delegate's rule does not say itself (rewrite, timeout, retries, …) the delegating rule says for it.
Every match of a delegate has to lie within one of the matches of the rule; a rule of the delegate with one
that does not is left out, and nothing else is.  One level deep, as in Istio
(https://istio.io/latest/docs/reference/config/networking/virtual-service/#Delegate).

Names in a delegate are those of its namespace: hosts and gateways leave here as full names, so that whoever
reads the rules may take them for the delegating VirtualService's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from typing import NamedTuple

from controlplane.graph import Plan, Q, group, keyed, query
from controlplane.mesh.settings import exported, resolved_export_to, virtual_service_export_to
from controlplane.model.hosts import fqdn
from controlplane.model.keys import Key
from controlplane.model.kinds import virtual_services
from controlplane.model.kinds.gateway import MESH, gateway_key
from controlplane.model.kinds.http_match import HTTPMatchRequest, StringMatch
from controlplane.model.kinds.http_route import Delegate, Destination, HTTPRoute
from controlplane.model.kinds.virtual_service import VirtualService

_TESTS = ("uri", "scheme", "method", "authority")
_NAMED_TESTS = ("headers", "without_headers", "query_params")
_INHERITED = (
    "rewrite",
    "direct_response",
    "timeout",
    "retries",
    "fault",
    "mirrors",
    "cors_policy",
    "headers",
)
"""What a delegating rule says for the rules of its delegate that say nothing."""


class Missing(NamedTuple):
    """A rule that has nobody to delegate to: its index, the delegate's key, and why."""

    rule: int
    delegate: Key
    why: str


class Outside(NamedTuple):
    """A rule of a delegate that is left out: one of its matches is in none of those of the rule."""

    rule: int
    delegate: Key
    number: int


class Delegated(NamedTuple):
    """The HTTP rules of a VirtualService that delegates, and what is left out of them."""

    rules: tuple[HTTPRoute, ...]
    missing: tuple[Missing, ...] = ()
    outside: tuple[Outside, ...] = ()


def http_rules(q: Q, found: VirtualService) -> tuple[HTTPRoute, ...]:
    """The HTTP rules of a VirtualService, those of its delegates in their places."""
    if not any(rule.delegate is not None for rule in found.http):
        return found.http
    return q(delegated, found.meta.key).rules


def delegate_key(one: Delegate, namespace: str) -> Key:
    """The VirtualService that a rule of an object in `namespace` delegates to."""
    return Key(one.namespace or namespace, one.name)


@query
def delegated(q: Q, key: Key) -> Delegated:
    """The rules of a VirtualService with those of its delegates; nothing where it does not exist."""
    found: VirtualService | None = q.get(virtual_services, key)
    rules: list[HTTPRoute] = []
    missing: list[Missing] = []
    outside: list[Outside] = []
    for index, rule in enumerate(() if found is None else found.http):
        if rule.delegate is None:
            rules.append(rule)
            continue
        lent = delegate_key(rule.delegate, key.namespace)
        other: VirtualService | None = q.get(virtual_services, lent)
        why = _absence(q, lent, other, key.namespace)
        if other is None or why:
            missing.append(Missing(index, lent, why))
            continue
        outer = _absolute(rule, key.namespace)
        for number, one in enumerate(other.http):
            merged = _merged(outer, _absolute(one, lent.namespace))
            if merged is None:
                outside.append(Outside(index, lent, number))
            else:
                rules.append(merged)
    return Delegated(tuple(rules), tuple(missing), tuple(outside))


def _absence(q: Q, key: Key, found: VirtualService | None, namespace: str) -> str:
    """Why an object of `namespace` cannot delegate to a VirtualService; "" where it can."""
    name = f"VirtualService {key.namespace}/{key.name}"
    if found is None:
        return f"there is no {name}"
    if found.hosts:
        return f"{name} names hosts, and is no delegate"
    export_to = resolved_export_to(found.export_to, q(virtual_service_export_to), key.namespace)
    return "" if exported(export_to, namespace) else f"{name} is not exported to namespace {namespace}"


def _absolute(rule: HTTPRoute, namespace: str) -> HTTPRoute:
    """The rule with full names, for readers in other namespaces."""

    def full(destination: Destination) -> Destination:
        return replace(destination, host=fqdn(destination.host, namespace))

    return replace(
        rule,
        match=tuple(
            replace(match, gateways=tuple(_gateway(text, namespace) for text in match.gateways))
            for match in rule.match
        ),
        route=tuple(replace(share, destination=full(share.destination)) for share in rule.route),
        mirrors=tuple(replace(mirror, destination=full(mirror.destination)) for mirror in rule.mirrors),
    )


def _gateway(text: str, namespace: str) -> str:
    key = gateway_key(text, namespace)
    return MESH if key is None else f"{key.namespace}/{key.name}"


def _merged(rule: HTTPRoute, lent: HTTPRoute) -> HTTPRoute | None:
    """A delegate's rule in place of the delegating one; None where it goes beyond its matches."""
    matches = _matches(rule.match, lent.match)
    if matches is None:
        return None
    own = {name: getattr(lent, name) or getattr(rule, name) for name in _INHERITED}
    # No timeout at all, which is 0, is something said.
    own["timeout"] = rule.timeout if lent.timeout is None else lent.timeout
    return replace(lent, name=_name(rule.name, lent.name), match=matches, **own)


def _name(outer: str, inner: str) -> str:
    return "-".join(part for part in (outer, inner) if part)


def _matches(
    outer: tuple[HTTPMatchRequest, ...], inner: tuple[HTTPMatchRequest, ...]
) -> tuple[HTTPMatchRequest, ...] | None:
    """Both matches together; None where one of the inner ones is in none of the outer ones."""
    if not outer or not inner:
        return outer or inner
    pairs = [[(wide, narrow) for wide in outer if _within(wide, narrow)] for narrow in inner]
    if not all(pairs):
        return None
    return tuple(_both(wide, narrow) for wide, narrow in chain.from_iterable(pairs))


def _within(wide: HTTPMatchRequest, narrow: HTTPMatchRequest) -> bool:
    """Whether the two can be put together so that no request is taken which `wide` would not have."""
    if wide.ignore_uri_case != narrow.ignore_uri_case:
        return False
    if not all(_test_within(outer, inner) for outer, inner in _compared(wide, narrow)):
        return False
    if wide.port and narrow.port and wide.port != narrow.port:
        return False
    if wide.source_namespace and wide.source_namespace != narrow.source_namespace:
        return False
    labels = dict(wide.source_labels)
    if any(labels.get(name, value) != value for name, value in narrow.source_labels):
        return False
    return not wide.gateways or {*narrow.gateways} <= {*wide.gateways}


def _compared(
    wide: HTTPMatchRequest, narrow: HTTPMatchRequest
) -> Iterator[tuple[StringMatch | None, StringMatch | None]]:
    """The tests of the two that look at the same thing."""
    for name in _TESTS:
        yield getattr(wide, name), getattr(narrow, name)
    for name in _NAMED_TESTS:
        outer = dict(getattr(wide, name))
        yield from ((outer.get(header), test) for header, test in getattr(narrow, name))


def _test_within(wide: StringMatch | None, narrow: StringMatch | None) -> bool:
    """Whether all texts that the one takes are taken by the other; what no test asks, it takes.

    Nobody can tell of two expressions, so that one never lies within the other, as in Istio.
    """
    if wide is None or narrow is None or wide.kind == "present":
        return True
    if wide.kind == "prefix":
        return narrow.kind in ("exact", "prefix") and narrow.value.startswith(wide.value)
    return wide.kind == "exact" and wide == narrow


def _both(wide: HTTPMatchRequest, narrow: HTTPMatchRequest) -> HTTPMatchRequest:
    """A match that asks for what both ask; of two tests of the same thing the narrow one."""
    said = {name: getattr(narrow, name) or getattr(wide, name) for name in _TESTS}
    for name in (*_NAMED_TESTS, "source_labels"):
        said[name] = tuple(sorted({**dict(getattr(wide, name)), **dict(getattr(narrow, name))}.items()))
    return replace(
        narrow,
        name=_name(wide.name, narrow.name),
        port=narrow.port or wide.port,
        gateways=narrow.gateways or wide.gateways,
        source_namespace=narrow.source_namespace or wide.source_namespace,
        stat_prefix=narrow.stat_prefix or wide.stat_prefix,
        **said,
    )


@keyed
def delegating(q: Q) -> Plan:
    """A delegate's key -> the VirtualServices that delegate to it."""
    return group(q.members(virtual_services), _delegates_of)


@query
def _delegates_of(q: Q, key: Key) -> tuple[tuple[Key, Key], ...]:
    found: VirtualService | None = q.get(virtual_services, key)
    rules = () if found is None else found.http
    named = {delegate_key(rule.delegate, key.namespace) for rule in rules if rule.delegate is not None}
    return tuple((delegate, key) for delegate in sorted(named))
