"""Credentials that are not good, each in its own way: what callers show who should not come in."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from jwt.algorithms import ECAlgorithm

from controlplane.ca import jws
from controlplane.ca.keys import key_pem
from controlplane.ca.leaf import Names, leaf
from controlplane.ca.signer import Signer, pem, self_signed
from controlplane.lab.client import Proof
from tests.support.trust import SPIFFE, Trusting, past, stranger

P256 = ec.SECP256R1()


def token(**wish: Any) -> Callable[[Trusting], Proof]:
    return lambda trust: trust.proof(trust.token(**wish)[0])


def signed_by(key: ec.EllipticCurvePrivateKey | None = None, **changed: Any) -> Callable[[Trusting], Proof]:
    """A token like a good one, with other claims, or signed by another key under our key's id."""

    def show(trust: Trusting) -> Proof:
        issuer = trust.store.issuer
        claims = {**jws.unverified(trust.token()[0]), **changed}
        return trust.proof(
            jwt.encode(claims, key or issuer.key, algorithm="ES256", headers={"kid": issuer.kid})
        )

    return show


def unsigned(trust: Trusting) -> Proof:
    claims = jws.unverified(trust.token()[0])
    return trust.proof(jwt.encode(claims, None, algorithm="none", headers={"kid": trust.store.issuer.kid}))


def tampered(trust: Trusting) -> Proof:
    """The claims of another's token with the signature of ours."""
    head, _, signature = trust.token()[0].split(".")
    claims = trust.token(name="admin")[0].split(".")[1]
    return trust.proof(f"{head}.{claims}.{signature}")


def revoked(trust: Trusting) -> Proof:
    text, account = trust.token()
    trust.store.revoke(account.id, account.issued)
    return trust.proof(text)


def expired_certificate(trust: Trusting) -> Proof:
    chain, key = past(trust.served.app.trust.authority.signer)
    return Proof(trust.roots, certificate=chain, key=key)


def foreign(trust: Trusting) -> Proof:
    return replace(stranger()[1], roots=trust.roots)


def bare(trust: Trusting) -> Proof:
    return Proof(trust.roots)


def named(*uris: str) -> Callable[[Trusting], Proof]:
    return lambda trust: trust.certified(*uris)


def symmetric(trust: Trusting) -> Proof:
    """Signed with our public key, as if that were a secret of two."""
    issuer = trust.store.issuer
    public = issuer.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    head, claims = (
        b64(json.dumps(part).encode())
        for part in ({"alg": "HS256", "kid": issuer.kid}, jws.unverified(trust.token()[0]))
    )
    return trust.proof(f"{head}.{claims}.{b64(hmac.digest(public, f'{head}.{claims}'.encode(), 'sha256'))}")


def own_key(trust: Trusting) -> Proof:
    """With the key that it is signed by in its header."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = json.loads(ECAlgorithm.to_jwk(key.public_key()))
    headers = {"kid": trust.store.issuer.kid, "jwk": public}
    claims = jws.unverified(trust.token()[0])
    return trust.proof(jwt.encode(claims, key, algorithm="ES256", headers=headers))


def respelled(trust: Trusting) -> Proof:
    """Other bits in the last character, which mean nothing."""
    text = trust.token()[0]
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = letters.index(text[-1])
    return trust.proof(text[:-1] + letters[last ^ 1])


def revoked_account(trust: Trusting) -> Proof:
    text, account = trust.token(name="fired")
    trust.store.revoke_account(account.path, account.issued)
    return trust.proof(text)


def revoked_accounts_certificate(trust: Trusting) -> Proof:
    trust.store.revoke_account("default/gone", 2e9)
    return trust.certified(SPIFFE.replace("/web", "/gone"))


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def own_root(trust: Trusting) -> Proof:
    """A leaf that is its own root."""
    signer = self_signed(1e9, 1e10)
    return Proof(trust.roots, certificate=pem(signer.root), key=key_pem(signer.key))


def signed(trust: Trusting, signer: Signer, start: float = 1.7e9, uri: str = SPIFFE) -> Proof:
    key = ec.generate_private_key(ec.SECP256R1())
    made = leaf(signer, key.public_key(), Names((uri,)), start, 4e9)
    return Proof(trust.roots, certificate=pem(made), key=key_pem(key))


def forged_issuer(trust: Trusting) -> Proof:
    """A leaf under a CA that has the name of ours, and another key."""
    ours = trust.served.app.trust.authority.signer
    return signed(trust, replace(ours, key=ec.generate_private_key(ec.SECP256R1())))


def of_an_old_root(trust: Trusting) -> Proof:
    """Of a CA that was ours before the root was changed, and is trusted no more."""
    authority = trust.served.app.trust.authority
    old = authority.signer
    made = signed(trust, old)
    new = self_signed(1.7e9, 4e9)
    for signer, trusted in ((old, (old.root, new.root)), (new, (old.root, new.root)), (new, (new.root,))):
        authority.replace(signer, trusted)
    return replace(made, roots=pem(new.root))


def early_certificate(trust: Trusting) -> Proof:
    return signed(trust, trust.served.app.trust.authority.signer, start=3e9)


def leaf_that_signs(trust: Trusting) -> Proof:
    """A good workload's certificate as if it were a CA's: it signs another identity's."""
    good = trust.certified()
    between = x509.load_pem_x509_certificate(good.certificate)
    key = ec.derive_private_key(load_pem_private_key(good.key, None).private_numbers().private_value, P256)
    lesser = replace(trust.served.app.trust.authority.signer, certificate=between, key=key)
    made = signed(trust, lesser, uri=SPIFFE.replace("/web", "/admin"))
    return replace(made, certificate=made.certificate + good.certificate)
