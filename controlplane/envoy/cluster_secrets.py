"""The Secrets that clusters speak TLS with, by the names that DestinationRules give them (`credentialName`).

A gateway is given those of its own namespace that some rule names which counts there.  A sidecar is given
them if the rule has chosen it by its labels, as in Istio: who writes such a rule could read the Secret
anyway.
"""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.envoy.cluster_tls import authorities_of
from controlplane.envoy.resource import Resource
from controlplane.envoy.secrets import KUBERNETES, gateway_secrets
from controlplane.graph import Plan, Q, Source, each, group, keyed, query
from controlplane.mesh.rules import rule_head
from controlplane.mesh.settings import exported
from controlplane.model.keys import Key
from controlplane.model.kinds import destination_rules
from controlplane.model.kinds.destination_rule import DestinationRule, credentials


def names_for_gateways(q: Q, namespace: str) -> Source:
    """The names of the secrets that rules name which count for gateways of a namespace."""
    return q.part(_named_in_namespace, (namespace,), True)


@keyed
def selected_secrets(q: Q, rules: tuple[Key, ...], namespace: str) -> Plan:
    """Secret name -> Resource: of the Secrets of a namespace those that these rules name."""
    return each(q.part(_named_by, (rules,), True), _secret, namespace)


@query
def _secret(q: Q, namespace: str, name: str) -> Resource | None:
    secret: Resource | None = q.at(gateway_secrets, (namespace,), name)
    return secret


@keyed
def _named_by(q: Q, rules: tuple[Key, ...]) -> Plan:
    """True -> the names that these rules give."""
    return group(q.fixed(*rules), _names)


@query
def _names(q: Q, key: Key) -> tuple[tuple[bool, str], ...]:
    rule: DestinationRule | None = q.get(destination_rules, key)
    return () if rule is None else tuple((True, name) for name in sorted(set(_named(rule))))


@keyed
def _named_in_namespace(q: Q, namespace: str) -> Plan:
    """True -> the names given by rules that count for a namespace, of the few rules that give any."""
    return group(q.bucket(destination_rules, "credential", True), _names_for, namespace)


@query
def _names_for(q: Q, namespace: str, key: Key) -> tuple[tuple[bool, str], ...]:
    counts = exported(q(rule_head, key).export_to, namespace)
    return q(_names, key) if counts else ()


def _named(rule: DestinationRule) -> Iterator[str]:
    for _, tls in credentials(rule):
        assert tls.credential_name, "only settings that name a Secret are listed"
        yield authorities_of(tls.credential_name)
        if tls.mode == "MUTUAL":
            yield KUBERNETES + tls.credential_name
