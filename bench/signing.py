"""How fast certificates are issued on one core, and which share of that is cryptography.

The share is found by subtraction: the same keys do the bare operations (make a key, sign as many bytes, check
a signature) in turns with whole certificates, and what is left is encoding and Python.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding

from bench.figures import quantile
from controlplane.base.clock import SystemClock
from controlplane.ca.authority import Authority
from controlplane.ca.csr import key_of
from controlplane.ca.keys import KeyType, PrivateKey, new_key
from controlplane.ca.leaf import Names
from controlplane.ca.signer import Signer, self_signed

_URI = "spiffe://cluster.local/ns/default/sa/web"
_YEAR = 365 * 86400.0

Work = Callable[[], object]


def run(rounds: int = 2000) -> dict[str, Any]:
    """Per kind of certificate: issued per second of CPU, microseconds of each part, the share of crypto."""
    ec_signer, rsa_signer = _signer("ec"), _signer("rsa")
    return {
        "EC key and certificate": _issued("ec", ec_signer, rounds),
        "a proxy's own EC key (CSR)": _requested(ec_signer, rounds),
        "EC key, RSA authority": _issued("ec", rsa_signer, rounds // 2),
        "RSA key and certificate": _issued("rsa", ec_signer, max(10, rounds // 50)),
    }


def _signer(key_type: KeyType) -> Signer:
    made = self_signed(time.time(), _YEAR)
    if key_type == "ec":
        return made
    # The certificate is the same in all that costs time: only the key signs.
    return Signer(made.certificate, new_key("rsa"), made.root)


def _issued(key_type: KeyType, signer: Signer, rounds: int) -> dict[str, Any]:
    authority = Authority(signer, (signer.root,), clock=SystemClock(), key_type=key_type)
    made = authority.issue((_URI,))
    sign = _sign(signer.key, x509.load_pem_x509_certificate(made.chain).tbs_certificate_bytes)
    times: dict[str, list[float]] = {"whole": [], "key": [], "signature": []}
    for _ in range(rounds):
        began = time.thread_time_ns()
        # As `issue` does it by itself.  RSA keys differ too much for their average to be taken from others.
        key = authority.new_key()
        have_key = time.thread_time_ns()
        authority.issue((_URI,), key=key)
        done = time.thread_time_ns()
        sign()
        signed = time.thread_time_ns()
        times["whole"].append((done - began) / 1000)
        times["key"].append((have_key - began) / 1000)
        times["signature"].append((signed - done) / 1000)
    return _shares(times)


def _requested(signer: Signer, rounds: int) -> dict[str, Any]:
    authority = Authority(signer, (signer.root,), clock=SystemClock())
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    text = request.public_bytes(serialization.Encoding.PEM).decode()
    names = Names((_URI,))
    body = authority.sign(key.public_key(), names).certificates[0]
    signature, checked, public = request.signature, request.tbs_certrequest_bytes, key.public_key()
    parts: dict[str, Work] = {
        "check": lambda: public.verify(signature, checked, ec.ECDSA(hashes.SHA256())),
        "signature": _sign(signer.key, x509.load_pem_x509_certificate(body).tbs_certificate_bytes),
    }
    return _measured(lambda: authority.sign(key_of(text, names.uris), names), parts, rounds)


def _sign(key: PrivateKey, body: bytes) -> Work:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return lambda: key.sign(body, ec.ECDSA(hashes.SHA256()))
    return lambda: key.sign(body, padding.PKCS1v15(), hashes.SHA256())


def _measured(whole: Work, parts: dict[str, Work], rounds: int) -> dict[str, Any]:
    works = {"whole": whole, **parts}
    times: dict[str, list[float]] = {name: [] for name in works}
    for work in works.values():
        work()
    for _ in range(rounds):
        for name, work in works.items():
            began = time.thread_time_ns()
            work()
            times[name].append((time.thread_time_ns() - began) / 1000)
    return _shares(times)


def _shares(times: dict[str, list[float]]) -> dict[str, Any]:
    """What the microseconds of "whole" and of its parts come to."""
    means = {name: sum(found) / len(found) for name, found in times.items()}
    whole = sorted(times["whole"])
    crypto = sum(mean for name, mean in means.items() if name != "whole")
    return {
        "rounds": len(whole),
        "per_second": 1e6 / means["whole"],
        "p50": quantile(whole, 0.5),
        "p99": quantile(whole, 0.99),
        "key": means.get("key"),
        "check": means.get("check"),
        "signature": means["signature"],
        "rest": means["whole"] - crypto,
        "share": crypto / means["whole"],
    }
