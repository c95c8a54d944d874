"""A stream belongs to an identity: what the node says of itself must be what its caller may say.

Istio's rule: the namespace of the identity is the proxy's, and so is its service account, if the node
names one.  Two more follow from keys being held per proxy: the name in the node's id lies in that
namespace, and a token that is bound to a pod speaks for that pod only.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from controlplane.base.errors import Denied, Unauthenticated
from controlplane.model.caller import (
    Authenticator,
    Caller,
    Credential,
    Door,
    Presented,
    is_local_peer,
    presented,
)
from controlplane.model.describe import shorten
from controlplane.model.hosts import DOMAIN
from controlplane.model.identity import Identity, identity_of, parse_spiffe
from controlplane.model.proxy import Proxy
from controlplane.xds.codec import NodeClaim

__all__ = [
    "NOBODY",
    "Anonymous",
    "Authenticator",
    "Caller",
    "Credential",
    "Denial",
    "Door",
    "Presented",
    "Whose",
    "bound",
    "is_local_peer",
    "presented",
    "still",
    "whose",
]


class Whose(NamedTuple):
    """Whose credential it was, and which token by its id, as far as that is known."""

    identity: Identity | None = None
    token: str = ""


NOBODY = Whose()


class Denial(NamedTuple):
    """A stream that was not let in, or not let stay; never the credential itself."""

    cause: str
    """One word of a few, or the name of the gRPC status in small letters."""
    reason: str
    door: Door
    peer: str
    identity: Identity | None = None
    token: str = ""
    """Its id, as `mini-istiod token list` shows it."""


class Anonymous:
    """Knows nobody: everybody is let in, as nobody.  `believing`: a local caller is who its node says."""

    def __init__(self, *, believing: bool = False) -> None:
        self._credential: Credential = "loopback" if believing else ""

    async def identify(self, presented: Presented) -> Caller:
        private = presented.private
        return Caller(None, None, private, self._credential if private else "")

    def objection(self, caller: Caller) -> str:
        del caller
        return ""

    def trust_domain(self) -> str:
        return DOMAIN


def whose(error: Exception, trust_domain: str) -> Whose | None:
    """Whose it was that was not good, where its signature was; None where that is not known."""
    if not isinstance(error, Unauthenticated):
        return None
    identity = identity_of(error.account, trust_domain)
    return None if identity is None else Whose(identity, error.token)


def bound(proxy: Proxy, caller: Caller, trust_domain: str) -> Proxy:
    """The proxy with its caller's identity; raises `Denied` when it claims to be another's."""
    if caller.credential == "loopback":
        return replace(proxy, identity=_claimed(proxy, trust_domain))
    identity = caller.identity
    if identity is None:
        return proxy
    account = proxy.metadata.service_account
    if proxy.namespace != identity.namespace:
        raise Denied("namespace", f"the node claims namespace {shorten(proxy.namespace)}")
    if account and account != identity.service_account:
        raise Denied("service_account", f"the node claims service account {shorten(account)}")
    if not proxy.id.endswith(f".{identity.namespace}"):
        raise Denied("namespace", f"the node's name {shorten(proxy.id)} is of another namespace")
    if caller.pod and proxy.name != caller.pod:
        raise Denied("pod", f"the credential is another pod's, and the node is {shorten(proxy.name)}")
    return replace(proxy, identity=identity)


def still(proxy: Proxy, claim: NodeClaim) -> None:
    """A stream is one proxy's: raises `Denied` when a later request carries the node of another."""
    if claim.id and claim.id.split("~")[2:3] != [proxy.id]:
        raise Denied(
            "node", f"the stream was {shorten(proxy.id)}'s, and claims to be {shorten(claim.id)} now"
        )


def _claimed(proxy: Proxy, trust_domain: str) -> Identity:
    identity = Identity(trust_domain, proxy.namespace, proxy.metadata.service_account or "default")
    if parse_spiffe(identity.spiffe) is None:
        raise Denied("node", f"{shorten(identity.spiffe)} is no identity")
    return identity
