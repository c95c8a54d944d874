"""The control plane's own certificate: its names, and when it is another."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from controlplane.base.clock import FakeClock
from controlplane.ca import keys
from controlplane.ca.authority import Authority, Lifetimes
from controlplane.ca.keys import PrivateKey
from controlplane.ca.refused import Refused
from controlplane.ca.serving import Serving, serving_names
from controlplane.ca.signer import self_signed
from tests.support.cas import NOW, needs_openssl, verified
from tests.support.waiting import until


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


def test_a_key_that_takes_long_is_not_made_on_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither when it is time for another, nor when another signs."""
    makers: list[int] = []

    def new_key(kind: str) -> PrivateKey:
        makers.append(threading.get_ident())
        return keys.new_key("ec")  # what takes long is not what is tested

    monkeypatch.setattr("controlplane.ca.authority.new_key", new_key)
    clock = FakeClock(NOW)
    old, new = self_signed(NOW, 1e8), self_signed(NOW, 1e8)
    lifetimes = Lifetimes(1000.0, 1000.0)
    authority = Authority(old, (old.root,), clock=clock, lifetimes=lifetimes, key_type="rsa")
    serving = Serving(authority, serving_names(), clock)
    first = serving.current
    assert makers == [threading.get_ident()]  # before there is a loop

    async def live() -> None:
        task = asyncio.create_task(serving.run())
        await clock.advance(1.0)
        authority.replace(new, (old.root, new.root))
        assert serving.current is first
        await until(lambda: serving.current is not first, "it follows the signer")
        second = serving.current
        assert second.not_before == first.not_before + 1.0
        await clock.advance(700.0)
        await until(lambda: serving.current is not second, "it is renewed")
        assert not task.done()
        task.cancel()

    asyncio.run(live())
    assert len(makers) == 3
    assert makers.count(threading.get_ident()) == 1


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
