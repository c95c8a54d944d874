"""The Secret, as far as a gateway serves it: a certificate with its key, and who certifies clients.

Kubernetes' own names (`tls.crt`, `tls.key`, `ca.crt`, `ca.crl`) and those of Istio's older generic form
(`cert`, `key`, `cacert`, `crl`) are read, whatever the Secret's type; nothing else of it is kept.  A key
is shown nowhere: not in a repr, and not in a problem, whose text never repeats a value
(https://istio.io/latest/docs/tasks/traffic-management/ingress/secure-ingress/).
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from controlplane.graph import Table
from controlplane.model.der import Block, CertificateFacts, Unreadable, blocks, certificate, public_half
from controlplane.model.kinds.kind import Kind, by_namespace, namespace_of
from controlplane.model.meta import Meta
from controlplane.model.reader import Reader

REDACTED = "redacted:"
"""What recordings hold in place of a value begins so."""

_TLS = "kubernetes.io/tls"
_PAIRS = (("tls.crt", "tls.key"), ("cert", "key"))
_AUTHORITIES = ("ca.crt", "cacert")
_REVOKED = ("ca.crl", "crl")
_LIST = "X509 CRL"
_MOST = 1024 * 1024
"""Bytes of a value: no Secret of Kubernetes is larger."""


@dataclass(frozen=True, slots=True)
class Secret:
    """What a gateway can serve; PEM each, empty where there is none.

    `revoked` are lists of certificates that the authorities have taken back.  `version` is made of the serial
    number and the end of the first certificate.
    """

    meta: Meta
    chain: bytes = b""
    key: bytes = field(default=b"", repr=False)
    authorities: bytes = b""
    version: str = ""
    revoked: bytes = b""


secrets = Table("secrets", indexes={"namespace": by_namespace}, namespace=namespace_of)


class _Certificate(NamedTuple):
    block: Block
    facts: CertificateFacts


class _Values(NamedTuple):
    """The values of a Secret and where each stands: "data" or "stringData"."""

    found: Mapping[str, bytes]
    places: Mapping[str, str]
    redacted: bool

    def path(self, name: str) -> str:
        return f"{self.places.get(name, 'data')}[{name}]"


def _read(r: Reader, meta: Meta) -> Secret:
    r.skip("apiVersion", "kind", "immutable")
    values = _values(r)
    tls = r.text("type") == _TLS
    names = next((pair for pair in _PAIRS if values.found.keys() & set(pair)), _PAIRS[0])
    ca = next((name for name in _AUTHORITIES if name in values.found), "")
    if values.redacted:
        return _stand_in(r, meta, [values.found.get(name, b"") for name in (*names, ca)])
    authorities = _pem(_certificates(r, values, ca)) if ca else b""
    revoked = _revoked(r, values, authorities)
    if not (tls or values.found.keys() & set(names)):
        return Secret(meta, authorities=authorities, revoked=revoked)
    missing = [name for name in names if not values.found.get(name)]
    for name in missing:
        r.error(values.path(name), "is missing", f"store {' and '.join(names)} together, in PEM")
    chain = _certificates(r, values, names[0]) if not missing else ()
    key = _key(r, values, names[1]) if not missing else None
    if not chain or key is None or not _fits(r, values, names, chain, key):
        return Secret(meta)
    version = f"{chain[0].facts.serial}-{chain[0].facts.not_after}"
    # Written anew: what else stood there, a key between the certificates, say, goes nowhere.
    return Secret(meta, _pem(chain), key.pem, authorities, version, revoked)


def _values(r: Reader) -> _Values:
    """The values that may matter; what was redacted stays as it is."""
    found: dict[str, bytes] = {}
    places: dict[str, str] = {}
    redacted = False
    wanted = {*_AUTHORITIES, *_REVOKED, *(name for pair in _PAIRS for name in pair)}
    for place in ("data", "stringData"):
        given: Any = r.value(place)
        if given is None:
            continue
        if not isinstance(given, Mapping):
            r.error(place, "is no mapping", "write names with their values")
            continue
        for name in sorted(wanted & given.keys()):
            value = given[name]
            hidden = isinstance(value, str) and value.startswith(REDACTED)
            redacted = redacted or hidden
            places[name] = place
            found[name] = _bytes(r, f"{place}[{name}]", value, plain=hidden or place == "stringData")
    return _Values(found, places, redacted)


def _revoked(r: Reader, values: _Values, authorities: bytes) -> bytes:
    """The lists of revoked certificates; whoever has one should not think that it counts where it cannot."""
    name = next((name for name in _REVOKED if values.found.get(name)), "")
    if not name:
        return b""
    try:
        found = [one for one in blocks(values.found[name]) if one.label == _LIST]
    except Unreadable as error:
        r.error(values.path(name), f"cannot be used: {error}", f"store it in PEM, as {_LIST}")
        return b""
    if not found:
        r.error(values.path(name), "holds no list of revoked certificates", f"store it in PEM, as {_LIST}")
    elif not authorities:
        why = "has no effect: there are no authorities beside it whose certificates it could revoke"
        r.warn(values.path(name), why, "store their certificates as ca.crt in the same Secret")
    return b"".join(one.pem for one in found)


def _stand_in(r: Reader, meta: Meta, values: list[bytes]) -> Secret:
    """In a replay the markers stand for what they replaced: it is there, and it changes when that did."""
    r.warn("data", "is redacted: recordings hold no secrets", "no Envoy can serve with it")
    chain, key, authorities = values
    return Secret(meta, chain, key, authorities, (chain + b" " + key).decode("ascii", "replace"))


def _bytes(r: Reader, path: str, value: object, *, plain: bool) -> bytes:
    if value is None:
        return b""
    if not isinstance(value, str) or len(value) > 2 * _MOST:
        r.error(path, "is no text that a certificate or key can be in", "store it in PEM")
        return b""
    if plain:
        return value.encode(errors="replace")
    try:
        return b64decode("".join(value.split()), validate=True)
    except (binascii.Error, ValueError):
        r.error(path, "is not base64", "encode it, or write it into stringData as it is")
        return b""


def _fits(
    r: Reader, values: _Values, names: tuple[str, str], chain: tuple[_Certificate, ...], key: Block
) -> bool:
    """Whether the key is that of the first certificate, which Envoy would find out by rejecting both."""
    path = values.path(names[1])
    try:
        public = public_half(key)
    except Unreadable as error:
        r.error(path, f"cannot be used: {error}", "`openssl pkey` writes a key as it is wanted")
        return False
    owners = [at for at, one in enumerate(chain, 1) if one.facts.public == public]
    if not owners:
        r.error(path, f"is not the key of {names[0]}", "store the key that the certificate was made for")
    elif owners[0] > 1:
        reason = f"is the key of certificate {owners[0]} in {names[0]}, not of the first"
        r.error(path, reason, "begin the chain with the server's own certificate")
    return owners[:1] == [1]


def _key(r: Reader, values: _Values, name: str) -> Block | None:
    try:
        found = [one for one in blocks(values.found[name]) if one.label.endswith("PRIVATE KEY")]
    except Unreadable as error:
        r.error(values.path(name), f"cannot be used: {error}", "store the private key in PEM")
        return None
    if len(found) == 1:
        return found[0]
    reason = "holds no private key" if not found else "holds more than one private key"
    r.error(values.path(name), reason, "store the private key in PEM, without a password")
    return None


def _certificates(r: Reader, values: _Values, name: str) -> tuple[_Certificate, ...]:
    try:
        found = [one for one in blocks(values.found[name]) if one.label == "CERTIFICATE"]
        chain = tuple(_Certificate(one, certificate(one.der)) for one in found)
    except Unreadable as error:
        r.error(values.path(name), f"cannot be used: {error}", "store certificates in PEM")
        return ()
    if not chain:
        r.error(values.path(name), "holds no certificate", "store certificates in PEM")
    return chain


def _pem(chain: tuple[_Certificate, ...]) -> bytes:
    return b"".join(one.block.pem for one in chain)


SECRET = Kind(
    name="Secret",
    group="",
    versions=("v1",),
    plural="secrets",
    namespaced=True,
    table=secrets,
    read=_read,
    shape="core",
)
