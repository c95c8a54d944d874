"""Attacks at the doors, over real gRPC and TLS: all refused, counted, and logged without the credential."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from controlplane.ca import jws
from controlplane.lab.client import Proof
from controlplane.model.caller import Door
from tests.support.trust import ID, SPIFFE, Trusting, let_in, past, run, stranger, told

DENIED, UNKNOWN = grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED
UNREACHED = grpc.StatusCode.UNAVAILABLE


class Attack(NamedTuple):
    """What is shown at which door, and how that must end; `cause` is what is counted, "" below gRPC."""

    name: str
    show: Callable[[Trusting], Proof | None]
    code: grpc.StatusCode
    cause: str
    door: Door = Door.TOKEN
    id: str = ID
    metadata: dict[str, str] = {}
    headers: tuple[tuple[str, str], ...] = ()
    secrets: bool = False
    """Of the service that is for secrets alone."""


def token(**wish: Any) -> Callable[[Trusting], Proof]:
    return lambda trust: trust.proof(trust.token(**wish)[0])


def header(value: str) -> dict[str, Any]:
    return {"show": lambda trust: Proof(trust.roots), "headers": (("authorization", value),)}


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


OTHERS = "sidecar~10.0.0.1~web-1.other~other.svc.cluster.local"
ATTACKS = [
    Attack("no credential", bare, UNKNOWN, "missing"),
    Attack("another scheme", code=UNKNOWN, cause="malformed", **header("Basic d2ViOndlYg==")),
    Attack("no token in the header", code=UNKNOWN, cause="malformed", **header("Bearer ")),
    Attack("garbage", code=UNKNOWN, cause="malformed", **header("Bearer ../../etc/passwd")),
    Attack("a long token", code=UNKNOWN, cause="malformed", **header("Bearer " + "A" * 8500)),
    Attack("another issuer's token", signed_by(iss="https://kubernetes.default.svc"), UNKNOWN, "issuer"),
    Attack("signed by another key", signed_by(ec.generate_private_key(ec.SECP256R1())), UNKNOWN, "forged"),
    Attack("not signed", unsigned, UNKNOWN, "malformed"),
    Attack("another's claims", tampered, UNKNOWN, "forged"),
    Attack("expired", token(at=-7200.0), UNKNOWN, "expired"),
    Attack("not valid yet", token(at=7200.0), UNKNOWN, "early"),
    Attack("for another audience", token(audience="kubernetes"), UNKNOWN, "audience"),
    Attack("for no audience", signed_by(aud=[]), UNKNOWN, "audience"),
    Attack("without an end", signed_by(exp=None), UNKNOWN, "claims"),
    Attack("no service account's", signed_by(sub="system:node:n1"), UNKNOWN, "claims"),
    Attack("replayed after its revocation", revoked, UNKNOWN, "revoked"),
    Attack("a second credential", token(), UNKNOWN, "malformed", headers=(("authorization", "Bearer x"),)),
    Attack("another namespace in the id", token(), DENIED, "namespace", id=OTHERS),
    Attack("another namespace in metadata", token(), DENIED, "namespace", metadata={"NAMESPACE": "other"}),
    Attack(
        "another namespace in the name",
        token(),
        DENIED,
        "namespace",
        id="sidecar~10.0.0.1~web-1.other~default.svc.cluster.local",
    ),
    Attack(
        "its own namespace in metadata only",
        token(),
        DENIED,
        "namespace",
        id=OTHERS,
        metadata={"NAMESPACE": "default"},
    ),
    Attack("another account", token(), DENIED, "service_account", metadata={"SERVICE_ACCOUNT": "admin"}),
    Attack("another pod", token(pod="web-2"), DENIED, "pod"),
    Attack(
        "a namespace that leads out of itself",
        token(),
        DENIED,
        "namespace",
        metadata={"NAMESPACE": "../default"},
    ),
    Attack("an account of that name elsewhere", token(namespace="other"), DENIED, "namespace"),
    Attack("secrets without a credential", bare, UNKNOWN, "missing", secrets=True),
    Attack("secrets with a revoked token", revoked, UNKNOWN, "revoked", secrets=True),
    Attack("secrets of another namespace's proxy", token(), DENIED, "namespace", id=OTHERS, secrets=True),
    Attack(
        "secrets of another account's proxy",
        named(SPIFFE),
        DENIED,
        "service_account",
        Door.CERTIFICATE,
        metadata={"SERVICE_ACCOUNT": "admin"},
        secrets=True,
    ),
    Attack("no node id", token(), grpc.StatusCode.INVALID_ARGUMENT, "invalid_argument", id="web"),
    Attack("a certificate instead of a token", named(SPIFFE), UNKNOWN, "missing"),
    Attack("plaintext to TLS", lambda trust: None, UNREACHED, ""),
    Attack("plaintext to mutual TLS", lambda trust: None, UNREACHED, "", Door.CERTIFICATE),
    Attack("no certificate", bare, UNREACHED, "", Door.CERTIFICATE),
    Attack("a token instead of a certificate", token(), UNREACHED, "", Door.CERTIFICATE),
    Attack("a foreign CA's certificate", foreign, UNREACHED, "", Door.CERTIFICATE),
    Attack("an expired certificate", expired_certificate, UNREACHED, "", Door.CERTIFICATE),
    Attack(
        "another trust domain",
        named(SPIFFE.replace("cluster.local", "evil.example")),
        UNKNOWN,
        "trust_domain",
        Door.CERTIFICATE,
    ),
    Attack(
        "two identities",
        named(SPIFFE, SPIFFE.replace("/web", "/admin")),
        UNKNOWN,
        "certificate",
        Door.CERTIFICATE,
    ),
    Attack("no SPIFFE ID", named("https://example.org/"), UNKNOWN, "certificate", Door.CERTIFICATE),
    Attack("another namespace's node", named(SPIFFE), DENIED, "namespace", Door.CERTIFICATE, id=OTHERS),
    Attack(
        "another account's node",
        named(SPIFFE),
        DENIED,
        "service_account",
        Door.CERTIFICATE,
        metadata={"SERVICE_ACCOUNT": "admin"},
    ),
    Attack("a bad token on the loopback", lambda trust: None, UNKNOWN, "issuer", Door.PLAINTEXT)._replace(
        headers=(("authorization", "Bearer e30.e30.AAAA"),)
    ),
]


def test_every_attack_is_refused_and_logged_without_the_credential(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    async def test(trust: Trusting) -> None:
        wrong = []
        handshakes = trust.served.app.metrics.handshakes
        for one in ATTACKS:
            caplog.clear()
            before = trust.refusals(one.cause)
            proof = one.show(trust)
            code, reason = await told(
                trust,
                one.door,
                proof,
                headers=one.headers,
                secrets=one.secrets,
                id=one.id,
                metadata=one.metadata,
            )
            text = " ".join([reason, *(repr(vars(record)) for record in caplog.records)])
            secrets = [proof.token] if proof is not None and proof.token else []
            secrets += [value.removeprefix("Bearer ") for _, value in one.headers if len(value) > 20]
            if code is not one.code:
                wrong.append(f"{one.name}: {code} {reason}")
            elif one.cause and trust.refusals(one.cause) != before + 1:
                wrong.append(f"{one.name}: not counted as {one.cause}")
            elif one.cause and not any(record.levelno >= logging.WARNING for record in caplog.records):
                wrong.append(f"{one.name}: not logged")
            elif any(secret in text for secret in secrets):
                wrong.append(f"{one.name}: the credential is told")
        assert wrong == []
        assert trust.served.app.xds.streams == ()
        # What does not get as far as gRPC is counted as a handshake.
        for door in (Door.TOKEN, Door.CERTIFICATE):
            assert handshakes.get(door.value) >= sum(one.door is door for one in ATTACKS)
        # A server that turns everybody away would pass all of this.
        await let_in(trust, Door.TOKEN, trust.proof())

    run(tmp_path, test)


def test_names_of_attacks_are_distinct() -> None:
    assert len({one.name for one in ATTACKS}) == len(ATTACKS) >= 42
