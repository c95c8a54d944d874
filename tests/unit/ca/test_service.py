"""Whom the certificate service believes, whatever a door lets through."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from controlplane._pb.istio.v1.auth.ca_pb2 import IstioCertificateRequest
from controlplane.base.allowance import Allowance
from controlplane.base.clock import FakeClock
from controlplane.ca.authority import Authority
from controlplane.ca.service import CertificateService, _NotIssued
from controlplane.ca.signer import self_signed
from controlplane.model.caller import Caller, Door, Presented
from controlplane.model.identity import Identity
from tests.support.cas import NOW
from tests.unit.ca.test_csr import request

WEB = Identity("cluster.local", "default", "web")


class Call:
    def peer(self) -> str:
        return "ipv4:10.0.0.1:4711"

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return ()

    def auth_context(self) -> dict[str, list[bytes]]:
        return {}


class Says:
    """An authenticator that has made up its mind."""

    def __init__(self, caller: Caller, objection: str = "") -> None:
        self.caller, self.reason = caller, objection

    async def identify(self, presented: Presented) -> Caller:
        return self.caller

    def objection(self, caller: Caller) -> str:
        return self.reason

    def trust_domain(self) -> str:
        return "cluster.local"


def create(says: Says) -> tuple[Any, list[str]]:
    """The answer or the status, and what was counted."""
    clock, signer = FakeClock(NOW), self_signed(NOW, 1e8)
    authority = Authority(signer, (signer.root,), clock=clock)
    counted: list[str] = []
    service = CertificateService(
        authority, says, Allowance(clock), lambda event, kind: counted.append(event), lambda *given: None
    )

    async def requests() -> AsyncIterator[IstioCertificateRequest]:
        yield IstioCertificateRequest(csr=request())

    try:
        found = asyncio.run(service._create(Door.TOKEN, requests(), Call()))
    except _NotIssued as refusal:
        return refusal.code, counted
    return len(found.cert_chain), counted


def test_who_is_known_on_a_private_line_is_certified() -> None:
    assert create(Says(Caller(WEB, None, True, "token"))) == (2, ["asked", "issued"])


@pytest.mark.parametrize(
    "says",
    [
        Says(Caller(None, None, True, "")),
        # Without an identity of its own a local caller may claim any: not here.
        Says(Caller(None, None, True, "loopback")),
        Says(Caller(WEB, None, False, "token")),
        Says(Caller(WEB, None, True, "token"), "revoked"),
    ],
    ids=["nobody", "loopback", "others listen", "revoked"],
)
def test_nobody_else_is(says: Says) -> None:
    assert create(says) == (grpc.StatusCode.UNAUTHENTICATED, ["asked", "nobody"])


def test_in_plaintext_nothing_is_served() -> None:
    signer = self_signed(NOW, 1e8)
    authority = Authority(signer, (signer.root,), clock=FakeClock(NOW))
    says = Says(Caller(WEB, None, True, "token"))
    service = CertificateService(
        authority, says, Allowance(FakeClock()), lambda event, kind: None, lambda *given: None
    )
    assert [len(service.handlers(door)) for door in Door] == [0, 1, 1]
