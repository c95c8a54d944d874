"""A control plane with all its doors, and what good and bad callers show there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from controlplane.base.clock import SystemClock
from controlplane.ca.authority import Authority
from controlplane.ca.identity import Identities
from controlplane.ca.keys import key_pem
from controlplane.ca.leaf import Names, leaf
from controlplane.ca.signer import Signer, pem, self_signed
from controlplane.ca.token_store import TokenStore
from controlplane.ca.tokens import Account, Wish
from controlplane.envoy.types import CLUSTER, SECRET
from controlplane.lab.client import Proof
from controlplane.model.caller import Caller, Door, Presented
from controlplane.xds.stream import Stream
from tests.support.plane import Served, serving
from tests.support.raw import answer, raw, request, say, status

ID = "sidecar~10.0.0.1~web-1.default~default.svc.cluster.local"
DELTA = "DELTA_GRPC"
SPIFFE = "spiffe://cluster.local/ns/default/sa/web"


@dataclass
class Trusting:
    """A control plane in this process, and the folder in which its keys are."""

    served: Served
    data: Path

    def address(self, door: Door) -> str:
        """Where this door is."""
        return str(self.served.app.xds.doors.addresses[door][0])

    @property
    def store(self) -> TokenStore:
        """The tokens, as another process would open them."""
        return TokenStore(self.data)

    @property
    def roots(self) -> bytes:
        """What bootstraps are pointed to."""
        return (self.data / "root-cert.pem").read_bytes()

    def token(self, lifetime: float = 3600.0, *, at: float = 0.0, **wish: str) -> tuple[str, Account]:
        """A token of default/web; `at` seconds from now."""
        made = Wish("default", "web", lifetime)._replace(**wish)
        return self.store.issue(made, time.time() + at)

    def proof(self, token: str = "") -> Proof:
        """With this token; one of default/web if none is given."""
        return Proof(self.roots, token or self.token()[0])

    def certified(self, *uris: str, lifetime: float = 3600.0) -> Proof:
        """With a certificate that the mesh's authority has signed."""
        made = self.served.app.trust.authority.issue(uris or (SPIFFE,), lifetime=lifetime)
        return Proof(self.roots, certificate=made.chain, key=made.key)

    def refusals(self, reason: str) -> float:
        """How often somebody was turned away for this."""
        return self.served.app.metrics.refused_streams.get(reason)


@asynccontextmanager
async def trusting(directory: Path, *flags: str) -> AsyncIterator[Trusting]:
    """A control plane with a door of each kind on the loopback."""
    data = directory / "data"
    doors = ("--secure-grpc-addr", "127.0.0.1:0", "--mtls-grpc-addr", "127.0.0.1:0")
    async with serving(directory, "--data-dir", str(data), *doors, *flags) as served:
        yield Trusting(served, data)


def stranger(*uris: str) -> tuple[Signer, Proof]:
    """A CA that nobody here knows, and what one of its clients shows; it believes that CA, too."""
    signer = self_signed(time.time(), 3600.0)
    authority = Authority(signer, (signer.root,), clock=SystemClock())
    made = authority.issue(uris or (SPIFFE,))
    return signer, Proof(pem(signer.root), certificate=made.chain, key=made.key)


def past(signer: Signer, uri: str = SPIFFE) -> tuple[bytes, bytes]:
    """A certificate of this signer that has ended, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = time.time()
    made = leaf(signer, key.public_key(), Names((uri,)), now - 100, now - 10)
    return pem(made), key_pem(key)


def run(directory: Path, test: Callable[[Trusting], Coroutine[Any, Any, None]], *flags: str) -> None:
    """Run an asynchronous test with such a control plane."""

    async def main() -> None:
        async with trusting(directory, *flags) as trust:
            await test(trust)

    asyncio.run(main())


def admitted(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], str]]:
    """A list that grows with each caller whose credential was found good: what speaks against it by now."""
    found: list[Callable[[], str]] = []
    identify = Identities.identify

    async def identified(self: Identities, presented: Presented) -> Caller:
        caller = await identify(self, presented)
        found.append(lambda: self.objection(caller))
        return caller

    monkeypatch.setattr(Identities, "identify", identified)
    return found


def pass_over(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """The control plane's wall clock is so much ahead from now on."""
    monkeypatch.setattr(SystemClock, "wall", lambda self: time.time() + seconds)


async def told(
    trust: Trusting,
    door: Door,
    proof: Proof | None,
    *,
    headers: Iterable[tuple[str, str]] = (),
    secrets: bool = False,
    says: bool = True,
    **node: Any,
) -> tuple[grpc.StatusCode, str]:
    """How a stream that is opened like this ends; `says` False: it must end before its first request."""
    address, shown = trust.address(door), tuple(headers)
    async with raw(address, DELTA, proof=proof, headers=shown, secrets=secrets) as call:
        if says:
            await say(call, request(DELTA, SECRET if secrets else CLUSTER, **node))
        return await status(call)


async def let_in(trust: Trusting, door: Door, proof: Proof | None, **node: Any) -> Stream:
    """The stream of a caller that is served, as the server has it; it is closed again."""
    before = trust.served.app.xds.streams
    async with raw(trust.address(door), DELTA, proof=proof) as call:
        await call.write(request(DELTA, id=ID, **node))
        async with asyncio.timeout(30):
            response = answer(DELTA, await call.read())
        assert response.type_url == CLUSTER
        (stream,) = set(trust.served.app.xds.streams) - set(before)
        return stream
