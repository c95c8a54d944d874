"""How often somebody may ask: a burst, then a rate, each for himself."""

from __future__ import annotations

import asyncio

from controlplane.base.allowance import Allowance
from controlplane.base.clock import FakeClock


def after(clock: FakeClock, seconds: float) -> None:
    asyncio.run(clock.advance(seconds))


def test_a_burst_and_then_a_rate() -> None:
    clock = FakeClock()
    allowance = Allowance(clock, rate=2.0, burst=3)
    assert [allowance.take("a") for _ in range(5)] == [True, True, True, False, False]
    assert allowance.take("b")
    after(clock, 0.5)
    assert [allowance.take("a") for _ in range(2)] == [True, False]
    after(clock, 100.0)
    assert [allowance.take("a") for _ in range(4)] == [True, True, True, False]


def test_who_has_not_asked_for_long_is_forgotten() -> None:
    clock = FakeClock()
    allowance = Allowance(clock, rate=1.0, burst=2)
    for number in range(1000):
        allowance.take(number)
    after(clock, 2.0)
    assert allowance.take("new")
    assert list(allowance._paid) == ["new"]
