"""PeerAuthentication: whether a workload takes mutual TLS, plaintext, or both.

https://istio.io/latest/docs/reference/config/security/peer_authentication/
"""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.graph import Table
from controlplane.model.by_port import messages_by_port
from controlplane.model.keys import Labels
from controlplane.model.kinds.kind import Kind, by_namespace, namespace_of
from controlplane.model.kinds.policy_target import read_policy_selector
from controlplane.model.meta import Meta
from controlplane.model.reader import Reader

MODES = ("UNSET", "DISABLE", "PERMISSIVE", "STRICT")


@dataclass(frozen=True, slots=True)
class PeerAuthentication:
    """`selector` () = all workloads of the namespace, or of the mesh in the root namespace.

    `mode` and the modes of `ports`, which are the workload's own, are words of MODES.
    """

    meta: Meta
    selector: Labels = ()
    mode: str = "UNSET"
    ports: tuple[tuple[int, str], ...] = ()


peer_authentications = Table(
    "peer_authentications",
    indexes={"namespace": by_namespace},
    # One without a selector selects everybody, so that one question finds all that may be in force.
    selector=lambda value: value.selector,
    namespace=namespace_of,
)


def _read(r: Reader, meta: Meta) -> PeerAuthentication:
    value = PeerAuthentication(
        meta=meta,
        selector=r.message("selector", read_policy_selector) or (),
        mode=r.message("mtls", _read_mode) or "UNSET",
        ports=messages_by_port(r, "portLevelMtls", _read_mode),
    )
    if value.ports and not value.selector:
        r.error(
            "portLevelMtls",
            "needs a selector: ports are those of chosen workloads",
            "add selector: {matchLabels: …}, or say mtls for the whole namespace",
        )
    return value


def _read_mode(r: Reader) -> str:
    return r.enum("mode", MODES, "UNSET")


PEER_AUTHENTICATION = Kind(
    name="PeerAuthentication",
    group="security.istio.io",
    versions=("v1", "v1beta1"),
    plural="peerauthentications",
    namespaced=True,
    table=peer_authentications,
    read=_read,
    guarding=True,
)
