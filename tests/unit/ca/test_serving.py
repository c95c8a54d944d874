"""The control plane's own certificate: its names, and when it is another."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from controlplane.base.clock import FakeClock
from controlplane.ca.authority import Authority, Lifetimes
from controlplane.ca.refused import Refused
from controlplane.ca.serving import Serving, serving_names
from controlplane.ca.signer import self_signed
from tests.support.cas import NOW, needs_openssl, verified


def parts(life: float = 1e8, lifetime: float = 1000.0) -> tuple[FakeClock, Authority, Serving]:
    clock = FakeClock(NOW)
    signer = self_signed(NOW, life)
    authority = Authority(signer, (signer.root,), clock=clock, lifetimes=Lifetimes(lifetime, lifetime))
    return (
        clock,
        authority,
        Serving(authority, serving_names(("cp.example", "192.0.2.7", "2001:db8::1")), clock),
    )


@needs_openssl
@pytest.mark.parametrize(
    "asked",
    [
        ("-verify_hostname", "istiod.istio-system.svc"),
        ("-verify_hostname", "istio-pilot.istio-system.svc"),
        ("-verify_hostname", "localhost"),
        ("-verify_hostname", "cp.example"),
        ("-verify_ip", "127.0.0.1"),
        ("-verify_ip", "192.0.2.7"),
        ("-verify_ip", "2001:db8::1"),
    ],
)
def test_it_is_good_for_all_names(tmp_path: Path, asked: tuple[str, str]) -> None:
    _, authority, serving = parts()
    checks = ("-purpose", "sslserver", "-attime", str(int(NOW)))
    assert "OK" in verified(tmp_path, serving.current.chain, authority.root, *checks, *asked)


@needs_openssl
def test_and_for_no_other(tmp_path: Path) -> None:
    _, authority, serving = parts()
    found = verified(
        tmp_path,
        serving.current.chain,
        authority.root,
        *("-attime", str(int(NOW)), "-verify_hostname", "web.default.svc"),
        ok=False,
    )
    assert "hostname mismatch" in found


def test_it_is_renewed_before_two_thirds_of_its_life_again_and_again() -> None:
    clock, _, serving = parts()
    held: list[tuple[float, str]] = []

    async def live() -> None:
        task = asyncio.create_task(serving.run())
        for _ in range(300):
            await clock.advance(10.0)
            if not held or held[-1][1] != serving.current.serial:
                held.append((clock.wall(), serving.current.serial))
            left = serving.current.not_after - clock.wall()
            assert left > 1000.0 / 3
        assert not task.done()
        task.cancel()

    asyncio.run(live())
    # 3000 seconds of certificates of 1000 seconds: each is held for more than a half of its life.
    assert len(held) in range(5, 7)


def test_another_signer_is_followed_at_once_and_other_roots_are_no_reason() -> None:
    _, authority, serving = parts()
    old, new = authority.signer, self_signed(NOW, 1e8)
    first = serving.current
    authority.replace(old, (old.root, new.root))
    assert serving.current is first
    authority.replace(new, (old.root, new.root))
    assert serving.current is not first


def test_an_authority_at_its_end_is_a_line_in_the_log_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    clock, _, serving = parts(life=100.0)

    async def live() -> None:
        task = asyncio.create_task(serving.run())
        await clock.advance(400.0)
        assert not task.done()
        task.cancel()

    asyncio.run(live())
    assert "cannot be renewed" in caplog.text
    assert len(caplog.records) < 10
    with pytest.raises(Refused):
        parts(life=5.0)
