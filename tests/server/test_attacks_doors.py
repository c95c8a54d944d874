"""Attacks at the doors, over real gRPC and TLS: all refused, counted, and logged without the credential."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from controlplane.lab.client import Proof
from controlplane.model.caller import Door
from tests.support import attacks
from tests.support.forgeries import (
    bare,
    early_certificate,
    expired_certificate,
    foreign,
    forged_issuer,
    leaf_that_signs,
    named,
    of_an_old_root,
    own_key,
    own_root,
    respelled,
    revoked,
    revoked_account,
    revoked_accounts_certificate,
    signed_by,
    symmetric,
    tampered,
    token,
    unsigned,
)
from tests.support.stage import Stage, staged
from tests.support.trust import ID, SPIFFE, Trusting, let_in, run, told, trusting
from tests.support.waiting import until

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


def header(value: str) -> dict[str, Any]:
    return {"show": lambda trust: Proof(trust.roots), "headers": (("authorization", value),)}


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
    Attack("replayed after its account's revocation", revoked_account, UNKNOWN, "revoked"),
    Attack("signed with a public key", symmetric, UNKNOWN, "forged"),
    Attack("with its own key in the header", own_key, UNKNOWN, "forged"),
    Attack("another spelling of a good one", respelled, UNKNOWN, "forged"),
    Attack("for the debug paths", token(audience="debug"), UNKNOWN, "audience"),
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
    Attack("a certificate that is its own root", own_root, UNREACHED, "", Door.CERTIFICATE),
    Attack("a CA of the same name", forged_issuer, UNREACHED, "", Door.CERTIFICATE),
    Attack("a certificate not valid yet", early_certificate, UNREACHED, "", Door.CERTIFICATE),
    Attack("a leaf that signs", leaf_that_signs, UNREACHED, "", Door.CERTIFICATE),
    Attack(
        "a revoked account's certificate",
        revoked_accounts_certificate,
        UNKNOWN,
        "revoked",
        Door.CERTIFICATE,
        id="sidecar~10.0.0.1~gone-1.default~default.svc.cluster.local",
    ),
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


OWNED = ("expired", "early", "audience", "revoked")
"""Why a token with a good signature is refused."""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage[Trusting]]:
    with staged(trusting(tmp_path_factory.mktemp("doors"))) as found:
        found.subject.served.app.entrance.handshakes.look = 0.05
        yield found


@pytest.mark.attack
@pytest.mark.parametrize("one", ATTACKS, ids=[one.name for one in ATTACKS])
def test_it_is_refused_counted_and_logged_without_the_credential(
    stage: Stage[Trusting], one: Attack, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    trust = stage.subject
    before = trust.refusals(one.cause)
    proof = one.show(trust)
    has = "cause" if one.cause else "count"

    async def test() -> tuple[grpc.StatusCode, str]:
        node = {"id": one.id, "metadata": one.metadata}
        # Who is nobody is not listened to.
        says = one.code not in (UNKNOWN, UNREACHED)
        shown = {"headers": one.headers, "secrets": one.secrets, "says": says}
        ended = await told(trust, one.door, proof, **shown, **node)
        # What does not get as far as a call, gRPC does not tell; that it began, and led to nothing, is told.
        await until(lambda: attacks.line(caplog, has), "it is logged")
        return ended

    code, reason = stage.play(test())
    assert code is one.code, reason
    secrets = [proof.token] if proof is not None else []
    secrets += [value.removeprefix("Bearer ") for _, value in one.headers]
    line = attacks.told(caplog, *secrets, b"" if proof is None else proof.key, has=has)
    assert not [secret for secret in secrets if len(secret) > attacks.LEAST and secret in reason]
    assert line["door"] == one.door.value
    if one.cause:
        assert trust.refusals(one.cause) == before + 1
        assert line["cause"] == one.cause and line["peer"]
        # What is not good any more, or not for us, has an owner all the same: its signature is good.
        known = one.code in (DENIED, grpc.StatusCode.INVALID_ARGUMENT) or one.cause in OWNED
        assert (line["identity"] != "") == known
    else:
        assert line["count"] >= 1
        assert trust.served.app.metrics.fruitless_handshakes.get(one.door.value) >= 1
    assert trust.served.app.xds.streams == ()


def test_a_server_that_turns_everybody_away_would_pass_all_of_this(stage: Stage[Trusting]) -> None:
    trust = stage.subject
    assert len({one.name for one in ATTACKS}) == len(ATTACKS) >= 42
    stage.play(let_in(trust, Door.TOKEN, trust.proof()))
    stage.play(let_in(trust, Door.CERTIFICATE, trust.certified()))


@pytest.mark.attack
def test_a_certificate_of_a_root_that_was_dropped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It was good until the root was changed; with what came in its place one is let in."""

    async def test(trust: Trusting) -> None:
        trust.served.app.entrance.handshakes.look = 0.05
        old = trust.certified()
        await let_in(trust, Door.CERTIFICATE, old)
        shown = of_an_old_root(trust)
        assert (await told(trust, Door.CERTIFICATE, shown, id=ID))[0] is UNREACHED
        await until(lambda: attacks.line(caplog, "count"), "it is logged")
        attacks.told(caplog, shown.key, has="count")
        made = trust.served.app.trust.authority.issue((SPIFFE,))
        await let_in(trust, Door.CERTIFICATE, Proof(shown.roots, certificate=made.chain, key=made.key))

    run(tmp_path, test)
