"""Handshakes that lead to no call: what is counted and said of them, and of whom not."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from controlplane.app.handshakes import Counts, Handshakes
from controlplane.model.caller import Door, Presented
from controlplane.xds.caller import Anonymous
from tests.support.waiting import until


class Told:
    """What was counted at which door."""

    def __init__(self) -> None:
        self.begun: Counter[str] = Counter()
        self.fruitless: Counter[str] = Counter()
        self.handshakes = Handshakes(Anonymous(), Counts(self._begun, self._fruitless), look=0.01)

    def _begun(self, door: str) -> None:
        self.begun[door] += 1

    def _fruitless(self, door: str, count: int) -> None:
        self.fruitless[door] += count


def test_what_led_to_no_call_is_counted_by_its_door(caplog: pytest.LogCaptureFixture) -> None:
    told = Told()

    async def test() -> None:
        told.handshakes.open()
        for _ in range(3):
            told.handshakes.begun(Door.TOKEN)
        told.handshakes.begun(Door.CERTIFICATE)
        await asyncio.sleep(0)  # that is heard of on the loop
        # Two calls of one connection are one connection.
        for _ in range(2):
            await told.handshakes.identify(Presented(Door.TOKEN, "ipv4:10.0.0.1:1"))
        await until(lambda: told.fruitless.total() >= 3, "they are counted")
        await asyncio.sleep(0.05)

    asyncio.run(test())
    token, certificate = Door.TOKEN.value, Door.CERTIFICATE.value
    assert told.begun == {token: 3, certificate: 1}
    assert told.fruitless == {token: 2, certificate: 1}
    said = {record.__dict__["door"]: record.__dict__["count"] for record in caplog.records}
    assert said == dict(told.fruitless)


def test_of_who_calls_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    told = Told()

    async def test() -> None:
        told.handshakes.open()
        told.handshakes.begun(Door.TOKEN)
        await asyncio.sleep(0)  # it is heard of on the loop
        await told.handshakes.identify(Presented(Door.TOKEN, "ipv4:10.0.0.1:1"))
        await asyncio.sleep(0.05)

    asyncio.run(test())
    assert (told.begun, told.fruitless) == ({"token": 1}, {})
    assert caplog.records == []
