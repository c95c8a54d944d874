"""What the authority issues, as openssl sees it; what it refuses; what it tells."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from controlplane.base.clock import FakeClock
from controlplane.ca.authority import Authority, Change, Lifetimes
from controlplane.ca.keys import new_key
from controlplane.ca.leaf import Names
from controlplane.ca.refused import Refused
from controlplane.ca.signer import Signer, pem, self_signed
from tests.support.cas import NOW, make_ca, needs_openssl, openssl, shaped, three, verified

WEB = "spiffe://cluster.local/ns/default/sa/web"
TEN_YEARS = 87600 * 3600.0


def authority(signer: Signer | None = None, **settings: object) -> Authority:
    signer = signer or self_signed(NOW, TEN_YEARS)
    return Authority(signer, (signer.root,), clock=FakeClock(NOW), **settings)  # type: ignore[arg-type]


def at(moment: float) -> tuple[str, str]:
    return ("-attime", str(int(moment)))


@needs_openssl
@pytest.mark.parametrize("purpose", ["sslserver", "sslclient"])
def test_openssl_accepts_a_leaf_in_both_roles(tmp_path: Path, purpose: str) -> None:
    ca = authority()
    made = ca.issue((WEB,))
    root = ca.bundle.roots[0]
    assert "OK" in verified(tmp_path, made.chain, root, "-purpose", purpose, *at(NOW))
    assert "OK" in verified(tmp_path, made.chain, root, *at(NOW - 119))
    assert "not yet valid" in verified(tmp_path, made.chain, root, *at(NOW - 121), ok=False)
    assert "OK" in verified(tmp_path, made.chain, root, *at(NOW + 86399))
    assert "expired" in verified(tmp_path, made.chain, root, *at(NOW + 86401), ok=False)
    other = pem(self_signed(NOW, TEN_YEARS).root)
    assert "unable to get" in verified(tmp_path, made.chain, other, *at(NOW), ok=False)


@needs_openssl
def test_a_leaf_says_what_spiffe_asks_for_and_no_more(tmp_path: Path) -> None:
    made = authority().issue((WEB,))
    (tmp_path / "leaf.pem").write_bytes(made.chain)
    text = openssl("x509", "-in", str(tmp_path / "leaf.pem"), "-noout", "-text")
    lines = [line.strip() for line in text.splitlines()]
    assert "Subject:" in lines

    def after(name: str) -> str:
        return lines[lines.index(name) + 1]

    assert after("X509v3 Subject Alternative Name: critical") == f"URI:{WEB}"
    assert after("X509v3 Basic Constraints: critical") == "CA:FALSE"
    assert after("X509v3 Key Usage: critical") == "Digital Signature"
    assert (
        after("X509v3 Extended Key Usage:") == "TLS Web Server Authentication, TLS Web Client Authentication"
    )
    assert "ASN1 OID: prime256v1" in lines
    assert "X509v3 Subject Key Identifier:" in lines
    assert "X509v3 Authority Key Identifier:" in lines


@needs_openssl
def test_a_leaf_comes_with_what_leads_to_the_root(tmp_path: Path) -> None:
    root, middle, cluster = three()
    signer = Signer(cluster.certificate, cluster.key, root.certificate, (middle.certificate,))
    ca = authority(signer)
    made = ca.issue((WEB,))
    assert made.chain.count(b"BEGIN CERTIFICATE") == 3
    assert ca.chain == (cluster.pem, middle.pem)
    assert ca.root == root.pem
    assert "OK" in verified(tmp_path, made.chain, root.pem, *at(NOW))


def test_the_key_belongs_to_the_certificate() -> None:
    made = authority().issue((WEB,))
    key = load_pem_private_key(made.key, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.public_key() == x509.load_pem_x509_certificate(made.chain).public_key()
    assert authority().issue((WEB,)).key != made.key


def test_rsa_on_request_and_by_default_where_that_is_set(tmp_path: Path) -> None:
    found = x509.load_pem_x509_certificate(authority().issue((WEB,), key=new_key("rsa")).chain)
    public = found.public_key()
    assert isinstance(public, rsa.RSAPublicKey)
    assert public.key_size == 2048
    assert found.extensions.get_extension_for_class(x509.KeyUsage).value.key_encipherment
    found = x509.load_pem_x509_certificate(authority(key_type="rsa").issue((WEB,)).chain)
    assert isinstance(found.public_key(), rsa.RSAPublicKey)


def test_dns_names_and_addresses() -> None:
    found = x509.load_pem_x509_certificate(
        authority().issue((), dns=("a.svc",), ips=("127.0.0.1", "::1")).chain
    )
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["a.svc"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]


def test_serials_are_random_and_told_as_they_are_written() -> None:
    ca = authority()
    made = [ca.issue((WEB,)) for _ in range(50)]
    assert len({one.serial for one in made}) == 50
    assert max(int(one.serial, 16).bit_length() for one in made) in range(110, 129)
    for one in made:
        assert int(one.serial, 16) == x509.load_pem_x509_certificate(one.chain).serial_number


@pytest.mark.parametrize(("asked", "given"), [(0.0, 3600.0), (-5.0, 3600.0), (60.0, 60.0), (7200.0, 7200.0)])
def test_lifetimes(asked: float, given: float) -> None:
    made = authority(lifetimes=Lifetimes(3600.0, 7200.0)).issue((WEB,), lifetime=asked)
    assert (made.not_before, made.not_after) == (NOW - 120.0, NOW + given)


def test_more_than_the_maximum_is_refused_and_not_cut() -> None:
    with pytest.raises(Refused, match="7201 seconds are asked for; at most 7200") as caught:
        authority(lifetimes=Lifetimes(3600.0, 7200.0)).issue((WEB,), lifetime=7201.0)
    assert caught.value.kind == "TTL_ERROR"


def test_no_leaf_outlives_any_of_those_above_it() -> None:
    root = make_ca("root", shape=shaped(end=NOW + 500.0))
    cluster = make_ca("cluster", root)
    ca = authority(Signer(cluster.certificate, cluster.key, root.certificate))
    assert ca.issue((WEB,)).not_after == NOW + 500.0


def test_at_its_end_an_authority_signs_nothing() -> None:
    ca = authority(self_signed(NOW, 9.0))
    with pytest.raises(Refused) as caught:
        ca.issue((WEB,))
    assert caught.value.kind == "CA_NOT_READY"


@pytest.mark.parametrize("uris", [(), ("spiffe://cluster.local/ns/ä/sa/b",)])
def test_names_that_cannot_be_written_are_refused(uris: tuple[str, ...]) -> None:
    with pytest.raises(Refused) as caught:
        authority().issue(uris)
    assert caught.value.kind == "CSR_ERROR"


def test_weak_keys_are_not_certified() -> None:
    for weak in (
        rsa.generate_private_key(65537, 1024),
        rsa.generate_private_key(3, 2048),
        ec.generate_private_key(ec.SECP256K1()),
    ):
        with pytest.raises(Refused, match="cannot be certified"):
            authority().sign(weak.public_key(), Names((WEB,)))


def test_keys_are_not_shown() -> None:
    signer = self_signed(NOW, TEN_YEARS)
    made = authority(signer).issue((WEB,))
    secret = made.key.decode().splitlines()[1]
    assert secret not in repr(made)
    assert "key" not in repr(signer)


def test_a_change_is_told_once_it_holds_and_only_if_there_is_one() -> None:
    old, new = self_signed(NOW, TEN_YEARS), self_signed(NOW, TEN_YEARS)
    ca = authority(old)
    told: list[tuple[Change, int]] = []
    ca.on_change(lambda change: told.append((change, len(ca.bundle.roots))))
    ca.replace(old, (old.root,))
    assert told == []
    ca.replace(old, (old.root, new.root))
    ca.replace(new, (old.root, new.root))
    ca.replace(new, (new.root,))
    assert told == [(Change(False, True), 2), (Change(True, False), 2), (Change(False, True), 1)]
    assert x509.load_pem_x509_certificate(ca.issue((WEB,)).chain).issuer == new.root.subject


def test_a_new_way_to_the_same_root_is_a_new_signer() -> None:
    root, middle, cluster = three()
    again = make_ca("middle", root)
    ca = authority(Signer(cluster.certificate, cluster.key, root.certificate, (middle.certificate,)))
    told: list[Change] = []
    ca.on_change(told.append)
    ca.replace(
        Signer(cluster.certificate, cluster.key, root.certificate, (again.certificate,)), (root.certificate,)
    )
    assert told == [Change(True, False)]


def test_the_signers_root_is_always_trusted(caplog: pytest.LogCaptureFixture) -> None:
    old, new = self_signed(NOW, TEN_YEARS), self_signed(NOW, TEN_YEARS)
    ca = authority(old)
    with caplog.at_level(logging.INFO), pytest.raises(ValueError, match="not among"):
        ca.replace(new, (old.root,))
    assert ca.signer is old
    assert caplog.records == []


def test_two_roots_have_different_names() -> None:
    assert self_signed(NOW, TEN_YEARS).root.subject != self_signed(NOW, TEN_YEARS).root.subject


def test_a_root_without_end_ends_with_the_year_9999() -> None:
    assert f"{self_signed(NOW, 1e15).root.not_valid_after_utc:%Y-%m-%d}" == "9999-12-31"
