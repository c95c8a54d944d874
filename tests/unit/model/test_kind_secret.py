"""Secrets: what a gateway can serve is told from what Envoy would reject, and no key is ever shown."""

from __future__ import annotations

import subprocess
from base64 import b64encode
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization as pem

from controlplane.model.der import blocks, certificate
from controlplane.model.kinds.kind import Parsed
from controlplane.model.kinds.secret import SECRET
from controlplane.sources.redact import Redaction
from tests.support.pairs import NOW, PKCS8, SEC1, key_text, pair
from tests.support.servers import Issuer


def parse(type: str = "kubernetes.io/tls", *, plain: dict[str, str] | None = None, **data: bytes) -> Parsed:
    """`tls_crt` is `tls.crt`."""
    raw: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "shop", "namespace": "edge"},
        "type": type,
        "data": {name.replace("_", "."): b64encode(value).decode() for name, value in data.items()},
    }
    if plain is not None:
        raw["stringData"] = plain
    return SECRET.parse(raw)


def refusal(parsed: Parsed) -> str:
    assert parsed.value is None
    return "; ".join(f"{one.field} {one.message}" for one in parsed.problems)


@pytest.mark.parametrize("form", [PKCS8, SEC1], ids=["pkcs8", "traditional"])
@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_a_certificate_with_its_key(kind: str, form: pem.PrivateFormat) -> None:
    chain, key = pair(kind)
    value, problems, _ = parse(tls_crt=chain, tls_key=key_text(key, form))
    assert problems == ()
    assert (value.chain, value.key) == (chain, key_text(key, form))
    assert value.version == f"abcdef-{int(NOW.timestamp())}"


def test_istios_generic_form_with_authorities() -> None:
    chain, key = pair()
    value, problems, _ = parse("Opaque", cert=chain, key=key_text(key), cacert=pair("rsa")[0])
    assert problems == ()
    assert (value.chain, value.authorities) == (chain, pair("rsa")[0])


def test_authorities_alone() -> None:
    value, problems, _ = parse("Opaque", ca_crt=pair()[0])
    assert problems == () and (value.chain, value.key, value.authorities) == (b"", b"", pair()[0])


def test_plain_text_overrides_encoded() -> None:
    chain, key = pair()
    value, problems, _ = parse(
        plain={"tls.crt": chain.decode(), "tls.key": key_text(key).decode()}, tls_crt=b"old", tls_key=b"old"
    )
    assert problems == () and value.chain == chain


def test_what_else_is_in_a_secret_is_not_kept() -> None:
    value, problems, _ = parse("Opaque", password=b"hunter2")
    assert problems == ()
    assert (
        value == SECRET.parse({"apiVersion": "v1", "metadata": {"name": "shop", "namespace": "edge"}}).value
    )


def test_a_list_of_the_revoked() -> None:
    issuer = Issuer()
    revoked = issuer.revoked(issuer.issue("a.com"))
    value, problems, _ = parse("Opaque", ca_crt=issuer.certificate, ca_crl=b"# ours\n" + revoked)
    assert (problems, value.revoked) == ((), revoked)
    value, problems, _ = parse("Opaque", ca_crl=revoked)
    assert [(one.level, one.field) for one in problems] == [("warning", "data[ca.crl]")]
    # Better the last good version than one that revokes nothing.
    value, problems, _ = parse("Opaque", ca_crt=issuer.certificate, ca_crl=b"secret")
    assert value is None
    assert [(one.level, one.field) for one in problems] == [("error", "data[ca.crl]")]
    assert "secret" not in str(problems)


def test_only_certificates_are_kept_of_what_stands_with_them() -> None:
    chain, key = pair()
    value, problems, _ = parse(
        tls_crt=b"# ours\n" + key_text(key) + chain + pair("rsa")[0], tls_key=key_text(key)
    )
    assert problems == ()
    assert value.chain == chain + pair("rsa")[0]


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no key": ({"tls_crt": pair()[0]}, "data[tls.key] is missing"),
    "no certificate": ({"tls_key": key_text(pair()[1])}, "data[tls.crt] is missing"),
    "nothing": ({}, "data[tls.crt] is missing; data[tls.key] is missing"),
    "no pem": ({"tls_crt": b"x", "tls_key": key_text(pair()[1])}, "data[tls.crt] holds no certificate"),
    "no key in pem": ({"tls_crt": pair()[0], "tls_key": pair()[0]}, "data[tls.key] holds no private key"),
    "two keys": (
        {"tls_crt": pair()[0], "tls_key": key_text(pair()[1]) * 2},
        "data[tls.key] holds more than one private key",
    ),
    "another's key": (
        {"tls_crt": pair()[0], "tls_key": key_text(pair(serial=2)[1])},
        "data[tls.key] is not the key of tls.crt",
    ),
    "a chain upside down": (
        {"tls_crt": pair(serial=2)[0] + pair()[0], "tls_key": key_text(pair()[1])},
        "data[tls.key] is the key of certificate 2 in tls.crt, not of the first",
    ),
    "a password": (
        {"tls_crt": pair()[0], "tls_key": key_text(pair()[1], password=b"x")},
        "data[tls.key] cannot be used: the key has a password",
    ),
    "a kind that Envoy does not take": (
        {"tls_crt": pair("ed25519")[0], "tls_key": key_text(pair("ed25519")[1])},
        "data[tls.key] cannot be used: the key is neither of RSA nor of an elliptic curve",
    ),
    "authorities that are none": (
        {"tls_crt": pair()[0], "tls_key": key_text(pair()[1]), "ca_crt": b"x"},
        "data[ca.crt] holds no certificate",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_served_is_refused_with_the_reason(name: str) -> None:
    data, reason = WRONG[name]
    parsed = parse(**data)
    assert refusal(parsed) == reason
    assert all(one.remedy for one in parsed.problems)


def test_a_value_that_is_no_base64_is_not_repeated() -> None:
    raw = {"metadata": {"name": "shop"}, "apiVersion": "v1", "data": {"tls.crt": "*secret*", "tls.key": 7}}
    parsed = SECRET.parse(raw)
    assert "is not base64" in refusal(parsed) and "secret" not in refusal(parsed)
    assert "7" not in refusal(parsed)


def test_a_key_is_in_no_repr() -> None:
    chain, key = pair()
    value = parse(tls_crt=chain, tls_key=key_text(key)).value
    assert "PRIVATE" not in repr(value) and str(value.key)[40:80] not in repr(value)


@pytest.mark.parametrize("percent", range(0, 100, 2))
def test_a_certificate_cut_short_is_refused(percent: int) -> None:
    whole = blocks(pair()[0])[0]
    broken = whole._replace(der=whole.der[: len(whole.der) * percent // 100]).pem
    assert "data[tls.crt]" in refusal(parse(tls_crt=broken, tls_key=key_text(pair()[1])))


@pytest.mark.parametrize("percent", range(0, 100, 4))
@pytest.mark.parametrize("form", [PKCS8, SEC1], ids=["pkcs8", "traditional"])
def test_a_key_cut_short_is_refused(percent: int, form: pem.PrivateFormat) -> None:
    whole = blocks(key_text(pair()[1], form))[0]
    broken = whole._replace(der=whole.der[: len(whole.der) * percent // 100]).pem
    assert "data[tls.key]" in refusal(parse(tls_crt=pair()[0], tls_key=broken))


@pytest.mark.parametrize("year", [1970, 2049, 2050, 2100])
def test_both_forms_of_time(year: int) -> None:
    end = datetime(year, 12, 31, 23, 59, 59, tzinfo=UTC)
    text = pair(end=end)[0]
    assert certificate(blocks(text)[0].der).not_after == int(end.timestamp())


def test_openssl_agrees_on_the_serial_number() -> None:
    text = pair(serial=2**127 + 5)[0]
    shown = subprocess.run(
        ["openssl", "x509", "-noout", "-serial"], input=text, capture_output=True, check=True
    ).stdout.decode()
    assert certificate(blocks(text)[0].der).serial == shown.strip().partition("=")[2].lower()


def test_in_a_replay_markers_stand_for_what_they_replaced() -> None:
    marked = {"tls.crt": "redacted:0123456789ab", "tls.key": "redacted:ba9876543210"}
    raw = {
        "apiVersion": "v1",
        "metadata": {"name": "shop", "namespace": "edge"},
        "type": "kubernetes.io/tls",
        "data": marked,
    }
    value, problems, _ = SECRET.parse(raw)
    assert value is not None and value.chain and value.key and not value.authorities
    assert [one.level for one in problems] == ["warning"]
    other, _, _ = SECRET.parse({**raw, "data": {**marked, "tls.key": "redacted:000000000000"}})
    assert other.version != value.version
    authorities, _, _ = SECRET.parse({**raw, "type": "Opaque", "data": {"ca.crt": "redacted:0123456789ab"}})
    assert authorities.authorities and not authorities.key
    # What became of an object in a recording is what the parser reads.
    chain, key = pair()
    whole = {
        **raw,
        "data": {"tls.crt": b64encode(chain).decode(), "tls.key": b64encode(key_text(key)).decode()},
    }
    recorded = Redaction(b"key").raw("Secret", whole)
    replayed = SECRET.parse(recorded).value
    assert replayed.chain.startswith(b"redacted:") and replayed.version.isprintable()
