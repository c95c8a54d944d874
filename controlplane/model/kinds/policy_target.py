"""Whom a security policy is for: workloads by labels, or objects by reference.

PeerAuthentication, RequestAuthentication and AuthorizationPolicy say it in the same words.
"""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.model.checks import check_namespace, check_selector
from controlplane.model.describe import printable
from controlplane.model.keys import Labels
from controlplane.model.reader import Reader

MOST_TARGETS = 16


@dataclass(frozen=True, slots=True)
class PolicyTargetReference:
    """An object that a policy is attached to: a Gateway of the Gateway API, a Service of a waypoint."""

    kind: str
    name: str
    group: str = ""
    namespace: str | None = None


def read_policy_selector(r: Reader) -> Labels:
    """`selector: {matchLabels: …}`; without labels it selects every workload."""
    labels = r.labels("matchLabels")
    check_selector(r, "matchLabels", labels)
    for key, value in labels:
        if not value:
            r.error(f"matchLabels[{printable(key)}]", "is empty", "write the label's value")
    return labels


def read_targets(r: Reader) -> tuple[PolicyTargetReference, ...]:
    """`targetRefs`, or the older `targetRef`; neither goes with a selector."""
    single = r.message("targetRef", read_target)
    several = r.messages("targetRefs", read_target)
    given = [name for name in ("selector", "targetRef", "targetRefs") if r.has(name)]
    if len(given) > 1:
        r.error(given[1], f"excludes {given[0]}", "keep one of them")
    if single is not None or several:
        r.warn("targetRefs", "names no workload, so that the policy holds for none", "use a selector")
    if len(several) > MOST_TARGETS:
        r.error("targetRefs", f"has more than {MOST_TARGETS} elements", "split the policy")
    return several if single is None else (single, *several)


def read_target(r: Reader) -> PolicyTargetReference:
    """An element of `targetRefs`."""
    target = PolicyTargetReference(
        kind=r.required("kind", "write kind: Gateway or kind: Service"),
        name=r.required("name", "name the object"),
        group=r.text("group"),
        namespace=r.string("namespace"),
    )
    check_namespace(r, "namespace", target.namespace)
    return target
