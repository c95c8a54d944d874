"""What X.509 tells without cryptography: which key a certificate is for, and until when it holds.

Distinguished encoding rules (ITU-T X.690): each element is a tag, a length and its content.  What is read
here is what a user may have got wrong: a key that is another certificate's, a chain that begins at
the wrong end.  Signatures are not looked at; Envoy does that.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode, b64encode
from datetime import UTC, datetime
from typing import NamedTuple

_INTEGER, _BITS, _OCTETS, _OID, _SEQUENCE = 0x02, 0x03, 0x04, 0x06, 0x30
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18
_EXPLICIT_0, _EXPLICIT_1 = 0xA0, 0xA1
_RSA, _EC = bytes.fromhex("2a864886f70d010101"), bytes.fromhex("2a8648ce3d0201")
_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----\s*([A-Za-z0-9+/=\s]*?)-----END \1-----")


class Unreadable(ValueError):
    """Bytes that are not what they were taken for; the text never repeats them."""


class Block(NamedTuple):
    """One block of a PEM text: its label ("CERTIFICATE") and its content."""

    label: str
    der: bytes

    @property
    def pem(self) -> bytes:
        """The block as text, in lines of 64 characters (RFC 7468)."""
        body = b64encode(self.der)
        lines = [body[at : at + 64] for at in range(0, len(body), 64)]
        label = self.label.encode()
        return b"\n".join((b"-----BEGIN %s-----" % label, *lines, b"-----END %s-----" % label, b""))


class CertificateFacts(NamedTuple):
    """Of a certificate: serial number in hexadecimal, end in Unix seconds, and the public key."""

    serial: str
    not_after: int
    public: bytes


def blocks(text: bytes) -> tuple[Block, ...]:
    """The blocks of a PEM text; what stands between them is a comment.  Unreadable if one is not base64."""
    found = []
    for label, body in _BLOCK.findall(text):
        try:
            found.append(Block(label.decode(), b64decode(b"".join(body.split()), validate=True)))
        except binascii.Error as error:
            raise Unreadable("a block of it is not base64") from error
    return tuple(found)


def certificate(der: bytes) -> CertificateFacts:
    """What is to be known of a certificate (RFC 5280, 4.1)."""
    signed = _Elements(_Elements(der).take(_SEQUENCE)).take(_SEQUENCE)
    fields = _Elements(signed)
    fields.skip(_EXPLICIT_0)
    serial = int.from_bytes(fields.take(_INTEGER), "big", signed=True)
    fields.take(_SEQUENCE)  # algorithm of the signature
    fields.take(_SEQUENCE)  # issuer
    validity = _Elements(fields.take(_SEQUENCE))
    validity.any()
    not_after = _moment(*validity.any())
    fields.take(_SEQUENCE)  # subject
    key = _Elements(fields.take(_SEQUENCE))
    key.take(_SEQUENCE)
    return CertificateFacts(f"{serial:x}", not_after, key.take(_BITS)[1:])


def public_half(block: Block) -> bytes:
    """The public key that belongs to a private one, as it stands in its certificate.

    Unreadable with the reason: it is no key of RSA or an elliptic curve, has a password, or does not say.
    """
    if block.label == "RSA PRIVATE KEY":
        return _of_rsa(block.der)
    if block.label == "EC PRIVATE KEY":
        return _of_curve(block.der)
    if block.label == "ENCRYPTED PRIVATE KEY":
        raise Unreadable("the key has a password")
    if block.label != "PRIVATE KEY":
        raise Unreadable("it is no private key")
    fields = _Elements(_Elements(block.der).take(_SEQUENCE))
    fields.take(_INTEGER)
    algorithm = _Elements(fields.take(_SEQUENCE)).take(_OID)
    inner = fields.take(_OCTETS)
    if algorithm == _RSA:
        return _of_rsa(inner)
    if algorithm == _EC:
        return _of_curve(inner)
    raise Unreadable("the key is neither of RSA nor of an elliptic curve")


def _of_rsa(der: bytes) -> bytes:
    """RFC 8017, A.1: the public key is the modulus and the exponent."""
    fields = _Elements(_Elements(der).take(_SEQUENCE))
    fields.take(_INTEGER)
    modulus, exponent = fields.take(_INTEGER), fields.take(_INTEGER)
    return _element(_SEQUENCE, _element(_INTEGER, modulus) + _element(_INTEGER, exponent))


def _of_curve(der: bytes) -> bytes:
    """RFC 5915: the public key is optional, and everybody writes it."""
    fields = _Elements(_Elements(der).take(_SEQUENCE))
    fields.take(_INTEGER)
    fields.take(_OCTETS)
    fields.skip(_EXPLICIT_0)
    if not fields.more:
        raise Unreadable("the key does not hold its public half")
    return _Elements(fields.take(_EXPLICIT_1)).take(_BITS)[1:]


def _moment(tag: int, content: bytes) -> int:
    text = content.decode("ascii", "replace")
    try:
        if tag == _UTC_TIME:
            # Two digits of the year, from 1950 to 2049 (RFC 5280, 4.1.2.5.1).
            text = ("19" if text[:2] >= "50" else "20") + text
        elif tag != _GENERALIZED_TIME:
            raise Unreadable("a certificate holds no time where one belongs")
        return int(datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp())
    except ValueError as error:
        raise Unreadable("a certificate holds no time where one belongs") from error


def _element(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


class _Elements:
    """Reads one element after the other."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def more(self) -> bool:
        """Whether there is another element."""
        return self._at < len(self._data)

    def any(self) -> tuple[int, bytes]:
        """Tag and content of the next element."""
        data, at = self._data, self._at
        if at + 2 > len(data):
            raise Unreadable("it ends too early")
        tag, size, at = data[at], data[at + 1], at + 2
        if size & 0x80:
            count = size & 0x7F
            if not 1 <= count <= 4:
                raise Unreadable("an element has no length that can be")
            size, at = int.from_bytes(data[at : at + count], "big"), at + count
        if at + size > len(data):
            raise Unreadable("it ends too early")
        self._at = at + size
        return tag, data[at : at + size]

    def take(self, tag: int) -> bytes:
        """The content of the next element, which has to be of this tag."""
        found, content = self.any()
        if found != tag:
            raise Unreadable("it is made of other parts than it should be")
        return content

    def skip(self, tag: int) -> None:
        """Pass over the next element if it is of this tag."""
        if self.more and self._data[self._at] == tag:
            self.any()
