"""Secrets: what a proxy proves with who it is, and by what it knows others.

Certificates are inputs of the graph.  `ca` writes one row for each proxy with an identity, and one row with
the roots that everybody trusts; a renewal or a rotation of roots is another value in a row, and reaches
proxies as a change of one secret and of nothing else.  The third kind of secret is the user's: a gateway
serves the certificates of the Kubernetes Secrets of its own namespace, under Istio's names for them.

A secret that holds a private key is given a version made of its certificate's serial number and expiry.
"""

from __future__ import annotations

from controlplane.envoy import pb
from controlplane.envoy.maps import Maps
from controlplane.envoy.resource import Resource, resource
from controlplane.envoy.types import SECRET
from controlplane.graph import Plan, Q, Table, flat, keyed, query
from controlplane.model.certificate import Certified, TrustBundle
from controlplane.model.identity import Holder
from controlplane.model.keys import Key
from controlplane.model.kinds import secrets
from controlplane.model.kinds.secret import Secret

DEFAULT = "default"
"""The name under which a proxy asks for its own certificate."""
ROOT_CA = "ROOTCA"
"""The name under which it asks for the roots that it is to trust; also the key of the only row of `roots`."""

KUBERNETES = "kubernetes://"
"""Before the name of a Kubernetes Secret of the gateway's namespace."""
CA = "-cacert"
"""After it, where the authorities in that Secret are meant."""

certificates = Table("certificates", indexes={"holder": lambda key, value: (key,)})
"""Holder -> Certified: one key for each proxy."""
roots = Table("roots")
"""ROOT_CA -> TrustBundle."""


def secret_maps(holder: Holder) -> Maps:
    """The maps of one proxy's own secrets; its certificate is in a map that no other proxy has."""
    return (workload_secrets, (holder,)), (root_secrets, ())


@keyed
def workload_secrets(q: Q, holder: Holder) -> Plan:
    """`default` -> Resource: the holder's key and certificate; empty until they are issued."""
    return flat(q.bucket(certificates, "holder", holder), _own)


@query
def _own(q: Q, holder: Holder) -> tuple[tuple[str, Resource], ...]:
    certified: Certified | None = q.get(certificates, holder)
    if certified is None:
        return ()
    version = f"{certified.serial}-{int(certified.not_after)}"
    return ((DEFAULT, key_pair(DEFAULT, certified.chain, certified.key, version)),)


@keyed
def root_secrets(q: Q) -> Plan:
    """`ROOTCA` -> Resource: the same for every proxy."""
    return flat(q.members(roots), _roots)


@query
def _roots(q: Q, name: str) -> tuple[tuple[str, Resource], ...]:
    bundle: TrustBundle | None = q.get(roots, name)
    if bundle is None:
        return ()
    return ((name, trusted(name, b"".join(bundle.roots))),)


@keyed
def gateway_secrets(q: Q, namespace: str) -> Plan:
    """`kubernetes://<name>` (a certificate and its key) and `kubernetes://<name>-cacert` (authorities) ->
    Resource, for the Secrets of one namespace: no gateway gets those of another one, and of these it gets
    what its Gateways name (`controlplane.envoy.gateway_tls`).
    """
    return flat(q.bucket(secrets, "namespace", namespace), _of_kubernetes)


@query
def _of_kubernetes(q: Q, key: Key) -> tuple[tuple[str, Resource], ...]:
    secret: Secret | None = q.get(secrets, key)
    if secret is None:
        return ()
    found = []
    name = KUBERNETES + key.name
    if secret.key:
        found.append((name, key_pair(name, secret.chain, secret.key, secret.version)))
    if secret.authorities:
        # A Secret of authorities only may have the ending in its own name, and comes before what
        # belongs to another one.
        by_itself = name.endswith(CA) and not secret.key
        rival: Secret | None = None if by_itself else q.get(secrets, Key(key.namespace, key.name + CA))
        if rival is None or not rival.authorities:
            name = name if by_itself else name + CA
            found.append((name, trusted(name, secret.authorities, secret.revoked)))
    return tuple(found)


def key_pair(name: str, chain: bytes, key: bytes, version: str) -> Resource:
    """A secret of a certificate chain and its private key, PEM both."""
    message = pb.secret.Secret(name=name)
    message.tls_certificate.certificate_chain.inline_bytes = chain
    message.tls_certificate.private_key.inline_bytes = key
    return Resource(SECRET, name, pb.deterministic(message), given=version)


def trusted(name: str, authorities: bytes, revoked: bytes = b"") -> Resource:
    """A secret of authorities whose certificates are accepted, but for those that are revoked; PEM both."""
    message = pb.secret.Secret(name=name)
    message.validation_context.trusted_ca.inline_bytes = authorities
    if revoked:
        message.validation_context.crl.inline_bytes = revoked
    return resource(SECRET, name, message)
