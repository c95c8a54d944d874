"""Which requests an HTTP rule of a VirtualService takes: its match blocks, translated.

Conditions on the client (its labels and namespace, the gateway, the port) are decided here, once per
kind of client; conditions on the request become a `Match`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

from controlplane.mesh.routing_ir import ClaimMatch, HeaderMatch, Match, PathMatch, QueryMatch, TextMatch
from controlplane.model.claims import claim_path, is_claim
from controlplane.model.keys import Key, Labels
from controlplane.model.kinds.gateway import gateway_key
from controlplane.model.kinds.http_match import HTTPMatchRequest, StringMatch
from controlplane.model.kinds.virtual_service import L4MatchAttributes, TLSMatchAttributes

Affinity: TypeAlias = tuple[tuple[str, tuple[Key, ...]], ...]
"""(destination host, the DestinationRules in force for it), sorted, where those may ask for affinity."""


class Client(NamedTuple):
    """What routes depend on of the client: a projection, so that clients which differ otherwise share them.

    `namespace` is "" and `matched` (the satisfied sourceLabels selectors) is () where no rule asks.
    `gateway` is the Gateway that the requests come through; None: they come from a sidecar.
    """

    namespace: str = ""
    matched: tuple[Labels, ...] = ()
    affinity: Affinity = ()
    gateway: Key | None = None


ANYONE = Client()


def admits(
    match: HTTPMatchRequest | TLSMatchAttributes | L4MatchAttributes,
    client: Client,
    port: int,
    namespace: str = "",
) -> bool:
    """Whether a match block of an object in `namespace` is meant for this client and this listener port.

    As in Istio, a block that names gateways is not asked about source labels and namespace.  Claims of
    tokens are known to gateways alone: no request through a sidecar has any.
    """
    if match.port is not None and match.port != port:
        return False
    of_claims = isinstance(match, HTTPMatchRequest) and any(is_claim(name) for name, _ in match.headers)
    if of_claims and client.gateway is None:
        return False
    if match.gateways:
        return client.gateway in {gateway_key(text, namespace) for text in match.gateways}
    if match.source_labels and match.source_labels not in client.matched:
        return False
    return match.source_namespace in (None, "", client.namespace)


def translate_match(match: HTTPMatchRequest, *, claims: bool = False) -> Match:
    """The conditions on the request; `claims`: it comes through a gateway, which knows those of its token.

    On a sidecar no claim is there, so that each holds which must not.
    """
    headers = [
        *_pseudo_header(":method", match.method),
        *_pseudo_header(":scheme", match.scheme),
        *_pseudo_header(":authority", match.authority),
        *(HeaderMatch(name, _text(text)) for name, text in match.headers if not is_claim(name)),
        *(
            HeaderMatch(name, _text(text), invert=True)
            for name, text in match.without_headers
            if not is_claim(name)
        ),
    ]
    query = tuple(QueryMatch(name, _text(text)) for name, text in match.query_params)
    return Match(_path(match), tuple(headers), query, tuple(_claims(match)) if claims else ())


def _claims(match: HTTPMatchRequest) -> Iterator[ClaimMatch]:
    for tests, invert in ((match.headers, False), (match.without_headers, True)):
        for name, text in tests:
            if is_claim(name):
                yield ClaimMatch(claim_path(name), _text(text), invert)


def _path(match: HTTPMatchRequest) -> PathMatch:
    uri = match.uri
    if uri is None or uri.kind == "present":
        return PathMatch()
    return PathMatch(uri.kind, uri.value, ignore_case=match.ignore_uri_case and uri.kind != "regex")


def _pseudo_header(name: str, text: StringMatch | None) -> tuple[HeaderMatch, ...]:
    return () if text is None else (HeaderMatch(name, _text(text)),)


def _text(match: StringMatch) -> TextMatch:
    # "*" is no regular expression, but people write it and Istio takes it for "any value".
    if match.kind == "regex" and match.value in ("", "*"):
        return TextMatch("present")
    return TextMatch(match.kind, match.value)
