"""Requests and responses as bytes.

A response is joined from the frames of its resources, which are serialized once, and equal responses of
all streams are the same bytes: they are found by a hash of their content.  That hash is their version
and, because a nonce need only be new on its stream, their nonce too.  So the ACKs of a thousand clients to
one change are equal as well, and are decoded once.
"""

from __future__ import annotations

import itertools
import json
from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from sys import intern
from typing import Any, TypeAlias
from weakref import WeakValueDictionary

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError

from controlplane.base import wire
from controlplane.base.errors import ProtocolError
from controlplane.envoy import pb
from controlplane.envoy.types import SECRET
from controlplane.model.locality import Locality
from controlplane.xds.names import intern_names
from controlplane.xds.plan import Body, Plan
from controlplane.xds.protocol import Request
from controlplane.xds.variant import Variant

# https://www.envoyproxy.io/docs/envoy/latest/api-v3/service/discovery/v3/discovery.proto
_VERSION, _TYPE_URL, _NONCE = 1, 4, 5
_SOTW_CONTROL_PLANE = 6
_DELTA_REMOVED, _DELTA_CONTROL_PLANE = 6, 7
_IDENTIFIER = 1
_HEARD = 4
"""Requests remembered: the answers to what is being pushed now, of a few types."""


@dataclass(frozen=True, slots=True)
class NodeClaim:
    """What a client says of itself, as plain values; nothing in it is checked yet."""

    id: str
    metadata: Mapping[str, object]
    locality: Locality


def identifier(component: str, instance: str, version: str) -> str:
    """How the control plane names itself to its clients, in the form that Istio's tools parse."""
    return json.dumps({"Component": component, "ID": instance, "Info": {"version": version}})


def _decode_sotw(data: bytes) -> tuple[Request, NodeClaim | None]:
    message = pb.discovery.DiscoveryRequest.FromString(data)
    request = Request(
        type_url=message.type_url,
        nonce=message.response_nonce,
        names=intern_names(message.resource_names),
        version=message.version_info,
        error=_error(message),
    )
    return request, _node(message)


def _decode_delta(data: bytes) -> tuple[Request, NodeClaim | None]:
    message = pb.discovery.DeltaDiscoveryRequest.FromString(data)
    request = Request(
        type_url=message.type_url,
        nonce=message.response_nonce,
        names=intern_names(message.resource_names_subscribe),
        unsubscribe=intern_names(message.resource_names_unsubscribe),
        known={intern(name): intern(has) for name, has in message.initial_resource_versions.items()},
        error=_error(message),
    )
    return request, _node(message)


_DECODERS = {Variant.SOTW: _decode_sotw, Variant.DELTA: _decode_delta}


def _error(message: Any) -> str | None:
    if not message.HasField("error_detail"):
        return None
    detail = message.error_detail
    return detail.message or f"status {detail.code} without a message"


def _node(message: Any) -> NodeClaim | None:
    if not message.HasField("node"):
        return None
    node = message.node
    return NodeClaim(
        node.id,
        MessageToDict(node.metadata),
        Locality(node.locality.region, node.locality.zone, node.locality.sub_zone),
    )


_Key: TypeAlias = tuple[Variant, str, str, bool]
"""Variant, type and version of a response, and whether it says who we are."""


class Codec:
    """Makes the bytes of responses, and remembers as many of them as fit in `limit` bytes."""

    def __init__(self, identifier: str, limit: int) -> None:
        # Serialized as a message of one field, and framed as a field of the response.
        inner = wire.string(_IDENTIFIER, identifier)
        self._introduction = {
            Variant.SOTW: wire.length_delimited(_SOTW_CONTROL_PLANE, inner),
            Variant.DELTA: wire.length_delimited(_DELTA_CONTROL_PLANE, inner),
        }
        self._limit = limit
        self._repeats = itertools.count(1)
        self._held = 0
        # The requests decoded last, newest first; those with a node are not kept.
        self._heard: dict[Variant, list[tuple[bytes, Request]]] = {variant: [] for variant in Variant}
        self._bodies: WeakValueDictionary[_Key, Body] = WeakValueDictionary()
        # The plans are held too: they are what the next stream will look for.
        self._recent: OrderedDict[_Key, tuple[Body, Plan]] = OrderedDict()

    def decode(self, variant: Variant, data: bytes) -> tuple[Request, NodeClaim | None]:
        """A request, and the node where it names one; ProtocolError when the bytes are none."""
        heard = self._heard[variant]
        for known, request in heard:
            if known == data:
                return request, None
        try:
            request, node = _DECODERS[variant](data)
        except DecodeError as error:
            raise ProtocolError(f"not a discovery request: {error}") from error
        if node is None:
            heard.insert(0, (data, request))
            del heard[_HEARD:]
        return request, node

    def response(self, plan: Plan, used: Collection[str], introduce: bool) -> tuple[str, bytes]:
        """A nonce that is none of the `used` ones, and the response with it; `introduce` adds who we are."""
        if introduce:
            body = plan.introduced or self._share(plan, introduce)
        else:
            body = plan.body or self._share(plan, introduce)
        nonce, data = plan.version, body.data
        if nonce in used:
            # The same again on one stream, as with echoes.  Of two nonce fields the last one counts.
            nonce = f"{nonce}.{next(self._repeats):x}"
            data += wire.string(_NONCE, nonce)
        return nonce, data

    @property
    def held(self) -> int:
        """Bytes of remembered responses."""
        return self._held

    def _share(self, plan: Plan, introduce: bool) -> Body:
        key = (plan.variant, plan.type_url, plan.version, introduce)
        body = self._bodies.get(key)
        if body is None:
            # First responses are large, and come by the thousand after a restart: joined in one step, and
            # shared like all others.
            introduction = self._introduction[plan.variant] if introduce else b""
            body = self._bodies[key] = Body(_join(plan, introduction))
        if introduce:
            plan.introduced = body
        else:
            plan.body = body
        self._remember(key, body, plan)
        return body

    def _remember(self, key: _Key, body: Body, plan: Plan) -> None:
        if len(body.data) > self._limit or plan.type_url == SECRET:
            return  # too large, or a key of one proxy, for which nobody else asks
        if key in self._recent:
            self._recent.move_to_end(key)
        else:
            self._held += len(body.data)
        self._recent[key] = (body, plan)
        while self._held > self._limit:
            _, (oldest, _) = self._recent.popitem(last=False)
            self._held -= len(oldest.data)


def _join(plan: Plan, introduction: bytes) -> bytes:
    return b"".join(
        (
            wire.string(_VERSION, plan.version),
            *plan.frames(),
            wire.string(_TYPE_URL, plan.type_url),
            wire.string(_NONCE, plan.version),
            *(wire.string(_DELTA_REMOVED, name) for name in plan.removed),
            introduction,
        )
    )
