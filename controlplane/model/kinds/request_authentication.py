"""The RequestAuthentication: which tokens (JWT) a workload knows how to check, and where to find them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from controlplane.graph import Table
from controlplane.model.describe import shorten
from controlplane.model.jwks import discovery_uri, read_key_set, uri_fault
from controlplane.model.keys import Key, Labels
from controlplane.model.kinds.kind import Kind, by_namespace, namespace_of
from controlplane.model.kinds.policy_target import PolicyTargetReference, read_policy_selector, read_targets
from controlplane.model.meta import Meta
from controlplane.model.reader import Reader


@dataclass(frozen=True, slots=True)
class JwtHeader:
    """A header that holds a token, after `prefix`."""

    name: str
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class ClaimToHeader:
    """A claim ("a.b" = nested) that the application is told in a header."""

    header: str
    claim: str


@dataclass(frozen=True, slots=True)
class JwtRule:
    """The tokens of one issuer.

    `jwks` is a canonical key set, "" where keys are at `jwks_uri` or where the issuer says.  Without any
    `from_*`, tokens are where Envoy looks by itself: "Authorization: Bearer …" and `access_token`.
    `timeout` is for fetching keys, in nanoseconds; None = the default.
    """

    issuer: str
    audiences: tuple[str, ...] = ()
    jwks: str = ""
    jwks_uri: str | None = None
    from_headers: tuple[JwtHeader, ...] = ()
    from_params: tuple[str, ...] = ()
    from_cookies: tuple[str, ...] = ()
    output_payload_to_header: str | None = None
    output_claim_to_headers: tuple[ClaimToHeader, ...] = ()
    forward_original_token: bool = False
    timeout: int | None = None
    space_delimited_claims: tuple[str, ...] = ()
    presence: str = "OPTIONAL"

    @property
    def keys_from(self) -> str:
        """The URI that its keys have to be fetched from: said, or by discovery; "" where none has to."""
        return "" if self.jwks else self.jwks_uri or discovery_uri(self.issuer)


@dataclass(frozen=True, slots=True)
class RequestAuthentication:
    """`selector` () = every workload; with `target_refs` it is for none of them."""

    meta: Meta
    selector: Labels = ()
    target_refs: tuple[PolicyTargetReference, ...] = ()
    jwt_rules: tuple[JwtRule, ...] = ()


def _by_uri(_key: Key, value: RequestAuthentication) -> Iterator[str]:
    return (rule.keys_from for rule in value.jwt_rules if rule.keys_from)


request_authentications = Table(
    "request_authentications",
    indexes={"namespace": by_namespace, "jwks": _by_uri},
    # What is attached to a Gateway or a Service holds for no workload by itself.
    selector=lambda value: None if value.target_refs else value.selector,
    namespace=namespace_of,
)

# RFC 9110, section 5.6.2: what Envoy takes as the name of a header.
_TOKEN = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
_VISIBLE = re.compile(r"[\t\x20-\x7e\x80-\U0010ffff]*")


def _read(r: Reader, meta: Meta) -> RequestAuthentication:
    return RequestAuthentication(
        meta=meta,
        selector=r.message("selector", read_policy_selector) or (),
        target_refs=read_targets(r),
        jwt_rules=r.messages("jwtRules", _read_rule),
    )


def _read_rule(r: Reader) -> JwtRule:
    rule = JwtRule(
        issuer=r.required("issuer", 'write the "iss" of the tokens'),
        audiences=r.strings("audiences"),
        jwks=_read_jwks(r),
        jwks_uri=_read_uri(r),
        from_headers=r.messages("fromHeaders", _read_header),
        from_params=r.strings("fromParams"),
        from_cookies=r.strings("fromCookies"),
        output_payload_to_header=r.string("outputPayloadToHeader"),
        output_claim_to_headers=r.messages("outputClaimToHeaders", _read_claim),
        forward_original_token=r.boolean("forwardOriginalToken"),
        timeout=r.duration("timeout"),
        space_delimited_claims=r.strings("spaceDelimitedClaims"),
        presence=r.enum("presence", ("OPTIONAL", "REQUIRED"), "OPTIONAL"),
    )
    _check_header_name(r, "outputPayloadToHeader", rule.output_payload_to_header)
    _check_keys(r, rule)
    return rule


def _read_jwks(r: Reader) -> str:
    text = r.string("jwks")
    if text is None:
        return ""
    found = read_key_set(text)
    remedy = 'write the issuer\'s JWK set: {"keys": [{"kty": …}]}'
    if not found.text:
        place, fault = found.faults[0]
        why = f"{place} {fault}" if place else fault
        r.error("jwks", f"has no key that can be used: {why}", remedy)
        return ""
    for place, fault in found.faults:
        r.warn(f"jwks.{place}", f"is left out: it {fault}", "remove it, or correct it")
    return found.text


def _read_uri(r: Reader) -> str | None:
    """`jwksUri`; `jwks_uri` is how it was spelled before."""
    for name in ("jwksUri", "jwks_uri"):
        uri = r.string(name)
        fault = uri_fault(uri) if uri else ""
        if fault:
            r.error(name, f"{shorten(uri or '')} {fault}", "write https://host/path")
    return r.string("jwksUri") or r.string("jwks_uri")


def _check_keys(r: Reader, rule: JwtRule) -> None:
    given = [name for name in ("jwks", "jwksUri", "jwks_uri") if r.value(name) not in (None, "")]
    if len(given) > 1:
        r.error(given[1], f"excludes {given[0]}", "keep one of them")
    elif not given and rule.issuer and not rule.keys_from:
        r.error(
            "jwksUri",
            f"is missing, and {shorten(rule.issuer)} is no https URI that could be asked for its keys",
            "say jwksUri or jwks",
        )


def _read_header(r: Reader) -> JwtHeader:
    header = JwtHeader(r.required("name", "name the header"), r.text("prefix"))
    _check_header_name(r, "name", header.name)
    if not _VISIBLE.fullmatch(header.prefix):
        r.error("prefix", "holds a character that no header has", 'write what stands before it, as "Bearer "')
    return header


def _read_claim(r: Reader) -> ClaimToHeader:
    found = ClaimToHeader(r.required("header", "name the header"), r.required("claim", "name the claim"))
    _check_header_name(r, "header", found.header)
    return found


def _check_header_name(r: Reader, name: str, header: str | None) -> None:
    if header and not _TOKEN.fullmatch(header):
        r.error(name, f"{shorten(header)} cannot be the name of a header", "use letters, digits and hyphens")


def space_delimited(rule: JwtRule) -> tuple[str, ...]:
    """The claims of a rule that hold several words: those of OAuth, and its own."""
    return tuple(dict.fromkeys(("scope", "permission", *rule.space_delimited_claims)))


REQUEST_AUTHENTICATION = Kind(
    name="RequestAuthentication",
    group="security.istio.io",
    versions=("v1", "v1beta1"),
    plural="requestauthentications",
    namespaced=True,
    table=request_authentications,
    read=_read,
    guarding=True,
)
