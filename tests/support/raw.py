"""A client without manners: it writes what bytes it likes, and looks at how the stream ends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
from grpc._cython import cygrpc

from controlplane.envoy import pb
from controlplane.envoy.types import CLUSTER
from controlplane.lab.client import Proof, channel

DISCOVERY = "envoy.service.discovery.v3.AggregatedDiscoveryService"
METHODS = {"GRPC": "StreamAggregatedResources", "DELTA_GRPC": "DeltaAggregatedResources"}
SECRETS = {
    "GRPC": "/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets",
    "DELTA_GRPC": "/envoy.service.secret.v3.SecretDiscoveryService/DeltaSecrets",
}
GOOD_ID = "sidecar~10.0.0.9~web-1.default~default.svc.cluster.local"


def request(protocol: str, type_url: str = CLUSTER, *, id: str | None = GOOD_ID, **fields: Any) -> bytes:
    """A discovery request; `id` None leaves the node out.  `names` are wanted, `metadata` is the node's."""
    delta = protocol == "DELTA_GRPC"
    message: Any = pb.discovery.DeltaDiscoveryRequest() if delta else pb.discovery.DiscoveryRequest()
    message.type_url = type_url
    message.response_nonce = fields.get("nonce", "")
    if id is not None:
        message.node.id = id
        message.node.metadata.update(fields.get("metadata", {}))
    names = message.resource_names_subscribe if delta else message.resource_names
    names.extend(fields.get("names", ()))
    data: bytes = message.SerializeToString()
    return data


def answer(protocol: str, data: bytes) -> Any:
    delta = protocol == "DELTA_GRPC"
    kind = pb.discovery.DeltaDiscoveryResponse if delta else pb.discovery.DiscoveryResponse
    return kind.FromString(data)


@asynccontextmanager
async def raw(
    address: str,
    protocol: str,
    *,
    proof: Proof | None = None,
    headers: Sequence[tuple[str, str]] = (),
    secrets: bool = False,
) -> AsyncIterator[Any]:
    """A stream of bytes, ended when it is left; `secrets`: of the service that is for secrets alone."""
    async with channel(address, proof=proof) as connection:
        method = SECRETS[protocol] if secrets else f"/{DISCOVERY}/{METHODS[protocol]}"
        call = connection.stream_stream(method)(metadata=tuple(headers) or None)
        try:
            yield call
        finally:
            call.cancel()


async def say(call: Any, data: bytes) -> None:
    """Write to a stream that may have ended: how it ended is what `status` tells.

    Not by `call.write`.  Where the end comes in while that writes, which on a busy machine it does, it makes
    INTERNAL the status of the call, and what the server said is lost.
    """
    with contextlib.suppress(grpc.aio.AioRpcError, cygrpc.InternalError):
        await call.wait_for_connection()
        await call._cython_call.send_serialized_message(data)


async def status(call: Any) -> tuple[grpc.StatusCode, str]:
    """How the server ends the stream; what it says before that is skipped."""
    async with asyncio.timeout(30):
        try:
            while await call.read() is not grpc.aio.EOF:
                pass
        except grpc.aio.AioRpcError as error:
            return error.code(), str(error.details())
        return await call.code(), str(await call.details())
