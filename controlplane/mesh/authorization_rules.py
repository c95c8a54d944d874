"""From a policy's rules to grants: which fields there are, and what each tests.

Where no HTTP is spoken there are no methods, paths or tokens.  An ALLOW rule that asks for them cannot
hold there and is left out; of a rule that denies, audits or has others ask, only what remains counts, so
that it holds for more and not for less.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import NamedTuple

from controlplane.mesh import authorization_match as match
from controlplane.mesh.authorization_ir import AllOf, Grant, Match, Test
from controlplane.mesh.authorization_match import all_of, any_of, none_of
from controlplane.model.keys import Key
from controlplane.model.kinds.authorization_policy import (
    AuthorizationPolicy,
    Condition,
    Operation,
    Rule,
    Source,
)
from controlplane.model.kinds.authorization_when import attribute_of, metadata_filter


class Reading(NamedTuple):
    """How a policy is read: in which namespace and mesh, and for which kind of port."""

    namespace: str
    trust_domains: tuple[str, ...]
    http: bool


class Field(NamedTuple):
    """What a field, or a condition, says; `http`: it means something only where HTTP is spoken."""

    http: bool
    values: tuple[str, ...]
    not_values: tuple[str, ...]
    test: Callable[[str], Match]

    def matches(self) -> Iterator[Match]:
        """One of the values, and none of the negated ones."""
        if self.values:
            yield any_of(map(self.test, self.values))
        if self.not_values:
            yield none_of(map(self.test, self.not_values))


def grants(policy: AuthorizationPolicy, reading: Reading) -> tuple[Grant, ...]:
    """The policy's rules; fewer where some cannot hold."""
    found = (_grant(policy, index, reading) for index in range(len(policy.rules)))
    return tuple(grant for grant in found if grant is not None)


def grant_name(key: Key, index: int) -> str:
    """What Envoy calls a rule in access logs and statistics."""
    return f"ns[{key.namespace}]-policy[{key.name}]-rule[{index}]"


def http_fields(rule: Rule) -> bool:
    """Whether the rule asks for anything that only HTTP has."""
    reading = Reading("", (), http=True)
    groups = (
        *(_source(one, reading) for one in rule.sources),
        *(_operation(one) for one in rule.operations),
        (_condition(one, reading)[1] for one in rule.conditions),
    )
    return any(field.http and (field.values or field.not_values) for group in groups for field in group)


def token_fields(rule: Rule) -> bool:
    """Whether the rule asks for anything that only a token says."""
    return any(source.request_principals or source.not_request_principals for source in rule.sources) or any(
        condition.key.startswith("request.auth.") for condition in rule.conditions
    )


def _grant(policy: AuthorizationPolicy, index: int, reading: Reading) -> Grant | None:
    rule = policy.rules[index]
    if not reading.http and policy.action == "ALLOW" and http_fields(rule):
        return None
    conditions = [_condition(one, reading) for one in rule.conditions]
    wanted = [field for of_destination, field in conditions if of_destination]
    known = [field for of_destination, field in conditions if not of_destination]
    operations = [_operation(one) for one in rule.operations] or [()]
    sources = [_source(one, reading) for one in rule.sources] or [()]
    return Grant(
        name=grant_name(policy.meta.key, index),
        permissions=_alternatives(operations, wanted, reading),
        principals=_alternatives(sources, known, reading),
    )


def _alternatives(
    groups: Iterable[Iterable[Field]], everywhere: list[Field], reading: Reading
) -> tuple[Match, ...]:
    """One match per group, each with what must hold everywhere."""
    return tuple(dict.fromkeys(_together((*group, *everywhere), reading) for group in groups))


def _together(fields: Iterable[Field], reading: Reading) -> Match:
    counting = (field for field in fields if reading.http or not field.http)
    found = [one for field in counting for one in field.matches()]
    return all_of(found) if found else AllOf()


def _source(source: Source, reading: Reading) -> tuple[Field, ...]:
    principal = partial(match.principal, trust_domains=reading.trust_domains)
    account = partial(match.service_account, own=reading.namespace)
    return (
        Field(False, source.principals, source.not_principals, principal),
        Field(True, source.request_principals, source.not_request_principals, match.request_principal),
        Field(False, source.namespaces, source.not_namespaces, match.namespace),
        Field(False, source.service_accounts, source.not_service_accounts, account),
        Field(False, source.trust_domains, source.not_trust_domains, match.trust_domain),
        Field(False, source.ip_blocks, source.not_ip_blocks, partial(Test, "source.ip", "block")),
        Field(
            False, source.remote_ip_blocks, source.not_remote_ip_blocks, partial(Test, "remote.ip", "block")
        ),
    )


def _operation(operation: Operation) -> tuple[Field, ...]:
    method = partial(match.text, "header", path=(":method",))
    return (
        Field(True, operation.hosts, operation.not_hosts, partial(match.text, "host")),
        Field(False, operation.ports, operation.not_ports, partial(Test, "destination.port", "number")),
        Field(True, operation.methods, operation.not_methods, method),
        Field(True, operation.paths, operation.not_paths, match.path),
    )


def _condition(condition: Condition, reading: Reading) -> tuple[bool, Field]:
    """Whether it is about where the request goes, and what it says."""
    attribute = attribute_of(condition.key)
    assert attribute is not None, "conditions with unknown keys are refused when they are read"
    name, index = attribute
    noted = metadata_filter(attribute)
    tests: dict[str, tuple[bool, Callable[[str], Match]]] = {
        "source.ip": (False, partial(Test, "source.ip", "block")),
        "remote.ip": (False, partial(Test, "remote.ip", "block")),
        "source.namespace": (False, match.namespace),
        "source.principal": (False, partial(match.principal, trust_domains=reading.trust_domains)),
        "source.serviceAccount": (False, partial(match.service_account, own=reading.namespace)),
        "source.trustDomain": (False, match.trust_domain),
        "request.headers": (True, partial(match.text, "header", path=index)),
        "request.auth.principal": (True, match.request_principal),
        "request.auth.audiences": (True, partial(match.text, "claim", path=("aud",))),
        "request.auth.presenter": (True, partial(match.text, "claim", path=("azp",))),
        "request.auth.claims": (True, partial(match.text, "claim", path=index)),
        "destination.ip": (False, partial(Test, "destination.ip", "block")),
        "destination.port": (False, partial(Test, "destination.port", "number")),
        "connection.sni": (False, partial(match.text, "sni")),
    }
    if noted is not None:
        tests[name] = (False, partial(match.metadata, path=(noted, *index)))
    http, test = tests[name]
    of_destination = noted is not None or name.startswith(("destination.", "connection."))
    return of_destination, Field(http, condition.values, condition.not_values, test)
