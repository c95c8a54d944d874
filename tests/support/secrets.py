"""A client of secrets: it asks for names, acknowledges what it is sent, and keeps it."""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc

from controlplane.envoy import pb
from controlplane.envoy.types import BY_URL, SECRET
from controlplane.lab.client import Proof
from tests.support.raw import answer, raw, request

NAMES = ("ROOTCA", "default")


class Asker:
    """One stream; `has` is the last message by name, `log` "sds ROOTCA" for each response in its order."""

    def __init__(self, call: Any, protocol: str) -> None:
        self.has: dict[str, Any] = {}
        self.log: list[str] = []
        self.removed: list[str] = []
        self.rejects: Callable[[Any], str] = lambda message: ""
        """Why a response is rejected; "" for what is accepted."""
        self.patient = asyncio.Event()
        """While it is not set, responses are read and not answered."""
        self.patient.set()
        self._call = call
        self._protocol = protocol
        self._names: dict[str, tuple[str, ...]] = {}
        self._introduced = False
        self._nonces: dict[str, str] = {}
        self._versions: dict[str, str] = {}
        self._changed = asyncio.Condition()
        self._one_at_a_time = asyncio.Lock()

    async def ask(self, *names: str, url: str = SECRET, **node: Any) -> None:
        """Ask for names of a type, none for a wildcard; the first time it says who it is."""
        known = self._names.get(url, ())
        self._names[url] = (*known, *names)
        new = names if self._protocol == "DELTA_GRPC" else self._names[url]
        nonce = "" if self._protocol == "DELTA_GRPC" else self._nonces.get(url, "")
        who = node if not self._introduced else {"id": None}
        self._introduced = True
        await self._write(request(self._protocol, url, names=new, nonce=nonce, **who))

    async def until(self, done: Callable[[], bool], seconds: float = 30.0) -> None:
        """Return when something holds; it is asked after each response."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(done)

    async def read(self) -> None:
        """Take in responses until the stream ends."""
        while isinstance(data := await self._call.read(), bytes):
            message = answer(self._protocol, data)
            error = self.rejects(message)
            if not error:
                self._take(message)
            self._nonces[message.type_url] = message.nonce
            names = () if self._protocol == "DELTA_GRPC" else self._names.get(message.type_url, ())
            async with self._changed:
                self._changed.notify_all()
            await self.patient.wait()
            await self._answer(message, names, error)

    def _take(self, message: Any) -> None:
        names = []
        for one in message.resources:
            packed = one.resource if self._protocol == "DELTA_GRPC" else one
            if packed.type_url == SECRET:
                secret = pb.secret.Secret.FromString(packed.value)
                self.has[secret.name] = secret
                names.append(secret.name)
        self.removed += getattr(message, "removed_resources", ())
        self.log.append(" ".join((BY_URL[message.type_url].short, *sorted(names))))

    async def _answer(self, message: Any, names: tuple[str, ...], error: str) -> None:
        made = request(self._protocol, message.type_url, id=None, nonce=message.nonce, names=names)
        if error:
            delta = self._protocol == "DELTA_GRPC"
            kind = pb.discovery.DeltaDiscoveryRequest if delta else pb.discovery.DiscoveryRequest
            nack: Any = kind.FromString(made)
            nack.error_detail.message = error
            made = nack.SerializeToString()
        await self._write(made)

    async def _write(self, data: bytes) -> None:
        async with self._one_at_a_time:
            await self._call.write(data)

    # -- what it has ----------------------------------------------------------------------------

    @property
    def chain(self) -> bytes:
        """Of `default`, PEM."""
        found: bytes = self.has["default"].tls_certificate.certificate_chain.inline_bytes
        return found

    @property
    def key(self) -> bytes:
        found: bytes = self.has["default"].tls_certificate.private_key.inline_bytes
        return found

    @property
    def roots(self) -> bytes:
        found: bytes = self.has["ROOTCA"].validation_context.trusted_ca.inline_bytes
        return found


@asynccontextmanager
async def asking(
    address: str, protocol: str, *, proof: Proof | None = None, service: bool = False
) -> AsyncIterator[Asker]:
    """A client whose responses are read until the block is left; `service`: of secrets alone."""
    async with raw(address, protocol, proof=proof, secrets=service) as call:
        asker = Asker(call, protocol)
        reading = asyncio.create_task(asker.read())
        try:
            yield asker
        finally:
            reading.cancel()
            ended = (await asyncio.gather(reading, return_exceptions=True))[0]
            if isinstance(ended, Exception) and not isinstance(ended, grpc.aio.AioRpcError):
                raise ended


def judged(roots: bytes, chain: bytes) -> str:
    """What `openssl verify` says of a chain of which only `roots` are trusted; "" when it is good."""
    with tempfile.TemporaryDirectory() as folder:
        trusted, leaf = Path(folder, "roots.pem"), Path(folder, "chain.pem")
        trusted.write_bytes(roots)
        leaf.write_bytes(chain)
        command = ["openssl", "verify", "-CAfile", str(trusted), "-untrusted", str(leaf), str(leaf)]
        done = subprocess.run(command, capture_output=True, text=True)
        return "" if done.returncode == 0 else done.stderr


def shown(pem: bytes, *what: str) -> str:
    """What `openssl x509` shows of the first certificate."""
    command = ["openssl", "x509", "-noout", *what]
    return subprocess.run(command, input=pem, capture_output=True, check=True).stdout.decode()


def public_of(key: bytes) -> str:
    """The public half of a private key, as `openssl pkey` has it."""
    command = ["openssl", "pkey", "-pubout"]
    return subprocess.run(command, input=key, capture_output=True, check=True).stdout.decode()
