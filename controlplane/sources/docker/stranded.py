"""Containers whose network is gone although its owner runs.

A container that shares another's network joins the namespace that is there when it starts.  When the owner
is started anew (`docker restart`, a crash), it gets a new namespace, and whoever had joined keeps the old
one: it runs, its health check over the loopback succeeds, and nobody reaches it.  Docker does not tell; the
order of the starts does.

The owner may also have ended, as a sidecar does beside which a program runs without redirection.
"""

from __future__ import annotations

from collections.abc import Iterable

from controlplane.model.problem import Problem
from controlplane.sources.docker import mistakes
from controlplane.sources.docker.container import Container

_ENDED = ("exited", "dead")


def without_stranded(
    owner: Container, joined: Iterable[Container], namespace: str
) -> tuple[tuple[Container, ...], tuple[Problem, ...]]:
    """Those who share the network that the owner has now, and what is wrong with the others."""
    members = tuple(joined)
    if owner.state in _ENDED:
        return members, tuple(mistakes.left(one, namespace, owner, members) for one in members if one.running)
    lost = [one for one in members if _is_stranded(one, owner)]
    kept = tuple(one for one in members if one not in lost)
    return kept, tuple(mistakes.stranded(one, namespace, owner, members) for one in lost)


def _is_stranded(one: Container, owner: Container) -> bool:
    return owner.running and one.running and 0 < one.started < owner.started
