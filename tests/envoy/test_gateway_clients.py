"""A real Envoy as a gateway that judges clients: by authorities, lists, hashes, versions and ciphers."""

from __future__ import annotations

import hashlib
import ssl
from base64 import b64encode
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization as forms

from controlplane.lab.fetch import Target, connect
from controlplane.lab.waiting import wait_until
from tests.support.envoys import MARKS, scenes
from tests.support.gateways import GATEWAY, ISSUER, Scene, secure_gateway
from tests.support.servers import Issuer, Pair

pytestmark = MARKS

HOST = "shop.example.com"
PARTNERS = Issuer("partners")
SHOP = ISSUER.issue(HOST)
RSA = ISSUER.issue(HOST, of_rsa=True)
ONE, OTHER = PARTNERS.issue("one.partner.com"), PARTNERS.issue("other.partner.com")
STRANGER = Issuer("strangers").issue("one.partner.com")

scene = scenes(Scene)


@pytest.fixture(autouse=True)
def clean(scene: Scene) -> Iterator[None]:
    scene.write("secrets", SECRETS)
    yield
    scene.clear()


def secret(name: str, **data: bytes) -> str:
    lines = "".join(f"  {key.replace('_', '.')}: {b64encode(text).decode()}\n" for key, text in data.items())
    return (
        f"---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: edge}}\ndata:\n{lines}---\n"
    )


SECRETS = (
    SHOP.secret("shop")
    + RSA.secret("shop-rsa")
    + secret("partners", ca_crt=PARTNERS.certificate)
    + SHOP.secret("listed")
    + secret("listed-cacert", ca_crt=PARTNERS.certificate, ca_crl=PARTNERS.revoked(OTHER))
)


def serve(scene: Scene, tls: str) -> None:
    """A server with these TLS settings in place of the usual ones."""
    usual = "tls: {mode: SIMPLE, credentialName: shop}"
    text = secure_gateway(HOST, "shop")
    assert usual in text
    scene.write("https", text.replace(usual, f"tls: {{{tls}}}"))


def served(scene: Scene, pair: Pair | None) -> bool:
    return scene.secure(HOST, ISSUER, pair=pair) is not None


def verdicts(scene: Scene) -> dict[str, bool]:
    """Who is let in."""
    callers = {"nobody": None, "one": ONE, "other": OTHER, "stranger": STRANGER}
    return {name: served(scene, pair) for name, pair in callers.items()}


def let_in(*names: str) -> dict[str, bool]:
    return {name: name in names for name in ("nobody", "one", "other", "stranger")}


def fingerprint(pair: Pair) -> str:
    return hashlib.sha256(certificate(pair).public_bytes(forms.Encoding.DER)).hexdigest()


def spki(pair: Pair) -> str:
    key = certificate(pair).public_key()
    raw = key.public_bytes(forms.Encoding.DER, forms.PublicFormat.SubjectPublicKeyInfo)
    return b64encode(hashlib.sha256(raw).digest()).decode()


def certificate(pair: Pair) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pair.chain)


JUDGED = "mode: MUTUAL, credentialName: shop, caCertCredentialName: partners"


@pytest.mark.parametrize(
    ("tls", "welcome"),
    [
        (JUDGED, ("one", "other")),
        (f"{JUDGED}, subjectAltNames: [one.partner.com]", ("one",)),
        (f"{JUDGED}, verifyCertificateHash: [{fingerprint(ONE)}]", ("one",)),
        (f"{JUDGED}, verifyCertificateSpki: ['{spki(ONE)}']", ("one",)),
        (f"{JUDGED}, insecureSkipVerify: true", ("one", "other", "stranger")),
        (JUDGED.replace("MUTUAL", "OPTIONAL_MUTUAL"), ("nobody", "one", "other")),
        ("mode: MUTUAL, credentialName: listed", ("one",)),
    ],
)
def test_who_is_let_in(scene: Scene, tls: str, welcome: tuple[str, ...]) -> None:
    serve(scene, tls)
    assert wait_until(lambda: verdicts(scene) == let_in(*welcome), 40), verdicts(scene)


class Hands(NamedTuple):
    """What a handshake came to."""

    version: str | None
    cipher: str
    serial: int


def handshake(scene: Scene, context: ssl.SSLContext) -> Hands | None:
    try:
        raw = connect(Target(scene.client.netns, GATEWAY, 8443), 5)
        with raw, context.wrap_socket(raw, server_hostname=HOST) as wrapped:
            shown, cipher = wrapped.getpeercert(), wrapped.cipher()
            assert shown is not None and cipher is not None
            return Hands(wrapped.version(), cipher[0], int(str(shown["serialNumber"]), 16))
    except (ConnectionError, ssl.SSLError):
        return None


def client(low: ssl.TLSVersion, high: ssl.TLSVersion, ciphers: str = "") -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=ISSUER.certificate.decode())
    context.minimum_version, context.maximum_version = low, high
    if ciphers:
        context.set_ciphers(ciphers)
    return context


def test_versions_and_ciphers_are_those_that_are_said(scene: Scene) -> None:
    old, new = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
    serve(scene, "mode: SIMPLE, credentialName: shop, minProtocolVersion: TLSV1_3")
    assert wait_until(lambda: handshake(scene, client(new, new)) is not None, 40)
    assert handshake(scene, client(old, old)) is None
    only = "ECDHE-ECDSA-AES256-GCM-SHA384"
    serve(scene, f"mode: SIMPLE, credentialName: shop, maxProtocolVersion: TLSV1_2, cipherSuites: [{only}]")
    assert wait_until(lambda: handshake(scene, client(old, old)) is not None, 40)
    found = handshake(scene, client(old, new))
    assert found is not None
    assert (found.version, found.cipher) == ("TLSv1.2", only)
    assert handshake(scene, client(old, old, "ECDHE-ECDSA-AES128-GCM-SHA256")) is None


def test_of_two_certificates_a_client_is_shown_the_one_it_understands(scene: Scene) -> None:
    serve(scene, "mode: SIMPLE, credentialNames: [shop, shop-rsa], maxProtocolVersion: TLSV1_2")
    old = ssl.TLSVersion.TLSv1_2

    def shown(ciphers: str) -> int | None:
        found = handshake(scene, client(old, old, ciphers))
        return None if found is None else found.serial

    assert wait_until(lambda: shown("ECDHE-RSA-AES128-GCM-SHA256") == RSA.serial, 40)
    assert shown("ECDHE-ECDSA-AES128-GCM-SHA256") == SHOP.serial
