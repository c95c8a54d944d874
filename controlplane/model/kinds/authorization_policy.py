"""AuthorizationPolicy: who may do what to a workload.

A rule holds for a request where one of its sources, one of its operations and all of its conditions do.
Lists that are left out hold for everything, so a rule that says nothing holds for every request and a
policy without rules for none.  Fields: https://istio.io/latest/docs/reference/config/security/authorization-policy/
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from controlplane.graph import Table
from controlplane.model.checks import check_subnets
from controlplane.model.describe import shorten
from controlplane.model.keys import Labels
from controlplane.model.kinds.authorization_when import (
    KEYS,
    check_account,
    check_method,
    check_part,
    check_path,
    check_port,
    check_wildcard,
    condition_check,
)
from controlplane.model.kinds.kind import Kind, by_namespace, namespace_of
from controlplane.model.kinds.policy_target import (
    PolicyTargetReference,
    read_policy_selector,
    read_targets,
)
from controlplane.model.meta import Meta
from controlplane.model.reader import Reader

DRY_RUN = "istio.io/dry-run"
ACTIONS = ("ALLOW", "DENY", "AUDIT", "CUSTOM")
MOST = 512
_MOST_ACCOUNTS = 16
Both: TypeAlias = tuple[tuple[str, ...], tuple[str, ...]]
"""The values of a field and of its negation."""
Check: TypeAlias = Callable[[Reader, str, str], None]


@dataclass(frozen=True, slots=True)
class Source:
    """Where a request comes from; all fields that are given must hold, each by one of its values."""

    principals: tuple[str, ...] = ()
    not_principals: tuple[str, ...] = ()
    request_principals: tuple[str, ...] = ()
    not_request_principals: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    not_namespaces: tuple[str, ...] = ()
    service_accounts: tuple[str, ...] = ()
    not_service_accounts: tuple[str, ...] = ()
    trust_domains: tuple[str, ...] = ()
    not_trust_domains: tuple[str, ...] = ()
    ip_blocks: tuple[str, ...] = ()
    not_ip_blocks: tuple[str, ...] = ()
    remote_ip_blocks: tuple[str, ...] = ()
    not_remote_ip_blocks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """What a request wants; `ports` are numbers as written."""

    hosts: tuple[str, ...] = ()
    not_hosts: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    not_ports: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    not_methods: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    not_paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Condition:
    """An attribute of a request by its `key`: one of `values` and none of `not_values`."""

    key: str
    values: tuple[str, ...] = ()
    not_values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """`sources` and `operations` empty: all of them."""

    sources: tuple[Source, ...] = ()
    operations: tuple[Operation, ...] = ()
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class AuthorizationPolicy:
    """`selector` () = all workloads; with `targets` it holds for no sidecar; `dry_run` = only counted."""

    meta: Meta
    selector: Labels = ()
    targets: tuple[PolicyTargetReference, ...] = ()
    action: str = "ALLOW"
    rules: tuple[Rule, ...] = ()
    provider: str = ""
    dry_run: bool = False


authorization_policies = Table(
    "authorization_policies",
    indexes={"namespace": by_namespace},
    selector=lambda value: None if value.targets else value.selector,
    namespace=namespace_of,
)


def _read(r: Reader, meta: Meta) -> AuthorizationPolicy:
    value = AuthorizationPolicy(
        meta=meta,
        selector=r.message("selector", read_policy_selector) or (),
        targets=read_targets(r),
        action=r.enum("action", ACTIONS, "ALLOW"),
        rules=r.messages("rules", _read_rule),
        provider=r.message("provider", lambda p: p.required("name", "name an extensionProvider")) or "",
        dry_run=_dry_run(r, meta),
    )
    _check_length(r, "rules")
    _check_action(r, value)
    return value


def _dry_run(r: Reader, meta: Meta) -> bool:
    said = dict(meta.annotations).get(DRY_RUN, "").lower()
    if said not in ("", "true", "false", "t", "f", "1", "0"):
        text = f"the annotation {DRY_RUN} says {shorten(said)}, which counts as false"
        r.warn("", text, "write true or false")
    return said in ("true", "t", "1")


def _check_action(r: Reader, value: AuthorizationPolicy) -> None:
    if value.action == "CUSTOM":
        r.demand("provider", "name the extensionProvider that is asked")
        if value.dry_run:
            r.warn("action", f"CUSTOM and {DRY_RUN}: the policy has no effect", "remove the annotation")
    elif r.has("provider"):
        r.error("provider", f"does not go with action {value.action}", "remove it, or say action: CUSTOM")
    if not value.rules and value.action != "ALLOW":
        text = f"is missing: {value.action} without rules matches nothing"
        r.warn("rules", text, "write rules: [{}] to match every request")


def _read_rule(r: Reader) -> Rule:
    rule = Rule(
        sources=r.messages("from", _read_from),
        operations=r.messages("to", _read_to),
        conditions=r.messages("when", _read_condition),
    )
    for name in ("from", "to", "when"):
        _check_length(r, name)
        _check_given(r, name)
    return rule


def _check_length(r: Reader, name: str) -> None:
    given = r.value(name)
    if isinstance(given, list) and len(given) > MOST:
        r.error(name, f"has more than {MOST} elements", "split the policy")


def _check_given(r: Reader, name: str) -> None:
    """An empty list reads as absent, which here means everything: hardly what its author thinks."""
    if r.value(name) == []:
        r.error(name, "is empty, which would match everything", "name something, or leave the field out")


def _read_from(r: Reader) -> Source:
    source = r.message("source", _read_source)
    r.demand("source", "write source: {principals: […]}, or leave from out to mean everybody")
    return source or Source()


def _read_to(r: Reader) -> Operation:
    operation = r.message("operation", _read_operation)
    r.demand("operation", "write operation: {methods: […]}, or leave to out to mean everything")
    return operation or Operation()


def _both(r: Reader, name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The values of a field and those of its negation ("ports", "notPorts")."""
    negated = _negated(name)
    for one in (name, negated):
        _check_given(r, one)
    return r.strings(name), r.strings(negated)


def _negated(name: str) -> str:
    return f"not{name[0].upper()}{name[1:]}"


def _read_source(r: Reader) -> Source:
    source = Source(
        *(principals := _both(r, "principals")),
        *_both(r, "requestPrincipals"),
        *(namespaces := _both(r, "namespaces")),
        *(accounts := _both(r, "serviceAccounts")),
        *(domains := _both(r, "trustDomains")),
        *(blocks := _both(r, "ipBlocks")),
        *(remote := _both(r, "remoteIpBlocks")),
    )
    if source == Source() and not r.report.failed:
        r.error("", "says nothing", "name principals, namespaces or the like, or leave from out")
    _each(r, "principals", principals, _check_principal)
    _each(r, "namespaces", namespaces, check_part)
    _each(r, "trustDomains", domains, check_part)
    _each(r, "serviceAccounts", accounts, check_account)
    for name, pair in (("ipBlocks", blocks), ("remoteIpBlocks", remote)):
        check_subnets(r, name, pair[0])
        check_subnets(r, _negated(name), pair[1])
    if max(map(len, accounts)) > _MOST_ACCOUNTS:
        r.error("serviceAccounts", f"has more than {_MOST_ACCOUNTS} elements", "split the source")
    if any(accounts) and (any(principals) or any(namespaces)):
        r.error("serviceAccounts", "does not go with principals or namespaces", "use two sources")
    return source


def _each(r: Reader, name: str, values: Both, check: Check) -> None:
    """Check each value of a field and of its negation."""
    for field, texts in zip((name, _negated(name)), values, strict=True):
        for index, text in enumerate(texts):
            check(r, f"{field}[{index}]", text)


def _check_principal(r: Reader, name: str, text: str) -> None:
    if text.startswith("spiffe://"):
        r.warn(name, f"{shorten(text)} matches nobody: principals have no spiffe://", "remove spiffe://")
    check_part(r, name, text)


def _read_operation(r: Reader) -> Operation:
    operation = Operation(
        *(hosts := _both(r, "hosts")),
        *(ports := _both(r, "ports")),
        *(methods := _both(r, "methods")),
        *(paths := _both(r, "paths")),
    )
    if operation == Operation() and not r.report.failed:
        r.error("", "says nothing", "name methods, paths or the like, or leave to out")
    _each(r, "hosts", hosts, check_wildcard)
    _each(r, "ports", ports, check_port)
    _each(r, "methods", methods, check_method)
    _each(r, "paths", paths, check_path)
    return operation


def _read_condition(r: Reader) -> Condition:
    condition = Condition(
        r.required("key", "name an attribute, like request.headers[x-team]"), *(said := _both(r, "values"))
    )
    if not any(said):
        r.error("values", "is missing", "say values or notValues")
    check = condition_check(condition.key)
    if check is not None:
        _each(r, "values", said, check)
    elif condition.key:
        r.error("key", f"{shorten(condition.key)} is no attribute of a request", f"use one of {KEYS}")
    return condition


AUTHORIZATION_POLICY = Kind(
    name="AuthorizationPolicy",
    group="security.istio.io",
    versions=("v1", "v1beta1"),
    plural="authorizationpolicies",
    namespaced=True,
    table=authorization_policies,
    read=_read,
    guarding=True,
)
