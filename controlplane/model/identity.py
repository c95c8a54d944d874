"""Who somebody is: a service account of a namespace in a trust domain, written as a SPIFFE ID.

Istio's form of it is `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`
(https://istio.io/latest/docs/concepts/security/#istio-identity).
"""

from __future__ import annotations

import re
from typing import NamedTuple

_SPIFFE = re.compile(r"spiffe://([a-z0-9._-]{1,255})/ns/([a-z0-9-]{1,63})/sa/([a-z0-9.-]{1,253})")


class Identity(NamedTuple):
    """A service account; all three are as Kubernetes and SPIFFE write them."""

    trust_domain: str
    namespace: str
    service_account: str

    @property
    def spiffe(self) -> str:
        """The URI that a certificate carries."""
        return f"spiffe://{self.trust_domain}/ns/{self.namespace}/sa/{self.service_account}"


class Holder(NamedTuple):
    """Whose key a certificate is for: one proxy (`name.namespace`) under one identity.

    Replicas share an identity and never a key.
    """

    identity: Identity
    proxy: str


def identity_of(path: str, trust_domain: str) -> Identity | None:
    """The service account that "namespace/name" is; None for ""."""
    namespace, slash, name = path.partition("/")
    return Identity(trust_domain, namespace, name) if slash else None


def parse_spiffe(text: str) -> Identity | None:
    """The identity that a SPIFFE ID names; None where it is none of this form."""
    found = _SPIFFE.fullmatch(text)
    return None if found is None else Identity(*found.groups())
