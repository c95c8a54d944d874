"""Requests and responses as bytes.

A response is joined from the frames of its resources, which are serialized once.  The bytes are the
same for all streams but for the nonce at their end, and equal responses of different scopes are
the same object: they are found by a hash of their content.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError

from controlplane.base import wire
from controlplane.base.errors import ProtocolError
from controlplane.envoy import pb
from controlplane.model.locality import Locality
from controlplane.xds.plan import Body, Plan
from controlplane.xds.protocol import Request
from controlplane.xds.variant import Variant

# https://www.envoyproxy.io/docs/envoy/latest/api-v3/service/discovery/v3/discovery.proto
_VERSION, _TYPE_URL, _NONCE = 1, 4, 5
_SOTW_CONTROL_PLANE = 6
_DELTA_REMOVED, _DELTA_CONTROL_PLANE = 6, 7
_IDENTIFIER = 1


@dataclass(frozen=True, slots=True)
class NodeClaim:
    """What a client says of itself, as plain values; nothing in it is checked yet."""

    id: str
    metadata: Mapping[str, object]
    locality: Locality


def identifier(component: str, instance: str, version: str) -> str:
    """How the control plane names itself to its clients, in the form that Istio's tools parse."""
    return json.dumps({"Component": component, "ID": instance, "Info": {"version": version}})


def decode(variant: Variant, data: bytes) -> tuple[Request, NodeClaim | None]:
    """A request, and the node where it names one; ProtocolError when the bytes are none."""
    try:
        if variant is Variant.SOTW:
            return _decode_sotw(pb.discovery.DiscoveryRequest.FromString(data))
        return _decode_delta(pb.discovery.DeltaDiscoveryRequest.FromString(data))
    except DecodeError as error:
        raise ProtocolError(f"not a discovery request: {error}") from error


def _decode_sotw(message: Any) -> tuple[Request, NodeClaim | None]:
    request = Request(
        type_url=message.type_url,
        nonce=message.response_nonce,
        names=tuple(message.resource_names),
        version=message.version_info,
        error=_error(message),
    )
    return request, _node(message)


def _decode_delta(message: Any) -> tuple[Request, NodeClaim | None]:
    request = Request(
        type_url=message.type_url,
        nonce=message.response_nonce,
        names=tuple(message.resource_names_subscribe),
        unsubscribe=tuple(message.resource_names_unsubscribe),
        known=dict(message.initial_resource_versions),
        error=_error(message),
    )
    return request, _node(message)


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
        self._held = 0
        self._bodies: WeakValueDictionary[tuple[Variant, str, str], Body] = WeakValueDictionary()
        # The plans are held too: they are what the next stream will look for.
        self._recent: OrderedDict[tuple[Variant, str, str], tuple[Body, Plan]] = OrderedDict()

    def response(self, plan: Plan, nonce: str, introduce: bool) -> bytes:
        """The response with this nonce; `introduce` adds who we are."""
        body = plan.body or self._share(plan)
        end = wire.string(_NONCE, nonce)
        return body.data + end + self._introduction[plan.variant] if introduce else body.data + end

    @property
    def held(self) -> int:
        """Bytes of remembered responses."""
        return self._held

    def _share(self, plan: Plan) -> Body:
        key = (plan.variant, plan.type_url, plan.version)
        body = self._bodies.get(key)
        if body is None:
            body = self._bodies[key] = Body(_join(plan))
        plan.body = body
        self._remember(key, body, plan)
        return body

    def _remember(self, key: tuple[Variant, str, str], body: Body, plan: Plan) -> None:
        if len(body.data) > self._limit:
            return
        if key in self._recent:
            self._recent.move_to_end(key)
        else:
            self._held += len(body.data)
        self._recent[key] = (body, plan)
        while self._held > self._limit:
            _, (oldest, _) = self._recent.popitem(last=False)
            self._held -= len(oldest.data)


def _join(plan: Plan) -> bytes:
    parts = [wire.string(_VERSION, plan.version)]
    if plan.variant is Variant.SOTW:
        parts += [one.sotw_frame for one in plan.upserts]
    else:
        parts += [one.delta_frame for one in plan.upserts]
    parts.append(wire.string(_TYPE_URL, plan.type_url))
    parts += [wire.string(_DELTA_REMOVED, name) for name in plan.removed]
    return b"".join(parts)
