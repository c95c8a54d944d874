"""How proxies of the mesh speak TLS to each other: MeshConfig.meshMTLS."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.model.describe import shorten
from controlplane.model.reader import Reader

CIPHER_SUITES = frozenset(
    {
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-RSA-CHACHA20-POLY1305",
        "ECDHE-ECDSA-AES128-SHA",
        "ECDHE-ECDSA-AES256-SHA",
        "ECDHE-RSA-AES128-SHA",
        "ECDHE-RSA-AES256-SHA",
    }
)
"""Of TLS 1.2, with forward secrecy; those of 1.3 cannot be chosen."""

CURVES = frozenset({"P-256", "P-384", "P-521", "X25519", "X25519MLKEM768"})


@dataclass(frozen=True, slots=True)
class MeshTLSConfig:
    """`min_protocol_version` is TLS_AUTO, TLSV1_2 or TLSV1_3; no ciphers or curves = Envoy's."""

    min_protocol_version: str = "TLS_AUTO"
    cipher_suites: tuple[str, ...] = ()
    ecdh_curves: tuple[str, ...] = ()


def read_mesh_tls(r: Reader) -> MeshTLSConfig:
    """A TLSConfig; what Envoy does not know is left out, or it would refuse every cluster of the mesh."""
    return MeshTLSConfig(
        min_protocol_version=r.enum("minProtocolVersion", ("TLS_AUTO", "TLSV1_2", "TLSV1_3"), "TLS_AUTO"),
        cipher_suites=_known(r, "cipherSuites", CIPHER_SUITES),
        ecdh_curves=_known(r, "ecdhCurves", CURVES),
    )


def _known(r: Reader, name: str, known: frozenset[str]) -> tuple[str, ...]:
    words = r.strings(name)
    for index, word in enumerate(words):
        if word not in known:
            what = f"{shorten(word)} is not known and left out"
            r.warn(f"{name}[{index}]", what, "use some of " + ", ".join(sorted(known)))
    return tuple(dict.fromkeys(word for word in words if word in known))
