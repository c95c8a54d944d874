"""Checks of Secrets that DestinationRules name without a workloadSelector: gateways alone are given them.

A rule for an egress gateway is as it should be: nothing is said where a gateway's route leads to its host.
"""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.graph import Plan, Q, group, keyed, query
from controlplane.mesh.checks_finding import Finding
from controlplane.mesh.checks_gateways import gateway_homes
from controlplane.mesh.checks_secrets import namespaces_with
from controlplane.mesh.gateways_hosts import bound_anywhere
from controlplane.mesh.gateways_wanted import hosts_led_to
from controlplane.mesh.hosts import covers
from controlplane.mesh.rules import rule_head
from controlplane.mesh.settings import exported
from controlplane.model.describe import shorten
from controlplane.model.keys import Key
from controlplane.model.kinds.destination_rule import DestinationRule

_AUTHORITIES = "-cacert"


def at_gateways(q: Q, rule: DestinationRule, field: str, name: str) -> Iterator[Finding]:
    """A Secret that nobody is given, or that no gateway which may use the rule has."""
    head = q(rule_head, rule.meta.key)
    if not _led_to(q, head.host):
        yield Finding(
            field,
            f"counts at gateways alone, and no route of a gateway leads to {head.host}: "
            "sidecars speak TLS without this Secret",
            "choose the sidecars with workloadSelector, use files, or lead there through an egress gateway",
        )
        return
    homes: tuple[str, ...] = q.keys(q.map(gateway_homes))
    having = {one for secret in (name, name + _AUTHORITIES) for one in namespaces_with(q, secret)}
    if not any(exported(head.export_to, one) for one in (having.intersection(homes) if homes else having)):
        yield Finding(
            field,
            f"there is no Secret {shorten(name)} in a namespace of a gateway that sees this rule: calls fail",
            "create it where the gateway is, or correct the name",
        )


def _led_to(q: Q, host: str) -> bool:
    if not host.startswith("*"):
        return bool(q.keys(q.part(_destinations, (), host)))
    return any(covers(host, one) for one in q.keys(q.map(_destinations)))


@keyed
def _destinations(q: Q) -> Plan:
    """Full host -> the VirtualServices that lead there from a gateway."""
    return group(q.part(bound_anywhere, (), True), _led)


@query
def _led(q: Q, key: Key) -> tuple[tuple[str, Key], ...]:
    return tuple((host, key) for host in sorted(set(hosts_led_to(q, key))))
