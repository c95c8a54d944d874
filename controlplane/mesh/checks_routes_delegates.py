"""Checks of delegation: is somebody there to delegate to, what is left out, and does anybody delegate."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.graph import Q
from controlplane.mesh.checks_finding import Finding
from controlplane.mesh.checks_refused import or_refused
from controlplane.mesh.routing_delegates import Outside, delegated, delegating
from controlplane.model.keys import Key
from controlplane.model.kinds.virtual_service import VirtualService


def of_root(q: Q, route: VirtualService) -> Iterator[Finding]:
    """What is left out of the rules of a VirtualService that delegates."""
    if not any(rule.delegate is not None for rule in route.http):
        return
    found = q(delegated, route.meta.key)
    for one in found.missing:
        missing = Finding(
            f"spec.http[{one.rule}].delegate",
            f"{one.why}; this rule is left out",
            "name a VirtualService that has no hosts and is exported to here, or write its rules here",
        )
        yield or_refused(q, missing, "VirtualService", one.delegate)
    for rule in found.outside:
        yield Finding(
            f"spec.http[{rule.rule}].delegate",
            f"http[{rule.number}] of VirtualService {_name(rule.delegate)} is left out: "
            "it takes requests that this rule does not",
            "widen the matches here, or narrow those of the delegate",
        )


def of_delegate(q: Q, route: VirtualService) -> Iterator[Finding]:
    """Whether the rules of a VirtualService without hosts are in force anywhere."""
    key = route.meta.key
    roots: tuple[Key, ...] = q.keys(q.part(delegating, (), key))
    if not roots:
        yield Finding(
            "spec.hosts",
            "is missing, and no VirtualService delegates to this one: it has no effect",
            "name hosts, or delegate to it",
        )
    for root in roots:
        found = q(delegated, root)
        if any(one.delegate == key for one in found.missing):
            yield Finding(
                "spec.exportTo",
                f"VirtualService {_name(root)} delegates to this one and does not see it",
                f"export it to namespace {root.namespace}",
            )
        yield from (_outside(root, one) for one in found.outside if one.delegate == key)


def _outside(root: Key, one: Outside) -> Finding:
    return Finding(
        f"spec.http[{one.number}].match",
        f"takes requests that http[{one.rule}] of VirtualService {_name(root)} does not: "
        "this rule is left out there",
        "narrow it to what the delegating rule matches, in the same kind of match",
    )


def _name(key: Key) -> str:
    return f"{key.namespace}/{key.name}"
