"""Istio's certificate service over real gRPC and TLS: what an istio-proxy gets, and what attackers do not."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from controlplane._pb.istio.v1.auth.ca_pb2 import IstioCertificateRequest, IstioCertificateResponse
from controlplane.ca import service
from controlplane.ca.signer import pem, self_signed
from controlplane.lab.client import Proof, channel
from controlplane.model.caller import Door
from tests.support.cas import needs_openssl, openssl, verified
from tests.support.trust import SPIFFE, Trusting, run, stranger

METHOD = "/istio.v1.auth.IstioCertificateService/CreateCertificate"
OTHER = "spiffe://cluster.local/ns/default/sa/other"
Code = grpc.StatusCode
KEY = ec.generate_private_key(ec.SECP256R1())


def csr(key: Any = KEY, *extensions: x509.ExtensionType, uri: str = "") -> str:
    """A signing request."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    if uri:
        extensions = (*extensions, x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]))
    for one in extensions:
        builder = builder.add_extension(one, critical=True)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


async def create(
    trust: Trusting, door: Door, proof: Proof | None, text: str = "", seconds: int = 0
) -> tuple[Any, Any]:
    """The status and either the chain or the reason."""
    async with channel(trust.address(door), proof=proof) as connection:
        call = connection.unary_unary(
            METHOD,
            request_serializer=IstioCertificateRequest.SerializeToString,
            response_deserializer=IstioCertificateResponse.FromString,
        )
        request = IstioCertificateRequest(csr=text or csr(), validity_duration=seconds)
        request.metadata["ImpersonatedIdentity"] = OTHER
        try:
            return Code.OK, list((await call(request, timeout=10)).cert_chain)
        except grpc.aio.AioRpcError as error:
            return error.code(), error.details()


@needs_openssl
@pytest.mark.parametrize("door", [Door.TOKEN, Door.CERTIFICATE])
def test_who_proves_an_identity_gets_it_certified(tmp_path: Path, door: Door) -> None:
    async def test(trust: Trusting) -> None:
        proof = trust.proof() if door is Door.TOKEN else trust.certified()
        code, chain = await create(trust, door, proof, csr(uri=SPIFFE), 600)
        assert code is Code.OK
        *signed, root = chain
        assert root.encode() == trust.roots
        assert "OK" in verified(tmp_path, "".join(signed).encode(), root.encode())
        (tmp_path / "got.pem").write_text(signed[0])
        text = openssl("x509", "-in", str(tmp_path / "got.pem"), "-noout", "-text")
        assert f"URI:{SPIFFE}\n" in text
        found = x509.load_pem_x509_certificate(signed[0].encode())
        assert found.public_key() == KEY.public_key()
        assert (found.not_valid_after_utc - found.not_valid_before_utc).total_seconds() == 600 + 120
        metrics = trust.served.app.metrics
        assert (metrics.csr.get(), metrics.csr_issued.get()) == (1, 1)

    run(tmp_path, test)


def test_what_was_got_opens_the_other_door(tmp_path: Path) -> None:
    async def test(trust: Trusting) -> None:
        code, chain = await create(trust, Door.TOKEN, trust.proof())
        assert code is Code.OK
        key = KEY.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        renewed = Proof(trust.roots, certificate="".join(chain[:-1]).encode(), key=key)
        code, chain = await create(trust, Door.CERTIFICATE, renewed)
        assert code is Code.OK

    run(tmp_path, test)


def attacks() -> dict[str, tuple[str, int, Code, str]]:
    """By name: the request, the seconds, the status and a part of the reason."""
    weak = rsa.generate_private_key(65537, 1024)
    signing = x509.KeyUsage(True, False, False, False, False, True, False, False, False)
    dns = x509.SubjectAlternativeName([x509.DNSName("istiod.istio-system.svc")])
    wrong, name = Code.INVALID_ARGUMENT, "a name of somebody else"
    return {
        "another account": (csr(uri=OTHER), 0, wrong, name),
        "another namespace": (csr(uri="spiffe://cluster.local/ns/kube-system/sa/web"), 0, wrong, name),
        "another trust domain": (csr(uri="spiffe://evil.example/ns/default/sa/web"), 0, wrong, name),
        "the control plane's name": (csr(KEY, dns), 0, wrong, name),
        "a CA": (csr(KEY, x509.BasicConstraints(True, None)), 0, wrong, "asks to be a CA"),
        "the right to sign": (csr(KEY, signing), 0, wrong, "the right to sign"),
        "a weak RSA key": (csr(weak), 0, wrong, "RSA of 1024 bits"),
        "an odd curve": (csr(ec.generate_private_key(ec.SECP256K1())), 0, wrong, "secp256k1"),
        "a life too long": (csr(), 2160 * 3600 + 1, wrong, "at most 7.776e+06"),
        "a life without end": (csr(), 2**63 - 1, wrong, "at most"),
        "no request": ("nothing", 0, wrong, "cannot be read"),
        "a huge request": (csr() + " " * 20_000, 0, wrong, "more than 16384 bytes"),
    }


def test_attacks_with_a_good_credential(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def test(trust: Trusting) -> None:
        proof = trust.proof()
        for name, (text, seconds, code, reason) in attacks().items():
            caplog.clear()
            found, said = await create(trust, Door.TOKEN, proof, text, seconds)
            assert (found, name) == (code, name)
            assert reason in said, name
            (line,) = [one for one in caplog.records if one.name == "controlplane.ca.service"]
            assert (line.__dict__["identity"], line.__dict__["reason"]) == (SPIFFE, said), name
        metrics = trust.served.app.metrics
        assert metrics.csr.get() == len(attacks())
        assert metrics.csr_issued.get() == 0
        assert metrics.csr_unparsable.get() == 2
        assert (metrics.csr_unsigned.get("CSR_ERROR"), metrics.csr_unsigned.get("TTL_ERROR")) == (8, 2)

    with caplog.at_level(logging.INFO):
        run(tmp_path, test)


def test_attacks_without_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def test(trust: Trusting) -> None:
        store = trust.store
        revoked, account = trust.token()
        store.revoke(account.id, 0.0)
        tokens = {
            "no token": "",
            "rubbish": "rubbish",
            "expired": trust.token(60.0, at=-3600.0)[0],
            "for somebody else": trust.token(audience="others")[0],
            "revoked": revoked,
            "changed": trust.token()[0][:-8] + "AAAAAAAA",
        }
        for name, token in tokens.items():
            caplog.clear()
            code, said = await create(trust, Door.TOKEN, Proof(trust.roots, token))
            assert (code, said) == (Code.UNAUTHENTICATED, "who you are is not proved"), name
            (line,) = [one for one in caplog.records if one.name == "controlplane.ca.service"]
            assert line.levelname == "WARNING"
            assert not token or token not in caplog.text
        assert trust.served.app.metrics.csr_unauthenticated.get() == len(tokens)
        # Somebody else's CA does not get as far as a call.
        signer, proof = stranger()
        foreign = Proof(trust.roots, certificate=proof.certificate, key=proof.key)
        code, _ = await create(trust, Door.CERTIFICATE, foreign)
        assert code is Code.UNAVAILABLE
        # Nor does who believes somebody else's CA give it a token.
        code, _ = await create(trust, Door.TOKEN, Proof(pem(signer.root), trust.token()[0]))
        assert code is Code.UNAVAILABLE
        # In plaintext there is no such service, for nobody.
        code, _ = await create(trust, Door.PLAINTEXT, None)
        assert code is Code.UNIMPLEMENTED
        assert trust.served.app.metrics.csr_issued.get() == 0

    with caplog.at_level(logging.INFO):
        run(tmp_path, test)


def test_a_certificate_without_an_identity_is_nobody(tmp_path: Path) -> None:
    async def test(trust: Trusting) -> None:
        # The control plane's own certificate is of its own CA, too, and names no service account.
        own = trust.served.app.trust.serving.current
        code, _ = await create(
            trust, Door.CERTIFICATE, Proof(trust.roots, certificate=own.chain, key=own.key)
        )
        assert code is Code.UNAUTHENTICATED

    run(tmp_path, test)


def test_a_rotation_is_followed_by_what_is_signed(tmp_path: Path) -> None:
    async def test(trust: Trusting) -> None:
        authority = trust.served.app.trust.authority
        old, new = authority.signer, self_signed(1e9, 1e10)
        authority.replace(old, (old.root, new.root))
        authority.replace(new, (old.root, new.root))
        # Whoever trusts both is served with the new one, and certified by it.
        both = pem(old.root) + pem(new.root)
        code, chain = await create(trust, Door.TOKEN, Proof(both, trust.token()[0]))
        assert code is Code.OK
        assert chain[-1].encode() == pem(new.root) + pem(old.root)
        # Whoever knows only the old root is not led to believe it.
        code, _ = await create(trust, Door.TOKEN, Proof(pem(old.root), trust.token()[0]))
        assert code is Code.UNAVAILABLE

    run(tmp_path, test)


def test_many_at_once(tmp_path: Path) -> None:
    async def test(trust: Trusting) -> None:
        proof = trust.proof()
        found = await asyncio.gather(*(create(trust, Door.TOKEN, proof) for _ in range(20)))
        assert {code for code, _ in found} == {Code.OK}
        assert len({chain[0] for _, chain in found}) == 20

    run(tmp_path, test)


def test_a_rotation_waits_for_those_who_ask_by_themselves(tmp_path: Path) -> None:
    async def test(trust: Trusting) -> None:
        proof = trust.proof()
        assert (await create(trust, Door.TOKEN, proof))[0] is Code.OK
        rotation = trust.served.app.trust.rotation
        assert rotation is not None
        rotation.start()
        assert rotation.progress().behind == (f"{SPIFFE} at 127.0.0.1",)
        assert (await create(trust, Door.TOKEN, proof))[0] is Code.OK
        assert rotation.progress().behind == ()

    run(tmp_path, test)


def test_one_caller_cannot_ask_without_end(tmp_path: Path) -> None:
    async def test(trust: Trusting) -> None:
        proof = trust.proof()
        async with channel(trust.address(Door.TOKEN), proof=proof) as connection:
            call = connection.unary_unary(METHOD)
            body = IstioCertificateRequest(csr=csr()).SerializeToString()
            found = await asyncio.gather(*(call(body) for _ in range(150)), return_exceptions=True)
        refused = [one.code() for one in found if isinstance(one, grpc.aio.AioRpcError)]
        assert set(refused) == {Code.RESOURCE_EXHAUSTED}
        assert trust.served.app.metrics.csr_unsigned.get("TOO_MANY") == len(refused)
        # Somebody else is served meanwhile.
        other = Proof(trust.roots, trust.token(name="other")[0])
        assert (await create(trust, Door.TOKEN, other))[0] is Code.OK

    run(tmp_path, test)


def test_who_sends_nothing_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_PATIENCE", 0.2)

    async def test(trust: Trusting) -> None:
        async with channel(trust.address(Door.TOKEN), proof=trust.proof()) as connection:
            call = connection.stream_unary(METHOD)()
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
        assert caught.value.code() is Code.DEADLINE_EXCEEDED
        assert caught.value.details() == "the request did not come"

    run(tmp_path, test)
