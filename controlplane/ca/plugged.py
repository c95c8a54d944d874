"""An operator's CA, in the files that Istio has for it.

Either `ca-cert.pem`, `ca-key.pem`, `root-cert.pem` and `cert-chain.pem` (what leads from ca-cert.pem to
the root; not needed where the root signed it), or as cert-manager writes a Secret: `tls.crt` (with the
chain after the first certificate), `tls.key` and `ca.crt`
(https://istio.io/latest/docs/tasks/security/cert-management/plugin-ca-cert/).

Everything that would only show when a proxy refuses a handshake is looked at before anything is signed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes

from controlplane.base.errors import EnvironmentUnfit
from controlplane.ca.keys import weakness
from controlplane.ca.pem import certificates, private_key
from controlplane.ca.signer import Signer

_MOST_BYTES = 2**20
_WEAK_HASHES = (hashes.MD5, hashes.SHA1)


class _Layout(NamedTuple):
    certificate: str
    key: str
    roots: str
    chain: str


ISTIO = _Layout("ca-cert.pem", "ca-key.pem", "root-cert.pem", "cert-chain.pem")
SECRET = _Layout("tls.crt", "tls.key", "ca.crt", "")


@dataclass(frozen=True, slots=True)
class Plugged:
    """What the files say: who signs, and all roots that are to be trusted."""

    signer: Signer
    roots: tuple[x509.Certificate, ...]


def load(folder: Path, now: float) -> Plugged:
    """The CA in a folder.  EnvironmentUnfit names the file and what is wrong with it."""
    layout = next((one for one in (ISTIO, SECRET) if (folder / one.certificate).exists()), None)
    if layout is None:
        raise EnvironmentUnfit(f"{folder}: there is neither {ISTIO.certificate} nor {SECRET.certificate}")
    place = str(folder / layout.certificate)
    certificate, *more = certificates(_read(folder / layout.certificate), place)
    key = private_key(_read(folder / layout.key), str(folder / layout.key))
    if key.public_key() != certificate.public_key():
        raise EnvironmentUnfit(f"{folder / layout.key}: the key does not belong to {layout.certificate}")
    roots_place = folder / layout.roots
    roots = tuple(dict.fromkeys(certificates(_read(roots_place), str(roots_place))))
    chain = _read(folder / layout.chain) if layout.chain and (folder / layout.chain).exists() else b""
    if chain.strip():
        more += certificates(chain, str(folder / layout.chain))
    for one in roots:
        _check(one, str(roots_place), now)
    _check(certificate, place, now)
    between, root = _way(certificate, more, roots, str(folder / (layout.chain or layout.certificate)))
    for one in between:
        _check(one, str(folder / (layout.chain or layout.certificate)), now)
    _check_lengths((certificate, *between, root), place)
    return Plugged(Signer(certificate, key, root, between), roots)


def unsafe_step(signer: Signer, trusted: Sequence[x509.Certificate], new: Plugged) -> str:
    """Why changing to `new` at once would break connections; "" when it would not.

    While proxies follow, some have the old state and some the new: each side must be trusted by the
    other.
    """
    if new.signer.root not in trusted:
        return (
            "its root is not trusted yet: put the old and the new root together into the file of roots "
            "first, with the old key, and the new key when every proxy has both"
        )
    if signer.root not in new.roots:
        return (
            "the root of the present certificates would no longer be trusted: keep it in the file of "
            "roots until every proxy has a certificate of the new one"
        )
    return ""


def stamp(folder: Path) -> tuple[tuple[str, int, int, int], ...]:
    """Something that is different when a file of the CA is: names, inodes, sizes, times."""
    found = []
    for name in sorted({*ISTIO, *SECRET} - {""}):
        try:
            info = (folder / name).stat()
        except OSError:
            continue
        found.append((name, info.st_ino, info.st_size, info.st_mtime_ns))
    return tuple(found)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise EnvironmentUnfit(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(data) > _MOST_BYTES:
        raise EnvironmentUnfit(f"{path}: it has more than {_MOST_BYTES} bytes, which no certificates need")
    return data


def _check(certificate: x509.Certificate, where: str, now: float) -> None:
    """That a certificate may sign others, holds now, and is strong enough."""
    name = certificate.subject.rfc4514_string() or "(no subject)"
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except (x509.ExtensionNotFound, ValueError):
        constraints = x509.BasicConstraints(ca=False, path_length=None)
    if not constraints.ca:
        raise EnvironmentUnfit(f"{where}: {name} is not a CA (its basic constraints do not say CA:TRUE)")
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
        may_sign = usage.key_cert_sign
    except x509.ExtensionNotFound:
        may_sign = True
    if not may_sign:
        raise EnvironmentUnfit(f"{where}: {name} may not sign certificates (its key usage lacks keyCertSign)")
    if now >= certificate.not_valid_after_utc.timestamp():
        raise EnvironmentUnfit(
            f"{where}: {name} expired on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
        )
    if now < certificate.not_valid_before_utc.timestamp():
        raise EnvironmentUnfit(
            f"{where}: {name} is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
        )
    weak = weakness(certificate.public_key())
    if weak:
        raise EnvironmentUnfit(f"{where}: the key of {name} cannot be used: {weak}")
    if isinstance(certificate.signature_hash_algorithm, _WEAK_HASHES):
        raise EnvironmentUnfit(f"{where}: {name} is signed over {certificate.signature_hash_algorithm.name}")


def _way(
    certificate: x509.Certificate,
    others: Sequence[x509.Certificate],
    roots: Sequence[x509.Certificate],
    where: str,
) -> tuple[tuple[x509.Certificate, ...], x509.Certificate]:
    """What lies between a certificate and one of the roots, and that root."""
    if certificate in roots:
        return (), certificate
    between: list[x509.Certificate] = []
    last, left = certificate, [one for one in others if one not in roots and one != certificate]
    while True:
        for root in roots:
            if _issued(last, root):
                return tuple(between), root
        above = next((one for one in left if _issued(last, one)), None)
        if above is None:
            wanted = last.issuer.rfc4514_string()
            raise EnvironmentUnfit(f"{where}: the chain does not lead to a root: no certificate of {wanted}")
        left.remove(above)
        between.append(above)
        last = above


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _check_lengths(way: Sequence[x509.Certificate], where: str) -> None:
    """That nobody on the way limits how many CAs may be below it to fewer than there are."""
    # A root that signs by itself is both ends of its way.
    for below, one in enumerate(dict.fromkeys(way)):
        limit = one.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length
        if limit is not None and limit < below:
            name = one.subject.rfc4514_string()
            raise EnvironmentUnfit(f"{where}: {name} allows {limit} CAs below it, and there are {below}")
