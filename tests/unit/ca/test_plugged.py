"""An operator's CA: both layouts of files, and everything that can be wrong with them, named."""

from __future__ import annotations

import base64
import itertools
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controlplane.base.clock import FakeClock
from controlplane.base.errors import EnvironmentUnfit
from controlplane.ca.authority import Authority
from controlplane.ca.plugged import load, unsafe_step
from tests.support.cas import DAY, NOW, make_ca, needs_openssl, openssl, plug, shaped, three, verified


def refused(folder: Path) -> str:
    with pytest.raises(EnvironmentUnfit) as caught:
        load(folder, NOW)
    return str(caught.value).removeprefix(f"{folder}/")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A good CA: an intermediate of an intermediate of a root."""
    root, middle, cluster = three()
    return plug(tmp_path / "cacerts", cluster, (root,), (cluster, middle, root))


@needs_openssl
def test_istios_four_files(folder: Path, tmp_path: Path) -> None:
    found = load(folder, NOW)
    made = Authority(found.signer, found.roots, clock=FakeClock(NOW)).issue(("spiffe://td/ns/a/sa/b",))
    assert made.chain.count(b"BEGIN CERTIFICATE") == 3  # without the root
    roots = (folder / "root-cert.pem").read_bytes()
    assert "OK" in verified(tmp_path, made.chain, roots, "-attime", str(int(NOW)))


def test_the_chain_is_not_needed_where_the_root_signed(tmp_path: Path) -> None:
    root = make_ca("root")
    cluster = make_ca("cluster", root)
    folder = plug(tmp_path / "cacerts", cluster, (root,))
    (folder / "cert-chain.pem").unlink()
    found = load(folder, NOW)
    assert (found.signer.between, found.signer.root) == ((), root.certificate)


def test_a_root_itself(tmp_path: Path) -> None:
    root = make_ca("root", shape=shaped(path_length=0))
    found = load(plug(tmp_path, root, (root,), (root,)), NOW)
    assert found.signer.chain == ()


def test_the_files_of_a_secret(tmp_path: Path) -> None:
    root, middle, cluster = three()
    (tmp_path / "tls.crt").write_bytes(cluster.pem + middle.pem)
    (tmp_path / "tls.key").write_bytes(cluster.key_pem)
    (tmp_path / "ca.crt").write_bytes(root.pem)
    found = load(tmp_path, NOW)
    assert found.signer.chain == (cluster.certificate, middle.certificate)


def test_two_roots_are_both_trusted(tmp_path: Path) -> None:
    root, middle, cluster = three()
    other = make_ca("other")
    found = load(plug(tmp_path, cluster, (other, root), (middle,)), NOW)
    assert found.roots == (other.certificate, root.certificate)
    assert found.signer.root == root.certificate


def test_rsa_and_p384(tmp_path: Path) -> None:
    root = make_ca("root", shape=shaped(key="rsa"))
    cluster = make_ca("cluster", root, shaped(key="p384"))
    found = load(plug(tmp_path, cluster, (root,)), NOW)
    assert Authority(found.signer, found.roots, clock=FakeClock(NOW)).issue(("spiffe://td/ns/a/sa/b",))


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentUnfit, match=r"neither ca-cert\.pem nor tls\.crt"):
        load(tmp_path, NOW)


@pytest.mark.parametrize("name", ["ca-key.pem", "root-cert.pem"])
def test_a_file_is_missing(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert refused(folder) == f"{name}: cannot be read: No such file or directory"


@pytest.mark.parametrize("name", ["ca-cert.pem", "ca-key.pem", "root-cert.pem", "cert-chain.pem"])
@pytest.mark.parametrize(
    "content", [b"", b"rubbish", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_a_file_is_rubbish(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    expected = (
        "the chain does not lead to a root" if name == "cert-chain.pem" and not content else "there is no "
    )
    assert refused(folder).startswith(f"{name}: {expected}")


def test_a_huge_file(folder: Path) -> None:
    (folder / "cert-chain.pem").write_bytes(b"x" * (2**20 + 1))
    assert refused(folder).startswith("cert-chain.pem: it has more than 1048576 bytes")


def test_a_key_of_another(folder: Path) -> None:
    (folder / "ca-key.pem").write_bytes(make_ca("other").key_pem)
    assert refused(folder) == "ca-key.pem: the key does not belong to ca-cert.pem"


def test_a_key_with_a_password(folder: Path) -> None:
    key = make_ca("other").key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"open sesame"),
    )
    (folder / "ca-key.pem").write_bytes(key)
    assert refused(folder) == "ca-key.pem: the key has a password; store it without one"


ODD: dict[str, tuple[Callable[[Path], object], str]] = {
    "not a CA": (
        lambda folder: _under_root(folder, ca=False, may_sign=False),
        r"ca-cert.pem: CN=cluster is not a CA",
    ),
    "no extensions": (
        lambda folder: _under_root(folder, extensions=False),
        r"ca-cert.pem: CN=cluster is not a CA",
    ),
    "may not sign": (
        lambda folder: _under_root(folder, may_sign=False),
        r"ca-cert.pem: CN=cluster may not sign",
    ),
    "expired": (
        lambda folder: _under_root(folder, end=NOW - 1.0),
        r"ca-cert.pem: CN=cluster expired on 2027-01-15 07:59 UTC",
    ),
    "not yet valid": (
        lambda folder: _under_root(folder, begin=NOW + DAY),
        r"ca-cert.pem: CN=cluster is not valid before 2027-01-16",
    ),
    "an expired root": (
        lambda folder: _chain(folder, root=shaped(end=NOW - 1.0)),
        r"root-cert.pem: CN=root expired",
    ),
    "an expired CA on the way": (
        lambda folder: _chain(folder, middle=shaped(end=NOW - 1.0)),
        r"cert-chain.pem: CN=middle expired",
    ),
    "no CA on the way": (
        lambda folder: _chain(folder, middle=shaped(ca=False, may_sign=False)),
        r"cert-chain.pem: CN=middle is not a CA",
    ),
    "a root that allows fewer": (
        lambda folder: _chain(folder, root=shaped(path_length=1)),
        r"ca-cert.pem: CN=root allows 1 CAs below it, and there are 2",
    ),
    "a weak key": (
        lambda folder: _under_root(folder, key="rsa1024"),
        r"ca-key.pem: the key cannot be used: it is RSA of 1024 bits",
    ),
    "an odd curve": (
        lambda folder: _under_root(folder, key="p224"),
        r"ca-key.pem: the key cannot be used: its curve is secp224r1",
    ),
    "a chain that leads nowhere": (
        lambda folder: _without_middle(folder),
        r"cert-chain.pem: the chain does not lead to a root: no certificate of CN=middle",
    ),
    "a root of the same name": (
        lambda folder: _other_root(folder),
        r"cert-chain.pem: the chain does not lead to a root: no certificate of CN=root",
    ),
}


def _under_root(folder: Path, **odd: object) -> None:
    root = make_ca("root")
    plug(folder, make_ca("cluster", root, shaped(**odd)), (root,))


def _chain(folder: Path, **shapes: object) -> None:
    root, middle, cluster = three(
        *(shapes.get(name, shaped()) for name in ("root", "middle"))  # type: ignore[arg-type]
    )
    plug(folder, cluster, (root,), (cluster, middle))


def _without_middle(folder: Path) -> None:
    root, _, cluster = three()
    plug(folder, cluster, (root,), (cluster, root))


def _other_root(folder: Path) -> None:
    _, middle, cluster = three()
    plug(folder, cluster, (make_ca("root"),), (middle,))


@pytest.mark.parametrize("case", ODD)
def test_what_does_not_fit_is_named_with_its_file(tmp_path: Path, case: str) -> None:
    make, expected = ODD[case]
    make(tmp_path)
    assert re.match(expected, refused(tmp_path)), refused(tmp_path)


def test_a_circle_of_certificates_ends(tmp_path: Path) -> None:
    # Each of two CAs has signed the other: a way that never comes to a root.
    first, second = make_ca("first"), make_ca("second")
    crossed = make_ca("first", second)
    folder = plug(tmp_path, make_ca("cluster", first), (make_ca("root"),), (first, second, crossed))
    assert refused(folder).startswith("cert-chain.pem: the chain does not lead to a root")


def test_nothing_of_a_key_is_in_an_error(folder: Path) -> None:
    key = (folder / "ca-key.pem").read_text()
    (folder / "ca-key.pem").write_text(key.replace("END PRIVATE", "END"))
    secret = key.splitlines()[1]
    assert secret[:20] not in refused(folder)


@needs_openssl
def test_openssl_and_this_program_agree_on_the_chain(folder: Path) -> None:
    openssl(
        *("verify", "-x509_strict", "-attime", str(int(NOW)), "-no-CApath", "-no-CAstore"),
        *("-CAfile", str(folder / "root-cert.pem"), "-untrusted", str(folder / "cert-chain.pem")),
        str(folder / "ca-cert.pem"),
    )


def test_a_step_is_safe_when_each_side_trusts_the_other(tmp_path: Path) -> None:
    old, new = make_ca("old"), make_ca("new")
    before = load(plug(tmp_path / "a", old, (old,)), NOW)
    both = load(plug(tmp_path / "b", old, (old, new)), NOW)
    signs = load(plug(tmp_path / "c", new, (old, new)), NOW)
    after = load(plug(tmp_path / "d", new, (new,)), NOW)
    way = [before, both, signs, after]
    for present, one in itertools.pairwise(way):
        assert unsafe_step(present.signer, present.roots, one) == ""
    assert "its root is not trusted yet" in unsafe_step(before.signer, before.roots, signs)
    assert "its root is not trusted yet" in unsafe_step(before.signer, before.roots, after)
    assert "would no longer be trusted" in unsafe_step(both.signer, both.roots, after)


ROOT, MIDDLE, CLUSTER = three()
DER = CLUSTER.certificate.public_bytes(serialization.Encoding.DER)


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(st.lists(st.tuples(st.integers(0, len(DER) - 1), st.integers(0, 255)), min_size=1, max_size=3))
def test_a_broken_certificate_is_never_more_than_a_message(
    tmp_path: Path, changes: list[tuple[int, int]]
) -> None:
    folder = plug(tmp_path, CLUSTER, (ROOT,), (MIDDLE,))
    data = bytearray(DER)
    for place, value in changes:
        data[place] = value
    body = base64.encodebytes(data).decode()
    (folder / "ca-cert.pem").write_text(f"-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n")
    try:
        found = load(folder, NOW)
    except EnvironmentUnfit as error:
        assert str(error).startswith(str(folder))
    else:
        # What a signature covers cannot be changed without its being noticed.
        assert found.signer.certificate.tbs_certificate_bytes == CLUSTER.certificate.tbs_certificate_bytes
