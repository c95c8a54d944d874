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
    where = "" if namespace == q(root_namespace) else namespace
    nobody = bool(selector) and q(_nobody, where, selector)
    if nobody:
        labels = ", ".join(f"{name}={value}" for name, value in selector)
        of = f"of namespace {where} " if where else ""
        yield Finding(
            "spec.selector.matchLabels",
            f"no workload {of}has the labels {labels}: the policy holds for nobody",
            "correct the labels, or the policy's namespace",
        )


@query
def _nobody(q: Q, where: str, selector: Labels) -> bool:
    if any(q.select(table, where, selector) for table in _WORKLOADS):
        return False
    # Where no workload is known at all, nothing can be said.
    return any(q.select(table, where, ()) for table in _WORKLOADS)
