"""One stream through the relay: what each message suffers, and how the stream ends."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import grpc

from controlplane.envoy import pb
from controlplane.envoy.types import BY_URL
from controlplane.lab.faults import NACK_CODE, NACK_DETAIL, Direction, Fate, Faults, Message

_HELD = 0.05
"""Seconds that a response waits for another one to overtake it."""
_HANDED = 5.0
"""Seconds that the end of a stream waits for a message that the proxy does not read."""

End = tuple[grpc.StatusCode, str]


@dataclass(slots=True, eq=False)
class Judge:
    """Numbers the messages of every proxy, asks the faults, and counts what was done.

    `notice` is in seconds from a loss to the end of the stream that suffered it.
    """

    faults: Faults
    notice: float
    counts: Counter[str] = field(default_factory=Counter)
    _numbers: Counter[tuple[str, Direction, str]] = field(default_factory=Counter)

    def fate(self, proxy: str, direction: Direction, kind: str, accepts: bool = False) -> Fate:
        """What happens to the next message of a proxy, of that direction and type."""
        key = (proxy, direction, kind)
        fate = self.faults.fate(Message(*key, self._numbers[key], accepts))
        self._numbers[key] += 1
        self.counts[f"{direction}s"] += 1
        for name in ("drop", "swap", "nack", "cut"):
            self.counts[name] += getattr(fate, name)
        self.counts["wait"] += fate.wait > 0
        return fate


@dataclass(slots=True, eq=False)
class Stream:
    """One stream on both sides; `damaged` once the two sides may believe different things."""

    judge: Judge
    context: Any
    call: Any
    delta: bool
    damaged: bool = False
    _proxy: str = ""
    _broken: asyncio.Event = field(default_factory=asyncio.Event)
    _writing: asyncio.Future[None] | None = None
    _accepted: dict[str, str] = field(default_factory=dict)
    """State of the world: the version of each type that the server was told to be in force."""
    _answered: dict[str, str] = field(default_factory=dict)
    """The nonce that was answered last, by type."""
    _refused: dict[str, str] = field(default_factory=dict)
    """The nonce that we rejected last, by type."""

    async def run(self, first: bytes) -> End:
        """Carry messages until one side ends or the stream breaks; gives how it ended for the proxy."""
        tasks = [
            asyncio.ensure_future(part)
            for part in (self._requests(first), self._responses(), self._breaking())
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return next(iter(done)).result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self._writing is not None:
                # gRPC takes no status while it has a message in hand: the proxy would wait for ever.
                await asyncio.wait((asyncio.gather(self._writing, return_exceptions=True),), timeout=_HANDED)

    def end(self) -> None:
        """Break the stream now."""
        self._broken.set()

    async def _breaking(self) -> End:
        await self._broken.wait()
        return grpc.StatusCode.UNAVAILABLE, "broken by fault injection"

    def _suffer(self, fate: Fate) -> None:
        if fate.lies and not self.damaged:
            self.damaged = True
            asyncio.get_running_loop().call_later(self.judge.notice, self.end)

    # -- from the proxy -------------------------------------------------------------------------

    async def _requests(self, first: bytes) -> End:
        message = self._parsed(first)
        parts = message.node.id.split("~")
        self._proxy = parts[2] if len(parts) == 4 else message.node.id
        # The introduction always arrives: without it there is no stream to speak of.
        self.judge.counts["requests"] += 1
        with contextlib.suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):
            await self.call.write(first)
            while isinstance(data := await self.context.read(), bytes):
                await self._request(data)
            await self.call.done_writing()
            return grpc.StatusCode.OK, ""
        # The server has ended the stream; how, is what reading from it tells.
        never: asyncio.Future[End] = asyncio.get_running_loop().create_future()
        return await never

    async def _request(self, data: bytes) -> None:
        message = self._parsed(data)
        kind, nonce = _short(message.type_url), message.response_nonce
        fresh = bool(nonce) and self._answered.get(kind) != nonce
        accepts = fresh and not message.HasField("error_detail")
        fate = self.judge.fate(self._proxy, "request", kind, accepts)
        if nonce:
            self._answered[kind] = nonce
        self._suffer(fate)
        if fate.drop:
            return
        if fate.nack:
            self._refused[kind] = nonce
            message.error_detail.code = NACK_CODE
            message.error_detail.message = NACK_DETAIL
        if not self.delta:
            # Whoever rejects goes on naming the version before, in later requests as well.
            if nonce and self._refused.get(kind) == nonce:
                message.version_info = self._accepted.get(kind, "")
            else:
                self._accepted[kind] = message.version_info
        await asyncio.sleep(fate.wait)
        await self.call.write(message.SerializeToString() if fate.nack or not self.delta else data)

    def _parsed(self, data: bytes) -> Any:
        kind = pb.discovery.DeltaDiscoveryRequest if self.delta else pb.discovery.DiscoveryRequest
        return kind.FromString(data)

    # -- from the server ------------------------------------------------------------------------

    async def _responses(self) -> End:
        held: list[bytes] = []
        while True:
            reading = asyncio.ensure_future(self.call.read())
            try:
                # Reading must not be given up half-way: that would end the call.
                await asyncio.wait((reading,), timeout=_HELD if held else None)
                if not reading.done():
                    await self._deliver(held)
                data = await reading
            except grpc.aio.AioRpcError as error:
                return error.code(), str(error.details())
            finally:
                reading.cancel()
            if not isinstance(data, bytes):
                return await self.call.code(), str(await self.call.details())
            fate = self._fate(data)
            await asyncio.sleep(fate.wait)
            if not fate.drop:
                overtakes = bool(held)
                held.insert(0, data)
                if overtakes or not fate.swap:
                    await self._deliver(held)
            if fate.cut:
                self.end()

    async def _deliver(self, held: list[bytes]) -> None:
        while held:
            self._writing = asyncio.ensure_future(self.context.write(held.pop(0)))
            await asyncio.shield(self._writing)

    def _fate(self, data: bytes) -> Fate:
        kind = pb.discovery.DeltaDiscoveryResponse if self.delta else pb.discovery.DiscoveryResponse
        short = _short(kind.FromString(data).type_url)
        fate = self.judge.fate(self._proxy, "response", short)
        self._suffer(fate)
        return fate


def _short(type_url: str) -> str:
    spec = BY_URL.get(type_url)
    return type_url.rpartition("/")[2] if spec is None else spec.short
