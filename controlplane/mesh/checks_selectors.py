"""Checks of selectors: a policy that holds for nobody protects nobody."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.graph import Q, query
from controlplane.mesh.checks_finding import Finding
from controlplane.mesh.settings import root_namespace
from controlplane.model.keys import Labels
from controlplane.model.kinds import pods, workload_entries

_WORKLOADS = (pods, workload_entries)


def unselected(q: Q, namespace: str, selector: Labels) -> Iterator[Finding]:
    """Nobody has the labels that a policy of this namespace asks for, though there are workloads.

    A policy of the root namespace chooses from the whole mesh.
    """
    nobody = nobody_has(q, reach(q, namespace), selector)
    if nobody:
        yield Finding(
            "spec.selector.matchLabels",
            f"{nobody}: the policy holds for nobody",
            "correct the labels, or the policy's namespace",
        )


def reach(q: Q, namespace: str) -> str:
    """Where an object of a namespace chooses workloads: there, or "" for the mesh in the root namespace."""
    return "" if namespace == q(root_namespace) else namespace


def nobody_has(q: Q, where: str, selector: Labels) -> str:
    """What to say of labels that no workload of a namespace ("": of the mesh) has; "" where some do."""
    if not selector or not q(_nobody, where, selector):
        return ""
    labels = ", ".join(f"{name}={value}" for name, value in selector)
    return f"no workload {f'of namespace {where} ' if where else ''}has the labels {labels}"


@query
def _nobody(q: Q, where: str, selector: Labels) -> bool:
    if any(q.select(table, where, selector) for table in _WORKLOADS):
        return False
    # Where no workload is known at all, nothing can be said.
    return any(q.select(table, where, ()) for table in _WORKLOADS)
