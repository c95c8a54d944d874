"""Who was certified on request is waited for until it comes again, or cannot use what it has."""

from __future__ import annotations

import asyncio

import pytest

from controlplane.base.clock import FakeClock
from controlplane.ca.authority import Authority
from controlplane.ca.outstanding import Outstanding
from controlplane.ca.signer import Signer, self_signed
from controlplane.model.identity import Identity
from tests.support.cas import NOW, make_ca

WEB = Identity("td", "default", "web")
AT = "spiffe://td/ns/default/sa/web at "


@pytest.fixture
def world() -> tuple[FakeClock, Authority, Outstanding]:
    clock, signer = FakeClock(NOW), self_signed(NOW, 1e8)
    authority = Authority(signer, (signer.root,), clock=clock)
    return clock, authority, Outstanding(authority, clock)


def test_each_stage_waits_for_the_next_request(world: tuple[FakeClock, Authority, Outstanding]) -> None:
    _, authority, outstanding = world
    old, new = authority.signer, self_signed(NOW, 1e8)
    outstanding.note(WEB, "ipv4:10.0.0.1:1000", NOW + 100)
    outstanding.note(WEB, "ipv6:[2001:db8::1]:1000", NOW + 100)
    assert outstanding.behind() == ()
    for signer, roots in ((old, (old.root, new.root)), (new, (old.root, new.root)), (new, (new.root,))):
        authority.replace(signer, roots)
        assert outstanding.behind() == (f"{AT}10.0.0.1", f"{AT}[2001:db8::1]")
        outstanding.note(WEB, "ipv4:10.0.0.1:2000", NOW + 100)
        assert outstanding.behind() == (f"{AT}[2001:db8::1]",)
        outstanding.note(WEB, "ipv6:[2001:db8::1]:2000", NOW + 100)
        assert outstanding.behind() == ()


def test_what_has_expired_is_nobodys(world: tuple[FakeClock, Authority, Outstanding]) -> None:
    clock, authority, outstanding = world
    outstanding.note(WEB, "ipv4:10.0.0.1:1000", NOW + 100)
    authority.replace(authority.signer, (*authority.roots, self_signed(NOW, 1e8).root))
    asyncio.run(clock.advance(99.0))
    assert outstanding.behind() == (f"{AT}10.0.0.1",)
    asyncio.run(clock.advance(1.0))
    assert outstanding.behind() == ()
    assert outstanding._given == {}


def test_another_intermediate_of_the_same_root_is_no_reason_to_wait() -> None:
    root = make_ca("root")
    signers = [
        Signer(one.certificate, one.key, root.certificate) for one in (make_ca("a", root), make_ca("b", root))
    ]
    authority = Authority(signers[0], (root.certificate,), clock=FakeClock(NOW))
    outstanding = Outstanding(authority, FakeClock(NOW))
    outstanding.note(WEB, "ipv4:10.0.0.1:1000", NOW + 100)
    authority.replace(signers[1], (root.certificate,))
    assert outstanding.behind() == ()
