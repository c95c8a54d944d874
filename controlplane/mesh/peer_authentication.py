"""PeerAuthentication: which objects hold for a workload, and what they say together.

A workload's own policy speaks before its namespace's, that before the mesh's (the root namespace's); of
several in one place the oldest counts alone.  What one leaves unset comes from the next, and where nobody
says anything both mutual TLS and plaintext are taken.

The root namespace's word for chosen workloads is heard by nobody, as in Istio.
"""

from __future__ import annotations

from typing import NamedTuple

from controlplane.graph import Q, contains, query
from controlplane.mesh.settings import root_namespace
from controlplane.model.keys import Key, Labels
from controlplane.model.kinds import peer_authentications
from controlplane.model.kinds.peer_authentication import PeerAuthentication

DEFAULT_MODE = "PERMISSIVE"


class PeerModes(NamedTuple):
    """What a workload takes: DISABLE (plaintext), PERMISSIVE (both) or STRICT (mutual TLS).

    `ports` are those of the workload's own ports, sorted, where that differs from `default`.
    """

    default: str = DEFAULT_MODE
    ports: tuple[tuple[int, str], ...] = ()

    def at(self, port: int) -> str:
        """The mode of one port of the workload."""
        return dict(self.ports).get(port, self.default)


class TakesMutual(NamedTuple):
    """Whether workloads of a namespace take mutual TLS: by default, and as the oldest policy for them says.

    `chosen` are (selector, default, ports where that differs) of the policies with a selector, by age.
    """

    default: bool
    chosen: tuple[tuple[Labels, bool, tuple[int, ...]], ...] = ()

    def at(self, labels: Labels, port: int) -> bool:
        """Whether a workload with these labels takes it on one of its ports."""
        for selector, default, others in self.chosen:
            if contains(labels, selector):
                return default != (port in others)
        return self.default


def peer_policies(q: Q, namespace: str, labels: Labels) -> tuple[Key, ...]:
    """The PeerAuthentications in force: at most one of the workload, the namespace and the mesh each."""
    general = q(namespace_policies, namespace)
    if namespace == q(root_namespace):
        return general
    selecting = q.selecting(peer_authentications, namespace, labels)
    return (*_oldest(q, [key for key in selecting if _chosen(q, key)]), *general)


@query
def namespace_policies(q: Q, namespace: str) -> tuple[Key, ...]:
    """The policies in force for a workload that none of its own holds for."""
    found: tuple[Key, ...] = ()
    for place in dict.fromkeys((namespace, q(root_namespace))):
        # Who has no labels is selected by those without a selector only.
        found += _oldest(q, q.selecting(peer_authentications, place, ()))
    return found


def _chosen(q: Q, key: Key) -> bool:
    policy: PeerAuthentication = q.get(peer_authentications, key)
    return bool(policy.selector)


def _oldest(q: Q, keys: list[Key] | tuple[Key, ...]) -> tuple[Key, ...]:
    """The oldest as the only one, or none."""
    return tuple(sorted(keys, key=lambda key: (q.get(peer_authentications, key).meta.created, key))[:1])


@query
def peer_modes(q: Q, policies: tuple[Key, ...]) -> PeerModes:
    """What these policies, those that count first at the front, say together."""
    default = DEFAULT_MODE
    ports: tuple[tuple[int, str], ...] = ()
    for key in reversed(policies):
        policy: PeerAuthentication | None = q.get(peer_authentications, key)
        if policy is None:
            # Gone; who asks for it still will soon ask for others.
            continue
        default = default if policy.mode == "UNSET" else policy.mode
        # Only a workload's own policy names ports.
        ports = policy.ports
    said = ((port, mode) for port, mode in ports if mode not in ("UNSET", default))
    return PeerModes(default, tuple(said))


@query
def namespace_takes_mutual(q: Q, namespace: str) -> bool:
    """Whether workloads of a namespace take mutual TLS that no policy of their own holds for."""
    return q(peer_modes, q(namespace_policies, namespace)).default != "DISABLE"


@query
def takes_mutual(q: Q, namespace: str) -> TakesMutual:
    """What clients need to know of a namespace: it is the same for PERMISSIVE and STRICT."""
    default = q(namespace_takes_mutual, namespace)
    if namespace == q(root_namespace):
        return TakesMutual(default)
    found: list[tuple[str, Key, Labels]] = []
    for key in q.index(peer_authentications, "namespace", namespace):
        policy: PeerAuthentication = q.get(peer_authentications, key)
        if policy.selector:
            found.append((policy.meta.created, key, policy.selector))
    general = q(namespace_policies, namespace)
    return TakesMutual(default, tuple(_taken(q, (key, *general), labels) for _, key, labels in sorted(found)))


def _taken(q: Q, policies: tuple[Key, ...], selector: Labels) -> tuple[Labels, bool, tuple[int, ...]]:
    modes = q(peer_modes, policies)
    default = modes.default != "DISABLE"
    return selector, default, tuple(port for port, mode in modes.ports if (mode != "DISABLE") != default)


def workload_mode(q: Q, namespace: str, labels: Labels, port: int) -> str:
    """What a workload takes on one of its ports: DISABLE, PERMISSIVE or STRICT."""
    return q(peer_modes, peer_policies(q, namespace, labels)).at(port)
