"""The doors over real gRPC and TLS: who is let in, as whom, for how long, and to what."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from controlplane.envoy import pb
from controlplane.envoy.types import CLUSTER, SECRET
from controlplane.lab.client import Proof, channel
from controlplane.model.caller import Door
from tests.support.raw import answer, raw, request, say, status
from tests.support.trust import DELTA, ID, SPIFFE, Trusting, let_in, pass_over, run, told
from tests.support.waiting import until

pytestmark = pytest.mark.whole

DENIED, UNKNOWN = grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED


# -- who is let in ----------------------------------------------------------------------------------------


def test_who_is_let_in_and_as_whom(tmp_path: Path) -> None:
    async def test(trust: Trusting) -> None:
        for door, proof in (
            (Door.TOKEN, trust.proof()),
            (Door.CERTIFICATE, trust.certified()),
            (Door.PLAINTEXT, None),
        ):
            stream = await let_in(trust, door, proof, metadata={"SERVICE_ACCOUNT": "web"})
            identity = stream.connection.proxy.identity
            assert (identity and identity.spiffe) == (None if door is Door.PLAINTEXT else SPIFFE), door
            await until(lambda: not trust.served.app.xds.streams, "all streams are gone")

    run(tmp_path, test)


def test_local_nodes_are_believed_only_when_told_so(tmp_path: Path) -> None:
    async def test(trust: Trusting) -> None:
        stream = await let_in(trust, Door.PLAINTEXT, None, metadata={"SERVICE_ACCOUNT": "web"})
        assert stream.connection.proxy.identity.spiffe == SPIFFE
        await until(lambda: not trust.served.app.xds.streams, "all streams are gone")
        # At the other doors nothing is believed even so.
        code, _ = await told(trust, Door.TOKEN, Proof(trust.roots), id=ID)
        assert code is UNKNOWN
        code, _ = await told(trust, Door.PLAINTEXT, None, id=ID, metadata={"SERVICE_ACCOUNT": "a/../b"})
        assert code is DENIED

    run(tmp_path, test, "--trust-loopback-identities")


# -- who may stay -----------------------------------------------------------------------------------------


async def opened(call: Any, **node: Any) -> None:
    await call.write(request(DELTA, id=ID, **node))
    async with asyncio.timeout(30):
        await call.read()


def test_a_stream_ends_with_its_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(trust: Trusting) -> None:
        proof = trust.proof(trust.token(lifetime=60.0)[0])
        async with raw(trust.address(Door.TOKEN), DELTA, proof=proof) as call:
            await opened(call)
            pass_over(monkeypatch, 61.0)
            assert await status(call) == (UNKNOWN, "credential expired")
        assert trust.refusals("ended") == 1

    run(tmp_path, test)


def test_a_stream_ends_when_its_token_is_revoked_and_others_go_on(tmp_path: Path) -> None:
    async def test(trust: Trusting) -> None:
        text, account = trust.token()
        address = trust.address(Door.TOKEN)
        async with (
            raw(address, DELTA, proof=trust.proof(text)) as taken,
            raw(address, DELTA, proof=trust.proof()) as kept,
        ):
            await opened(taken)
            await opened(kept)
            trust.store.revoke(account.id, account.issued)
            assert await status(taken) == (UNKNOWN, "the token is revoked")
            (stream,) = trust.served.app.xds.streams
            assert stream.connection.caller is not None
            assert stream.connection.caller.token != account.id

    run(tmp_path, test)


# -- secrets ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["GRPC", "DELTA_GRPC"])
def test_the_service_for_secrets_serves_ones_own_and_nothing_else(tmp_path: Path, protocol: str) -> None:
    names = ("default", "ROOTCA")
    others = (
        "kubernetes://gateway-cert",
        "spiffe://cluster.local/ns/other/sa/db",
        "../default",
        "db.default",
    )

    async def test(trust: Trusting) -> None:
        address = trust.address(Door.TOKEN)
        async with raw(address, protocol, proof=trust.proof(), secrets=True) as call:
            await call.write(request(protocol, SECRET, id=ID, names=(*names, *others)))
            given: set[str] = set()
            while given != set(names):
                async with asyncio.timeout(30):
                    response = answer(protocol, await call.read())
                assert response.type_url == SECRET
                found = [
                    pb.parse(SECRET, (one.resource if protocol == "DELTA_GRPC" else one).value)
                    for one in response.resources
                ]
                given |= {one.name for one in found}
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await call.read()
        async with raw(address, protocol, proof=trust.proof(), secrets=True) as call:
            await call.write(request(protocol, CLUSTER, id=ID))
            code, reason = await status(call)
            assert code is grpc.StatusCode.INVALID_ARGUMENT
            assert "only" in reason

    run(tmp_path, test)


def test_nobody_is_given_a_secret(tmp_path: Path) -> None:
    async def test(trust: Trusting) -> None:
        async with raw(trust.address(Door.PLAINTEXT), DELTA, secrets=True) as call:
            await call.write(request(DELTA, SECRET, id=ID, names=("default", "ROOTCA")))
            try:
                async with asyncio.timeout(0.5):
                    assert list(answer(DELTA, await call.read()).resources) == []
            except TimeoutError:
                pass  # no answer is as good

    run(tmp_path, test)


@asynccontextmanager
async def passed_on(address: str) -> AsyncIterator[str]:
    """Where an Envoy beside the control plane would let others in: it connects from an address of its own."""
    host, port = address.rsplit(":", 1)
    open_now: set[asyncio.StreamWriter] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_now.add(writer)
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward = await asyncio.open_connection(host, int(port), local_addr=("127.0.0.6", 0))
        await asyncio.gather(pump(reader, onward[1]), pump(onward[0], writer))

    server = await asyncio.start_server(accepted, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in open_now:
            writer.close()


def test_what_others_can_overhear_makes_nobody_of_anybody(tmp_path: Path) -> None:
    """Neither a node that would be believed here nor a good token, and no secret is sent."""

    async def test(trust: Trusting) -> None:
        here = str(trust.served.app.xds.addresses[1])
        headers = (("authorization", f"Bearer {trust.token()[0]}"),)
        async with passed_on(here) as there:
            for address, shown, expected in ((here, (), SPIFFE), (there, (), None), (there, headers, None)):
                async with raw(address, DELTA, headers=shown) as call:
                    await opened(call, metadata={"SERVICE_ACCOUNT": "web"})
                    (stream,) = trust.served.app.xds.streams
                    identity = stream.connection.proxy.identity
                    assert (identity and identity.spiffe) == expected
                    await call.write(request(DELTA, SECRET, id=None, names=("default", "ROOTCA")))
                    if expected is None:
                        with pytest.raises(TimeoutError):
                            async with asyncio.timeout(0.3):
                                assert not answer(DELTA, await call.read()).resources
                                await call.read()
                    else:
                        assert answer(DELTA, await call.read()).resources
                await until(lambda: not trust.served.app.xds.streams, "all streams are gone")

    run(tmp_path, test, "--trust-loopback-identities", "--grpc-addr", "127.0.0.1:0")


# -- limits -----------------------------------------------------------------------------------------------


def test_an_identity_has_so_many_streams_and_no_more(tmp_path: Path) -> None:
    async def test(trust: Trusting) -> None:
        address, proof = trust.address(Door.TOKEN), trust.proof()
        async with raw(address, DELTA, proof=proof) as one, raw(address, DELTA, proof=proof) as two:
            await opened(one)
            await opened(two)
            code, reason = await told(trust, Door.TOKEN, proof, id=ID)
            assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert "too many streams" in reason
            assert trust.refusals("streams") == 1
            # Another identity is not concerned, and a place that is given up is free.
            other = trust.proof(trust.token(name="db")[0])
            async with raw(address, DELTA, proof=other) as three:
                await opened(three)
        await until(lambda: not trust.served.app.xds.streams, "all streams are gone")
        await let_in(trust, Door.TOKEN, proof)

    run(tmp_path, test, "--max-streams-per-identity", "2")


def test_a_slow_handshake_and_a_silent_client_do_not_stop_others(tmp_path: Path) -> None:
    async def test(trust: Trusting) -> None:
        host, port = trust.address(Door.TOKEN).split(":")
        idle = [await asyncio.open_connection(host, int(port)) for _ in range(20)]
        for _, writer in idle[:10]:
            writer.write(b"\x16\x03\x01\x02")  # the beginning of a ClientHello
        await let_in(trust, Door.TOKEN, trust.proof())
        for _, writer in idle:
            writer.close()

    run(tmp_path, test)


CREATE = "/istio.v1.auth.IstioCertificateService/CreateCertificate"


@pytest.mark.parametrize("known", [False, True], ids=["nobody", "somebody"])
def test_megabytes_are_not_read_before_it_is_known_whose_they_are(tmp_path: Path, known: bool) -> None:
    """Too large is said only of what was read."""
    code = grpc.StatusCode.RESOURCE_EXHAUSTED if known else UNKNOWN
    huge = b"\x0a\x80\x80\x80\x01" + bytes(2**21)  # a signing request of two MiB

    async def test(trust: Trusting) -> None:
        proof = trust.proof() if known else Proof(trust.roots)
        async with channel(trust.address(Door.TOKEN), proof=proof) as connection:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await connection.unary_unary(CREATE)(huge, timeout=10)
            assert caught.value.code() is code
        async with raw(trust.address(Door.TOKEN), DELTA, proof=proof) as call:
            await say(call, request(DELTA, id=ID, names=("x" * 2**21,)))
            assert (await status(call))[0] is code

    run(tmp_path, test, "--max-request-bytes", "64KiB")
