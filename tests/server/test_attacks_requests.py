"""Attacks on the certificate service: each a case of its own, refused and logged."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import grpc
import pytest

from controlplane._pb.istio.v1.auth.ca_pb2 import IstioCertificateRequest
from controlplane.ca.signer import pem
from controlplane.lab.client import Proof, channel
from controlplane.model.caller import Door
from tests.server.test_csr import METHOD, attacks, create, csr
from tests.support.attacks import told
from tests.support.forgeries import own_key, revoked, tampered, unsigned
from tests.support.stage import Stage, staged
from tests.support.trust import SPIFFE, Trusting, admitted, stranger, trusting
from tests.support.waiting import until

Code = grpc.StatusCode
ASKED = attacks()
CREDENTIALS = {
    "none": lambda trust: Proof(trust.roots),
    "rubbish": lambda trust: Proof(trust.roots, "rubbish"),
    "expired": lambda trust: Proof(trust.roots, trust.token(60.0, at=-3600.0)[0]),
    "for somebody else": lambda trust: Proof(trust.roots, trust.token(audience="others")[0]),
    "for the debug paths": lambda trust: Proof(trust.roots, trust.token(audience="debug")[0]),
    "revoked": revoked,
    "not signed": unsigned,
    "another's claims": tampered,
    "with its own key": own_key,
}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage[Trusting]]:
    with staged(trusting(tmp_path_factory.mktemp("requests"))) as found:
        yield found


@pytest.fixture(autouse=True)
def _nothing_is_signed(stage: Stage[Trusting], caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.INFO)
    before = stage.subject.served.app.metrics.csr_issued.get()
    yield
    assert stage.subject.served.app.metrics.csr_issued.get() == before


@pytest.mark.attack
@pytest.mark.parametrize("name", ASKED)
def test_a_request_for_more_than_its_own(
    stage: Stage[Trusting], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    text, seconds, code, reason = ASKED[name]
    proof = stage.subject.proof()
    found, said = stage.play(create(stage.subject, Door.TOKEN, proof, text, seconds))
    assert found is code and reason in said
    line = told(caplog, proof.token, has="identity")
    assert (line["identity"], line["reason"]) == (SPIFFE, said) and line["peer"]


@pytest.mark.attack
@pytest.mark.parametrize("name", CREDENTIALS)
def test_a_request_without_a_good_credential(
    stage: Stage[Trusting], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    proof = CREDENTIALS[name](stage.subject)
    found, said = stage.play(create(stage.subject, Door.TOKEN, proof))
    assert (found, said) == (Code.UNAUTHENTICATED, "who you are is not proved")
    # What is not good any more, or not for this, has an owner all the same: its signature is good.
    owned = name in ("expired", "for somebody else", "for the debug paths", "revoked")
    assert told(caplog, proof.token, has="identity")["identity"] == (SPIFFE if owned else "")


@pytest.mark.attack
def test_a_request_that_comes_after_its_tokens_revocation(
    stage: Stage[Trusting], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call is opened with a good token, and what is to be signed is sent when it is not good any more."""

    async def test() -> Code:
        trust = stage.subject
        text, account = trust.token()
        callers = admitted(monkeypatch)
        async with channel(trust.address(Door.TOKEN), proof=Proof(trust.roots, text)) as connection:
            call = connection.stream_unary(METHOD)()
            await until(lambda: callers, "its token is found good")
            trust.store.revoke(account.id, account.issued)
            await until(lambda: callers[0](), "it is known to be revoked")
            await call.write(IstioCertificateRequest(csr=csr()).SerializeToString())
            await call.done_writing()
            return await call.code()

    assert stage.play(test()) is Code.UNAUTHENTICATED
    assert told(caplog, has="identity")["identity"] == SPIFFE


@pytest.mark.attack
def test_the_control_planes_own_certificate_is_nobodys(
    stage: Stage[Trusting], caplog: pytest.LogCaptureFixture
) -> None:
    trust = stage.subject
    own = trust.served.app.trust.serving.current
    proof = Proof(trust.roots, certificate=own.chain, key=own.key)
    found, _ = stage.play(create(trust, Door.CERTIFICATE, proof))
    assert found is Code.UNAUTHENTICATED
    told(caplog, own.key, has="identity")


def test_a_control_plane_of_somebody_else_gets_no_token(
    stage: Stage[Trusting], caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever is to be believed by the roots of another mesh is not spoken to: the caller refuses it."""
    signer, _ = stranger()
    text = stage.subject.token()[0]
    found, said = stage.play(create(stage.subject, Door.TOKEN, Proof(pem(signer.root), text)))
    assert found is Code.UNAVAILABLE and text not in said
