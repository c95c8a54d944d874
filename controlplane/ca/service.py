"""Istio's certificate service: whoever has proved an identity sends a key and gets it certified.

With it an istio-proxy, which makes its keys itself, can join.  The names in the certificate are the
caller's; the request's own are only compared.  It is served at the doors with TLS, never in plaintext.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Literal, TypeAlias

import grpc

from controlplane._pb.istio.v1.auth import ca_pb2
from controlplane.base.allowance import Allowance
from controlplane.base.errors import Unauthenticated
from controlplane.ca.authority import Authority
from controlplane.ca.csr import Unparsable, key_of
from controlplane.ca.leaf import Names
from controlplane.ca.refused import Refused
from controlplane.model.caller import Authenticator, CallContext, Caller, Door, host_of, presented
from controlplane.model.identity import Identity, identity_of

_log = logging.getLogger(__name__)

SERVICE = "istio.v1.auth.IstioCertificateService"

_PATIENCE = 10.0
"""Seconds in which somebody who was let in has to send the request."""

_Requests: TypeAlias = AsyncIterator[ca_pb2.IstioCertificateRequest]

Event = Literal["asked", "issued", "unauthenticated", "nobody", "unparsable", "unsigned"]
Count: TypeAlias = Callable[[Event, str], None]
"""Told of each event; the text is the kind of a refusal for "unsigned", else ""."""

OnIssued: TypeAlias = Callable[[Identity, str, float], None]
"""Told of each success: who, from where (as gRPC writes it), and until when."""

_CODES = {
    "CSR_ERROR": grpc.StatusCode.INVALID_ARGUMENT,
    "TTL_ERROR": grpc.StatusCode.INVALID_ARGUMENT,
    "CA_NOT_READY": grpc.StatusCode.UNAVAILABLE,
    "TOO_MANY": grpc.StatusCode.RESOURCE_EXHAUSTED,
}


class _NotIssued(Exception):
    def __init__(self, code: grpc.StatusCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class CertificateService:
    """`handlers(door)` are what a door serves; `count` and `on_issued` hear of what happens."""

    def __init__(
        self,
        authority: Authority,
        authenticator: Authenticator,
        allowance: Allowance,
        count: Count,
        on_issued: OnIssued,
    ) -> None:
        self._authority = authority
        self._authenticator = authenticator
        self._allowance = allowance
        self._count = count
        self._on_issued = on_issued

    def handlers(self, door: Door) -> Sequence[grpc.GenericRpcHandler]:
        """What serves `CreateCertificate` at a door; nothing in plaintext."""
        if door is Door.PLAINTEXT:
            return ()

        async def create(requests: _Requests, call: grpc.aio.ServicerContext) -> object:
            try:
                return await self._create(door, requests, call)
            except _NotIssued as refusal:
                # Unlike the reason, which the caller gets, the log says who and from where.
                return await call.abort(refusal.code, str(refusal))

        # On the wire a stream of one request is one request; but so it is read only when we ask for it, and
        # nobody sends us megabytes before we know who he is.
        method = grpc.stream_unary_rpc_method_handler(
            create,
            request_deserializer=ca_pb2.IstioCertificateRequest.FromString,
            response_serializer=ca_pb2.IstioCertificateResponse.SerializeToString,
        )
        return (grpc.method_handlers_generic_handler(SERVICE, {"CreateCertificate": method}),)

    async def _create(
        self, door: Door, requests: _Requests, call: CallContext
    ) -> ca_pb2.IstioCertificateResponse:
        self._count("asked", "")
        caller, identity = await self._identity(door, call)
        request = await self._request(requests, call, identity)
        # It had time to send that, and its credential to end.
        self._refuse_objection(caller, call)
        names = Names((identity.spiffe,))
        try:
            if not self._allowance.take((identity, host_of(call.peer()))):
                raise Refused("TOO_MANY", "too many requests in a short time")
            signed = self._authority.sign(
                key_of(request.csr, names.uris), names, float(max(request.validity_duration, 0))
            )
        except Refused as error:
            unparsable = isinstance(error, Unparsable)
            self._count("unparsable" if unparsable else "unsigned", "" if unparsable else error.kind)
            self._log_refusal(call, identity.spiffe, str(error))
            raise _NotIssued(_CODES[error.kind], str(error)) from error
        self._count("issued", "")
        _log.info(
            "a certificate was signed",
            extra={"identity": identity.spiffe, "peer": call.peer(), "serial": signed.serial},
        )
        self._on_issued(identity, call.peer(), signed.not_after)
        chain = (*signed.certificates, self._roots())
        return ca_pb2.IstioCertificateResponse(cert_chain=[one.decode() for one in chain])

    def _roots(self) -> bytes:
        """What the caller should trust: during a rotation both roots, the signer's first.

        An istio-proxy takes that element as a whole for its ROOTCA.
        """
        own = self._authority.root
        return own + b"".join(one for one in self._authority.bundle.roots if one != own)

    async def _identity(self, door: Door, call: CallContext) -> tuple[Caller, Identity]:
        try:
            caller = await self._authenticator.identify(presented(door, call))
        except Unauthenticated as error:
            self._count("unauthenticated", "")
            known = identity_of(error.account, self._authenticator.trust_domain())
            self._log_refusal(call, "" if known is None else known.spiffe, str(error))
            raise _NotIssued(grpc.StatusCode.UNAUTHENTICATED, "who you are is not proved") from error
        if caller.identity is None or not caller.private:
            self._count("nobody", "")
            reason = "the caller has no identity"
            self._log_refusal(call, "", reason)
            raise _NotIssued(grpc.StatusCode.UNAUTHENTICATED, reason)
        self._refuse_objection(caller, call)
        return caller, caller.identity

    def _refuse_objection(self, caller: Caller, call: CallContext) -> None:
        objection = self._authenticator.objection(caller)
        if objection:
            self._count("nobody", "")
            self._log_refusal(call, "" if caller.identity is None else caller.identity.spiffe, objection)
            raise _NotIssued(grpc.StatusCode.UNAUTHENTICATED, objection)

    async def _request(
        self, requests: _Requests, call: CallContext, identity: Identity
    ) -> ca_pb2.IstioCertificateRequest:
        try:
            async with asyncio.timeout(_PATIENCE):
                return await anext(requests, ca_pb2.IstioCertificateRequest())
        except TimeoutError as error:
            self._log_refusal(call, identity.spiffe, "the request did not come")
            raise _NotIssued(grpc.StatusCode.DEADLINE_EXCEEDED, "the request did not come") from error

    def _log_refusal(self, call: CallContext, identity: str, reason: str) -> None:
        _log.warning(
            "a certificate was refused",
            extra={"identity": identity, "peer": call.peer(), "reason": reason},
        )
