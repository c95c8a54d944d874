"""Signing requests: only the key counts, and who asks for more is refused."""

from __future__ import annotations

import base64
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.ca.csr import MOST_BYTES, Unparsable, key_of
from controlplane.ca.refused import Refused
from tests.support.cas import needs_openssl, openssl

WEB = "spiffe://cluster.local/ns/default/sa/web"
P256 = ec.generate_private_key(ec.SECP256R1())


def request(key: Any = P256, *extensions: x509.ExtensionType, name: str = "", digest: Any = None) -> str:
    subject = [x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else []
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject))
    for one in extensions:
        builder = builder.add_extension(one, critical=False)
    signed = builder.sign(
        key, None if isinstance(key, ed25519.Ed25519PrivateKey) else digest or hashes.SHA256()
    )
    return signed.public_bytes(serialization.Encoding.PEM).decode()


def names(*found: x509.GeneralName) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName(found)


def uri(text: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(text)


def usage(**on: bool) -> x509.KeyUsage:
    every = (
        *(
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
        ),
        *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    )
    return x509.KeyUsage(**{**dict.fromkeys(every, False), **on})


def refusal(text: str) -> str:
    with pytest.raises(Refused) as caught:
        key_of(text, (WEB,))
    assert caught.value.kind == "CSR_ERROR"
    assert not isinstance(caught.value, Unparsable)
    return str(caught.value)


@pytest.mark.parametrize(
    "key",
    [
        P256,
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP521R1()),
        rsa.generate_private_key(65537, 2048),
    ],
    ids=["p256", "p384", "p521", "rsa"],
)
def test_the_key_is_taken_and_nothing_else(key: Any) -> None:
    assert key_of(request(key), (WEB,)) == key.public_key()
    # An istio-proxy names itself, and an organisation that means nothing.
    assert key_of(request(key, names(uri(WEB)), name="admin"), (WEB,)) == key.public_key()


@pytest.mark.parametrize(
    "foreign",
    [
        names(uri("spiffe://cluster.local/ns/default/sa/other")),
        names(uri("spiffe://cluster.local/ns/other/sa/web")),
        names(uri("spiffe://other.example/ns/default/sa/web")),
        names(uri(WEB), uri("spiffe://cluster.local/ns/default/sa/other")),
        names(uri(WEB + "/")),
        names(uri(WEB.upper())),
        names(x509.DNSName("istiod.istio-system.svc")),
        names(x509.DNSName(WEB)),
        names(x509.RFC822Name("root@cluster.local")),
        names(x509.IPAddress(ip_address("10.0.0.1"))),
        names(x509.DirectoryName(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "root")]))),
        names(x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), b"\x0c\x03web")),
    ],
)
def test_names_of_others_are_refused(foreign: x509.SubjectAlternativeName) -> None:
    assert "a name of somebody else" in refusal(request(P256, foreign))


@pytest.mark.parametrize(
    ("extension", "reason"),
    [
        (x509.BasicConstraints(True, None), "asks to be a CA"),
        (x509.BasicConstraints(True, 0), "asks to be a CA"),
        (usage(key_cert_sign=True), "the right to sign"),
        (usage(digital_signature=True, crl_sign=True), "the right to sign"),
        (x509.NameConstraints([x509.DNSName("x")], None), "name constraints"),
    ],
)
def test_rights_of_a_ca_are_refused(extension: x509.ExtensionType, reason: str) -> None:
    assert reason in refusal(request(P256, extension))


def test_modest_wishes_do_no_harm() -> None:
    text = request(P256, x509.BasicConstraints(False, None), usage(digital_signature=True), names(uri(WEB)))
    assert key_of(text, (WEB,)) == P256.public_key()


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (rsa.generate_private_key(65537, 1024), "RSA of 1024 bits"),
        (rsa.generate_private_key(3, 2048), "RSA exponent is 3"),
        (ec.generate_private_key(ec.SECP224R1()), "its curve is secp224r1"),
        (ec.generate_private_key(ec.SECP256K1()), "its curve is secp256k1"),
        (ed25519.Ed25519PrivateKey.generate(), "neither EC"),
        (dsa.generate_private_key(1024), "neither EC"),
    ],
    ids=["rsa1024", "rsa-e3", "p224", "secp256k1", "ed25519", "dsa"],
)
def test_weak_and_odd_keys_are_refused(key: Any, reason: str) -> None:
    assert reason in refusal(request(key))


def test_somebody_elses_key_cannot_be_certified() -> None:
    # The key of one request in the body of another: whoever sends it does not have it.
    other = ec.generate_private_key(ec.SECP256R1())

    def der(text: str) -> bytes:
        return x509.load_pem_x509_csr(text.encode()).public_bytes(serialization.Encoding.DER)

    def point(key: Any) -> bytes:
        return key.public_key().public_bytes(  # type: ignore[no-any-return]
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        )

    forged = der(request()).replace(point(P256), point(other))
    text = x509.load_der_x509_csr(forged).public_bytes(serialization.Encoding.PEM).decode()
    with pytest.raises(Unparsable, match="not signed by its own key"):
        key_of(text, (WEB,))


BEGIN, END = "-----BEGIN CERTIFICATE REQUEST-----\n", "-----END CERTIFICATE REQUEST-----\n"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "\x00",
        "ä" * 100,
        BEGIN + END,
        BEGIN + "AAAA\n" + END,
        request()[:-40],
        request().replace("M", "N", 3),
    ],
)
def test_what_cannot_be_read(text: str) -> None:
    with pytest.raises(Unparsable):
        key_of(text, (WEB,))


def test_a_huge_request_is_not_even_read() -> None:
    with pytest.raises(Unparsable, match=f"more than {MOST_BYTES} bytes"):
        key_of(request() + " " * MOST_BYTES, (WEB,))


# Signatures have a length of chance: one request for all examples.
SAMPLE = x509.load_pem_x509_csr(request(P256, names(uri(WEB))).encode()).public_bytes(
    serialization.Encoding.DER
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(SAMPLE) - 9), st.integers(0, 255)), min_size=1, max_size=4))
def test_no_request_raises_anything_else(changes: list[tuple[int, int]]) -> None:
    data = bytearray(SAMPLE)
    for place, value in changes:
        data[place] = value
    try:
        found = key_of(BEGIN + base64.encodebytes(data).decode() + END, (WEB,))
    except Refused:
        return
    assert found == P256.public_key()


@needs_openssl
@pytest.mark.parametrize("digest", ["-sha1", "-md5"])
def test_a_signature_over_a_weak_hash_is_refused(tmp_path: Path, digest: str) -> None:
    key, out = str(tmp_path / "key.pem"), str(tmp_path / "csr.pem")
    openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", key)
    openssl("req", "-new", "-key", key, "-subj", "/CN=x", digest, "-out", out)
    assert "a hash that is too weak" in refusal(Path(out).read_text())
